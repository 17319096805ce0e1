"""The standalone file in a real browser: from a disk, in a frame, in a host page, offline."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bokeh
import numpy as np
import pytest
from bokeh.util.paths import bokehjs_path
from playwright.sync_api import Browser, Frame, Page, expect

import mhc_demo as mhc
from mhc_demo.figures.sinkhorn import sentences
from mhc_demo.numerics.numbers import in_text
from mhc_demo.story.scenes import SCENES

from .conftest import Explorer, await_server, free_port, usual

pytestmark = pytest.mark.browser

STREAMS = (2, 4, 8, 16)
MEMBERS = 4


class File(Explorer):
    """A file in a browser tab that has no network."""

    requests: list[str]

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.requests = []
        page.on("request", lambda request: self.requests.append(request.url))

    def show(self, path: Path) -> File:
        """Open it from the disk, and wait for its numbers."""
        self.page.goto(path.as_uri())
        if '<div class="headline">' in path.read_text("utf-8"):
            expect(self.number(0)).not_to_have_text("")
        return self

    def headline(self, root: Page | Frame | None = None) -> list[str]:
        """The headline's texts: the two gains, and both directions of each."""
        return (
            (root or self.page)
            .locator(".mhc-headline :is(.number, .forward, .backward)")
            .evaluate_all("""(all) => all.map((node) => [...node.childNodes]
            .map((c) => (c.nodeName === "SUP" && c.textContent ? "^" : "") + c.textContent)
            .join(""))""")
        )

    def drag(self, name: str, value: int) -> None:
        """Move a slider with the mouse."""
        slider = self.slider(name)
        box = slider.bounding_box()
        assert box
        low, high = (int(slider.get_attribute(end) or "") for end in ("min", "max"))
        thumb = 26
        at = box["x"] + thumb / 2 + (box["width"] - thumb) * (value - low) / (high - low)
        slider.scroll_into_view_if_needed()
        self.page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(at, box["y"] + box["height"] / 2, steps=3)
        self.page.mouse.up()
        expect(slider).to_have_value(str(value))


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., File]]:
    """Make tabs without a network; they may report no error and ask no host for anything."""
    opened: list[File] = []

    def make(width: int = 1200, height: int = 700, **options: Any) -> File:
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, offline=True, **options)
        opened.append(File(context.new_page()))
        return opened[-1]

    yield make
    for file in opened:
        assert file.problems == []
        assert [url for url in file.requests if not url.startswith(("file:", "data:"))] == []
        file.page.context.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files and BokehJS."""
    path = tmp_path_factory.mktemp("embed")
    shutil.copy(bokehjs_path() / "js" / "bokeh.min.js", path)
    (path / "four.html").write_text(
        mhc.export_html(mhc.Experiment(members=MEMBERS), streams=STREAMS), "utf-8"
    )
    return path


def exported(folder: Path, name: str, **arguments: Any) -> Path:
    path = folder / f"{name}.html"
    path.write_text(mhc.export_html(**arguments), "utf-8")
    return path


def gains(streams: int, members: int = MEMBERS) -> Any:
    experiment = mhc.Experiment(streams=streams, members=members)
    return mhc.gain_surface(experiment)["log10_gain"].sel(series="median")


def headline_of(surface: Any, depth: int, iterations: int) -> list[str]:
    """The headline's texts by the library."""
    texts = []
    for t in (0, iterations):
        both = surface.sel(depth=depth, iterations=t)
        forward, backward = (float(both.sel(direction=d)) for d in ("forward", "backward"))
        texts += [in_text(max(forward, backward)), in_text(forward), in_text(backward)]
    return [text.replace("-", "−") for text in texts]


def test_from_a_disk_it_shows_the_library_s_numbers_wherever_it_is_dragged(
    tab: Callable[..., File], folder: Path
) -> None:
    file = tab().show(folder / "four.html")
    page = file.page
    assert file.headline() == headline_of(gains(4), 64, 1)
    for streams, places in {
        16: [(128, 0), (1, 30)],
        2: [(97, 2), (33, 1), (128, 5)],
        8: [(64, 20), (12, 0), (5, 3)],
        4: [(128, 1), (64, 0), (31, 7), (2, 12)],
    }.items():
        page.locator(".choice label", has_text=re.compile(f"^{streams}$")).click()
        surface = gains(streams)
        for depth, iterations in places:
            file.drag("Depth (layers)", depth)
            file.drag("Sinkhorn iterations", iterations)
            assert file.headline() == headline_of(surface, depth, iterations)
            lines = file.plotted("composite")
            for direction in ("forward", "backward"):
                for name, t in (("HC", 0), ("projected", iterations)):
                    wanted = surface.sel(direction=direction, iterations=t).values
                    # The fourth digit of 1.000, as log10.
                    np.testing.assert_allclose(
                        lines[f"{name}, {direction}"], wanted, atol=4.4e-4, rtol=0
                    )
    caption = page.locator(".caption")
    expect(caption).to_contain_text("n = 4 streams")
    page.locator(".choice label", has_text="16").click()
    expect(caption).to_contain_text("n = 16 streams")
    expect(page.locator(".words").first).to_contain_text("At n = 16 and spread 1")


def test_every_digit_on_hover_is_the_library_s(tab: Callable[..., File], folder: Path) -> None:
    file = tab().show(folder / "four.html")
    for streams in (4, 16):
        label = re.compile(f"^{streams}$")
        file.page.locator(".choice label", has_text=label).click()
        surface = gains(streams)
        for direction in ("forward", "backward"):
            wanted = surface.sel(direction=direction).values.ravel().tolist()
            wrong = file.page.evaluate(
                """([name, own]) => {
                  const texts = (x) => [mhc.exact(x), mhc.in_words(x), mhc.verdict(x)].join()
                  const {data} = Bokeh.documents[0].get_model_by_name("surface")
                  const values = [...(data instanceof Map ? data.get(name) : data[name])]
                  return values.map((x, i) => [texts(x), texts(own[i])]).filter(([a, b]) => a !== b)
                }""",
                [f"{direction}.median", wanted],
            )
            assert wrong == []


def test_keys_and_screen_readers_reach_all_of_it(tab: Callable[..., File], folder: Path) -> None:
    file = tab().show(folder / "four.html")
    page = file.page
    file.set("Sinkhorn iterations", 4)
    page.get_by_role("radio", name="4", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="8", exact=True)).to_be_checked()
    expect(page.get_by_role("group", name="Streams (n)")).to_be_visible()
    gain = in_text(float(gains(8).sel(depth=64, iterations=4).max()))
    expect(page.locator(".spoken")).to_contain_text(f"4 iterations: {gain}.")
    plots = page.get_by_role("img")
    expect(plots).to_have_count(2)
    expect(plots.first).to_have_accessible_name(re.compile("Plot at 64 layers, 4 iterations"))
    file.keeps_nobody_out()


def test_with_reduced_motion_play_goes_to_the_end(tab: Callable[..., File], folder: Path) -> None:
    file = tab(reduced_motion="reduce").show(folder / "four.html")
    file.page.get_by_role("button", name="Play Sinkhorn iterations").click()
    expect(file.slider("Sinkhorn iterations")).to_have_value("30", timeout=200)


HOST = """<!DOCTYPE html><meta charset="utf-8"><title>A post</title>
<style>* {{ letter-spacing: 3px }} label {{ color: red }} body {{ max-width: 720px }}</style>
<script>
  heights = []
  addEventListener("message", ({{data}}) => {{
    if (data.type === "mhc-height") heights.push(data.height)
  }})
</script>
<p>Some words.</p>{}"""


def test_in_a_frame_it_moves_and_tells_its_height(tab: Callable[..., File], folder: Path) -> None:
    host = folder / "host.html"
    host.write_text(HOST.format('<iframe src="four.html" width="700" height="300"></iframe>'))
    file = tab()
    page = file.page
    page.goto(host.as_uri())
    frame = page.frame_locator("iframe")
    slider = frame.get_by_role("slider", name="Sinkhorn iterations")
    expect(slider).to_have_value("1")
    slider.press("ArrowRight")
    inner = page.frames[1]
    assert file.headline(inner) == headline_of(gains(4), 64, 2)
    page.wait_for_function("heights.length > 0")
    height = page.evaluate("heights.at(-1)")
    assert height > 500
    # Once the host has set that height, the file sends no other.
    page.evaluate("(h) => { document.querySelector('iframe').style.height = `${h}px` }", height)
    page.wait_for_timeout(300)
    assert page.evaluate("heights.at(-1)") == height
    assert inner.evaluate("document.documentElement.scrollHeight") <= height


@pytest.mark.long
def test_two_fragments_in_a_host_that_loads_bokehjs_leave_each_other_alone(
    tab: Callable[..., File], folder: Path
) -> None:
    parts = [
        mhc.export_html(mhc.Experiment(members=2, streams=n), fragment=True, title=f"Part {n}")
        for n in (2, 8)
    ]
    host = folder / "fragments.html"
    # BokehJS is loaded last.
    host.write_text(HOST.format("".join(parts) + '<script defer src="bokeh.min.js"></script>'))
    file = tab()
    page = file.page
    page.goto(host.as_uri())
    both = page.locator(".mhc-demo")
    expect(both).to_have_count(2)
    sliders = page.get_by_role("slider", name="Sinkhorn iterations")
    expect(sliders).to_have_count(2)
    expect(page.locator(".bk-Figure")).to_have_count(4)
    sliders.last.press("ArrowLeft")
    assert file.headline() == headline_of(gains(2, 2), 64, 1) + headline_of(gains(8, 2), 64, 0)
    sliders.first.press("ArrowRight")
    assert file.headline() == headline_of(gains(2, 2), 64, 2) + headline_of(gains(8, 2), 64, 0)
    # The host's own styles do not apply inside.
    label = both.first.get_by_text("Sinkhorn iterations").first
    assert label.evaluate("(n) => getComputedStyle(n).letterSpacing") == "normal"
    assert label.evaluate("(n) => getComputedStyle(n).color") == "rgb(22, 25, 29)"


def test_a_fragment_without_bokehjs_says_what_is_missing(
    tab: Callable[..., File], folder: Path
) -> None:
    host = folder / "bare.html"
    host.write_text(HOST.format(mhc.export_html(mhc.Experiment(members=1), fragment=True)))
    page = tab().page
    page.goto(host.as_uri())
    expect(page.locator(".missing")).to_contain_text("The plots need BokehJS 3.")


def another_bokehjs(folder: Path, version: str) -> str:
    """A script that is BokehJS by all that a page can see, but has another version's number."""
    text = (folder / "bokeh.min.js").read_text("utf-8")
    own = bokeh.__version__
    assert f'"{own}"' in text
    (folder / f"bokeh-{version}.js").write_text(text.replace(f'"{own}"', f'"{version}"'), "utf-8")
    return f'<script src="bokeh-{version}.js"></script>'


OWN = '<script src="bokeh.min.js"></script>'


@pytest.mark.parametrize("first", usual("theirs", of=("theirs", "ours")))
def test_a_fragment_takes_its_own_bokehjs_beside_another_one(
    tab: Callable[..., File], folder: Path, first: str
) -> None:
    part = mhc.export_html(mhc.Experiment(members=2), fragment=True)
    scripts = [another_bokehjs(folder, "2.4.3"), OWN]
    if first == "ours":
        scripts.reverse()
    host = folder / f"beside-{first}.html"
    host.write_text(HOST.format("".join(scripts) + part))
    file = tab()
    file.page.goto(host.as_uri())
    file.slider("Sinkhorn iterations").press("ArrowRight")
    assert file.headline() == headline_of(gains(4, 2), 64, 2)
    expect(file.page.locator(".bk-Figure")).to_have_count(2)
    theirs = "2.4.3" if first == "theirs" else bokeh.__version__
    assert file.page.evaluate("Bokeh.version") == theirs  # the host's plots keep what they had


@pytest.mark.long
def test_a_fragment_is_drawn_in_a_shadow_root(tab: Callable[..., File], folder: Path) -> None:
    """Of the document's own markup, or of a component that fills it later."""
    written, filled = (
        mhc.export_html(mhc.Experiment(members=2, streams=n), fragment=True) for n in (2, 8)
    )
    component = """<a-part></a-part><script>
      const root = document.querySelector("a-part").attachShadow({mode: "open"});
      root.innerHTML = PART;
      for (const old of root.querySelectorAll("script")) {
        const script = document.createElement("script"); // one that is parsed so does not run
        script.textContent = old.textContent;
        old.replaceWith(script);
      }
    </script>""".replace("PART", json.dumps(filled).replace("</", "<\\/"))
    markup = f'<div><template shadowrootmode="open">{written}</template></div>'
    host = folder / "shadow.html"
    host.write_text(HOST.format(OWN + markup + component))
    file = tab()
    file.page.goto(host.as_uri())
    sliders = file.page.get_by_role("slider", name="Sinkhorn iterations")
    expect(sliders).to_have_count(2)
    sliders.last.press("ArrowLeft")
    assert file.headline() == headline_of(gains(2, 2), 64, 1) + headline_of(gains(8, 2), 64, 0)


def test_the_keys_of_a_fragment_s_controls_do_not_turn_a_host_s_slides(
    tab: Callable[..., File], folder: Path
) -> None:
    """Slides look whether an input has the focus, and cannot see one in a shadow root."""
    heard = '<script>heard = []; addEventListener("keydown", ({key}) => heard.push(key))</script>'
    part = mhc.export_html(mhc.Experiment(members=1), fragment=True)
    host = folder / "slides.html"
    host.write_text(HOST.format(heard + OWN + part))
    file = tab()
    file.page.goto(host.as_uri())
    slider = file.slider("Depth (layers)")
    for key in ("ArrowRight", "End", "PageUp", "Escape"):
        slider.press(key)
    expect(slider).not_to_have_value("64")
    file.page.locator("p").first.click()
    file.page.keyboard.press("ArrowRight")  # nothing has the focus
    assert file.page.evaluate("heard") == ["PageUp", "Escape", "ArrowRight"]


POST = """# A post

Some *words*, and [another page](other.md).

--8<-- "part.html"

More **words**.
"""

MKDOCS = """site_name: A site
theme: {name: material, font: false, features: [navigation.instant]}
plugins: []
extra_javascript: [bokeh.min.js]
exclude_docs: part.html
markdown_extensions:
  - pymdownx.snippets: {base_path: [docs], check_paths: true}
"""


@pytest.mark.long
def test_a_fragment_in_a_page_of_mkdocs_material(page: Page, folder: Path, tmp_path: Path) -> None:
    """Opened by its address, and by a link, which exchanges the content without loading a page."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True, timeout=120)
    python = str(tmp_path / "env" / "bin" / "python")
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "mkdocs-material"]
    subprocess.run([python, *install], check=True, timeout=600)
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(folder / "bokeh.min.js", docs)
    part = mhc.export_html(mhc.Experiment(members=2), fragment=True)
    (docs / "part.html").write_text(part, "utf-8")
    (docs / "index.md").write_text("# Home\n\n[A post](post.md)\n", "utf-8")
    (docs / "post.md").write_text(POST, "utf-8")
    (docs / "other.md").write_text(POST, "utf-8")
    (tmp_path / "mkdocs.yml").write_text(MKDOCS, "utf-8")
    subprocess.run([python, "-m", "mkdocs", "build"], cwd=tmp_path, check=True, timeout=120)
    file = File(page)
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    server = subprocess.Popen([*command, "-d", str(tmp_path / "site")], stderr=subprocess.DEVNULL)
    try:
        home = f"http://127.0.0.1:{port}/"
        await_server(server, home)
        page.goto(f"{home}post/")
        for _ in range(2):
            file.slider("Sinkhorn iterations").press("ArrowRight")
            assert file.headline() == headline_of(gains(4, 2), 64, 2)
            expect(page.locator("article .bk-Figure")).to_have_count(2)
            expect(page.locator("article strong", has_text="words")).to_be_visible()
            page.get_by_role("link", name="another page").click()
            expect(page).to_have_url(f"{home}other/")
    finally:
        server.terminate()
        server.wait(20)
    assert file.problems == []


DARK, LIGHT = "rgb(18, 18, 18)", "rgb(255, 255, 255)"


@pytest.mark.parametrize("theme", usual("auto", of=("auto", "light", "dark")))
def test_its_theme_is_the_reader_s_or_the_chosen_one(
    tab: Callable[..., File], folder: Path, theme: str
) -> None:
    file = tab().show(exported(folder, f"theme-{theme}", theme=theme))
    for scheme in ("light", "dark", "light"):
        file.page.emulate_media(color_scheme=scheme)
        dark = scheme == "dark" if theme == "auto" else theme == "dark"

        def all_of_it_is(dark: bool = dark) -> None:
            ground = file.page.locator(".mhc-demo").evaluate(
                "(node) => getComputedStyle(node).backgroundColor"
            )
            assert ground == (DARK if dark else LIGHT)
            ink = file.model("composite", "m.left[0].major_label_text_color")
            assert ink == ("rgb(233, 236, 239)" if dark else "rgb(22, 25, 29)")

        file.eventually(all_of_it_is, seconds=3)
    if theme != "light":  # the scheme that was last
        file.keeps_nobody_out()


@pytest.mark.parametrize("name", usual("four", of=("four", "why", "real")))
def test_nothing_is_cut_off_on_a_narrow_screen(
    tab: Callable[..., File], folder: Path, name: str
) -> None:
    path = folder / "four.html" if name == "four" else exported(folder, name, scene=name)
    file = tab(720, 700).show(path)
    for width in (720, 390, 320):
        file.page.set_viewport_size({"width": width, "height": 700})
        file.page.wait_for_timeout(300)
        assert file.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_given_height_is_kept(tab: Callable[..., File], folder: Path) -> None:
    file = tab(1200, 900).show(exported(folder, "high", height=640))
    assert file.page.locator(".mhc-demo").evaluate("(node) => node.offsetHeight") == 640
    expect(file.page.locator(".caption")).to_be_in_viewport()


@pytest.mark.parametrize(
    "name",
    usual("surge", "training", of=SCENES),
)
def test_each_scene_is_drawn(tab: Callable[..., File], folder: Path, name: str) -> None:
    scene = SCENES[name]
    file = tab().show(exported(folder, f"scene-{name}", scene=name))
    page = file.page
    expect(page.get_by_role("heading", level=1)).to_have_text(scene.title)
    steps = scene.state.get("view") in ("sinkhorn", "lab")  # they have a slider of their own
    expect(page.get_by_role("slider")).to_have_count(
        len({"iterations", "depth"} & set(scene.controls)) + steps
    )
    expect(page.locator(".mhc-headline")).to_have_count(int(scene.headline))
    if scene.state.get("view") == "figure8":
        expect(page.locator(".fig8-matrix")).to_have_count(12)
        return
    if scene.state.get("view") == "cost":
        expect(page.locator(".cost-table")).to_have_count(3)
        return
    plots = page.locator(".plot").filter(visible=True)
    expect(page.get_by_role("img").filter(visible=True)).to_have_count(plots.count())
    if "depth" in scene.controls:
        file.set("Depth (layers)", scene.state.get("depth", 64) + 3)


def test_one_matrix_is_stepped_through_in_a_file(tab: Callable[..., File], folder: Path) -> None:
    experiment = mhc.Experiment(members=1, streams=3)
    arguments = {"experiment": experiment, "plots": ["composite", "sinkhorn"], "layer": 2}
    file = tab().show(exported(folder, "sinkhorn", **arguments))
    page = file.page
    steps = mhc.half_steps(mhc.sample_mixing(2, streams=3, seed=experiment.seed)[0, -1])
    further = page.get_by_role("button", name="Next half step")
    for _ in range(3):
        further.click()
    status = page.locator(".mhc-steps [role=status]")
    expect(status).to_have_text(sentences(steps)[3])
    block = np.reshape(file.matrix("sinkhorn-matrix")["value"], (4, 4))
    np.testing.assert_allclose(block[:3, :3], steps["mantissa"][3], rtol=1e-6)
    file.slider("Step").press("End")
    expect(status).to_have_text(sentences(steps)[-1])

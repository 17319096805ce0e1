"""The story as a file, in a browser without a network: from a disk and in a sandboxed frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import mhc_demo as mhc
from mhc_demo.app.state import URL_PARAMETERS, State
from mhc_demo.numerics.numbers import in_text
from mhc_demo.story.results import Results
from mhc_demo.story.scenes import SCENES, SHORT

from .conftest import Explorer, made_once

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole story."""
    return made_once(tmp_path_factory, "whole", lambda folder: export(folder, "whole")) / NAME


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short way."""
    return made_once(tmp_path_factory, "short", lambda folder: export(folder, "short")) / NAME


NAME = "story.html"


def export(folder: Path, way: str) -> None:
    (folder / NAME).write_text(mhc.export_story(way), "utf-8")


@pytest.fixture
def tab(browser: Browser) -> Iterator[Explorer]:
    """A tab that has no network, and may report no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    context.add_init_script("Element.prototype.requestFullscreen = async () => {}")
    explorer = Explorer(context.new_page())
    asked: list[str] = []
    explorer.page.on("request", lambda request: asked.append(request.url))
    yield explorer
    assert explorer.problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def title(page: Page) -> str:
    return page.locator(".mhc-story h2").inner_text()


def headline(name: str) -> list[str]:
    """The two numbers of a scene by the library, as `Explorer.number` reads them."""
    defaults = {each: State.param[each].default for each in URL_PARAMETERS}
    results = Results({**defaults, **SCENES[name].state})
    both = [in_text(results.gain(0)), in_text(results.gain())]
    return [text.replace("^", "") for text in both]


NEVER_MORE = 2
"""Scenes that wait in the wings: the next, and the one before."""


def waiting(page: Page) -> int:
    """How many scenes wait, or are about to."""
    return page.locator(".mhc-wing").count()


def told_headline(page: Page) -> list[str]:
    """The numbers of the headline, if the scene has one: also those that a guess covers."""
    expect(page.locator(".mhc-stage:not([aria-busy])")).to_have_count(1)
    return page.locator(".mhc-stage .mhc-headline .number").all_inner_texts()


@pytest.mark.parametrize("way", ["short", pytest.param("whole", marks=pytest.mark.long)])
def test_it_is_told_with_a_clicker_from_a_disk(
    tab: Explorer, request: pytest.FixtureRequest, way: str
) -> None:
    scenes = {name: SCENES[name] for name in (SHORT if way == "short" else SCENES)}
    page = tab.page
    page.goto(request.getfixturevalue(way).as_uri())
    page.get_by_role("button", name="Present").click()
    answer = page.get_by_role("button", name="Show the answer")
    begun: dict[str, list[str]] = {}
    answered: dict[str, list[str]] = {}
    for i, (name, scene) in enumerate(scenes.items()):
        expect(page.locator(".mhc-story h2")).to_have_text(scene.title)
        begun[name] = told_headline(page)
        assert waiting(page) <= NEVER_MORE
        assert page.evaluate("Bokeh.documents.length") == 1  # the others are nobody's business
        if scene.guess:
            expect(answer).to_have_count(1)
            page.keyboard.press("PageDown")
        expect(answer).to_have_count(0)
        # The short way leaves them out.
        expect(page.locator(".mhc-story .question")).to_have_count(int(way == "whole"))
        stage = page.locator(".mhc-stage")
        expect(stage.locator(".mhc-headline")).to_have_count(int(scene.headline))
        if scene.headline:
            numbers = page.locator(".mhc-headline .number").filter(visible=True)
            wanted = headline(name)[: 1 if "headline-projected" in scene.hidden else 2]
            expect(numbers).to_have_text(wanted)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.url.endswith(f"#{name}") or name == next(iter(scenes))
        if scene.guess:
            answered = {name: told_headline(page)}
        if i % 2:  # every other scene is asked for before it is ready
            ready = min(i, 1) + (i + 1 < len(scenes))
            expect(page.locator(".mhc-wing:not([aria-busy])")).to_have_count(ready)
        page.keyboard.press("PageDown")
    expect(page.locator(".mhc-story h2")).to_have_text(list(scenes.values())[-1].title)
    for name in reversed(scenes):
        expect(page.locator(".mhc-story h2")).to_have_text(SCENES[name].title)
        assert told_headline(page) == answered.get(name, begun[name])
        page.keyboard.press("PageUp")
    assert waiting(page) <= NEVER_MORE
    for key in ("s", "c"):  # of the live page alone: nothing happens, and nothing breaks
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Present")).to_be_visible()
    tab.keeps_nobody_out()


def test_a_link_opens_a_scene_whose_training_is_replayed(tab: Explorer, short: Path) -> None:
    page = tab.page
    page.goto(f"{short.as_uri()}#training")
    expect(page.locator(".mhc-story .where")).to_have_text(f"{len(SHORT)} / {len(SHORT)}")
    expect(page.locator(".veil")).to_have_count(5)
    expect(page.locator(".lab-verdict b").first).to_be_hidden()
    page.get_by_role("button", name="Show the answer").click()
    expect(page.locator(".lab-verdict b").first).to_be_visible()
    step = tab.slider("Step of training")
    expect(step).not_to_have_value(re.compile("^[1-4]?$"))  # it plays
    tab.keeps_nobody_out()
    # The scene before it, and back again by the browser's own way.
    page.get_by_role("button", name="Back").click()
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES["why"].title)
    page.go_back()
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES["training"].title)
    expect(page.get_by_role("button", name="Next ▶", exact=True)).to_be_disabled()


VIEWS = """() => {
  const within = (node, place) =>
    node === place || (node && within(node.parentNode ?? node.host, place))
  const plots = [...Bokeh.index.query(({model}) => model.type === "Figure")]
  return ["mhc-stage", "mhc-wing"].map((name) => {
    const place = document.querySelector(".mhc-demo").shadowRoot.querySelector("." + name)
    const {width, height} = place.getBoundingClientRect()
    return {width, height, plots: plots.filter(({el}) => within(el, place)).map(
      ({model, _render_count, bbox}) => [model.id, _render_count, bbox.width, bbox.height])}
  })
}"""
"""Of the stage and the first of the wings the size, and the plots: how often each was painted."""


@pytest.mark.long
def test_the_next_scene_waits_as_it_will_be(tab: Explorer, whole: Path) -> None:
    page = tab.page
    ready = page.locator(".mhc-wing:not([aria-busy])")
    page.goto(whole.as_uri() + "#others")
    expect(ready).to_have_count(2)
    expect(page.get_by_role("slider")).to_have_count(2)  # what waits is out of everyone's reach
    page.wait_for_timeout(300)  # late plots
    _, waits = page.evaluate(VIEWS)
    page.emulate_media(color_scheme="dark")
    page.locator(".mhc-story h2").press("Tab")  # no plot is touched
    page.get_by_role("button", name="Next ▶", exact=True).press("Enter")
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES["sharp"].title)
    shown, _ = page.evaluate(VIEWS)
    sizes = {each: shown[each] for each in ("width", "height")}
    assert [each[0] for each in shown["plots"]] == [each[0] for each in waits["plots"]]
    assert [each[2:] for each in shown["plots"]] == [each[2:] for each in waits["plots"]]
    assert sizes["height"] == pytest.approx(waits["height"], abs=1)  # rounded to pixels
    ink, article = page.evaluate(
        """() => [[...Bokeh.documents[0].all_models].find(({type}) => type === "LinearAxis")
             .major_label_text_color,
           getComputedStyle(
             document.querySelector(".mhc-demo").shadowRoot.querySelector("article")).color]"""
    )
    assert ink == article
    # A scene that somebody has moved something in begins again; one that nobody touched has waited.
    tab.slider("Sinkhorn iterations").press("End")
    expect(tab.slider("Sinkhorn iterations")).to_have_value("30")
    page.evaluate("location.hash = 'others'")
    expect(ready).to_have_count(2)
    # Not one of the first: V8 keeps these with the shapes of objects, as it does their getters.
    page.evaluate("window.left = new WeakRef([...Bokeh.index.roots].at(-1))")
    page.evaluate("location.hash = 'sharp'")
    expect(tab.slider("Sinkhorn iterations")).to_have_value("1")
    # What has left is not kept.
    page.evaluate("location.hash = 'surge'")
    expect(ready).to_have_count(1)
    cdp = page.context.new_cdp_session(page)
    cdp.send("HeapProfiler.collectGarbage")
    assert page.evaluate("left.deref() === undefined")
    documents = "new Set([...Bokeh.index.roots].map(({model}) => model.document)).size"
    assert page.evaluate(documents) == 2


@pytest.mark.long
def test_it_lives_in_a_sandboxed_frame(tab: Explorer, short: Path) -> None:
    page = tab.page
    html = short.read_text("utf-8")
    page.set_content(
        f'<iframe sandbox="allow-scripts" srcdoc="{escape(html)}" '
        'style="width: 1000px; height: 800px"></iframe>'
    )
    frame = page.frame_locator("iframe")
    expect(frame.locator(".mhc-story h2")).to_have_text(SCENES["surge"].title)
    frame.get_by_role("button", name="Next ▶", exact=True).click()
    expect(frame.locator(".mhc-story h2")).to_have_text(SCENES["widen"].title)
    expect(frame.get_by_role("img", name=re.compile("^A signal|^Signal"))).to_have_count(1)


def test_a_scene_is_worth_printing(tab: Explorer, short: Path) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark")
    page.goto(f"{short.as_uri()}#surge")
    expect(page.locator(".bk-Figure").first).to_be_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    host = page.locator(".mhc-demo")
    assert host.evaluate("(e) => getComputedStyle(e).filter").startswith("invert(1)")
    assert host.evaluate("(e) => e.getBoundingClientRect().width") <= 1046  # of the paper
    expect(page.locator(".mhc-story nav")).to_be_hidden()
    plot = page.locator(".bk-Figure").filter(visible=True).bounding_box()
    words = page.locator(".words").first.bounding_box()
    assert plot
    assert words
    assert plot["height"] > 100
    assert plot["y"] + plot["height"] <= words["y"]
    # A canvas that clears itself would clear what is below it on the sheet, had it no own layer.
    opacity = """() => [...Bokeh.index.query(({model}) => model.type === "Figure")].flatMap(
      ({canvas_view: {primary, overlays}}) =>
        [primary, overlays].map(({canvas}) => getComputedStyle(canvas).opacity))"""
    assert set(page.evaluate(opacity)) == {"0.999"}
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert set(page.evaluate(opacity)) == {"1"}
    page.emulate_media(media="screen", color_scheme="dark")
    expect(page.locator(".mhc-story nav")).to_be_visible()
    assert host.get_attribute("data-theme") == "auto"

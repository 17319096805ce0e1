"""The explorer as a notebook displays it: in a real kernel, in a document that is not its own."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import nbformat
import pytest
from bokeh.plotting import figure
from nbclient import NotebookClient
from playwright.sync_api import Browser, Page, expect

import mhc_demo as mhc
from mhc_demo.export.framed import Shown
from mhc_demo.numerics.numbers import in_text

from .conftest import ROOT, Explorer

pytestmark = pytest.mark.browser

NOTEBOOKS = ROOT / "notebooks"


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], nbformat.NotebookNode]]:
    """Run a cell in a kernel, and return it with its outputs."""
    notebook = nbformat.v4.new_notebook()
    where = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where)

    def execute(source: str) -> nbformat.NotebookNode:
        notebook.cells.append(nbformat.v4.new_code_cell(source))
        return client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)

    with client.setup_kernel():
        yield execute


@pytest.mark.long
def test_the_explorer_in_a_notebook_and_python_tell_each_other_what_changes(
    page: Page, run: Callable[[str], nbformat.NotebookNode], explorer: Explorer
) -> None:
    shown = run(
        "import mhc_demo as mhc\nexplorer = mhc.Explorer(iterations=0, live=True)\nexplorer"
    ).outputs
    (display,) = [output for output in shown if "data" in output]  # and no BokehJS beside it
    other = run("mhc.Explorer(streams=2, depth=32, live=True)").outputs[-1]
    html = display.data["text/html"] + other.data["text/html"]
    page.set_content(f"<main><h1>A notebook</h1>{html}</main>")
    first, second = (page.frame_locator("iframe").nth(i) for i in (0, 1))
    numbers = first.locator(".mhc-headline .number")
    expect(numbers.nth(1)).to_contain_text("10")
    expect(second.get_by_role("slider", name="Depth (layers)", exact=True)).to_have_value("32")

    first.get_by_role("slider", name="Sinkhorn iterations", exact=True).press("ArrowRight")
    expect(numbers.nth(1)).to_have_text("1.13")
    streams = first.get_by_role("slider", name="Streams (n)", exact=True)
    streams.press("ArrowRight")
    said = (
        "state = explorer.state\nprint(state.streams, state.iterations, explorer.surface.streams)"
    )

    def python_knows() -> None:
        assert run(said).outputs[0].text == "5 1 5\n"

    explorer.eventually(python_knows)
    run("explorer.state.param.update(streams=3, iterations=0)")
    expect(streams).to_have_value("3")
    expect(numbers.nth(1)).to_contain_text("10")
    expect(second.get_by_role("slider", name="Streams (n)", exact=True)).to_have_value("2")
    assert page.url == "about:blank"  # the address is the notebook's


@pytest.mark.long
def test_however_often_explorers_are_displayed_one_server_shows_them(
    page: Page, run: Callable[[str], nbformat.NotebookNode], explorer: Explorer
) -> None:
    """And what the notebook lets go of is not kept, not even by an open page."""
    # Not as the last expression of a cell, which IPython keeps.
    display = run("""import mhc_demo as mhc
from IPython.display import display
explorer = mhc.Explorer(depth=32, live=True)
display(explorer)""").outputs[-1]
    html = display.data["text/html"]
    page.set_content(html)
    depth = page.frame_locator("iframe").get_by_role("slider", name="Depth (layers)", exact=True)
    expect(depth).to_have_value("32")
    run("""import gc, threading, weakref
before = threading.active_count()
again = {explorer._repr_mimebundle_()["text/html"] for _ in range(3)}
other = mhc.Explorer(depth=32, live=True)._repr_mimebundle_()["text/html"]
more = threading.active_count() - before
state = weakref.ref(explorer.state)""")
    assert run("print(more, again)").outputs[0].text == f"0 {{{html!r}}}\n"
    address, key = re.search(r'src="(.*/)([\w-]+)"', html).groups()
    assert len(key) > 40  # what nobody guesses
    assert run("print(other)").outputs[0].text.startswith(f'<iframe src="{address}')
    assert key not in run("print(other)").outputs[0].text

    run("explorer.state.depth = 48")
    expect(depth).to_have_value("48")
    run("del explorer")

    def state_is_gone() -> None:
        assert run("gc.collect()\nprint(state())").outputs[-1].text == "None\n"

    explorer.eventually(state_is_gone)
    depth.press("ArrowRight")
    expect(depth).to_have_value("49")
    kept = f"from mhc_demo.app import notebook\nprint(notebook._shown[{key!r}].values['depth'])"

    def server_has_heard() -> None:
        assert run(kept).outputs[0].text == "49\n"

    explorer.eventually(server_has_heard)
    page.reload()  # it goes on by itself, from where it is
    page.set_content(html)
    expect(depth).to_have_value("49")
    page.set_content(html.replace(key, "x" * len(key)))
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("run its cell again")


TWO = """import mhc_demo as mhc
usual, own = (mhc.Explorer(iterations=0, view=view) for view in ("signal", "my-model"))"""
"""A view that a file can hold, and one that it cannot."""


def in_document(*outputs: str) -> str:
    return (
        f'<!DOCTYPE html><meta charset="utf-8"><main><h1>A notebook</h1>{"".join(outputs)}</main>'
    )


@pytest.fixture
def on_this_machine() -> Iterator[Callable[..., str]]:
    """Serve a document on this machine, as a notebook's server does; returns its address."""
    served = [""]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(served[0].encode())

        def log_message(self, *_: Any) -> None:
            pass

    def show(*outputs: str) -> str:
        served[0] = in_document(*outputs)
        return f"http://localhost:{server.server_port}/"

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield show
        server.shutdown()


def elsewhere(page: Page, *outputs: str, base: str = "") -> None:
    """Open a document on another machine; with `base`, JupyterLab's, which says that address."""
    said = f'<script id="jupyter-config-data" type="json">{{"baseUrl": "{base}"}}</script>'
    body = in_document(said if base else "", *outputs)
    page.route("http://hub.test/", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto("http://hub.test/")


def test_the_page_takes_the_place_of_the_file_if_the_kernel_answers(
    page: Page, run: Callable[[str], nbformat.NotebookNode], on_this_machine: Callable[..., str]
) -> None:
    run(TWO)
    usual, own = (run(name).outputs[-1].data["text/html"] for name in ("usual", "own"))
    key = re.search(r"/explorer/([\w-]{40,})", usual)[1]
    seen = Explorer(page)
    page.goto(on_this_machine(usual.replace(key, "x" * len(key)), own))  # of another kernel
    file, live = (page.frame_locator(f"iframe{kind}") for kind in ("[srcdoc]", ":not([srcdoc])"))
    expect(page.locator("figure")).to_have_count(1)  # the file's, not that of the view without one
    expect(page.locator("figure")).to_be_hidden()
    live.get_by_role("tab", name="Gain", exact=True).click()  # whose view has the sliders
    for shown in (file, live):
        shown.get_by_role("slider", name="Sinkhorn iterations", exact=True).press("ArrowRight")
        expect(shown.locator(".mhc-headline .number").nth(1)).to_have_text("1.13")

    def python_knows() -> None:
        said = run("print(usual.state.iterations, own.state.iterations)").outputs[0].text
        assert said == "0 1\n"

    seen.eventually(python_knows)
    assert seen.problems == []


@pytest.mark.long
def test_from_another_machine_the_page_is_sought_behind_the_notebook_s_server(
    page: Page, run: Callable[[str], nbformat.NotebookNode]
) -> None:
    """Its extension jupyter-server-proxy passes `proxy/PORT/` on to that port."""
    run(TWO)
    html = run("own").outputs[-1].data["text/html"]
    port = re.search(r'"port": (\d+)', html)[1]
    behind = f"http://hub.test/user/x/proxy/{port}/"
    page.route(f"{behind}**", lambda route: route.fulfill(body="the page"))
    page.route(
        f"{behind}**/liveness",
        lambda route: route.fulfill(
            response=route.fetch(url=route.request.url.replace(behind, f"http://localhost:{port}/"))
        ),
    )
    elsewhere(page, html, base="/user/x/")
    live = page.locator("iframe:not([srcdoc])")
    expect(live).to_have_attribute("src", re.compile(rf"^/user/x/proxy/{port}/explorer/"))
    expect(page.frame_locator("iframe").locator("body")).to_have_text("the page")
    expect(page.locator("figure")).to_have_count(0)


def test_elsewhere_and_without_a_kernel_the_file_stays(
    page: Page, run: Callable[[str], nbformat.NotebookNode]
) -> None:
    run(TWO)
    usual, own = (run(name).outputs[-1].data["text/html"] for name in ("usual", "own"))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    elsewhere(page, usual, own)
    frame = page.frame_locator("iframe")
    frame.get_by_role("slider", name="Sinkhorn iterations", exact=True).press("ArrowRight")
    expect(frame.locator(".mhc-headline .number").nth(1)).to_have_text("1.13")
    assert [url for url in requests if url.startswith("http")] == ["http://hub.test/"]
    height = page.locator("iframe").evaluate("(frame) => frame.clientHeight")
    inside = page.frames[1].evaluate("document.documentElement.scrollHeight")
    assert inside <= height < 1.5 * inside
    # Not of the notebook's origin, whatever it holds.
    assert page.frames[1].evaluate("origin") == "null"
    first, second = (page.locator("figure").nth(i) for i in (0, 1))
    expect(first).to_be_hidden()
    expect(second).to_contain_text("The view “My model” needs a kernel")
    expect(second.get_by_role("img", name="Composite gain against depth")).to_be_visible()


def test_where_no_script_runs_a_picture_and_its_numbers_stand(browser: Browser) -> None:
    shown = mhc.Explorer(live=False, members=4)._repr_mimebundle_()
    gains = mhc.gain_surface(mhc.Experiment(members=4))["log10_gain"]
    most = gains.sel(depth=64, series="median").max("direction")
    hc, projected = (in_text(float(most.sel(iterations=t))) for t in (0, 1))
    assert hc in shown["text/plain"]
    assert projected in shown["text/plain"]
    assert "<svg" in shown["image/svg+xml"]
    assert "localhost" not in shown["text/html"]
    # A code host removes frames and scripts.
    safe = re.sub(r"<(iframe|script).*?</\1>", "", shown["text/html"], flags=re.DOTALL)
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.set_content(in_document(safe))
        picture = page.get_by_role("img")
        expect(picture).to_be_visible()
        assert picture.evaluate("(image) => image.naturalWidth") == 720
        expect(page.locator("figcaption b").first).to_have_text(hc.replace("^", ""))


@pytest.mark.parametrize(
    "name",
    [
        "1-explosion-and-cure",
        pytest.param("3-figures-and-embeds", marks=pytest.mark.long),
    ],
)
def test_a_stored_frame_opens_without_a_kernel(page: Page, name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.get("data", {}).get("text/html", "") for output in outputs]
    seen = Explorer(page)
    elsewhere(page, *(html for html in shown if "<iframe" in html))
    frame = page.frame_locator("iframe")
    slider = frame.get_by_role("slider", name="Sinkhorn iterations", exact=True)
    expect(slider).to_have_value("0")
    slider.press("ArrowRight")
    expect(frame.locator(".mhc-headline .number").nth(1)).to_have_text("1.13")
    expect(page.locator("figure")).to_be_hidden()
    assert seen.problems == []
    assert seen.hosts <= {"hub.test", ""}


@pytest.mark.long
def test_without_a_browser_to_draw_it_a_figure_comes_with_bokehjs(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = figure()
    p.line([1, 2, 3], [1, 4, 9])
    monkeypatch.setenv("MHC_BROWSER", "there-is-no-such-browser")
    shown, _ = Shown(p, "Squares", 200)._repr_mimebundle_()
    assert shown["text/plain"] == "Squares"
    elsewhere(page, shown["text/html"])
    plot = page.frame_locator("iframe[title=Squares]").locator(".bk-Figure")
    expect(plot).to_have_css("height", "200px")
    monkeypatch.delenv("MHC_BROWSER")
    shown, sizes = Shown(p, "Squares", 200, 400)._repr_mimebundle_()
    assert base64.b64decode(shown["image/png"])[1:4] == b"PNG"
    assert sizes == {"image/png": {"width": 400, "height": 200}}

"""The explorer as a notebook displays it: in a real kernel, in a document that is not its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import nbformat
import pytest
from nbclient import NotebookClient
from playwright.sync_api import Page, expect

from .conftest import Explorer

pytestmark = pytest.mark.browser


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


def test_the_explorer_in_a_notebook_and_python_tell_each_other_what_changes(
    page: Page, run: Callable[[str], nbformat.NotebookNode], explorer: Explorer
) -> None:
    shown = run("import mhc_demo as mhc\nexplorer = mhc.Explorer(iterations=0)\nexplorer").outputs
    (display,) = [output for output in shown if "data" in output]  # and no BokehJS beside it
    other = run("mhc.Explorer(streams=2, depth=32)").outputs[-1]
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


def test_however_often_explorers_are_displayed_one_server_shows_them(
    page: Page, run: Callable[[str], nbformat.NotebookNode], explorer: Explorer
) -> None:
    """And what the notebook lets go of is not kept, not even by an open page."""
    # Not as the last expression of a cell, which IPython keeps.
    display = run("""import mhc_demo as mhc
from IPython.display import display
explorer = mhc.Explorer(depth=32)
display(explorer)""").outputs[-1]
    html = display.data["text/html"]
    page.set_content(html)
    depth = page.frame_locator("iframe").get_by_role("slider", name="Depth (layers)", exact=True)
    expect(depth).to_have_value("32")
    run("""import gc, threading, weakref
before = threading.active_count()
again = {explorer._repr_mimebundle_()["text/html"] for _ in range(3)}
other = mhc.Explorer(depth=32)._repr_mimebundle_()["text/html"]
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
    page.reload()  # it goes on by itself, from where it is
    page.set_content(html)
    expect(depth).to_have_value("49")
    page.set_content(html.replace(key, "x" * len(key)))
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("run its cell again")

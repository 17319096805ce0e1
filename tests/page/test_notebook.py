"""The explorer as a notebook displays it: in a real kernel, in a document that is not its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from playwright.sync_api import Page, expect

from .conftest import Explorer

pytestmark = pytest.mark.browser


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], nbformat.NotebookNode]]:
    """Run a cell in a kernel, and return it with its outputs."""
    notebook = nbformat.v4.new_notebook()
    where = {"metadata": {"path": str(tmp_path)}}
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

"""The notebooks run from a clean kernel, and what their prose says is what their cells print.

What is stored in them is what they print, and shows something wherever it is read.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

import mhc_demo as mhc
from mhc_demo.app.views import VIEWS

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def _runner() -> ModuleType:
    """`notebooks/run.py`, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fingerprint, run = _runner().fingerprint, _runner().run


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def printed(name: str, folder: Path, *, exact: bool = True) -> str:
    """What all cells print, in order, run in a kernel of their own in an empty folder.

    It is what is stored.  `exact`: to 2 % of each number, for they are rounded, and another
    processor's sums are in another order; of a network's training only the words are compared, for
    there such differences grow.
    """
    notebook = read(name)
    stored = words_and_numbers(texts(notebook))
    run(notebook, folder)
    text = texts(notebook)
    words, numbers = words_and_numbers(text)
    assert words == stored[0]
    if exact:
        assert numbers == pytest.approx(stored[1], rel=0.02)
    return text


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


def texts(notebook: nbformat.NotebookNode) -> str:
    """All that the cells print."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def words_and_numbers(text: str) -> tuple[str, list[float]]:
    """A text without its numbers, and those; what depends on the machine is left out."""
    lines = [re.sub(r"\d\S* (s|ms a step)$", "", line) for line in text.splitlines()]
    told = "\n".join(line.rstrip() for line in lines if not line.startswith("mhc_demo "))
    numbers = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
    words = " ".join(re.sub(numbers, "#", told).split())
    return words, [float(each) for each in re.findall(numbers, told)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_with_the_outputs_of_its_code(name: str) -> None:
    """`make notebooks` stores them; whoever changes a cell has to run it."""
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.metadata.mhc_demo.executed == fingerprint(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert f"mhc_demo {mhc.__version__}" in texts(notebook)
    assert (FOLDER / name).stat().st_size < 1.5e6


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_s_outputs_show_something_where_no_script_runs(name: str) -> None:
    """A code host removes frames and scripts from HTML, and knows of other types the pictures."""
    shown = 0
    for cell in read(name).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            html = data.get("text/html", "")
            safe = re.sub(r"<(iframe|script)\b.*?</\1>", "", html, flags=re.DOTALL)
            assert not html or "<img" in safe or "<table" in safe
            assert set(data) <= {"text/plain", "text/html", "image/png", "image/svg+xml"}
            shown += "<img" in safe or "image/png" in data
    assert shown


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_with_what_it_needs(name: str) -> None:
    opening = read(name).cells[0]
    assert opening.cell_type == "markdown"
    assert opening.source.startswith("# ")
    assert "**Needs**" in opening.source
    assert ".[notebooks]" in opening.source


@pytest.mark.parametrize(
    "state",
    [{"view": "my-model"}, {"view": "sinkhorn", "own": [1.0] * 16}],
    ids=lambda state: state["view"],
)
def test_a_view_that_a_file_cannot_hold_says_so_and_shows_a_picture(state: dict[str, Any]) -> None:
    view = VIEWS[state["view"]].title
    shown = mhc.Explorer(live=False, members=1, **state)._repr_mimebundle_()["text/html"]
    assert f"The view “{view}” needs a kernel that this browser reaches" in shown
    assert "<iframe" not in shown
    assert '<img src="data:image/svg+xml;' in shown


def test_an_explorer_is_written_as_what_makes_it() -> None:
    assert repr(mhc.Explorer(members=1, iterations=0)) == "Explorer(iterations=0, members=1)"


def test_the_explosion_and_its_cure(tmp_path: Path) -> None:
    text = printed("1-explosion-and-cure.ipynb", tmp_path)
    raw = number(r"raw +10\^([\d.]+)", text)
    assert raw > 10
    assert number(r"exp alone +10\^([\d.]+)", text) > raw
    assert number(r"rows alone +([\d.]+)", text) <= 4
    # One iteration buys the less, the sharper the logits.
    assert number(r"spread 1,  1 \D+([\d.]+)", text) < number(r"spread 5,  1 \D+([\d.]+)", text)
    assert number(r"mHC, 20 iteration\(s\): forward ([\d.]+)", text) == 1
    assert number(r"\b1 layer\(s\): (\S+)", text) > 1000 * number(r"16 layer\(s\): (\S+)", text)
    assert "4 streams, 64 layers, 0 iterations" in text


@pytest.mark.long
def test_the_layers_in_pytorch(tmp_path: Path) -> None:
    text = printed("2-layers-in-pytorch.ipynb", tmp_path, exact=False)
    most = {
        name: number(rf"{name} .* start 1\.00, at most ([\d.e+]+)", text)
        for name in ("residual", "HC", "mHC")
    }
    assert most["residual"] == 1
    assert most["HC"] > 100 * most["mHC"]  # "orders of magnitude apart"
    assert most["mHC"] < 2
    assert number(r"HC: mixing ([\d.]+)", text) > 0
    first, second = re.findall(r"layer [12]: (\S+)", text[text.index("mHC  |gradient") :])
    assert float(first) < 1e-4 * float(second)  # of mHC's: none, but for rounding


@pytest.mark.long
def test_figures_and_embeds(tmp_path: Path) -> None:
    text = printed("3-figures-and-embeds.ipynb", tmp_path)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"explosion.html", "streams.html", "surface.csv"} < written
    assert len(written & {"fig3.png", "fig3.html"}) == 1
    assert "rows: direction iterations depth series log10_gain" in text


@pytest.mark.long
def test_the_training_lab(tmp_path: Path) -> None:
    text = printed("4-training-lab.ipynb", tmp_path, exact=False)
    gain = {
        name: number(rf"{name} +largest composite gain 10\^(\S+)", text)
        for name in ("Residual", "HC", "mHC")
    }
    loss = {name: number(rf"{name} .*  loss (\S+)", text) for name in gain}
    assert gain["Residual"] == 0
    assert gain["HC"] > 2 + gain["mHC"]  # "explodes"
    assert gain["mHC"] < 0.3  # "near 1"
    assert loss["HC"] < min(loss["Residual"], loss["mHC"])  # "falls fastest"
    swept = re.findall(r"^0\.\d+ +10\^(\S+) +10\^(\S+)", text, re.MULTILINE)
    hc, mhc = ([float(row[i]) for row in swept] for i in (0, 1))
    assert len(hc) == 4
    assert hc == sorted(hc)  # "the learning rate decides"
    assert max(mhc) < 0.3
    assert "hc 60 steps, finished" in text
    assert {f"{name}.jsonl" for name in ("residual", "hc", "mhc")} == {
        path.name for path in (tmp_path / "out").iterdir()
    }

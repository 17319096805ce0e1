"""The notebooks run from a clean kernel, and what their prose says is what their cells print."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
PATIENCE = 300  # seconds until a cell that hangs is ended; none should come near it


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def printed(name: str, folder: Path) -> str:
    """What all cells print, in order, run in a kernel of their own in an empty folder."""
    notebook = read(name)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=PATIENCE, resources=where).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs_and_opens_with_what_it_needs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    opening = notebook.cells[0]
    assert opening.cell_type == "markdown"
    assert opening.source.startswith("# ")
    assert "**Needs**" in opening.source
    assert ".[notebooks]" in opening.source


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
    text = printed("2-layers-in-pytorch.ipynb", tmp_path)
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
    text = printed("4-training-lab.ipynb", tmp_path)
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

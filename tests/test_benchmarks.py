"""The benchmarks' results are kept, shown as they are, and not lost when a section fails.

What they measure is not tested here: it depends on the clock.
"""

from __future__ import annotations

import importlib
import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmarks.__main__ as command_line
from benchmarks import SECTIONS, report, results
from benchmarks.results import Table

TABLE = Table(
    {"what": "", "time_ms": "time, ms", "met": "met", "note": ""},
    [
        {"what": "a", "time_ms": 1234.5, "met": False},
        {"what": "b", "time_ms": 2e-7, "met": True},
        {"what": "c | d", "time_ms": None},
    ],
    "A title",
)


def test_the_page_is_what_the_results_generate() -> None:
    assert report.PAGE.read_text("utf-8") == report.page(), "run `make performance`"


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_has_a_heading_a_text_and_something_to_run(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.run)
    heading, _, text = module.__doc__.partition("\n")
    assert f"## {heading.rstrip('.')}\n" in report.page()
    assert text.strip() in report.page()


@pytest.mark.parametrize("name", sorted(path.stem for path in results.FOLDER.glob("*.json")))
def test_a_result_names_its_conditions_but_no_host_and_no_path(name: str) -> None:
    result = results.load(name)
    assert result is not None
    assert name in SECTIONS
    assert result.section == name
    assert result.tables
    assert {"processor", "cores", "memory_gib", "system", "gpu"} == result.machine.keys()
    assert {"Python", "numpy", "bokeh", "panel"} <= result.versions.keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result.date)
    text = (results.FOLDER / f"{name}.json").read_text("utf-8")
    assert socket.gethostname() not in text
    assert not re.search(r'[" ]/\w', text)


def test_a_table_shows_three_digits_and_no_column_without_a_value() -> None:
    assert report.markdown(TABLE).splitlines() == [
        "|  | time, ms | met |",
        "| --- | --: | --- |",
        "| a | 1,234 | no |",
        "| b | 2e-07 | yes |",
        "| c / d |  |  |",
    ]


def test_a_measured_section_leaves_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> Iterator[Table]:
        yield TABLE

    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results, "busy_cores", lambda: 1.25)
    monkeypatch.setattr("benchmarks.numerics.run", run)
    assert command_line.main(["numerics"]) == 0
    assert "| a | 1,234 | no |" in capsys.readouterr().out
    result = results.load("numerics")
    assert result is not None
    assert result.tables == [TABLE]
    assert result.beside.startswith("other work on the machine (1.2 of ")
    written = json.loads((tmp_path / "results" / "numerics.json").read_text("utf-8"))
    assert written["tables"][0]["rows"] == TABLE.rows


def test_a_section_that_fails_is_named_and_the_others_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def command(name: str) -> list[str]:
        code = f"print('{name} runs'); raise SystemExit({3 if name == 'page' else 0})"
        return [sys.executable, "-c", code]

    assert command_line.measure_each(["numerics", "page", "memory"], command) == 1
    said = capfd.readouterr().out
    assert re.findall(r"(\w+) runs", said) == ["numerics", "page", "memory"]
    assert "page failed with exit code 3; its last result stays." in said
    assert "Failed: page" in said
    assert command_line.measure_each(["numerics"], command) == 0


def test_every_section_gets_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(command_line, "measure_each", lambda names: started.extend(names) or 0)
    assert command_line.main([]) == 0
    assert tuple(started) == SECTIONS
    assert command_line.own_process("page")[1:] == ["-m", "benchmarks", "page"]


def test_a_section_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main(["speed"])
    assert stop.value.code == 2
    assert ", ".join(SECTIONS) in capsys.readouterr().err


def test_without_a_gpu_its_rows_say_that_they_were_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from benchmarks import kernels

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (table,) = kernels.on_device("cuda")
    assert table.rows[0]["what"] == "ours"
    assert {row["note"] for row in table.rows} == {"not measured: no CUDA device"}

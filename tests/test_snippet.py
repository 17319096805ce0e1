"""Copied Python runs, and prints what the page shows."""

from __future__ import annotations

import contextlib
import io

import pytest

import mhc_demo as mhc
from mhc_demo.app.controls import Controls
from mhc_demo.app.snippet import lab_snippet


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"streams": 3, "seed": 7, "spread": 2.5, "init": "identity", "projection": "rows"},
        {"definition": "worst-case", "members": 5, "depth": 9, "iterations": 12},
        {"device": "cpu", "members": 2},
        {"init": "shared", "shared": 0.5, "spread": 5.0},
    ],
    ids=["the first look", "another experiment", "another look", "another device", "another init"],
)
def test_copied_python_prints_what_the_page_shows(state: dict[str, object]) -> None:
    explorer = mhc.Explorer(**{"members": 4, "view": "composite"} | state)
    script = Controls(explorer).share.python
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(script, "copied", "exec"), {})
    shown = explorer.surface["log10_gain"].sel(depth=explorer.state.depth, series="median")
    lines = iter(said.getvalue().splitlines())
    for t in (0, explorer.state.iterations):
        for direction in ("forward", "backward"):
            name, _, log10_gain = next(lines).partition(": 10^")
            assert name == f"{t} iterations, {direction}"
            wanted = float(shown.sel(iterations=t, direction=direction))
            assert float(log10_gain) == pytest.approx(wanted, abs=5.1e-4)  # three decimals


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"enters": "worst", "depth": 9, "iterations": 3, "projection": "rows", "writes": True},
        {"enters": "alike", "direction": "backward", "streams": 3, "depth": 20},
    ],
    ids=["the first look", "the worst case", "a gradient"],
)
def test_copied_python_prints_what_the_streams_carry(state: dict[str, object]) -> None:
    explorer = mhc.Explorer(**{"members": 2, "view": "signal"} | state)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(Controls(explorer).share.python, "copied", "exec"), {})
    shown = explorer.stage.views["signal"].data.signal
    position = 0 if "direction" in state else explorer.state.depth
    lines = iter(said.getvalue().splitlines())
    for t in (0, explorer.state.iterations):
        for stream in range(1, explorer.state.streams + 1):
            here = shown.sel(iterations=t, position=position, stream=stream)
            sign, log10 = int(here["sign"]), float(here["log10"])
            assert next(lines) == f"{t} iterations, stream {stream}: {sign:+d} x 10^{log10:.3f}"
    assert next(lines, None) is None


def test_at_0_iterations_the_script_prints_nothing_twice() -> None:
    script = Controls(mhc.Explorer(members=2, iterations=0, view="composite")).share.python
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(script, "copied", "exec"), {})
    assert [line.partition(":")[0] for line in said.getvalue().splitlines()] == [
        "0 iterations, forward",
        "0 iterations, backward",
    ]


def test_the_script_follows_the_state() -> None:
    explorer = mhc.Explorer(members=2, view="composite")
    share = Controls(explorer).share
    explorer.state.depth = 17
    explorer.state.seed = 5
    assert "depth=17" in share.python
    assert "seed=5" in share.python


def test_the_script_is_that_of_the_open_view() -> None:
    explorer = mhc.Explorer(members=1)
    share = Controls(explorer).share
    explorer.state.view = "lab"
    assert share.python == lab_snippet(explorer.state.lab_settings())
    explorer.state.lab_depth = 7
    assert "lab.Settings(depth=7" in share.python
    explorer.state.view = "mixing"
    assert "mhc.gain_surface" in share.python

"""The view "Projections" without a browser: what is pinned, one layer under each, times, texts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.app import timing
from mhc_demo.app.state import State
from mhc_demo.app.views import compare as view
from mhc_demo.figures import style
from mhc_demo.numerics.costs import MatrixTimes
from mhc_demo.numerics.projections import PROJECTIONS

USUAL = State.param.pinned.default
SMALL = {"members": 2, "streams": 3, "view": "compare"}
EXIST = [name for name, chosen in PROJECTIONS.items() if chosen.sizes.hold(3)]
"""The projections that there are for so many streams."""


def opened(**values: Any) -> tuple[mhc.Explorer, view.CompareView]:
    """An explorer with the view open, as complete as the browser makes it."""
    explorer = mhc.Explorer(**{**SMALL, **values})
    explorer.window.first_picture = True
    return explorer, explorer.stage.views["compare"]


def drawn(shown: view.CompareView) -> dict[str, str]:
    """The colours of the lines of the forward plot, by the projections' labels."""
    return {
        each.name.removesuffix(", forward"): each.glyph.line_color
        for each in shown.plots.figures[0].renderers
        if each.name
    }


# What is pinned


def test_those_that_lead_are_pinned_at_first_and_not_in_the_link() -> None:
    explorer, shown = opened()
    assert shown.table.pinned == USUAL == [p.name for p in PROJECTIONS.values() if p.leads]
    assert {"none", "sinkhorn"} < set(USUAL)
    assert "pinned" not in explorer.window.query
    assert drawn(shown)["HC"] == style.HC


def test_what_is_pinned_is_in_the_link_and_back() -> None:
    explorer, shown = opened()
    shown.table.pinned = ["rows", "-", "identity"]
    assert "pinned=rows,-,identity" in explorer.window.query
    assert shown.matrices.pinned == explorer.state.pinned
    assert drawn(shown)["Rows only"] == style.stroke(0).colour
    assert drawn(shown)["Identity"] == style.stroke(2).colour
    assert drawn(shown)["HC"] == style.IDENTITY  # grey
    again = State()
    again.read({"pinned": [b"rows,-,identity"]})
    assert again.pinned == ["rows", "-", "identity"]
    assert again.notices == []
    shown.matrices.pinned = ["-"]
    assert "pinned=-&" in explorer.window.query + "&"
    assert shown.table.pinned == ["-"]
    explorer.state.reset()
    assert shown.table.pinned == USUAL


@pytest.mark.parametrize(
    "hostile",
    [
        b"softmax",
        b"rows,rows",
        b"<script>alert(1)</script>",
        b"rows,,exp",
        b"ROWS",
        b"\xff\xfe",
        b"rows," * 100_000,
        b"sinkhorn,released,mhc-lite,rows,columns,exp,none",  # a seventh
    ],
)
def test_a_hostile_link_pins_nothing_and_is_not_repeated(hostile: bytes) -> None:
    state = State()
    state.read({"pinned": [hostile], "depth": [b"9"]})
    assert state.pinned == USUAL
    assert state.depth == 9
    (notice,) = state.notices
    assert notice.startswith("Projections drawn: the value in the link was ignored")
    assert "script" not in notice
    assert len(notice) < 600


@pytest.mark.parametrize("sent", [["softmax"], ["rows", "rows"], ["-"] * 7])
def test_a_browser_may_send_anything(sent: list[str]) -> None:
    explorer, shown = opened()
    shown.table.pinned = sent
    assert explorer.state.pinned == shown.table.pinned == USUAL
    with pytest.raises(ValueError, match=r"pinned must hold at most 6"):
        explorer.state.pinned = sent


def test_the_parameter_names_what_is_wrong_with_other_types() -> None:
    with pytest.raises(ValueError, match=r"pinned must hold at most 6 different names.*\[3\]"):
        State(pinned=[3])


# One layer under each


def test_one_layer_under_each_is_computed_when_it_is_wanted() -> None:
    explorer, shown = opened(seed=5)
    assert shown.matrices.matrices == {}
    explorer.state.seed = 7
    assert shown.matrices.matrices == {}
    shown.matrices.opened = True
    shown.matrices.layer = 4
    assert explorer.state.layer == 4
    explorer.state.streams = 2
    found = shown.matrices.matrices
    assert list(found) == list(PROJECTIONS)
    for name, chosen in PROJECTIONS.items():
        logits = mhc.sample_mixing(4, 2, 1, seed=7, logits=chosen.takes_logits)[0, -1]
        counts = range(31) if chosen.iterative else [1]
        assert len(found[name]) == len(counts)
        for at, count in enumerate(counts):
            raw = mhc.sample_mixing(4, 2, 1, seed=7, logits=False)[0, -1]
            wanted = mhc.project(logits, name, count) if count else raw
            # Three decimals are sent.
            np.testing.assert_allclose(found[name][at], wanted.ravel(), atol=5.1e-4)
    shown.matrices.layer = 10**6  # a browser may send anything
    assert explorer.state.layer == shown.matrices.layer == 4


# Times


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The projections of each process that would measure; made-up times stand in for its own."""
    processes: list[list[str]] = []

    async def measure(missing: list[timing.Timed], news: Any) -> None:
        processes.append([name for name, _, _ in missing])
        for name, streams, device in missing:
            await asyncio.sleep(0)
            times = MatrixTimes(name, streams, 20, 910, 10.0, 20.0, "an abacus", "a slide rule")
            timing.found[name, streams, device] = times
            news()

    monkeypatch.setattr(timing, "_measure", measure)
    monkeypatch.setattr(timing, "found", {})
    monkeypatch.setattr(timing, "EVERY", 0.001)
    return processes


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Future[None]]:
    """What the view starts beside the page; what it schedules is done at once."""
    started: list[asyncio.Future[None]] = []

    def execute(work: Any, schedule: Any = "auto") -> None:
        if asyncio.iscoroutinefunction(work):
            started.append(asyncio.ensure_future(work()))
        else:
            work()

    monkeypatch.setattr(view.pn.state, "execute", execute)
    return started


def test_times_are_measured_when_they_are_asked_for_once_for_all_visitors(
    timed: list[list[str]], tasks: list[asyncio.Future[None]]
) -> None:
    explorer, shown = opened()
    _, other = opened()
    assert (shown.table.times, shown.table.timed) == ({}, "")

    async def press() -> None:
        shown.table.measure += 1
        shown.table.measure += 1  # an impatient visitor
        other.table.measure += 1
        assert timed == []  # nobody is held up
        assert shown.table.measuring
        await asyncio.gather(*tasks)

    asyncio.run(press())
    assert len(tasks) == 2
    assert timed == [EXIST]
    for each in (shown, other):
        assert each.table.times == {name: [10.0, 20.0] for name in EXIST}
        assert not each.table.measuring
        for said in ("on this server", "n = 3", "910 matrices", "an abacus", "a slide rule"):
            assert said in each.table.timed
    explorer.state.streams = 2
    assert (shown.table.times, shown.table.timed) == ({}, "")


def test_a_process_that_fails_leaves_a_sentence_and_the_button(
    monkeypatch: pytest.MonkeyPatch, tasks: list[asyncio.Future[None]]
) -> None:
    monkeypatch.setattr(timing, "found", {})
    monkeypatch.setattr(timing, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    _, shown = opened()

    async def press() -> None:
        shown.table.measure += 1
        await asyncio.gather(*tasks)

    asyncio.run(press())
    assert not shown.table.measuring
    assert shown.table.times == {}
    assert shown.table.timed == "The times could not be measured here."
    assert not timing._busy


@pytest.mark.long  # the process imports PyTorch
def test_the_process_measures_what_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "found", {})
    wanted = [("rows", 2, "numpy"), ("identity", 2, "numpy")]
    asyncio.run(timing.measure(wanted, lambda: None))
    assert list(timing.found) == wanted
    assert timing.found["rows", 2, "numpy"].forward > 0
    assert timing.found["rows", 2, "numpy"].backward > 0


# Texts


def test_a_row_says_what_is_promised_and_what_was_published() -> None:
    rows = {row["name"]: row for row in view.rows_of(PROJECTIONS.values())}
    assert rows["mhc-lite"]["promises"] == [True, True, True, True]
    assert rows["sinkhorn"]["promises"] == [True, False, True, False]
    assert rows["none"]["promises"] == [False] * 4
    assert "2512.24880, Fig. 7b" in rows["sinkhorn"]["published"]
    assert ">Yang and Gao, arXiv:2601.05732<" in rows["mhc-lite"]["published"]
    assert ">Yang and Gao<" in rows["mhc-lite"]["published"]  # where there is little room
    assert ">deepseek-ai<" in rows["released"]["published"]
    assert rows["rows"]["published"] == ""


@pytest.mark.parametrize(
    "values",
    [
        {"iterations": 3},
        pytest.param({"pinned": ["-"], "iterations": 0}, marks=pytest.mark.long),
    ],
)
def test_the_script_prints_the_numbers_of_the_table(values: dict[str, Any]) -> None:
    explorer, _ = opened(depth=5, **values)
    script = view.CompareView.snippet(explorer.state)
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = [name for name in explorer.state.pinned if name != "-"] or EXIST
    comparison = mhc.compare(mhc.Experiment(members=2, streams=3)).sel(depth=5, series="median")
    wanted = []
    for name in names:
        count = explorer.state.iterations if PROJECTIONS[name].iterative else 1
        here = comparison.sel(projection=name, iterations=count)
        for direction in ("forward", "backward"):
            gain = float(here["log10_gain"].sel(direction=direction))
            wanted.append(f"{name}, {direction}: 10^{gain:.3f}")
        wanted.append(f"{name}, worst-case norm: 10^{float(here['log10_norm']):.3f}")
    assert printed == wanted

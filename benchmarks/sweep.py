"""A sweep beside its runs alone.

HC and mHC with 32 seeds each, in the preset *Calm* cut to 50 steps, so that the start of a process
counts for more than in a sweep that somebody would make: 64 runs in two processes that the sweep
starts, against the sum of the same runs alone divided by two. Alone they follow one another in one
process that has loaded everything, half of them before the sweep and half after it; all write their
records. What the sweep adds is the start of its processes, and that the last run ends alone. What
the machine adds, whose cores share memory and caches, is in the steps' own times, summed over all
runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

from mhc_demo import lab
from mhc_demo.lab.worker import train_into

from .results import Row, Table, rounded

PROCESSES = 2
SEEDS = 32
STEPS = 50
TARGET = 1.1
"""The most that the sweep may take, as a multiple of its runs' sum divided by the processes."""

HEADINGS = {
    "what": "",
    "seconds": "s",
    "steps_s": "of which in steps, s",
    "first_s": "until the first step, s",
    "ratio": "of the runs alone, divided",
    "target": "target",
    "met": "met",
}


def run() -> Iterator[Table]:
    """One table."""
    values = {**lab.PRESETS["calm"].values, "steps": STEPS}
    yield measured(lab.grid(**values, connection=["hc", "mhc"], seed=range(SEEDS)), PROCESSES)


def measured(runs: Sequence[lab.Settings], processes: int) -> Table:
    """These runs alone, and in a sweep."""
    with tempfile.TemporaryDirectory() as folder:
        alone, swept = Path(folder, "alone"), Path(folder, "swept")
        alone.mkdir()
        timed_alone(runs[:1], alone)  # what is compiled and loaded once
        seconds = timed_alone(runs[::2], alone)
        whole, first = timed_sweep(runs, swept, processes)
        seconds += timed_alone(runs[1::2], alone)
        steps = {each: in_steps(each) for each in (alone, swept)}
    ratio = rounded(whole * processes / seconds)
    rows: list[Row] = [
        {
            "what": f"{len(runs)} runs alone",
            "seconds": rounded(seconds),
            "steps_s": rounded(steps[alone]),
        },
        {
            "what": f"a sweep of them, {processes} processes",
            "seconds": rounded(whole),
            "steps_s": rounded(steps[swept]),
            "first_s": rounded(first),
            "ratio": ratio,
            "target": TARGET,
            "met": ratio <= TARGET,
        },
    ]
    return Table(HEADINGS, rows)


def timed_alone(runs: Sequence[lab.Settings], folder: Path) -> float:
    """Seconds of these runs in this process, one after the other."""
    start = perf_counter()
    for each in runs:
        train_into(str(folder / lab.record_name(each)), each.values_by_name())
    return perf_counter() - start


def timed_sweep(runs: Sequence[lab.Settings], folder: Path, processes: int) -> tuple[float, float]:
    """Seconds of a sweep of these runs, and until it heard of a first step."""
    start = perf_counter()
    heard: list[float] = []
    lab.sweep(
        folder, runs, processes=processes, progress=lambda _: heard.append(perf_counter() - start)
    )
    return perf_counter() - start, heard[0]


def in_steps(folder: Path) -> float:
    """Seconds of all steps in the records of a folder."""
    records = map(lab.read_record, folder.glob("*.jsonl"))
    return sum(step.seconds for record in records for step in record.steps)

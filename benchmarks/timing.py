"""Times as rows of a table: a median and a 95th percentile, beside what was promised."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from .results import Row, Table, Value, rounded


def in_turn(first: Callable[[], object], second: Callable[[], object], runs: int) -> np.ndarray:
    """Milliseconds of both, run alternately after a first time each, shape (2, runs).

    What disturbs the machine disturbs both.
    """
    times = np.empty((2, runs))
    for function in (first, second):
        function()
    for i in range(runs):
        for j, function in enumerate((first, second)):
            start = time.perf_counter()
            function()
            times[j, i] = 1e3 * (time.perf_counter() - start)
    return times


def timed(
    what: str,
    milliseconds: np.ndarray,
    target: float | None = None,
    target_p95: float | None = None,
    **more: Value,
) -> Row:
    """A row for `times_table`; `more` are further columns."""
    median, p95 = np.median(milliseconds), np.quantile(milliseconds, 0.95)
    row: dict[str, Value] = {
        "what": what,
        "median_ms": rounded(median),
        "target_ms": target,
        "p95_ms": rounded(p95),
        "target_p95_ms": target_p95,
        **more,
    }
    if target is not None:
        row["met"] = bool(median <= target and (target_p95 is None or p95 <= target_p95))
    return row


def times_table(rows: list[Row], title: str = "", **more: str) -> Table:
    """A table of `timed` rows; `more` are the headings of their further columns."""
    headings = {
        "what": "",
        "median_ms": "median, ms",
        "target_ms": "target, ms",
        "p95_ms": "95th percentile, ms",
        "target_p95_ms": "target, ms",
        "met": "met",
        **more,
    }
    return Table(headings, rows, title)

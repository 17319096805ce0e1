"""A step of training in the lab.

The three networks step in turn, so that what disturbs the machine disturbs all; only the ratios,
medians over the steps, mean something. On a CPU the narrow ones take one thread, as on the page.
What bounds them is the number of calls, not arithmetic: Sinkhorn-Knopp and its gradient are two
calls compiled by Numba, and the rest is what HC has too. Reading the mappings off the networks for
the record is a forward pass of 64 examples after each step, and not part of the steps' times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
import torch

from mhc_demo import lab
from mhc_demo.lab.worker import ONE_THREAD

from .results import Row, Table, rounded

WARM_UP = 3

NETWORKS: dict[str, tuple[dict[str, Any], int, float | None, float]] = {
    "depth 32, width 32, batch 64": ({"depth": 32, "width": 32, "batch": 64}, 60, 1.3, 3.0),
    "depth 16, width 256, batch 512": ({"depth": 16, "width": 256, "batch": 512}, 20, None, 1.6),
}
"""Settings, steps, and the most that mHC may take: as a multiple of HC, of the residual network."""

HEADINGS = {
    "what": "",
    "median_ms": "median, ms",
    "p95_ms": "95th percentile, ms",
    "over_residual": "of the residual one",
    "target_over_residual": "target",
    "over_hc": "of HC",
    "target_over_hc": "target",
    "over_steps": "of the three steps",
    "met": "met",
    "note": "",
}


def run() -> Iterator[Table]:
    """A table for each device and setting."""
    for device in ("cpu", "cuda"):
        for name, (values, steps, *targets) in NETWORKS.items():
            title = f"{name}, {device.upper()}"
            if device == "cuda" and not torch.cuda.is_available():
                rows: list[Row] = [
                    {"what": lab.CONNECTIONS[each], "note": "not measured: no CUDA device"}
                    for each in lab.COMPARED
                ]
            else:
                rows = measured(
                    device, values, steps, *(targets if device == "cpu" else (None,) * 2)
                )
            yield Table(HEADINGS, rows, title)


def measured(
    device: str, values: dict[str, Any], steps: int, of_hc: float | None, of_residual: float | None
) -> list[Row]:
    """The three networks, and reading their mappings."""
    torch.set_num_threads(1 if values["width"] <= ONE_THREAD else os.cpu_count() or 1)
    seconds, reading = step_times(steps, device=device, **values)
    rows: list[Row] = []
    for connection, times in seconds.items():
        row = {
            "what": lab.CONNECTIONS[connection],
            **_times(times),
            "over_residual": _ratio(times, seconds["residual"]),
        }
        if connection == "mhc":
            row |= {"over_hc": _ratio(times, seconds["hc"])}
            if of_residual is not None:
                row |= {
                    "target_over_residual": of_residual,
                    "target_over_hc": of_hc,
                    "met": row["over_residual"] <= of_residual
                    and (of_hc is None or row["over_hc"] <= of_hc),
                }
        rows.append(row)
    together = np.sum(list(seconds.values()), axis=0)
    over_steps = _ratio(reading, together)
    rows.append({"what": "reading the mappings", **_times(reading), "over_steps": over_steps})
    return rows


def _times(seconds: np.ndarray) -> dict[str, Any]:
    return {
        "median_ms": rounded(1e3 * np.median(seconds)),
        "p95_ms": rounded(1e3 * np.percentile(seconds, 95)),
    }


def _ratio(seconds: np.ndarray, others: np.ndarray) -> float:
    return rounded(float(np.median(seconds / others)))


def step_times(steps: int, **values: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Seconds of each step of the three networks in turn, and of reading all their mappings."""
    settings = {name: lab.Settings(connection=name, **values) for name in lab.COMPARED}
    runs = {name: lab.train(each.changed(steps=steps + WARM_UP)) for name, each in settings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    reading = np.zeros(steps + WARM_UP)
    for i in range(steps + WARM_UP):
        for name, records in runs.items():
            start = perf_counter()
            step = next(records)
            assert isinstance(step, lab.Step)
            seconds[name].append(step.seconds)
            reading[i] += perf_counter() - start - step.seconds
    for records in runs.values():
        records.close()
    return {name: np.array(each[WARM_UP:]) for name, each in seconds.items()}, reading[WARM_UP:]

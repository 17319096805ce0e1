"""What hyper-connections cost in a whole step of training, on this machine.

The three networks of the lab, each step of one followed by one of the next, so that what disturbs
the machine disturbs all.  A plain sketch, every operation by itself, took per step
15 : 41 : 87 ms and 98 : 271 : 280 ms in the two settings (residual : HC : mHC).
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
import torch

from mhc_demo import lab

from .numerics import Row

SETTINGS: dict[str, tuple[dict[str, Any], int, float | None, float]] = {
    "depth 32, width 32, batch 64": ({"depth": 32, "width": 32, "batch": 64}, 60, 1.3, 3.0),
    "depth 16, width 256, batch 512": ({"depth": 16, "width": 256, "batch": 512}, 20, None, 1.6),
}
"""Settings, steps, and what mHC may take: as a multiple of HC, and of the residual network."""

WARM_UP = 3


def run() -> Iterator[Row]:
    """Rows of the table; times are of the step alone, as the lab's records have them."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        for name, (values, steps, most_of_hc, most_of_residual) in SETTINGS.items():
            times, watching = step_times(steps, device=device, **values)
            residual = times["residual"]
            for connection, seconds in times.items():
                ratio = np.median(seconds / residual)
                target = ""
                if connection == "mhc" and device == "cpu":
                    target = f"{most_of_residual} x residual"
                    if most_of_hc is not None:
                        target += f", {most_of_hc} x HC"
                    over_hc = np.median(seconds / times["hc"])
                    told = f"{ratio:.2f} x residual, {over_hc:.2f} x HC"
                else:
                    told = f"{ratio:.2f} x residual"
                yield (
                    f"step, {device}, {name}, {lab.CONNECTIONS[connection]}: {told}",
                    target,
                    f"{1e3 * np.median(seconds):.1f} ms",
                    f"{1e3 * np.percentile(seconds, 95):.1f} ms",
                )
            share = np.median(watching / sum(times.values()))
            yield (
                f"watching, {device}, {name}, all three: {share:.2f} x their steps",
                "",
                f"{1e3 * np.median(watching):.1f} ms",
                f"{1e3 * np.percentile(watching, 95):.1f} ms",
            )


def step_times(steps: int, **values: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Seconds of each step of the three networks in turn, and of reading all their mappings."""
    settings = {name: lab.Settings(connection=name, **values) for name in lab.CONNECTIONS}
    runs = {name: lab.train(each.changed(steps=steps + WARM_UP)) for name, each in settings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    watching = np.zeros(steps + WARM_UP)
    for i in range(steps + WARM_UP):
        for name, records in runs.items():
            start = perf_counter()
            step = next(records)
            assert isinstance(step, lab.Step)
            seconds[name].append(step.seconds)
            watching[i] += perf_counter() - start - step.seconds
    for records in runs.values():
        records.close()
    return {name: np.array(each[WARM_UP:]) for name, each in seconds.items()}, watching[WARM_UP:]

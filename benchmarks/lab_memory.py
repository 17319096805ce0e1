"""The memory of a training.

What a training takes that the page starts, three networks in a process of its own, against the
estimate by which the server lets it in or refuses it: an estimate below 1 would be one too low.
Settings from the least to some GB, each with something large that is small in others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from mhc_demo.lab import COMPARED, Settings
from mhc_demo.lab.memory import memory

from .results import Row, Table, rounded

RUNS: tuple[dict[str, Any], ...] = (
    {"depth": 1, "width": 4, "streams": 1, "batch": 1},
    {},
    {"depth": 96},
    {"depth": 4, "width": 1024, "streams": 1, "batch": 1},
    {"depth": 8, "width": 1024, "batch": 1},
    {"depth": 4, "width": 512, "streams": 16, "batch": 1},
    {"depth": 128, "width": 8, "streams": 16, "batch": 512},
    {"depth": 1, "width": 1024, "batch": 4096},
    {"depth": 2, "width": 256, "streams": 16, "batch": 2048},
    {"depth": 32, "width": 128, "streams": 1, "batch": 2048},
    {"depth": 64, "width": 4, "streams": 6, "batch": 2048, "projection": "mhc-lite"},
    {"depth": 32, "streams": 16, "batch": 1024, "projection": "rows"},
    {"task": "text", "depth": 1, "width": 4, "streams": 1, "batch": 1},
    {"task": "text", "depth": 2, "width": 1024, "streams": 2, "batch": 16},
    {"task": "text", "depth": 2, "batch": 512},
    {"task": "text", "depth": 64, "width": 64, "streams": 1, "batch": 16},
    {"task": "moe", "depth": 8, "batch": 8},
    {"task": "moe", "depth": 16, "batch": 16},
    {"task": "moe", "depth": 4, "width": 256, "streams": 2, "batch": 16},
    {"branch": "moe", "depth": 16, "width": 64, "streams": 2, "batch": 1024},
)
"""Settings from the least to some GB, each with something large that is small in others."""

STEPS = 5
"""After the second the peak still grows a little."""


def peak(settings: Sequence[Settings]) -> int:
    """The most bytes that a process which trains these has in memory."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mhc_demo.lab"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    request = {"settings": [each.values_by_name() for each in settings], "memory": 2**40}
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    threading.Thread(target=process.stdout.read, daemon=True).start()
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode:
        raise RuntimeError(f"the training ended with {process.returncode}")
    return used.ru_maxrss * 1024


def run() -> Iterator[Table]:
    """A row for each of `RUNS`."""
    rows: list[Row] = []
    for values in RUNS:
        settings = [Settings(connection=name, steps=STEPS, **values) for name in COMPARED]
        estimate, used = memory(settings), peak(settings)
        rows.append(
            {
                "what": ", ".join(f"{name} {value}" for name, value in values.items())
                or "the defaults",
                "used_mb": rounded(used / 1e6),
                "estimate_mb": rounded(estimate / 1e6),
                "ratio": rounded(estimate / used),
            }
        )
    headings = {
        "what": "",
        "used_mb": "used, MB",
        "estimate_mb": "estimate, MB",
        "ratio": "estimate / used",
    }
    yield Table(headings, rows)

"""The projections, one by one

Every projection of 2^10 and of 2^15 logits of 4 x 4 (spread 1, float32): NumPy forward, PyTorch on
one thread of a CPU forward, and forward with backward; 20 iterations of those that iterate. *Kept*
is what PyTorch keeps for the backward pass, in float32 numbers per matrix, the logits included
where it needs them. PyTorch's Sinkhorn and released variants are the fused operator's, all others
plain operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

import mhc_demo as mhc

from .results import Row, Table, rounded

SIZES = (2**10, 2**15)
STREAMS = 4
SECONDS = 0.5
"""How long a function is run again and again, at least three times."""


def run() -> Iterator[Table]:
    """A table for each size, a row for each projection."""
    torch.set_num_threads(1)
    for count in SIZES:
        yield table_of(count)


def table_of(count: int, seconds: float = SECONDS) -> Table:
    """One table: median times in milliseconds, for `count` matrices."""
    logits = mhc.sample_mixing(count, STREAMS, seed=42)[0].astype(np.float32)
    rows: list[Row] = []
    for name, chosen in mhc.PROJECTIONS.items():
        tensor = torch.from_numpy(logits).requires_grad_()
        numpy, forward, both = (
            partial(function, given, name)
            for function, given in ((mhc.project, logits), (_forward, tensor), (_both, tensor))
        )
        result = mhc.project(tensor, name)
        learns = result.requires_grad
        rows.append(
            {
                "what": chosen.title,
                "cost": chosen.cost,
                "numpy": median_ms(numpy, seconds),
                "forward": median_ms(forward, seconds),
                "both": median_ms(both, seconds) if learns else None,
                "kept": rounded(kept_numbers(tensor, name) / count) if learns else None,
            }
        )
    headings = {
        "what": "",
        "cost": "of one matrix",
        "numpy": "NumPy, ms",
        "forward": "PyTorch, ms",
        "both": "with backward, ms",
        "kept": "kept",
    }
    return Table(headings, rows, f"{count:,} matrices")


def _forward(tensor: torch.Tensor, name: str) -> None:
    with torch.no_grad():
        mhc.project(tensor, name)


def _both(tensor: torch.Tensor, name: str) -> None:
    mhc.project(tensor, name).sum().backward()
    tensor.grad = None


def kept_numbers(tensor: torch.Tensor, name: str) -> float:
    """What autograd keeps of one forward pass, in float32 numbers, each memory counted once."""
    seen: dict[int, tuple[int, torch.UntypedStorage]] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes(), storage  # held, so that no address returns
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        mhc.project(tensor, name)
    return sum(size for size, _ in seen.values()) / 4


def median_ms(function: Callable[[], object], seconds: float) -> float:
    """The median time of a call in milliseconds, after a first one."""
    function()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return rounded(float(np.median(times)))

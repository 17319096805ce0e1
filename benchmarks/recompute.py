"""Recomputation in blocks of mHC layers (Eq. 20).

The most bytes that a training step holds beyond what was there before it. They are counted, not
sampled from the process, and the same on every run. The branch keeps nothing for its backward pass,
so that what is counted is the streams' own. Two things are not as in Eq. 20: it counts the branch's
input and its norm among what a block recomputes, 2C per layer, and here they belong to the branch;
and it leaves out the temporaries of the layer at work, a few MiB here. Times are a step's, in turn
with one that recomputes nothing; they are at their worst, for the branch costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from mhc_demo import nn as mnn
from mhc_demo.numerics.costs import best_recompute_block

from .results import Row, Table, rounded
from .timing import in_turn

STREAMS, WIDTH, TOKENS = 4, 512, 256
RUNS = 5


class Scaled(nn.Module):
    """A branch that saves nothing for its backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x


def layers(depth: int, streams: int, width: int, device: str) -> list[mnn.StreamLayer]:
    """A network of mHC layers."""
    return [
        mnn.ManifoldHyperConnection(Scaled(), width, streams, layer=index).to(device)
        for index in range(depth)
    ]


def peak_bytes(step: Callable[[], object], device: str) -> int:
    """The most that `step` holds at once beyond what was there before it."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    assert profiled.profiler is not None
    results = profiled.profiler.kineto_results
    assert results is not None
    changes = [event for event in results.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in changes))


def predicted_bytes(depth: int, block: int, streams: int, width: int, tokens: int) -> int:
    """Eq. 20, and the branches' outputs, which are always stored (Table 3), in float32."""
    blocks = math.ceil(depth / block)
    elements = streams * width * blocks + (streams + 2) * width * block + width * depth
    return 4 * tokens * elements


def step_of(model: nn.Module, device: str) -> Callable[[], None]:
    """One forward and backward pass; a first one has allocated the parameters' gradients."""
    x = torch.randn(TOKENS, STREAMS, WIDTH, device=device, requires_grad=True)
    gradient = torch.randn_like(x)

    def step() -> None:
        model(x).backward(gradient)
        if device == "cuda":
            torch.cuda.synchronize()

    step()
    return step


def run() -> Iterator[Table]:
    """A table for each depth."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    headings = {
        "what": "",
        "peak_mib": "peak, MiB",
        "predicted_mib": "by Eq. 20, MiB",
        "memory": "of the memory",
        "time": "of the time",
    }
    for depth in (32, 64):
        network = layers(depth, STREAMS, WIDTH, device)
        plain = step_of(nn.Sequential(*network), device)
        whole = peak_bytes(plain, device)
        rows: list[Row] = [{"what": "nothing recomputed", "peak_mib": rounded(whole / 2**20)}]
        best = best_recompute_block(depth, STREAMS)
        for block in (1, best, depth):
            step = step_of(mnn.Recomputed(network, block), device)
            peak = peak_bytes(step, device)
            predicted = predicted_bytes(depth, block, STREAMS, WIDTH, TOKENS)
            plain_time, time = np.median(in_turn(plain, step, RUNS), axis=1)
            rows.append(
                {
                    "what": f"blocks of {block}" + (" (the best)" if block == best else ""),
                    "peak_mib": rounded(peak / 2**20),
                    "predicted_mib": rounded(predicted / 2**20),
                    "memory": rounded(peak / whole),
                    "time": rounded(time / plain_time),
                }
            )
        title = f"{depth} layers, n = {STREAMS}, C = {WIDTH}, {TOKENS} tokens, {device.upper()}"
        yield Table(headings, rows, title)

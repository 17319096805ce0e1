"""What recomputation in blocks saves: bytes that live at the peak of a training step, by Eq. 20.

Bytes are exact and the same on every run; they are counted, and not sampled from the process.
The branch keeps nothing for its backward pass, so that what is counted is the streams' own.  Two
things are not as in Eq. 20: it counts the branch's input and its norm among what a block
recomputes, 2C per layer, and here they belong to the branch; and it leaves out the temporaries of
the layer at work, a few MiB here.
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

from .numerics import Row, in_turn

STREAMS, WIDTH, TOKENS = 4, 512, 256


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
    """The most that `step` ever holds beyond what was there before it."""
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
    """One forward and backward pass; the parameters' gradients are there already."""
    x = torch.randn(TOKENS, STREAMS, WIDTH, device=device, requires_grad=True)
    gradient = torch.randn_like(x)

    def step() -> None:
        model(x).backward(gradient)
        if device == "cuda":
            torch.cuda.synchronize()

    step()
    return step


def run() -> Iterator[Row]:
    """Rows of the table; the target is what Eq. 20 predicts."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for depth in (32, 64):
        network = layers(depth, STREAMS, WIDTH, device)
        plain = step_of(nn.Sequential(*network), device)
        whole = peak_bytes(plain, device)
        what = f"peak of a step, {device}, n = {STREAMS}, C = {WIDTH}, {TOKENS} tokens, L = {depth}"
        yield f"{what}, nothing recomputed", "", f"{whole / 2**20:.1f} MiB", ""
        best = best_recompute_block(depth, STREAMS)
        for block in (1, best, depth):
            step = step_of(mnn.Recomputed(network, block), device)
            peak = peak_bytes(step, device)
            target = predicted_bytes(depth, block, STREAMS, WIDTH, TOKENS)
            times = np.median(in_turn(plain, step, 10), axis=1)
            name = f"blocks of {block}" + (" (the best)" if block == best else "")
            yield (
                f"{what}, {name}: {peak / whole:.2f} of the memory",
                f"{target / 2**20:.1f} MiB",
                f"{peak / 2**20:.1f} MiB",
                f"{times[1] / times[0]:.2f} x the time",
            )

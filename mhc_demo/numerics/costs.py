"""What mHC costs: the paper's counts as formulas, and the projection's time, measured here.

The counts are in elements per token, for any n, C and L; what the paper itself measured is in
`paper.py`, since nothing here can confirm it.  Times are measured, never modelled: they are those
of the machine that runs this code, and each says exactly what was timed.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import import_module
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ._arrays import batch_innermost, choice, whole_number
from .devices import DEVICES, Place, place
from .projecting import projected
from .projections import PAPER_ITERATIONS, PROJECTIONS

# Memory traffic (Table 2, section 4.3.1)


@dataclass(frozen=True)
class Traffic:
    """Elements moved per token and layer in the forward pass, without the layer's own F."""

    read: int
    written: int

    @property
    def moved(self) -> int:
        return self.read + self.written


def residual_traffic(width: int) -> Traffic:
    """The plain residual connection (Table 2): 2C read, C written.

    Raises TypeError or ValueError unless `width`, that is C, is a whole number from 1.
    """
    width = whole_number("width", width, 1)
    return Traffic(2 * width, width)


def hyper_connection_traffic(streams: int, width: int) -> Traffic:
    """Hyper-connections, one operation after another (Table 2).

    Read (5n + 1)C + n^2 + 2n, written (3n + 1)C + n^2 + 2n.

    >>> hyper_connection_traffic(4, 2560)
    Traffic(read=53784, written=33304)

    Raises TypeError or ValueError unless both are whole numbers from 1.
    """
    n, width = whole_number("streams", streams, 1), whole_number("width", width, 1)
    mappings = n * n + 2 * n
    return Traffic((5 * n + 1) * width + mappings, (3 * n + 1) * width + mappings)


def fused_traffic(streams: int, width: int) -> Traffic:
    """Hyper-connections with H_post, H_res and the merge in one kernel (section 4.3.1).

    That kernel reads (n + 1)C instead of (3n + 1)C and writes nC instead of 3nC; the rest of
    Table 2 is unchanged.  The coefficients, n^2 + 2n, are read and written as before.

    Raises TypeError or ValueError unless both are whole numbers from 1.
    """
    separate = hyper_connection_traffic(streams, width)
    saved = 2 * int(streams) * int(width)
    return Traffic(separate.read - saved, separate.written - saved)


def backward_traffic(streams: int, width: int, *, fused: bool) -> Traffic:
    """Elements that the streams' kernels move per token and layer in the backward pass.

    The paper counts the forward pass alone; this is our count, in the manner of its Table 2.  One
    after another, in (read, written): H_res (2nC, nC), H_post ((n + 1)C, C), H_pre ((n + 1)C, nC),
    the mappings (nC, nC), and two sums of the streams' gradients (4nC, 2nC).  Fused, H_post and
    H_res read gradient and streams once, ((2n + 1)C, (n + 1)C), and H_pre and the mappings add to
    the gradient that is there, ((2n + 1)C, nC).  The coefficients, n^2 + 2n, are read, and their
    gradients written and read.

    Raises TypeError or ValueError unless both are whole numbers from 1.
    """
    n, width = whole_number("streams", streams, 1), whole_number("width", width, 1)
    mappings = n * n + 2 * n
    read, written = (4 * n + 2, 2 * n + 1) if fused else (9 * n + 2, 5 * n + 1)
    return Traffic(read * width + 2 * mappings, written * width + mappings)


# Activations kept for the backward pass (Table 3, Eq. 20)


@dataclass(frozen=True)
class Activations:
    """Elements kept per token for the backward pass, over all layers, without the inside of F."""

    resident: int
    """From the forward pass on."""
    transient: int
    """On top of that while the backward pass is in a block, that is, at the peak."""

    @property
    def peak(self) -> int:
        return self.resident + self.transient


def stored_activations(
    streams: int, width: int, depth: int, block: int | None = None
) -> Activations:
    """Activations of `depth` residual layers (L), recomputed in blocks of `block` layers (L_r).

    With recomputation (Table 3, Eq. 20): throughout, the input of each block, nC * ceil(L / L_r),
    and F's output of every layer, C * L; within the block being recomputed, (n + 2)C * L_r.
    Without (`block` None), every row of Table 3 is kept for every layer: (n + 3)C * L.

    >>> stored_activations(4, 2560, 60, block=6).peak / 2560
    136.0

    Raises TypeError or ValueError for anything but a whole number from 1, and for a block longer
    than the network.
    """
    n, width = whole_number("streams", streams, 1), whole_number("width", width, 1)
    depth = whole_number("depth", depth, 1)
    if block is None:
        return Activations((n + 3) * width * depth, 0)
    block = whole_number("block", block, 1, depth)
    resident = n * width * math.ceil(depth / block) + width * depth
    return Activations(resident, (n + 2) * width * block)


def best_recompute_block(depth: int, streams: int, microbatches: int = 1) -> int:
    """The number of layers per block that stores least: L_r* of Eq. 20, the smaller in a tie.

    This is the exact minimum.  The estimate sqrt(nL / (n + 2)) ignores that the number of blocks
    is whole: for 36 layers with n = 4 it rounds to 5, and blocks of 5 store more than blocks of 4.
    A rank that keeps several `microbatches` but recomputes one block at a time, which Eq. 20 does
    not say, does better with longer blocks.

    >>> best_recompute_block(60, 4), best_recompute_block(36, 4), best_recompute_block(8, 4, 8)
    (6, 4, 8)

    Raises TypeError or ValueError unless all are whole numbers from 1.
    """
    depth, streams = whole_number("depth", depth, 1), whole_number("streams", streams, 1)
    kept = whole_number("microbatches", microbatches, 1)
    # Beyond twice the estimate, the block alone stores more than the total at the estimate.
    longest = min(depth, int(2 * math.sqrt(kept) * best_block_estimate(depth, streams)) + 1 + kept)
    return min(
        range(1, longest + 1),
        key=lambda block: kept * streams * math.ceil(depth / block) + (streams + 2) * block,
    )


def best_block_estimate(depth: int, streams: int) -> float:
    """The paper's closed form of the best block, sqrt(nL / (n + 2)) (Eq. 20)."""
    depth, streams = whole_number("depth", depth, 1), whole_number("streams", streams, 1)
    return math.sqrt(streams * depth / (streams + 2))


# The projection's time, measured


ELEMENTS, ELEMENTS_ON_A_GPU = 2**13, 2**22
"""Entries of all the matrices in one timed call, on a CPU and on a GPU.

On a CPU they fit into a core's cache and the call is short, because on a busy machine a long call
is seldom undisturbed.  On a GPU there are enough to keep it busy.
"""

LONGEST = 0.5
"""Seconds after which no further round starts."""

_ONE_AT_A_TIME = Lock()
"""Held during a measurement: two at once would measure each other."""


@dataclass(frozen=True, eq=False)
class ProjectionTimes:
    """How long a projection took, and exactly what was timed."""

    projection: str
    streams: int
    matrices: int
    """Matrices projected in one call."""
    counts: tuple[int, ...]
    """Numbers of iterations."""
    seconds: NDArray[np.float64]
    """The time of one call, the fastest of all rounds, for each of `counts`."""
    rounds: int
    device: str
    """The title of what computed it."""

    @property
    def nanoseconds(self) -> NDArray[np.float64]:
        """Per matrix, for each of `counts`."""
        return 1e9 * self.seconds / self.matrices

    @property
    def line(self) -> tuple[float, float]:
        """(intercept, slope) of the least-squares line through the counts from 1 on.

        The slope is what one more iteration takes, in nanoseconds per matrix.  Both are NaN if
        fewer than two such counts were measured or the projection does not iterate.
        """
        counts = np.asarray(self.counts)
        iterated = counts >= 1
        if not PROJECTIONS[self.projection].iterative or len(set(counts[iterated])) < 2:
            return math.nan, math.nan
        slope, intercept = np.polyfit(counts[iterated], self.nanoseconds[iterated], 1)
        return float(intercept), float(slope)


def projection_times(
    projection: str = "sinkhorn",
    *,
    streams: int = 4,
    matrices: int | None = None,
    counts: Iterable[int] = range(31),
    device: str = "numpy",
    repeats: int = 15,
) -> ProjectionTimes:
    """Measure how the time of a projection on this machine grows with its iterations.

    One call projects `matrices` random matrices of N(0, 1) logits, in the memory layout of the
    gain surface; the default is enough to keep the device busy (512 of 4 x 4 on a CPU).  After one
    round to warm up, each of up to `repeats` rounds times every count once; after `LONGEST` seconds
    no further round starts.  The result is the fastest call, as `timeit` advises: whatever else
    the machine does can only add to it.  (The median was tried: on two busy cores it came out up
    to four times too long for some counts.)  0 iterations return the matrices themselves; a
    projection that does not iterate is measured once.

    Blocks while it measures: where others are waiting, call it on a thread.

    Raises ValueError or TypeError for unknown names, a device that is not available, more streams
    than the projection takes, and numbers that are not whole or too small.
    """
    chosen = PROJECTIONS[choice("projection", projection, PROJECTIONS)]
    streams = whole_number("streams", streams, 1)
    chosen.check(streams)
    if not isinstance(counts, Iterable):
        raise TypeError(f"counts must be a collection of whole numbers, not {counts!r}")
    counts = tuple(whole_number("counts", t, 0) for t in counts)
    if not counts:
        raise ValueError("counts must hold at least one count of iterations, not none")
    repeats = whole_number("repeats", repeats, 1)
    target = place(device)
    if matrices is None:
        matrices = max(1, (ELEMENTS_ON_A_GPU if target.gpu else ELEMENTS) // streams**2)
    matrices = whole_number("matrices", matrices, 1)

    noise = np.random.default_rng(0).standard_normal((matrices, streams, streams))
    logits = target.array(noise)
    if not target.gpu:
        logits = batch_innermost(target.xp, logits)

    def seconds(iterations: int) -> float:
        start = time.perf_counter()
        projected(target.xp, chosen, logits, iterations)
        target.wait()
        return time.perf_counter() - start

    effective = [t if chosen.iterative else min(t, 1) for t in counts]
    distinct = sorted(set(effective))
    rounds: list[list[float]] = []
    with _ONE_AT_A_TIME:
        for t in distinct:
            seconds(t)
        start = time.perf_counter()
        while not rounds or (len(rounds) < repeats and time.perf_counter() - start < LONGEST):
            rounds.append([seconds(t) for t in distinct])
    fastest = dict(zip(distinct, np.min(rounds, axis=0), strict=True))
    return ProjectionTimes(
        projection=projection,
        streams=streams,
        matrices=matrices,
        counts=counts,
        seconds=np.array([fastest[t] for t in effective]),
        rounds=len(rounds),
        device=target.title,
    )


COPIED, COPIED_ON_A_GPU = 2**27, 2**31
"""Bytes of the array that `copy_bandwidth` copies: more than any cache holds."""


def copy_bandwidth(device: str = "numpy", *, repeats: int = 15) -> float:
    """Measure how many bytes per second this machine reads and writes when it copies an array.

    The fastest of up to `repeats` copies, as in `projection_times`; each byte counts as read once
    and written once.  On a CPU one thread copies, unless PyTorch shares it among more.

    Blocks while it measures: where others are waiting, call it on a thread.

    Raises ValueError for a device that is unknown or not available, and TypeError or ValueError
    unless `repeats` is a whole number from 1.
    """
    repeats = whole_number("repeats", repeats, 1)
    target = place(device)
    size = COPIED_ON_A_GPU if target.gpu else COPIED
    source = target.array(np.ones(size // (4 if target.gpu else 8)))
    copied = target.xp.zeros_like(source)

    def seconds() -> float:
        start = time.perf_counter()
        copied[...] = source
        target.wait()
        return time.perf_counter() - start

    with _ONE_AT_A_TIME:
        seconds()
        begun = time.perf_counter()
        found: list[float] = []
        while not found or (len(found) < repeats and time.perf_counter() - begun < LONGEST):
            found.append(seconds())
    return 2 * size / min(found)


@dataclass(frozen=True)
class MatrixTimes:
    """How long one matrix takes forward and backward, in nanoseconds, and what was timed."""

    projection: str
    streams: int
    iterations: int
    """Of a projection that iterates."""
    matrices: int
    """Matrices projected in one call."""
    forward: float
    backward: float
    """NaN without PyTorch, and where the result does not depend on the logits."""
    device: str
    """The title of what computed it forward."""
    device_backward: str
    """The title of what computed it backward; empty without PyTorch."""


def matrix_times(
    projection: str = "sinkhorn",
    *,
    streams: int = 4,
    iterations: int = PAPER_ITERATIONS,
    device: str = "numpy",
    repeats: int = 15,
) -> MatrixTimes:
    """Measure how long a projection and its gradient take per matrix on this machine.

    Forward as in `projection_times`, at one count of iterations.  Backward is the call of PyTorch's
    autograd alone, for as many matrices, on the same device if that is PyTorch's, else on the CPU,
    where it has one thread.  Both are the fastest of up to `repeats` calls, for the reason given
    there.

    Blocks while it measures: where others are waiting, call it on a thread.

    Raises ValueError or TypeError as `projection_times` does.
    """
    iterations = whole_number("iterations", iterations, 1)
    timed = projection_times(
        projection, streams=streams, counts=[iterations], device=device, repeats=repeats
    )
    backward, where = math.nan, ""
    if DEVICES["cpu"].missing() is None:
        target = place("cpu" if device == "numpy" else device)
        seconds = _seconds_backward(
            projection, timed.streams, timed.matrices, iterations, target, repeats
        )
        backward, where = 1e9 * seconds / timed.matrices, target.title
    return MatrixTimes(
        projection=projection,
        streams=timed.streams,
        iterations=iterations,
        matrices=timed.matrices,
        forward=float(timed.nanoseconds[0]),
        backward=backward,
        device=timed.device,
        device_backward=where,
    )


def _seconds_backward(
    projection: str, streams: int, matrices: int, iterations: int, target: Place, repeats: int
) -> float:
    """The fastest call of autograd; NaN if the result does not depend on the logits."""
    import torch

    noise = np.random.default_rng(0).standard_normal((2, matrices, streams, streams))
    logits, cotangent = (target.array(each) for each in noise)
    logits.requires_grad_()

    def seconds() -> float:
        result = projected(target.xp, PROJECTIONS[projection], logits, iterations)
        if not result.requires_grad:
            return math.nan
        target.wait()
        start = time.perf_counter()
        torch.autograd.grad(result, logits, cotangent)
        target.wait()
        return time.perf_counter() - start

    threads = torch.get_num_threads()
    with _ONE_AT_A_TIME:
        if not target.gpu:  # as NumPy; on a busy machine several would wait for each other
            torch.set_num_threads(1)
        try:
            seconds()
            begun = time.perf_counter()
            found: list[float] = []
            while not found or (len(found) < repeats and time.perf_counter() - begun < LONGEST):
                found.append(seconds())
        finally:
            torch.set_num_threads(threads)
    return min(found)


def _tell() -> None:
    """Measure what a line of JSON on stdin asks for, and print each result as a line of JSON.

    It names the modules that register the projections, the projections, n and the device.
    """
    request = json.loads(sys.stdin.readline())
    for module in request["modules"]:
        import_module(module)
    for name in request["projections"]:
        timed = matrix_times(name, streams=request["streams"], device=request["device"])
        print(json.dumps(asdict(timed)), flush=True)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(5)  # behind the visitors of the server that asks
    _tell()

"""What mHC costs: the paper's counts as formulas, and the projection's time as measured here.

The counts are of elements, per token, for any n, C and L; what the paper measured itself stands
in `paper.py`, for nothing here can confirm it.  Times are taken, never modelled: they are those
of the machine that runs this, and say what they were taken of.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ._arrays import batch_innermost, choice, whole_number
from .devices import place
from .projecting import projected
from .projections import PROJECTIONS

# Memory traffic (Table 2, section 4.3.1)


@dataclass(frozen=True)
class Traffic:
    """Elements moved per token and layer in the forward pass, the layer's own F left out."""

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
    """Hyper-connections, one operation after the other (Table 2).

    Read (5n + 1)C + n^2 + 2n, written (3n + 1)C + n^2 + 2n.

    >>> hyper_connection_traffic(4, 2560)
    Traffic(read=53784, written=33304)

    Raises TypeError or ValueError unless both are whole numbers from 1.
    """
    n, width = whole_number("streams", streams, 1), whole_number("width", width, 1)
    mappings = n * n + 2 * n
    return Traffic((5 * n + 1) * width + mappings, (3 * n + 1) * width + mappings)


def fused_traffic(streams: int, width: int) -> Traffic:
    """The same with H_post, H_res and the merge in one kernel (section 4.3.1).

    That kernel reads (n + 1)C instead of (3n + 1)C and writes nC instead of 3nC; the rest of
    Table 2 stays.  The coefficients, n^2 + 2n, are read and written as before.

    Raises TypeError or ValueError unless both are whole numbers from 1.
    """
    apart = hyper_connection_traffic(streams, width)
    spared = 2 * int(streams) * int(width)
    return Traffic(apart.read - spared, apart.written - spared)


# Activations kept for the backward pass (Table 3, Eq. 20)


@dataclass(frozen=True)
class Activations:
    """Elements kept per token for the backward pass, over all layers, the inside of F left out."""

    resident: int
    """From the forward pass on."""
    transient: int
    """On top of it while the backward pass is in a block, that is at the peak."""

    @property
    def peak(self) -> int:
        return self.resident + self.transient


def stored_activations(
    streams: int, width: int, depth: int, block: int | None = None
) -> Activations:
    """Activations of `depth` residual layers (L), recomputed in blocks of `block` layers (L_r).

    With recomputation (Table 3, Eq. 20): the input of each block, nC * ceil(L / L_r), and F's
    output of every layer, C * L, throughout; (n + 2)C * L_r within the block at work.  Without
    (`block` None) every row of Table 3 is kept for every layer: (n + 3)C * L.

    >>> stored_activations(4, 2560, 60, block=6).peak / 2560
    136.0

    Raises TypeError or ValueError for what is not a whole number from 1, and a block longer than
    the network.
    """
    n, width = whole_number("streams", streams, 1), whole_number("width", width, 1)
    depth = whole_number("depth", depth, 1)
    if block is None:
        return Activations((n + 3) * width * depth, 0)
    block = whole_number("block", block, 1, depth)
    resident = n * width * math.ceil(depth / block) + width * depth
    return Activations(resident, (n + 2) * width * block)


def best_recompute_block(depth: int, streams: int) -> int:
    """Layers per block for which the least is stored: L_r* of Eq. 20, the smaller one of a tie.

    The minimum itself and not its estimate sqrt(nL / (n + 2)), which leaves out that the number
    of blocks is whole: of 36 layers with n = 4 the estimate rounds to 5, and stores more than 4.

    >>> best_recompute_block(60, 4), best_recompute_block(36, 4)
    (6, 4)

    Raises TypeError or ValueError unless both are whole numbers from 1.
    """
    depth, streams = whole_number("depth", depth, 1), whole_number("streams", streams, 1)
    # Beyond twice the estimate the block alone takes more than all does at the estimate.
    longest = min(depth, int(2 * best_block_estimate(depth, streams)) + 2)
    return min(
        range(1, longest + 1),
        key=lambda block: streams * math.ceil(depth / block) + (streams + 2) * block,
    )


def best_block_estimate(depth: int, streams: int) -> float:
    """The paper's closed form of the best block, sqrt(nL / (n + 2)) (Eq. 20)."""
    depth, streams = whole_number("depth", depth, 1), whole_number("streams", streams, 1)
    return math.sqrt(streams * depth / (streams + 2))


# The projection's time, measured


ELEMENTS, ELEMENTS_ON_A_GPU = 2**13, 2**22
"""Numbers in the matrices that are timed at a time.

In a core's cache, and soon done: a long call is seldom left alone on a busy machine.  On a GPU
enough to keep it busy.
"""

LONGEST = 0.5
"""Seconds after which no further round is begun."""

_ALONE = Lock()
"""Held by the one measurement that runs: two at once would measure each other."""


@dataclass(frozen=True, eq=False)
class ProjectionTimes:
    """How long a projection took, and what exactly was timed."""

    projection: str
    streams: int
    matrices: int
    """Projected in one call."""
    counts: tuple[int, ...]
    """Iterations."""
    seconds: NDArray[np.float64]
    """Of one call, the fastest of the rounds, for each of `counts`."""
    rounds: int
    device: str
    """What computed it, for the reader."""

    @property
    def nanoseconds(self) -> NDArray[np.float64]:
        """Per matrix, for each of `counts`."""
        return 1e9 * self.seconds / self.matrices

    @property
    def line(self) -> tuple[float, float]:
        """(start, slope) of the straight line through the counts from 1 on, by least squares.

        The slope is what a further iteration takes, in nanoseconds per matrix.  NaN where fewer
        than two such counts were measured, or the projection does not iterate.
        """
        counts = np.asarray(self.counts)
        iterated = counts >= 1
        if not PROJECTIONS[self.projection].iterative or len(set(counts[iterated])) < 2:
            return math.nan, math.nan
        slope, start = np.polyfit(counts[iterated], self.nanoseconds[iterated], 1)
        return float(start), float(slope)


def projection_times(
    projection: str = "sinkhorn",
    *,
    streams: int = 4,
    matrices: int | None = None,
    counts: Iterable[int] = range(31),
    device: str = "numpy",
    repeats: int = 15,
) -> ProjectionTimes:
    """Measure the time of a projection on this machine against its number of iterations.

    One call projects `matrices` random matrices, logits of N(0, 1), laid out as the gain surface
    has them; by default so many that a device is busy with them (512 of 4 x 4 on a CPU).  The
    counts take turns, in `repeats` rounds after one that warms up; after `LONGEST` seconds no
    further round is begun.  What is reported is the fastest call, as `timeit` advises: whatever
    else the machine does can only add to it.  (The median was tried: on two busy cores it came
    out up to four times too long for a count here and there.)  0 iterations hand the matrices
    back; a projection that does not iterate is measured once.

    Blocks for as long as it measures: call it on a thread where others are waiting.

    Raises ValueError or TypeError for unknown names, a device that cannot be had, more streams
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
    on = place(device)
    if matrices is None:
        matrices = max(1, (ELEMENTS_ON_A_GPU if on.gpu else ELEMENTS) // streams**2)
    matrices = whole_number("matrices", matrices, 1)

    logits = on.array(np.random.default_rng(0).standard_normal((matrices, streams, streams)))
    if not on.gpu:
        logits = batch_innermost(on.xp, logits)

    def seconds(iterations: int) -> float:
        start = time.perf_counter()
        projected(on.xp, chosen, logits, iterations)
        on.finished()
        return time.perf_counter() - start

    different = [t if chosen.iterative else min(t, 1) for t in counts]
    order = sorted(set(different))
    rounds: list[list[float]] = []
    with _ALONE:
        for t in order:
            seconds(t)
        start = time.perf_counter()
        while not rounds or (len(rounds) < repeats and time.perf_counter() - start < LONGEST):
            rounds.append([seconds(t) for t in order])
    fastest = dict(zip(order, np.min(rounds, axis=0), strict=True))
    return ProjectionTimes(
        projection=projection,
        streams=streams,
        matrices=matrices,
        counts=counts,
        seconds=np.array([fastest[t] for t in different]),
        rounds=len(rounds),
        device=on.title,
    )

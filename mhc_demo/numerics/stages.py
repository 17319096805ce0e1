"""A model cut into stages: how long each part of the work takes, and what a rank keeps.

Counts become times here: the bytes that the streams' own kernels move (Table 2), over the bandwidth
of a GPU's memory; the bytes of a message between two stages, over that of the link.  How long the
layers themselves take, nobody can count from n and C: that is given.  `pipeline.simulate` plays the
rest.  Nothing here is measured, and nothing is fitted to what the paper measured.

What mHC's overlap does (section 4.3.3) is modelled by its two effects.  A message leaves beside the
work of its rank, since the kernels that write the last streams of a stage run on a stream of their
own, of high priority; without it a rank waits until its message has arrived.  And what is
recomputed needs only what its rank has kept, so it need not wait for the gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from ._arrays import choice, nonnegative, whole_number
from .costs import (
    Activations,
    backward_traffic,
    best_recompute_block,
    fused_traffic,
    hyper_connection_traffic,
    residual_traffic,
)
from .hardware import GPUS, INFINIBAND
from .pipeline import SCHEDULES, Timeline, Times, simulate

MOST_RANKS = 16
"""Of those that the page simulates, as many as DeepSeek-V3 had (arXiv:2412.19437, section 3.2)."""

MOST_CHUNKS = 512
"""Ranks times micro-batches that the page simulates."""


@dataclass(frozen=True)
class Stages:
    """A model, cut into as many stages as there are ranks, and the hardware under it."""

    streams: int = 4
    """n."""
    width: int = 2560
    """C."""
    layers: int = 60
    """L: attention and FFN of a block count separately."""
    ranks: int = 8
    microbatches: int = 20
    tokens: int = 4096
    """In a micro-batch."""
    element: int = 2
    """Bytes of an element of the streams."""
    tensor_ranks: int = 1
    """GPUs that share a stage, and with it the tokens of the streams (sequence parallelism)."""
    forward: float = 10.0
    """Milliseconds that F's of all layers of a stage take for one micro-batch."""
    inputs: float = 10.0
    """Milliseconds of their backward pass for the inputs."""
    weights: float = 10.0
    """Milliseconds of their backward pass for the weights."""
    link: float = INFINIBAND
    """Bytes per second between two stages, in one direction, for each of the `tensor_ranks`."""
    memory: float = next(iter(GPUS.values())).bandwidth
    """Bytes per second of a GPU's memory."""

    def __post_init__(self) -> None:
        whole = ("streams", "width", "layers", "microbatches", "tokens", "element", "tensor_ranks")
        for name in whole:
            whole_number(name, getattr(self, name), 1)
        whole_number("ranks", self.ranks, 2)
        for name in ("forward", "inputs", "weights"):
            nonnegative(name, getattr(self, name))
        for name in ("link", "memory"):
            if not nonnegative(name, getattr(self, name)) > 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")

    @property
    def layers_each(self) -> int:
        """Residual layers of the longest stage, which the others wait for."""
        return math.ceil(self.layers / self.ranks)

    @property
    def local_tokens(self) -> int:
        """The most tokens of a micro-batch whose streams one GPU holds."""
        return math.ceil(self.tokens / self.tensor_ranks)


@dataclass(frozen=True)
class Way:
    """A way to run the same model; the four switches of `WAYS`."""

    widened: bool = True
    """With n streams; else a residual network, which neither fuses nor recomputes."""
    fused: bool = True
    """H_post, H_res and the merge in one kernel (section 4.3.1)."""
    recomputed: bool = True
    """The streams' kernels run again before the backward pass (section 4.3.2)."""
    overlapped: bool = True
    """Sent beside the work, and recomputed early (section 4.3.3)."""


RESIDUAL = Way(widened=False, fused=False, recomputed=False)
"""The residual network, its messages beside its work: what all others are compared with."""

WAYS = {
    "nothing": Way(fused=False, recomputed=False, overlapped=False),
    "fused": Way(recomputed=False, overlapped=False),
    "fused, recomputed": Way(overlapped=False),
    "all three": Way(),
    "all but fused": Way(fused=False),
    "all but recomputed": Way(recomputed=False),
}
"""One step after another to all three, and all three without one of the others."""


# What is moved


@lru_cache(maxsize=256)
def times(stages: Stages, way: Way = WAYS["all three"]) -> Times:
    """How long each part takes in one stage, in milliseconds.

    The streams' kernels take the bytes that they move over the memory's bandwidth: nothing is
    faster.  Recomputing runs those of the forward pass again, without F (Table 3).
    """
    forward, backward = _kernels(stages, way)
    return Times(
        forward=stages.forward + forward,
        inputs=stages.inputs + backward,
        weights=stages.weights,
        recompute=forward if way.recomputed else 0.0,
        early=way.overlapped,
        send=1e3 * message(stages, way) / stages.link,
        blocking=not way.overlapped,
        ahead=stages.weights / stages.layers_each if way.overlapped else 0.0,
    )


def message(stages: Stages, way: Way = WAYS["all three"]) -> float:
    """Bytes that a GPU sends to the next stage for one micro-batch: nC per token, or C."""
    streams = stages.streams if way.widened else 1
    return streams * stages.width * stages.local_tokens * stages.element


def _kernels(stages: Stages, way: Way) -> tuple[float, float]:
    """Milliseconds of the streams' kernels in a stage, forward and backward."""
    n, width = stages.streams, stages.width
    if not way.widened:
        # The sum forward, and that of the two gradients backward: each reads 2C and writes C.
        moved = [residual_traffic(width).moved] * 2
    else:
        ahead = fused_traffic if way.fused else hyper_connection_traffic
        moved = [ahead(n, width).moved, backward_traffic(n, width, fused=way.fused).moved]
    each = stages.layers_each * stages.local_tokens * stages.element
    forward, backward = (1e3 * elements * each / stages.memory for elements in moved)
    return forward, backward


# What happens


@lru_cache(maxsize=16)
def timeline(stages: Stages, schedule: str, way: Way = WAYS["all three"]) -> Timeline:
    """The simulated schedule."""
    return simulate(schedule, stages.ranks, stages.microbatches, times(stages, way))


@lru_cache(maxsize=512)
def span(stages: Stages, schedule: str, way: Way = WAYS["all three"]) -> float:
    """Milliseconds of a step, simulated."""
    return timeline(stages, schedule, way).span


def exposed(stages: Stages, schedule: str, way: Way = WAYS["all three"]) -> float:
    """Milliseconds by which a step is longer because of what is sent between the stages.

    The simulated span, less that of the same work with a link that takes no time: there nothing is
    sent, no rank waits for a message to leave, and what is recomputed waits for nothing.
    """
    unsent = _span_unsent(stages, schedule, replace(way, overlapped=True))
    return span(stages, schedule, way) - unsent


@lru_cache(maxsize=256)
def _span_unsent(stages: Stages, schedule: str, way: Way) -> float:
    usual = times(stages, way)
    unsent = Times(usual.forward, usual.inputs, usual.weights, recompute=usual.recompute)
    return simulate(schedule, stages.ranks, stages.microbatches, unsent).span


@lru_cache(maxsize=64)
def idle_unsent(stages: Stages, schedule: str, way: Way = WAYS["all three"]) -> float:
    """Milliseconds that the most idle rank is idle if nothing is sent and nothing recomputed.

    This is what the formulas of `pipeline.SCHEDULES` are of; for times that do not meet their
    `when` it is another number than theirs.
    """
    usual = times(stages, way)
    only = Times(usual.forward, usual.inputs, usual.weights)
    played = simulate(schedule, stages.ranks, stages.microbatches, only)
    return max(map(played.bubble, range(stages.ranks)))


def overhead(stages: Stages, schedule: str, way: Way = WAYS["all three"]) -> float:
    """How much longer a step is than the residual network's, as a fraction of that."""
    return span(stages, schedule, way) / span(stages, schedule, RESIDUAL) - 1


# What is kept


def most_kept(stages: Stages, schedule: str) -> int:
    """Micro-batches whose activations a rank keeps at most; the published number (Table 2)."""
    return SCHEDULES[choice("schedule", schedule, SCHEDULES)].activations(stages.ranks)


def kept(stages: Stages, microbatches: int, way: Way, block: int | None = None) -> Activations:
    """Elements per token that a rank keeps for that many micro-batches, without the inside of F.

    Per layer of the stage: a residual network keeps its stream and the norm of it, 2C.  With n
    streams everything is (n + 3)C (Table 3).  Recomputed, each micro-batch keeps F's outputs and
    the input of each block, and the one micro-batch that is in the backward pass has (n + 2)C for
    each layer of one block (Eq. 20).  A block is at most a stage, the usual.

    Raises TypeError or ValueError unless the numbers are whole and at least 1.
    """
    microbatches = whole_number("microbatches", microbatches, 1)
    n, width, layers = stages.streams, stages.width, stages.layers_each
    if not way.widened:
        return Activations(microbatches * 2 * width * layers, 0)
    if not way.recomputed:
        return Activations(microbatches * (n + 3) * width * layers, 0)
    block = min(layers, whole_number("block", layers if block is None else block, 1))
    each = n * width * math.ceil(layers / block) + width * layers
    return Activations(microbatches * each, (n + 2) * width * block)


def gibibytes(stages: Stages, elements: float) -> float:
    """GiB on one GPU of so many elements per token."""
    return elements * stages.local_tokens * stages.element / 2**30


def blocks(stages: Stages, microbatches: int) -> dict[str, int]:
    """How many layers to recompute together, by whom one asks.

    "network": the best of Eq. 20 for all L layers, cut where a stage ends.  "stage": the best for
    the layers of one stage and a single micro-batch.  "kept": the best when a rank keeps that many
    micro-batches.  "aligned": the stage itself, as the paper does (section 4.3.2).

    Each micro-batch that a rank keeps has its blocks' inputs, but only one is recomputed at a time:
    so blocks are to be longer, about sqrt(n K L_stage / (n + 2)) for K of them, and with K as many
    as the stages that is Eq. 20's estimate for the whole network.
    """
    layers, n = stages.layers_each, stages.streams
    return {
        "network": min(layers, best_recompute_block(stages.layers, n)),
        "stage": best_recompute_block(layers, n),
        "kept": best_recompute_block(layers, n, microbatches),
        "aligned": layers,
    }


# What the page can show


def fitting(ranks: int, microbatches: int) -> tuple[int, int]:
    """The nearest ranks and micro-batches that every schedule exists for and the page can play.

    DualPipe takes an even number of ranks, and an even number of micro-batches, at least twice as
    many.

    >>> fitting(8, 20), fitting(1, 1), fitting(7, 5), fitting(64, 10_000)
    ((8, 20), (2, 4), (8, 16), (16, 32))
    """
    ranks = min(MOST_RANKS, max(2, ranks + ranks % 2))
    microbatches = max(2 * ranks, microbatches + microbatches % 2)
    return ranks, min(microbatches, MOST_CHUNKS // ranks // 2 * 2)

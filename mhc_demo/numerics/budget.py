"""What mHC would cost one's own training run: bytes moved, stored and sent, and times from them.

The paper counts elements per token (`costs.py`).  Here they meet a number of tokens, a precision,
the ranks of a cluster and a GPU's published peaks (`hardware.py`), and become bytes and seconds.
Bytes are counts.  Seconds are estimates, and an overhead is a range between two sets of
assumptions, all of which are named: nothing here is measured but what `Here` says was.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from ._arrays import choice, real_number, whole_number
from .costs import (
    Traffic,
    backward_traffic,
    best_recompute_block,
    copy_bandwidth,
    fused_traffic,
    hyper_connection_traffic,
    projection_times,
    residual_traffic,
    stored_activations,
)
from .hardware import GPUS, INFINIBAND, PRECISIONS
from .paper import MODELS, TrainedModel
from .projections import PAPER_ITERATIONS

COEFFICIENT = 4
"""Bytes of an entry of the mappings: they are float32 whatever the streams are (Eq. 14 to 19)."""

UTILISATION = (0.3, 0.6)
"""Share of a GPU's peak that the layers themselves reach in training, at least and at most."""

EFFICIENCY = (0.7, 1.0)
"""Share of its memory's bandwidth that moving the streams reaches, at least and at most."""

BACKWARD = 2
"""How many operations a backward pass of the layers takes for each of the forward pass."""

DENSE = 6
"""Parameters of a residual layer in units of C^2 where nothing is published: a Transformer block
has 4 in its attention and 8 in its FFN, and is two layers."""


MOST = {
    "streams": 64,
    "width": 2**20,
    "layers": 10_000,
    "tokens": 2**24,
    "pipeline_ranks": 64,
    "tensor_ranks": 64,
}
"""The largest numbers that are answered."""

STAGES = 8
"""Pipeline ranks unless something else is asked."""

LINKS = (0.1, 10_000.0)
"""Bandwidths between two stages that are answered, in GB/s."""


@dataclass(frozen=True)
class Question:
    """What was asked; the fields are the arguments of `cost`."""

    streams: int
    width: int
    layers: int
    tokens: int
    precision: str
    pipeline_ranks: int
    tensor_ranks: int
    sequence_parallel: bool
    link_gb_per_s: float
    gpu: str
    active_parameters: float


@dataclass(frozen=True)
class Moved:
    """What the residual connections move through a GPU's memory, layers' own work left out."""

    residual_bytes: int
    unfused_bytes: int
    fused_bytes: int
    """H_post, H_res and the merge in one kernel (section 4.3.1)."""
    residual_seconds: float
    """At the GPU's published bandwidth, which nothing reaches; so are the next two."""
    unfused_seconds: float
    fused_seconds: float


@dataclass(frozen=True)
class Stored:
    """Activations that a rank keeps for the backward pass, inside of F left out."""

    microbatches: int
    """Kept at a time."""
    residual_bytes: int
    """A residual network's: of every layer its input and the norm of it, 2C."""
    residual_recomputed_bytes: int
    """The same network's, which recomputes the norms one by one: C a layer, and C."""
    everything_bytes: int
    """All rows of Table 3 for every layer, (n + 3)C."""
    recomputed_bytes: int
    """Recomputed in blocks of `block` layers (Table 3): block inputs and outputs of F of all
    micro-batches, and what one block adds while it is recomputed."""
    block: int
    """The layers of a block with which the rank keeps least."""


@dataclass(frozen=True)
class Sent:
    """What crosses the boundary between two stages, for each pair of GPUs that face each other."""

    boundaries: int
    """Between the stages."""
    residual_bytes: int
    """One micro-batch, one way: activations forward, or gradients back."""
    streams_bytes: int
    """The same with n streams."""
    residual_seconds: float
    streams_seconds: float


@dataclass(frozen=True)
class Projected:
    """The projection of the H_res of one micro-batch in all layers of a rank."""

    matrices: int
    bytes: int
    """Logits read and matrices written once, n^2 each, in float32; iterations stay on the chip."""
    at_least_seconds: float
    """From those bytes at the published bandwidth: a bound from below."""


@dataclass(frozen=True)
class Weights:
    """What the mappings learn."""

    parameters: int
    """(n^2 + 2n)(nC + 1) + 3 in each layer (Eq. 7), and n(nC + 1) + 1 where streams are collapsed
    with learned weights."""
    share: float | None
    """Of all the model's parameters; None where these are not published."""


@dataclass(frozen=True)
class Carried:
    """What one layer hands to the next: all that inference keeps of the residual connection."""

    tokens: int
    residual_bytes: int
    streams_bytes: int


@dataclass(frozen=True)
class Overhead:
    """How much longer a training step takes than the residual network's, as a range."""

    name: str
    title: str
    low: float
    high: float


@dataclass(frozen=True)
class Here:
    """What this machine was measured to do."""

    device: str
    copied_bytes_per_second: float
    """Read and written while a large array was copied."""
    matrix_nanoseconds: float
    """The projection of one matrix, 20 iterations."""
    fused_seconds: float
    """`Moved.fused_seconds` of a layer at that bandwidth."""
    projected_seconds: float
    """All of `Projected.matrices`."""


@dataclass(frozen=True)
class Budget:
    """What mHC costs a training run; units are in the names, and `assumes` says what is assumed."""

    asked: Question
    model: str | None
    """A known model of these sizes."""
    layers_per_rank: int
    """Of the longest stage."""
    moved: Moved
    """By a layer in the forward pass of one micro-batch, on each GPU."""
    moved_backward: Moved
    """The same in the backward pass, which the paper does not count: see `backward_traffic`."""
    stored: Stored
    """One micro-batch, by the longest stage."""
    in_flight: Stored
    """As many micro-batches as the first rank of 1F1B keeps: one for each stage."""
    sent: Sent
    projected: Projected
    weights: Weights
    token: Carried
    """One token: what a step of decoding holds."""
    chunk: Carried
    """The tokens asked about: what a chunk of prefill holds."""
    context: Carried | None
    """The longest sequence of the model, in one piece."""
    overheads: tuple[Overhead, ...]
    assumes: tuple[str, ...]
    source: str
    """Of the GPU's numbers."""
    here: Here | None = None

    @property
    def low(self) -> float:
        """The least of all overheads."""
        return min(each.low for each in self.overheads)

    @property
    def high(self) -> float:
        """The most of all overheads."""
        return max(each.high for each in self.overheads)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: dictionaries, lists, numbers, strings and None alone."""
        found = asdict(self)
        return found | {name: list(found[name]) for name in ("overheads", "assumes")}


def known_model(streams: int, width: int, layers: int) -> TrainedModel | None:
    """The model of the paper, or the released one, that has these sizes."""
    sizes = streams, width, layers
    every = MODELS.values()
    return next((m for m in every if (m.streams, m.width, m.residual_layers) == sizes), None)


def usual_active(streams: int, width: int, layers: int) -> float:
    """Parameters that a token meets: as published of a known model, else a dense Transformer's."""
    model = known_model(streams, width, layers)
    return model.active if model else float(DENSE * width**2 * layers)


def cost(
    *,
    streams: int = 4,
    width: int = 2560,
    layers: int = 60,
    tokens: int = 4096,
    precision: str = "bfloat16",
    pipeline_ranks: int | None = None,
    tensor_ranks: int = 1,
    sequence_parallel: bool = True,
    link_gb_per_s: float = INFINIBAND / 1e9,
    gpu: str = next(iter(GPUS)),
    active_parameters: float | None = None,
    measured_on: str | None = None,
) -> Budget:
    """What mHC moves, stores, sends and takes for a model on given machines.

    The model has n `streams` of `width` C and L residual `layers`, two for each Transformer block;
    the default is the paper's 27B.  A micro-batch has `tokens`; its streams are kept, moved and
    sent in `precision`.  `pipeline_ranks` stages share the layers (by default 8, or one for each of
    fewer layers), and `tensor_ranks` GPUs each stage: all of them keep all streams, unless
    `sequence_parallel` divides the tokens among them.
    Two stages are joined by `link_gb_per_s` (10^9 bytes per second in each direction, for each
    GPU).  `gpu` is one of `GPUS`.  `active_parameters`, those that a token meets, say how long the
    layers themselves take: by default the published ones of a known model, else 6 C^2 a layer.

    With `measured_on`, one of `DEVICES`, this machine is measured too, which blocks for about two
    seconds.

    >>> budget = cost()
    >>> budget.moved.fused_bytes / budget.moved.residual_bytes  # Table 2, section 4.3.1
    6.0125
    >>> budget.sent.streams_bytes / budget.sent.residual_bytes
    4.0

    Raises TypeError or ValueError for anything but whole numbers from 1 to those of `MOST`
    (pipeline_ranks: at most the layers), for links outside `LINKS`, for parameters that are not
    between 1 and 10^15, and for unknown names.
    """
    n, width, layers, tokens, tensor = (
        whole_number(name, value, 1, MOST[name])
        for name, value in (
            ("streams", streams),
            ("width", width),
            ("layers", layers),
            ("tokens", tokens),
            ("tensor_ranks", tensor_ranks),
        )
    )
    most = min(layers, MOST["pipeline_ranks"])
    usual = min(layers, STAGES)
    ranks = whole_number(
        "pipeline_ranks", usual if pipeline_ranks is None else pipeline_ranks, 1, most
    )
    size = PRECISIONS[choice("precision", precision, PRECISIONS)]
    chosen = GPUS[choice("gpu", gpu, GPUS)]
    link = _between("link_gb_per_s", link_gb_per_s, *LINKS)
    if not isinstance(sequence_parallel, bool):
        raise TypeError(f"sequence_parallel must be True or False, not {sequence_parallel!r}")
    model = known_model(n, width, layers)
    active = usual_active(n, width, layers)
    if active_parameters is not None:
        active = _between("active_parameters", active_parameters, 1.0, 1e15)

    own = math.ceil(tokens / tensor) if sequence_parallel else tokens
    stage = math.ceil(layers / ranks)
    moved, back = (_moved(n, width, own, size, chosen.bandwidth, way) for way in ("F", "B"))
    sent = _sent(n, width, own, size, ranks, link)
    matrices = own * stage
    projected_bytes = 2 * n * n * COEFFICIENT * matrices
    entries = Projected(matrices, projected_bytes, projected_bytes / chosen.bandwidth)
    learned = (n * n + 2 * n) * (n * width + 1) + 3
    parameters = learned * layers
    if model and model.collapses:
        parameters += n * (n * width + 1) + 1
    asked = Question(
        *(n, width, layers, tokens, precision, ranks, tensor, sequence_parallel, link, gpu, active)
    )

    def carried(count: int) -> Carried:
        return Carried(count, count * width * size, count * n * width * size)

    return Budget(
        asked=asked,
        model=model.name if model else None,
        layers_per_rank=stage,
        moved=moved,
        moved_backward=back,
        stored=_stored(n, width, stage, own * size, 1),
        in_flight=_stored(n, width, stage, own * size, ranks),
        sent=sent,
        projected=entries,
        weights=Weights(parameters, parameters / model.parameters if model else None),
        token=carried(1),
        chunk=carried(tokens),
        context=carried(model.context) if model else None,
        overheads=tuple(_overheads(asked, moved, back, sent, chosen.peak)),
        assumes=_assumptions(asked, model),
        source=chosen.source,
        here=None if measured_on is None else _here(measured_on, n, moved, entries),
    )


def _between(name: str, value: Any, low: float, high: float) -> float:
    number = real_number(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, not {value}")
    return number


def _moved(n: int, width: int, tokens: int, size: int, bandwidth: float, way: str) -> Moved:
    """In the forward pass, "F", or in the backward pass, "B"."""
    if way == "F":
        counts = hyper_connection_traffic(n, width), fused_traffic(n, width)
        mappings = 2  # each coefficient is written and read
    else:
        unfused, fused = (backward_traffic(n, width, fused=each) for each in (False, True))
        counts = unfused, fused
        mappings = 3  # and its gradient written and read, while it is read
    coefficients = mappings * (n * n + 2 * n)

    def streams(traffic: Traffic) -> int:
        return tokens * ((traffic.moved - coefficients) * size + coefficients * COEFFICIENT)

    # A sum, both ways: of a stream and F's output, and of their gradients.
    found = tokens * residual_traffic(width).moved * size, *map(streams, counts)
    return Moved(*found, *(each / bandwidth for each in found))


def _stored(n: int, width: int, layers: int, unit: int, microbatches: int) -> Stored:
    block = best_recompute_block(layers, n, microbatches)
    recomputed = stored_activations(n, width, layers, block)
    return Stored(
        microbatches=microbatches,
        residual_bytes=microbatches * 2 * width * layers * unit,
        residual_recomputed_bytes=(microbatches * layers + 1) * width * unit,
        everything_bytes=microbatches * stored_activations(n, width, layers).peak * unit,
        recomputed_bytes=(microbatches * recomputed.resident + recomputed.transient) * unit,
        block=block,
    )


def _sent(n: int, width: int, tokens: int, size: int, ranks: int, link: float) -> Sent:
    one = tokens * width * size if ranks > 1 else 0
    return Sent(ranks - 1, one, n * one, one / (link * 1e9), n * one / (link * 1e9))


def _overheads(
    asked: Question, moved: Moved, back: Moved, sent: Sent, peak: float
) -> list[Overhead]:
    """The longer step of an average stage, for each way to run mHC."""
    layers = asked.layers / asked.pipeline_ranks
    flops = 2 * (1 + BACKWARD) * asked.active_parameters * asked.tokens
    flops /= asked.pipeline_ranks * asked.tensor_ranks
    residual = moved.residual_seconds + back.residual_seconds

    def overhead(name: str, title: str, seconds: float, *, waits: bool = False) -> Overhead:
        """Of a layer's `seconds`; the ends are at corners, for it is monotone in both."""
        # Activations forward and gradients back, in both networks alike.
        widened, plain = (
            2 * waits * each for each in (sent.streams_seconds, sent.residual_seconds)
        )
        found = []
        for used, reached in product(UTILISATION, EFFICIENCY):
            usual = flops / (used * peak) + residual * layers / reached + plain
            extra = (seconds - residual) * layers / reached + widened - plain
            found.append(extra / usual)
        return Overhead(name, title, min(found), max(found))

    once = moved.fused_seconds + back.fused_seconds
    again = once + moved.fused_seconds
    unfused = 2 * moved.unfused_seconds + back.unfused_seconds
    return [
        overhead("kept", "Fused, everything kept, sends hidden", once),
        overhead("recomputed", "Fused, recomputed, sends hidden", again),
        overhead("exposed", "Fused, recomputed, sends not hidden", again, waits=True),
        overhead("unfused", "Not fused, recomputed, sends not hidden", unfused, waits=True),
    ]


def _assumptions(asked: Question, model: TrainedModel | None) -> tuple[str, ...]:
    low, high = (f"{share:.0%}".rstrip("%") for share in UTILISATION)
    least, most = (f"{share:.0%}".rstrip("%") for share in EFFICIENCY)
    active = asked.active_parameters
    if active != usual_active(asked.streams, asked.width, asked.layers):
        whose = "as given"
    elif model:
        whose = f"as published of {model.name}"
    else:
        whose = f"{DENSE} C² a layer, as in a dense Transformer"
    if asked.tensor_ranks == 1:
        shared = "One GPU holds a stage."
    elif asked.sequence_parallel:
        shared = (
            f"The {asked.tensor_ranks} GPUs of a stage divide its tokens among them wherever "
            "streams are moved, kept or sent (sequence parallelism)."
        )
    else:
        shared = (
            f"Each of the {asked.tensor_ranks} GPUs of a stage moves, keeps and sends all streams "
            "(no sequence parallelism), while they share the layers’ own work."
        )
    if active >= 1e9:
        words = f"{active / 1e9:,.3g} billion"
    else:
        words = f"{active / 1e6:,.3g} million" if active >= 1e6 else f"{active:,.0f}"
    return (
        f"The layers compute 2 operations per active parameter and token forward and {BACKWARD} "
        f"times that backward; {words} parameters are active ({whose}). "
        "Attention over the sequence is left out, so long sequences make the overhead smaller.",
        f"They reach {low} to {high} % of the GPU’s dense BF16 peak; moving the streams reaches "
        f"{least} to {most} % of its bandwidth, and overlaps with nothing. What is computed of the "
        "streams (the mappings, the projection, the sums) takes no longer than moving them.",
        "A forward pass moves what Table 2 counts. The paper does not count the backward pass; our "
        "count is made in the same manner. Recomputing moves the forward pass’s once more.",
        "Streams have the precision asked for, coefficients float32 (Eq. 11, Eq. 14).",
        shared,
        "A stage has the average number of layers. “Hidden” means that sends are wholly behind "
        "computation, “not hidden” that a rank waits for all that it sends, forward and backward, "
        "in the residual network too. Pipeline bubbles, the optimiser and other communication "
        "are left out.",
    )


def _here(device: str, n: int, moved: Moved, entries: Projected) -> Here:
    copied = copy_bandwidth(device)
    timed = projection_times(streams=n, counts=[PAPER_ITERATIONS], device=device)
    each = float(timed.nanoseconds[0])
    return Here(
        device=timed.device,
        copied_bytes_per_second=copied,
        matrix_nanoseconds=each,
        fused_seconds=moved.fused_bytes / copied,
        projected_seconds=entries.matrices * each / 1e9,
    )

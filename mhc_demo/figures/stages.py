"""What a model's schedules come to, as tables and sentences beside their chart (`pipeline.py`).

Every number is of the simulation or of a count; the one that the paper measured stands apart.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..numerics.paper import MHC, MODELS, TRAINING_OVERHEAD
from ..numerics.pipeline import DEEPSEEK_V3, SCHEDULES
from ..numerics.stages import (
    MOST_CHUNKS,
    MOST_RANKS,
    RESIDUAL,
    WAYS,
    Stages,
    Way,
    blocks,
    exposed,
    gibibytes,
    idle_unsent,
    kept,
    message,
    most_kept,
    overhead,
    span,
    timeline,
    times,
)
from .cost import cost_table, count_html
from .pipeline import bubble_share

USUAL = "dualpipe"
"""The schedule of the paper (section 4.3.3), which tables of one schedule are about unless another
is drawn."""

ALL = "all"
"""In place of a schedule: all of them are drawn."""

WAY_TITLES = {
    "nothing": "None of the three",
    "fused": "Fused",
    "fused, recomputed": "Fused and recomputed",
    "all three": "Fused, recomputed, overlapped",
    "all but fused": "All three but fused",
    "all but recomputed": "All three but recomputed",
}

BLOCK_TITLES = {
    "network": ("The best for all L layers", "Eq. 20, cut where the stage ends"),
    "stage": ("The best for a stage’s layers", "Eq. 20 with L / ranks, one micro-batch kept"),
    "kept": ("The best for all that a rank keeps", "Eq. 20 with as many inputs as micro-batches"),
    "aligned": ("The stage itself", "the paper’s choice (section 4.3.2)"),
}


def percent(share: float, places: int = 1) -> str:
    """A share in percent.

    >>> percent(0.0672), percent(-0.5, 0)
    ('6.7 %', '−50 %')
    """
    return f"{100 * share:,.{places}f} %".replace("-", "−")


def three_digits(value: float) -> str:
    """A number to three digits, or those before the point; a time below rounding is 0."""
    if value < 5e-3:
        return "0"
    return count_html(round(value)) if value >= 100 else f"{value:.3g}"


def gib(stages: Stages, elements: float) -> str:
    """So many elements per token, in GiB without the unit."""
    value = gibibytes(stages, elements)
    return f"{value:,.2f}" if value < 1e6 else count_html(round(value))


def shown(schedule: str) -> str:
    """The schedule that the tables of one are about."""
    return USUAL if schedule == ALL else schedule


# ---- tables --------------------------------------------------------------------------------------


def exposed_html(stages: Stages, way: Way) -> str:
    """Under each schedule: the step, and how much of it is sending that nothing hides."""
    waits, beside = replace(way, overlapped=False), replace(way, overlapped=True)
    rows = []
    for name, schedule in SCHEDULES.items():
        whole = span(stages, name, way)
        idle = bubble_share(timeline(stages, name, way))
        cells = [
            *(three_digits(exposed(stages, name, each)) for each in (RESIDUAL, waits, beside)),
            three_digits(whole),
            percent(idle),
        ]
        formula = f"published: idle for {schedule.formula.replace(' - ', ' − ')}"
        published = schedule.bubble(stages.ranks, times(stages, way))
        found = idle_unsent(stages, name, way)
        if math.isclose(published, found, rel_tol=1e-9, abs_tol=1e-9):
            formula += f" = {three_digits(found)} ms"
        else:
            formula += f", if {schedule.when}; here simulated, {three_digits(found)} ms"
        rows.append((schedule.title, formula, cells))
    n = _streams(stages)
    return cost_table(
        "scale-exposed",
        "What sending adds to a step, in milliseconds",
        "Simulated: the step, less that of the same work over a link that takes no time. Residual: "
        "1 stream, sent beside the work. Formulas: nothing sent or computed again "
        f"({DEEPSEEK_V3}).",
        ("residual", f"{n}, a rank waits", f"{n}, beside the work", "step", "idle"),
        rows,
    )


def three_html(stages: Stages, schedule: str) -> str:
    """What fusing, recomputing and overlapping do to a step and to memory, one after another."""
    micro = most_kept(stages, schedule)

    def cells(way: Way) -> list[str]:
        return [
            three_digits(span(stages, schedule, way)),
            three_digits(exposed(stages, schedule, way)),
            gib(stages, kept(stages, micro, way).peak),
            "" if way == RESIDUAL else percent(overhead(stages, schedule, way)),
        ]

    rows = [("Residual network", "sent beside the work", cells(RESIDUAL))]
    rows += [(WAY_TITLES[name], "", cells(way)) for name, way in WAYS.items()]
    return cost_table(
        "scale-three",
        f"The three together, {SCHEDULES[schedule].title}",
        "Simulated. More: than the residual network’s step. GiB: activations of a rank, without "
        f"the inside of F, {micro} micro-batches kept.",
        ("step (ms)", "exposed (ms)", "GiB", "more"),
        rows,
    )


def _streams(stages: Stages) -> str:
    return f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{stages.streams}"


def blocks_html(stages: Stages, schedule: str) -> str:
    """How blocks that are recomputed together meet the stages."""
    micro = most_kept(stages, schedule)
    rows = []
    for name, block in blocks(stages, micro).items():
        found = kept(stages, micro, WAYS["all three"], block)
        held, peak = (gib(stages, each) for each in (found.resident, found.peak))
        rows.append((*BLOCK_TITLES[name], [f"{block}", held, peak]))
    return cost_table(
        "scale-blocks",
        f"Blocks and stages, {SCHEDULES[schedule].title}",
        f"A stage has {stages.layers_each} of {stages.layers:,} layers, and a rank keeps {micro} "
        "micro-batches: of each all blocks’ inputs, but it recomputes one block at a time.",
        ("layers in a block", "GiB held", "GiB at the peak"),
        rows,
    )


def memory_html(stages: Stages) -> str:
    """What a rank keeps under each schedule."""
    rows = []
    for name, schedule in SCHEDULES.items():
        micro = most_kept(stages, name)
        found = (kept(stages, micro, way) for way in (RESIDUAL, WAYS["fused"], WAYS["all three"]))
        cells = [gib(stages, each.peak) for each in found]
        formula = f"{micro} micro-batches, {schedule.parameters} × a stage’s parameters"
        rows.append((schedule.title, formula, cells))
    return cost_table(
        "scale-memory",
        "Activations that a rank keeps, in GiB",
        "Table 3 and Eq. 20, without the inside of F; a residual network keeps each layer’s stream "
        f"and its norm, 2C, and recomputes nothing. Micro-batches and parameters: {DEEPSEEK_V3}.",
        ("residual", _streams(stages), "recomputed"),
        rows,
    )


def tables_html(stages: Stages, schedule: str, way: Way) -> str:
    """All of them, and the number that was measured."""
    one = shown(schedule)
    tables = (
        three_html(stages, one),
        exposed_html(stages, way),
        memory_html(stages),
        blocks_html(stages, one),
    )
    return "".join(tables)


# ---- sentences -----------------------------------------------------------------------------------


def lesson(stages: Stages, schedule: str) -> str:
    """What a reader should take: what each of the three buys here, beside the paper's number."""
    one = shown(schedule)
    cost = {name: percent(overhead(stages, one, way)) for name, way in WAYS.items()}
    micro = most_kept(stages, one)
    memory = {
        name: gib(stages, kept(stages, micro, WAYS[name]).peak)
        for name in ("fused", "fused, recomputed")
    }
    before, after = (kept(stages, micro, WAYS[n]).peak for n in ("fused", "fused, recomputed"))
    buys = "buys memory, not time" if after < before else "takes time, and here saves no memory"
    return (
        f"<b>Why all three.</b> With {SCHEDULES[one].title}, n = {stages.streams} "
        f"stream{'s make' if stages.streams > 1 else ' makes'} a "
        f"step {cost['nothing']} longer than that of a residual network, which sends beside its "
        f"work, if nothing is done about it, and {cost['fused']} with fused kernels. Recomputation "
        f"{buys}: a rank’s activations go from {memory['fused']} to "
        f"{memory['fused, recomputed']} GiB, and a step is {cost['fused, recomputed']} longer. "
        f"With overlap too it is {cost['all three']} longer; the "
        f"same without fused kernels, {cost['all but fused']}. "
        f"The paper’s own {percent(TRAINING_OVERHEAD)} is <em>measured</em>, with all three, at a "
        f"size that it does not say ({MHC.short}, section 4.3); all else here is "
        "<em>simulated</em>, and nothing is fitted to that number. " + sensitivity(stages, one)
    )


def brief(stages: Stages, schedule: str) -> str:
    """The same in a line."""
    one = shown(schedule)
    nothing, fused, recomputed, overlapped = (
        _bold(overhead(stages, one, WAYS[name]))
        for name in ("nothing", "fused", "fused, recomputed", "all three")
    )
    return (
        f"<span>{SCHEDULES[one].title}, simulated: a step takes {nothing} longer than a residual "
        f"network’s; fused {fused}, also recomputed {recomputed}, also overlapped {overlapped}. "
        f"The paper measured {_bold(TRAINING_OVERHEAD)} with all three ({MHC.number}).</span>"
    )


def _bold(share: float) -> str:
    return f"<b>{percent(share)}</b>".replace(" ", "\N{NO-BREAK SPACE}")


def sensitivity(stages: Stages, schedule: str) -> str:
    """How much hangs on how long the layers take, which is assumed."""
    found = {
        factor: percent(
            overhead(
                replace(
                    stages,
                    forward=factor * stages.forward,
                    inputs=factor * stages.inputs,
                    weights=factor * stages.weights,
                ),
                schedule,
            )
        )
        for factor in (0.5, 2)
    }
    return (
        "Much hangs on how long the layers’ own work takes, which is assumed: in half the time all "
        f"three would cost {found[0.5]}, in twice the time {found[2]}."
    )


def account(stages: Stages, way: Way, peak: float | None = None) -> str:
    """What is sent and what it takes, in the numbers of the chart.

    `peak`, the GPU's operations per second, shows whether a known model's layers can be so fast.
    """
    usual, plain = times(stages, way), times(stages, RESIDUAL)
    forward, backward = usual.forward - stages.forward, usual.inputs - stages.inputs
    parts = [
        f"<b>Simulated, not measured.</b> Each of {stages.ranks} ranks has a stage of the pipeline "
        f"with {_layers(stages.layers_each)}. Their own work on a micro-batch is assumed to take "
        f"{three_digits(stages.forward)} ms in the forward pass and, in the backward pass, "
        f"{three_digits(stages.inputs)} for the inputs and {three_digits(stages.weights)} for the "
        f"weights. The streams’ kernels add {three_digits(forward)} and {three_digits(backward)} "
        f"ms: what they move at the peak bandwidth of the GPU’s memory.{_pace(stages, peak)}",
        f"A micro-batch of {stages.tokens:,} token{'s' * (stages.tokens != 1)} sends "
        f"{size(message(stages, way))} from stage to stage{_each(stages)}, which take "
        f"{three_digits(usual.send)} ms; in a residual network "
        f"{size(message(stages, RESIDUAL))} and {three_digits(plain.send)} ms.",
    ]
    if usual.recompute:
        when = "as soon as the rank has time" if usual.early else "once the gradient is there"
        parts.append(
            "The streams’ kernels of the forward pass run again before the backward pass, "
            f"{three_digits(usual.recompute)} ms, {when}."
        )
    parts.append(
        "What is sent leaves beside the work, and in the backward pass before the last layer’s "
        "weights are done."
        if way.overlapped
        else "A rank waits until what it sends has arrived."
    )
    return " ".join(parts)


def _each(stages: Stages) -> str:
    return " on each of its GPUs" if stages.tensor_ranks > 1 else ""


def _pace(stages: Stages, peak: float | None) -> str:
    """How fast a known model's layers would have to run for the time that is assumed."""
    sizes = stages.streams, stages.width, stages.layers
    for model in MODELS.values():
        if (model.streams, model.width, model.residual_layers) == sizes:
            operations = 2 * model.active * stages.tokens / (stages.ranks * stages.tensor_ranks)
            pace = operations / stages.forward / 1e9
            too_fast = (
                f", which no GPU of this kind does: its peak is {three_digits(peak / 1e12)}. The "
                "overheads above and below are too high, for such layers take longer"
                if peak is not None and pace > peak / 1e12
                else ""
            )
            return (
                f" (For the {model.active / 1e9:.3g} billion active parameters of {model.name} the "
                f"time assumed is {three_digits(pace)} TFLOP/s on each GPU in the forward pass"
                f"{too_fast}.)"
            )
    return ""


def _layers(count: int) -> str:
    return f"{count:,} layer{'s' * (count != 1)}"


ASSUMED = (
    "All stages are as long as the longest; two chunks that overlap take as long as one after the "
    "other; a link carries one message at a time in each direction. "
    "Expert parallelism, the optimiser, embedding and loss are left out. GPUs that share a stage "
    "share its tokens too (sequence parallelism). The paper does not count what the backward pass "
    "moves; that count is ours, in the manner of its Table 2. The view Cost estimates the same "
    "without a schedule, and so comes to other percentages: it has no idle ranks, takes the time "
    "of the layers from a share of the GPU’s peak, and hides what is sent wholly or not at all."
)


def size(count: float) -> str:
    """A number of bytes.

    >>> size(83_886_080), size(1.5e9), size(20)
    ('83.9 MB', '1.5 GB', '20 B')
    """
    for unit, power in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}"
    return f"{count:.3g} B"


def fitted(wanted: tuple[int, int], found: tuple[int, int]) -> str:
    """What was changed so that all schedules exist, in a sentence; empty if nothing was."""
    changes = [
        f"{new} {what} instead of {old}"
        for what, old, new in zip(("ranks", "micro-batches"), wanted, found, strict=True)
        if old != new
    ]
    if not changes:
        return ""
    return (
        f"Shown with {' and '.join(changes)}: DualPipe takes an even number of both and at least "
        f"twice as many micro-batches as ranks; this page simulates at most {MOST_RANKS} ranks, "
        f"and {MOST_CHUNKS} micro-batches divided by them."
    )

"""The answer to what mHC costs, as tables: the same rows for the page and for a terminal.

Numbers are rounded to three digits in units that a person reads; `Budget.to_dict` has all of them.
They stand here because the command line prints them, which needs no figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .budget import STAGES, Budget, Overhead, cost, usual_active
from .hardware import GPUS
from .paper import RELEASED, TRAINING_OVERHEAD

NARROW = "\u202f"
"""A thin space that does not break, between a number and its unit."""


Row: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Label, how it is counted, cells."""


@dataclass(frozen=True)
class Table:
    """Numbers in words, under the heads of their columns."""

    name: str
    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def in_bytes(count: float) -> str:
    """A number of bytes, in powers of 1000.

    >>> in_bytes(512), in_bytes(83_886_080), in_bytes(3.436e10)
    ('512\\u202fB', '83.9\\u202fMB', '34.4\\u202fGB')
    """
    return _scaled(count, ("B", "kB", "MB", "GB", "TB", "PB", "EB"))


def in_seconds(seconds: float) -> str:
    """A time, from nanoseconds to seconds.

    >>> in_seconds(1.25e-6), in_seconds(0.0016777), in_seconds(0)
    ('1.25\\u202fµs', '1.68\\u202fms', '0\\u202fs')
    """
    if not seconds:
        return f"0{NARROW}s"
    return _scaled(seconds * 1e9, ("ns", "µs", "ms", "s"))


def _scaled(value: float, units: Sequence[str]) -> str:
    """Three digits, in the first unit in which they are fewer than four before the point."""
    power = 0
    while float(f"{value:.3g}") >= 1000 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    if value >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:#.3g}".rstrip(".") if power else f"{value:.3g}"
    return text + NARROW + units[power]


def in_percent(each: Overhead) -> str:
    """A range of overheads.

    >>> in_percent(Overhead("", "", 0.0489, 0.1374)), in_percent(Overhead("", "", 0.5, 12.5))
    ('4.9 to 13.7\\u202f%', '50 to 1,250\\u202f%')
    """
    low, high = (
        f"{100 * x:,.0f}" if 100 * x >= 50 else f"{100 * x:.1f}" for x in (each.low, each.high)
    )
    return f"{low} to {high}{NARROW}%"


def asked_in_words(budget: Budget) -> str:
    """What was asked, in a line."""
    asked = budget.asked
    name = f"{budget.model}: " if budget.model else ""
    shared = "" if asked.sequence_parallel else " that keep all streams"
    return (
        f"{name}n = {asked.streams}, C = {asked.width:,}, L = {asked.layers:,}; "
        f"{_count(asked.tokens, 'token')} in {asked.precision}; {asked.pipeline_ranks} pipeline × "
        f"{asked.tensor_ranks} tensor ranks{shared}; {GPUS[asked.gpu].title}, "
        f"{asked.link_gb_per_s:g} GB/s between stages"
    )


def tables(budget: Budget) -> list[Table]:
    """All of the answer, as tables."""
    sent = [_sent(budget)] if budget.sent.boundaries else []
    return [_overheads(budget), _moved(budget), _stored(budget), *sent, _carried(budget)]


def _moved(budget: Budget) -> Table:
    moved = budget.moved
    rows = (
        ("Residual network", "", moved.residual_bytes, moved.residual_seconds),
        ("HC, not fused", "Table 2", moved.unfused_bytes, moved.unfused_seconds),
        ("mHC, fused", "section 4.3.1", moved.fused_bytes, moved.fused_seconds),
    )
    projected = budget.projected
    here = budget.here
    last = (
        "Projection alone",
        f"n² in, n² out; {_count(projected.matrices // budget.layers_per_rank, 'matrix')}",
        projected.bytes // budget.layers_per_rank,
        projected.at_least_seconds / budget.layers_per_rank,
    )
    columns = ("bytes", "×\u00a0residual", "takes at least")
    return Table(
        "cost-moved",
        "A layer moves, forward, on each GPU",
        f"One micro-batch; the time is bytes over the {GPUS[budget.asked.gpu].title}’s published "
        f"{GPUS[budget.asked.gpu].bandwidth / 1e12:g} TB/s, a bound from below."
        + (
            ""
            if here is None
            else " “Here”: at what this machine was measured to copy, and project."
        ),
        (*columns, "here") if here else columns,
        tuple(
            (
                label,
                how,
                (
                    in_bytes(count),
                    _times(count / moved.residual_bytes),
                    in_seconds(seconds),
                    *(() if here is None else (_taken_here(budget, label, count),)),
                ),
            )
            for label, how, count, seconds in (*rows, last)
        ),
    )


def _count(number: int, what: str) -> str:
    """So many, in words.

    >>> _count(1, "token"), _count(4096, "matrix")
    ('1 token', '4,096 matrices')
    """
    plural = {"matrix": "matrices"}.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else plural}"


def _times(factor: float) -> str:
    return f"{factor:.2f}" if factor >= 0.1 else f"{factor:.1g}"


def _taken_here(budget: Budget, label: str, count: int) -> str:
    here = budget.here
    assert here is not None
    if label == "Projection alone":
        return in_seconds(here.projected_seconds / budget.layers_per_rank)
    return in_seconds(count / here.copied_bytes_per_second)


def _stored(budget: Budget) -> Table:
    one, flying = budget.stored, budget.in_flight
    blocks = f"{one.block}" if one.block == flying.block else f"{one.block} and {flying.block}"
    rows = (
        ("Residual network", "2C a layer", "residual_bytes"),
        ("the same, norms recomputed", "C a layer, and C", "residual_recomputed_bytes"),
        ("mHC, everything kept", "(n + 3)C a layer", "everything_bytes"),
        ("mHC, recomputed", f"Table 3, blocks of {blocks}", "recomputed_bytes"),
    )
    several = flying.microbatches > 1
    columns = ("a micro-batch", f"{flying.microbatches} in flight", "×\u00a0residual")
    layers = budget.layers_per_rank

    def cells(name: str) -> tuple[str, ...]:
        counts = [getattr(each, name) for each in ((one, flying) if several else (one,))]
        factor = counts[-1] / (flying.residual_bytes if several else one.residual_bytes)
        return (*map(in_bytes, counts), f"{factor:.2f}")

    return Table(
        "cost-stored",
        f"A rank stores for the backward pass, {layers:,} layer{'s' * (layers != 1)}",
        "The longest stage, the inside of F left out"
        + (
            "; in flight: as 1F1B’s first rank keeps (arXiv:2412.19437, Table 2)."
            if several
            else "."
        ),
        columns if several else (columns[0], columns[2]),
        tuple((label, how, cells(name)) for label, how, name in rows),
    )


def _sent(budget: Budget) -> Table:
    sent = budget.sent
    link = f"{budget.asked.link_gb_per_s:g}{NARROW}GB/s"
    rows = (
        ("Residual network", "C a token", sent.residual_bytes, sent.residual_seconds),
        ("n streams", "nC a token", sent.streams_bytes, sent.streams_seconds),
    )
    return Table(
        "cost-sent",
        f"Two stages send each other, {sent.boundaries} boundar"
        + ("y" if sent.boundaries == 1 else "ies"),
        "One micro-batch, each way: activations forward, gradients back (section 4.3.3).",
        ("bytes", f"at {link}"),
        tuple((label, how, (in_bytes(c), in_seconds(s))) for label, how, c, s in rows),
    )


def _carried(budget: Budget) -> Table:
    weights, model = budget.weights, budget.model
    pieces = [budget.chunk] if budget.chunk.tokens > 1 else []
    if budget.context and budget.context.tokens != budget.chunk.tokens:
        pieces = sorted([*pieces, budget.context], key=lambda each: each.tokens)
    rows = [("1 token", "a step of decoding", budget.token)]
    for each in pieces:
        longest = budget.context and each.tokens == budget.context.tokens
        how = f"{model}’s longest sequence" if longest else "a piece of a prompt"
        rows.append((f"{each.tokens:,} tokens", how, each))
    share = ""
    if weights.share is not None:
        share = f", {100 * weights.share:.2g}{NARROW}% of the model"
    return Table(
        "cost-carried",
        "Inference carries from layer to layer",
        f"Nothing is kept for a backward pass. The mappings’ weights are {weights.parameters:,} "
        f"numbers{share}.",
        ("residual", "n streams"),
        tuple(
            (label, how, (in_bytes(each.residual_bytes), in_bytes(each.streams_bytes)))
            for label, how, each in rows
        ),
    )


def _overheads(budget: Budget) -> Table:
    return Table(
        "cost-overhead",
        "A training step takes longer by",
        "Estimated, between the assumptions below. The paper measured "
        f"{100 * TRAINING_OVERHEAD:.1f}{NARROW}% in its own training, at a size that it does not "
        "name.",
        ("than the residual network’s",),
        tuple((each.title, "", (in_percent(each),)) for each in budget.overheads),
    )


def command_line(budget: Budget) -> str:
    """The command that prints this answer.

    >>> command_line(cost(layers=48, gpu="h200"))
    'mhc-demo cost --streams 4 --width 2560 --layers 48 --gpu h200'
    """
    asked, words = budget.asked, ["mhc-demo", "cost"]
    sizes = asked.streams, asked.width, asked.layers
    if budget.model:
        words += ["--model", budget.model]
    else:
        for name, size in zip(("streams", "width", "layers"), sizes, strict=True):
            words += [f"--{name}", str(size)]
    usual = cost().asked
    for option, value, default in (
        ("active-parameters", asked.active_parameters, usual_active(*sizes)),
        ("tokens", asked.tokens, usual.tokens),
        ("precision", asked.precision, usual.precision),
        ("pipeline-ranks", asked.pipeline_ranks, min(asked.layers, STAGES)),
        ("tensor-ranks", asked.tensor_ranks, usual.tensor_ranks),
        ("bandwidth", asked.link_gb_per_s, usual.link_gb_per_s),
        ("gpu", asked.gpu, usual.gpu),
    ):
        if value != default:
            words += [f"--{option}", f"{value:.12g}" if isinstance(value, float) else str(value)]
    return " ".join([*words, *([] if asked.sequence_parallel else ["--no-sequence-parallel"])])


def released(name: str) -> Budget:
    """The answer for a released model: one micro-batch is its longest sequence, on one rank."""
    model = RELEASED[name]
    return cost(
        streams=model.streams,
        width=model.width,
        layers=model.residual_layers,
        tokens=model.context,
        pipeline_ranks=1,
    )


def released_table() -> Table:
    """What the streams of the released models take, each beside a residual network's."""
    every = [released(name) for name in RELEASED]
    tokens, blocks = every[0].asked.tokens, [str(each.stored.block) for each in every]

    def row(label: str, how: str, parts: Sequence[tuple[float, float]]) -> Row:
        cells = (f"{in_bytes(streams)} ({streams / residual:.2f}×)" for streams, residual in parts)
        return label, how, tuple(cells)

    rows = (
        row(
            "A step of decoding carries",
            "nC, one token",
            [(each.token.streams_bytes, each.token.residual_bytes) for each in every],
        ),
        row(
            "The longest prompt carries",
            f"{tokens:,} tokens in one piece",
            [(each.chunk.streams_bytes, each.chunk.residual_bytes) for each in every],
        ),
        row(
            "All layers move, a token forward",
            "fused, section 4.3.1",
            [
                (
                    each.moved.fused_bytes * each.asked.layers / tokens,
                    each.moved.residual_bytes * each.asked.layers / tokens,
                )
                for each in every
            ],
        ),
        row(
            "Training stores, everything kept",
            "(n + 3)CL of 2CL, the longest sequence",
            [(each.stored.everything_bytes, each.stored.residual_bytes) for each in every],
        ),
        row(
            "Training stores, recomputed",
            f"Table 3, blocks of {' and '.join(blocks)}",
            [(each.stored.recomputed_bytes, each.stored.residual_bytes) for each in every],
        ),
        row(
            "… if the residual network recomputes too",
            "its norms, (L + 1)C",
            [
                (each.stored.recomputed_bytes, each.stored.residual_recomputed_bytes)
                for each in every
            ],
        ),
        (
            "Weights of the mappings",
            "and of the collapse at the end",
            tuple(
                f"{each.weights.parameters / 1e6:.1f} million "
                f"({100 * (each.weights.share or 0):.2g}{NARROW}%)"
                for each in every
            ),
        ),
    )
    return Table(
        "cost-released",
        "What a released model’s streams take",
        "In bfloat16; in brackets, times a residual network of the same sizes, or the share of all "
        "weights.",
        tuple(name.removeprefix("DeepSeek-") for name in RELEASED),
        rows,
    )


def in_text(budget: Budget) -> str:
    """All of the answer for a terminal."""
    parts = [asked_in_words(budget)]
    for table in tables(budget):
        labels = [f"  {label}{f' ({how})' * bool(how)}" for label, how, _ in table.rows]
        lines = [(table.title, *table.columns)]
        lines += [(label, *row[2]) for label, row in zip(labels, table.rows, strict=True)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        parts.append(
            "\n".join(
                [
                    "  ".join(
                        [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
                    ).rstrip()
                    for line in lines
                ]
                + [f"  {table.source}"]
            )
        )
    parts.append("\n".join(["Assumed:", *(f"- {each}" for each in budget.assumes)]))
    parts.append(f"{GPUS[budget.asked.gpu].title}: {budget.source}.")
    if budget.here:
        here = budget.here
        parts.append(
            f"Here: {here.device}; copies at {here.copied_bytes_per_second / 1e9:.3g} GB/s (read "
            f"and written), projects a matrix in {here.matrix_nanoseconds:,.0f} ns with 20 "
            "iterations."
        )
    return "\n\n".join(parts).replace(NARROW, " ").replace("\u00a0", " ")

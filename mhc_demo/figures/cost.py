"""The price: time against iterations, stability against time, and the paper's counts as tables.

Times are drawn per matrix on a linear axis from zero, so that a slope reads as the cost of an
iteration.  The tables are HTML, because their numbers are the point; each names the source of its
formulas.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from typing import TypeAlias
from urllib.parse import quote

import numpy as np
import xarray as xr
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Line,
    Range1d,
    Scatter,
    Segment,
    Text,
)
from numpy.typing import NDArray

from ..numerics.budget import Budget, Overhead
from ..numerics.budget_tables import (
    NARROW,
    command_line,
    in_bytes,
    in_percent,
    released,
    released_table,
    tables,
)
from ..numerics.costs import (
    Activations,
    ProjectionTimes,
    Traffic,
    best_block_estimate,
    best_recompute_block,
    fused_traffic,
    hyper_connection_traffic,
    residual_traffic,
    stored_activations,
)
from ..numerics.hardware import GPUS
from ..numerics.paper import MHC_PAPER, RELEASED, TRAINING_OVERHEAD
from ..numerics.projections import PROJECTIONS
from . import style
from .contents import Column, Series, described, medians
from .curves import chosen_iterations, gain_hover
from .slices import PLOTTED, Position, sliced

DIRECTION = "backward"
"""The gain that iterations change: they end on rows, so the forward gain is 1 after the first."""

LABELLED = (0, 1, 5, 10, 20, 30)
"""Iteration counts written beside their dots; a one-shot projection is the same at all but 0."""

COUNT = Column("iterations", "iterations")
TIME = Column("time per matrix (ns)", "time", unit=" nanoseconds")

Measured: TypeAlias = ProjectionTimes | None
"""None until the measurement is done."""


def nanoseconds(measured: Measured, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Time per matrix for each iteration count; NaN until it is measured."""
    return np.full(len(counts), np.nan) if measured is None else measured.nanoseconds


def cost_columns(surface: xr.Dataset, measured: Measured) -> dict[str, NDArray[np.float32]]:
    """Columns of the table of costs: backward log10 gains, and the time that they take.

    Each holds a number for every (iterations, depth), as in `slices.table`; the time is the same
    at every depth.
    """
    gains = surface["log10_gain"].sel(direction=DIRECTION)
    times = nanoseconds(measured, surface["iterations"].values)
    columns = {name: gains.sel(series=name).values for name in PLOTTED}
    columns["time"] = np.repeat(times[:, None], gains.sizes["depth"], axis=1)
    return {name: v.astype(np.float32).ravel() for name, v in columns.items()}


class TimeFigure:
    """Measured time of the projection against its number of iterations, and a line through it."""

    def __init__(self, counts: NDArray[np.int64], measured: Measured, state: Position) -> None:
        self.counts = counts
        self.y_range = Range1d(0, 1)
        p = style.plot(
            "cost-time",
            "Sinkhorn iterations",
            "ns per matrix",
            (-0.8, float(counts[-1]) + 0.8),
            y_range=self.y_range,
        )
        p.xaxis.ticker = [0, 5, 10, 15, 20, 25, 30]
        p.yaxis.ticker = BasicTicker(desired_num_ticks=6)
        _plain_numbers(p.yaxis)
        p.add_layout(chosen_iterations(state))
        self.line = ColumnDataSource({"iterations": [], "time": []})
        slope = Line(x="iterations", y="time", line_color=style.PROJECTED, line_width=1.5)
        style.draw(p, self.line, slope)
        self.source = ColumnDataSource({"iterations": counts, "colour": _colours(counts)})
        dot = Scatter(x="iterations", y="time", fill_color="colour", line_color="colour", size=8)
        self.update(measured)
        dots = style.draw(p, self.source, dot)
        dots.name = "time"
        p.add_tools(
            HoverTool(
                renderers=[dots],
                tooltips=[("iterations", "@iterations"), ("per matrix", "@time{0,0.0} ns")],
                mode="vline",
                attachment="horizontal",
            )
        )
        series = [
            Series(name, source, COUNT, [TIME])
            for name, source in (("measured", self.source), ("fitted", self.line))
        ]
        described(p, "Time per matrix against iterations", *series, along="iterations")
        self.figure = p

    def update(self, measured: Measured) -> None:
        """Follow a new measurement."""
        times = nanoseconds(measured, self.counts)
        self.source.data["time"] = times
        intercept, slope = measured.line if measured else (math.nan, math.nan)
        ends = [1, int(self.counts[-1])]
        self.line.data = {"iterations": ends, "time": [intercept + slope * t for t in ends]}
        self.y_range.end = longest(times)
        self.y_range.start = -0.03 * self.y_range.end  # so that a dot at zero is not cut in half


class TradeOffFigure:
    """Stability gained against time spent: a dot for each iteration count, at the chosen depth.

    Either from HC on or, with `closer`, from the first iteration on: what the further ones gain is
    too little to be visible on the full scale.
    """

    def __init__(
        self,
        surface: xr.Dataset,
        table: ColumnDataSource,
        x_range: Range1d,
        state: Position,
        *,
        closer: bool = False,
    ) -> None:
        self.closer = closer
        self.y_range = Range1d(-1, 1)
        counts = surface["iterations"].values
        p = style.plot(
            "cost-closer" if closer else "cost-trade",
            "ns per matrix, from 1 iteration on" if closer else "ns per matrix",
            "Backward gain",
            (0, 1),
            y_range=self.y_range,
        )
        p.x_range = x_range
        p.xaxis.ticker = BasicTicker(desired_num_ticks=5)
        _plain_numbers(p.xaxis)
        p.add_layout(style.identity_line())
        source = sliced(
            table, "column", {"time": "time", **{n: n for n in PLOTTED}}, state, late=True
        )
        source.data.update(iterations=counts, colour=_colours(counts))
        self.source = source
        bars = Segment(
            x0="time", y0="q05", x1="time", y1="q95", line_color="colour", line_width=1.5
        )
        dot = Scatter(
            x="time",
            y="median",
            fill_color="colour",
            line_color="colour",
            size=11,
            marker="diamond",
        )
        label = Text(
            x="time",
            y="median",
            text="label",
            text_color="colour",
            text_font_size="13px",
            text_font_style="bold",
            text_align="left",
            text_baseline="bottom",
            x_offset=7,
            y_offset=-9,
        )
        style.draw(p, source, bars, style.MOVING)
        dots = style.draw(p, source, dot, style.MOVING)
        dots.name = DIRECTION
        style.draw(p, source, label, style.MOVING)
        present = sliced(
            table, "cells", {"x": [("time", None)], "y": [("median", None)]}, state, late=True
        )
        ring = Scatter(x="x", y="y", size=20, fill_color=None, line_color=style.SHADE, line_width=4)
        style.draw(p, present, ring, style.MOVING).name = "present"
        gain_hover(
            p,
            [dots],
            [
                ("iterations", "@iterations"),
                ("backward", "@{median}"),
                ("5–95 %", "@{q05} … @{q95}"),
                ("per matrix", "@time{0,0.0} ns"),
            ],
            mode="mouse",
        )
        title = "Backward gain against time per matrix" + (
            ", from 1 iteration on" if closer else ""
        )
        series = Series(
            DIRECTION,
            source,
            COUNT,
            [*medians(*PLOTTED), TIME],
            band=True,
            start=int(closer),
        )
        described(p, title, series, along="iterations", grip=False)
        self.figure = p
        self.update(surface)

    def update(self, surface: xr.Dataset) -> None:
        """Follow a new surface; the browser cuts the dots anew."""
        gains = surface["log10_gain"].sel(direction=DIRECTION, series=["q05", "q95"]).values
        p = self.figure
        iterative = PROJECTIONS[surface.attrs["projection"]].iterative
        self.source.data["label"] = [
            str(t) if t in (LABELLED if iterative else (0, 1)) else ""
            for t in surface["iterations"].values
        ]
        if not self.closer:
            self.y_range.start, self.y_range.end = style.span_of(gains)
            style.powers_of_ten(p)
            return
        low, high = style.span_of(gains[1:] if len(gains) > 1 else gains, least=0.01)
        self.y_range.start, self.y_range.end = low, high + 0.08 * (high - low)
        style.powers_of_ten(p)
        if high - low < 1:
            ticks = _round_gains(10.0**low, 10.0**high)
            p.yaxis.ticker = FixedTicker(ticks=[math.log10(gain) for gain in ticks])


def longest(times: NDArray[np.float64]) -> float:
    """The end of an axis of times."""
    known = times[np.isfinite(times)]
    return 1.1 * float(known.max()) if known.size and known.max() > 0 else 1.0


def _colours(counts: Iterable[int]) -> list[str]:
    return [style.HC if t == 0 else style.PROJECTED for t in counts]


def _plain_numbers(axis: Sequence) -> None:
    for each in axis:
        each.formatter.use_scientific = False


def _round_gains(low: float, high: float) -> list[float]:
    """About five round numbers between two gains."""
    fifth = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(fifth))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= fifth)
    first = max(1, math.ceil(low / step))
    return [k * step for k in range(first, math.floor(high / step) + 1)]


# The paper's counts


def traffic_html(streams: int, width: int) -> str:
    """Table 2 and section 4.3.1 for n and C: elements moved per token and layer."""
    plain = residual_traffic(width)
    rows = (
        ("Residual connection", "2C read, C written", plain),
        (
            "Hyper-connections",
            "(5n + 1)C + n² + 2n read, (3n + 1)C + n² + 2n written",
            hyper_connection_traffic(streams, width),
        ),
        (
            "Hyper-connections, fused",
            "H<sup>post</sup>, H<sup>res</sup> and the merge in one kernel: 2nC less of each "
            "(section 4.3.1)",
            fused_traffic(streams, width),
        ),
    )
    return cost_table(
        "cost-traffic",
        f"Elements moved per token and layer, n = {streams}, C = {width:,}",
        "Table 2, section 4.3.1; forward pass, the layer’s own F left out.",
        ("read", "written", "moved", "×\u00a0residual"),
        [(name, formula, _traffic_cells(each, plain)) for name, formula, each in rows],
    )


def _traffic_cells(each: Traffic, plain: Traffic) -> list[str]:
    factor = f"{each.moved / plain.moved:.2f}"
    return [*map(count_html, (each.read, each.written, each.moved)), factor]


def activations_html(streams: int, width: int, depth: int, block: int) -> str:
    """Table 3 and Eq. 20 for n, C and L: elements kept per token for the backward pass."""
    best = best_recompute_block(depth, streams)
    estimate = best_block_estimate(depth, streams)
    whole = stored_activations(streams, width, depth)
    rows = (
        ("Everything kept", "(n + 3)C · L", whole),
        (
            f"Recomputed, best block: {_layers(best)}",
            f"the least of Eq. 20; its estimate √(nL / (n + 2)) = {estimate:.2f}",
            stored_activations(streams, width, depth, best),
        ),
        (
            f"Recomputed, your block: {_layers(block)}",
            "nC ⌈L / L<sub>r</sub>⌉ + CL held, (n + 2)C · L<sub>r</sub> in the block",
            stored_activations(streams, width, depth, block),
        ),
    )
    return cost_table(
        "cost-activations",
        f"Activations kept per token, {_layers(depth)}",
        "Table 3, Eq. 20, and F’s output of every layer, CL, which Table 3 always keeps; "
        "elements, the inside of F left out.",
        ("held", "in the block", "peak", "of all"),
        [(name, formula, _activation_cells(each, whole)) for name, formula, each in rows],
    )


def _activation_cells(each: Activations, whole: Activations) -> list[str]:
    share = f"{each.peak / whole.peak:.1%}".replace("%", " %")
    return [*map(count_html, (each.resident, each.transient, each.peak)), share]


def count_html(count: int) -> str:
    """A number of elements: all its digits, or four if all would make the column too wide."""
    if count < 10_000_000:
        return f"{count:,}"
    mantissa, power = f"{count:.3e}".split("e+")
    return f"{mantissa} × 10<sup>{int(power)}</sup>"


def _layers(count: int) -> str:
    return f"{count:,} layer{'s' * (count != 1)}"


def cost_table(
    name: str,
    title: str,
    source: str,
    columns: Iterable[str],
    rows: Iterable[tuple[str, str, Iterable[str]]],
) -> str:
    """A table of numbers; each row is (name, formula, cells)."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{label}<small>{formula}</small></th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for label, formula, cells in rows
    )
    return (
        f'<table class="cost-table {name}"><caption>{title}<small>{source}</small></caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def estimate_html(budget: Budget) -> str:
    """The range of overheads for one's own model, in large type, and what else grows."""
    trained = next(each for each in budget.overheads if each.name == "recomputed")
    every = Overhead("all", "", budget.low, budget.high)
    flying, asked = budget.in_flight, budget.asked
    stored = flying.recomputed_bytes / flying.residual_bytes
    sends = (
        f", and sends {asked.streams} times as much to the next" if budget.sent.boundaries else ""
    )
    return (
        f'<aside class="cost-cited"><b>{in_percent(trained)}</b>'
        f"<p>more time for a training step of {budget.model or 'this model'} on "
        f"{GPUS[asked.gpu].title}, <em>estimated</em>: fused kernels, recomputed, sends hidden. "
        f"Over all ways to run it, {in_percent(every)}. A rank keeps {stored:.2f} times what a "
        f"residual network keeps that recomputes nothing{sends}.</p>"
        f'<p class="source">GPU: {escape(budget.source)}.</p></aside>'
    )


def budget_html(budget: Budget, measured: str = "") -> str:
    """All of the answer for one's own model and machines, and how to have it elsewhere.

    `measured` is a sentence on what was measured here.
    """
    assumed = "".join(f"<li>{escape(each)}</li>" for each in budget.assumes)
    numbers = quote(json.dumps(budget.to_dict(), ensure_ascii=False))
    return (
        '<div class="cost-machines">'
        + "".join(cost_table(t.name, t.title, t.source, t.columns, t.rows) for t in tables(budget))
        + f"<p>{measured}</p>" * bool(measured)
        + f"<details><summary>What the estimate assumes</summary><ul>{assumed}</ul></details>"
        + f"<p>In a terminal: <code>{escape(command_line(budget))}</code>. "
        + f'<a download="mhc-cost.json" href="data:application/json,{numbers}">All numbers as '
        + "JSON</a>, units in their names.</p></div>"
    )


@cache
def released_html() -> str:
    """What the streams of DeepSeek-V4 take, and whether that fits cheaper hardware."""
    table = released_table()
    flash = released(next(iter(RELEASED)))
    stored = flash.stored
    times = stored.everything_bytes / stored.residual_bytes
    more = stored.everything_bytes - stored.residual_bytes
    back = (stored.everything_bytes - stored.recomputed_bytes) / more
    return (
        '<div class="cost-machines">'
        + cost_table(table.name, table.title, table.source, table.columns, table.rows)
        + '<aside class="cost-cited"><p><b>Does mHC fit cheaper hardware?</b></p><p>No: '
        f"{flash.model}’s streams store {times:.1f} times what a residual network of its sizes "
        "stores. Recomputing gives back "
        f"{100 * back:.0f}{NARROW}% of the difference, but the same idea would halve what the "
        "residual network stores, and against that mHC stores "
        f"{stored.recomputed_bytes / stored.residual_recomputed_bytes:.1f} times as much.</p>"
        "<p>In inference each token carries "
        f"{in_bytes(flash.token.streams_bytes - flash.token.residual_bytes)} more from layer to "
        f"layer, and the mappings are {100 * (flash.weights.share or 0):.2g}{NARROW}% of the "
        "weights, which is next to nothing.</p>"
        '<p class="source">Sizes, 20 iterations, ε = 10<sup>−6</sup> and the learned collapse at '
        "the end: <code>deepseek_v4</code> in Hugging Face’s transformers 5.23, and config.json of "
        "deepseek-ai/DeepSeek-V4-Pro; parameters: their model card. The residual network keeps, "
        "of every layer, its input and the norm of it.</p></aside></div>"
    )


def overhead_html(*, timed: bool = True) -> str:
    """The overhead that the paper measured, presented as the paper's and not as ours.

    `timed`: whether times of the projection stand above it.
    """
    of_ours = ": the times above are of the projection alone" if timed else ""
    return (
        f'<aside class="cost-cited"><b>{100 * TRAINING_OVERHEAD:.1f} %</b>'
        "<p>more training time at n = 4: <em>the paper’s own measurement</em>, in its large-scale "
        "training with fused kernels, recomputation and overlapped communication; it does not say "
        f"at which model size. Nothing on this page measures that{of_ours}.</p>"
        f'<p class="source">Source: {escape(MHC_PAPER)}, section 4.3.</p></aside>'
    )

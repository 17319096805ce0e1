"""The theorems behind the page as small plots, each with both sides of one statement.

Depth runs on logarithmic axes, for most happens in the first few layers.  What is bounded stays
within a factor n of 1, and the axes are made for that; HC leaves them, as it does all bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Line,
    Range1d,
    Scatter,
    Segment,
    VArea,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.laws import KEPT, NORMS, Kinds
from ..numerics.numbers import entry, in_html
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import MAX_DEPTH
from . import style
from .contents import Column, Series, described, log10
from .curves import NETWORKS, Network, depth_plot, gain_hover
from .slices import Position, follows, label, sliced, table

DEPTH = Column("depth", "depth")
DOTS = ("random", "largest", "rate")
"""What the plot of limits shows of each layer, in the order in which it is drawn."""

DOT_TITLES = {
    "rate": "Sinkhorn’s error, per iteration",
    "largest": "largest difference left",
    "random": "a random difference left",
}
UP = "factor"
RING = style.stroke(1).colour
DOT_COLOURS = {"rate": style.PROJECTED, "largest": RING, "random": style.SHADE}
DOT_LOOKS: dict[str, dict[str, Any]] = {
    "rate": {"size": 5, "fill_color": style.PROJECTED},
    "largest": {"size": 11, "fill_color": None},
    "random": {"size": 4, "fill_color": style.SHADE},
}
CLIPPED = tuple(replace(each, level="glyph") for each in NETWORKS)
"""The networks on a level that ends at a plot's frame: what moves is drawn beyond it."""

DASHES: dict[str, str | list[int]] = {"mean": "solid", "shared": [7, 4]}
KEPT_TITLES = {"mean": "mean over the streams", "shared": "what all streams share"}
NORM_TITLES = {"one": "‖A‖₁", "infinity": "‖A‖∞", "two": "‖A‖₂", "bound": "√(‖A‖₁ ‖A‖∞)"}
NORM_STROKES = {
    "bound": style.Stroke(style.THEORY, (), 7),
    "one": style.Stroke(style.PROJECTED, (7, 4), 2),
    "infinity": style.Stroke(style.PROJECTED, (2, 3), 2),
    "two": style.Stroke(style.PROJECTED, (), 3.5),
}
"""The bound is widest, for the 2 norm may lie on it."""

LEFT = "Nothing is projected at 0 iterations,\nand HC leaves this plot: turn the dial."
"""Why there is hardly a line."""


# ---- one number explains two views ---------------------------------------------------------------


def limit_columns(limits: xr.Dataset, dtype: type = np.float32) -> dict[str, NDArray[Any]]:
    """For each layer its numbers, and the medians of the layers up to it."""
    found = {name: limits[name].values for name in ("s2_squared", *DOTS)}
    for name in ("s2_squared", "rate"):
        values = found[name]
        known = [values[: k + 1][np.isfinite(values[: k + 1])] for k in range(len(values))]
        found[f"median_{name}"] = np.array([np.median(v) if len(v) else math.nan for v in known])
    return {name: values.astype(dtype) for name, values in found.items()}


class LimitsFigure:
    """Each layer a dot, at the square of its second singular value: all tend to one line."""

    def __init__(self, limits: xr.Dataset, state: Position) -> None:
        self.table = table(limit_columns(limits), [0], limits["layer"].values)
        p = style.plot(
            "laws-limits",
            "s₂² of Sinkhorn’s limit",
            "Pace, and share that is left",
            (0, 1.02),
            y_range=Range1d(0, 1.04),
        )
        for axis in (p.xaxis, p.yaxis):
            axis.ticker = FixedTicker(ticks=[0, 0.25, 0.5, 0.75, 1])
        equal = ColumnDataSource({"x": [0, 1], "y": [0, 1]})
        theory = Line(x="x", y="y", line_color=style.THEORY, line_width=2, line_dash=[7, 5])
        style.draw(p, equal, theory, "underlay")
        columns = {name: name for name in ("s2_squared", *DOTS)} | {"layer": "@depths"}
        source = sliced(self.table, "row", columns, state, at=0, cut=True, late=True)
        here = sliced(
            self.table,
            "block",
            {"x": "median_s2_squared", "y": "median_rate"},
            state,
            at=0,
            late=True,
        )
        for name in DOTS:
            dot = Scatter(
                x="s2_squared",
                y=name,
                line_color=DOT_COLOURS[name],
                line_width=1.5,
                fill_alpha=0.8,
                line_alpha=0.8,
                **DOT_LOOKS[name],
            )
            style.draw(p, source, dot, style.MOVING).name = name
        mark = Segment(
            x0="x", x1="x", y0=0, y1="y", line_color=style.PROJECTED, line_width=2, line_dash=[4, 3]
        )
        style.draw(p, here, mark, style.MOVING)
        p.add_tools(
            HoverTool(
                renderers=[r for r in p.renderers if r.name == "rate"],
                tooltips=[
                    ("layer", "@layer"),
                    ("s₂²", "@s2_squared{0.0000}"),
                    *((DOT_TITLES[name], f"@{name}{{0.0000}}") for name in reversed(DOTS)),
                ],
                attachment="horizontal",
            )
        )
        self.empty = style.why_empty(p, "One stream:\nthere are no differences.", 0.5, 0.5)
        self.figure = described(
            p,
            "Sinkhorn’s pace and what survives of a difference, against s₂², layers 1 to {depth}",
            *(
                Series(
                    DOT_TITLES[name],
                    source,
                    Column("layer", "layer"),
                    [Column(UP, name), Column("s₂²", "s2_squared")],
                    colour=DOT_COLOURS[name],
                )
                for name in reversed(DOTS)
            ),
            along="depth",
            grip=False,
            where="layers 1 to {depth}",
        )
        self._explain(limits)

    def _explain(self, limits: xr.Dataset) -> None:
        self.empty.visible = not bool(limits["s2_squared"].notnull().any())

    def update(self, limits: xr.Dataset) -> None:
        """Follow other layers."""
        self.table.data = limit_columns(limits)
        self._explain(limits)


# ---- what is kept, and the norms -----------------------------------------------------------------


def law_columns(laws: xr.Dataset, dtype: type = np.float32) -> dict[str, NDArray[Any]]:
    """Columns of the table of what composites keep, and of their norms with the bound.

    float32 is for a page: rounding errors would be most of what it gets.
    """
    bound = (laws["one"] + laws["infinity"]) / 2
    values = {name: laws[name] for name in (*KEPT, *NORMS)} | {"bound": bound}
    if dtype is np.float32:
        values = {name: each.round(7) + 0.0 for name, each in values.items()}
    return {name: each.values.astype(dtype).ravel() for name, each in values.items()}


def _logarithmic(
    name: str, y_label: str, y_range: Range1d, state: Position, last: int = MAX_DEPTH
) -> figure:
    p = depth_plot(
        *(name, "Depth (layers)", y_label, last, state),
        late=True,
        y_range=y_range,
        x_axis_type="log",
    )
    p.x_range.start = 1
    p.xaxis.ticker = [2**k for k in range(last.bit_length())]
    p.xaxis.formatter = BasicTickFormatter()
    return p


def _spans(laws: xr.Dataset, bounded: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    """What the two axes have to show of one network."""
    if not bounded:  # then there is nothing to be near
        kept, norms = (style.span_of(*(laws[n] for n in names)) for names in (KEPT, NORMS))
        return kept, norms
    high = max(0.42, math.log10(laws.attrs["streams"]) / 2 + 0.12)
    kept, norms = (-max(0.5, high), max(0.5, high)), (-0.12, 2 * high - 0.12)
    faded = float(laws["one"].values[1:].min(initial=0.0))
    if faded < kept[0]:  # all of it is seen
        kept, norms = (1.1 * faded, kept[1]), (1.1 * faded, norms[1])
    return kept, norms


class CompositeLawsFigure:
    """Two plots in `figures`: what is kept of a random signal, and three norms with their bound."""

    def __init__(self, laws: xr.Dataset, state: Position) -> None:
        self.table = table({}, [0], [1])
        self.kept_range, self.norm_range = Range1d(-1, 1), Range1d(-1, 1)
        self._fill(laws)
        self.last = int(laws["depth"][-1])
        self.figures = [self._kept(state), self._norms(state)]
        self.left = [style.why_empty(p, "", math.sqrt(self.last), 0) for p in self.figures]
        for why in self.left:
            why.visible = state["iterations"] == 0
            follows(why, "visible", "!iterations", late=True)
        self.fit(laws)

    def update(self, laws: xr.Dataset) -> None:
        """Follow other networks."""
        self._fill(laws)
        self.fit(laws)

    def _fill(self, laws: xr.Dataset) -> None:
        label(self.table, laws["iterations"].values, laws["depth"].values)
        self.table.data = law_columns(laws)

    def fit(self, *laws: xr.Dataset) -> None:
        """Let the axes hold these networks, of one projection."""
        bounded = PROJECTIONS[laws[0].attrs["projection"]].bounded
        spans = [_spans(each, bounded) for each in laws]
        hc = [each.isel(iterations=0, depth=-1) for each in laws]
        for k, names in enumerate((KEPT, ("two",))):
            low, high = (
                edge(each[k][end] for each in spans) for end, edge in enumerate((min, max))
            )
            (self.kept_range, self.norm_range)[k].update(start=low, end=high)
            # HC alone soon leaves a plot that is made for what is bounded.
            leaves = max(abs(float(each[name])) for each in hc for name in names) > high
            self.left[k].update(text=LEFT if bounded and leaves else "", y=(low + high) / 2)

    def _lines(
        self, p: figure, network: Network, strokes: Mapping[str, style.Stroke], state: Position
    ) -> ColumnDataSource:
        rule = {name: name for name in strokes} | {"depth": "@depths"}
        source = sliced(self.table, "row", rule, state, late=True, **network.options)
        for name, stroke in strokes.items():
            line = Line(
                x="depth",
                y=name,
                line_color=stroke.colour,
                line_dash=list(stroke.dash),
                line_width=stroke.width,
            )
            drawn = network.draw(p, source, line, state, late=True)
            drawn.name = f"{network.name}, {name}"
        return source

    def _kept(self, state: Position) -> figure:
        p = _logarithmic("laws-kept", "Size, 1 at the input", self.kept_range, state, self.last)
        style.powers_of_ten(p)
        p.add_layout(style.identity_line())
        series = []
        for network in CLIPPED:
            strokes = {
                "mean": style.Stroke(network.colour, (), 3.5),
                "shared": style.Stroke(network.colour, (7, 4), 2.5),
            }
            source = self._lines(p, network, strokes, state)
            lines = [r for r in p.renderers if (r.name or "").startswith(network.name)]
            fields = [(KEPT_TITLES[name], f"@{{{name}}}") for name in KEPT]
            gain_hover(p, lines[:1], fields, attachment=network.hover)
            series += [
                Series(
                    f"{network.name}, {KEPT_TITLES[name]}",
                    source,
                    DEPTH,
                    [log10(name, name)],
                    colour=network.colour,
                    dash=DASHES[name],
                )
                for name in KEPT
            ]
        return described(
            p, "Mean over the streams and shared signal against depth", *series, along="depth"
        )

    def _norms(self, state: Position) -> figure:
        p = _logarithmic("laws-norms", "Norm", self.norm_range, state, self.last)
        style.powers_of_ten(p)
        p.add_layout(style.identity_line())
        hc, projected = CLIPPED
        of_hc = self._lines(p, hc, {"two": style.Stroke(style.HC)}, state)
        source = self._lines(p, projected, NORM_STROKES, state)
        lines = [r for r in p.renderers if r.name == "projected, two"]
        gain_hover(p, lines, [(NORM_TITLES[n], f"@{{{n}}}") for n in NORM_STROKES])
        return described(
            p,
            "Norms of the composite against depth",
            *(
                Series(
                    f"projection, {NORM_TITLES[name]}",
                    source,
                    DEPTH,
                    [log10(name, name)],
                    colour=stroke.colour,
                    dash=stroke.dash,
                )
                for name, stroke in NORM_STROKES.items()
            ),
            Series("HC, ‖A‖₂", of_hc, DEPTH, [log10("two", "two")], colour=style.HC),
            along="depth",
        )


# ---- where products of row-stochastic matrices end -----------------------------------------------


def reach(rows: xr.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the most that the backward gain can be at each depth."""
    end, n = rows.attrs["end"], rows.attrs["streams"]
    away = n * rows["coefficient"].values
    # The n column sums are n in all, and none is negative.
    return np.maximum(end - away, 1.0), np.minimum(end + away, n)


def rows_columns(rows: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """Backward gain, where it ends if that is known, and the band that it cannot leave."""
    low, high = reach(rows)
    end = rows.attrs["end"] if rows.attrs["reached"] else math.nan
    return {
        "depth": rows["depth"].values,
        "gain": rows["gain"].values,
        "end": np.full(rows.sizes["depth"], end),
        "low": low,
        "high": high,
    }


class RowsFigure:
    """The backward gain of products of row-stochastic matrices, and its end n max(pi)."""

    def __init__(self, rows: xr.Dataset, state: Position) -> None:
        self.source = ColumnDataSource()
        self.y_range = Range1d(0, 4)
        p = _logarithmic("laws-rows", "Backward gain", self.y_range, state, rows.sizes["depth"])
        band = VArea(x="depth", y1="low", y2="high", fill_color=style.PROJECTED, fill_alpha=0.12)
        style.draw(p, self.source, band)
        end = Line(x="depth", y="end", line_color=style.THEORY, line_width=2.5, line_dash=[2, 4])
        style.draw(p, self.source, end).name = "end"
        gain = Line(x="depth", y="gain", line_color=style.PROJECTED, line_width=3)
        drawn = style.draw(p, self.source, gain)
        drawn.name = "gain"
        p.add_tools(
            HoverTool(
                renderers=[drawn],
                tooltips=[
                    ("layers", "@depth"),
                    ("backward gain", "@gain{0.0000}"),
                    ("between", "@low{0.0000} and @high{0.0000}"),
                ],
                mode="vline",
                attachment="horizontal",
            )
        )
        self.figure = described(
            p,
            "Backward gain of rows only against depth, and n max π",
            Series(
                "backward gain",
                self.source,
                DEPTH,
                [Column("gain", "gain"), Column("least", "low"), Column("most", "high")],
                colour=style.PROJECTED,
            ),
            Series(
                "n max π",
                self.source,
                DEPTH,
                [Column("end", "end")],
                colour=style.THEORY,
                dash=[2, 4],
            ),
            along="depth",
            where="rows only, any number of iterations",
        )
        self.update(rows)

    def update(self, rows: xr.Dataset) -> None:
        """Follow another network."""
        self.source.data = rows_columns(rows)
        self.fit(rows)

    def fit(self, *rows: xr.Dataset) -> None:
        """Let the axis hold these networks."""
        ends = (float(reach(each)[1].max()) + 0.06 * each.attrs["streams"] for each in rows)
        self.y_range.start, self.y_range.end = 0.9, max(1.6, *ends)


# ---- drift ---------------------------------------------------------------------------------------

LAW_DASH, EXACT_DASH = [7, 5], [2, 4]


def drift_columns(drift: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """How fast HC grows at each drift, and what theory says."""
    names = ("spread", "median", "q05", "q95", "exact", "law")
    return {name: drift[name].values for name in names}


class DriftFigure:
    """How fast HC at I + sigma Z grows per layer, against sigma, and the law for small sigma."""

    def __init__(self, drift: xr.Dataset) -> None:
        self.source = ColumnDataSource()
        self.y_range = Range1d(-0.1, 1)
        spreads = drift["spread"].values
        p = style.plot(
            "laws-drift",
            "Drift σ",
            "Growth (nats per layer)",
            (float(spreads[0]), 1.06 * float(spreads[-1])),
            y_range=self.y_range,
            x_axis_type="log",
        )
        p.xaxis.ticker = FixedTicker(ticks=[0.02, 0.05, 0.1, 0.2, 0.5, 1])
        p.xaxis.formatter = BasicTickFormatter()
        zero = style.identity_line()
        p.add_layout(zero)
        band = VArea(x="spread", y1="q05", y2="q95", fill_color=style.HC, fill_alpha=0.12)
        style.draw(p, self.source, band)
        law = Line(x="spread", y="law", line_color=style.THEORY, line_width=2.5, line_dash=LAW_DASH)
        style.draw(p, self.source, law).name = "law"
        exact = Line(
            x="spread", y="exact", line_color=style.THEORY, line_width=2.5, line_dash=EXACT_DASH
        )
        line = Line(x="spread", y="median", line_color=style.HC, line_width=3)
        drawn = style.draw(p, self.source, line)
        drawn.name = "median"
        style.draw(p, self.source, exact).name = "exact"  # the median lies on it
        p.add_tools(
            HoverTool(
                renderers=[drawn],
                tooltips=[
                    ("σ", "@spread{0.000}"),
                    ("median", "@median{0.0000}"),
                    ("5–95 %", "@q05{0.0000} … @q95{0.0000}"),
                    ("exact", "@exact{0.0000}"),
                    ("law", "@law{0.0000}"),
                ],
                mode="vline",
                attachment="horizontal",
            )
        )
        sigma = Column("σ", "spread")
        self.figure = described(
            p,
            "Growth of HC per layer against its drift from the identity",
            Series(
                "HC at I + σZ, median",
                self.source,
                sigma,
                [
                    Column("nats per layer", "median"),
                    Column("5 % quantile", "q05"),
                    Column("95 % quantile", "q95"),
                ],
                band=True,
                colour=style.HC,
            ),
            Series(
                "exact exponent",
                self.source,
                sigma,
                [Column("nats per layer", "exact")],
                colour=style.THEORY,
                dash=EXACT_DASH,
            ),
            Series(
                "(n − 2) σ² / 2",
                self.source,
                sigma,
                [Column("nats per layer", "law")],
                colour=style.THEORY,
                dash=LAW_DASH,
            ),
            where=f"{drift.attrs['depth']} layers, HC at I + σZ",
        )
        self.update(drift)

    def update(self, drift: xr.Dataset) -> None:
        """Follow other noise, or another number of streams."""
        self.source.data = drift_columns(drift)
        self.fit(drift)

    def fit(self, *drifts: xr.Dataset) -> None:
        """Let the axis hold these networks."""
        high = max(0.1, *(float(each["q95"].max()) for each in drifts))
        low = min(0.0, *(float(each["q05"].min()) for each in drifts))
        margin = 0.07 * (high - low)
        self.y_range.start, self.y_range.end = low - margin, high + margin


# ---- four kinds of mixing ------------------------------------------------------------------------

KIND_TITLES = {
    "none": "HC",
    "orthogonal": "Orthogonal",
    "rows": "Rows only",
    "doubly-stochastic": "Doubly stochastic",
}
GONE = -9.0
"""The log10 of a difference that is told as gone: below are more and more rounding errors."""


def kinds_html(kinds: Kinds, depth: int) -> str:
    """The four kinds as a table: what their composites of that depth do."""
    found = {name: each.values for name, each in kinds.at(depth).items()}
    rows = []
    for k, (name, title) in enumerate(KIND_TITLES.items()):
        gains = [float(found[d][k]) for d in ("forward", "backward")]
        left = float(found["difference"][k])
        cells = [*map(in_html, gains), in_html(left) if left > GONE else "0"]
        ends = zip(found["mean_sign"][k], found["mean_log10"][k], strict=True)
        cells.append(_between(*((float(sign), float(size)) for sign, size in ends)))
        cells = [f"<td>{each}</td>" for each in cells]
        rows.append(
            f'<tr data-kind="{name}"><th scope="row">{escape(title)}</th>{"".join(cells)}</tr>'
        )
    heads = "".join(f'<th scope="col">{head}</th>' for head in KIND_HEADS)
    layers = f"{depth} layer{'s' * (depth != 1)}"
    return (
        f'<table class="mhc-kinds"><caption class="spoken">Four kinds of mixing, {layers}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


KIND_HEADS = ("Forward gain", "Backward gain", "Left of a difference", "Left of the mean")


def _signed(sign: float, log10_size: float) -> str:
    """A number that may be beyond any float."""
    if sign == 0 or log10_size < -2.3:  # 0.005
        return "0.00"
    if log10_size < 2:
        return entry(sign * 10.0**log10_size)
    return ("−" if sign < 0 else "") + in_html(log10_size)


def _between(low: tuple[float, float], high: tuple[float, float]) -> str:
    """From one to the other, each a sign and a log10; "±" if they are far away on both sides."""
    if low[0] < 0 < high[0] and min(low[1], high[1]) > 2:
        return f"±{in_html(max(low[1], high[1]))}"
    ends = [_signed(*each) for each in (low, high)]
    return ends[0] if ends[0] == ends[1] else " … ".join(ends)

"""All projections on the same networks: composite gain against depth, and the numbers beside it.

Some lines stay within a factor n of 1, others reach 10^30.  The axis is made for the former and
does not move; the others leave it, and the label at the end of the line gives their value.
Iterative projections follow the dial, the others are drawn once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from bokeh.core.properties import value
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    FixedTicker,
    HoverTool,
    Line,
    Scatter,
    Segment,
    Text,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.comparison import MIXING
from ..numerics.gains import DIRECTIONS
from ..numerics.projections import PROJECTIONS
from . import scale, style
from .contents import Column, Series, described, log10
from .curves import depth_plot
from .slices import Position, depth_ticks, sliced, table

QUANTITIES = (*DIRECTIONS, "distance", *MIXING)
"""What the tables hold for each projection."""

ROUNDING = 1e-13
"""Distances below this are rounding errors of the sums, and count as 0."""

AXIS_LABELS = {"forward": "Forward composite gain", "backward": "Backward composite gain"}


REFERENCES = {
    "none": style.Stroke(style.HC),
    "identity": style.Stroke(style.IDENTITY, width=8),
}
"""What everything is compared with, in the colours that it has in all plots."""

STROKES = REFERENCES | {
    name: style.stroke(k)
    for k, name in enumerate(name for name in PROJECTIONS if name not in REFERENCES)
}
"""How each projection is drawn, by its name."""


@dataclass(frozen=True)
class Group:
    """Projections that share a table: those that follow the dial, or those that do not."""

    name: str
    members: tuple[str, ...]
    at: int | None
    """The iteration count that is shown; None for the dial's."""
    level: str

    def rows(self, comparison: xr.Dataset) -> xr.Dataset:
        """Their part of a comparison; NaN for a projection that does not exist for n streams."""
        rows = comparison.reindex(projection=list(self.members))
        return rows if self.at is None else rows.sel(iterations=[self.at])

    def columns(self, comparison: xr.Dataset) -> dict[str, NDArray[np.float32]]:
        """Columns "projection.quantity" of their table, flat over (iterations, depth)."""
        rows = self.rows(comparison)
        gains = rows["log10_gain"].sel(series="median")
        # The median over the networks, then over the layers: the same at every depth.
        distance = rows["distance"].sel(series="median").median("depth")
        quantities = {
            **{d: gains.sel(direction=d) for d in DIRECTIONS},
            "distance": distance.where(distance.isnull() | (distance > ROUNDING), 0.0),
            **{name: rows[name] for name in MIXING},
        }
        shape = (rows.sizes["iterations"], rows.sizes["depth"])
        return {
            f"{name}.{quantity}": np.broadcast_to(
                values.sel(projection=name).values.reshape(shape[0], -1), shape
            )
            .astype(np.float32)
            .ravel()
            for name in self.members
            for quantity, values in quantities.items()
        }


GROUPS = (
    Group(
        "moving",
        tuple(name for name, p in PROJECTIONS.items() if p.iterative),
        at=None,
        level=style.MOVING,
    ),
    Group(
        "still",
        tuple(name for name, p in PROJECTIONS.items() if not p.iterative),
        at=1,
        level="glyph",
    ),
)


class CompareFigure:
    """Two plots in `figures`, forward and backward, each with a line for every projection.

    `tables` hold the numbers, one table for each of `GROUPS`.  The sources "compare-still" and
    "compare-moving" hold those at the present depth and iterations, for the table beside the plots.
    """

    def __init__(self, comparison: xr.Dataset, state: Position, dark: bool = False) -> None:
        depths = comparison["depth"].values
        self.y_range = scale.gain_range(_gain_range(comparison))
        self.tables: list[ColumnDataSource] = []
        self.lines: list[ColumnDataSource] = []
        self.now: list[ColumnDataSource] = []
        for group in GROUPS:
            iterations = group.rows(comparison)["iterations"].values
            numbers = table(group.columns(comparison), iterations, depths)
            columns = {_title(n, d): f"{n}.{d}" for n in group.members for d in DIRECTIONS}
            fixed = {} if group.at is None else {"at": group.at}
            lines = sliced(numbers, "row", columns, state, late=True, **fixed)
            lines.data["depth"] = depths
            cells: dict[str, list[tuple[str, int | None]]] = {
                q: [(f"{n}.{q}", group.at) for n in group.members] for q in QUANTITIES
            }
            for name in ("depth", "iterations"):
                cells[name] = [(f"@{name}", None)] * len(group.members)
            now = sliced(numbers, "cells", cells, state, late=True)
            now.name = f"compare-{group.name}"
            now.data["projection"] = list(group.members)
            now.data["colour"] = [STROKES[n].colour for n in group.members]
            now.data["label"] = [PROJECTIONS[n].label for n in group.members]
            self.tables.append(numbers)
            self.lines.append(lines)
            self.now.append(now)
        self.guides = ColumnDataSource({name: [] for name in ("y", "x0", "x1", "width", "dash")})
        self.labels: list[Text] = []
        self.ink = style.ink(dark)
        self.last = int(depths[-1])
        self.figures = [self._plot(direction, state) for direction in DIRECTIONS]
        self._fit(comparison)

    def _plot(self, direction: str, state: Position) -> figure:
        p = depth_plot(
            f"compare-{direction}",
            "Depth (layers)",
            AXIS_LABELS[direction],
            self.last,
            state,
            late=True,
            y_range=self.y_range,
        )
        # The frame holds the lines and, to their right, the labels, because Bokeh clips whatever
        # is drawn outside it.
        for beyond in p.center:
            if isinstance(beyond, BoxAnnotation):
                beyond.right = self.last + 1
        p.xaxis.bounds = (0, self.last + 1)
        p.xaxis.ticker = depth_ticks(4)
        p.x_range.syncable = False
        style.powers_of_ten(p)
        p.ygrid.grid_line_color = None
        guide = Segment(
            x0="x0",
            y0="y",
            x1="x1",
            y1="y",
            line_color=style.IDENTITY,
            line_width="width",
            line_dash="dash",
            line_alpha=0.6,
        )
        style.draw(p, self.guides, guide, "underlay")
        curves = []
        for group, lines, now in zip(GROUPS, self.lines, self.now, strict=True):
            for name in sorted(group.members, key=lambda name: -STROKES[name].width):
                column, stroke = _title(name, direction), STROKES[name]
                curve = Line(
                    x="depth",
                    y=column,
                    line_color=stroke.colour,
                    line_width=stroke.width,
                    line_dash=list(stroke.dash),
                )
                curves.append(style.draw(p, lines, curve, group.level))
                curves[-1].name = column
            dot = Scatter(x="depth", y=direction, fill_color="colour", line_color=None, size=9)
            style.draw(p, now, dot, style.MOVING)
        p.add_tools(
            HoverTool(
                renderers=curves,
                tooltips=[("", "$name"), ("gain", "@$name{custom}"), ("layers", "@depth")],
                formatters={"@$name": CustomJSHover(code="return mhc.exact(value)")},
                mode="mouse",
                line_policy="nearest",
                attachment="horizontal",
            )
        )
        self._label(p, direction)
        series = [
            Series(
                PROJECTIONS[name].label,
                lines,
                Column("depth", "depth"),
                [log10("median", _title(name, direction))],
            )
            for group, lines in zip(GROUPS, self.lines, strict=True)
            for name in group.members
        ]
        title = f"{AXIS_LABELS[direction]} of every projection against depth"
        return described(p, title, *series, along="depth")

    def _label(self, p: figure, direction: str) -> None:
        """Write names at the ends of the lines; the browser keeps them apart."""
        places = ColumnDataSource(
            {name: [] for name in ("x0", "y0", "x1", "y1", "text", "colour")}, syncable=False
        )
        lead = Segment(x0="x0", y0="y0", x1="x1", y1="y1", line_color="colour", line_width=1.5)
        style.draw(p, places, lead, style.MOVING)
        text = Text(
            x="x1",
            y="y1",
            text="text",
            x_offset=4,
            text_baseline="middle",
            text_font=value("system-ui, sans-serif"),
            text_font_size="13px",
            text_color=self.ink,
            syncable=False,
        )
        style.draw(p, places, text, style.MOVING)
        self.labels.append(text)
        place = CustomJS(
            args={
                "figure": p,
                "lines": self.lines,
                "now": self.now,
                "text": text,
                "places": places,
                "last": self.last,
                "direction": direction,
            },
            code="mhc.labels({figure, lines, now, text, places, last, direction})",
        )
        for source in (*self.lines, *self.now):
            source.js_on_change("data", place)
        for size in ("inner_width", "inner_height"):
            p.js_on_change(size, place)
        self.y_range.js_on_change("end", place)
        p.yaxis[0].js_on_change("major_label_text_font_size", place)

    def colour(self, dark: bool) -> None:
        """Set the colour of the labels, which themes do not reach."""
        for text in self.labels:
            text.text_color = style.ink(dark)

    def _fit(self, comparison: xr.Dataset) -> None:
        low, high = _gain_range(comparison)
        scale.set_full(self.y_range, (low, high))
        bound = math.log10(comparison.attrs["streams"])
        doublings = [k * math.log10(2) for k in range(-1, 8) if low < k * math.log10(2) < high]
        ticks = [t for t in doublings if abs(t - bound) > 0.08] + [bound]
        for p in self.figures:
            p.yaxis.ticker = FixedTicker(ticks=ticks)
        self.guides.data = {
            "y": ticks,
            "x0": [0] * len(ticks),
            "x1": [self.last + 1] * len(ticks),
            "width": [2 if t == 0 else 1.5 if t == bound else 0.5 for t in ticks],
            "dash": ["dotted" if t == bound != 0 else "solid" for t in ticks],
        }

    def update(self, comparison: xr.Dataset) -> None:
        """Follow a new comparison; the browser cuts the lines anew."""
        for group, numbers in zip(GROUPS, self.tables, strict=True):
            numbers.data = group.columns(comparison)
        self._fit(comparison)


def _title(name: str, direction: str) -> str:
    """The title of a line, which is also the name of its column."""
    return f"{PROJECTIONS[name].label}, {direction}"


def _gain_range(comparison: xr.Dataset) -> tuple[float, float]:
    """A range around 1 and n: what is stochastic in one direction stays between the two."""
    return -0.35, max(0.35, math.log10(comparison.attrs["streams"]) + 0.2)

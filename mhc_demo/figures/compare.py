"""All projections on the same networks: composite gain against depth, and the numbers beside it.

Some lines stay within a factor n of 1, others reach 10^30.  The axis is made for the former and
stands still; the others leave it, and their value stands in the label at the end of the line.
What iterates follows the dial, what does not is drawn once.
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
    Range1d,
    Scatter,
    Segment,
    Text,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.comparison import MIXING
from ..numerics.gains import DIRECTIONS
from ..numerics.projections import PROJECTIONS
from . import style
from .contents import Column, Series, described, log10
from .curves import depth_plot
from .slices import Position, sliced, table

QUANTITIES = (*DIRECTIONS, "distance", *MIXING)
"""What the tables hold of each projection."""

ROUNDING = 1e-13
"""Distances below this are the rounding of the sums, and are 0."""

AXIS_LABELS = {"forward": "Forward composite gain", "backward": "Backward composite gain"}


@dataclass(frozen=True)
class Look:
    """How a projection is drawn, and its name at the end of the line."""

    label: str
    colour: str
    dash: tuple[int, ...] = ()
    width: float = 3
    """Lines often coincide: the narrower lies upon the wider, and both are seen."""


LOOKS = {
    "sinkhorn": Look("Sinkhorn", style.PROJECTED, (), 4.5),
    "released": Look("Released", "#b87f00", (7, 7), 2),
    "mhc-lite": Look("mHC-lite", "#2f9e44", (3, 6), 5),
    "rows": Look("Rows only", "#9c6ade", (8, 3, 2, 3), 3),
    "columns": Look("Columns only", "#c2508f", (4, 4), 3),
    "exp": Look("exp only", "#8d6e63", (12, 3), 3),
    "none": Look("HC", style.HC, (), 3),
    "identity": Look("Identity", style.IDENTITY, (), 8),
}
"""Of those that have one of their own."""


def look(name: str) -> Look:
    """The look of a projection."""
    return LOOKS.get(name) or Look(PROJECTIONS[name].title, style.SHADE)


@dataclass(frozen=True)
class Group:
    """Projections that share a table: those that the dial turns, and those that it does not."""

    name: str
    members: tuple[str, ...]
    at: int | None
    """The count of iterations at which they are cut; None for the dial's."""
    level: str

    def rows(self, found: xr.Dataset) -> xr.Dataset:
        """Their part of a comparison; NaN for what does not exist for that many streams."""
        here = found.reindex(projection=list(self.members))
        return here if self.at is None else here.sel(iterations=[self.at])

    def columns(self, found: xr.Dataset) -> dict[str, NDArray[np.float32]]:
        """Columns "projection.quantity" of their table, flat over (iterations, depth)."""
        here = self.rows(found)
        gains = here["log10_gain"].sel(series="median")
        # The median over the networks, and of that over the layers: the same at every depth.
        distance = here["distance"].sel(series="median").median("depth")
        values = {
            **{d: gains.sel(direction=d) for d in DIRECTIONS},
            "distance": distance.where(distance.isnull() | (distance > ROUNDING), 0.0),
            **{name: here[name] for name in MIXING},
        }
        shape = (here.sizes["iterations"], here.sizes["depth"])
        return {
            f"{name}.{quantity}": np.broadcast_to(
                held.sel(projection=name).values.reshape(shape[0], -1), shape
            )
            .astype(np.float32)
            .ravel()
            for name in self.members
            for quantity, held in values.items()
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

    `tables` hold the numbers, one for each of `GROUPS`.  The sources "compare-still" and
    "compare-moving" hold those of the present depth and iterations, for whoever prints them.
    """

    def __init__(self, found: xr.Dataset, state: Position, dark: bool = False) -> None:
        depths = found["depth"].values
        self.y_range = Range1d(*_gain_range(found))
        self.tables: list[ColumnDataSource] = []
        self.lines: list[ColumnDataSource] = []
        self.now: list[ColumnDataSource] = []
        for group in GROUPS:
            held = table(group.columns(found), group.rows(found)["iterations"].values, depths)
            columns = {_title(n, d): f"{n}.{d}" for n in group.members for d in DIRECTIONS}
            fixed = {} if group.at is None else {"at": group.at}
            lines = sliced(held, "row", columns, state, late=True, **fixed)
            lines.data["depth"] = depths
            here: dict[str, list[tuple[str, int | None]]] = {
                q: [(f"{n}.{q}", group.at) for n in group.members] for q in QUANTITIES
            }
            for name in ("depth", "iterations"):
                here[name] = [(f"@{name}", None)] * len(group.members)
            now = sliced(held, "cells", here, state, late=True)
            now.name = f"compare-{group.name}"
            now.data["projection"] = list(group.members)
            now.data["colour"] = [look(n).colour for n in group.members]
            now.data["label"] = [look(n).label for n in group.members]
            self.tables.append(held)
            self.lines.append(lines)
            self.now.append(now)
        self.guides = ColumnDataSource({name: [] for name in ("y", "x0", "x1", "width", "dash")})
        self.labels: list[Text] = []
        self.ink = style.ink(dark)
        self.last = int(depths[-1])
        self.figures = [self._plot(direction, state) for direction in DIRECTIONS]
        self._fit(found)

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
        # The frame holds the lines and, to the right of them, the labels: Bokeh cuts off there
        # whatever is drawn outside it.
        for beyond in p.center:
            if isinstance(beyond, BoxAnnotation):
                beyond.right = self.last + 1
        p.xaxis.bounds = (0, self.last + 1)
        p.xaxis.ticker = [1, 32, 64, 96, 128]
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
        drawn = []
        for group, lines, now in zip(GROUPS, self.lines, self.now, strict=True):
            for name in sorted(group.members, key=lambda name: -look(name).width):
                column, drawing = _title(name, direction), look(name)
                curve = Line(
                    x="depth",
                    y=column,
                    line_color=drawing.colour,
                    line_width=drawing.width,
                    line_dash=list(drawing.dash),
                )
                drawn.append(style.draw(p, lines, curve, group.level))
                drawn[-1].name = column
            dot = Scatter(x="depth", y=direction, fill_color="colour", line_color=None, size=9)
            style.draw(p, now, dot, style.MOVING)
        p.add_tools(
            HoverTool(
                renderers=drawn,
                tooltips=[("", "$name"), ("gain", "@$name{custom}"), ("layers", "@depth")],
                formatters={"@$name": CustomJSHover(code="return mhc.exact(value)")},
                mode="mouse",
                line_policy="nearest",
                attachment="horizontal",
            )
        )
        self._label(p, direction)
        shown = [
            Series(
                look(name).label,
                lines,
                Column("depth", "depth"),
                [log10("median", _title(name, direction))],
            )
            for group, lines in zip(GROUPS, self.lines, strict=True)
            for name in group.members
        ]
        title = f"{AXIS_LABELS[direction]} of every projection against depth"
        return described(p, title, *shown, along="depth")

    def _label(self, p: figure, direction: str) -> None:
        """Names at the ends of the lines, which the browser keeps apart."""
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
        """The colour of the labels, which a theme does not reach."""
        for text in self.labels:
            text.text_color = style.ink(dark)

    def _fit(self, found: xr.Dataset) -> None:
        low, high = _gain_range(found)
        self.y_range.start, self.y_range.end = low, high
        most = math.log10(found.attrs["streams"])
        doubled = [k * math.log10(2) for k in range(-1, 8) if low < k * math.log10(2) < high]
        ticks = [t for t in doubled if abs(t - most) > 0.08] + [most]
        for p in self.figures:
            p.yaxis.ticker = FixedTicker(ticks=ticks)
        self.guides.data = {
            "y": ticks,
            "x0": [0] * len(ticks),
            "x1": [self.last + 1] * len(ticks),
            "width": [2 if t == 0 else 1.5 if t == most else 0.5 for t in ticks],
            "dash": ["dotted" if t == most != 0 else "solid" for t in ticks],
        }

    def update(self, found: xr.Dataset) -> None:
        """Follow a new comparison; the lines are cut anew by the browser."""
        for group, held in zip(GROUPS, self.tables, strict=True):
            held.data = group.columns(found)
        self._fit(found)


def _title(name: str, direction: str) -> str:
    """Of a line, which is also its column."""
    return f"{look(name).label}, {direction}"


def _gain_range(found: xr.Dataset) -> tuple[float, float]:
    """Around 1 and n, between which all that is stochastic in one direction stays."""
    return -0.35, max(0.35, math.log10(found.attrs["streams"]) + 0.2)

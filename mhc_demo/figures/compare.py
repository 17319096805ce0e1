"""All projections on the same networks: composite gain against depth, and the numbers of a table.

There are more of them than lines can be told apart.  So a few are pinned: each has a place, and
the place its stroke and a label; the others are thin and grey, there to be compared with.  The
browser pins, and draws the line that a pointer is on (`static/compare.js`).

Some lines stay within a factor n of 1, others reach 10^30.  The axis is made for the former and
does not move; the others leave it, and the label at the end of the line gives their value.
Iterative projections follow the dial, the others are the same at every count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from bokeh.core.properties import value
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    Line,
    Scatter,
    Segment,
    Text,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.comparison import MIXING, compare
from ..numerics.gains import DIRECTIONS
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS, Experiment
from . import scale, style
from .contents import Column, Series, described, log10
from .curves import depth_plot
from .slices import Position, depth_ticks, sliced, table

QUANTITIES = (*DIRECTIONS, "norm", *(name for name, of in MIXING.items() if of == "composite"))
"""What the tables hold for each projection at every depth."""

OF_LAYERS = ("distance", *(name for name, of in MIXING.items() if of == "layer"))
"""What they hold at no particular depth."""

ROUNDING = 1e-13
"""Distances below this are rounding errors of the sums, and count as 0."""

AXIS_LABELS = {"forward": "Forward gain", "backward": "Backward gain"}

OWN = {"none": style.Stroke(style.HC)}
"""What has a stroke of its own in whatever place: HC has its colour in all plots."""

STROKES = {
    name: OWN.get(name, style.stroke(k))
    for k, name in enumerate(sorted(PROJECTIONS, key=lambda name: not PROJECTIONS[name].leads))
}
"""A stroke for each, where nothing is pinned; those that lead have that of the usual places."""

MOST_PINNED = 6
"""Projections that a comparison draws in colour: more could not be told apart."""

FREE = "-"
"""A place that no projection has."""


def are_places(names: Sequence[Any]) -> bool:
    """Whether these are different projections in places that there are, some of which may be free.

    >>> are_places(["rows", "-", "none"]), are_places(["rows", "rows"])
    (True, False)
    """
    taken = [name for name in names if name != FREE]
    known = all(isinstance(name, str) and name in PROJECTIONS for name in taken)
    return known and len(set(taken)) == len(taken) and len(names) <= MOST_PINNED


LEADING = [p.name for p in PROJECTIONS.values() if p.leads][:MOST_PINNED]
"""Those that are pinned at first."""

MOST_NUMBERS = 2**9
"""Limit of members times n^2: a comparison takes longer than two iterative surfaces."""

REST = style.Stroke(style.IDENTITY, width=1.5)
"""How what is not pinned is drawn."""

FAINT = 0.55
"""How opaque that is."""


def strokes(pinned: Sequence[str]) -> dict[str, style.Stroke]:
    """How each projection is drawn; `pinned` are names in their places, others are free.

    >>> strokes(["none", "-", "rows"])["rows"] == style.stroke(2)
    True
    """
    places = {name: OWN.get(name, style.stroke(k)) for k, name in enumerate(pinned)}
    return {name: places.get(name, REST) for name in PROJECTIONS}


def strokes_for_browser() -> dict[str, Any]:
    """The strokes of the places, of what has one of its own, and of the rest."""

    def look(stroke: style.Stroke) -> dict[str, Any]:
        return {"colour": stroke.colour, "dash": list(stroke.dash), "width": stroke.width}

    return {
        "places": [look(style.stroke(k)) for k in range(MOST_PINNED)],
        "own": {name: look(stroke) for name, stroke in OWN.items()},
        "rest": look(REST) | {"alpha": FAINT},
    }


def few_networks(experiment: Experiment) -> Experiment:
    """The experiment with as many of its networks as are compared."""
    most = max(1, MOST_NUMBERS // experiment.streams**2)
    values = experiment.values_of_experiment()
    return Experiment(**{**values, "members": min(experiment.members, most)})


def compared(
    experiment: Experiment, *, depth: int = MAX_DEPTH, iterations: int = MAX_ITERATIONS
) -> xr.Dataset:
    """The comparison of a few of an experiment's networks, once for all its projections."""
    values = few_networks(experiment).values_of_experiment()
    return _compared(
        tuple((k, v) for k, v in values.items() if k != "projection"), depth, iterations
    )


@lru_cache(maxsize=16)
def _compared(key: tuple[tuple[str, Any], ...], depth: int, iterations: int) -> xr.Dataset:
    return compare(Experiment(**dict(key)), depth=depth, iterations=iterations)


def matrices_for_browser(found: xr.DataArray) -> dict[str, list[list[float]]]:
    """The entries at each count of iterations, or at the one count of what does not iterate."""
    counts = {
        name: slice(None) if chosen.iterative else [1] for name, chosen in PROJECTIONS.items()
    }
    return {
        name: found.sel(projection=name, iterations=counts[name])
        .values.round(3)
        .reshape(-1, found.sizes["row"] ** 2)
        .tolist()
        for name in found["projection"].values.tolist()
    }


@dataclass(frozen=True)
class Group:
    """Projections that share a table: those that follow the dial, or those that do not."""

    name: str
    members: tuple[str, ...]
    at: int | None
    """The iteration count that is shown; None for the dial's."""

    def rows(self, comparison: xr.Dataset) -> xr.Dataset:
        """Their part of a comparison; NaN for a projection that does not exist for n streams."""
        rows = comparison.reindex(projection=list(self.members))
        return rows if self.at is None else rows.sel(iterations=[self.at])

    def columns(
        self,
        comparison: xr.Dataset,
        wanted: Sequence[str] = QUANTITIES,
        dtype: type = np.float32,
    ) -> dict[str, NDArray[Any]]:
        """Columns "projection.quantity" of their table, flat over (iterations, depth)."""
        rows = self.rows(comparison)
        gains = rows["log10_gain"].sel(series="median")
        quantities = {
            **{d: gains.sel(direction=d) for d in DIRECTIONS},
            "norm": rows["log10_norm"].sel(series="median"),
            **{name: rows[name] for name in QUANTITIES if name in MIXING},
        }
        shape = (rows.sizes["iterations"], rows.sizes["depth"])
        return {
            f"{name}.{quantity}": np.broadcast_to(
                values.sel(projection=name).values.reshape(shape[0], -1), shape
            )
            .astype(dtype)
            .ravel()
            for name in self.members
            for quantity, values in quantities.items()
            if quantity in wanted
        }


GROUPS = (
    Group(
        "moving",
        tuple(name for name, p in PROJECTIONS.items() if p.iterative),
        at=None,
    ),
    Group(
        "still",
        tuple(name for name, p in PROJECTIONS.items() if not p.iterative),
        at=1,
    ),
)


def layer_columns(comparison: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    """Columns "projection.quantity" of what single layers are like, at every count of iterations.

    How far they are from doubly stochastic is the median over the networks, then over the layers.
    """
    rows = comparison.reindex(projection=list(PROJECTIONS))
    distance = rows["distance"].sel(series="median").median("depth")
    distance = distance.where(distance.isnull() | (distance > ROUNDING), 0.0)
    quantities = {name: distance if name == "distance" else rows[name] for name in OF_LAYERS}
    return {
        f"{name}.{quantity}": values.sel(projection=name).values.astype(np.float32)
        for name in PROJECTIONS
        for quantity, values in quantities.items()
    }


class CompareFigure:
    """Two plots in `figures`, forward and backward, each with a line for every projection.

    `tables` hold the numbers, one table for each of `GROUPS`, and `layers` what is the same at
    every depth.  The sources "compare-still", "compare-moving" and "compare-layers" hold those at
    the present depth and iterations, for a table that names them.
    """

    def __init__(
        self,
        comparison: xr.Dataset,
        state: Position,
        dark: bool = False,
        pinned: Sequence[str] = (),
    ) -> None:
        depths = comparison["depth"].values
        drawn = strokes(pinned)
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
            now.data["label"] = [PROJECTIONS[n].label for n in group.members]
            self.tables.append(numbers)
            self.lines.append(lines)
            self.now.append(now)
        self.layers = table(layer_columns(comparison), comparison["iterations"].values, [0])
        self.layers.tags[0]["along"] = ""
        cells = {
            quantity: [
                (f"{n}.{quantity}", None if p.iterative else 1) for n, p in PROJECTIONS.items()
            ]
            for quantity in OF_LAYERS
        }
        self.now_layers = sliced(self.layers, "cells", cells, state, late=True)
        self.now_layers.name = "compare-layers"
        self.now_layers.data["projection"] = list(PROJECTIONS)
        self.guides = ColumnDataSource({name: [] for name in ("y", "x0", "x1", "width", "dash")})
        self.labels: list[Text] = []
        self.ink = style.ink(dark)
        self.last = int(depths[-1])
        self.curves: dict[str, list[GlyphRenderer]] = {name: [] for name in PROJECTIONS}
        self._colour_dots(drawn)
        self.figures = [self._plot(direction, state, drawn) for direction in DIRECTIONS]
        self._fit(comparison)

    def _plot(self, direction: str, state: Position, drawn: dict[str, style.Stroke]) -> figure:
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
        # All of them on one level, although few of them move: wide ones lie below narrow ones.
        sources = {
            name: lines
            for group, lines in zip(GROUPS, self.lines, strict=True)
            for name in group.members
        }
        curves = []
        for name in sorted(PROJECTIONS, key=lambda name: _order(drawn[name])):
            curve = Line(x="depth", y=_title(name, direction), syncable=False, **_look(drawn[name]))
            curves.append(style.draw(p, sources[name], curve, style.MOVING))
            curves[-1].name = curve.y
            self.curves[name].append(curves[-1])
        for now in self.now:
            dot = Scatter(x="depth", y=direction, fill_color="colour", fill_alpha="alpha")
            dot.update(line_color=None, size=9)
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
                sources[name],
                Column("depth", "depth"),
                [log10("median", _title(name, direction))],
            )
            for name in PROJECTIONS
        ]
        title = f"{direction.capitalize()} composite gain of every projection against depth"
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
            name="ink",
        )
        style.draw(p, places, text, style.MOVING)
        self.labels.append(text)
        place = CustomJS(
            args={
                "figure": p,
                "lines": self.lines,
                "now": self.now,
                "layers": self.now_layers,  # so that it is where the plots are
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

    def pin(self, pinned: Sequence[str]) -> None:
        """Draw other projections in colour; the browser has done so where it shows the plots."""
        drawn = strokes(pinned)
        for name, curves in self.curves.items():
            for curve in curves:
                curve.glyph.update(**_look(drawn[name]))
        self._colour_dots(drawn)

    def _colour_dots(self, drawn: dict[str, style.Stroke]) -> None:
        """Dots, and names at the ends of lines, are those of the projections that are pinned."""
        for now in self.now:
            names = now.data["projection"]
            now.data["colour"] = [drawn[name].colour for name in names]
            now.data["alpha"] = [float(drawn[name] is not REST) for name in names]

    def update(self, comparison: xr.Dataset) -> None:
        """Follow a new comparison; the browser cuts the lines anew."""
        for group, numbers in zip(GROUPS, self.tables, strict=True):
            numbers.data = group.columns(comparison)
        self.layers.data = layer_columns(comparison)
        self._fit(comparison)


def _look(stroke: style.Stroke) -> dict[str, Any]:
    """The properties of a line."""
    return {
        "line_color": stroke.colour,
        "line_width": stroke.width,
        "line_dash": list(stroke.dash),
        "line_alpha": FAINT if stroke is REST else 1,
    }


def _order(stroke: style.Stroke) -> tuple[bool, float]:
    """Grey lines are drawn first, then the others from wide to narrow."""
    return stroke is not REST, -stroke.width


def _title(name: str, direction: str) -> str:
    """The title of a line, which is also the name of its column."""
    return f"{PROJECTIONS[name].label}, {direction}"


def _gain_range(comparison: xr.Dataset) -> tuple[float, float]:
    """A range around 1 and n: what is stochastic in one direction stays between the two."""
    return -0.35, max(0.35, math.log10(comparison.attrs["streams"]) + 0.2)

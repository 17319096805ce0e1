"""The Birkhoff polytope at n = 3, drawn: where logits start, and where each projection takes them.

The four dimensions of the polytope (`numerics/birkhoff.py`) lie on a floor, seen from above at a
slant; height is the distance of a matrix from those whose rows and columns sum to 1.  So whatever
floats has sums that are not 1, and whatever is on the floor but outside the outline has negative
entries.  A plane cannot hold four dimensions: the reader turns the floor from the plane of the even
permutations to that of the odd ones, and sees which points only happened to lie behind one another.

Python gives the coordinates at every iteration count and depth; `static/polytope.js` lays them out,
so that the dial, the depth and the turn move at the display's own rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from bokeh.events import Pan, PanEnd, PanStart
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    HoverTool,
    Line,
    Patch,
    Range1d,
    Rect,
    Scatter,
    Segment,
    Text,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.birkhoff import (
    CORNERS,
    Places,
    all_projected,
    distance_from_birkhoff,
    limit,
    path,
    places,
)
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS
from . import style
from .compare import STROKES
from .contents import Column, Series, described
from .slices import Position, label, sliced, table
from .words import Entry

USUAL_TURN = 45
"""Degrees at which both triangles of permutations are seen equally long: a regular hexagon."""

TILT = 30
"""Degrees at which the floor is seen: what lies on it is drawn so much flatter."""

TOUCHES = 0.005
"""A distance from the set that is less than a dot of the picture is wide."""

FAR = 1e6
"""Coordinates beyond this are drawn at the edge all the same."""

ROWS, COLUMNS, NEGATIVE = 1, 2, 4
"""What keeps a matrix out of the set, as bits."""

CLOSE = 1e-4
"""A sum or an entry that is off by less is off by eps or by rounding alone."""

START = "#9c6ade"
"""The colour of where the logits start, which is no method's."""

Columns = dict[str, NDArray[Any]]

AXES = ("a", "b", "c", "d", "h")
"""Coordinates in the even plane and in the odd one, and the height, in the tables."""


def place_columns(where: Places) -> Columns:
    """Coordinates and heights as columns of a table, flat."""
    flat = where.coordinates.reshape(-1, 4)
    found = [*flat.T, where.height.ravel()]
    return {
        axis: np.clip(values, -FAR, FAR).round(6).astype(np.float32)
        for axis, values in zip(AXES, found, strict=True)
    }


def why_outside(matrices: NDArray[np.float64]) -> NDArray[np.int8]:
    """What keeps matrices (..., 3, 3) out of the set: bits of ROWS, COLUMNS, NEGATIVE; 0 if nothing."""
    found = np.zeros(matrices.shape[:-2], np.int8)
    for axis, bit in ((-1, ROWS), (-2, COLUMNS)):
        found |= (np.abs(matrices.sum(axis=axis) - 1).max(axis=-1) > CLOSE) * np.int8(bit)
    return found | (matrices.min(axis=(-2, -1)) < -CLOSE) * np.int8(NEGATIVE)


def path_columns(path: NDArray[np.float64]) -> Columns:
    """The table of a way: see `birkhoff.path`."""
    return {
        **place_columns(places(path)),
        "distance": distance_from_birkhoff(path).astype(np.float32),
    }


def mark_columns(projected: Mapping[str, NDArray[np.float64]]) -> Columns:
    """The table of all projections, flat over (iterations, projection): see `all_projected`."""
    matrices = np.stack(list(projected.values()), axis=1)
    return {
        **place_columns(places(matrices)),
        "distance": distance_from_birkhoff(matrices).ravel(),
        "why": why_outside(matrices).ravel(),
    }


def composite_columns(matrices: xr.Dataset) -> Columns:
    """The table of the composites of a network, flat over (iterations, depth)."""
    mantissa = matrices["composite_mantissa"].values
    power = matrices["composite_exponent"].values.clip(max=60)  # beyond FAR anyhow
    return place_columns(places(np.ldexp(mantissa, power[..., None, None].astype(int))))


def floor_columns() -> Columns:
    """The six corners."""
    return place_columns(places(CORNERS))


def shown(
    logits: NDArray[np.float64], unconstrained: NDArray[np.float64], projection: str
) -> dict[str, Any]:
    """What the left picture shows of 3 x 3 logits; `unconstrained` is HC's matrix in their place."""
    given = logits if PROJECTIONS[projection].takes_logits else unconstrained
    projected = all_projected(logits, unconstrained)
    return {
        "names": list(projected),
        "marks": mark_columns(projected),
        "path": path_columns(path(given, projection)),
        "limit": place_columns(places(limit(given, projection))),
    }


class PolytopeFigure:
    """Two pictures of the same floor: one matrix with all projections, and a network's composites.

    `shown` holds the columns "path", "marks" and "composites", with the names of the projections of
    the marks, in their order, under "names".
    """

    def __init__(
        self, shown: Mapping[str, Any], projection: str, state: Position, dark: bool = False
    ) -> None:
        self.floor, self.path, self.marks, self.composites, self.limit = (
            table({}, [0], [0]) for _ in range(5)
        )
        self.floor.name = "polytope-floor"
        label(self.floor, [0], [0], len(CORNERS), along="")
        self.floor.data = floor_columns()
        self.ink: list[Any] = []
        self.update(shown, projection)
        self.figures = [self._one(state), self._network(state)]
        self.colour(dark)

    def update(self, shown: Mapping[str, Any], projection: str) -> None:
        """Follow other logits, or another projection."""
        chosen = PROJECTIONS[projection]
        names = list(shown["names"])
        iterations = range(MAX_ITERATIONS + 1)
        label(self.path, [0], [0], len(shown["path"]["a"]), along="", **_steps_of(projection))
        label(self.limit, [0], [0], len(shown["limit"]["a"]), along="")
        label(
            self.marks,
            iterations,
            [0],
            len(names),
            along="",
            projection=projection,
            names=names,
            labels=[PROJECTIONS[name].label for name in names],
            colours=[STROKES[name].colour for name in names],
            iterative=[PROJECTIONS[name].iterative for name in names],
        )
        label(self.composites, iterations, range(1, MAX_DEPTH + 1), label=chosen.label)
        for source, name in (
            (self.path, "path"),
            (self.limit, "limit"),
            (self.composites, "composites"),
            (self.marks, "marks"),
        ):
            source.data = dict(shown[name])

    def colour(self, dark: bool) -> None:
        """Set the colour of what stands on the page."""
        for glyph in self.ink:
            if isinstance(glyph, Text):
                glyph.text_color = style.ink(dark)
            else:
                glyph.fill_color = style.ink(dark)

    # ---- the pictures ------------------------------------------------------------------------

    def _one(self, state: Position) -> figure:
        p, cut = self._on_floor("polytope-matrix", state, ())
        stems = cut("stems", self.marks, path=self.path)
        way = cut("way", self.marks, path=self.path)
        whole = cut("whole", self.path)
        ring = cut("limit", self.limit)
        marks = cut("marks", self.marks)
        marks.name = "polytope-marks"
        start = cut("start", self.path)
        start.name = "polytope-start"
        names = cut("names", self.marks, path=self.path, limit=self.limit)
        stem = Segment(
            x0="x", x1="x", y0="y0", y1="y1", line_color="colour", line_alpha=0.5, line_dash="dotted"
        )
        style.draw(p, stems, stem, style.MOVING)
        faint = Line(x="x", y="y", line_color=style.PROJECTED, line_alpha=0.4, line_width=1.5)
        style.draw(p, whole, faint, style.MOVING)
        done = Line(x="x", y="y", line_color=style.PROJECTED, line_width=3)
        style.draw(p, way, done, style.MOVING)
        dots = Scatter(x="x", y="y", size=5, fill_color=style.PROJECTED, line_color=None)
        steps = style.draw(p, whole, dots, style.MOVING)
        limit = Scatter(
            x="x", y="y", size=20, fill_color=None, line_color=style.PROJECTED, line_width=2
        )
        style.draw(p, ring, limit, style.MOVING)
        mark = Scatter(
            x="x",
            y="y",
            size="size",
            marker="marker",
            fill_color="colour",
            fill_alpha="fill",
            line_color="colour",
            line_width="width",
            line_alpha="alpha",
        )
        drawn = style.draw(p, marks, mark, style.MOVING)
        handle = Scatter(
            x="x",
            y="y",
            size=17,
            marker="circle_dot",
            fill_color=START,
            fill_alpha=0.35,
            line_color=START,
            line_width=2.5,
        )
        style.draw(p, start, handle, style.MOVING)
        self._names(p, names)
        hover = {"mode": "mouse", "attachment": "horizontal"}
        p.add_tools(
            HoverTool(
                renderers=[drawn],
                tooltips=[("", "@label"), ("distance from the set", "@said"), ("", "@why")],
                **hover,
            ),
            HoverTool(
                renderers=[steps],
                tooltips=[("", "@what"), ("distance from the set", "@distance{0.000}")],
                **hover,
            ),
        )
        self._dragged(p)
        series = Series(
            "projection",
            marks,
            Column("projection", "label", "label"),
            [
                Column("distance from the set", "distance"),
                Column("across", "x"),
                Column("up", "y"),
            ],
        )
        return described(
            p,
            "One matrix: where each projection takes the same logits",
            series,
            kind="told",
            here=marks,
            where="{iterations} iterations",
        )

    def _network(self, state: Position) -> figure:
        p, cut = self._on_floor("polytope-composite", state, ())
        way = cut("composites", self.composites, select="row")
        head = cut("composite", self.composites, select="row")
        names = cut("composite_names", self.composites, select="row")
        line = Line(x="x", y="y", line_color=style.PROJECTED, line_width=2.5, line_alpha=0.8)
        style.draw(p, way, line, style.MOVING)
        dots = Scatter(x="x", y="y", size=6, fill_color=style.PROJECTED, line_color=None)
        layers = style.draw(p, way, dots, style.MOVING)
        stem = Segment(
            x0="x",
            x1="x",
            y0="foot",
            y1="y",
            line_color=style.PROJECTED,
            line_alpha=0.6,
            line_dash="dotted",
        )
        style.draw(p, head, stem, style.MOVING)
        here = Scatter(
            x="x", y="y", size=15, fill_color=style.PROJECTED, line_color="white", line_width=1.5
        )
        style.draw(p, head, here, style.MOVING)
        self._names(p, names)
        p.add_tools(
            HoverTool(
                renderers=[layers],
                tooltips=[("layers", "@depth"), ("from J/3", "@left{0.000}")],
                mode="mouse",
                attachment="horizontal",
            )
        )
        self._dragged(p)
        series = Series(
            "composite",
            way,
            Column("layers", "depth"),
            [Column("distance from J/3", "left"), Column("across", "x"), Column("up", "y")],
        )
        return described(
            p,
            "A network: the product of its layers' matrices",
            series,
            kind="told",
            here=head,
        )

    def _names(self, p: figure, source: ColumnDataSource) -> None:
        lead = Segment(
            x0="x0", y0="y0", x1="x1", y1="y1", line_color="colour", line_width=1, line_alpha=0.7
        )
        style.draw(p, source, lead, style.MOVING)
        text = Text(
            x="x",
            y="y",
            text="text",
            text_align="align",
            text_baseline="middle",
            text_font_size="13px",
            text_font_style="weight",
        )
        text.name = "ink"
        self.ink.append(text)
        style.draw(p, source, text, style.MOVING)

    def _on_floor(self, name: str, state: Position, _: Any) -> tuple[figure, Any]:
        p = style.plot(name, "", "", (-1.8, 1.8), y_range=Range1d(-1.0, 2.0))
        p.min_border_left = p.min_border_right = 0
        p.axis.visible = False
        p.grid.grid_line_color = None
        p.styles = {"touch-action": "pan-y pinch-zoom"}
        p.x_range.syncable = p.y_range.syncable = False
        made: list[ColumnDataSource] = []

        def cut(shape: str, source: ColumnDataSource, select: str = "block", **more: Any) -> Any:
            fixed = {} if len(source.tags[0]["iterations"]) > 1 else {"at": 0}
            columns = {axis: axis for axis in source.data} if select == "block" else {}
            if select == "row":
                columns = {axis: axis for axis in AXES}
                more["cut"] = True
            found = sliced(
                source,
                select,
                columns,
                state,
                shape=f"polytope_{shape}",
                figure=p,
                floor=self.floor,
                tilt=TILT,
                reads=["turn"],
                **fixed,
                **more,
            )
            found.data = {each: [] for each in SHAPES[shape]}
            made.append(found)
            return found

        outline, sides, icons = (
            cut(shape, self.floor) for shape in ("outline", "edges", "icons")
        )
        whole = Patch(
            x="x", y="y", fill_color=style.PROJECTED, fill_alpha=0.13, line_color=None
        )
        style.draw(p, outline, whole, style.MOVING)
        edge = Segment(
            x0="x0",
            y0="y0",
            x1="x1",
            y1="y1",
            line_color=style.SHADE,
            line_width="width",
            line_alpha="alpha",
        )
        style.draw(p, sides, edge, style.MOVING)
        cell = Rect(
            x="x",
            y="y",
            width="width",
            height="width",
            fill_color=style.SHADE,
            fill_alpha="alpha",
            line_color=style.SHADE,
            line_width=0.5,
            line_alpha=0.6,
        )
        style.draw(p, icons, cell, style.MOVING)
        again = CustomJS(args={"sources": made}, code="sources.forEach(mhc.cut)")
        for size in ("inner_width", "inner_height"):
            p.js_on_change(size, again)
        return p, cut

    def _dragged(self, p: figure) -> None:
        for event in (PanStart, Pan, PanEnd):
            p.js_on_event(event, CustomJS(args={"figure": p}, code="mhc.pan_floor(cb_obj, figure)"))


def _steps_of(projection: str) -> dict[str, Any]:
    """What the script needs to know of the steps of a way: how many make an iteration, and names."""
    chosen = PROJECTIONS[projection]
    halves = chosen.halves.names if chosen.iterative and chosen.halves else ()
    return {"per_iteration": len(halves) or 1, "halves": list(halves), "title": chosen.label}


_PLACE = ("x", "y")
SHAPES: dict[str, tuple[str, ...]] = {
    "outline": _PLACE,
    "edges": ("x0", "y0", "x1", "y1", "width", "alpha"),
    "icons": (*_PLACE, "width", "alpha"),
    "stems": ("x", "y0", "y1", "colour"),
    "way": _PLACE,
    "whole": (*_PLACE, "what", "distance"),
    "limit": _PLACE,
    "marks": (
        *_PLACE,
        "size",
        "marker",
        "colour",
        "fill",
        "alpha",
        "width",
        "name",
        "label",
        "distance",
        "said",
        "why",
    ),
    "start": _PLACE,
    "names": (*_PLACE, "text", "align", "weight", "x0", "y0", "x1", "y1", "colour"),
    "composites": (*_PLACE, "depth", "left"),
    "composite": (*_PLACE, "foot", "said"),
    "composite_names": (*_PLACE, "text", "align", "weight", "x0", "y0", "x1", "y1", "colour"),
}
"""The columns that `static/polytope.js` fills, for each shape."""


# ---- words -------------------------------------------------------------------------------------


def legend() -> list[Entry]:
    """What the pictures draw."""
    return [
        ("band", "all doubly stochastic matrices, a corner for each permutation"),
        ("projected", "the way of the page’s projection, and its product"),
    ]


def note_of(whose: str) -> list[str]:
    """The paragraphs below: what is drawn, by which map, and why it matters."""
    return [f"{whose}."]

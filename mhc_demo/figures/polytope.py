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

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
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
    SIZE,
    Places,
    all_projected,
    distance_from_birkhoff,
    edges,
    limit,
    path,
    places,
)
from ..numerics.mixing import sample_mixing
from ..numerics.numbers import tick
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS, Experiment, member_matrices
from . import style
from .compare import REST, STROKES
from .contents import Column, Series, described
from .slices import Position, label, sliced, table

USUAL_TURN = 45
"""Degrees at which both triangles of permutations are seen equally long: a regular hexagon."""

FLAT = 0.47
"""What lies on the floor is drawn so much flatter, for it is seen at a slant."""

UP = 1.8
"""A height h is drawn as this times h / (1 + h): a few hundredths are seen, and 10 is not far."""

TOUCHES = 0.005
"""A distance from the set that is less than a dot of the picture is wide: such a dot is full."""

ROUNDING = 1e-13
"""A sum or an entry that is off by less than this times the largest entry, or 1, is off by rounding
alone: sums of three numbers near 1 are off by 1e-15 at most.
"""

FAR = 1e6
"""Coordinates beyond this are drawn at the edge all the same."""

LOOK: dict[str, Any] = {
    "flat": FLAT,
    "up": UP,
    "touches": TOUCHES,
    "rounding": ROUNDING,
    "begins": style.THEORY,  # of what is no method's
    "ours": style.PROJECTED,
    "quiet": style.IDENTITY,
}
"""What `static/polytope.js` needs to know of the scale and the colours."""

ROWS, COLUMNS, NEGATIVE = 1, 2, 4
"""What keeps a matrix out of the set, as bits."""

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
    """What keeps matrices (..., 3, 3) out of the set: bits of ROWS, COLUMNS, NEGATIVE.

    0 of those that are in it but for rounding.
    """
    found = np.zeros(matrices.shape[:-2], np.int8)
    close = ROUNDING * np.maximum(1.0, np.abs(matrices).max(axis=(-2, -1)))
    for axis, bit in ((-1, ROWS), (-2, COLUMNS)):
        found |= (np.abs(matrices.sum(axis=axis) - 1).max(axis=-1) > close) * np.int8(bit)
    return found | (matrices.min(axis=(-2, -1)) < -close) * np.int8(NEGATIVE)


def path_columns(way: NDArray[np.float64]) -> Columns:
    """The table of a way: see `birkhoff.path`."""
    return {
        **place_columns(places(way)),
        "distance": distance_from_birkhoff(way).astype(np.float32),
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
    logits: NDArray[np.float64],
    unconstrained: NDArray[np.float64],
    projection: str,
    iterations: int = MAX_ITERATIONS,
) -> dict[str, Any]:
    """What the picture shows of 3 x 3 logits; `unconstrained` is HC's matrix in their place."""
    given = logits if PROJECTIONS[projection].takes_logits else unconstrained
    projected = all_projected(logits, unconstrained, iterations)
    way = path(given, projection, max(1, iterations))
    return {
        "names": list(projected),
        "marks": mark_columns(projected),
        "path": path_columns(way),
        "limit": place_columns(places(limit(given, projection))),
    }


class Network:
    """The first network of an experiment, drawn with three streams: its logits, HC's matrices in
    their place, both (depth, 3, 3), and its composites as `PolytopeFigure` takes them.

    `drawn`: init, spread and seed.
    """

    def __init__(
        self,
        projection: str,
        *,
        depth: int = MAX_DEPTH,
        iterations: int = MAX_ITERATIONS,
        **drawn: Any,
    ) -> None:
        self.projection, self.iterations = projection, iterations
        options = {"depth": depth, "streams": SIZE, "members": 1, **drawn}
        self.logits = sample_mixing(**options, logits=True)[0]
        self.unconstrained = sample_mixing(**options, logits=False)[0]
        experiment = Experiment(streams=SIZE, members=1, projection=projection, **drawn)
        counts = range(iterations + 1)
        self.composites = {
            "composites": composite_columns(
                member_matrices(experiment, depth=depth, iterations=counts)
            ),
            "iterations": counts,
            "depths": range(1, depth + 1),
        }

    def layer(self, k: int, own: NDArray[np.float64] | None = None) -> dict[str, Any]:
        """What the picture shows of layer k, or of logits of the reader's own in its place."""
        logits, unconstrained = self.logits[k - 1], self.unconstrained[k - 1]
        if own is not None:
            logits = unconstrained = own
        found = shown(logits, unconstrained, self.projection, self.iterations)
        return {**found, **self.composites}


class PolytopeFigure:
    """The set as a floor, and on it one matrix under all projections, or a network's composites.

    `given` is what `Network.layer` returns.
    """

    def __init__(
        self, given: Mapping[str, Any], projection: str, state: Position, dark: bool = False
    ) -> None:
        self.floor, self.path, self.marks, self.composites, self.limit = (
            table({}, [0], [0]) for _ in range(5)
        )
        label(self.floor, [0], [0], len(CORNERS), along="")
        self.floor.data = floor_columns()
        self.ink: list[Text | Rect] = []
        """Glyphs of which the background is the page."""
        self.update(given, projection)
        self.figure = self._draw(state)
        self.colour(dark)

    def update(self, given: Mapping[str, Any], projection: str) -> None:
        """Follow other logits, or another projection."""
        names = list(given["names"])
        iterations, depths = given["iterations"], given["depths"]
        label(self.path, [0], [0], len(given["path"]["a"]), along="", **_steps_of(projection))
        label(self.limit, [0], [0], len(given["limit"]["a"]), along="")
        label(
            self.marks,
            iterations,
            [0],
            len(names),
            along="",
            projection=projection,
            names=names,
            labels=[PROJECTIONS[name].label for name in names],
            kinds=[PROJECTIONS[name].kind for name in names],
            named=[name == projection or PROJECTIONS[name].leads for name in names],
            colours=[_colour(name, projection) for name in names],
        )
        label(self.composites, iterations, depths)
        for source, name in (
            (self.path, "path"),
            (self.limit, "limit"),
            (self.composites, "composites"),
            (self.marks, "marks"),
        ):
            source.data = dict(given[name])

    def colour(self, dark: bool) -> None:
        """Set the colour of what stands on the page."""
        for glyph in self.ink:
            if isinstance(glyph, Text):
                glyph.text_color = style.ink(dark)
            else:
                glyph.fill_color = glyph.line_color = style.ink(dark)

    def _draw(self, state: Position) -> figure:
        p = style.plot("polytope", "", "", (-1.42, 1.42), y_range=Range1d(-0.8, 1.3))
        p.min_border_left = p.min_border_right = 0
        p.axis.visible = False
        p.grid.grid_line_color = None
        p.styles = {"touch-action": "pan-y pinch-zoom"}
        p.x_range.syncable = p.y_range.syncable = False
        made: list[ColumnDataSource] = []

        def cut(shape: str, source: ColumnDataSource, **options: Any) -> ColumnDataSource:
            along_depth = source is self.composites
            columns = AXES if along_depth else source.data
            fixed = {} if len(source.tags[0]["iterations"]) > 1 else {"at": 0}
            found = sliced(
                source,
                "row" if along_depth else "block",
                {name: name for name in columns},
                state,
                **({"cut": True} if along_depth else fixed),
                shape=f"polytope_{shape}",
                figure=p,
                floor=self.floor,
                path=self.path,
                **LOOK,
                reads=["turn", "walk"],
                **options,
            )
            found.data = {each: [] for each in SHAPES[shape]}
            made.append(found)
            return found

        self._floor(p, cut)
        said = cut("said", self.marks, composites=self.composites)
        marks = self._matrix(p, cut)
        way = self._network(p, cut)
        again = CustomJS(args={"sources": made}, code="sources.forEach(mhc.cut)")
        for size in ("inner_width", "inner_height"):
            p.js_on_change(size, again)
        p.yaxis[0].js_on_change("major_label_text_font_size", again)
        places_of = [Column("across", "x"), Column("up", "y")]
        return described(
            p,
            "The doubly stochastic 3 × 3 matrices",
            Series(
                "projection",
                marks,
                Column("projection", "label", "label"),
                [Column("distance from the set", "distance"), *places_of],
            ),
            Series(
                "composite",
                way,
                Column("layers", "depth"),
                [Column("distance from J/3", "distance"), *places_of],
            ),
            kind="told",
            here=said,
        )

    def _floor(self, p: figure, cut: Any) -> None:
        outline, sides, icons, captions = (
            cut(shape, self.floor) for shape in ("outline", "edges", "icons", "captions")
        )
        whole = Patch(x="x", y="y", fill_color=style.PROJECTED, fill_alpha=0.14, line_color=None)
        style.draw(p, outline, whole, style.MOVING)
        edge = Segment(
            **{end: end for end in ("x0", "y0", "x1", "y1")},
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
            fill_alpha="alpha",
            line_width=0.5,
            line_alpha=0.35,
        )
        self.ink.append(cell)
        style.draw(p, icons, cell, style.MOVING)
        middle = Scatter(x=0, y=0, size=9, marker="cross", line_color=style.SHADE, line_width=2)
        style.draw(p, outline, middle, style.MOVING)
        words = Text(
            x="x",
            y="y",
            text="text",
            text_align="align",
            text_baseline="top",
            text_font_size="13px",
            text_alpha=0.8,
        )
        words.name = "ink"
        self.ink.append(words)
        style.draw(p, captions, words, style.MOVING)

    def _matrix(self, p: figure, cut: Any) -> ColumnDataSource:
        """One matrix: its way, and where every projection takes it.  Returns the marks."""
        whole, start = cut("whole", self.path), cut("start", self.path)
        ring, way = cut("limit", self.limit), cut("way", self.marks)
        stems, marks = cut("stems", self.marks), cut("marks", self.marks)
        names = cut("names", self.marks, limit=self.limit)
        marks.name, start.name = "polytope-marks", "polytope-start"
        names.name = "polytope-names"
        stem = Segment(
            x0="x",
            x1="x",
            y0="y0",
            y1="y1",
            line_color="colour",
            line_alpha=0.6,
            line_dash="dotted",
        )
        style.draw(p, stems, stem, style.MOVING)
        ours = {"line_color": style.PROJECTED, "x": "x", "y": "y"}
        style.draw(p, whole, Line(line_alpha=0.45, line_width=1.5, **ours), style.MOVING)
        style.draw(p, way, Line(line_width=3, **ours), style.MOVING)
        dots = Scatter(x="x", y="y", size=5, fill_color=style.PROJECTED, line_color=None)
        steps = style.draw(p, whole, dots, style.MOVING)
        limit = Scatter(size=22, fill_color=None, line_width=2, **ours)
        style.draw(p, ring, limit, style.MOVING)
        mark = Scatter(
            x="x",
            y="y",
            size="size",
            marker="marker",
            fill_color="colour",
            fill_alpha="fill",
            line_color="colour",
            line_width=2.2,
            line_alpha="alpha",
        )
        drawn = style.draw(p, marks, mark, style.MOVING)
        begins = Scatter(x="x", y="y", size=11, fill_color=style.THEORY, line_color=None)
        style.draw(p, start, begins, style.MOVING)
        handle = Scatter(
            x="x",
            y="foot",
            size=17,
            fill_color=style.THEORY,
            fill_alpha=0.25,
            line_color=style.THEORY,
            line_width=2,
        )
        style.draw(p, start, handle, style.MOVING)
        self._names(p, names)
        hover = {"mode": "mouse", "attachment": "horizontal"}
        p.add_tools(
            HoverTool(
                renderers=[drawn],
                tooltips=[("", "@label"), ("distance from the set", "@said"), ("off", "@off")],
                **hover,
            ),
            HoverTool(
                renderers=[steps],
                tooltips=[("", "@what"), ("distance from the set", "@said")],
                **hover,
            ),
        )
        return marks

    def _network(self, p: figure, cut: Any) -> ColumnDataSource:
        """The product of more and more layers.  Returns its way."""
        way, head = cut("composites", self.composites), cut("composite", self.composites)
        names = cut("composite_names", self.composites)
        names.name = "polytope-composite-names"
        ours = {"line_color": style.PROJECTED, "x": "x", "y": "y"}
        style.draw(p, way, Line(line_width=2.5, line_alpha=0.8, **ours), style.MOVING)
        dots = Scatter(x="x", y="y", size=7, fill_color=style.PROJECTED, line_color=None)
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
        here = Scatter(x="x", y="y", size=17, fill_color=style.PROJECTED, line_color=None)
        style.draw(p, head, here, style.MOVING)
        self._names(p, names)
        p.add_tools(
            HoverTool(
                renderers=[layers],
                tooltips=[("layers", "@depth"), ("distance from J/3", "@distance{0.000}")],
                mode="mouse",
                attachment="horizontal",
            )
        )
        return way

    def _names(self, p: figure, source: ColumnDataSource) -> None:
        lead = Segment(
            **{end: end for end in ("x0", "y0", "x1", "y1")},
            line_color="colour",
            line_width=1.2,
            line_alpha=0.8,
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


def _colour(name: str, projection: str) -> str:
    """Of a projection's mark.  There are more than colours can tell apart: those that lead have
    one each, the page's own that of its way, and the others are grey.
    """
    if PROJECTIONS[name].leads:
        return STROKES[name].colour
    return style.PROJECTED if name == projection else REST.colour


def _steps_of(projection: str) -> dict[str, Any]:
    """What the script needs to know of a way: where it starts, and the parts of an iteration."""
    chosen = PROJECTIONS[projection]
    halves = chosen.halves.names if chosen.iterative and chosen.halves else ()
    return {
        "start": "exp(logits)" if chosen.takes_logits else "",
        "per_iteration": len(halves) or 1,
        "halves": list(halves),
        "title": chosen.label,
    }


_PLACE = ("x", "y")
_NAMES = (*_PLACE, "text", "align", "weight", "x0", "y0", "x1", "y1", "colour")
SHAPES: dict[str, tuple[str, ...]] = {
    "outline": _PLACE,
    "edges": ("x0", "y0", "x1", "y1", "width", "alpha"),
    "icons": (*_PLACE, "width", "alpha"),
    "captions": (*_PLACE, "text", "align"),
    "said": ("said",),
    "whole": (*_PLACE, "what", "said"),
    "way": _PLACE,
    "start": (*_PLACE, "foot"),
    "limit": _PLACE,
    "stems": ("x", "y0", "y1", "colour"),
    "marks": (
        *_PLACE,
        *("size", "marker", "colour", "fill", "alpha"),
        *("name", "label", "distance", "said", "off"),
    ),
    "names": _NAMES,
    "composites": (*_PLACE, "depth", "distance"),
    "composite": (*_PLACE, "foot"),
    "composite_names": _NAMES,
}
"""The columns that `static/polytope.js` fills, for each shape."""


# ---- words -------------------------------------------------------------------------------------


HOW = (
    "On the floor are the 3 × 3 matrices whose rows and columns sum to 1. The blue area is the "
    "shadow of those that have no negative entry; a <b>○</b> over it is outside. "
    f"<b>●</b> is under {TOUCHES} from the set, <b>○</b> farther, <b>△</b> beyond the picture. "
    "Point at a grey one for its name."
)
"""How to read the picture."""


def note_of(whose: str) -> list[str]:
    """The paragraphs below: what is drawn, why it matters, and by which map."""
    arm = float(np.linalg.norm(places(CORNERS[0]).coordinates))
    return [
        f"{whose}. With n streams the set has (n − 1)² dimensions: 4 here, and 9 at n = 4. Four "
        "are too many for a plane, so the picture is a shadow, and <b>Turn</b> goes around the "
        "set: two points are the same only if no turn parts them.",
        "<b>The corners.</b> Every doubly stochastic matrix is a weighted average of permutation "
        f"matrices (Birkhoff 1946, von Neumann 1953): {len(CORNERS)} at n = 3, all {arm:.2f} from "
        f"J/3, the matrix with 1/3 everywhere, and any two joined by one of {len(edges())} edges. "
        "The three even permutations are a triangle with equal sides, the three odd ones another, "
        "in a plane at right angles to the first; both have J/3 in the middle.",
        "<b>Why depth does no harm inside.</b> The product of two such matrices is one again: its "
        "sums stay 1 and its entries are not negative. So the product of any number of layers "
        "stays inside, and it tends to J/3 where they keep mixing all streams: choose <b>A "
        "network</b> and move the depth. It takes both, the sums and the signs: HC’s matrices keep "
        "neither, and nothing bounds their products.",
        "<b>The map.</b> Let e₁, e₂ be the coordinates of M − J/3 in the plane of the even "
        "permutations and o₁, o₂ those in the other, along axes of length 1 at right angles. Then "
        "x = cos(turn) e₁ + sin(turn) o₁ and y = cos(turn) e₂ + sin(turn) o₂: an orthogonal "
        "projection, which may shorten distances but stretches none. The floor is seen at a slant: "
        f"up the picture goes {FLAT} y + {UP} h / (1 + h), where the height h is the Frobenius "
        "distance to the nearest matrix whose sums are 1. exp(logits) is scaled until its entries "
        "sum to 3, like those of a doubly stochastic matrix; Sinkhorn’s first division takes no "
        "notice of that. <b>Distance</b> is that to the nearest doubly stochastic matrix; "
        "<b>Off</b> says whether row sums, column sums or signs keep a matrix out; what is off by "
        "rounding alone counts as 0 and as off in nothing.",
    ]


def distances(given: Mapping[str, Any], iterations: int) -> str:
    """A sentence with the distance of every projection after so many iterations."""
    names = given["names"]
    found, why = (
        given["marks"][column].reshape(-1, len(names))[iterations] for column in ("distance", "why")
    )
    each = (
        f"{PROJECTIONS[name].label} {tick(float(np.log10(far))) if bits else '0'}"
        for name, far, bits in zip(names, found, why, strict=True)
    )
    return f"Distance from the doubly stochastic matrices: {', '.join(each)}."

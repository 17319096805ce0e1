"""Heatmaps of one layer's matrix and of the composite up to it, before and after projection.

As in the paper's Figure 8, the row sums (forward gain) are at the right edge and the column
sums (backward gain) at the bottom.  A matrix travels as a block of (n + 1)^2 numbers: entries,
sums, and in the corner the power of ten by which all of them are multiplied, so that 10^300 fits
a float32 and prints as 3.14.  That power is written into the line of the title, where nobody
overlooks it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from bokeh.models import (
    CDSView,
    ColumnDataSource,
    CustomJS,
    Glyph,
    HoverTool,
    IndexFilter,
    LinearColorMapper,
    Range1d,
    Rect,
    Text,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.half_steps import scaled
from . import style
from .contents import Column, Series, described
from .slices import Position, follows, sliced

Panel: TypeAlias = tuple[str, int | None, str]

PANELS: tuple[Panel, ...] = (
    ("layer", 0, "HC, layer {depth}"),
    ("composite", 0, "HC, composite 1–{depth}"),
    ("layer", None, "Projected, layer {depth}"),
    ("composite", None, "Projected, composite 1–{depth}"),
)
"""(column of the table, iteration count or None for the dial's, title) of each heatmap."""
LEGIBLE = 8
"""The largest n for which entries are written into their cells."""

LOG10_2 = math.log10(2.0)


def _blend(low: str, high: str, steps: int) -> list[str]:
    ends = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (low, high)]
    return [
        "#" + "".join(f"{round(a + (b - a) * k / steps):02x}" for a, b in zip(*ends, strict=True))
        for k in range(steps)
    ]


def _palette(negative: str, zero: str, positive: str) -> list[str]:
    return [*_blend(negative, zero, 64), *_blend(zero, positive, 64), positive]


PALETTES = {theme: _palette(*tints) for theme, tints in style.TINTS.items()}
"""Colours from -1 to 1: zero is the page's own background, nearly, and what is large stands out."""


def matrix_columns(matrices: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    """The blocks of `member_matrices` as table columns of width (n + 1)^2."""
    exponent = matrices["composite_exponent"].values * LOG10_2
    return {
        "layer": blocks(*scaled(matrices["layer"].values, np.zeros(exponent.shape))),
        "composite": blocks(*scaled(matrices["composite_mantissa"].values, exponent)),
    }


def blocks(mantissa: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float32]:
    """Matrices (..., n, n) times 10**power -> flat blocks, with sums and the power of ten."""
    n = mantissa.shape[-1]
    block = np.empty((*mantissa.shape[:-2], n + 1, n + 1), np.float32)
    block[..., :-1, :-1] = mantissa
    block[..., :-1, -1] = mantissa.sum(axis=-1)
    block[..., -1, :-1] = mantissa.sum(axis=-2)
    block[..., -1, -1] = power
    return block.ravel()


SQUARE: dict[str, Any] = {"x": "x", "y": "y", "width": 0.97, "height": 0.97, "line_color": None}
"""The place and size of a cell."""


CALLED = {0: "hc", None: "projected"}
"""The ends of the heatmaps' names, by the iteration counts of their panels."""


class MatricesFigure:
    """Four heatmaps, each a Bokeh figure in `figures`, drawn from one table of blocks.

    Other `panels` are other heatmaps; `called` has the ends of their names.
    """

    def __init__(
        self,
        streams: int,
        table: ColumnDataSource,
        state: Position,
        dark: bool = False,
        panels: Sequence[Panel] = PANELS,
        called: Mapping[int | None, str] = CALLED,
    ) -> None:
        self.scale = shades()
        self.called = called
        self._heatmaps: list[Heatmap] = []
        self.figures = [self._heatmap(streams, table, state, *panel) for panel in panels]
        self.colour(dark)

    def colour(self, dark: bool) -> None:
        """Set the colours for a light or a dark page."""
        for heatmap in self._heatmaps:
            heatmap.colour(dark)

    def _heatmap(
        self,
        n: int,
        table: ColumnDataSource,
        state: Position,
        column: str,
        at: int | None,
        title: str,
    ) -> figure:
        options = {} if at is None else {"at": at}
        source = sliced(
            table, "block", {"value": column}, state, late=True, heatmap=True, **options
        )
        name = f"matrix-{column}-{self.called[at]}"
        heatmap = Heatmap(name, title.format(**state), n, source, self.scale)
        self._heatmaps.append(heatmap)
        p = described(heatmap.figure, title, heatmap.block, kind="matrix")
        follows(p.title, "text", title, late=True, table=table)
        # The first layout of a newly opened view has the script write texts and shades.
        p.js_on_change("inner_width", CustomJS(args={"source": source}, code="mhc.cut(source)"))
        return p


class Heatmap:
    """A block with its sums, from a source of "value", "text", "shade" and "exact".

    `figure` is the plot, `block` the description of its contents.  Several can share a `scale`.

    `marked`: its sums are coloured by "off" and "one", how far they are from 1 and whether they
    read 1.00, which the rule `heatmap="sums"` brings.
    """

    def __init__(
        self,
        name: str,
        title: str,
        n: int,
        source: ColumnDataSource,
        scale: LinearColorMapper | None = None,
        *,
        marked: bool = False,
    ) -> None:
        self.scale = scale or shades()
        margin = 0.75 if n <= LEGIBLE else 2.8
        p = self.figure = style.plot(
            name, "", "", (-0.5, n + margin), y_range=Range1d(n + margin, -0.5), title=title
        )
        p.grid.grid_line_color = None
        p.axis.axis_line_color = None
        labels = {k: str(k + 1) for k in range(n)} | {n: "Σ"}
        ticks = [k for k in labels if n <= LEGIBLE or k == 0 or k == n or (k + 1) % 4 == 0]
        for axis in (p.xaxis, p.yaxis):
            axis.ticker = [k + 0.25 * (k == n) for k in ticks]
            axis.major_label_overrides = {k + 0.25 * (k == n): labels[k] for k in ticks}
        p.min_border_left = 28
        row, col = np.divmod(np.arange((n + 1) ** 2), n + 1)
        size = len(row)
        x, y = col + 0.25 * (col == n), row + 0.25 * (row == n)
        x[-1], y[-1] = n + margin, -0.5  # the power of ten, at the end of the title's line
        source.data.update(
            x=x,
            y=y,
            row=[labels[r] for r in row],
            column=[labels[c] for c in col],
            shade=np.zeros(size),
            text=[""] * size,
            exact=[""] * size,
        )
        inside = [k for k in range(n * (n + 1)) if k % (n + 1) < n]
        right = list(range(n, size - 1, n + 1))
        below = list(range(n * (n + 1), size - 1))
        parts: list[tuple[Glyph, list[int]]] = [(tinted(self.scale), inside)]
        if marked:
            source.data.update(off=np.zeros(size), one=np.zeros(size))
            parts += [
                (Rect(fill_color=colour, fill_alpha=alpha, **SQUARE), right + below)
                for colour, alpha in ((style.OFF, "off"), (style.EXACT, "one"))
            ]
        if n <= LEGIBLE:
            numbers = {"text_align": "center", "text_font_size": "14px" if n <= 4 else "10px"}
            parts += [
                (Rect(fill_alpha=0, **SQUARE), right + below),  # targets for the pointer
                (_text(**numbers), inside),
                (_text(**numbers), right + below),
            ]
        else:  # only the sums, those of the columns turned upright
            numbers = {"text_font_size": "10px"}
            parts += [
                (_text(text_align="left", x_offset=-6, **numbers), right),
                (_text(text_align="right", angle=math.pi / 2, y_offset=-6, **numbers), below),
            ]
        self.texts: list[Text] = []
        for glyph, cells in parts:
            style.draw(p, source, glyph, style.MOVING).view = CDSView(
                filter=IndexFilter(indices=cells)
            )
            if isinstance(glyph, Text):
                glyph.name = "ink"  # by which the standalone file finds it
                self.texts.append(glyph)
        if n <= LEGIBLE:
            fit = CustomJS(args={"figure": p}, code="mhc.fit_numbers(figure)")
            p.js_on_change("inner_width", fit)
            for text in self.texts:
                text.syncable = False  # the browser makes it smaller
                text.js_on_change("text_font_size", fit)
        power = _text(
            text_color=style.HC, text_font_style="bold", text_font_size="16px", text_align="right"
        )
        power.update(text_baseline="bottom", y_offset=-5)
        style.draw(p, source, power, style.MOVING).view = CDSView(
            filter=IndexFilter(indices=[size - 1])
        )
        p.add_tools(
            HoverTool(
                renderers=[each for each in p.renderers if isinstance(each.glyph, Rect)],
                tooltips=[("row, column", "@row, @column"), ("value", "@exact")],
                mode="mouse",
                attachment="horizontal",
            )
        )
        self.block = Series(
            "matrix",
            source,
            Column("row", "row", "label"),
            [Column("column", "column", "label"), Column("value", "value")],
        )

    def colour(self, dark: bool) -> None:
        """Set the colours for a light or a dark page."""
        self.scale.palette = PALETTES["dark" if dark else "light"]
        for text in self.texts:
            text.text_color = style.ink(dark)


def shades(dark: bool = False) -> LinearColorMapper:
    """The colours of shades from -1 to 1; its tags hold both palettes for the standalone file."""
    palette = PALETTES["dark" if dark else "light"]
    return LinearColorMapper(palette=palette, low=-1, high=1, tags=[{"palettes": PALETTES}])


def tinted(scale: LinearColorMapper) -> Rect:
    """Cells at x, y, coloured by "shade"."""
    fill = {"field": "shade", "transform": scale}
    return Rect(fill_color=fill, **SQUARE)


def _text(**look: Any) -> Text:
    return Text(x="x", y="y", text="text", text_baseline="middle", **look)

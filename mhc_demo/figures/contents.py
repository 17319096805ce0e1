"""A figure's contents: its title, and the columns of numbers that it shows.

A canvas means nothing to a screen reader or a spreadsheet.  So each figure carries its contents in
its tags, as sources carry their rules (`slices.py`), and `static/plots.js` makes from them a text
alternative, a CSV file, and the title and legend of a saved picture.  A new figure needs no new
script for any of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from . import style


@dataclass(frozen=True)
class Column:
    """A column of a source, and its heading in a table."""

    heading: str
    name: str
    scale: str = "plain"
    """"plain"; "log10" of a gain, which is read as the gain and stays log10 in a table; "label"."""
    unit: str = ""
    linear: float | None = None
    """Set if the source holds asinh(log10 / linear), as the colours of a map do."""


def log10(heading: str, name: str, linear: float | None = None) -> Column:
    """A column that holds the log10 of gains."""
    return Column(heading, name, "log10", linear=linear)


def medians(median: str, low: str, high: str) -> tuple[Column, Column, Column]:
    """The gains of an ensemble as plots show them: a median and the band around it."""
    return log10("median", median), log10("5 % quantile", low), log10("95 % quantile", high)


@dataclass(frozen=True)
class Series:
    """The numbers of one source: an axis `x`, and columns of which the first is the value there."""

    name: str
    source: ColumnDataSource
    x: Column
    columns: Sequence[Column]
    band: bool = False
    """Whether the second and third column are a band around the first."""
    colour: str = ""
    """Its colour in the legend of a saved picture; if empty, it is left out of it."""
    dash: str | Sequence[int] = "solid"
    start: int = 0
    """The first row that is shown."""


def described(
    p: figure,
    title: str,
    *series: Series,
    kind: str = "curves",
    along: str = "",
    grip: bool = True,
    here: ColumnDataSource | None = None,
    where: str = "",
) -> figure:
    """Add its contents to a figure.

    `title` may name {depth} and {iterations}, and so may `where`, which says what of the experiment
    is shown; if empty, that is so many layers and iterations.  `kind` is "curves"; "matrix" (a
    block with its sums, and a power of ten in the corner); or "map" (a value for each pair of
    coordinates, with `here` the present pair); or "histogram".  `along` is the slider that the
    first column of curves belongs to; unless that is not the x axis (`grip`), the plot itself can
    be dragged (`static/pointer.js`).
    """
    grip = grip and bool(along)
    if grip:  # a finger that goes up or down scrolls the page
        p.styles = {"touch-action": "pan-y pinch-zoom"}
    p.tags = [
        {
            "title": title,
            "kind": kind,
            "along": along,
            "grip": grip,
            "here": here,
            "where": where,
            "series": [_tag(each) for each in series],
            "font": style.FONT,
        }
    ]
    return p


def _tag(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "source": series.source,
        "columns": [vars(column) for column in (series.x, *series.columns)],
        "band": series.band,
        "colour": series.colour,
        "dash": [] if series.dash == "solid" else list(series.dash),
        "start": series.start,
    }

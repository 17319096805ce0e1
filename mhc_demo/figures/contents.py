"""What a figure shows, said once: its title, and the columns of numbers that it draws.

A canvas says nothing to who cannot see it, nor to a spreadsheet.  So each figure carries its
contents in its tags, as sources carry their rules (`slices.py`), and `static/plots.js` makes of
them, from the numbers as they are drawn, a text alternative, a CSV file, and the title and legend
of a saved picture.  A new figure needs no new script for any of them.
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
    """"plain"; "log10" of a gain, which is spoken as the gain and tabled as it is; "label"."""
    unit: str = ""
    linear: float | None = None
    """Where the source holds asinh(log10 / linear), as the colours of a map do."""


def log10(heading: str, name: str, linear: float | None = None) -> Column:
    """A column that holds the log10 of gains."""
    return Column(heading, name, "log10", linear=linear)


def medians(median: str, low: str, high: str) -> tuple[Column, Column, Column]:
    """The gains of an ensemble as the plots draw them: a median and the band around it."""
    return log10("median", median), log10("5 % quantile", low), log10("95 % quantile", high)


@dataclass(frozen=True)
class Series:
    """What is drawn from one source: where (`x`), and the value there first of all columns."""

    name: str
    source: ColumnDataSource
    x: Column
    columns: Sequence[Column]
    band: bool = False
    """Whether the second and third column are a band around the first."""
    colour: str = ""
    """Of its line in the legend of a saved picture; it has none there if empty."""
    dash: str | Sequence[int] = "solid"
    start: int = 0
    """The first row that is drawn."""


def described(
    p: figure,
    title: str,
    *series: Series,
    kind: str = "curves",
    along: str = "",
    here: ColumnDataSource | None = None,
) -> figure:
    """Let a figure say what it shows.

    `title` may name {depth} and {iterations}.  `kind` is "curves"; "matrix" (a block with its
    sums, and a power of ten in the corner); or "map" (a value for each of two coordinates, `here`
    the present one).  `along` is the part of the state that the first column of curves shows.
    """
    p.tags = [
        {
            "title": title,
            "kind": kind,
            "along": along,
            "here": here,
            "series": [_told(each) for each in series],
            "font": style.FONT,
        }
    ]
    return p


def _told(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "source": series.source,
        "columns": [vars(column) for column in (series.x, *series.columns)],
        "band": series.band,
        "colour": series.colour,
        "dash": [] if series.dash == "solid" else list(series.dash),
        "start": series.start,
    }

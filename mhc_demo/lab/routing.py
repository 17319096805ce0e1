"""Where mixtures of experts send the tokens, drawn against the layer: load and routing entropy.

What is drawn is a table of columns for each run, which a caller fills or has the browser cut from a
larger one: the plots know neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Line, Range1d, Scatter, Span
from bokeh.plotting import figure

from ..figures import style
from ..figures.contents import Column, Series, described
from .colours import MARKERS, WIDTHS, colour_of

LOAD = "Share of the tokens’ choices"
ENTROPY = "Routing entropy (bits)"
VIOLATION = "Load violation"
EXPLAINED = (
    "Each dot is one expert: its share of the tokens’ choices in that layer. If all were chosen as "
    "often, they would lie on the dotted line. The load violation is the largest share over the "
    "mean, less 1. The routing entropy is that of the router’s affinities divided by their sum, "
    "averaged over the tokens; the dotted line is that of equal affinities. All are of the batch."
)
"""What the plots of networks with experts show."""
APART = 0.4
"""How far the dots of one run stand from those of the next, in layers."""


@dataclass(frozen=True)
class Routed:
    """One run as these plots show it."""

    title: str
    connection: str
    loads: ColumnDataSource
    """Columns "layer", "expert" and "load", a row for each expert of each layer."""
    entropies: ColumnDataSource
    """Columns "layer" and "entropy"."""


def places(layers: Sequence[int], experts: int, index: int, runs: int) -> dict[str, Any]:
    """The columns "layer" and "expert" of the dots of run `index` among `runs`.

    >>> places([2, 4], 2, 0, 2)["layer"].tolist()
    [1.8, 1.8, 3.8, 3.8]
    """
    aside = (index - (runs - 1) / 2) * min(APART, 3 * APART / runs)
    return {
        "layer": np.repeat(np.array(layers, float), experts) + aside,
        "expert": np.tile(np.arange(1, experts + 1), len(layers)),
    }


def load_figure(name: str, runs: Sequence[Routed], depth: int, experts: int) -> figure:
    """A dot for each expert of each layer, beside the line on which all would lie if it were even.

    What the y range is, the caller says.
    """
    p = style.plot(name, "Layer l", LOAD, (0, depth + 1), y_range=Range1d(0, 1))
    _level(p, 1.0 / experts)
    series = []
    for each in runs:
        colour = colour_of(each.connection)
        dots = Scatter(
            x="layer",
            y="load",
            size=7,
            marker=MARKERS.get(each.connection.partition("-")[0], "diamond"),
            fill_color=colour,
            fill_alpha=0.5,
            line_color=colour,
        )
        drawn = style.draw(p, each.loads, dots, style.MOVING)
        drawn.name = each.title
        tips = [("", each.title), ("expert", "@expert"), ("share", "@load{0.0 %}")]
        p.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
        columns = [Column("share", "load"), Column("expert", "expert")]
        series.append(
            Series(each.title, each.loads, Column("layer", "layer"), columns, colour=colour)
        )
    return described(p, "Each expert’s share of the tokens’ choices, by layer", *series)


def entropy_figure(name: str, runs: Sequence[Routed], depth: int, experts: int) -> figure:
    """A line for each run, below the entropy of affinities that are all alike."""
    p = style.plot(name, "Layer l", ENTROPY, (0, depth + 1), y_range=Range1d(0, 1))
    _level(p, math.log2(experts))
    series = []
    for each in runs:
        colour = colour_of(each.connection)
        line = Line(
            x="layer",
            y="entropy",
            line_color=colour,
            line_width=WIDTHS.get(each.connection, 2.5),
        )
        drawn = style.draw(p, each.entropies, line, style.MOVING)
        drawn.name = each.title
        dots = Scatter(
            x="layer",
            y="entropy",
            size=8,
            marker=MARKERS.get(each.connection.partition("-")[0], "diamond"),
            fill_color=colour,
            line_color=colour,
        )
        tips = [("", each.title), ("layer", "@layer"), ("bits", "@entropy{0.000}")]
        p.add_tools(
            HoverTool(renderers=[style.draw(p, each.entropies, dots, style.MOVING)], tooltips=tips)
        )
        bits = [Column("bits", "entropy")]
        series.append(
            Series(each.title, each.entropies, Column("layer", "layer"), bits, colour=colour)
        )
    return described(p, "Routing entropy against the layer", *series)


def entropy_range(entropies: Any, experts: int) -> tuple[float, float]:
    """A y range that has all entropies in it, and those of affinities that are all alike."""
    most = math.log2(experts)
    finite = np.asarray(entropies, float)
    finite = finite[np.isfinite(finite)]
    least = float(finite.min()) if finite.size else most - 1.0
    margin = max(0.02, 0.1 * (most - least))
    return max(0.0, least - margin), most + margin


def load_range(loads: Any, experts: int) -> tuple[float, float]:
    """A y range from 0 that has all loads in it, and twice the even one."""
    finite = np.asarray(loads, float)
    finite = finite[np.isfinite(finite)]
    return 0.0, 1.05 * max(2.0 / experts, float(finite.max(initial=0.0)))


def _level(p: figure, value: float) -> None:
    p.add_layout(
        Span(
            location=value,
            dimension="width",
            line_color=style.THEORY,
            line_dash=[2, 4],
            line_width=2,
            level="underlay",
        )
    )

"""How the gains of a network's single layers are distributed: bars beside their curve.

They stand on the curve's own axis.  Forward goes to the right and backward to the left, each to its
own maximum: all of a projection's forward gains may be 1, and would leave no room for the others.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from bokeh.models import CDSView, ColumnDataSource, IndexFilter, Quad, Range1d, Segment
from numpy.typing import NDArray

from ..numerics.gains import DIRECTIONS
from . import style
from .contents import Column, Series, described, log10
from .curves import NETWORKS, gain_hover
from .layers import layer_range
from .slices import Position, sliced

BINS = 40
"""Bars along the whole axis; gain 1 is in the middle of one of them."""

SIDES = {"forward": 1, "backward": -1}


def histogram_columns(
    gains: xr.DataArray, full: tuple[float, float] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Columns of its table, (iterations, bins) flat, for the layers of the first network.

    "low" and "high" are the edges of a bar; for each direction "length", signed and at most 1,
    "layers", their number, and "median", the same in all bars.  `full` is where the bars begin and
    end, by default the curve's own axis.
    """
    low, high = full or layer_range(gains)
    width = (high - low) / (BINS - 1)
    edges = width * (np.floor(low / width + 0.5) - 0.5 + np.arange(BINS + 1))
    counts = gains.sizes["iterations"]
    columns = {
        "low": np.broadcast_to(edges[:-1], (counts, BINS)),
        "high": np.broadcast_to(edges[1:], (counts, BINS)),
    }
    for direction in DIRECTIONS:
        values = gains.sel(direction=direction, series="member").values
        layers = np.stack([np.histogram(v[np.isfinite(v)], edges)[0] for v in values])
        most = np.maximum(1, layers.max(axis=1, keepdims=True))
        columns[f"{direction}.length"] = SIDES[direction] * layers / most
        columns[f"{direction}.layers"] = layers
        median = np.median(values, axis=1, keepdims=True)
        columns[f"{direction}.median"] = np.broadcast_to(median, (counts, BINS))
    return {name: np.ascontiguousarray(v, dtype=np.float32).ravel() for name, v in columns.items()}


class HistogramFigure:
    """The histogram, from a table of `histogram_columns`; `y_range` is that of the curve."""

    def __init__(self, table: ColumnDataSource, state: Position, y_range: Range1d) -> None:
        p = style.plot(
            "histogram", "How often", "Amax gain of one layer", (-1.1, 1.1), y_range=y_range
        )
        style.powers_of_ten(p)
        p.xaxis.ticker = [0.55 * side for side in SIDES.values()]
        p.xaxis.major_label_overrides = {0.55 * side: name for name, side in SIDES.items()}
        p.add_layout(style.identity_line())
        series = []
        for network in NETWORKS:
            columns = {"low": "low", "high": "high"}
            for direction in DIRECTIONS:
                for what in ("length", "layers", "median"):
                    columns[f"{direction}_{what}"] = f"{direction}.{what}"
            source = sliced(table, "row", columns, state, late=True, **network.options)
            for direction, side in SIDES.items():
                bars = Quad(
                    left=0,
                    right=f"{direction}_length",
                    bottom="low",
                    top="high",
                    fill_color=network.colour,
                    fill_alpha=0.4,
                    line_color=None,
                )
                drawn = network.draw(p, source, bars, state, late=True)
                drawn.name = f"{network.name}, {direction}"
                median = f"{direction}_median"
                mark = Segment(
                    x0=0,
                    x1=1.06 * side,
                    y0=median,
                    y1=median,
                    line_color=network.colour,
                    line_width=3,
                    line_dash=style.DASH[direction],
                )
                typical = network.draw(p, source, mark, state, late=True)
                typical.view = CDSView(filter=IndexFilter(indices=[0]))
                fields = [
                    ("", drawn.name),
                    ("layers", f"@{direction}_layers"),
                    ("with gains", "@{low} … @{high}"),
                    ("median of all", f"@{{{median}}}"),
                ]
                gain_hover(p, [drawn], fields, mode="mouse", attachment=network.hover)
                series.append(
                    Series(
                        drawn.name,
                        source,
                        log10("gain from", "low"),
                        [
                            log10("gain to", "high"),
                            Column("layers", f"{direction}_layers"),
                            log10("median of all layers", median),
                        ],
                        colour=network.colour,
                        dash=style.DASH[direction],
                    )
                )
        described(p, "Distribution of the gains of single layers", *series, kind="histogram")
        self.figure = p

"""The price of stability: how alike the streams become with depth."""

from __future__ import annotations

import numpy as np
import xarray as xr
from bokeh.models import BasicTickFormatter, ColumnDataSource, HoverTool, Line, Range1d
from numpy.typing import NDArray

from ..numerics.gains import METRICS
from . import style
from .contents import Column, Series, described
from .curves import depth_plot
from .slices import Position, sliced

DRAWN: dict[str, tuple[str, str | list[int]]] = {
    "second_singular_value": (style.PROJECTED, "solid"),
    "uniform_distance": (style.UNIFORM, [7, 4]),
    "stream_disagreement": (style.DISAGREEMENT, [2, 6]),
}
"""The metrics drawn, which share a scale from 0 (all alike) up."""


def mixing_columns(mixing: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    """Columns of the table of mixing metrics, one per metric drawn."""
    return {name: mixing[name].values.astype(np.float32).ravel() for name in DRAWN}


class MixingFigure:
    """Mixing metrics of the projected composite of the first network against depth.

    The axis is linear and starts at zero: what is left at 1e-16 is rounding, and is nothing to
    the eye either.
    """

    def __init__(self, mixing: xr.Dataset, table: ColumnDataSource, state: Position) -> None:
        depths = mixing["depth"].values
        self.y_range = Range1d(0, _top(mixing))
        p = depth_plot(
            "mixing",
            "Depth (layers)",
            "Difference left between streams",
            int(depths[-1]),
            state,
            late=True,
            y_range=self.y_range,
            x_axis_type="log",
        )
        p.x_range.start = 1  # doubling depth by doubling, for most of it is lost in a few layers
        p.xaxis.ticker = [1, 2, 4, 8, 16, 32, 64, 128]
        p.xaxis.formatter = BasicTickFormatter()
        lines, shown = [], []
        for name, (colour, dash) in DRAWN.items():
            source = sliced(table, "row", {"value": name}, state, late=True)
            source.data["depth"] = depths
            curve = Line(x="depth", y="value", line_color=colour, line_width=3, line_dash=dash)
            lines.append(style.draw(p, source, curve, style.MOVING))
            title = lines[-1].name = METRICS[name].title
            columns = [Column("value", "value")]
            along = Column("depth", "depth")
            shown.append(Series(title, source, along, columns, colour=colour, dash=dash))
        described(p, "Difference left between streams against depth", *shown, along="depth")
        p.add_tools(
            HoverTool(
                renderers=lines,
                tooltips=[("$name", "@value{0.000}"), ("layers", "@depth")],
                mode="vline",
                attachment="horizontal",
            )
        )
        self.figure = p

    def update(self, mixing: xr.Dataset) -> None:
        """Follow new metrics."""
        self.y_range.end = _top(mixing)


def _top(mixing: xr.Dataset) -> float:
    values = np.stack([mixing[name].values for name in DRAWN])
    return 1.05 * max(1.0, float(np.nanmax(values)) if np.isfinite(values).any() else 1.0)

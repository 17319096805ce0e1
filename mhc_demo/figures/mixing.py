"""What fades: the differences between streams, and how many of them are left, against depth.

Both networks lose them: HC's products come near rank one as well.  The metrics of the first plot
compare with a stochastic matrix and so say nothing of HC; the effective number of streams does.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from bokeh.models import BasicTickFormatter, ColumnDataSource, HoverTool, Line, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.gains import METRICS
from ..numerics.surface import MAX_DEPTH
from . import style
from .contents import Column, Series, described
from .curves import depth_plot
from .slices import Position, follows, sliced

STROKES = {
    name: style.stroke(k)
    for k, name in enumerate(name for name, metric in METRICS.items() if metric.plotted)
}
"""How each of the plotted metrics is drawn, by its name."""


def mixing_columns(mixing: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    """Columns of the table of mixing metrics, one per plotted metric."""
    return {name: mixing[name].values.astype(np.float32).ravel() for name in (*STROKES, EFFECTIVE)}


EFFECTIVE = "effective_streams"
"""The metric that is known of HC too."""


UNPROJECTED = "Nothing is projected at 0 iterations:\nturn the dial to 1 or more."
UNBOUNDED = "This projection bounds nothing:\nthere is no stochastic matrix to compare with."
"""Why there are no lines."""


class MixingFigure:
    """Mixing metrics of the first network's composite against depth.

    `figure` shows those of the projected composite; its axis is linear and starts at zero, so that
    differences of 1e-16, which are rounding errors, are invisible.  `effective` shows the effective
    number of streams, for HC as well.
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
        _logarithmic(p)
        lines, series = [], []
        for name, stroke in STROKES.items():
            source = sliced(table, "row", {"value": name}, state, late=True)
            source.data["depth"] = depths
            curve = Line(
                x="depth",
                y="value",
                line_color=stroke.colour,
                line_width=3,
                line_dash=list(stroke.dash),
            )
            lines.append(style.draw(p, source, curve, style.MOVING))
            title = lines[-1].name = METRICS[name].title
            columns = [Column("value", "value")]
            along = Column("depth", "depth")
            series.append(
                Series(title, source, along, columns, colour=stroke.colour, dash=stroke.dash)
            )
        described(p, "Difference left between streams against depth", *series, along="depth")
        p.add_tools(
            HoverTool(
                renderers=lines,
                tooltips=[("$name", "@value{0.000}"), ("layers", "@depth")],
                mode="vline",
                attachment="horizontal",
            )
        )
        middle = math.sqrt(float(depths[-1])), 0.5  # of a logarithmic axis
        self.unprojected = style.why_empty(p, UNPROJECTED, *middle)
        self.unprojected.visible = state["iterations"] == 0
        follows(self.unprojected, "visible", "!iterations", late=True)
        self.unbounded = style.why_empty(p, UNBOUNDED, *middle)
        self._explain(mixing)
        self.figure = p
        self.effective = self._effective(mixing, table, state)

    def _effective(self, mixing: xr.Dataset, table: ColumnDataSource, state: Position) -> figure:
        depths = mixing["depth"].values
        self.effective_range = Range1d(0.9, _most(mixing))
        p = depth_plot(
            "effective",
            "Depth (layers)",
            "Effective number of streams",
            int(depths[-1]),
            state,
            late=True,
            y_range=self.effective_range,
            x_axis_type="log",
        )
        _logarithmic(p)
        lines, series = [], []
        for title, colour, fixed in (
            ("HC, unconstrained", style.HC, {"at": 0}),
            ("projection", style.PROJECTED, {}),
        ):
            source = sliced(table, "row", {"value": EFFECTIVE}, state, late=True, **fixed)
            source.data["depth"] = depths
            curve = Line(x="depth", y="value", line_color=colour, line_width=3)
            lines.append(style.draw(p, source, curve, style.MOVING))
            lines[-1].name = title
            columns = [Column("value", "value")]
            series.append(Series(title, source, Column("depth", "depth"), columns, colour=colour))
        p.add_tools(
            HoverTool(
                renderers=lines,
                tooltips=[("$name", "@value{0.000}"), ("layers", "@depth")],
                mode="vline",
                attachment="horizontal",
            )
        )
        return described(p, "Effective number of streams against depth", *series, along="depth")

    def _explain(self, mixing: xr.Dataset) -> None:
        known = any(bool(mixing[name].notnull().any()) for name in STROKES)
        self.unbounded.visible = not known
        self.unprojected.text = UNPROJECTED if known else ""

    def update(self, mixing: xr.Dataset) -> None:
        """Follow new metrics."""
        self.y_range.end = _top(mixing)
        self.effective_range.end = _most(mixing)
        self._explain(mixing)


def _logarithmic(p: figure) -> None:
    """Most is lost in the first few layers."""
    p.x_range.start = 1
    p.xaxis.ticker = [2**k for k in range(MAX_DEPTH.bit_length())]
    p.xaxis.formatter = BasicTickFormatter()


def _most(mixing: xr.Dataset) -> float:
    """The end of the axis of effective streams: the most that any composite of this network has."""
    return max(1.5, 1.05 * float(mixing[EFFECTIVE].max()))


def _top(mixing: xr.Dataset) -> float:
    values = np.stack([mixing[name].values for name in STROKES])
    return 1.05 * max(1.0, float(np.nanmax(values)) if np.isfinite(values).any() else 1.0)

"""What fades: the differences between streams, and how many of them are left, against depth.

Both networks lose them: HC's products come near rank one as well.  The metrics of the first plot
compare with a stochastic matrix and so say nothing of HC; the effective number of streams does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

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
SIGNED = "These matrices are not stochastic:\nthere is none to compare them with."
"""Why there are no lines."""


class MixingFigure:
    """Mixing metrics of the first network's composite against depth.

    `figure` shows those of the projected composite; its axis is linear and starts at zero, so that
    differences of 1e-16, which are rounding errors, are invisible.  `effective` shows the effective
    number of streams, for HC as well.
    """

    def __init__(
        self,
        mixing: xr.Dataset,
        table: ColumnDataSource,
        state: Position,
        network: style.Stroke | None = None,
        *,
        name: str = "",
        along: str = "depth",
    ) -> None:
        """`network`: that of a table that has one network and no iterations, named `name`."""
        depths = mixing["depth"].values
        self.y_range = Range1d(0, _top(mixing))
        self.effective_range = Range1d(0.9, _most(mixing))
        self.iterates = network is None
        rule = {} if network is None else {"at": 0}
        metrics: list[Curve] = [
            (METRICS[metric].title, metric, stroke, rule) for metric, stroke in STROKES.items()
        ]
        networks: list[Curve] = [
            ("HC, unconstrained", EFFECTIVE, style.Stroke(style.HC), {"at": 0}),
            ("projection", EFFECTIVE, style.Stroke(style.PROJECTED), {}),
        ]
        if network is not None:
            networks = [(name, EFFECTIVE, network, rule)]
        self.figure = p = _plot(
            *("mixing", "Difference left between streams", metrics, self.y_range),
            *(table, depths, state, along),
        )
        self.effective = _plot(
            *("effective", "Effective number of streams", networks, self.effective_range),
            *(table, depths, state, along),
        )
        middle = math.sqrt(float(depths[-1])), 0.5  # of a logarithmic axis
        self.unprojected = style.why_empty(p, UNPROJECTED, *middle)
        if self.iterates:
            self.unprojected.visible = state["iterations"] == 0
            follows(self.unprojected, "visible", "!iterations", late=True)
        self.unbounded = style.why_empty(p, UNBOUNDED if self.iterates else SIGNED, *middle)
        self._explain(mixing)

    def _explain(self, mixing: xr.Dataset) -> None:
        known = any(bool(mixing[name].notnull().any()) for name in STROKES)
        self.unbounded.visible = not known
        self.unprojected.text = UNPROJECTED if known else ""

    def update(self, mixing: xr.Dataset) -> None:
        """Follow new metrics."""
        self.y_range.end = _top(mixing)
        self.effective_range.end = _most(mixing)
        self._explain(mixing)


Curve: TypeAlias = tuple[str, str, style.Stroke, dict[str, int]]
"""Title, column of the table, stroke, and further options of the rule."""


def _plot(
    name: str,
    label: str,
    curves: Sequence[Curve],
    y_range: Range1d,
    table: ColumnDataSource,
    depths: NDArray[np.integer],
    state: Position,
    slider: str,
) -> figure:
    """Curves against depth, which is logarithmic: most is lost in the first few layers."""
    p = depth_plot(
        *(name, "Depth (layers)", label, int(depths[-1]), state),
        late=True,
        along=slider,
        y_range=y_range,
        x_axis_type="log",
    )
    p.x_range.start = 1
    p.xaxis.ticker = [2**k for k in range(max(MAX_DEPTH, int(depths[-1])).bit_length())]
    p.xaxis.formatter = BasicTickFormatter()
    lines, series = [], []
    for title, column, stroke, options in curves:
        source = sliced(table, "row", {"value": column}, state, late=True, **options)
        source.data["depth"] = depths
        look = {"line_color": stroke.colour, "line_width": 3, "line_dash": list(stroke.dash)}
        lines.append(style.draw(p, source, Line(x="depth", y="value", **look), style.MOVING))
        lines[-1].name = title
        along, values = Column("depth", "depth"), [Column("value", "value")]
        series.append(Series(title, source, along, values, colour=stroke.colour, dash=stroke.dash))
    p.add_tools(
        HoverTool(
            renderers=lines,
            tooltips=[("$name", "@value{0.000}"), ("layers", "@depth")],
            mode="vline",
            attachment="horizontal",
        )
    )
    where = "" if slider == "depth" else f"layer {{{slider}}}"
    return described(p, f"{label} against depth", *series, along=slider, where=where)


def _most(mixing: xr.Dataset) -> float:
    """The end of the axis of effective streams: the most that any composite of this network has."""
    return max(1.5, 1.05 * float(mixing[EFFECTIVE].max()))


def _top(mixing: xr.Dataset) -> float:
    values = np.stack([mixing[name].values for name in STROKES])
    return 1.05 * max(1.0, float(np.nanmax(values)) if np.isfinite(values).any() else 1.0)

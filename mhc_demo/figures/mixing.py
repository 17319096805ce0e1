"""What fades: the differences between streams, and how many of them are left, against depth.

Both networks lose them: HC's products come near rank one as well.  The metrics of the first plot
compare with a stochastic matrix, or grow with HC's products; those of the other two ignore the
scale, so that HC and its projection stand on one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    GlyphRenderer,
    HoverTool,
    Line,
    NoOverlap,
    Range1d,
    VArea,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.metrics import METRICS
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import MAX_DEPTH
from . import style
from .contents import Column, Series, described, log10
from .curves import depth_plot, gain_hover
from .slices import Position, follows, sliced

STROKES = {
    name: style.stroke(k)
    for k, name in enumerate(name for name, metric in METRICS.items() if metric.plotted)
}
"""How each of the plotted metrics is drawn, by its name."""


EFFECTIVE = "effective_streams"
"""The metric that is drawn of HC too."""
RATIO = "singular_ratio"
"""The metric whose decay is drawn, of HC too, with the line of theory."""
DRAWN = (*STROKES, EFFECTIVE, RATIO)
"""The metrics of which the figure is made."""


def mixing_columns(mixing: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    """Columns of the table of mixing metrics, for the first two plots."""
    return {name: mixing[name].values.astype(np.float32).ravel() for name in (*STROKES, EFFECTIVE)}


def ratio_columns(mixing: xr.Dataset, dtype: Any = np.float32) -> dict[str, NDArray[Any]]:
    """The column of the table of log10 s2/s1, for the third; -inf where it is 0."""
    ratio = mixing[RATIO].values
    zero = ratio == 0
    log10 = np.where(zero, -np.inf, np.log10(np.where(zero, 1.0, ratio)))
    return {RATIO: log10.astype(dtype).ravel()}


def ratio_theory(mixing: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """The line of theory of HC's log10 s2/s1, and the band in which 5 to 95 % of networks lie.

    NaN, and so not drawn, where there is no theory.
    """
    depths = mixing["depth"].values
    unknown = np.full(len(depths), np.nan)
    expected, deviation = (
        mixing[name].values if name in mixing else unknown
        for name in ("expected_log10_ratio", "deviation_log10_ratio")
    )
    off = WITHIN_90 * deviation
    return {
        "depth": depths,
        "expected": expected,
        "low": expected - off,
        "high": np.minimum(expected + off, 0.0),
    }


WITHIN_90 = 1.6449
"""Standard deviations of a normal distribution around its mean within which 90 % lie."""


UNPROJECTED = "Nothing is projected at 0 iterations:\nturn the dial to 1 or more."
UNBOUNDED = "This projection bounds nothing:\ndifferences grow with its product."
SIGNED = "Entries may be negative:\nthere is no stochastic\nmatrix to compare with."
NOT_STOCHASTIC = "These matrices are not stochastic:\ndifferences grow with their product."
"""Why there are no lines."""


class MixingFigure:
    """Mixing metrics of the first network's composite against depth.

    `figure` shows those of the projected composite; its axis is linear and starts at zero, so that
    differences of 1e-16, which are rounding errors, are invisible.  `effective` shows the effective
    number of streams and `ratio` the second to the first singular value, for HC as well, and beside
    it what theory says of HC (`theory`).
    """

    def __init__(
        self,
        mixing: xr.Dataset,
        table: ColumnDataSource,
        ratios: ColumnDataSource,
        state: Position,
        network: style.Stroke | None = None,
        *,
        name: str = "",
        along: str = "depth",
    ) -> None:
        """`table` holds `mixing_columns`, `ratios` holds `ratio_columns`.

        `network`: that of tables that have one network and no iterations, named `name`.
        """
        depths = mixing["depth"].values
        self.y_range = Range1d(0, _top(mixing))
        self.effective_range = Range1d(0.9, _most(mixing))
        self.ratio_range = Range1d(_least(mixing), 0)
        self.iterates = network is None
        rule = {} if network is None else {"at": 0}
        metrics: list[Curve] = [
            (METRICS[metric].title, metric, stroke, rule) for metric, stroke in STROKES.items()
        ]
        networks: list[Network] = [
            ("HC, unconstrained", style.Stroke(style.HC), {"at": 0}),
            ("projection", style.Stroke(style.PROJECTED), {}),
        ]
        if network is not None:
            networks = [(name, network, rule)]
        self.figure = p = _plot(
            *("mixing", "Difference left between streams", metrics, self.y_range),
            *(table, depths, state, along),
        )
        effective = _curves(EFFECTIVE, networks)
        self.effective = _plot(
            *("effective", "Effective number of streams", effective, self.effective_range),
            *(table, depths, state, along),
        )
        self.theory = ColumnDataSource(ratio_theory(mixing))
        self.ratio = _decay(
            *(_curves(RATIO, networks), self.ratio_range, ratios, depths, state, along),
            self.theory if self.iterates else None,
        )
        middle = math.sqrt(float(depths[-1])), 0.5  # of a logarithmic axis
        self.unprojected = style.why_empty(p, UNPROJECTED, *middle)
        if self.iterates:
            self.unprojected.visible = state["iterations"] == 0
            follows(self.unprojected, "visible", "!iterations", late=True)
        self.unbounded = style.why_empty(p, NOT_STOCHASTIC, *middle)
        self._explain(mixing)

    @property
    def figures(self) -> list[figure]:
        """All three, in the order in which they are shown."""
        return [self.figure, self.effective, self.ratio]

    def _explain(self, mixing: xr.Dataset) -> None:
        known = any(bool(mixing[name].notnull().any()) for name in STROKES)
        self.unbounded.visible = not known
        if self.iterates:
            chosen = PROJECTIONS.get(mixing.attrs.get("projection", ""))  # none yet, at first
            self.unbounded.text = SIGNED if chosen and chosen.bounded else UNBOUNDED
        self.unprojected.text = UNPROJECTED if known else ""

    def update(self, mixing: xr.Dataset) -> None:
        """Follow new metrics."""
        self.fit(mixing)
        columns = ratio_theory(mixing)
        now = self.theory.data
        if not all(np.array_equal(now[k], columns[k], equal_nan=True) for k in columns):
            self.theory.data = columns

    def fit(self, mixing: xr.Dataset) -> None:
        """Make room for these metrics, and say why there are none."""
        self.y_range.end = _top(mixing)
        self.effective_range.end = _most(mixing)
        self.ratio_range.start = _least(mixing)
        self._explain(mixing)


Network: TypeAlias = tuple[str, style.Stroke, dict[str, int]]
"""Title, stroke, and further options of the rule."""


def _curves(column: str, networks: Sequence[Network]) -> list[Curve]:
    return [(title, column, stroke, options) for title, stroke, options in networks]


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
    lines, series = _lines(p, curves, table, depths, state)
    p.add_tools(
        HoverTool(
            renderers=lines,
            tooltips=[("$name", "@value{0.000}"), ("layers", "@depth")],
            mode="vline",
            attachment="horizontal",
        )
    )
    return described(p, f"{label} against depth", *series, along=slider, where=_where(slider))


def _decay(
    curves: Sequence[Curve],
    y_range: Range1d,
    table: ColumnDataSource,
    depths: NDArray[np.integer],
    state: Position,
    slider: str,
    theory: ColumnDataSource | None,
) -> figure:
    """Log10 s2/s1 against depth, both so scaled that an exponential decay is a straight line."""
    label = "Second to first singular value"
    p = depth_plot(
        *("ratio", "Depth (layers)", label, int(depths[-1]), state),
        late=True,
        along=slider,
        y_range=y_range,
    )
    style.powers_of_ten(p)
    p.xaxis.major_label_policy = NoOverlap(min_distance=8)
    series = []
    if theory is not None:
        look = {"line_color": style.THEORY, "line_width": 2, "line_dash": [3, 3]}
        band = VArea(x="depth", y1="low", y2="high", fill_color=style.THEORY, fill_alpha=0.1)
        style.draw(p, theory, band)
        style.draw(p, theory, Line(x="depth", y="expected", **look)).name = THEORY
        expected = log10("expected", "expected"), log10("5 %", "low"), log10("95 %", "high")
        series.append(
            Series(
                *(THEORY, theory, Column("depth", "depth"), expected),
                band=True,
                colour=style.THEORY,
                dash=[3, 3],
            )
        )
    lines, drawn = _lines(p, curves, table, depths, state, "log10")
    gain_hover(p, lines, [("$name", "@{value}"), ("layers", "@depth")])
    title = f"{label} of the composite against depth"
    return described(p, title, *drawn, *series, along=slider, where=_where(slider))


THEORY = "theory of HC (rate)"
"""What the line of theory is called."""


def _lines(
    p: figure,
    curves: Sequence[Curve],
    table: ColumnDataSource,
    depths: NDArray[np.integer],
    state: Position,
    scale: str = "plain",
) -> tuple[list[GlyphRenderer], list[Series]]:
    """Draw curves of a table in a plot; their lines, and their descriptions."""
    lines, series = [], []
    for title, column, stroke, options in curves:
        source = sliced(table, "row", {"value": column}, state, late=True, **options)
        source.data["depth"] = depths
        look = {"line_color": stroke.colour, "line_width": 3, "line_dash": list(stroke.dash)}
        lines.append(style.draw(p, source, Line(x="depth", y="value", **look), style.MOVING))
        lines[-1].name = title
        if "at" not in options:  # at 0 iterations it would lie on HC's
            follows(lines[-1], "visible", "?iterations", late=True)
            lines[-1].visible = state["iterations"] != 0
            lines[-1].syncable = False
        along, values = Column("depth", "depth"), [Column("value", "value", scale)]
        series.append(Series(title, source, along, values, colour=stroke.colour, dash=stroke.dash))
    return lines, series


def _where(slider: str) -> str:
    return "" if slider == "depth" else f"layer {{{slider}}}"


def _most(mixing: xr.Dataset) -> float:
    """The end of the axis of effective streams: the most that any composite of this network has."""
    return max(1.5, 1.05 * float(mixing[EFFECTIVE].max()))


def _least(mixing: xr.Dataset) -> float:
    """The start of the axis of s2/s1, so low that no slider moves it."""
    lowest = [ratio_columns(mixing)[RATIO], ratio_theory(mixing)["expected"]]
    found = [float(each[np.isfinite(each)].min(initial=-1.0)) for each in lowest]
    return 1.05 * min(found)


def _top(mixing: xr.Dataset) -> float:
    values = np.stack([mixing[name].values for name in STROKES])
    return 1.05 * max(1.0, float(np.nanmax(values)) if np.isfinite(values).any() else 1.0)

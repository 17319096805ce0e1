"""Phase maps: where a composite explodes, holds or vanishes, over two parameters at a time.

A cell's colour is the log10 gain on a scale that is linear near gain 1 and logarithmic in the
decades beyond (asinh), so that 1.1 and 10^100 can be told from 1 and from each other.  The scale
is fixed: the same colour is the same gain in every map.  The table holds the shade itself, because
Bokeh's mappers are linear; on hover, `mhc.exact` recovers the gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from bokeh.events import Tap
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    FixedTicker,
    HBar,
    HoverTool,
    Label,
    LinearColorMapper,
    NoOverlap,
    Range1d,
    Rect,
    Scatter,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.comparison import SWEPT, phase_map
from ..numerics.numbers import tick
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS, Experiment
from . import style
from .contents import Column, Series, described, log10
from .curves import DEPTH_TICKS
from .packed import Floats, hover_cells
from .slices import Position, follows, sliced, table

LINEAR = 0.01
"""Decades around gain 1 within which the shade is proportional to the log10 gain."""

MOST = 300.0
"""Decades at which the scale ends; beyond, the colour is that of the end."""

SPREADS, STREAMS = SWEPT["spread"], SWEPT["streams"]
SPREAD_STEP = SPREADS[1] - SPREADS[0]
ITERATIONS = range(MAX_ITERATIONS + 1)
DEPTHS = range(1, MAX_DEPTH + 1)


def shade(log10_gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shade of log10 gains: 0 at gain 1, odd, monotonic; -infinity and NaN are kept."""
    return np.arcsinh(np.asarray(log10_gain) / LINEAR)


def shade_cells(shades: Floats) -> tuple[Floats, Floats]:
    """The cells of shades whose gains have one text on hover: see `figures.packed`."""
    low, high = hover_cells(LINEAR * np.sinh(shades))
    return shade(low), shade(high)


GAIN_OF_SHADE = f"return mhc.exact({LINEAR} * Math.sinh(value))"

TICKS = {log10: tick(log10) for log10 in (-100, -10, -1, 0, math.log10(1.5), 1, 10, 100)}
"""The ticks of the colour bar: log10 gains and their labels."""


def larger_gain(gains: xr.DataArray) -> xr.DataArray:
    """The larger of the forward and the backward gain, as in the headline."""
    return gains.max("direction", skipna=False)


def spread_column(gains: xr.DataArray) -> Floats:
    """(spread, direction, iterations, depth) -> shades in the order depth, spread, iterations."""
    return shade(larger_gain(gains).transpose("depth", "spread", "iterations").values).ravel()


def streams_column(gains: xr.DataArray) -> Floats:
    """(streams, direction, iterations, depth) -> shades in the order iterations, depth, streams."""
    return shade(larger_gain(gains).transpose("iterations", "depth", "streams").values).ravel()


# ---- what is measured ----------------------------------------------------------------------------

MEMBERS = 3
"""Networks whose median a cell shows."""

WIDE = 8
"""Above that many streams the map over the spread shows the first network alone: one network of 16
streams takes as long as 16 networks of 4."""

Maps: TypeAlias = tuple[Floats, Floats]
"""The shades of both maps, as `spread_column` and `streams_column` order them."""


def maps_of(experiment: Experiment) -> Maps:
    """Both maps around an experiment, each computed once for whatever it runs over."""
    return _over_spread(_without(experiment, "spread")), _over_streams(
        _without(experiment, "streams")
    )


def _without(experiment: Experiment, name: str) -> tuple[tuple[str, Any], ...]:
    values = experiment.values_of_experiment()
    values["members"] = min(values["members"], MEMBERS)
    return tuple((k, v) for k, v in values.items() if k != name)


@lru_cache(maxsize=32)
def _over_spread(key: tuple[tuple[str, Any], ...]) -> Floats:
    experiment = Experiment(**dict(key))
    if experiment.streams > WIDE:
        experiment.members = 1
    return spread_column(phase_map(experiment, "spread"))


@lru_cache(maxsize=32)
def _over_streams(key: tuple[tuple[str, Any], ...]) -> Floats:
    return streams_column(phase_map(Experiment(**dict(key)), "streams"))


def account(experiment: Experiment, moves: str) -> str:
    """What the maps show, and what `moves` the ring."""
    chosen = PROJECTIONS[experiment.projection]
    members = min(experiment.members, MEMBERS)
    median = (
        "the first network"
        if members == 1
        else f"the median of the first {members} networks"
        + (" (on the left, of the first alone)" if experiment.streams > WIDE else "")
    )
    whole = members == experiment.members and (members == 1 or experiment.streams <= WIDE)
    differs = (
        "the same as the headline"
        if whole
        else f"to be quick; the headline, that of all {experiment.members:,}, so the two can differ"
    )
    return (
        "The composite gain, the larger of forward and backward as in the headline, of "
        f"<b>{chosen.title}</b> (HC at 0 iterations): over spread and iterations at n = "
        f"{experiment.streams}, and over streams and depth at spread {experiment.spread:g}. Grey "
        "is gain 1, orange explodes, violet vanishes. Equal steps of colour are equal steps of the "
        "gain’s logarithm only near 1; further out they grow in proportion to it, so that 2 and "
        f"10¹⁰⁰ fit on one scale. The ring is the present state; {moves}. A cell shows {median} of "
        f"seed {experiment.seed}, {differs}."
    )


# ---- the figures ---------------------------------------------------------------------------------


@cache
def palette(dark: bool, steps: int = 64) -> tuple[str, ...]:
    """From vanishing (violet) through gain 1 (a grey near the page's own) to exploding (orange).

    Lightness changes evenly from the middle to either end, in OKLCH (Ottosson 2020), and in the
    same way on both sides.  The colour comes at once, so that 1.5 is no grey, and its hue turns, so
    that 10 is another colour than 1.5.  No common colour blindness confuses the two sides.
    """
    middle, end = (0.28, 0.86) if dark else (0.95, 0.37)
    share = np.linspace(0, 1, steps + 1)
    lightness = middle + (end - middle) * share
    chroma = 0.17 * share**0.6
    sides = []
    for near, far in ((285.0, 310.0), (85.0, 30.0)):
        hue = near + (far - near) * share**0.7
        sides.append([_srgb(*each) for each in zip(lightness, chroma, hue, strict=True)])
    violet, orange = sides
    return (*violet[:0:-1], *orange)


def _srgb(lightness: float, chroma: float, hue: float) -> str:
    """A colour of OKLCH, with as much of its chroma as screens can show at that lightness."""
    while min(linear := _linear(lightness, chroma, hue)) < 0 or max(linear) > 1:
        chroma -= 0.002
    channels = (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in linear)
    return "#" + "".join(f"{round(255 * c):02x}" for c in channels)


def _linear(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    a, b = (chroma * f(math.radians(hue)) for f in (math.cos, math.sin))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


class PhaseFigure:
    """Two maps in `figures`: over spread and iterations, and over streams and depth.

    The first is cut at the present depth, the second at the present iterations.  `go` is called
    with the parameters of a clicked cell; without it, both can be dragged along their x axis.
    """

    def __init__(
        self,
        over_spread: Floats,
        over_streams: Floats,
        state: Position,
        go: Callable[..., None] | None = None,
        dark: bool = False,
    ) -> None:
        self.mapper = LinearColorMapper(
            palette=palette(dark),
            low=float(-np.arcsinh(MOST / LINEAR)),
            high=float(np.arcsinh(MOST / LINEAR)),
            nan_color="rgba(0, 0, 0, 0)",
            tags=[{"palettes": {"light": palette(False), "dark": palette(True)}}],
        )
        # An image for each depth, and a column of streams for each iteration count and depth.
        image = len(SPREADS) * len(ITERATIONS)
        self.spread_table = table(_shades(over_spread), [0], DEPTHS, image)
        self.streams_table = table(_shades(over_streams), ITERATIONS, DEPTHS, len(STREAMS))
        spread, iterations = np.meshgrid(SPREADS, ITERATIONS, indexing="ij")
        depth, streams = np.meshgrid(DEPTHS, STREAMS, indexing="ij")
        by_spread = sliced(self.spread_table, "block", {"shade": "shade"}, state, late=True, at=0)
        by_spread.data.update(x=iterations.ravel(), y=spread.ravel())
        by_streams = sliced(self.streams_table, "row", {"shade": "shade"}, state, late=True)
        by_streams.data.update(x=depth.ravel(), y=streams.ravel())
        self.here = (
            sliced(self.spread_table, "block", {"x": "@iterations"}, state, late=True),
            sliced(self.streams_table, "block", {"x": "@depth"}, state, late=True),
        )
        first = self._map(
            "phase-spread",
            "Composite gain over iterations and spread",
            ("Sinkhorn iterations", "Spread"),
            ("iterations", "spread"),
            SPREAD_STEP,
            by_spread,
            self.here[0],
            "" if go else "iterations",
        )
        first.xaxis.ticker = [0, 1, 5, 10, 15, 20, 25, 30]
        first.yaxis.ticker = list(range(0, 11, 2))
        second = self._map(
            "phase-streams",
            "Composite gain over depth and streams",
            ("Depth (layers)", "Streams (n)"),
            ("layers", "streams"),
            1.0,
            by_streams,
            self.here[1],
            "" if go else "depth",
        )
        second.xaxis.ticker = DEPTH_TICKS
        second.yaxis.ticker = [1, 4, 8, 12, 16]
        self.missing = ColumnDataSource({"streams": []})
        hatch = HBar(
            y="streams",
            height=1,
            left=0.5,
            right=DEPTHS[-1] + 0.5,
            fill_color=None,
            line_color=None,
            hatch_pattern="/",
            hatch_color=style.SHADE,
            hatch_alpha=0.35,
        )
        style.draw(second, self.missing, hatch, style.MOVING)
        self.why_missing = Label(
            x=DEPTHS[-1] / 2 + 0.5,
            y=0,
            text_align="center",
            text_baseline="middle",
            text_font="system-ui, sans-serif",
            text_font_size="15px",
            text_color=style.ink(dark),
            visible=False,
            name="ink",
        )
        second.add_layout(self.why_missing)
        self.figures = [first, second]
        if go is not None:
            self._follow_clicks(first, go, ("iterations", ITERATIONS), ("spread", SPREADS))
            self._follow_clicks(second, go, ("depth", DEPTHS), ("streams", STREAMS))

    def _follow_clicks(
        self,
        p: figure,
        go: Callable[..., None],
        across: tuple[str, Sequence[float]],
        up: tuple[str, Sequence[float]],
    ) -> None:
        """Call `go` with the parameters of a cell that is clicked.

        The click goes by way of a source, because Panel drops the callbacks of a figure that leaves
        the page, and a view may return to it.
        """
        clicked = ColumnDataSource({"x": [], "y": []})
        code = "clicked.data = {x: [cb_obj.x], y: [cb_obj.y]}"
        p.js_on_event(Tap, CustomJS(args={"clicked": clicked}, code=code))

        def go_there(attr: str, old: Any, new: Mapping[str, Sequence[Any]]) -> None:
            if cell := _cell_at(new, across, up):
                go(**cell)

        clicked.on_change("data", go_there)

    def _map(
        self,
        name: str,
        title: str,
        axis_labels: tuple[str, str],
        names: tuple[str, str],
        height: float,
        source: ColumnDataSource,
        here: ColumnDataSource,
        along: str,
    ) -> figure:
        x, y = (source.data[axis] for axis in "xy")
        p = style.plot(
            name,
            *axis_labels,
            (x[0] - 0.5, x[-1] + 0.5),
            y_range=Range1d(y[0] - height / 2, y[-1] + height / 2),
            title="",
        )
        p.grid.grid_line_color = None
        p.min_border_right = 26
        colour = {"field": "shade", "transform": self.mapper}
        rect = Rect(
            x="x",
            y="y",
            width=1,
            height=height,
            line_color=colour,  # so that no seams show between the cells
            line_width=1,
            fill_color=colour,
        )
        cells = style.draw(p, source, rect, style.MOVING)
        cells.name = "gain"
        for width, ring in ((6, style.INK["light"]), (2.5, "#ffffff")):
            mark = Scatter(
                x="x", y="y", size=17, fill_color=None, line_color=ring, line_width=width
            )
            style.draw(p, here, mark, style.MOVING)
        p.add_tools(
            HoverTool(
                renderers=[cells],
                tooltips=[("gain", "@shade{custom}"), *zip(names, ("@x", "@y"), strict=True)],
                formatters={"@shade": CustomJSHover(code=GAIN_OF_SHADE)},
                mode="mouse",
                attachment="horizontal",
            )
        )
        ticks = {float(np.arcsinh(log10 / LINEAR)): text for log10, text in TICKS.items()}
        p.add_layout(
            ColorBar(
                color_mapper=self.mapper,
                ticker=FixedTicker(ticks=list(ticks)),
                major_label_overrides=ticks,
                orientation="horizontal",
                height=10,
                padding=4,
                background_fill_alpha=0,
                major_label_policy=NoOverlap(min_distance=4),
                bar_line_color=None,
            ),
            "above",
        )
        across, up = (Column(heading, axis) for heading, axis in zip(names, "xy", strict=True))
        series = Series("composite", source, across, [up, log10("gain", "shade", LINEAR)])
        return described(p, title, series, kind="map", here=here, along=along)

    def mark(self, experiment: Experiment, state: Position) -> None:
        """Mark the present state, and where the projection does not exist.

        `state` has the depth and the iterations that the browser already shows.
        """
        spread, streams = experiment.spread, experiment.streams
        titles = (
            f"Composite gain (depth {{depth}}, n = {streams})",
            f"Composite gain (iterations {{iterations}}, spread {spread:g})",
        )
        for p, title in zip(self.figures, titles, strict=True):
            follows(p.title, "text", title, late=True).text = title.format(**state)
        for here, x, y in zip(self.here, ("iterations", "depth"), (spread, streams), strict=True):
            here.data = {"x": [state[x]], "y": [y]}
        chosen = PROJECTIONS[experiment.projection]
        self.leave_empty(
            [int(n) for n in STREAMS if not chosen.sizes.hold(int(n))],
            f"{chosen.title} takes {chosen.sizes.words} streams",
        )

    def set_type(self, large: bool) -> None:
        """Set the type of what `style.set_type` does not reach."""
        for p in self.figures:
            for bar in p.above:
                if isinstance(bar, ColorBar):
                    bar.major_label_text_font_size = "18px" if large else "12px"
        self.why_missing.text_font_size = "22px" if large else "15px"

    def colour(self, dark: bool) -> None:
        """Set the colours for a light or a dark page."""
        self.mapper.palette = palette(dark)
        self.why_missing.text_color = style.ink(dark)

    def update(self, over_spread: Floats, over_streams: Floats) -> None:
        """Follow new maps."""
        self.spread_table.data = _shades(over_spread)
        self.streams_table.data = _shades(over_streams)

    def leave_empty(self, streams: Sequence[int], why: str = "") -> None:
        """Hatch these numbers of streams and say why, where the most of them are in a row."""
        self.missing.data = {"streams": list(streams)}
        self.why_missing.visible = bool(streams)
        if streams:
            rows = np.split(streams, np.flatnonzero(np.diff(streams) > 1) + 1)
            self.why_missing.update(y=float(max(rows, key=len).mean()), text=why)


def _shades(column: Floats) -> dict[str, NDArray[np.float32]]:
    return {"shade": column.astype(np.float32)}


def _cell_at(
    clicked: Mapping[str, Sequence[Any]],
    across: tuple[str, Sequence[float]],
    up: tuple[str, Sequence[float]],
) -> dict[str, float]:
    """The parameters of a clicked cell; none beside the map, and for whatever else is sent."""
    cell = {}
    for axis, (name, values) in (("x", across), ("y", up)):
        sent = clicked.get(axis, ())
        if len(sent) != 1 or not isinstance(sent[0], int | float) or not math.isfinite(sent[0]):
            return {}
        index = round((sent[0] - values[0]) / (values[1] - values[0]))
        if not 0 <= index < len(values):
            return {}
        cell[name] = values[index]
    return cell

"""The signal, drawn: streams as lanes from left to right, a mixing matrix as the ribbons between.

HC is above, the projection below, with the same signal on the same scale.  Python gives what each
stream carries and the matrices' weights at every iteration count; `static/signal.js` turns the part
that is seen into lanes and ribbons, so that depth, dial and zoom move at the display's own rate.

A lane's height is how much its stream carries (see `lane_height`), colour and hatching its sign.  A
ribbon's width is the absolute weight, colour and dashes its sign.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from bokeh.core.properties import value
from bokeh.models import (
    Bezier,
    ColumnDataSource,
    CustomJS,
    HoverTool,
    NoOverlap,
    Quad,
    Range1d,
    Segment,
    Text,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.projections import PROJECTIONS
from ..numerics.signal import ENTERING
from . import style
from .contents import Column, Series, described, log10
from .slices import MAX_DEPTH, Position, label, sliced, table

SMALLEST, AT_ONE, LINEAR, MOST = 0.03, 0.26, 2.0, 16.0
"""Heights of lanes, as parts of what a stream has room for: the least; of 1; decades in which the
scale is about linear in the power of ten; the decades at which a lane fills its room."""

HEADING = 0.16
"""Room for the heading, as a part of that of all streams."""

MOST_RIBBONS = 1024
"""Ribbons in one half of the picture.  Twice as many take two frames to paint, and are not seen."""


def lane_height(log10: float) -> float:
    """The height of a lane that carries 10**log10, as a part of the room of a stream.

    >>> [round(lane_height(power), 2) for power in (-math.inf, -16, -1, 0, 1, 4, 16, 40)]
    [0, 0.03, 0.22, 0.26, 0.39, 0.64, 1.0, 1.0]
    """
    if log10 == -math.inf:
        return 0
    part = min(1.0, math.asinh(abs(log10) / LINEAR) / math.asinh(MOST / LINEAR))
    return AT_ONE + part * ((1 - AT_ONE) if log10 > 0 else (SMALLEST - AT_ONE))


def layers_with_ribbons(streams: int) -> int:
    """The most layers whose ribbons are drawn at once.

    >>> [layers_with_ribbons(n) for n in (1, 2, 4, 8, 16)]
    [128, 128, 64, 16, 4]
    """
    return min(MAX_DEPTH, MOST_RIBBONS // streams**2)


USUAL: dict[str, Any] = {"enters": "alike", "direction": "forward", "writes": False, "zoom": 64}
"""What the picture shows if nothing else is chosen: of `signal_surface`, and the layers seen."""

SHIPPED_WHOLE = 4
"""Up to this n the browser gets the weights of all layers; above, of those that it can draw."""


def at_depth(position: Position) -> bool:
    """Whether what is carried depends on how many layers there are."""
    return position["direction"] == "backward" or ENTERING[position["enters"]].at_depth


def layers_shipped(streams: int, position: Position) -> range:
    """The layers whose weights the browser gets, of `MAX_DEPTH`."""
    if streams <= SHIPPED_WHOLE:
        return range(1, MAX_DEPTH + 1)
    most = layers_with_ribbons(streams)
    last = most if position["direction"] == "backward" else max(most, position["depth"])
    return range(last - most + 1, last + 1)


ZOOMS = (4, 8, 16, 32, 64, 128)
"""Numbers of layers to choose from."""

Columns: TypeAlias = dict[str, NDArray[Any]]


def carried_columns(signal: xr.Dataset) -> Columns:
    """What the streams carry as table columns of width n, from `signal_surface`."""
    return {
        "log10": np.ascontiguousarray(signal["log10"].values.round(5) + 0.0, np.float32).ravel(),
        "sign": np.ascontiguousarray(signal["sign"].values).ravel(),
    }


def weight_columns(signal: xr.Dataset) -> Columns:
    """The matrices as table columns of width n^2, to three decimals.

    As thousandths they take half the room, unless some weight is too large for 16 bits.
    """
    thousandths = np.rint(1000 * signal["matrix"].values).ravel() + 0.0
    if np.abs(thousandths).max() <= np.iinfo(np.int16).max:
        return {"weight": thousandths.astype(np.int16)}
    return {"weight": (thousandths / 1000).astype(np.float32)}


LOOK = {
    "smallest": SMALLEST,
    "at_one": AT_ONE,
    "linear": LINEAR,
    "most": MOST,
    "positive": style.PLUS,
    "negative": style.MINUS,
    "hc": style.HC,
    "projected": style.PROJECTED,
    "most_ribbons": MOST_RIBBONS,
}
"""What `static/signal.js` needs to know of the scale and the colours."""


class SignalFigure:
    """The picture: two figures, HC and the projection, and the two tables that they are cut from.

    `signal` is a `signal_surface`; its layers may be fewer than its positions, and only those
    have ribbons.  `zoom` is how many layers are seen at once.
    """

    def __init__(self, signal: xr.Dataset, state: Position, zoom: int) -> None:
        self.carried, self.weights = table({}, [0], [1]), table({}, [0], [1])
        self.carried.name = "signal"  # by which the zoom finds it
        self.zoom = zoom
        self.streams = signal.sizes["stream"]
        self.x_range = Range1d(-0.5, zoom + 0.5)
        self.ink: list[Text] = []
        """Glyphs of which the background is the page."""
        self.figures: list[figure] = []
        self._below: list[Text] = []
        self.update(signal, carried_columns(signal), weight_columns(signal))
        self.figures = [self._half(state, at) for at in (0, None)]
        self._fit()

    def colour(self, dark: bool) -> None:
        """Set the colour of what stands on the page."""
        for text in self.ink:
            text.text_color = style.ink(dark)

    def update(self, signal: xr.Dataset, carried: Columns, weights: Columns) -> None:
        """Follow another signal; the browser draws it anew.

        `carried` and `weights` are its columns, which may be shared by many figures.
        """
        iterations, n = signal["iterations"].values, signal.sizes["stream"]
        if n != self.streams:
            self.streams = n
            self._fit()
        label(self.weights, iterations, signal["layer"].values, n * n)
        chosen = PROJECTIONS[signal.attrs["projection"]]
        shown = {
            "zoom": self.zoom,
            "enters_after": signal.attrs["at"] if signal.attrs["direction"] == "backward" else 0,
            "writes": signal.attrs["writes"],
            "projection": chosen.title,
            "short": chosen.short or chosen.title,
            "iterative": chosen.iterative,
            **LOOK,
        }
        label(self.carried, iterations, signal["position"].values, n, signal=shown)
        self.weights.data, self.carried.data = weights, carried

    def _fit(self) -> None:
        """Make room for as many streams as there are."""
        n = self.streams
        for p in self.figures:
            p.y_range.update(start=n - 0.3 + HEADING * n, end=-0.62 - HEADING * n)
            p.yaxis.ticker = list(range(n))
            p.yaxis.major_label_overrides = {
                k: f"stream {k + 1}" if n <= 8 else str(k + 1) for k in range(n)
            }
        for text in self._below:
            text.y = value(n - 0.3 + HEADING * n)

    def _half(self, state: Position, at: int | None) -> figure:
        hc = at == 0
        name = "hc" if hc else "projected"
        p = style.plot(
            f"signal-{name}",
            "",
            "",
            (0, 1),
            y_range=Range1d(),
        )
        p.min_height = 120
        p.x_range = self.x_range
        p.xaxis.visible = False
        p.grid.grid_line_color = None
        p.axis.axis_line_color = None
        p.yaxis.major_label_policy = NoOverlap()  # of many streams, in a low picture
        options: dict[str, Any] = {} if at is None else {"at": at}

        def cut(shape: str, source: ColumnDataSource, **columns: str) -> ColumnDataSource:
            found = sliced(
                source,
                "row",
                columns,
                state,
                shape=shape,
                figure=p,
                carried=self.carried,
                **options,
            )
            found.data = {name: [] for name in SHAPES[shape]}
            return found

        both = {"log10": "log10", "sign": "sign"}
        lanes = cut("lanes", self.carried, **both)
        ribbons = cut("ribbons", self.weights, weight="weight")
        front = cut("front", self.carried, **both)
        taps = cut("taps", self.carried)
        rails = cut("rails", self.carried)
        ticks = cut("ticks", self.carried)
        quiet = {"line_color": style.SHADE, "line_alpha": 0.35}
        style.draw(p, rails, Segment(x0="x0", x1="x1", y0="y", y1="y", **quiet), style.MOVING)
        curve = Bezier(
            **{end: end for end in ("x0", "y0", "x1", "y1", "cx0", "cy0", "cx1", "cy1")},
            line_width="width",
            line_color="colour",
            line_dash="dash",
            line_alpha=0.55,
        )
        bands = style.draw(p, ribbons, curve, style.MOVING)
        sides = {"left": "left", "right": "right"}
        lane = Quad(
            top="top",
            bottom="bottom",
            fill_color="colour",
            line_color=None,
            fill_alpha="alpha",
            **sides,
        )
        blocks = style.draw(p, lanes, lane, style.MOVING)
        hatched = Quad(
            top="top_negative",
            bottom="bottom_negative",
            fill_color=None,
            line_color=None,
            hatch_pattern="right_diagonal_line",
            hatch_color="#000000",
            hatch_alpha=0.5,
            hatch_weight=1.5,
            hatch_scale=8,
            **sides,
        )
        style.draw(p, lanes, hatched, style.MOVING)
        bus = Segment(
            x0="x0",
            x1="x1",
            y0="y0",
            y1="y1",
            line_color=style.IDENTITY,
            line_width=2,
            line_alpha="alpha",
        )
        style.draw(p, taps, bus, style.MOVING)
        box = Text(
            x="at",
            y="y1",
            text="text",
            text_align="center",
            text_baseline="middle",
            text_font_size="13px",
            text_font_style="italic",
        )
        box.name = "ink"
        style.draw(p, taps, box, style.MOVING)
        heading = Text(
            x="x",
            y=-0.6,
            text="text",
            text_font_size="15px",
            text_font_style="bold",
            text_color="colour",
        )
        named = cut("heading", self.carried)
        style.draw(p, named, heading, style.MOVING)
        number = Text(
            x="x", y="y", text="text", text_baseline="middle", text_font_size="13px", x_offset=5
        )
        number.name = "ink"
        style.draw(p, front, number, style.MOVING)
        layer = Text(
            x="x",
            text="text",
            text_align="center",
            text_baseline="bottom",
            text_font_size="12px",
            text_alpha=0.7,
        )
        layer.name = "ink"
        if not hc:
            style.draw(p, ticks, layer, style.MOVING)
            self._below.append(layer)
        self.ink += [box, number, layer]
        # How wide a ribbon is, and whether there is room for any, depends on the size.
        moved = CustomJS(
            args={"sources": [lanes, ribbons, front, rails, named, ticks, taps]},
            code="sources.forEach(mhc.cut)",
        )
        p.js_on_change("inner_width", moved)
        p.js_on_change("inner_height", moved)
        hover = {"mode": "mouse", "attachment": "horizontal"}
        p.add_tools(
            HoverTool(
                renderers=[blocks],
                tooltips=[("after layer", "@layer"), ("stream", "@stream"), ("carries", "@said")],
                **hover,
            ),
            HoverTool(
                renderers=[bands],
                tooltips=[("layer", "@layer"), ("from, to", "@from, @to"), ("weight", "@weight")],
                **hover,
            ),
        )
        streams = Series(
            "HC, unconstrained" if hc else "projection",
            lanes,
            Column("after layer", "layer"),
            [log10("size", "log10"), Column("stream", "stream"), Column("sign", "sign")],
        )
        return described(
            p,
            "Signal through HC" if hc else "Signal through the projection",
            streams,
            kind="streams",
            here=front,
        )


SHAPES: dict[str, tuple[str, ...]] = {
    "lanes": (
        "layer",
        "stream",
        "log10",
        "sign",
        "left",
        "right",
        "top",
        "bottom",
        "top_negative",
        "bottom_negative",
        "colour",
        "alpha",
        "said",
    ),
    "ribbons": (
        "layer",
        "from",
        "to",
        "weight",
        "x0",
        "y0",
        "x1",
        "y1",
        "cx0",
        "cy0",
        "cx1",
        "cy1",
        "width",
        "colour",
        "dash",
    ),
    "front": ("x", "y", "text", "said", "layer"),
    "rails": ("x0", "x1", "y"),
    "heading": ("x", "text", "colour"),
    "ticks": ("x", "text"),
    "taps": ("x0", "x1", "y0", "y1", "at", "text", "alpha"),
}
"""The columns that `static/signal.js` fills, for each shape."""

"""The look of every plot: colours that hold on light and dark, and axes of powers of ten.

Blue and vermilion are told apart by all common kinds of colour blindness, and never stand alone:
forward is solid and backward dashed, HC is labelled and so is the projection.  Both keep their
contrast on white and on near-black, so nothing is recoloured when the theme changes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJSTicker,
    CustomJSTickFormatter,
    FixedTicker,
    Glyph,
    GlyphRenderer,
    Range1d,
    Span,
    Text,
)
from bokeh.plotting import figure

HC = "#d9480f"
PROJECTED = "#1a7fc4"
IDENTITY = "#868e96"
THEORY = "#9c6ade"
UNIFORM = "#2f9e44"
DISAGREEMENT = "#e8a317"
SHADE = "#868e96"
POSITIVE, NEGATIVE = "#6cb4ec", "#f2925c"
"""The largest entries of a matrix: pale enough for dark text, in either theme."""
INK = {"light": "#16191d", "dark": "#e9ecef"}
"""Texts."""
ACCENT = {"light": "#1468a3", "dark": "#6cb8f0"}
"""The blue of the plots where it is text: no one blue reads on both grounds."""
FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def css() -> str:
    """Colours and font as variables, which the style sheets in `static/` use."""
    values = {
        "hc": HC,
        "projected": PROJECTED,
        "identity": IDENTITY,
        "theory": THEORY,
        "uniform": UNIFORM,
        "disagreement": DISAGREEMENT,
        "positive": POSITIVE,
        "negative": NEGATIVE,
        **{f"ink-{theme}": colour for theme, colour in INK.items()},
        **{f"accent-{theme}": colour for theme, colour in ACCENT.items()},
        "font": FONT,
    }
    return ":host, :root {" + "".join(f"--{name}: {value};" for name, value in values.items()) + "}"


MOVING = "overlay"
"""Level of whatever a slider moves: Bokeh paints it on a canvas of its own, so that a move does
not paint the axes, the grid and the still lines again, which takes more than half of a paint."""

DASH: dict[str, str | list[int]] = {"forward": "solid", "backward": [7, 4]}


def plot(
    name: str, x_label: str, y_label: str, x_range: tuple[float, float], **options: Any
) -> figure:
    """An empty plot that fills its container; ranges are fixed, so nothing jumps."""
    options.setdefault("y_range", Range1d(-1, 1))
    p = figure(
        name=name,
        x_range=Range1d(*x_range),
        sizing_mode="stretch_both",
        min_height=220,
        toolbar_location=None,
        tools="",
        min_border_left=BORDER,
        min_border_right=14,
        min_border_top=8,
        outline_line_color=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        **options,
    )
    p.xaxis.axis_label, p.yaxis.axis_label = x_label, y_label
    p.axis.minor_tick_line_color = None
    p.axis.major_tick_line_color = None
    p.xgrid.grid_line_color = None
    return p


BORDER, LARGE_BORDER = 62, 100
"""Pixels that the labels of a y axis take, at a desk and in a lecture hall."""


def set_type(p: figure, large: float) -> None:
    """Type for a reader at a desk (0), for the last row of a lecture hall (1), or larger yet."""
    p.axis.axis_label_text_font_size = _pixels(13, 22, large)
    p.axis.major_label_text_font_size = _pixels(12, 20, large)
    if p.title is not None:
        p.title.text_font_size = _pixels(13, 20, large)
    if p.min_border_left == BORDER or p.min_border_left >= LARGE_BORDER:  # else no such axis
        p.min_border_left = round(LARGE_BORDER * large) if large else BORDER
    for renderer in p.renderers:
        glyph = getattr(renderer, "glyph", None)
        if isinstance(glyph, Text):
            glyph.tags = glyph.tags or [glyph.text_font_size]  # as it was drawn
            size = int(glyph.tags[0].removesuffix("px"))
            glyph.text_font_size = _pixels(size, round(1.4 * size), large)


def _pixels(desk: int, hall: int, large: float) -> str:
    return f"{round(hall * large) if large else desk}px"


def ink(dark: bool) -> str:
    """The colour of texts inside a plot, which no theme reaches."""
    return INK["dark" if dark else "light"]


def identity_line() -> Span:
    """Gain 1: the plain residual stream, behind everything else."""
    return Span(location=0, dimension="width", line_color=IDENTITY, line_width=2, level="underlay")


def powers_of_ten(p: figure) -> None:
    """Label the y axis, which holds log10 values, with the numbers themselves."""
    p.yaxis.formatter = CustomJSTickFormatter(code="return mhc.tick(tick)")
    p.yaxis.ticker = BasicTicker(min_interval=1, desired_num_ticks=7)


def fit_ticks(p: figure) -> None:
    """Powers of ten, or 1, 2, 5, 10, ... where the y range is too narrow for them."""
    powers_of_ten(p)
    low, high = p.y_range.start, p.y_range.end
    if high - low < 2.5:
        exponents = range(math.floor(low), math.ceil(high))
        ticks = [math.log10(m) + e for e in exponents for m in (1, 2, 5)]
        p.yaxis.ticker = FixedTicker(ticks=ticks)


def live_ticks(p: figure) -> None:
    """Ticks of a logarithmic y axis whose range follows the data: never so close as to collide.

    Powers of ten, with 2 and 5 between where they are few, and equal steps within a factor of 4.
    Bokeh's own are equal steps up to a factor of 100, and run into one another at the top.
    """
    p.yaxis.ticker = CustomJSTicker(
        major_code="""
            const {start, end} = cb_data
            const decades = Math.log10(end / start)
            const ticks = []
            if (decades < 0.6) {
              const unit = 10 ** Math.floor(Math.log10((end - start) / 3))
              const step = [5, 2, 1].map((k) => k * unit).find((s) => (end - start) / s >= 2.5)
              for (let i = Math.ceil(start / step); i * step <= end; i++) ticks.push(i * step)
              return ticks
            }
            const between = decades < 2.5 ? [1, 2, 5] : [1]
            const stride = Math.ceil(decades / 7)
            for (let e = Math.floor(Math.log10(start)); e <= Math.log10(end); e++) {
              if (e % stride === 0) ticks.push(...between.map((m) => m * 10 ** e))
            }
            return ticks.filter((tick) => tick >= start && tick <= end)
        """
    )


def span_of(*values: Any, least: float = 1.0) -> tuple[float, float]:
    """A y range around finite log10 values, with air, and never narrower than +-`least`."""
    finite = [v[np.isfinite(v)] for v in (np.asarray(x, dtype=float) for x in values)]
    low = min([float(v.min()) for v in finite if v.size] + [-least])
    high = max([float(v.max()) for v in finite if v.size] + [least])
    air = 0.05 * (high - low)
    return low - air, high + air


def draw(p: figure, source: ColumnDataSource, glyph: Glyph, level: str = "glyph") -> GlyphRenderer:
    """Add one glyph.

    Not by `p.line(...)`, which makes three more copies of the glyph for selections that we do
    not have: half the models of a page, and half the time it takes to open.
    """
    return p.add_glyph(source, glyph, level=level, selection_glyph=None, nonselection_glyph=None)

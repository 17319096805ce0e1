"""The look of every plot: colours that hold on light and dark, and axes of powers of ten.

Blue and vermilion can be told apart with all common kinds of colour blindness, and colour is never
the only sign: forward is solid and backward dashed, and HC and the projection are labelled.  Both
colours keep their contrast on white and on near-black, so nothing is recoloured when the theme
changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.models import (
    ColumnDataSource,
    CustomJSTicker,
    CustomJSTickFormatter,
    Glyph,
    GlyphRenderer,
    Label,
    Range1d,
    Span,
    Text,
)
from bokeh.plotting import figure

HC = "#d9480f"
PROJECTED = "#1a7fc4"
IDENTITY = "#868e96"
THEORY = "#9c6ade"
OWN = "#2f9e44"
"""A model of the reader's own, which is neither."""
SHADE = "#868e96"
PLUS, MINUS = "#1b9e8f", "#b5489a"
"""Signs, wherever colour stands for them: never the colours of HC and the projection."""
OFF, EXACT = SHADE, "#d9a400"
"""Sums of rows and columns, off 1 and exactly 1: no method is meant, and the cells beside them have
the colours of signs."""
TINTS = {
    "light": ("#cb7fb8", "#fafafa", "#32a89a"),
    "dark": ("#943d7f", "#212427", "#186d63"),
}
"""A matrix's cells in each theme: its most negative entries, zero, its most positive ones.  They
are MINUS and PLUS, mixed with the page's background so that its text can be read on all of them."""
INK = {"light": "#16191d", "dark": "#e9ecef"}
"""The colour of text, in each theme."""
ACCENT = {"light": "#1468a3", "dark": "#6cb8f0"}
"""The blue of the plots for text: no single blue can be read on both backgrounds."""
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
"""Without Roboto, which a browser would load from the widget library for a few arrows."""


def css() -> str:
    """Colours and font as variables, which the style sheets in `static/` use."""
    values = {
        "hc": HC,
        "projected": PROJECTED,
        "identity": IDENTITY,
        "theory": THEORY,
        **{
            name: f"light-dark({TINTS['light'][k]}, {TINTS['dark'][k]})"
            for k, name in enumerate(("negative", "zero", "positive"))
        },
        "on-tint": f"light-dark({INK['light']}, {INK['dark']})",
        "plus": PLUS,
        "minus": MINUS,
        **{f"ink-{theme}": colour for theme, colour in INK.items()},
        **{f"accent-{theme}": colour for theme, colour in ACCENT.items()},
        "font": FONT,
    }
    return ":host, :root {" + "".join(f"--{name}: {value};" for name, value in values.items()) + "}"


MOVING = "overlay"
"""Render level of whatever a slider moves: Bokeh paints it on a separate canvas, so that a move
does not repaint the axes, the grid and the fixed lines, which is more than half of the work."""


@dataclass(frozen=True)
class Stroke:
    """How one line among several is drawn."""

    colour: str
    dash: tuple[int, ...] = ()
    width: float = 3
    """Lines often coincide: the narrower one lies on the wider one, and both are visible."""


_STROKES = (
    Stroke(PROJECTED, (), 5),
    Stroke("#4ba656", (7, 7), 2.5),
    Stroke("#7930f2", (3, 6), 3.5),
    Stroke("#735f4b", (8, 3, 2, 3), 3),
    Stroke("#bf7ca6", (4, 4), 3),
    Stroke("#7e6df2", (12, 3), 3),
)
"""Found by a search for colours that are far from each other and from HC's, also to readers who
lack one kind of cone, and that have a contrast of 3 on either background.  As Machado et al. (2009)
simulate them, no two are nearer than 20 in CIELAB without the cones for red or green, and 15
without those for blue; those before had 4."""


def stroke(k: int) -> Stroke:
    """The stroke of the k-th line of a family, so that a new line needs no entry here.

    The first six differ in both colour and dash; after that, colours return with another dash, so
    that 36 lines are all different.
    """
    count = len(_STROKES)
    of_colour, of_dash = _STROKES[k % count], _STROKES[(k + k // count) % count]
    return Stroke(of_colour.colour, of_dash.dash, of_dash.width)


@dataclass(frozen=True)
class Fill:
    """How one kind of area among several is filled: colour is never the only sign."""

    colour: str
    ink: str
    """The colour of text on it."""
    hatch: str = ""
    """"lines", "dots" or nothing."""


FILLS = (
    Fill("#4ba656", INK["light"]),
    Fill("#7930f2", "#ffffff"),
    Fill("#bf7ca6", INK["light"], "lines"),
    Fill("#735f4b", "#ffffff", "dots"),
)
"""Four of the colours of `_STROKES`, for areas."""

DASH: dict[str, str | list[int]] = {"forward": "solid", "backward": [7, 4]}


def plot(
    name: str, x_label: str, y_label: str, x_range: tuple[float, float], **options: Any
) -> figure:
    """An empty plot that fills its container; its ranges are fixed, so that nothing jumps."""
    options.setdefault("y_range", Range1d(-1, 1))
    p = figure(
        name=name,
        x_range=Range1d(*x_range),
        sizing_mode="stretch_both",
        min_height=140,
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
    set_type(p, 0)
    return p


BORDER, LARGE_BORDER = 62, 100
"""Width in pixels of the labels of a y axis, at a desk and in a lecture hall."""


def set_type(p: figure, large: float) -> None:
    """Set type for a reader at a desk (0), for the last row of a lecture hall (1), or larger; less
    than 1 on a projector of few pixels, where it is as large to the eye.
    """
    p.axis.axis_label_text_font_size = _pixels(13, 22, large)
    p.axis.major_label_text_font_size = _pixels(12, 20, large)
    if p.title is not None:
        p.title.text_font_size = _pixels(13, 20, large)
    if p.min_border_left >= BORDER:  # else the y axis has no labels
        p.min_border_left = round(LARGE_BORDER * large) if large else BORDER
    for why in p.center:
        if isinstance(why, Label):
            why.text_font_size = _pixels(15, 22, large)
    for renderer in p.renderers:
        glyph = getattr(renderer, "glyph", None)
        if isinstance(glyph, Text):
            glyph.tags = glyph.tags or [glyph.text_font_size]  # the size at a desk
            size = int(glyph.tags[0].removesuffix("px"))
            glyph.text_font_size = _pixels(size, round(1.4 * size), large)


def _pixels(desk: int, hall: int, large: float) -> str:
    # With a decimal, for Bokeh forgets what equals its default, and a theme would decide instead.
    return f"{round(hall * large) if large else desk}.0px"


def ink(dark: bool) -> str:
    """The colour of text inside a plot, which themes do not reach."""
    return INK["dark" if dark else "light"]


WHY_EMPTY = "#70777f"
"""The colour of what an empty plot says: it can be read in either theme."""


def why_empty(p: figure, text: str, x: float, y: float) -> Label:
    """What a plot that shows nothing says, around a point of it; hidden until something is so."""
    why = Label(
        x=x,
        y=y,
        text=text,
        text_align="center",
        text_baseline="middle",
        text_color=WHY_EMPTY,
        text_font=FONT,
        text_font_size="15px",
        visible=False,
    )
    p.add_layout(why)
    return why


def identity_line() -> Span:
    """Gain 1: the plain residual stream, behind everything else."""
    return Span(location=0, dimension="width", line_color=IDENTITY, line_width=2, level="underlay")


def powers_of_ten(p: figure) -> None:
    """Label the y axis, which holds log10 values, with the numbers themselves.

    They are powers of ten, or 1, 2, 5, 10, ... where the y range is too narrow for those.
    """
    p.yaxis.formatter = CustomJSTickFormatter(code="return mhc.tick(tick)")
    p.yaxis.ticker = CustomJSTicker(major_code="return mhc.ticks(cb_data.start, cb_data.end)")


def live_ticks(p: figure) -> None:
    """Ticks of a logarithmic y axis whose range follows the data, never so close that they collide.

    They are powers of ten, with 2 and 5 between where those are few, and equal steps within a
    factor of 4.  Bokeh's own are equal steps up to a factor of 100, and collide at the top.
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
    """A y range around the finite log10 values, with a margin, and at least +-`least`."""
    finite = [v[np.isfinite(v)] for v in (np.asarray(x, dtype=float) for x in values)]
    low = min([float(v.min()) for v in finite if v.size] + [-least])
    high = max([float(v.max()) for v in finite if v.size] + [least])
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def draw(p: figure, source: ColumnDataSource, glyph: Glyph, level: str = "glyph") -> GlyphRenderer:
    """Add one glyph.

    `p.line(...)` would make three more copies of the glyph, for selections that we do not have:
    half the models of a page, and half the time it takes to open.
    """
    if isinstance(glyph, Text):
        glyph.text_font = value(FONT)  # as all other text
    return p.add_glyph(source, glyph, level=level, selection_glyph=None, nonselection_glyph=None)

"""What the depth plots share: two networks in two directions, bands, and shading beyond the depth.

At 0 iterations the projected network is HC itself.  Drawn over HC in the colour of the projection,
it would look as if the projection exploded, so it is hidden there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    CustomJSHover,
    Glyph,
    GlyphRenderer,
    HoverTool,
    Line,
    Span,
    VArea,
)
from bokeh.plotting import figure

from ..numerics.gains import DIRECTIONS
from . import style
from .contents import Column, Series, medians
from .slices import Position, depth_ticks, follows

DEPTH_TICKS = depth_ticks(8)


def layer_ticks(last: int) -> list[int]:
    """1 and round numbers of layers, at most nine in all, where depth has no slider.

    >>> layer_ticks(60)
    [1, 10, 20, 30, 40, 50, 60]
    """
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, last) if last <= 8 * step)
    return sorted({1, *range(step, last + 1, step)})


@dataclass(frozen=True)
class Network:
    """One of the two networks that are compared, and how it is drawn."""

    name: str
    colour: str
    hover: str
    """The side of its hover text, so that the two never cover each other."""
    level: str
    """Its render level: HC stands still while the dial turns, the projected network moves."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of its slicing rules: HC is the table's row at iteration 0."""

    def draw(
        self, p: figure, source: ColumnDataSource, glyph: Glyph, state: Position, *, late: bool
    ) -> GlyphRenderer:
        """Add one glyph of this network; the projected network's is hidden at 0 iterations."""
        renderer = style.draw(p, source, glyph, self.level)
        if "at" not in self.options:
            follows(renderer, "visible", "?iterations", late=late)
            renderer.visible = state["iterations"] != 0
            renderer.syncable = False  # only the browser changes it; Python need not know
        return renderer


NETWORKS = (
    Network("HC", style.HC, "left", "glyph", {"at": 0}),
    Network("projected", style.PROJECTED, "right", style.MOVING),
)


def networks_and_directions(
    networks: Iterable[Network] = NETWORKS,
) -> Iterator[tuple[Network, str]]:
    """The lines of a plot in drawing order."""
    for network in networks:
        for direction in DIRECTIONS:
            yield network, direction


def depth_plot(
    name: str,
    x_label: str,
    y_label: str,
    last: int,
    state: Position,
    *,
    late: bool,
    along: str = "depth",
    **options: Any,
) -> figure:
    """An empty plot over 1..`last` layers, shaded beyond the layer at which a slider stands."""
    p = style.plot(name, x_label, y_label, (0, last + 1), **options)
    p.xaxis.ticker = DEPTH_TICKS if along == "depth" else layer_ticks(last)
    beyond = BoxAnnotation(
        left=state[along], fill_color=style.SHADE, fill_alpha=0.1, level=style.MOVING
    )
    p.add_layout(follows(beyond, "left", f"@{along}", late=late))
    return p


def curve_and_band(
    p: figure,
    source: ColumnDataSource,
    network: Network,
    direction: str,
    along: str,
    state: Position,
    *,
    late: bool,
) -> GlyphRenderer:
    """Draw the median of one direction as a line, named for the tests, and the band around it."""
    band = VArea(
        x=along,
        y1=f"{direction}_q05",
        y2=f"{direction}_q95",
        fill_color=network.colour,
        fill_alpha=0.1,
    )
    network.draw(p, source, band, state, late=late)
    line = Line(
        x=along,
        y=f"{direction}_median",
        line_color=network.colour,
        line_width=3,
        line_dash=style.DASH[direction],
    )
    renderer = network.draw(p, source, line, state, late=late)
    renderer.name = f"{network.name}, {direction}"
    return renderer


def curve_series(source: ColumnDataSource, network: Network, direction: str, x: Column) -> Series:
    """The description of what `curve_and_band` draws from a source."""
    return Series(
        f"{network.name}, {direction}",
        source,
        x,
        medians(*(f"{direction}_{name}" for name in ("median", "q05", "q95"))),
        band=True,
        colour=network.colour,
        dash=style.DASH[direction],
    )


def both_directions(series: tuple[str, ...] = ("median", "q05", "q95")) -> dict[str, str]:
    """Columns "forward_median", ... of a source that holds both directions of a network."""
    return {f"{d}_{name}": f"{d}.{name}" for d in DIRECTIONS for name in series}


BOTH = [
    ("forward", "@{forward_median}"),
    ("5–95 %", "@{forward_q05} … @{forward_q95}"),
    ("backward", "@{backward_median}"),
    ("5–95 %", "@{backward_q05} … @{backward_q95}"),
]
"""Hover texts of a source with `both_directions`."""


def gain_hover(
    p: figure,
    renderers: list[Any],
    fields: list[tuple[str, str]],
    mode: str = "vline",
    attachment: str = "horizontal",
) -> None:
    """Show exact values on hover; fields "@{...}" hold log10 gains, and are shown as gains."""
    gains = {name for _, text in fields for name in re.findall(r"@{\w+}", text)}
    p.add_tools(
        HoverTool(
            renderers=renderers,
            tooltips=[(label, re.sub(r"(@{\w+})", r"\1{custom}", text)) for label, text in fields],
            formatters=dict.fromkeys(gains, CustomJSHover(code="return mhc.exact(value)")),
            mode=mode,
            line_policy="nearest",
            attachment=attachment,
        )
    )


def chosen_iterations(state: Position) -> Span:
    """A mark on an axis of iterations at the position of the dial."""
    mark = Span(
        location=state["iterations"],
        dimension="height",
        line_color=style.SHADE,
        line_alpha=0.35,
        line_width=9,
        level=style.MOVING,
    )
    follows(mark, "location", "@iterations", late=True)
    return mark

"""What the depth plots share: two networks in two directions, bands, and the shaded rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bokeh.models import BoxAnnotation, CustomJSHover, HoverTool
from bokeh.plotting import figure

from . import style
from .slices import State, follows

DIRECTIONS = ("forward", "backward")
DEPTH_TICKS = [1, 16, 32, 48, 64, 80, 96, 112, 128]


@dataclass(frozen=True)
class Network:
    """One of the two that are compared, and how it is drawn."""

    name: str
    colour: str
    level: str
    """HC stands still while the dial turns; what is projected moves."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of its slicing rules: HC is the table's row at iteration 0."""


NETWORKS = (
    Network("HC", style.HC, "glyph", {"at": 0}),
    Network("projected", style.PROJECTED, style.MOVING),
)


def networks_and_directions() -> Iterator[tuple[Network, str]]:
    """The four lines of a plot, in the order in which they are drawn."""
    for network in NETWORKS:
        for direction in DIRECTIONS:
            yield network, direction


def depth_plot(
    name: str, x_label: str, y_label: str, last: int, state: State, *, late: bool, **options: Any
) -> figure:
    """An empty plot over 1..`last` layers, shaded beyond the chosen depth."""
    p = style.plot(name, x_label, y_label, (0, last + 1), **options)
    p.xaxis.ticker = DEPTH_TICKS
    beyond = BoxAnnotation(
        left=state["depth"], fill_color=style.SHADE, fill_alpha=0.1, level=style.MOVING
    )
    p.add_layout(follows(beyond, "left", "@depth", late=late))
    return p


def gain_hover(
    p: figure, renderers: list[Any], fields: list[tuple[str, str]], mode: str = "vline"
) -> None:
    """Exact values on hover; fields in "@{...}" hold log10 gains, and are shown as the gains."""
    exact = CustomJSHover(code="return mhc.exact(value)")
    gains = {name for _, name in fields if name.startswith("@{")}
    p.add_tools(
        HoverTool(
            renderers=renderers,
            tooltips=[
                (text, f"{name}{{custom}}" if name in gains else name) for text, name in fields
            ],
            formatters=dict.fromkeys(gains, exact),
            mode=mode,
            line_policy="nearest",
            attachment="horizontal",
        )
    )

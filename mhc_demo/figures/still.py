"""The composite gain as a still picture with two sentences, for a page whose scripts do not run.

Feed readers, search engines, strict Content-Security-Policies and broken connections all leave a
page without its scripts.  What they show is then this: plain SVG and text, written by hand, because
Bokeh draws in a browser alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..numerics.gains import DIRECTIONS
from ..numerics.numbers import in_html, tick
from ..numerics.projections import PROJECTIONS
from . import style
from .slices import Position

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 12, 40
"""Room around the frame: for ticks, the names of the lines, and the axis's title."""
MOST_TICKS = 6
FEW = 64
"""Layers up to which each is a point of a line."""
DASHES = {"forward": "", "backward": ' stroke-dasharray="7 4"'}


def still(surface: xr.Dataset, position: Position) -> str:
    """The median gains against depth at the position's iterations, as HTML with an SVG in it."""
    return (
        f'<figure class="mhc-still">{_svg(*_shown(surface, position))}<figcaption>'
        f"{told(surface, position)} This picture stands still; the page that moves needs "
        "JavaScript.</figcaption></figure>"
    )


def picture(surface: xr.Dataset, position: Position) -> str:
    """The same picture as an SVG file, with a ground of its own, for whatever shows it."""
    return _svg(*_shown(surface, position), head=FILE, ground=GROUND)


def told(surface: xr.Dataset, position: Position) -> str:
    """What the picture says, in two sentences of HTML."""
    gains = surface["log10_gain"].sel(series="median")
    depth, iterations = position["depth"], position["iterations"]
    chosen = PROJECTIONS[surface.attrs["projection"]]
    at = {t: float(gains.sel(iterations=t, depth=depth).max()) for t in (0, iterations)}
    count = "" if not chosen.iterative else f", {iterations} iteration{'s' * (iterations != 1)}"
    name = f"{chosen.title}{count}"
    projected = (
        f"; with {escape(name)}, at most <b>{in_html(at[iterations])}</b> times"
        if iterations or not chosen.iterative
        else ""
    )
    layers = f"{depth} layer{'s' * (depth != 1)}"
    return (
        f"A signal of size 1 enters. After {layers} of Hyper-Connections it can be "
        f"<b>{in_html(at[0])}</b> times as large{projected}."
    )


def _shown(surface: xr.Dataset, position: Position) -> tuple[xr.DataArray, int, int, str]:
    gains = surface["log10_gain"].sel(series="median")
    title = PROJECTIONS[surface.attrs["projection"]].title
    return gains, position["depth"], position["iterations"], title


def _svg(
    gains: xr.DataArray, depth: int, iterations: int, title: str, head: str = "", ground: str = ""
) -> str:
    depths = gains["depth"].values
    curves = []
    for colour, name, t in (
        (style.HC, "HC, unconstrained", 0),
        (style.PROJECTED, title, iterations),
    ):
        if colour == style.PROJECTED and t == 0 and iterations == 0:
            continue  # HC itself
        last = float(gains.sel(iterations=t, depth=depths[-1]).max())
        for direction in DIRECTIONS:
            line = gains.sel(iterations=t, direction=direction).values
            told = name if direction == DIRECTIONS[-1] else ""
            curves.append(Curve(line, colour, direction, told, last))
    return curves_svg(curves, depths, depth, "Depth (layers)", head, ground)


@dataclass(frozen=True)
class Curve:
    """A line of a still picture, and the name at its end."""

    values: NDArray[np.floating]
    """log10, one for each depth."""
    colour: str
    direction: str
    name: str = ""
    end: float = 0.0
    """How high its name stands."""


def curves_svg(
    curves: Sequence[Curve],
    depths: NDArray[np.integer],
    depth: int,
    axis: str,
    head: str = "",
    ground: str = "",
) -> str:
    """Gains against the layer, with a mark at the layer `depth`, as an SVG element."""
    low, high = style.span_of(*(each.values for each in curves))
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    every = 2 if len(depths) > FEW else 1

    def x(layer: float) -> float:
        return LEFT + (layer - depths[0]) / max(1, depths[-1] - depths[0]) * (right - LEFT)

    def y(log10: float) -> float:
        return floor - (log10 - low) / (high - low) * (floor - TOP)

    def drawn() -> Iterator[str]:
        for value in _ticks(low, high):
            at = f"{y(value):.1f}"
            yield f'<path d="M{LEFT} {at}H{right}" stroke="currentColor" opacity="0.15"/>'
            yield f'<text x="{LEFT - 8}" y="{at}" dy="0.35em" text-anchor="end">'
            yield f"{tick(value)}</text>"
        here = f"{x(depth):.1f}"
        yield f'<path d="M{here} {TOP}V{floor}" stroke="currentColor" opacity="0.3"/>'
        for each in curves:
            points = " ".join(
                f"{x(d):.0f},{y(v):.1f}"
                for d, v in zip(depths[::every], each.values[::every], strict=True)
                if np.isfinite(v)
            )
            yield (
                f'<polyline points="{points}" fill="none" stroke="{each.colour}" '
                f'stroke-width="2.5"{DASHES[each.direction]}/>'
            )
            if each.name:
                end = y(each.end) if math.isfinite(each.end) else floor
                yield (
                    f'<text x="{right + 8}" y="{end:.1f}" dy="0.35em" fill="{each.colour}">'
                    f"{escape(each.name)}</text>"
                )
        for layer in sorted({int(depths[0]), depth, int(depths[-1])}):
            yield f'<text x="{x(layer):.1f}" y="{floor + 16}" text-anchor="middle">{layer}</text>'
        yield (
            f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{axis}; '
            "forward solid, backward dashed</text>"
        )

    return (
        f'<svg{head} viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Composite Amax gain against depth" font-family="sans-serif" font-size="13" '
        f'fill="currentColor" style="max-width: 60em; width: 100%">{ground}{"".join(drawn())}</svg>'
    )


FILE = f' xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
GROUND = '<rect width="100%" height="100%" fill="#ffffff"/>'
"""What makes the element a file of its own, with a ground for whatever shows it."""


def _ticks(low: float, high: float) -> list[int]:
    """Whole powers of ten, few enough to be apart."""
    step = next(k for k in (1, 2, 5, 10, 20, 50, 100, 200) if (high - low) / k <= MOST_TICKS)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]

"""What a single layer does, and the paper's own axes."""

from __future__ import annotations

import numpy as np
import xarray as xr
from bokeh.models import BoxAnnotation, ColumnDataSource, Range1d

from . import style
from .composite import DIRECTIONS, GAIN
from .slices import State, follows, sliced


class LayersFigure:
    """Amax gain of each single layer: dots are the first network, lines the ensemble's median."""

    def __init__(self, surface: xr.Dataset, table: ColumnDataSource, state: State) -> None:
        layers = surface["depth"].values
        self.y_range = Range1d(*_layer_range(surface))
        p = style.plot(
            "layers",
            "Layer",
            "Amax gain of one layer",
            (0, float(layers[-1]) + 1),
            y_range=self.y_range,
        )
        style.one_two_five(p)
        p.xaxis.ticker = [1, 16, 32, 48, 64, 80, 96, 112, 128]
        p.add_layout(
            follows(
                BoxAnnotation(
                    left=state["depth"], fill_color=style.SHADE, fill_alpha=0.1, level="underlay"
                ),
                "left",
                "@depth",
                late=True,
            )
        )
        p.add_layout(style.identity_line())
        for colour, name, options in (
            (style.HC, "HC", {"at": 0}),
            (style.PROJECTED, "projected", {}),
        ):
            for direction in DIRECTIONS:
                columns = {q: f"{direction}.{q}" for q in ("member", "median", "q05", "q95")}
                source = sliced(table, "row", columns, state, late=True, **options)
                source.data["layer"] = layers
                p.varea("layer", "q05", "q95", source=source, color=colour, alpha=0.1)
                p.line(
                    "layer",
                    "median",
                    source=source,
                    color=colour,
                    width=2.5,
                    line_dash=style.DASH[direction],
                )
                dots = p.scatter(
                    "layer",
                    "member",
                    source=source,
                    size=7,
                    line_color=colour,
                    fill_color=colour if direction == "forward" else None,
                    marker="circle" if direction == "forward" else "diamond",
                )
                p.add_tools(
                    style.hover(
                        [dots],
                        [
                            (f"{name}, {direction}", "@member{custom}"),
                            ("median", "@median{custom}"),
                            ("layer", "@layer"),
                        ],
                        formatters={"@member": GAIN, "@median": GAIN},
                        mode="mouse",
                    )
                )
        self.figure = p

    def update(self, surface: xr.Dataset) -> None:
        """Follow a new surface."""
        self.y_range.update(**dict(zip(("start", "end"), _layer_range(surface), strict=True)))


def _layer_range(surface: xr.Dataset) -> tuple[float, float]:
    gains = surface["log10_layer_gain"].sel(series=["member", "q05", "q95"]).values
    return style.span_of(gains, least=0.35)


class LayerAxisFigure:
    """The paper's axes (Fig. 3b, 7b): gain against the layer index of one network of L layers.

    `table` holds the forward gains for every depth, of which the first L are cut; `backward`
    those of the product from the last layer down, which depend on L and come from the server.
    """

    def __init__(
        self,
        surface: xr.Dataset,
        table: ColumnDataSource,
        backward: ColumnDataSource,
        state: State,
    ) -> None:
        self.y_range = Range1d(*_axis_range(surface))
        last = float(surface["depth"].values[-1])
        p = style.plot(
            "layer-axis",
            "Layer index l",
            "Composite Amax gain",
            (0, last + 1),
            y_range=self.y_range,
        )
        style.powers_of_ten(p)
        p.xaxis.ticker = [1, 16, 32, 48, 64, 80, 96, 112, 128]
        p.add_layout(
            follows(
                BoxAnnotation(
                    left=state["depth"], fill_color=style.SHADE, fill_alpha=0.1, level="underlay"
                ),
                "left",
                "@depth",
                late=True,
            )
        )
        p.add_layout(style.identity_line())
        for colour, name, options in (
            (style.HC, "HC", {"at": 0}),
            (style.PROJECTED, "projected", {}),
        ):
            for direction, held in zip(DIRECTIONS, (table, backward), strict=True):
                columns = {q: f"{direction}.{q}" for q in ("median", "q05", "q95")}
                source = sliced(
                    held,
                    "row",
                    {"layer": "@depths", **columns},
                    state,
                    late=True,
                    cut=True,
                    **options,
                )
                p.varea("layer", "q05", "q95", source=source, color=colour, alpha=0.12)
                line = p.line(
                    "layer",
                    "median",
                    source=source,
                    color=colour,
                    width=3,
                    line_dash=style.DASH[direction],
                )
                p.add_tools(
                    style.hover(
                        [line],
                        [
                            (f"{name}, {direction}", "@median{custom}"),
                            ("5–95 %", "@q05{custom} … @q95{custom}"),
                            ("layer", "@layer"),
                        ],
                        formatters={"@median": GAIN, "@q05": GAIN, "@q95": GAIN},
                    )
                )
        self.figure = p

    def update(self, surface: xr.Dataset) -> None:
        """Follow a new surface."""
        self.y_range.update(**dict(zip(("start", "end"), _axis_range(surface), strict=True)))


def _axis_range(surface: xr.Dataset) -> tuple[float, float]:
    # A product of the last layers has the law of a product of the first ones, so the surface's
    # own range holds the backward gains too, but for the luck of one seed.
    low, high = style.span_of(surface["log10_gain"].sel(series=["q05", "q95"]).values)
    return float(np.floor(low)), float(np.ceil(high))

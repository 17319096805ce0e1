"""What a single layer does, and the paper's own axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import xarray as xr
from bokeh.models import ColumnDataSource, Scatter

from ..numerics.gains import DIRECTIONS
from . import scale, style
from .composite import gain_range
from .contents import Column, described, log10
from .curves import (
    NETWORKS,
    Network,
    both_directions,
    curve_and_band,
    curve_series,
    depth_plot,
    gain_hover,
    networks_and_directions,
)
from .slices import Position, follows, sliced


@dataclass(frozen=True)
class Told:
    """What a plot of gains against the layer is about, and how it is called."""

    name: str = "layers"
    label: str = "Amax gain of one layer"
    title: str = "Amax gain of each single layer"
    dots: str = "member"
    """The series that is drawn as dots,"""
    dots_are: str = "first network"
    """in words,"""
    here: str = "this layer"
    """and beside one of them."""
    along: str = "depth"
    """The slider of its layers."""
    where: str = ""
    """See `described`."""


class LayersFigure:
    """Amax gains against the layer: dots are the first network, lines the ensemble's median."""

    def __init__(
        self,
        gains: xr.DataArray,
        table: ColumnDataSource,
        state: Position,
        networks: Sequence[Network] = NETWORKS,
        told: Told | None = None,
    ) -> None:
        self.told = told = told or Told()
        layers = gains["layer"].values
        self.y_range = scale.gain_range(layer_range(gains, told.dots))
        p = depth_plot(
            *(told.name, "Layer", told.label, int(layers[-1]), state),
            late=True,
            along=told.along,
            y_range=self.y_range,
        )
        style.powers_of_ten(p)
        p.add_layout(style.identity_line())
        series = []
        for network in networks:
            columns = both_directions((told.dots, "median", "q05", "q95"))
            source = sliced(table, "row", columns, state, late=True, **network.options)
            source.data["layer"] = layers
            for direction in DIRECTIONS:
                curve_and_band(p, source, network, direction, "layer", state, late=True)
                forward = direction == "forward"
                dot = Scatter(
                    x="layer",
                    y=f"{direction}_{told.dots}",
                    size=7,
                    line_color=network.colour,
                    fill_color=network.colour if forward else None,
                    marker="circle" if forward else "diamond",
                )
                dots = network.draw(p, source, dot, state, late=True)
                fields = [
                    ("", f"{network.name}, {direction}"),
                    (told.here, f"@{{{direction}_{told.dots}}}"),
                    ("median", f"@{{{direction}_median}}"),
                    ("layer", "@layer"),
                ]
                gain_hover(p, [dots], fields, mode="mouse", attachment=network.hover)
                curve = curve_series(source, network, direction, Column("layer", "layer"))
                first = log10(told.dots_are, f"{direction}_{told.dots}")
                series.append(replace(curve, columns=[*curve.columns, first]))
        described(p, told.title, *series, along=told.along, where=told.where)
        self.figure = p

    def update(self, gains: xr.DataArray) -> None:
        """Follow new gains."""
        scale.set_full(self.y_range, layer_range(gains, self.told.dots))


def layer_range(gains: xr.DataArray, dots: str = "member") -> tuple[float, float]:
    """A y range that holds the gains of single layers at every iteration count."""
    return style.span_of(gains.sel(series=[dots, "q05", "q95"]).values, least=0.35)


ONE_LAYER = "A network of one layer is a point here, and no line:\nchoose a larger depth."


class LayerAxisFigure:
    """The paper's axes (Fig. 3b, 7b): gain against the layer index of one network of L layers.

    `table` holds the forward gains for every depth, of which the first L are shown; `backward`
    holds those of the product from the last layer down, which depend on L and come from the server.
    """

    def __init__(
        self,
        surface: xr.Dataset,
        table: ColumnDataSource,
        backward: ColumnDataSource,
        state: Position,
        networks: Sequence[Network] = NETWORKS,
    ) -> None:
        self.y_range = scale.gain_range(_axis_range(surface))
        p = depth_plot(
            "layer-axis",
            "Layer index l",
            "Composite Amax gain",
            int(surface["depth"].values[-1]),
            state,
            late=True,
            y_range=self.y_range,
        )
        style.powers_of_ten(p)
        p.add_layout(style.identity_line())
        series = []
        tables = dict(zip(DIRECTIONS, (table, backward), strict=True))
        for network, direction in networks_and_directions(networks):
            columns = {f"{direction}_{q}": f"{direction}.{q}" for q in ("median", "q05", "q95")}
            source = sliced(
                tables[direction],
                "row",
                {"layer": "@depths", **columns},
                state,
                late=True,
                cut=True,
                exact=direction == "backward",
                **network.options,
            )
            # The depth slider moves HC too, on these axes.
            moving = replace(network, level=style.MOVING)
            line = curve_and_band(p, source, moving, direction, "layer", state, late=True)
            fields = [
                ("", f"{network.name}, {direction}"),
                ("median", f"@{{{direction}_median}}"),
                ("5–95 %", f"@{{{direction}_q05}} … @{{{direction}_q95}}"),
                ("layer", "@layer"),
            ]
            side = "right" if direction == "forward" else "left"
            gain_hover(p, [line], fields, attachment=side)
            series.append(curve_series(source, network, direction, Column("layer", "layer")))
        self.one_layer = style.why_empty(p, ONE_LAYER, float(surface["depth"].values[-1]) / 2, 0)
        self.one_layer.visible = state["depth"] == 1
        follows(self.one_layer, "visible", "!depth", late=True)
        self._explain()
        title = "Composite Amax gain against the layer of one network"
        described(p, title, *series, along="depth")
        self.figure = p

    def update(self, surface: xr.Dataset) -> None:
        """Follow a new surface."""
        scale.set_full(self.y_range, _axis_range(surface))
        self._explain()

    def _explain(self) -> None:
        self.one_layer.y = (self.y_range.start + self.y_range.end) / 2


def _axis_range(surface: xr.Dataset) -> tuple[float, float]:
    # A product of the last layers has the same distribution as a product of the first, so the
    # surface's range fits the backward gains too, up to the luck of one seed: hence the margin.
    low, high = gain_range(surface)
    return math.floor(low), math.ceil(high)

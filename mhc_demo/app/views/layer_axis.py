"""The paper's axes: gain against the layer of one network."""

from __future__ import annotations

from typing import Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import LayerAxisFigure, words
from ...figures.slices import gain_columns, label, table
from ...numerics.surface import layer_axis_gains
from ..computing import Key, Position, device_of, experiment_of
from .base import View, html, lines_legend, note, plots, with_scale


class LayerAxisView(View):
    """The paper's axes: gain against the layer of one network."""

    name = "layer-axis"
    title = "Paper’s axes"
    group = "Gain"

    @staticmethod
    def compute(key: Key, position: Position) -> xr.DataArray:
        return layer_axis_gains(
            experiment_of(key), depth=position["depth"], direction="backward", device=device_of(key)
        )

    def build(self, data: xr.DataArray) -> Any:
        context = self.context
        self.backward = table({}, [0], [1])
        self._hold(data)
        self.plot = LayerAxisFigure(
            context.surface, context.table, self.backward, context.state.position()
        )
        self.legend = html("")
        return pn.Column(
            with_scale(context.state, self.legend),
            plots(self.plot.figure),
            note(words.LAYER_AXIS),
            sizing_mode="stretch_width",
            margin=0,
        )

    def _hold(self, data: xr.DataArray) -> None:
        label(self.backward, data["iterations"].values, data["layer"].values)
        self.backward.data = gain_columns(data)
        self.depth = data.sizes["layer"]

    def describe(self) -> None:
        self.legend.object = lines_legend(self.context.state)

    def figures(self) -> list[figure]:
        return [self.plot.figure]

    def update(self, data: xr.DataArray) -> None:
        self._hold(data)
        self.plot.update(self.context.surface)

    def holds(self, position: Position) -> bool:
        return self.depth == position["depth"]

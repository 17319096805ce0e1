"""The gains of the single layers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import HistogramFigure, LayersFigure, words
from ...figures.histogram import BINS, histogram_columns
from ...figures.slices import PLOTTED, gain_columns, table
from ...numerics.surface import layer_gains
from ..computing import Key, Position, device_of, experiment_of
from .base import View, html, lines_legend, note, paragraph, plots, with_scale


class LayersView(View):
    """Gains of the single layers."""

    name = "layers"
    title = "Single layers"
    group = "Gain"

    @staticmethod
    def compute(key: Key, position: Position) -> xr.DataArray:
        return _gains_of(key)

    def build(self, data: xr.DataArray) -> Any:
        self.table = table(
            gain_columns(data, ("member", *PLOTTED)),
            data["iterations"].values,
            data["layer"].values,
        )
        self.bars = table(histogram_columns(data), data["iterations"].values, range(1, BINS + 1))
        self.plot = LayersFigure(data, self.table, self.context.state.position())
        self.histogram = HistogramFigure(
            self.bars, self.context.state.position(), self.plot.y_range
        )
        self.legend = html("")
        self.note = note()
        self.gains = data
        return pn.Column(
            with_scale(self.context.state, self.legend),
            plots(self.plot.figure, self.histogram.figure, shares=(2, 1)),
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def describe(self) -> None:
        self.legend.object = lines_legend(self.context.state)
        self.note.object = paragraph(words.layers(self.gains))

    def figures(self) -> list[figure]:
        return [self.plot.figure, self.histogram.figure]

    def update(self, data: xr.DataArray) -> None:
        self.gains = data
        self.table.data = gain_columns(data, ("member", *PLOTTED))
        self.bars.data = histogram_columns(data)
        self.plot.update(data)


@lru_cache(maxsize=16)
def _gains_of(key: Key) -> xr.DataArray:
    return layer_gains(experiment_of(key), device=device_of(key))

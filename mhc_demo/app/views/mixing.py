"""What fades on the way: how alike the streams become."""

from __future__ import annotations

from typing import Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import MixingFigure, words
from ...figures.mixing import mixing_columns
from ...figures.slices import table
from ..computing import Key, Position, mixing_of
from .base import View, html, legend, note, plots


class MixingView(View):
    """How alike the streams become."""

    name = "mixing"
    title = "Mixing"
    group = "Mixing"

    @staticmethod
    def compute(key: Key, position: Position) -> xr.Dataset:
        return mixing_of(key)

    def build(self, data: xr.Dataset) -> Any:
        self.table = table(mixing_columns(data), data["iterations"].values, data["depth"].values)
        self.plot = MixingFigure(data, self.table, self.context.state.position())
        return pn.Column(
            html(legend(words.metrics())),
            plots(self.plot.figure, self.plot.effective),
            note(words.mixing()),
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        return [self.plot.figure, self.plot.effective]

    def update(self, data: xr.Dataset) -> None:
        self.table.data = mixing_columns(data)
        self.plot.update(data)

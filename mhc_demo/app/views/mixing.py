"""What fades on the way: how alike the streams become."""

from __future__ import annotations

from typing import Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import MixingFigure, words
from ...figures.mixing import mixing_columns, ratio_columns
from ...figures.slices import table
from ..computing import Key, Position, mixing_of
from .base import View, html, legend, note, paragraph, plots


class MixingView(View):
    """How alike the streams become."""

    name = "mixing"
    title = "Mixing"
    group = "Mixing"

    @staticmethod
    def compute(key: Key, position: Position) -> xr.Dataset:
        return mixing_of(key)

    def build(self, data: xr.Dataset) -> Any:
        axes = data["iterations"].values, data["depth"].values
        self.table = table(mixing_columns(data), *axes)
        self.ratios = table(ratio_columns(data), *axes)
        self.plot = MixingFigure(data, self.table, self.ratios, self.context.state.position())
        self.legend, self.note = html(""), note()
        self._tell(data)
        return pn.Column(
            self.legend,
            plots(*self.plot.figures),
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _tell(self, data: xr.Dataset) -> None:
        self.legend.object = legend(words.metrics(data))
        self.note.object = paragraph(words.mixing(self.context.state))

    def figures(self) -> list[figure]:
        return self.plot.figures

    def update(self, data: xr.Dataset) -> None:
        self.table.data = mixing_columns(data)
        self.ratios.data = ratio_columns(data)
        self.plot.update(data)
        self._tell(data)

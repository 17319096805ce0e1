"""The price of stability: how alike the streams become."""

from __future__ import annotations

from typing import Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import MixingFigure
from ...figures.mixing import mixing_columns
from ...figures.slices import State, table
from ...gains import METRICS
from .base import Key, View, html, legend, mixing_of, note, plots


class MixingView(View):
    """The price of stability."""

    name = "mixing"
    title = "Mixing"

    @staticmethod
    def compute(key: Key, seen: State) -> xr.Dataset:
        return mixing_of(key)

    def build(self, data: xr.Dataset) -> Any:
        self.table = table(mixing_columns(data), data["iterations"].values, data["depth"].values)
        self.plot = MixingFigure(data, self.table, self.explorer.state.seen())
        said = note(
            "The price of stability (the paper calls it mixing). A product of doubly "
            "stochastic matrices drifts towards the uniform matrix 1/n; a product that is "
            "stochastic in one direction only, towards equal rows or equal columns: the streams "
            "become alike. Shown for the projected composite of the first network; at 0 "
            "iterations, and for projections that bound nothing, there is nothing to show."
        )
        marks = legend(
            [
                ("projected", METRICS["second_singular_value"].title),
                ("uniform", METRICS["uniform_distance"].title),
                ("disagreement", METRICS["stream_disagreement"].title),
            ]
        )
        return pn.Column(
            html(marks),
            plots(self.plot.figure),
            said,
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        return [self.plot.figure]

    def update(self, data: xr.Dataset) -> None:
        self.table.data = mixing_columns(data)
        self.plot.update(data)

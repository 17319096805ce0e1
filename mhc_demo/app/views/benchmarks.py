"""What widening the stream bought a 27B model."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.plotting import figure

from ...figures.benchmarks import NOTE, benchmarks_figure
from .base import View, html, legend, note, plots


class BenchmarksView(View):
    """The paper's Table 4."""

    name = "benchmarks"
    title = "What it bought"
    group = "Real models"
    of_experiment = False

    def build(self, data: Any) -> Any:
        self.figure = benchmarks_figure()
        return pn.Column(
            html(legend([("identity", "residual network"), ("hc", "HC"), ("projected", "mHC")])),
            plots(self.figure),
            note(NOTE),
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        return [self.figure]

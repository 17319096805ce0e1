"""What widening the stream bought a 27B model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
from bokeh.plotting import figure

from ...figures.benchmarks import NOTE, benchmarks_figure, benchmarks_html
from .base import View, html, legend, note, paragraph, plots

if TYPE_CHECKING:
    from ..state import State


class BenchmarksView(View):
    """The paper's Table 4."""

    name = "benchmarks"
    title = "What it bought"
    group = "Real models"
    of_experiment = False

    @staticmethod
    def told(state: State) -> str:
        return benchmarks_html() + paragraph(NOTE)

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

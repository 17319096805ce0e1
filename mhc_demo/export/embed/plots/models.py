"""What the papers printed of models that were trained."""

from __future__ import annotations

from ....figures import figure8_html, words
from ....figures.benchmarks import NOTE, benchmarks_figure
from .base import Plot


class Figure8(Plot):
    """The matrices of a 27B model that the paper printed."""

    name = "figure8"
    view = "figure8"
    title = "27B model"
    group = "Real models"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        return figure8_html()


class Benchmarks(Plot):
    """What widening the stream bought a 27B model."""

    name = "benchmarks"
    view = "benchmarks"
    title = "What it bought"
    group = "Real models"
    of_experiment = False

    def build(self) -> None:
        self.figures = [benchmarks_figure()]

    def legend(self) -> list[words.Entry]:
        return [("identity", "residual network"), ("hc", "HC"), ("projected", "mHC")]

    def note(self, i: int) -> str:
        return NOTE

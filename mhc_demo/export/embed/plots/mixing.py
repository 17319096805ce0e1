"""The plots of how alike the streams become."""

from __future__ import annotations

from ....figures import MixingFigure, words
from ....figures.mixing import DRAWN, EFFECTIVE, STROKES, ratio_columns, ratio_theory
from ....figures.packed import PLAIN
from ....figures.slices import table
from ....numerics.surface import mixing_surface
from .base import PackedSource, Plot, together


class Mixing(Plot):
    """How alike the streams become."""

    name = "mixing"
    view = "mixing"
    title = "Mixing"
    group = "Mixing"

    def build(self) -> None:
        request = self.request
        limits = request.limits
        self.found = [mixing_surface(each, **limits, metrics=DRAWN) for each in request.experiments]
        first = self.found[0]
        axes = first["iterations"].values, first["depth"].values
        names = (*STROKES, EFFECTIVE)
        columns = [{name: each[name].values.ravel() for name in names} for each in self.found]
        source = self.pack(table({}, *axes), columns, *PLAIN)
        ratios = self.pack(table({}, *axes), [ratio_columns(each, float) for each in self.found])
        plot = MixingFigure(first, source, ratios, request.position)
        plot.fit(together(self.found))
        theory = [
            {k: v for k, v in ratio_theory(each).items() if k != "depth"} for each in self.found
        ]
        self.packed.append(PackedSource(plot.theory, theory))
        self.figures = plot.figures

    def legend(self) -> list[words.Entry]:
        return words.metrics(together(self.found))

    def note(self, i: int) -> str:
        return words.mixing(self.request.experiments[i], switch=self.request.switches)

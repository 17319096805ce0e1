"""The plot of the set that the projection maps into, at three streams, where it can be drawn."""

from __future__ import annotations

import numpy as np

from ....figures import polytope, words
from ....figures.packed import PLAIN
from ....figures.polytope import Network, PolytopeFigure
from .base import Plot


class Polytope(Plot):
    """The doubly stochastic 3 x 3 matrices as a set, and the ways into it.

    The logits cannot be dragged in a file: it has nothing that projects them.
    """

    name = "polytope"
    view = "polytope"
    title = "Birkhoff polytope"
    group = "Why it holds"
    share = 2

    def build(self) -> None:
        request = self.request
        experiment = request.experiments[0]
        drawn = {name: getattr(experiment, name) for name in ("init", "spread", "seed")}
        limits = {**request.limits, "depth": max(request.limits["depth"], request.layer)}
        network = Network(experiment.projection, **limits, **drawn)
        given = network.layer(request.layer)
        self.picture = PolytopeFigure(given, experiment.projection, request.position)
        walk = {name: np.asarray(c, float) for name, c in given["composites"].items()}
        self.pack(self.picture.composites, [walk] * len(request.experiments), *PLAIN)
        self.figures = [self.picture.figure]

    def legend(self) -> list[words.Entry]:
        return []

    def note(self, i: int) -> str:
        whose = f"Layer {self.request.layer} of the first network, drawn with three streams"
        return "<br>".join((polytope.HOW, *polytope.note_of(whose)))

    def html(self) -> str:
        controls, rows = '<div class="turning"></div>', '<div class="rows"></div>'
        return f"{controls}{super().html()}{rows}"

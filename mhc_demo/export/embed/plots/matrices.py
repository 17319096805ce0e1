"""The plots of the matrices themselves, and of Sinkhorn at work on one of them."""

from __future__ import annotations

import numpy as np

from ....figures import MatricesFigure, SinkhornFigure, sinkhorn, words
from ....figures.matrices import CALLED, matrix_columns
from ....figures.packed import ENTRIES
from ....figures.slices import table
from ....numerics.half_steps import half_steps
from ....numerics.mixing import sample_mixing
from ....numerics.projections import PROJECTIONS
from ....numerics.surface import member_matrices
from .base import Plot


class Matrices(Plot):
    """The matrices themselves, as far as the sliders reach."""

    name = "matrices"
    view = "matrices"
    title = "Matrices"
    group = "Matrices"
    square = True

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: matrices can be shown for one number of streams only")
        counts = {0, request.position["iterations"]}
        if "iterations" in request.controls:
            counts = set(range(request.limits["iterations"] + 1))
        moving = "depth" in request.controls
        depth = (request.limits if moving else request.position)["depth"]
        found = member_matrices(request.experiments[0], depth=depth, iterations=counts)
        found = found.isel(depth=slice(None) if moving else [-1])
        n = found.sizes["row"]
        source = table({}, found["iterations"].values, found["depth"].values, (n + 1) ** 2)
        columns = {name: np.asarray(c, float) for name, c in matrix_columns(found).items()}
        self.pack(source, [columns], *ENTRIES)
        self.figures = MatricesFigure(n, source, request.position).figures

    def legend(self) -> list[words.Entry]:
        return []

    def note(self, i: int) -> str:
        return words.MATRICES

    def html(self) -> str:
        # At 0 iterations HC alone: the projected heatmaps would be HC's again.
        of_hc = [each.name.endswith(f"-{CALLED[0]}") for each in self.figures]
        marks = ("plot" if hc else "plot of-projected" for hc in of_hc)
        return "".join(f'<div class="{mark}"></div>' for mark in marks)


class Sinkhorn(Plot):
    """One layer's matrix, half step by half step, with buttons and a slider of its own."""

    name = "sinkhorn"
    view = "sinkhorn"
    title = "Sinkhorn at work"
    group = "Matrices"

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: sinkhorn can be shown for one number of streams only")
        experiment = request.experiments[0]
        chosen = PROJECTIONS[experiment.projection]
        layers = sample_mixing(request.layer, **experiment.drawing(), logits=chosen.takes_logits)
        self.steps = half_steps(layers[0, -1], chosen.name)
        position = {**request.position, "step": 0}
        self.figures = SinkhornFigure(self.steps, f"Layer {request.layer}", position).figures

    def legend(self) -> list[words.Entry]:
        if not self.steps.attrs["iterative"]:
            return []
        return sinkhorn.legend(self.steps)

    def note(self, i: int) -> str:
        if not self.steps.attrs["iterative"]:
            return PROJECTIONS[self.steps.attrs["projection"]].account
        return f"{sinkhorn.convergence(self.steps)} {sinkhorn.SUMS}"

    def html(self) -> str:
        steps = '<div class="steps"></div>' if self.steps.attrs["iterative"] else ""
        return steps + super().html()

"""The matrices themselves, with their sums at their edges."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import MatricesFigure, words
from ...figures.matrices import PANELS, matrix_columns
from ...figures.slices import Position, label, table
from ...numerics.gains import METRICS
from ...numerics.projections import PROJECTIONS
from ...numerics.surface import member_matrices
from ..computing import Key, experiment_of, mixing_of
from .base import UNLIMITED, View, note, paragraph, plots

HEIGHT = "clamp(300px, 26vw, 460px)"
SHIPPED_WHOLE = 4
"""Up to this n all matrices travel to the browser (0.8 MB); above, those at hand."""


class MatricesView(View):
    """The matrices themselves."""

    name = "matrices"
    title = "Matrices"

    @staticmethod
    def compute(key: Key, seen: Position) -> tuple[xr.Dataset, xr.Dataset]:
        experiment = experiment_of(key)
        if experiment.streams <= SHIPPED_WHOLE:
            matrices = _matrices_of(key)
        else:
            iterations = {0, seen["iterations"]}
            matrices = member_matrices(experiment, depth=seen["depth"], iterations=iterations)
            matrices = matrices.isel(depth=[-1])
        return matrices, mixing_of(key)

    def build(self, data: tuple[xr.Dataset, xr.Dataset]) -> Any:
        self.streams = 0
        self.heatmaps: list[figure] = []
        self.table = table({}, [0], [1])
        self.plots = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.metrics = note()
        self.update(data)
        self.explorer.state.param.watch(
            lambda event: self.drawn.colour(event.new == "dark"), "theme"
        )
        return pn.Column(
            self.metrics, self.plots, note(words.MATRICES), sizing_mode="stretch_width", margin=0
        )

    def _hold(self, matrices: xr.Dataset) -> None:
        width = (matrices.sizes["row"] + 1) ** 2
        label(self.table, matrices["iterations"].values, matrices["depth"].values, width)
        self.table.data = matrix_columns(matrices)

    def _describe(self) -> None:
        state = self.explorer.state
        here = self.mixing.sel(iterations=state.iterations, depth=state.depth)
        if not PROJECTIONS[state.projection].bounded:
            text = "Nothing bounds this composite, so there is no mixing to measure."
        elif state.iterations == 0:
            text = "Mixing is measured on projected composites: turn the dial to 1 or more."
        else:
            # Three decimals: the rounding that is left at 1e-16 reads as zero.
            text = "Projected composite: " + " · ".join(
                f"{metric.title.lower()} <b>{float(here[name]):.3f}</b>"
                for name, metric in METRICS.items()
            )
        self.metrics.object = paragraph(text)

    def figures(self) -> list[figure]:
        return self.heatmaps

    def update(self, data: tuple[xr.Dataset, xr.Dataset]) -> None:
        matrices, self.mixing = data
        self._hold(matrices)
        self._describe()
        if self.streams != matrices.sizes["row"]:
            self.streams = matrices.sizes["row"]
            state = self.explorer.state
            self.drawn = MatricesFigure(
                self.streams, self.table, state.seen(), state.theme == "dark"
            )
            self.heatmaps = self.drawn.figures
            # Square is well; in a lecture as large as there is room.
            self.plots[:] = [plots(*self.heatmaps, height="var(--mhc-heatmap, " + HEIGHT + ")")]
            self._show_what_there_is()

    def _show_what_there_is(self) -> None:
        """At 0 iterations HC alone: the projected heatmaps would be HC's again."""
        (row,) = self.plots
        for place, (_, at, _) in zip(row, PANELS, strict=True):
            place.visible = at == 0 or self.explorer.state.iterations != 0

    def moved(self) -> bool:
        self._describe()
        self._show_what_there_is()
        state = self.explorer.state
        where = self.table.tags[0]
        held = state.depth in where["depths"] and state.iterations in where["iterations"]
        return not held


@lru_cache(maxsize=16)
def _matrices_of(key: Key) -> xr.Dataset:
    return member_matrices(experiment_of(key))

"""The matrices themselves, with their sums at their edges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import MatricesFigure, words
from ...figures.matrices import LEGIBLE, PANELS, matrix_columns
from ...figures.measures import measured_at, measures_html
from ...figures.slices import label, table
from ...numerics.metrics import Metric
from ...numerics.projections import PROJECTIONS
from ...numerics.surface import member_matrices
from ...story.glossary import term
from ..computing import Key, Position, experiment_of, mixing_of
from .base import UNLIMITED, View, html, note, plots

HEIGHT = "clamp(300px, 26vw, 460px)"
SHIPPED_WHOLE = 4
"""Up to this n the browser gets all matrices (0.8 MB); above, those of the present position."""


class MatricesView(View):
    """The matrices themselves."""

    name = "matrices"
    title = "Matrices"
    group = "Matrices"

    @staticmethod
    def compute(key: Key, position: Position) -> tuple[xr.Dataset, xr.Dataset]:
        experiment = experiment_of(key)
        if experiment.streams <= SHIPPED_WHOLE:
            matrices = _matrices_of(key)
        else:
            iterations = {0, position["iterations"]}
            matrices = member_matrices(experiment, depth=position["depth"], iterations=iterations)
            matrices = matrices.isel(depth=[-1])
        return matrices, mixing_of(key)

    def build(self, data: tuple[xr.Dataset, xr.Dataset]) -> Any:
        self.streams = 0
        self.table = table({}, [0], [1])
        self.plots = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.metrics = html("")
        # A lecture has room for the matrices alone.
        self.metrics.styles = {**UNLIMITED, "display": "var(--mhc-small, block)"}
        self._show(*data)
        # The metrics below: they are fewer at 0 iterations, and no matrix moves with them.
        return pn.Column(
            self.plots,
            note(words.MATRICES),
            self.metrics,
            note(words.MEASURES),
            sizing_mode="stretch_width",
            margin=0,
        )

    def _hold(self, matrices: xr.Dataset) -> None:
        width = (matrices.sizes["row"] + 1) ** 2
        label(self.table, matrices["iterations"].values, matrices["depth"].values, width)
        self.table.data = matrix_columns(matrices)

    def describe(self) -> None:
        state = self.context.state
        if not self.holds(state.position()):
            return  # they follow with their matrices
        bounded = PROJECTIONS[state.projection].bounded
        columns = measured_at(self.matrices, self.mixing, state.depth, state.iterations, bounded)
        self.metrics.object = measures_html(columns, _explained)

    def figures(self) -> list[figure]:
        return self.heatmaps.figures

    def update(self, data: tuple[xr.Dataset, xr.Dataset]) -> None:
        self._show(*data)

    def _show(self, matrices: xr.Dataset, mixing: xr.Dataset) -> None:
        self.matrices, self.mixing = matrices, mixing
        self._hold(matrices)
        if self.streams != matrices.sizes["row"]:
            self.streams = matrices.sizes["row"]
            state = self.context.state
            self.heatmaps = MatricesFigure(self.streams, self.table, state.position(), state.dark)
            # Square at a desk; in a lecture as large as there is room.
            height = f"var(--mhc-heatmap, {HEIGHT})"
            self.plots[:] = [_in_pairs(self.heatmaps.figures, height, self.streams)]

    def holds(self, position: Position) -> bool:
        held = self.table.tags[0]
        return position["depth"] in held["depths"] and position["iterations"] in held["iterations"]

    def recolour(self, dark: bool) -> None:
        self.heatmaps.colour(dark)


def _explained(metric: Metric) -> str:
    return term(metric.title, metric.title, metric.note)


def _in_pairs(figures: Sequence[figure], height: str, streams: int) -> pn.Row:
    """Heatmaps side by side, or two by two: one alone in a row would be twice as wide.

    They need so much width that the numbers in their cells can be read.
    """
    least = max(540, 2 * (50 + 33 * (streams + 1))) if streams <= LEGIBLE else 540
    pairs = [plots(*figures[k : k + 2], height=height) for k in range(0, len(figures), 2)]
    for pair, (_, at, _) in zip(pairs, PANELS[::2], strict=True):
        pair.styles = {**UNLIMITED, "flex": f"1 1 {least}px"}
        if at is None:
            # At 0 iterations HC alone: these would be HC's again.  The browser does that, for if
            # Python made the layout anew, a hand on the dial would lose it.
            pair.styles = {**pair.styles, "display": "var(--mhc-projected, flex)"}
    return pn.Row(
        *pairs,
        stylesheets=[":host { flex-wrap: wrap; }"],
        styles=UNLIMITED,
        sizing_mode="stretch_width",
        margin=0,
    )


@lru_cache(maxsize=16)
def _matrices_of(key: Key) -> xr.Dataset:
    return member_matrices(experiment_of(key))

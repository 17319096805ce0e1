"""Where a composite explodes, stays or vanishes: two maps around the present state."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.plotting import figure

from ...figures import PhaseFigure
from ...figures.phase import Maps, account, maps_of
from ...numerics.projections import PROJECTIONS
from ...numerics.surface import Experiment
from ..computing import Key, Position, experiment_of
from .base import View, note, paragraph, plots


class PhaseView(View):
    """Two maps of the composite gain around the present state."""

    name = "phase"
    title = "Phase map"
    group = "Compare"

    @staticmethod
    def compute(key: Key, position: Position) -> Maps:
        return maps_of(experiment_of(key))

    def build(self, data: Maps) -> Any:
        state = self.context.state
        self.maps = PhaseFigure(*data, state.position(), self._go, state.dark)
        state.param.watch(lambda event: self.maps.set_type(event.new), "present")
        self.note = note()
        self._mark()
        return pn.Column(
            plots(*self.maps.figures), self.note, sizing_mode="stretch_width", margin=0
        )

    def complete(self) -> None:
        self.maps.set_type(self.context.state.present)

    def _go(self, **cell: Any) -> None:
        """Go to the state of a cell that was clicked, if the projection exists there."""
        sizes = PROJECTIONS[self.context.state.projection].sizes
        if sizes.hold(cell.get("streams", 1)):
            self.context.state.param.update(**cell)

    def _mark(self) -> None:
        self.maps.mark(self._experiment(), self.context.state.position())

    def _experiment(self) -> Experiment:
        return Experiment(**self.context.state.values_of_experiment())

    def describe(self) -> None:
        self.note.object = paragraph(account(self._experiment(), "a click on a cell goes there"))

    def figures(self) -> list[figure]:
        return self.maps.figures

    def update(self, data: Maps) -> None:
        self.maps.update(*data)
        self._mark()

    def recolour(self, dark: bool) -> None:
        self.maps.colour(dark)

"""Where a composite explodes, stays or vanishes: two maps around the present state."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import panel as pn
from bokeh.plotting import figure
from numpy.typing import NDArray

from ...figures import PhaseFigure
from ...figures.phase import STREAMS, spread_column, streams_column
from ...numerics.comparison import phase_map
from ...numerics.projections import PROJECTIONS
from ..computing import Key, Position, experiment_of
from .base import View, note, paragraph, plots

MEMBERS = 3
"""Networks whose median a cell shows."""

WIDE = 8
"""Above that many streams the map over the spread shows the first network alone: one network of 16
streams takes as long as 16 networks of 4."""

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


class PhaseView(View):
    """Two maps of the composite gain around the present state."""

    name = "phase"
    title = "Phase map"
    group = "Compare"

    @staticmethod
    def compute(key: Key, position: Position) -> Maps:
        return _over_spread(_without(key, "spread")), _over_streams(_without(key, "streams"))

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
        """Mark the present state, and where the projection does not exist."""
        state = self.context.state
        chosen = PROJECTIONS[state.projection]
        self.maps.mark(state.spread, state.streams, state.position())
        self.maps.leave_empty(
            [int(n) for n in STREAMS if not chosen.sizes.hold(int(n))],
            f"{chosen.title} takes {chosen.sizes.words} streams",
        )

    def describe(self) -> None:
        state = self.context.state
        chosen = PROJECTIONS[state.projection]
        members = min(state.members, MEMBERS)
        median = (
            "the first network"
            if members == 1
            else f"the median of the first {members} networks"
            + (" (on the left, of the first alone)" if state.streams > WIDE else "")
        )
        whole = members == state.members and (members == 1 or state.streams <= WIDE)
        differs = (
            "the same as the headline"
            if whole
            else f"to be quick; the headline, that of all {state.members:,}, so the two can differ"
        )
        self.note.object = paragraph(
            "The composite gain, the larger of forward and backward as in the headline, of "
            f"<b>{chosen.title}</b> (HC at 0 iterations): over spread and iterations at n = "
            f"{state.streams}, and over streams and depth at spread {state.spread:g}. Grey is gain "
            "1, orange explodes, violet vanishes. Equal steps of colour are equal steps of the "
            "gain’s logarithm only near 1; further out they grow in proportion to it, so that 2 "
            "and 10¹⁰⁰ fit on one scale. The ring is the present state; a click on a cell goes "
            f"there. A cell shows {median} of seed {state.seed}, {differs}."
        )

    def figures(self) -> list[figure]:
        return self.maps.figures

    def update(self, data: Maps) -> None:
        self.maps.update(*data)
        self._mark()

    def recolour(self, dark: bool) -> None:
        self.maps.colour(dark)


def _without(key: Key, name: str) -> Key:
    """The key of a map, which depends neither on the parameter it runs over nor on the device."""
    values = {k: v for k, v in key if k not in (name, "device")}
    return tuple({**values, "members": min(values["members"], MEMBERS)}.items())


@lru_cache(maxsize=32)
def _over_spread(key: Key) -> NDArray[np.float32]:
    experiment = experiment_of(key)
    if experiment.streams > WIDE:
        experiment.members = 1
    return spread_column(phase_map(experiment, "spread"))


@lru_cache(maxsize=32)
def _over_streams(key: Key) -> NDArray[np.float32]:
    return streams_column(phase_map(experiment_of(key), "streams"))

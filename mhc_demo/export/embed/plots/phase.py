"""The plot of two maps around an experiment: where its composite explodes, holds or vanishes."""

from __future__ import annotations

from ....figures import PhaseFigure, words
from ....figures.phase import ITERATIONS, SPREADS, STREAMS, account, maps_of, shade_cells
from ....numerics.surface import MAX_DEPTH
from .base import Plot


class Phase(Plot):
    """Composite gain over spread and iterations, and over streams and depth.

    The maps are whole, wherever the sliders end.
    """

    name = "phase"
    view = "phase"
    title = "Phase map"
    group = "Compare"

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: phase can be shown for one number of streams only")
        experiment = request.experiments[0]
        over_spread, over_streams = maps_of(experiment)
        self.maps = PhaseFigure(over_spread, over_streams, request.position)
        self.maps.mark(experiment, request.position)
        # Neighbours along the depth differ least.
        rows = len(SPREADS) * len(ITERATIONS), len(STREAMS) * MAX_DEPTH
        tables = self.maps.spread_table, self.maps.streams_table
        for table, shades, row in zip(tables, (over_spread, over_streams), rows, strict=True):
            self.pack(table, [{"shade": shades}], shade_cells, row=row)
        self.figures = self.maps.figures

    def common(self) -> dict[str, str]:
        return {
            "phase-spread": self.maps.spread_table.id,
            "phase-streams": self.maps.streams_table.id,
        }

    def legend(self) -> list[words.Entry]:
        return []

    def note(self, i: int) -> str:
        said = "a click or a drag moves it to other iterations, or to another depth"
        return account(self.request.experiments[i], said)

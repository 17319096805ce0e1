"""The plot of a signal on its way through the streams, whose entering signal a site lets choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ....figures import SignalFigure, words
from ....figures.packed import PLAIN
from ....figures.signal import at_depth, carried_columns, layers_shipped
from ....figures.slices import Position
from ....numerics.signal import ENTERING, signal_surface
from .base import Choice, Plot


class Signal(Plot):
    """A signal on its way through the streams, HC above, the projection below."""

    name = "signal"
    view = "signal"
    title = "Signal"
    group = "Signal"
    choices = (
        Choice("enters", "What enters", {kind.title: name for name, kind in ENTERING.items()}),
        Choice(
            "direction", "Direction", {"Forward": "forward", "Backward: a gradient": "backward"}
        ),
        Choice("writes", "Layers write", {"No": False, "Yes": True}),
    )

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: signal can be shown for one number of streams only")
        chosen, experiment = request.signal, request.experiments[0]
        depth = request.limits["depth"]
        found = self._through(chosen)
        if not request.of_site:  # where the weights of all layers are a file of their own
            position = {**request.position, **chosen}
            shipped = layers_shipped(experiment.streams, position)
            found = found.sel(layer=[layer for layer in shipped if layer <= depth])
        self.picture = SignalFigure(found, request.position, min(chosen["zoom"], depth))
        self.pack(self.picture.carried, [carried_columns(found)])
        weights = {"weight": found["matrix"].values.round(3) + 0.0}
        self.pack(self.picture.weights, [weights], *PLAIN)
        self.figures = self.picture.figures

    @classmethod
    def takes(cls, chosen: Mapping[str, Any]) -> bool:
        return not (chosen["writes"] and chosen["direction"] == "backward")

    def _through(self, chosen: Position) -> xr.Dataset:
        request = self.request
        return signal_surface(
            request.experiments[0],
            entering=chosen["enters"],
            direction=chosen["direction"],
            writes=chosen["writes"],
            at=request.position["depth"],
            **request.limits,
        )

    def common(self) -> dict[str, str]:
        return {"weights": self.picture.weights.id, "carried": self.picture.carried.id}

    def another(self, signal: Position) -> tuple[Mapping[str, Any], list[Any], str]:
        """Another signal in the same picture: its columns, what is said of them, and the note."""
        found = self._through(signal)
        columns = carried_columns(found)
        self.picture.update(found, columns, {})
        return columns, self.picture.carried.tags, self._note(signal)

    def legend(self) -> list[words.Entry]:
        return words.signal()

    def note(self, i: int) -> str:
        return self._note(self.request.signal)

    def _note(self, signal: Position) -> str:
        request = self.request
        chosen = (signal["enters"], signal["direction"], signal["writes"])
        members = request.experiments[0].members
        said = words.entering(*chosen, members, switch=request.switches)
        if at_depth(signal):
            layers = request.position["depth"]
            said += f" Depth does not move here: this is held for {layers} layers alone."
        return said

    def html(self) -> str:
        plots = '<div class="plot"></div>' * len(self.figures)
        return f'<div class="halves">{plots}<div class="signal"></div></div>'

"""The signal on its way through the streams: the first view, which the others explain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import panel as pn
import param
import xarray as xr
from bokeh.plotting import figure

from ...figures import SignalFigure, words
from ...figures.signal import (
    USUAL,
    ZOOMS,
    Columns,
    at_depth,
    carried_columns,
    layers_shipped,
    weight_columns,
)
from ...numerics.signal import ENTERING, signal_surface
from ...numerics.surface import MAX_DEPTH
from ..components import SignalControls
from ..computing import Key, Position, experiment_of
from ..snippet import signal_snippet
from .base import View, html, legend, note, paragraph, plots

if TYPE_CHECKING:
    from ..state import State

SIGNAL_PARAMETERS = tuple(USUAL)
"""The page's parameters of the signal and of how it is looked at."""

WAYS = [["forward", "Forward"], ["backward", "Backward: a gradient"]]

HALF = (
    "calc(var(--mhc-half, 0.5) * "
    "clamp(var(--mhc-halves, 240px), calc(100vh - var(--mhc-rest, 500px)), 1600px))"
)
"""Height of a half.  In a lecture the room is divided among rows already (`static/story.js`)."""


@dataclass(frozen=True)
class Chosen:
    """What of the page's position the data depend on."""

    enters: str
    direction: str
    writes: bool
    at: int
    """The depth, if the signal depends on it."""
    layers: range
    """Those whose weights the browser gets."""

    @classmethod
    def of(cls, streams: int, position: Position) -> Chosen:
        """The choice at a position."""
        return cls(
            position["enters"],
            position["direction"],
            position["writes"] and position["direction"] == "forward",
            position["depth"] if at_depth(position) else MAX_DEPTH,
            layers_shipped(streams, position),
        )


@dataclass(frozen=True)
class Shown:
    """A signal, and the columns that browsers get of it."""

    chosen: Chosen
    signal: xr.Dataset
    carried: Columns
    weights: Columns


@lru_cache(maxsize=64)
def _shown(key: Key, chosen: Chosen) -> Shown:
    signal = signal_surface(
        experiment_of(key),
        entering=chosen.enters,
        direction=chosen.direction,
        writes=chosen.writes,
        at=chosen.at,
    ).sel(layer=list(chosen.layers))
    return Shown(chosen, signal, carried_columns(signal), weight_columns(signal))


def offered() -> dict[str, Any]:
    """What the view's controls offer, as `static/signal.js` takes it."""
    kinds = [[name, kind.title] for name, kind in ENTERING.items()]
    return {"enters": kinds, "direction": WAYS, "zooms": list(ZOOMS)}


class SignalView(View):
    """Streams as lanes, the mixing as ribbons between them."""

    name = "signal"
    title = "Signal"
    group = "Signal"
    parameters = SIGNAL_PARAMETERS

    @staticmethod
    def compute(key: Key, position: Position) -> Shown:
        irrelevant = ("members", "definition", "device")
        of_network = tuple(item for item in key if item[0] not in irrelevant)
        return _shown(of_network, Chosen.of(dict(key)["streams"], position))

    @staticmethod
    def snippet(state: State) -> str:
        return signal_snippet({**dict(state.key()), **state.position()})

    def build(self, data: Shown) -> Any:
        state = self.context.state
        self.data = data
        self.picture = SignalFigure(data.signal, state.position(), state.zoom)
        self.picture.colour(state.dark)
        self.controls = SignalControls(
            offered=offered(),
            sizing_mode="stretch_width",
            margin=0,
            **{name: getattr(state, name) for name in SIGNAL_PARAMETERS},
        )
        self.controls.param.watch(self._chosen, list(SIGNAL_PARAMETERS))
        state.param.watch(self._follow, list(SIGNAL_PARAMETERS))
        self.note = note()
        return pn.Column(
            html(legend(words.signal())),
            *(plots(each, height=HALF) for each in self.picture.figures),
            self.controls,
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _chosen(self, *events: param.parameterized.Event) -> None:
        state = self.context.state
        for event in events:
            try:
                setattr(state, event.name, event.new)
            except ValueError:  # a browser may send anything
                setattr(self.controls, event.name, event.old)

    def _follow(self, *events: param.parameterized.Event) -> None:
        self.picture.zoom = self.context.state.zoom
        self.controls.param.update(**{event.name: event.new for event in events})

    def figures(self) -> list[figure]:
        return self.picture.figures

    def update(self, data: Shown) -> None:
        self.data = data
        self.picture.update(data.signal, data.carried, data.weights)

    def holds(self, position: Position) -> bool:
        return self.data.chosen == Chosen.of(self.picture.streams, position)

    def describe(self) -> None:
        state = self.context.state
        said = words.entering(state.enters, state.direction, state.writes, state.members)
        self.note.object = paragraph(said)

    def recolour(self, dark: bool) -> None:
        self.picture.colour(dark)

"""The signal on its way through the streams: the first view, which the others explain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import panel as pn
import panel_material_ui as pmui
import xarray as xr
from bokeh.plotting import figure

from ...figures import SignalFigure, words
from ...figures.signal import (
    USUAL,
    Columns,
    at_depth,
    carried_columns,
    layers_shipped,
    weight_columns,
)
from ...numerics.signal import signal_surface
from ...numerics.surface import MAX_DEPTH
from ..computing import Key, Position, experiment_of
from .base import UNLIMITED, View, html, legend, note, paragraph, plots

SIGNAL_PARAMETERS = tuple(USUAL)
"""The page's parameters of the signal and of how it is looked at."""

HALF = "calc(0.5 * clamp(380px, calc(100vh - var(--mhc-rest, 500px)), 1600px))"

ZOOMS = (4, 8, 16, 32, 64, 128)


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

    def build(self, data: Shown) -> Any:
        self.plots = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.choices = pn.Row(
            stylesheets=[":host { flex-wrap: wrap; }"], sizing_mode="stretch_width", margin=(0, 4)
        )
        self.note = note()
        self.data = data
        self._draw()
        return pn.Column(
            html(legend(words.signal())),
            self.plots,
            self.choices,
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def complete(self) -> None:
        state = self.context.state
        small = {"size": "small", "margin": (6, 8), "width": 210}
        zoom = pmui.RadioButtonGroup(
            value=state.zoom,
            options={str(each): each for each in ZOOMS},
            size="small",
            margin=(10, 8),
            label="Layers seen",
        )
        zoom.jscallback(value="mhc.zoom(cb_obj.document, cb_obj.value)")
        zoom.param.watch(lambda event: setattr(state, "zoom", event.new), "value")
        self.choices[:] = [
            pmui.Select.from_param(state.param.enters, **small),
            pmui.Select.from_param(state.param.direction, **small),
            pmui.Switch.from_param(state.param.writes, margin=(10, 8)),
            zoom,
        ]

    def figures(self) -> list[figure]:
        return self.picture.figures

    def update(self, data: Shown) -> None:
        self.data = data
        if self.picture.streams == data.signal.sizes["stream"]:
            self.picture.update(data.signal, data.carried, data.weights)
        else:
            self._draw()

    def _draw(self) -> None:
        state = self.context.state
        self.picture = SignalFigure(self.data.signal, state.position(), state.zoom)
        self.picture.colour(state.theme == "dark")
        self.plots[:] = [plots(each, height=HALF) for each in self.picture.figures]

    def holds(self, position: Position) -> bool:
        return self.data.chosen == Chosen.of(self.picture.streams, position)

    def describe(self) -> None:
        state = self.context.state
        self.note.object = paragraph(words.entering(state.enters, state.direction, state.writes))

    def recolour(self, dark: bool) -> None:
        self.picture.colour(dark)

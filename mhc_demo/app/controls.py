"""The controls of whatever changes the matrices, made from the state's own declarations.

They are a view of their own, because building nine widgets would hold up the first plot: the
page adds them when that plot stands.
"""

from __future__ import annotations

import secrets
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from ..projections import PROJECTIONS
from .state import State


class Controls(pn.viewable.Viewer):
    """Sliders, selectors, seed, shuffle and reset for a `State`."""

    state = param.ClassSelector(class_=State, doc="What the controls change.")

    def __init__(self, state: State) -> None:
        super().__init__(state=state)
        p = state.param
        wide = {"sizing_mode": "stretch_width", "margin": (6, 12)}
        select = {"size": "small", **wide}
        self.streams = pmui.IntSlider.from_param(p.streams, **wide)
        seed = pmui.IntInput.from_param(
            p.seed,
            size="small",
            sizing_mode="stretch_width",
            margin=(6, 4, 6, 12),
            # The spin buttons have no names for a screen reader, and a seed needs none.
            sx={
                "& .MuiInputAdornment-root": {"display": "none"},
                "& input": {"paddingLeft": "14px"},
            },
        )
        shuffle = pmui.Button(
            label="Shuffle", icon="casino", variant="outlined", margin=(6, 12, 6, 4)
        )
        shuffle.on_click(lambda _: setattr(state, "seed", secrets.randbelow(10_000)))
        reset = pmui.Button(label="Reset", icon="restart_alt", variant="text", **wide)
        reset.on_click(lambda _: state.reset())
        widgets = [
            self.streams,
            pmui.FloatSlider.from_param(p.spread, format="0.0", **wide),
            pn.Row(seed, shuffle, sizing_mode="stretch_width", margin=0),
            pmui.Select.from_param(p.projection, **select),
            pmui.Select.from_param(p.init, **select),
            pmui.IntSlider.from_param(p.members, **wide),
            pmui.Select.from_param(p.definition, **select),
            reset,
        ]
        for widget in (seed, shuffle, *widgets):
            # Panel gathers changes for 50 ms, a third of what a change may take in all.  We
            # gather them ourselves: while a surface is computed, only the last wish counts.
            widget._debounce = 1
        self._layout = pn.Column(*widgets, sizing_mode="stretch_width", margin=(8, 0))
        state.param.watch(self._limit_streams, "projection")
        self._limit_streams()

    def _limit_streams(self, *_: Any) -> None:
        end = self.state.param.streams.bounds[1]
        self.streams.end = min(PROJECTIONS[self.state.projection].max_streams or end, end)

    def __panel__(self) -> Any:
        return self._layout

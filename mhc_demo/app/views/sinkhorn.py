"""Sinkhorn at work: one matrix, half step by half step, at the reader's pace.

The matrix is that of a layer of the first network, or one of the reader's own.  All of its steps
are computed here, which takes two milliseconds, and the browser moves between them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import panel as pn
import param
import xarray as xr
from bokeh.plotting import figure
from numpy.typing import NDArray
from panel.custom import JSComponent

from ...figures.sinkhorn import SUMS, SinkhornFigure, convergence, legend, shape_of
from ...numerics.half_steps import half_steps
from ...numerics.mixing import sample_mixing
from ...numerics.numbers import entry
from ...numerics.projections import PROJECTIONS
from ...numerics.surface import MAX_DEPTH, drawn_by
from .._panel import hold, prompt
from ..computing import Key, Position
from ..fields import typed
from ..own_numbers import TakesNumbers
from ..static import CSS
from ..values import written
from .base import NOT_PRINTED, UNLIMITED, View, html, note, paragraph, plots
from .base import legend as legend_of

if TYPE_CHECKING:
    from ..state import State as PageState

WORK_PARAMETERS = ("layer", "step", "own")
"""The page's parameters of the matrix at work."""

HEIGHT = "clamp(240px, calc(100vh - var(--mhc-rest, 500px) - 90px), max(300px, 27vw))"
"""Of the plots: what the controls and what stands above them leave of the window."""

Layers: TypeAlias = tuple[str, NDArray[np.float64]]
"""The projection's name, and what it takes from each layer of the first network, (layer, n, n)."""


@prompt
class Stepper(JSComponent):
    """The steps of the table "half-steps": see `static/sinkhorn.js`."""

    value = param.Integer(doc="Present step; Python hears of moves at most ten times a second.")

    _esm = """
    export function render({model, el, view}) {
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      mhc.move(doc, "step", model.value)
      const stop = mhc.stepper(host, doc, {tell: (value) => { model.value = value }})
      model.on("value", () => mhc.move(doc, "step", model.value))
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


class SinkhornView(TakesNumbers, View):
    """One matrix on its way to doubly stochastic."""

    name = "sinkhorn"
    title = "Sinkhorn at work"
    group = "Matrices"
    parameters = WORK_PARAMETERS

    @staticmethod
    def compute(key: Key, position: Position) -> Layers:
        needed = (*drawn_by(dict(key)["init"]), "projection")
        return _layers_of(tuple(item for item in key if item[0] in needed))

    @staticmethod
    def snippet(state: PageState) -> str:
        if state.own:
            given = f"Z = np.reshape({state.own}, (-1, {math.isqrt(len(state.own))}))"
        else:
            values = ", ".join(f"{name}={value!r}" for name, value in state.drawing().items())
            logits = PROJECTIONS[state.projection].takes_logits
            drawn = f"mhc.sample_mixing({state.layer}, {values}, logits={logits})"
            given = f"Z = {drawn}[0, -1]  # layer {state.layer}"
        return SNIPPET.format(given=given, projection=state.projection)

    def build(self, data: Layers) -> Any:
        state = self.context.state
        self.projection, self.layers = data
        self.work: SinkhornFigure | None = None
        self.layer = typed(
            state,
            "layer",
            description="",
            width=140,
            margin=(12, 14, 4, 14),
            stylesheets=[NOT_PRINTED],
        )
        self.controls = pn.Row(
            stylesheets=[":host { flex-wrap: wrap; }"],
            styles=UNLIMITED,
            sizing_mode="stretch_width",
            margin=0,
        )
        self.plots = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.sentence, self.legend, self.note = note(), html(""), note()
        self.own = self.own_numbers()
        state.param.watch(self._other_matrix, ["layer", "own"])
        self._show()
        return pn.Column(
            self.controls,
            self.sentence,
            self.plots,
            self.legend,
            self.note,
            self.own,
            sizing_mode="stretch_width",
            margin=0,
        )

    def update(self, data: Layers) -> None:
        self.projection, self.layers = data
        self._show()

    def figures(self) -> list[figure]:
        return self.work.figures if self.work else []

    def recolour(self, dark: bool) -> None:
        if self.work:
            self.work.colour(dark)

    def recut(self) -> None:
        """As every view's; the steps of a hidden view go on in the browser alone."""
        self._recut({**self.context.state.position(), "step": self._step()})

    def set_type(self) -> None:
        super().set_type()
        self.layer.visible = self.own.visible = not self.context.state.present

    # ---- the matrix --------------------------------------------------------------------------

    def _other_matrix(self, *_: Any) -> None:
        with hold():
            self._show()
            self.describe()
            super().set_type()

    def _logits(self) -> NDArray[np.float64]:
        state = self.context.state
        if state.own:
            return np.reshape(state.own, (math.isqrt(len(state.own)), -1)).astype(float)
        return self.layers[state.layer - 1]

    def _step(self) -> int:
        last = self.steps.sizes["step"] - 1 if self.steps is not None else 0
        return min(self.context.state.step, last)

    def _show(self) -> None:
        state = self.context.state
        logits = self._logits()
        self.steps: xr.Dataset | None = None
        try:
            self.steps = steps_of(logits.tobytes(), len(logits), self.projection)
            self.failure = ""
        except ValueError:  # of numbers that this projection cannot take
            sizes = PROJECTIONS[self.projection].sizes
            self.failure = (
                f"it takes {sizes.words} streams."
                if not sizes.hold(len(logits))
                else "the numbers are too large for it."
            )
        self.own.param.update(
            cells=[entry(x) if not state.own else written(float(x)) for x in logits.ravel()],
            in_use=bool(state.own),
            error="",
            cell=-1,
        )
        name = "Own numbers" if state.own else f"Layer {state.layer}"
        position = {**state.position(), "step": self._step()}
        if self.steps is None:
            self.plots[:] = []
            self.controls[:] = [self.layer]
        elif self.work and self.plots.objects and self.work.shape == shape_of(self.steps):
            self.work.update(self.steps, name, position)
        else:
            dark = state.dark
            self.work = SinkhornFigure(self.steps, name, position, dark, self.work)
            self.plots[:] = [plots(*self.work.figures, height=HEIGHT)]
            self.controls[:] = [*([self._stepper()] if self.work.error else []), self.layer]

    def _stepper(self) -> Stepper:
        state = self.context.state
        stepper = Stepper(
            value=state.param.step,
            tags=[self.work.table] if self.work else [],
            sizing_mode="stretch_width",
            styles={"flex": "1 1 500px"},
            margin=(2, 14),
        )
        low, high = state.param.step.bounds
        stepper.param.watch(
            lambda event: setattr(state, "step", min(max(event.new, low), high)), "value"
        )
        return stepper

    # ---- words -------------------------------------------------------------------------------

    def describe(self) -> None:
        state = self.context.state
        chosen = PROJECTIONS[self.projection]
        own = bool(state.own)
        self.layer.disabled = own
        whose = "Your own numbers" if own else f"Layer {state.layer} of the first network"
        if self.steps is None:
            self.sentence.object = paragraph(f"<b>{chosen.title}</b>: {self.failure}")
            self.legend.object = self.note.object = ""
            return
        if not chosen.iterative:
            self.sentence.object = paragraph(
                f"<b>{chosen.title}</b> does not iterate: it turns the matrix before into the "
                "matrix after in one step."
            )
            self.legend.object = ""
            self.note.object = paragraph(f"{whose}. {chosen.account}")
            return
        self.sentence.object = ""
        self.legend.object = legend_of(legend(self.steps, state.iterations))
        self.note.object = paragraph(f"{whose}, {chosen.title}. {convergence(self.steps)} {SUMS}")


SNIPPET = """\
import mhc_demo as mhc
import numpy as np

{given}
steps = mhc.half_steps(Z, {projection!r})
for step in steps["step"].values:
    here = steps.sel(step=step)
    rows, columns = (here[f"{{what}}_sum"].values for what in ("row", "column"))
    print(step, here["name"].item(), f"10^{{here['power'].item():g}} times", rows, columns)
"""


@lru_cache(maxsize=32)
def _layers_of(key: Key) -> Layers:
    values = dict(key)
    name = values.pop("projection")
    logits = PROJECTIONS[name].takes_logits
    return name, sample_mixing(depth=MAX_DEPTH, members=1, logits=logits, **values)[0]


@lru_cache(maxsize=128)
def steps_of(logits: bytes, n: int, projection: str) -> xr.Dataset:
    """The half steps of a matrix, shared by all visitors who look at it."""
    return half_steps(np.frombuffer(logits).reshape(n, n), projection)

"""The Birkhoff polytope: where the logits of one matrix start, and where projections take them.

The picture is of 3 x 3 matrices whatever the page's number of streams, for they alone have so few
dimensions that they can be drawn whole.  All positions are computed here; the browser moves the
dial, the depth and the turn.  Only a drag on the logits comes back: it needs other matrices.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import panel as pn
import param
from bokeh.plotting import figure
from numpy.typing import NDArray
from panel.custom import JSComponent

from ...figures.polytope import HOW, Network, PolytopeFigure, distances, note_of
from ...numerics.birkhoff import SIZE, logits_at
from ...numerics.numbers import entry
from ...numerics.projections import PROJECTIONS
from .._panel import hold, prompt
from ..computing import Key, Position
from ..fields import typed
from ..own_numbers import TakesNumbers, WrongCellError
from ..static import CSS, FLOOR_CSS
from ..values import DIGITS, LARGEST_ENTRY, written
from .base import NOT_PRINTED, UNLIMITED, View, note, paragraph, plots

if TYPE_CHECKING:
    from ..state import State as PageState

POLYTOPE_PARAMETERS = ("turn", "walk")
"""The page's parameters of how the polytope is looked at."""

OF_MATRIX = ("init", "spread", "seed", "projection")
"""The parameters that the network of the picture depends on."""


@prompt
class FloorControls(JSComponent):
    """The slider that turns the polytope, and the drag on it: see `static/polytope.js`."""

    value = param.Integer(doc="Degrees; Python hears of moves at most ten times a second.")
    walk = param.Integer(doc="0 for one matrix, 1 for a network.")
    dragged = param.List(doc="[x, y]: where on the turned floor the logits are to start.")

    _esm = """
    export function render({model, el, view}) {
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      const follow = () => { mhc.move(doc, "turn", model.value); mhc.move(doc, "walk", model.walk) }
      follow()
      const stop = mhc.floor_controls(host, doc, {
        tell: (value) => { model.value = value },
        walk: (value) => { model.walk = value },
        drag: (x, y) => { model.dragged = [x, y] },
      })
      for (const name of ["value", "walk"]) model.on(name, follow)
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS, FLOOR_CSS]


class FloorTable(JSComponent):
    """Every projection with its distance from the set: see `mhc.floor_table`."""

    chosen = param.String(doc="The projection of the page; the browser sets it.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const stop = mhc.floor_table(host, view.model.document, (name) => { model.chosen = name })
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS, FLOOR_CSS]


@lru_cache(maxsize=32)
def _network_of(key: Key) -> Network:
    return Network(**dict(key))


class PolytopeView(TakesNumbers, View):
    """The doubly stochastic matrices as a set, and the ways into it."""

    name = "polytope"
    title = "Birkhoff polytope"
    group = "Why it holds"
    parameters = POLYTOPE_PARAMETERS

    @staticmethod
    def compute(key: Key, position: Position) -> Network:
        return _network_of(tuple(item for item in key if item[0] in OF_MATRIX))

    @staticmethod
    def told(state: PageState) -> str:
        given = {name: getattr(state, name) for name in OF_MATRIX}
        own = np.reshape(state.own, (SIZE, SIZE)) if len(state.own) == SIZE**2 else None
        found = _network_of(tuple(given.items())).layer(state.layer, own)
        said = distances(found, state.iterations)
        return "".join(map(paragraph, (said, *note_of(_whose(state)))))

    @staticmethod
    def snippet(state: PageState) -> str:
        return SNIPPET.format(given=_given(state), projection=state.projection)

    def build(self, data: Network) -> Any:
        state = self.context.state
        self.network = data
        self.layer = typed(
            state,
            "layer",
            description="",
            width=140,
            margin=(12, 14, 4, 14),
            stylesheets=[NOT_PRINTED],
        )
        self.picture = PolytopeFigure(
            self._shown(),
            data.projection,
            state.position(),
            state.dark,
        )
        self.controls = FloorControls(
            value=state.param.turn,
            walk=int(state.walk),
            sizing_mode="stretch_width",
            margin=(2, 14),
        )
        self.controls.param.watch(self._turned, "value")
        self.controls.param.watch(self._walked, "walk")
        state.param.watch(lambda event: setattr(self.controls, "walk", int(event.new)), "walk")
        self.controls.param.watch(self._dragged, "dragged")
        self.table = FloorTable(
            chosen=state.param.projection,
            sizing_mode="stretch_width",
            styles={"flex": "1 1 360px", "min-width": "0", "display": "var(--mhc-more, block)"},
            margin=0,
        )
        self.table.param.watch(self._chosen, "chosen")
        self.own = self.own_numbers(styles={"flex": "1 1 400px"})
        self._fill_cells()
        state.param.watch(self._other_matrix, ["layer", "own"])
        self.note, self.how = note(), note(HOW)
        left = pn.Column(
            self.how,
            plots(self.picture.figure),
            self.controls,
            sizing_mode="stretch_width",
            styles={**UNLIMITED, "flex": "4 1 560px", "min-width": "0"},
            margin=0,
        )
        wrapped = {"stylesheets": [":host { flex-wrap: wrap; align-items: flex-start; }"]}
        row = {"styles": UNLIMITED, "sizing_mode": "stretch_width", "margin": 0, **wrapped}
        return pn.Column(
            pn.Row(left, self.table, **row),
            self.note,
            pn.Row(self.layer, self.own, **row),
            sizing_mode="stretch_width",
            margin=0,
        )

    def update(self, data: Network) -> None:
        self.network = data
        self._show()

    def figures(self) -> list[figure]:
        return [self.picture.figure]

    def recolour(self, dark: bool) -> None:
        self.picture.colour(dark)

    def set_type(self) -> None:
        super().set_type()
        self.layer.visible = self.own.visible = not self.context.state.present

    def describe(self) -> None:
        state = self.context.state
        self.layer.disabled = self._own() is not None
        self.note.object = "".join(map(paragraph, note_of(_whose(state))))

    # ---- the matrix --------------------------------------------------------------------------

    def _own(self) -> NDArray[np.float64] | None:
        own = self.context.state.own
        return np.reshape(own, (SIZE, SIZE)).astype(float) if len(own) == SIZE**2 else None

    def _logits(self) -> NDArray[np.float64]:
        own = self._own()
        return self.network.logits[self.context.state.layer - 1] if own is None else own

    def _shown(self) -> dict[str, Any]:
        return self.network.layer(self.context.state.layer, self._own())

    def _show(self) -> None:
        with hold():
            self.picture.update(self._shown(), self.network.projection)
            self._fill_cells()

    def _other_matrix(self, *_: Any) -> None:
        self._show()
        self.describe()

    def _fill_cells(self) -> None:
        own = self._own()
        self.own.param.update(
            cells=[entry(x) if own is None else written(float(x)) for x in self._logits().ravel()],
            in_use=own is not None,
            error="",
            cell=-1,
        )

    # ---- what the browser says ---------------------------------------------------------------

    def _turned(self, event: param.parameterized.Event) -> None:
        self.context.state.turn = min(max(event.new, 0), 90)

    def _walked(self, event: param.parameterized.Event) -> None:
        self.context.state.walk = event.new == 1

    def _chosen(self, event: param.parameterized.Event) -> None:
        state = self.context.state
        if event.new in PROJECTIONS:  # a browser may send anything
            state.projection = event.new

    def _dragged(self, event: param.parameterized.Event) -> None:
        to = event.new
        if len(to) != 2 or not all(type(x) in (int, float) and abs(x) < 1e3 for x in to):
            return
        state = self.context.state
        found = logits_at(self._logits(), state.turn, tuple(to)).ravel()
        found = np.clip(found - found.mean(), -LARGEST_ENTRY, LARGEST_ENTRY)
        state.param.update(own=[float(f"{x:.{DIGITS}g}") for x in found])

    @staticmethod
    def refuse(found: list[float]) -> None:
        if len(found) != SIZE**2:
            raise WrongCellError("This picture is of matrices with three rows of three numbers.")


def _whose(state: PageState) -> str:
    size = math.isqrt(len(state.own))
    if size == SIZE:
        return "Your own numbers"
    other = f" (your own {size} × {size} numbers have no place here)" if size else ""
    return f"Layer {state.layer} of the first network, drawn with three streams{other}"


def _given(state: PageState) -> str:
    if len(state.own) == SIZE**2:
        return f"Z = np.reshape({state.own}, (3, 3))"
    values = ", ".join(f"{name}={getattr(state, name)!r}" for name in ("init", "spread", "seed"))
    return f"Z = mhc.sample_mixing({state.layer}, streams=3, {values}, logits=True)[0, -1]"


SNIPPET = """\
import mhc_demo as mhc
import numpy as np
from mhc_demo.numerics import birkhoff

{given}
for matrix in birkhoff.path(Z, {projection!r})[:8]:
    coordinates, height = birkhoff.places(matrix)
    print(coordinates.round(3), height.round(3), birkhoff.distance_from_birkhoff(matrix).round(3))
"""

"""All projections on the same networks: a table of them, and plots of the few that are pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import panel as pn
import param
import xarray as xr
from bokeh.plotting import figure
from panel.custom import JSComponent

from ...figures import CompareFigure
from ...figures.compare import (
    FREE,
    MOST_PINNED,
    compared,
    few_networks,
    matrices_for_browser,
    strokes_for_browser,
)
from ...numerics.comparison import layer_under_each
from ...numerics.costs import MatrixTimes
from ...numerics.projections import PROJECTIONS
from ...numerics.surface import MAX_DEPTH
from ...story.comparing import COLUMNS, account_of, rows_of
from .. import timing
from .._panel import hold, prompt
from ..computing import Key, Position, experiment_of
from ..snippet import compare_snippet
from ..static import COMPARE_CSS, CSS
from .base import View, html, note, paragraph, plots, with_scale

if TYPE_CHECKING:
    from ..state import State as PageState

COMPARE_PARAMETERS = ("pinned",)
"""The page's parameters of the comparison."""

STYLES = [CSS, COMPARE_CSS]


@prompt
class ComparisonTable(JSComponent):
    """The numbers of every projection at the present depth and iterations; see `mhc.comparison`.

    The browser fills it while a slider moves, sorts it and pins its rows.
    """

    rows = param.List(item_type=dict, doc="What is known of each projection: see `rows_of`.")
    columns = param.List(item_type=dict, doc="Quantity, heading and manner of each column.")
    strokes = param.Dict(doc="How the plots draw what is pinned, in each place, and the rest.")
    streams = param.Integer(doc="n, within which what is stochastic stays.")
    chosen = param.String(doc="The projection of the page.")
    pinned = param.List(item_type=str, doc="Those that are pinned, in their places.")
    times = param.Dict(default={}, doc="Nanoseconds forward and backward, by projection.")
    timed = param.String(doc="What was measured, and where; empty if nothing was.")
    measuring = param.Boolean(doc="Whether a measurement is under way.")
    measure = param.Integer(doc="How often the button was pressed.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const {rows, columns, strokes} = model
      const table = mhc.comparison(host, view.model.document, {
        rows, columns, strokes, free: "-",
        pin: (pinned) => { model.pinned = pinned },
        measure: () => { model.measure += 1 },
      })
      const follow = () => table.show({
        chosen: model.chosen, pinned: model.pinned, streams: model.streams, times: model.times,
        timed: model.timed, measuring: model.measuring,
      })
      for (const name of ["chosen", "pinned", "streams", "times", "timed", "measuring"])
        model.on(name, follow)
      model.on("remove", table.stop)
      follow()
    }
    """
    _stylesheets: ClassVar = STYLES


@prompt
class EachMatrix(JSComponent):
    """One layer's matrix under each projection, folded away until it is wanted."""

    rows = param.List(item_type=dict, doc="As of the table.")
    pinned = param.List(item_type=str, doc="As of the table.")
    matrices = param.Dict(
        default={}, doc="The n x n entries at every count of iterations, or at one, by projection."
    )
    layer = param.Integer(doc="The layer; the browser sets it.")
    layers = param.Integer(MAX_DEPTH, constant=True, doc="How many layers there are.")
    most = param.Integer(MOST_PINNED, constant=True, doc="How many projections can be pinned.")
    opened = param.Boolean(doc="Whether they are wanted; the browser sets it.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const each = mhc.each_matrix(host, view.model.document, {
        rows: model.rows, free: "-", most: model.most, layers: model.layers, opened: model.opened,
        pin: (pinned) => { model.pinned = pinned },
        open: (opened) => { model.opened = opened },
        choose: (layer) => { model.layer = layer },
      })
      const follow = () => each.show(model.matrices, model.pinned, model.layer)
      for (const name of ["matrices", "pinned", "layer"]) model.on(name, follow)
      model.on("remove", each.stop)
      follow()
    }
    """
    _stylesheets: ClassVar = STYLES


class CompareView(View):
    """All projections on the same networks."""

    name = "compare"
    title = "Projections"
    group = "Compare"
    parameters = COMPARE_PARAMETERS

    @staticmethod
    def compute(key: Key, position: Position) -> xr.Dataset:
        return compared(experiment_of(key))

    @staticmethod
    def snippet(state: PageState) -> str:
        few = few_networks(experiment_of(state.key()))
        values = {**dict(state.key()), "members": few.members, **state.position()}
        drawn = [name for name in state.pinned if name != FREE]
        return compare_snippet(
            values, [name for name in drawn if PROJECTIONS[name].sizes.hold(state.streams)]
        )

    def build(self, data: xr.Dataset) -> Any:
        state = self.context.state
        self.shown = data.attrs
        self.plots = CompareFigure(data, state.position(), state.dark, state.pinned)
        rows = rows_of(PROJECTIONS.values())
        self.table = ComparisonTable(
            rows=rows,
            columns=COLUMNS,
            strokes=strokes_for_browser(),
            streams=data.attrs["streams"],
            chosen=state.param.projection,
            pinned=state.pinned,
            sizing_mode="stretch_width",
            styles={"min-width": "0"},
            margin=0,
        )
        self.matrices = EachMatrix(
            rows=[{n: row[n] for n in ("name", "label", "iterative")} for row in rows],
            pinned=state.pinned,
            layer=state.layer,
            sizing_mode="stretch_width",
            margin=0,
        )
        for each in (self.table, self.matrices):
            each.param.watch(self._pin, "pinned")
        state.param.watch(self._pinned, "pinned")
        self.matrices.param.watch(self._choose_layer, "layer")
        state.param.watch(self._show_matrices, "layer")
        self.matrices.param.watch(self._show_matrices, "opened")
        self.table.param.watch(self._measure, "measure")
        self.note = note()
        self._show_times()
        return pn.Column(
            self.table,
            with_scale(state, html("")),
            plots(*self.plots.figures, height=HEIGHT),
            self.matrices,
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def describe(self) -> None:
        self.note.object = paragraph(account_of(self.shown, self.context.state.members))

    def figures(self) -> list[figure]:
        return self.plots.figures

    def set_type(self) -> None:
        super().set_type()
        large = self.context.state.present
        self.table.css_classes = ["large"] if large else []
        self.matrices.visible = not large

    def update(self, data: xr.Dataset) -> None:
        self.shown = data.attrs
        self.table.streams = data.attrs["streams"]
        self.plots.update(data)
        self._show_times()
        self._show_matrices()

    def recolour(self, dark: bool) -> None:
        self.plots.colour(dark)

    # ---- what is pinned ----------------------------------------------------------------------

    def _pin(self, event: param.parameterized.Event) -> None:
        state = self.context.state
        try:
            state.pinned = event.new
        except ValueError:  # a browser may send anything
            event.obj.pinned = state.pinned

    def _pinned(self, event: param.parameterized.Event) -> None:
        self.plots.pin(event.new)
        for each in (self.table, self.matrices):
            each.pinned = event.new

    # ---- one layer's matrices ----------------------------------------------------------------

    def _choose_layer(self, event: param.parameterized.Event) -> None:
        state = self.context.state
        try:
            state.layer = event.new
        except ValueError:  # a browser may send anything
            self.matrices.layer = state.layer

    def _show_matrices(self, *_: Any) -> None:
        state = self.context.state
        self.matrices.layer = state.layer
        if self.matrices.opened:
            found = layer_under_each(experiment_of(state.key()), state.layer)
            self.matrices.matrices = matrices_for_browser(found)

    # ---- times -------------------------------------------------------------------------------

    def _timed(self) -> list[timing.Timed]:
        """What would be measured for what is shown."""
        streams, device = self.shown["streams"], self.context.state.device
        return [(p.name, streams, device) for p in PROJECTIONS.values() if p.sizes.hold(streams)]

    def _show_times(self) -> None:
        known = [timing.found[timed] for timed in self._timed() if timed in timing.found]
        with hold():
            self.table.param.update(
                times={t.projection: [t.forward, t.backward] for t in known},
                timed=account(known[0]) if known else "",
            )

    def _measure(self, *_: Any) -> None:
        if not self.table.measuring:
            self.table.measuring = True
            pn.state.execute(self._measure_beside)

    async def _measure_beside(self) -> None:
        failed = ""
        try:
            await timing.measure(
                self._timed(), lambda: pn.state.execute(self._show_times, schedule=True)
            )
        except (OSError, RuntimeError, TimeoutError):
            failed = "The times could not be measured here."
        # Scheduled, since others may hold the document's lock just now.
        pn.state.execute(lambda: self._measured(failed), schedule=True)

    def _measured(self, failed: str) -> None:
        with hold():
            self._show_times()
            self.table.measuring = False
            if failed and not self.table.times:
                self.table.timed = failed


HEIGHT = "clamp(var(--mhc-least, 280px), calc(100vh - var(--mhc-rest, 500px)), 620px)"
"""Of the plots, which stand below the table."""


def account(timed: MatrixTimes) -> str:
    """What the times are of, and where they were measured."""
    back = f", backward by {timed.device_backward}" if timed.device_backward else ""
    return (
        f"Times per matrix, measured on this server: n = {timed.streams}, {timed.matrices:,} "
        f"matrices in one call, {timed.iterations} iterations of what iterates, the fastest of "
        f"several calls; forward by {timed.device}{back}."
    )

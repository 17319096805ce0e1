"""All projections on the same networks: a table of them, and plots of the few that are pinned."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import panel as pn
import param
import xarray as xr
from bokeh.plotting import figure
from panel.custom import JSComponent

from ...figures import CompareFigure, style
from ...figures.compare import FAINT, OWN, REST
from ...numerics.comparison import MIXING, compare, layer_under_each
from ...numerics.costs import MatrixTimes
from ...numerics.metrics import METRICS
from ...numerics.projections import PROJECTIONS, Projection
from ...numerics.surface import MAX_DEPTH
from ...story.glossary import explained, term
from .. import timing
from .._panel import hold, prompt
from ..computing import Key, Position, experiment_of
from ..snippet import compare_snippet
from ..static import COMPARE_CSS, CSS
from ..values import FREE, MOST_PINNED
from .base import View, html, note, paragraph, plots, with_scale

if TYPE_CHECKING:
    from ..state import State as PageState

COMPARE_PARAMETERS = ("pinned",)
"""The page's parameters of the comparison."""

MOST_NUMBERS = 2**9
"""Limit of members times n^2: a comparison takes longer than two iterative surfaces."""

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
        return _comparison_of(_own(key))

    @staticmethod
    def snippet(state: PageState) -> str:
        values = {**dict(_own(state.key())), **state.position()}
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
        members, n = self.shown["members"], self.shown["streams"]
        networks = "one network" if members == 1 else f"the median of {members} networks"
        fewer = members < self.context.state.members
        absent = [p for p in PROJECTIONS.values() if not p.sizes.hold(n)]
        self.note.object = paragraph(
            "Every projection of the same logits. What iterates follows the dial, where 0 is HC "
            f"itself; the rest is shown as it is. Gains and norms are those of {networks}"
            + (", fewer than in the other views to be quick" if fewer else "")
            + ". “Within n”, “stays near 1”, “explodes” and the like are said of the worst-case "
            "norm. The plots draw what is pinned in colour and the rest in grey; they stand still "
            f"and end a little above the dotted line at n = {n}; an arrow at a label stands for a "
            "line that has left them, with its gain at the chosen depth. <b>Off sums "
            "of 1</b> is of a single layer, the median over the networks, then over the "
            "layers; what measures mixing is of the first network."
            + "".join(f" {p.title} takes {p.sizes.words} streams." for p in absent)
        )

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
            found = layer_under_each(experiment_of(_own(state.key())), state.layer)
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


def rows_of(projections: Any) -> list[dict[str, Any]]:
    """What the table says of each projection, beside its numbers."""
    return [
        {
            "name": chosen.name,
            "label": chosen.label,
            "title": term(escape(chosen.title), chosen.title, chosen.note),
            "short": term(escape(chosen.label), chosen.title, chosen.note),
            "iterative": chosen.iterative,
            "promises": [kept(chosen) for _, _, kept in PROMISES],
            "published": published(chosen),
        }
        for chosen in projections
    ]


def published(chosen: Projection) -> str:
    """What was published, or by whom it was proposed, with its place as an explanation.

    In full, and shorter for a table with little room.
    """
    of = f"Source: {chosen.source}." if chosen.source else ""
    told, full = of, chosen.source
    short = full.partition(", arXiv")[0].removeprefix("github.com/").partition("/")[0]
    if chosen.published:
        told, full = f"{chosen.published}. {of}".strip(), chosen.published.partition(" (")[0]
        short = full.removeprefix("composite gain ")
    if not full:
        return ""
    return "".join(
        f'<span class="{length}">{term(escape(text), chosen.title, told)}</span>'
        for length, text in (("full", full), ("short", short))
    )


def strokes_for_browser() -> dict[str, Any]:
    """The strokes of the places, of what has one of its own, and of the rest."""

    def look(stroke: style.Stroke) -> dict[str, Any]:
        return {"colour": stroke.colour, "dash": list(stroke.dash), "width": stroke.width}

    return {
        "places": [look(style.stroke(k)) for k in range(MOST_PINNED)],
        "own": {name: look(stroke) for name, stroke in OWN.items()},
        "rest": look(REST) | {"alpha": FAINT},
    }


def matrices_for_browser(found: xr.DataArray) -> dict[str, list[list[float]]]:
    """The entries at each count of iterations, or at the one count of what does not iterate."""
    counts = {
        name: slice(None) if chosen.iterative else [1] for name, chosen in PROJECTIONS.items()
    }
    return {
        name: found.sel(projection=name, iterations=counts[name])
        .values.round(3)
        .reshape(-1, found.sizes["row"] ** 2)
        .tolist()
        for name in found["projection"].values.tolist()
    }


PROMISES = (
    ("row", "rows sum to 1", lambda p: p.unit_rows),
    ("col", "columns sum to 1", lambda p: p.unit_columns),
    ("≥ 0", "no negative entry", lambda p: p.nonnegative),
    ("≤ 1", "spectral norm at most 1", lambda p: p.unit_norm),
)
"""What a projection can promise: a mark, words, and whether it does."""


def _columns() -> Iterator[dict[str, Any]]:
    yield {
        "quantity": "norm",
        "manner": "fate",
        "heading": term(
            "At this depth",
            "At this depth",
            "What becomes of the composite, by its worst-case norm: near 1 (within a factor 2), "
            "within n, growing, exploding (beyond 1000), shrinking or vanishing.",
        ),
    }
    yield {"quantity": "forward", "manner": "gain", "heading": explained("Forward gain")}
    yield {"quantity": "backward", "manner": "gain", "heading": explained("Backward gain")}
    yield {
        "quantity": "norm",
        "manner": "norm",
        "heading": term(
            "Worst-case norm",
            "Worst-case norm",
            "The larger of the composite’s induced infinity and 1 norms: the most that any signal "
            "or gradient can grow. Without negative entries it is the larger gain; with them, sums "
            "can cancel, and gains near 1 prove nothing.",
        ),
    }
    yield {
        "quantity": "distance",
        "manner": "distance",
        "heading": term(
            "Off sums of 1",
            "Off sums of 1",
            "Largest |row sum − 1| or |column sum − 1| of a single layer. Without negative "
            "entries it is how far the layer is from doubly stochastic.",
        ),
    }
    for name, of in MIXING.items():
        metric = METRICS[name]
        where = "Of a single layer" if of == "layer" else "Of the composite"
        note = f"{where} of the first network. {metric.note}"
        heading = term(escape(metric.title), metric.title, note)
        yield {"quantity": name, "manner": "share", "heading": heading}
    yield {
        "quantity": "promises",
        "manner": "promises",
        "heading": term(
            "Promises",
            "Promises",
            "What holds of every matrix, whatever the logits: "
            + "; ".join(f"{mark}: {words}" for mark, words, _ in PROMISES)
            + ".",
        ),
        "marks": [[mark, words] for mark, words, _ in PROMISES],
    }
    for k, direction in enumerate(("forward", "backward")):
        yield {
            "quantity": k,
            "manner": "time",
            "heading": term(
                f"Time {direction}",
                f"Time {direction}",
                "Of one matrix, measured on this server: "
                + ("projecting it." if k == 0 else "the gradient through it, by PyTorch."),
            ),
        }
    yield {
        "quantity": "published",
        "manner": "published",
        "heading": term(
            "Published",
            "Published",
            "A result that a paper prints of networks with it, or else who proposed it. Nothing in "
            "this column is measured here.",
        ),
    }


COLUMNS = list(_columns())


def _own(key: Key) -> Key:
    """The key of a comparison, which depends neither on the projection nor on the device."""
    values = {k: v for k, v in key if k not in ("projection", "device")}
    most = max(1, MOST_NUMBERS // values["streams"] ** 2)
    return tuple({**values, "members": min(values["members"], most)}.items())


@lru_cache(maxsize=16)
def _comparison_of(key: Key) -> xr.Dataset:
    return compare(experiment_of(key))

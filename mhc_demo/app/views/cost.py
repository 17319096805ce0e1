"""What stability costs: the time of the projection here, and the paper's counts for any model.

A time is measured when the view first needs it, once for each projection, size and device, for
all visitors.  Nobody waits: it runs beside the page, and until it is done the plots have no dots.
"""

from __future__ import annotations

import asyncio
from functools import partial
from html import escape
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import panel as pn
import panel_material_ui as pmui
import param
from bokeh.models import Range1d
from bokeh.plotting import figure

from ...figures import words
from ...figures.cost import (
    DIRECTION,
    Measured,
    TimeFigure,
    TradeOffFigure,
    activations_html,
    budget_html,
    cost_columns,
    estimate_html,
    longest,
    nanoseconds,
    overhead_html,
    released_html,
    traffic_html,
)
from ...figures.slices import table
from ...numerics.budget import Budget
from ...numerics.budget import cost as counted
from ...numerics.budget_tables import in_seconds
from ...numerics.costs import ProjectionTimes, projection_times
from ...numerics.numbers import in_html
from ...numerics.paper import MODELS
from ...numerics.projections import PAPER_ITERATIONS, PROJECTIONS
from .. import icons
from .._panel import hold
from ..computing import QUEUES, Key, Position
from ..fields import typed
from .base import TALL, UNLIMITED, View, html, legend, note, paragraph, plot, plots

if TYPE_CHECKING:
    from ..state import State as PageState

SIZES = ("model_streams", "model_width", "model_layers", "model_block")
"""The page's parameters of the paper's counts."""

MODEL_PARAMETERS = (
    *SIZES,
    *("model_tokens", "model_precision", "pipeline_ranks", "tensor_ranks", "link_bandwidth", "gpu"),
)
"""The page's parameters of the model whose cost is counted, and of the machines that it runs on."""

RANKS = ("model_block", "pipeline_ranks")
"""Those of them that are at most the layers."""

Timed: TypeAlias = tuple[str, int, str]
"""Projection, streams and device of a measurement."""

_times: dict[Timed, ProjectionTimes] = {}
_measuring = Lock()

SETTLED = 0.5
"""Seconds to wait before measuring, so that the opening of the page does not disturb it."""


def times_of(timed: Timed, *, anew: bool = False) -> ProjectionTimes:
    """How long a projection takes on this machine, measured once or `anew`, for all visitors."""
    projection, streams, device = timed
    with _measuring:
        if anew or timed not in _times:
            _times[timed] = projection_times(projection, streams=streams, device=device)
        return _times[timed]


ASKED = {
    "streams": "model_streams",
    "width": "model_width",
    "layers": "model_layers",
    "tokens": "model_tokens",
    "precision": "model_precision",
    "pipeline_ranks": "pipeline_ranks",
    "tensor_ranks": "tensor_ranks",
    "link_gb_per_s": "link_bandwidth",
    "gpu": "gpu",
}
"""The page's parameter for each argument of `mhc.cost`."""

SNIPPET = """\
import json

import mhc_demo as mhc

budget = mhc.cost({given})
for each in budget.overheads:
    print(f"{{each.title}}: {{100 * each.low:.1f}} to {{100 * each.high:.1f}} %")
print(json.dumps(budget.to_dict(), indent=2))
"""


def budget_of(state: PageState) -> Budget:
    """What the model of the state costs on the machines of the state."""
    return counted(**{name: getattr(state, own) for name, own in ASKED.items()})


class CostView(View):
    """Time and memory, and the stability they buy."""

    name = "cost"
    title = "Cost"
    group = "Cost"
    parameters = MODEL_PARAMETERS

    @staticmethod
    def compute(key: Key, position: Position) -> tuple[Timed, ProjectionTimes | None]:
        values = dict(key)
        timed = values["projection"], values["streams"], values["device"]
        return timed, _times.get(timed)

    @staticmethod
    def told(state: PageState) -> str:
        streams, width, layers, block = (getattr(state, name) for name in SIZES)
        return (
            traffic_html(streams, width)
            + activations_html(streams, width, layers, block)
            + estimate_html(budget_of(state))
            + overhead_html(timed=False)
        )

    @staticmethod
    def snippet(state: PageState) -> str:
        asked = {name: getattr(state, own) for name, own in ASKED.items()}
        given = ", ".join(f"{name}={value!r}" for name, value in asked.items())
        return SNIPPET.format(given=given)

    def build(self, data: tuple[Timed, ProjectionTimes | None]) -> Any:
        context = self.context
        self.timed, self.measured = data
        self.failed = False
        surface, position = context.surface, context.state.position()
        counts = surface["iterations"].values
        columns = cost_columns(surface, self.measured)
        self.table = table(columns, counts, surface["depth"].values)
        self.x_range = Range1d(0, 1)
        self.time = TimeFigure(counts, self.measured, position)
        self.trades: list[TradeOffFigure] = []
        self.plots = plots(self.time.figure, None, None, height=HEIGHT)
        self.legend, self.note = html(""), note()
        self.again = pmui.Button(
            label="Measure again",
            icon=icons.TIMER,
            variant="outlined",
            size="small",
            margin=(0, 14, 10, 14),
        )
        self.again.on_click(lambda _: self._measure(anew=True))
        self.calculator = Calculator(context.state)
        self._show()
        return pn.Column(
            self.legend,
            self.plots,
            self.note,
            self.again,
            self.calculator,
            sizing_mode="stretch_width",
            margin=0,
        )

    def complete(self) -> None:
        surface, position = self.context.surface, self.context.state.position()
        self.trades = [
            TradeOffFigure(surface, self.table, self.x_range, position, closer=closer)
            for closer in (False, True)
        ]
        for place, each in zip(self.plots[1:], self.trades, strict=True):
            place.append(plot(each.figure))
        if self.measured is None:
            self._measure()

    def figures(self) -> list[figure]:
        return [self.time.figure, *(each.figure for each in self.trades)]

    def set_type(self) -> None:
        super().set_type()
        large = self.context.state.present
        self.again.visible = not large
        self.calculator.set_type(large)

    def update(self, data: tuple[Timed, ProjectionTimes | None]) -> None:
        self.timed, self.measured = data
        self.failed = False
        self._show()
        for each in self.trades:
            each.update(self.context.surface)
        if self.measured is None:
            self._measure()

    # ---- measuring -----------------------------------------------------------------------

    def _measure(self, anew: bool = False) -> None:
        # Not at first: what changes while the browser still builds the button may get lost there.
        self.again.disabled = anew
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # no server and no notebook: there is nobody to hold up
            self._measured(self.timed, times_of(self.timed, anew=anew))
        else:
            pn.state.execute(partial(self._measure_beside, anew))

    async def _measure_beside(self, anew: bool) -> None:
        timed = self.timed
        measured = None
        await asyncio.sleep(SETTLED)
        try:
            measured = await asyncio.get_running_loop().run_in_executor(
                QUEUES.get(timed[2]), partial(times_of, timed, anew=anew)
            )
        finally:
            # Scheduled, since others may hold the document's lock just now.
            pn.state.execute(partial(self._measured, timed, measured), schedule=True)

    def _measured(self, timed: Timed, measured: ProjectionTimes | None) -> None:
        if timed == self.timed:  # else something else is shown by now, with its own measurement
            self.measured, self.failed = measured, measured is None
            with hold():
                self._show()
                self.describe()

    def _show(self) -> None:
        surface = self.context.surface
        self.again.disabled = False
        self.x_range.end = longest(nanoseconds(self.measured, surface["iterations"].values))
        self.x_range.start = -0.06 * self.x_range.end
        self.time.update(self.measured)
        self.calculator.measured(self.measured)
        self.table.data = cost_columns(surface, self.measured)

    # ---- texts ---------------------------------------------------------------------------

    def describe(self) -> None:
        state = self.context.state
        chosen = PROJECTIONS[state.projection]
        each = "a dot per iteration count" if chosen.iterative else "the same at every count"
        if self.measured is None and not self.failed:
            each = "being timed …"  # also in the legend, for a lecture does not show the note
        self.legend.object = legend(
            [
                ("hc", "0 iterations: HC, unconstrained"),
                ("projected", f"{chosen.title}, {each}"),
                ("identity", "identity: gain 1"),
                ("diamond", f"backward gain: {words.band(state.members)}"),
            ]
        )
        self.note.object = paragraph(f"{self._account()} {self._bargain()}")

    def _account(self) -> str:
        """What was measured."""
        measured = self.measured
        if measured is None:
            if self.failed:
                return "The projection could not be timed here."
            return "The projection is being timed on the machine that serves this page …"
        n = measured.streams
        _, pace = measured.line
        slope = (
            f": <b>{pace:.3g} ns per matrix and further iteration</b> (least squares)"
            if np.isfinite(pace)
            else f": {measured.nanoseconds[-1]:,.0f} ns per matrix; it does not iterate"
        )
        return (
            f"Measured on the machine that serves this page, by {measured.device}: "
            f"{measured.matrices:,} random {n} × {n} matrices in one call, the fastest of "
            f"{measured.rounds} calls for each count{slope}."
        )

    def _bargain(self) -> str:
        """What the time buys, in the numbers of the plots."""
        state = self.context.state
        gains = self.context.surface["log10_gain"].sel(
            direction=DIRECTION, series="median", depth=state.depth
        )
        times = nanoseconds(self.measured, gains["iterations"].values)
        counts = [0, 1]  # and beyond that nothing changes, unless it iterates
        if PROJECTIONS[state.projection].iterative:
            counts = sorted({*counts, state.iterations, PAPER_ITERATIONS})
        bought = ", ".join(
            f"{in_html(float(gains.sel(iterations=t)))} at {t}"
            + ("" if np.isnan(times[t]) else f" ({times[t]:,.0f} ns)")
            for t in counts
        )
        return f"Median backward gain after {state.depth} layers, by iterations: {bought}."


HEIGHT = TALL.replace("300px", "240px").replace("100vh", "var(--mhc-cost, 90vh)")
"""The height of the plots, so low that the top of what follows them is visible."""


# The calculator


OWN = "own"

CHOSEN = ("model_precision", "gpu")
"""The parameters that are chosen from a list."""


class Calculator(pn.viewable.Viewer):
    """What a model costs, by the paper's counts and on given machines; known models to choose."""

    def __init__(self, state: PageState) -> None:
        super().__init__()
        self.state = state
        presets = {
            f"{m.name}: n = {m.streams}, C = {m.width:,}, L = {m.residual_layers}": name
            for name, m in MODELS.items()
        }
        wide = {"size": "small", "sizing_mode": "stretch_width", "margin": (8, 8)}
        self.model = pmui.Select(
            label="Model",
            options={**presets, "another": OWN},
            value=self._name(),
            styles={"flex": "2 1 250px"},
            **wide,
        )
        one = {"styles": {"flex": "1 1 150px"}, "description": "", **wide}
        self.fields = {
            name: typed(state, name, **one) for name in MODEL_PARAMETERS if name not in CHOSEN
        }
        self.chosen = {name: pmui.Select.from_param(state.param[name], **one) for name in CHOSEN}
        self.form = self._form()
        self.tables = html("")
        self.times: Measured = None
        self.set_type(state.present)
        self.model.param.watch(self._choose, "value")
        state.param.watch(self._calculate, list(MODEL_PARAMETERS))
        self._calculate()

    def _values(self) -> dict[str, int]:
        return {name: getattr(self.state, name) for name in SIZES}

    def _name(self) -> str:
        """The known model that has these numbers, or `OWN`."""
        values = self._values()
        return next((m for m in MODELS if _numbers(m).items() <= values.items()), OWN)

    def _choose(self, event: param.parameterized.Event) -> None:
        if event.new != OWN:
            self.state.param.update(**_numbers(event.new))

    def measured(self, times: Measured) -> None:
        """Say what the projection takes here, as far as it was measured."""
        if times is not self.times:
            self.times = times
            self._calculate()

    def _calculate(self, *_: Any) -> None:
        layers = self.state.model_layers
        if above := [name for name in RANKS if getattr(self.state, name) > layers]:
            self.state.param.update(**dict.fromkeys(above, layers))
            for name in above:
                self.fields[name].helper_text = "at most L"
            return
        self.model.value = self._name()
        streams, width, layers, block = self._values().values()
        budget = budget_of(self.state)
        self.tables.object = (
            '<div class="cost-tables">'
            + estimate_html(budget)
            + budget_html(budget, self._projected(budget))
            + released_html()
            + traffic_html(streams, width)
            + activations_html(streams, width, layers, block)
            + overhead_html()
            + "</div>"
        )

    def _projected(self, budget: Budget) -> str:
        times = self.times
        if times is None or times.streams != budget.asked.streams:
            return ""
        each = float(times.nanoseconds[times.counts.index(PAPER_ITERATIONS)])
        matrices, chosen = budget.projected.matrices, PROJECTIONS[times.projection]
        iterated = f" with {PAPER_ITERATIONS} iterations" if chosen.iterative else ""
        return (
            f"Measured above, by {escape(times.device)}: {chosen.title}{iterated} takes "
            f"{each:,.0f} ns a matrix here, and so {in_seconds(matrices * each / 1e9)} for the "
            f"{matrices:,} of one micro-batch on a rank."
        )

    def set_type(self, large: bool) -> None:
        """Show the tables alone, in large type, for a lecture; else all."""
        self.form.visible = not large
        self.tables.css_classes = ["large"] if large else []

    def _form(self) -> pn.Column:
        fields = {**self.fields, **self.chosen}
        return pn.Column(
            html(
                '<div class="cost-title"><h3>What mHC would cost your model</h3>'
                "<p>The paper’s models: n, C and the number of blocks from Table 5 (appendix A.1). "
                "DeepSeek-V4: as in Hugging Face’s transformers and its own configuration. "
                "L counts attention and FFN of each block separately (Fig. 3).</p></div>"
            ),
            *(
                pn.Row(
                    *row,
                    stylesheets=[":host { flex-wrap: wrap; }"],
                    sizing_mode="stretch_width",
                    margin=(0, 6),
                )
                for row in (
                    [self.model, *(fields[name] for name in SIZES)],
                    [fields[name] for name in MODEL_PARAMETERS if name not in SIZES],
                )
            ),
            sizing_mode="stretch_width",
            margin=0,
        )

    def __panel__(self) -> Any:
        return pn.Column(
            self.form, self.tables, styles=UNLIMITED, sizing_mode="stretch_width", margin=0
        )


def _numbers(name: str) -> dict[str, int]:
    """n, C and L of a known model."""
    model = MODELS[name]
    return {
        "model_streams": model.streams,
        "model_width": model.width,
        "model_layers": model.residual_layers,
    }

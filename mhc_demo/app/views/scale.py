"""A model on many GPUs: the schedule of its pipeline, simulated, with one stream and with n.

The simulations run on a thread.  A view asks for one at a time, always for what is wanted last, so
that whoever moves a number quickly does not fill the line; and their size is bounded, whatever a
link says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.plotting import figure

from ...figures import pipeline as charts
from ...figures.cost import overhead_html
from ...figures.stages import ALL, ASSUMED, account, brief, fitted, lesson, tables_html
from ...numerics.hardware import GPUS, PRECISIONS
from ...numerics.paper import MODELS
from ...numerics.pipeline import SCHEDULES, Timeline
from ...numerics.stages import Stages, Way, fitting, timeline
from .._panel import hold
from ..fields import typed
from ..latest import Latest
from .base import UNLIMITED, WIDE, View, html, legend, note, paragraph, plot

if TYPE_CHECKING:
    from ..state import State as PageState

SCALE_PARAMETERS = (
    *("schedule", "microbatches", "stage_forward", "stage_inputs", "stage_weights"),
    *("fused", "recomputes", "overlaps"),
)
"""The page's parameters of the simulated schedule."""

MODEL = (
    *("model_streams", "model_width", "model_layers", "model_tokens", "model_precision"),
    *("pipeline_ranks", "tensor_ranks", "link_bandwidth", "gpu"),
)
"""Those of the model and its machines, which the view shares with "Cost"."""

FOLLOWED = (*MODEL, *SCALE_PARAMETERS)

Wanted = tuple[tuple[str, Any], ...]
"""The values of `FOLLOWED`."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What the view shows of such values."""

    lines: dict[str, Timeline]
    """The simulated schedules, by name."""
    brief: str
    """What the last row reads too; first what was changed, if anything was."""
    note: list[str]
    """Paragraphs."""
    tables: str

    @property
    def end(self) -> float:
        """Where the charts end."""
        return charts.end_of(self.lines.values())


@lru_cache(maxsize=16)
def shown(wanted: Wanted) -> Shown:
    """Simulate what is wanted."""
    values = dict(wanted)
    stages, way, correction = of_state(values)
    schedule = values["schedule"]
    said = brief(stages, schedule)
    return Shown(
        {name: timeline(stages, name, way) for name in SCHEDULES},
        f"<span>{correction}</span> {said}" if correction else said,
        [account(stages, way, GPUS[values["gpu"]].peak), lesson(stages, schedule)],
        f'<div class="cost-tables">{tables_html(stages, schedule, way)}'
        f"{overhead_html(timed=False)}</div>",
    )


def of_state(values: dict[str, Any]) -> tuple[Stages, Way, str]:
    """The stages, how they are run, and what was changed so that every schedule exists."""
    wanted = values["pipeline_ranks"], values["microbatches"]
    ranks, microbatches = fitting(*wanted)
    forward = values["stage_forward"]
    stages = Stages(
        streams=values["model_streams"],
        width=values["model_width"],
        layers=values["model_layers"],
        ranks=ranks,
        microbatches=microbatches,
        tokens=values["model_tokens"],
        element=PRECISIONS[values["model_precision"]],
        tensor_ranks=values["tensor_ranks"],
        forward=forward,
        inputs=forward * values["stage_inputs"],
        weights=forward * values["stage_weights"],
        link=1e9 * values["link_bandwidth"],
        memory=GPUS[values["gpu"]].bandwidth,
    )
    way = Way(fused=values["fused"], recomputed=values["recomputes"], overlapped=values["overlaps"])
    return stages, way, fitted(wanted, (ranks, microbatches))


def _wanted(state: PageState) -> Wanted:
    return tuple((name, getattr(state, name)) for name in FOLLOWED)


class ScaleView(View):
    """Schedules of a pipeline, what they expose, and what they keep."""

    name = "scale"
    title = "At scale"
    group = "Cost"
    of_experiment = False
    parameters = SCALE_PARAMETERS

    @staticmethod
    def settings(state: PageState) -> list[Any]:
        p = state.param
        select = {"size": "small", **WIDE}
        return [
            _model_menu(state),
            *(typed(state, name, **WIDE) for name in MODEL[:4]),
            pmui.Select.from_param(p.model_precision, **select),
            typed(state, "pipeline_ranks", **WIDE),
            typed(state, "microbatches", **WIDE),
            *(typed(state, name, **WIDE) for name in SCALE_PARAMETERS[2:5]),
            typed(state, "tensor_ranks", **WIDE),
            typed(state, "link_bandwidth", **WIDE),
            pmui.Select.from_param(p.gpu, **select),
        ]

    @staticmethod
    def snippet(state: PageState) -> str:
        stages, way, _ = of_state(dict(_wanted(state)))
        return SNIPPET.format(stages=stages, way=way)

    @staticmethod
    def told(state: PageState) -> str:
        found = shown(_wanted(state))
        said = [
            f"<b>{SCHEDULES[name].title}</b>: {charts.told(line)}"
            for name, line in found.lines.items()
        ]
        texts = (found.brief, *found.note, *said, ASSUMED)
        return "".join(map(paragraph, texts)) + found.tables

    def build(self, data: Any) -> Any:
        state = self.context.state
        self.shown = shown(_wanted(state))  # the page that was sent first has simulated it
        last = list(SCHEDULES)[-1]
        self.charts = {
            name: charts.PipelineFigure(line, self.shown.end, last=name == last)
            for name, line in self.shown.lines.items()
        }
        self.places = {
            name: pn.Column(plot(chart.figure), margin=0) for name, chart in self.charts.items()
        }
        inline = {"size": "small", "description": ""}
        self.controls = pn.Row(
            pmui.Select.from_param(state.param.schedule, width=150, margin=(6, 12, 6, 8), **inline),
            *(
                pmui.Checkbox.from_param(state.param[name], margin=(4, 6), **inline)
                for name in ("fused", "recomputes", "overlaps")
            ),
            stylesheets=[":host { flex-wrap: wrap; align-items: center; }"],
            styles=UNLIMITED,
            sizing_mode="stretch_width",
            margin=(0, 6),
        )
        self.legend, self.tables = html(""), html("")
        self.note, self.assumed = note(), note(ASSUMED)
        self.latest: Latest[Wanted, Shown] = Latest(
            shown,
            wanted=lambda: _wanted(state),
            done=self._simulated,
            failed=lambda _: None,
            execute=pn.state.execute,
            most_kept=1,
        )
        state.param.watch(lambda *_: self.latest.start(), list(FOLLOWED))
        return pn.Column(
            self.controls,
            self.legend,
            *self.places.values(),
            self.note,
            self.tables,
            self.assumed,
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        chosen = self.context.state.schedule
        return [each.figure for name, each in self.charts.items() if chosen in (ALL, name)]

    def set_type(self) -> None:
        super().set_type()
        large = self.context.state.present
        self.controls.visible = self.tables.visible = self.assumed.visible = not large
        self.note.visible = not large
        self._arrange()

    def _simulated(self, wanted: Wanted, found: Shown) -> None:
        self.shown = found
        with hold():
            for name, chart in self.charts.items():
                chart.update(found.lines[name], found.end)
            self.describe()

    def describe(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Show the charts that are chosen, what their areas mean, and what follows from them."""
        state = self.context.state
        chosen = state.schedule
        drawn = [name for name in SCHEDULES if chosen in (ALL, name)]
        ranks = self.shown.lines[drawn[0]].ranks
        for name, place in self.places.items():
            place.visible = name in drawn
            last = name == drawn[-1]
            height = _height(ranks, len(drawn), last, state.present)
            place.styles = {**UNLIMITED, "flex": "0 0 auto", "height": height}
            self.charts[name].ends(last)
        both_ways = any(SCHEDULES[name].both_ways for name in drawn)
        areas = charts.legend(both_ways=both_ways, recomputed=state.recomputes)
        self.legend.object = legend(areas) + f'<div class="legend">{self.shown.brief}</div>'
        self.note.object = "".join(map(paragraph, self.shown.note))
        self.tables.object = self.shown.tables


def _height(ranks: int, count: int, last: bool, presented: bool) -> str:
    """Of a chart, when so many share the window; each rank has a row that can be seen.

    The 30 pixels are the second line of the sentence above.  The last has room for the label of its
    axis, which in a lecture, where `static/story.js` shares the window among them, the others give.
    """
    if presented:
        given = LABEL["presented"] * (last - 1 / count)
        return f"calc(100vh - var(--mhc-rest, 500px) + {given:.1f}px)"
    label = LABEL["desk"] * last
    shared = f"calc((100vh - var(--mhc-rest, 500px) - 30px) / {count} + {label}px)"
    return f"max({44 + 16 * ranks + label}px, {shared})"


LABEL = {"desk": 24, "presented": 38}
"""Pixels that the label of an axis takes."""


def _model_menu(state: PageState) -> pmui.Select:
    """The known models, by whose numbers those of the state can be replaced."""
    menu = pmui.Select(label="Model", options=[*MODELS, OWN], size="small", **WIDE)

    def follow(*_: Any) -> None:
        values = {name: getattr(state, name) for name in SIZES}
        menu.value = next((m for m in MODELS if _numbers(m).items() <= values.items()), OWN)

    def choose(event: param.parameterized.Event) -> None:
        if event.new in MODELS:  # a browser may send anything
            state.param.update(**_numbers(event.new))

    follow()
    menu.param.watch(choose, "value")
    state.param.watch(follow, list(SIZES))
    return menu


SIZES = ("model_streams", "model_width", "model_layers")
OWN = "another"


def _numbers(name: str) -> dict[str, int]:
    model = MODELS[name]
    return dict(zip(SIZES, (model.streams, model.width, model.residual_layers), strict=True))


SNIPPET = """\
from mhc_demo.numerics.pipeline import SCHEDULES
from mhc_demo.numerics.stages import Stages, Way, exposed, overhead, span

stages = {stages}
way = {way}
for schedule in SCHEDULES:  # simulated, in milliseconds
    print(
        f"{{schedule}}: step {{span(stages, schedule, way):.1f}} ms, "
        f"of it exposed {{exposed(stages, schedule, way):.1f}} ms; "
        f"{{100 * overhead(stages, schedule, way):.1f}} % more than a residual network"
    )
"""

"""The lab: networks that were trained, and three that train here, with their mixing matrices.

It opens with the recorded runs of a preset, sixteen seeds of each connection, one of which the
browser replays step by step.  A training of one's own runs in a process of its own
(`app/training.py`), continues while another view is open, and ends with the visit.  Neither has to
do with the experiment of the other views.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.plotting import figure

from ...lab.connections import COMPARED
from ...lab.evidence import BESIDES, Replay, Runs, has_runs, recorded_runs
from ...lab.figure import LabFigure
from ...lab.findings import ablated, against_dense, balanced, reach, told
from ...lab.records import Record
from ...lab.replay import ALONG, OF_EXPERTS, ReplayFigure, Scores, score_range
from ...lab.routing import EXPLAINED
from ...lab.settings import PRESETS, SETTINGS, Settings
from ...lab.verdict import rates, swatches, verdict
from .. import icons
from .._panel import hold
from ..components import Slider
from ..computing import Position
from ..dropping import FileDrop, Pieces, RefusedError, records_of
from ..fields import projection_menu, typed
from ..snippet import lab_snippet
from ..training import Training
from .base import UNLIMITED, WIDE, View, html, legend, note, paragraph, plots
from .lab_words import progress, results

if TYPE_CHECKING:
    from ..state import State

LAB_SETTINGS = {
    f"lab_{name}": name
    for name in SETTINGS
    if name != "connection" and (Settings.param[name].precedence or 0) >= 0
}
"""The settings that all networks share, by their parameter in the page's state."""

HEIGHT = "clamp(240px, 34vh, 1200px)"
OWN = "Your own settings"
"""What the list of presets shows for other settings."""
START = "Train it here"
WAITING = f"These settings were not recorded: “{START}” draws three networks while they learn."
LAST_REPLAYED = max(preset.settings().steps for preset in PRESETS.values())
"""Where the replay stands at first: the end of every recorded run."""
REPLAY_PARAMETERS = ("replay",)
"""The page's parameters of the recorded runs."""
ABLATION = (
    "What of mHC does it? The same settings and seeds, with HC’s or mHC’s way to read and write, "
    "each with a free H_res, with none that mixes (H_res = I), with Sinkhorn’s and with rows alone."
)
WHY = {"typical": "typical", "odd": "most unlike the others"}
NO_MATTER = ("seed", "device")
"""The settings that a preset does not depend on."""


class LabView(View):
    """Train and watch."""

    name = "lab"
    title = "Lab"
    group = "Training"
    of_experiment = False
    parameters = (*LAB_SETTINGS, *REPLAY_PARAMETERS)

    @staticmethod
    def settings(state: State) -> list[Any]:
        return [_field(state, own, name) for own, name in LAB_SETTINGS.items()]

    @staticmethod
    def snippet(state: State) -> str:
        return lab_snippet(state.lab_settings())

    @staticmethod
    def told(state: State) -> str:
        name = preset_of(state.lab_settings())
        if not has_runs(name):
            return ""
        runs = recorded_runs(name)
        what = f"<b>{PRESETS[name].title}</b>: {told(name)}"
        return verdict(runs, runs.replays[0]) + paragraph(what) + paragraph(rates(runs))

    def build(self, data: None) -> Any:
        state = self.context.state
        self.training: Training | None = None  # the one that runs or waits
        self._visit_over = False
        self.plots: LabFigure | None = None
        self.runs: Runs | None = None
        self.recorded: ReplayFigure | None = None
        self.besides: Scores | None = None
        self._shown = ""  # the preset whose runs are shown
        self.preset = pmui.Select(
            label="Preset",
            options={preset.title: name for name, preset in PRESETS.items()} | {OWN: OWN},
            size="small",
            margin=(6, 6),
            styles={"flex": "0 1 320px"},
            sizing_mode="stretch_width",
        )
        self.preset.param.watch(self._take_preset, "value")
        state.param.watch(lambda *_: self.describe(), list(LAB_SETTINGS))
        self.introduction = _untold(note())
        self.seed = pmui.Select(
            label="Seed replayed",
            options=[],
            size="small",
            margin=(6, 6),
            styles={"flex": "0 1 260px"},
            sizing_mode="stretch_width",
        )
        self.seed.param.watch(self._show_replay, "value")
        self.start = pmui.Button(label=START, icon=icons.START, margin=(6, 6))
        self.start.on_click(lambda _: self._begin())
        self.cancel = pmui.Button(
            label="Cancel", icon=icons.STOP, variant="outlined", disabled=True, margin=(6, 6)
        )
        self.cancel.on_click(lambda _: self._stop())
        self.status = html("", "lab-status")
        self.layer = pmui.IntSlider(label="Layer", start=1, end=2, value=1, margin=(2, 16))
        self.layer.param.watch(self._show_layer, "value")
        self.pictures = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.replayed = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.verdict, self.rates = html(""), _untold(note())
        self.table = html("", "lab-table")
        self._pieces = Pieces()
        self.drop = FileDrop(sizing_mode="stretch_width", margin=(2, 14))
        self.drop.param.watch(self._take_piece, "piece")
        if pn.state.curdoc is not None and pn.state.curdoc.session_context is not None:
            pn.state.on_session_destroyed(self._visit_ended)
        return pn.Column(
            self.introduction,
            pn.Row(
                *(self.preset, self.seed, self.start, self.cancel),
                stylesheets=[":host { flex-wrap: wrap; align-items: center; }"],
                styles=UNLIMITED,
                sizing_mode="stretch_width",
                margin=(0, 8),
            ),
            self.status,
            self.pictures,
            self.table,
            self.replayed,
            beside(self.layer),
            beside(self.drop),
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        drawn = [each for each in (self.plots, self.recorded) if each is not None]
        return [
            f
            for each in drawn
            for f in (*each.figures.values(), *(m.figure for m in each.matrices))
        ] + ([self.besides.figure] if self.besides else [])

    def recolour(self, dark: bool) -> None:
        for each in (self.plots, self.recorded):
            if each is not None:
                each.colour(dark)

    def recut(self) -> None:
        self._recut(self._position())

    # ---- recorded runs ----------------------------------------------------------------------

    def complete(self) -> None:
        self._show_runs(preset_of(self.context.state.lab_settings()))

    def _show_runs(self, preset: str) -> None:
        """Show the recorded runs of a preset, or the axes of those that are to be trained."""
        if preset == self._shown:
            return
        self._shown = preset
        if preset == OWN or not has_runs(preset):
            self.runs = self.recorded = self.besides = None
            self.replayed[:] = []
            self.seed.visible = False
            if self.plots is None:
                self._draw([Record(each) for each in self._networks()])
                self.status.object = f"<p>{WAITING}</p>"
            return
        self.runs = runs = recorded_runs(preset)
        self.recorded = None  # the figure of other runs must not be told of these
        if self.plots is not None and not any(each.steps for each in self.plots.records):
            self.plots, self.pictures[:], self.status.object = None, [], ""
        choices = {f"{each.seed}: {WHY[each.why]}": each.seed for each in runs.replays}
        wanted = self.context.state.lab_seed
        chosen = wanted if wanted in choices.values() else runs.replays[0].seed
        with param.parameterized.discard_events(self.seed):
            self.seed.options = choices
            self.seed.value = chosen
        self.seed.param.trigger("options", "value")
        self.seed.visible = True
        self._draw_runs(runs)

    def _draw_runs(self, runs: Runs) -> None:
        state = self.context.state
        replay = self._replay(runs)
        layers = replay.gains.shape[-1]
        self.layer.param.update(end=max(2, layers), value=min(2, layers))
        self.recorded = shown = ReplayFigure(runs, replay, self._position(), self.layer.value)
        shown.colour(state.dark)
        last = len(shown.steps)
        self.slider = Slider(
            state_name=ALONG,
            leads=True,
            label="Step of training",
            value=self._position()[ALONG],
            start=1,
            end=last,
            marks=[1, *(last * k // 5 for k in range(1, 6))],
            sizing_mode="stretch_width",
            margin=(2, 16),
        )
        self.slider.param.watch(lambda event: setattr(state, ALONG, event.new), "value")
        f = shown.figures
        row = partial(plots, height=HEIGHT)
        entries = swatches(runs.connections)
        self.replayed[:] = [
            self.verdict,
            self.slider,
            html(legend([*entries, ("forward", "forward"), ("backward", "backward")])),
            row(f["gain"], f["loss"], f["score"]),
            beside(row(f["gradient_norm"], f["layers"], *(m.figure for m in shown.matrices))),
            *([beside(_of_experts(row, f, balanced(runs)))] if runs.routed else []),
            self.rates,
        ]
        self.besides = None
        for name, (preset, _) in BESIDES.items():
            if preset == self._shown and has_runs(name):
                self.replayed.extend(map(beside, self._draw_besides(name, runs)))
        self._say(runs, replay)
        self.set_type()

    def _draw_besides(self, name: str, runs: Runs) -> list[Any]:
        """The runs that a preset is compared with, below its own."""
        others = recorded_runs(name)
        if name == "ablation":
            what, of = f"{ABLATION} {ablated(others)}", "the ablation"
        else:
            what = f"{against_dense(runs, others)} {reach(runs, others)}"
            of = "the dense networks"
        self.besides = Scores(f"runs-{name}", others, ends=score_range(runs, others), of=of)
        return [
            _untold(note(what)),
            plots(self.besides.figure, height=HEIGHT),
            _untold(note(rates(others))),
        ]

    def _replay(self, runs: Runs) -> Replay:
        return next((r for r in runs.replays if r.seed == self.seed.value), runs.replays[0])

    def _position(self) -> Position:
        state = self.context.state
        last = len(self.recorded.steps) if self.recorded else state.replay
        if self.runs is not None:
            last = self.runs.curves["loss"].shape[-1]
        return {**state.position(), ALONG: min(state.replay, last)}

    def _show_replay(self, *_: Any) -> None:
        if self.recorded is None or self.runs is None:
            return
        replay = self._replay(self.runs)
        with hold():
            self.recorded.show(replay, min(self.layer.value, replay.gains.shape[-1]))
            self._say(self.runs, replay)

    def _say(self, runs: Runs, replay: Replay) -> None:
        self.verdict.object = verdict(runs, replay)
        self.rates.object = paragraph(rates(runs))

    # ---- training ---------------------------------------------------------------------------

    def _networks(self) -> list[Settings]:
        """What is to be trained."""
        settings = self.context.state.lab_settings()
        return [Settings(connection=name, **settings) for name in COMPARED]

    def _take_preset(self, *_: Any) -> None:
        if self.preset.value == OWN:
            return
        values = PRESETS[self.preset.value].settings().values_by_name()
        chosen = {own: values[n] for own, n in LAB_SETTINGS.items() if n not in NO_MATTER}
        self.context.state.param.update(**chosen)

    def describe(self) -> None:
        settings = self.context.state.lab_settings()
        name = preset_of(settings)
        self.preset.value = name
        preset = PRESETS.get(name)
        what = f"<b>{preset.title}</b>: {told(name)}" if preset else f"<b>{OWN}</b>."
        if self.runs is not None or self.plots is not None:  # it has been completed
            self._show_runs(name)
        self.introduction.object = paragraph(
            f"{what} The plain residual network, HC and mHC train on the same data, from the same "
            f"seed, with the same optimiser (AdamW): {settings['depth']} layers of width "
            f"{settings['width']}, learning rate {settings['learning_rate']:g}."
        )

    def _begin(self) -> None:
        # A second click may have been sent before the browser disabled the button, and one button
        # could not cancel two trainings.
        if self.training is not None or self._visit_over:
            return
        training = Training(self._networks())
        try:
            training.check()
        except (ValueError, TypeError, ImportError) as error:
            self.status.object = f"<p>This cannot be trained: {escape(str(error).rstrip('.'))}.</p>"
            return
        self.training = training
        self.start.disabled, self.cancel.disabled = True, False
        self.table.object = ""
        with hold():
            self._draw(training.records)
        pn.state.execute(partial(self._train, training))

    async def _train(self, training: Training) -> None:
        try:
            await training.run(self._in_turn(training, self._follow))
        finally:
            self._in_turn(training, self._ended)()

    def _in_turn(self, training: Training, show: Any) -> Any:
        """A function that schedules `show`, since others may hold the document's lock just then."""

        def later() -> None:
            if not self._visit_over:
                pn.state.execute(partial(show, training), schedule=True)

        return later

    def _visit_ended(self, _: Any) -> None:
        self._visit_over = True  # there is no page left to show it on
        self._stop()

    def _stop(self) -> None:
        if self.training is not None:
            self.training.cancel()

    # ---- records of one's own ----------------------------------------------------------------

    def _take_piece(self, event: param.parameterized.Event) -> None:
        problem = ""
        try:
            files = self._pieces.add(event.new)
        except RefusedError as error:
            files, problem = None, str(error)
        self.drop.param.update(taken=self.drop.taken + 1, problem=problem)
        if files is not None:
            pn.state.execute(partial(self._open, files))

    async def _open(self, files: dict[str, str]) -> None:
        records, refused = await asyncio.to_thread(records_of, files)
        pn.state.execute(partial(self._opened, records, refused), schedule=True)

    def _opened(self, records: list[Record], refused: list[str]) -> None:
        self.drop.problem = " ".join(refused)
        if not records or self._visit_over:
            return
        if self.training is not None:
            self.drop.problem = "A training is running here: cancel it first."
            return
        with hold():
            self._draw(records)
            opened = f"{len(records)} record{'' if len(records) == 1 else 's'}"
            self.status.object = f'<p role="status">Opened {opened}.</p>'
            self.table.object = results(records)

    # ---- showing ----------------------------------------------------------------------------

    def _draw(self, records: list[Record]) -> None:
        self.plots = shown = LabFigure(records, legends=False)
        shown.colour(self.context.state.dark)
        depth = records[0].settings.depth
        self.layer.param.update(end=max(2, depth), value=shown.layer)
        f = shown.figures
        row = partial(plots, height=HEIGHT)
        entries = swatches(each.settings.connection for each in records)
        self.pictures[:] = [
            html(legend([*entries, ("forward", "forward"), ("backward", "backward")])),
            row(f["gain"], f["loss"], f["gradient_norm"]),
            row(f["mixing"], f["layer"], f["layers"]),
            *([_of_experts(row, f)] if "load" in f else []),
            row(*(each.figure for each in shown.matrices)),
        ]
        self.set_type()

    def _follow(self, training: Training) -> None:
        if training is not self.training:
            return
        with hold():
            self.status.object = progress(training)
            if self.plots is not None:
                self.plots.update()

    def _show_layer(self, *_: Any) -> None:
        self._show_replay()
        if self.plots is not None:
            depth = self.plots.records[0].settings.depth
            with pn.io.hold():
                self.plots.show_layer(min(self.layer.value, depth))

    def _ended(self, training: Training) -> None:
        self._follow(training)
        self.training = None
        self.start.disabled, self.cancel.disabled = False, True
        if training.failure:
            outcome = f"The training broke off: {escape(training.failure)}"
        else:
            done = sum(len(record.steps) for record in training.records)
            outcome = f"Cancelled after {done:,} steps." if training.cancelled else "Done."
        self.status.object = f'<p role="status">{outcome}</p>'
        self.table.object = results(training.records)


def _untold(pane: pn.pane.HTML) -> pn.pane.HTML:
    """A pane that is hidden while a scene has the audience guess (static/guess.js)."""
    pane.css_classes = [*pane.css_classes, "untold"]
    return pane


def _of_experts(row: Any, figures: Mapping[str, figure], said: str = "") -> Any:
    """The plots of networks with experts, and what they show."""
    return pn.Column(
        note(EXPLAINED),
        row(*(figures[name] for name in OF_EXPERTS)),
        *([_untold(note(said))] if said else []),
        sizing_mode="stretch_width",
        margin=0,
    )


def preset_of(settings: Mapping[str, Any]) -> str:
    """The preset that has these settings, or `OWN`."""

    def relevant(values: Mapping[str, Any]) -> dict[str, Any]:
        return {n: values[n] for n in LAB_SETTINGS.values() if n not in NO_MATTER}

    for name, preset in PRESETS.items():
        if relevant(preset.settings().values_by_name()) == relevant(settings):
            return name
    return OWN


def beside(content: Any) -> Any:
    """What a lecture has no room for (`static/story.js`)."""
    content.styles = {**content.styles, "display": "var(--mhc-more, flex)"}
    return content


def _field(state: State, own: str, name: str) -> Any:
    """The control of a setting; its label need not say that it is of the lab."""
    parameter = state.param[own]
    options = {"label": Settings.param[name].label, **WIDE}
    if name == "projection":
        return projection_menu(parameter, **options)
    if isinstance(parameter, param.Selector):
        return pmui.Select.from_param(parameter, size="small", **options)
    return typed(state, own, **options)

"""The lab: three networks train side by side on real data, and one watches their mixing matrices.

This has nothing to do with the experiment of the other views.  The training runs in a process of
its own (`app/training.py`), continues while another view is open, and ends with the visit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.plotting import figure

from ...lab.connections import COMPARED, CONNECTIONS
from ...lab.figure import LabFigure
from ...lab.records import Record
from ...lab.settings import PRESETS, SETTINGS, Settings
from ...lab.tasks import TASKS
from ...numerics.numbers import in_html
from ...numerics.paper import MHC_PAPER, TRAINING_OVERHEAD
from .. import icons
from .._panel import hold
from ..fields import typed
from ..snippet import lab_snippet
from ..training import Training
from .base import UNLIMITED, WIDE, View, html, legend, note, paragraph, plots

if TYPE_CHECKING:
    from ..state import State

LAB_SETTINGS = {
    f"lab_{name}": name
    for name in SETTINGS
    if name != "connection" and (Settings.param[name].precedence or 0) >= 0
}
"""The settings that all networks share, by their parameter in the page's state."""

HEIGHT = "clamp(240px, 34vh, 520px)"
OWN = "Your own settings"
"""What the list of presets shows for other settings."""
WAITING = "Nothing has been trained yet: Start draws three networks here while they learn."
NO_MATTER = ("seed", "device")
"""The settings that a preset does not depend on."""


class LabView(View):
    """Train and watch."""

    name = "lab"
    title = "Lab"
    group = "Training"
    of_experiment = False
    parameters = tuple(LAB_SETTINGS)

    @staticmethod
    def settings(state: State) -> list[Any]:
        return [_field(state, own, name) for own, name in LAB_SETTINGS.items()]

    @staticmethod
    def snippet(state: State) -> str:
        return lab_snippet(state.lab_settings())

    def build(self, data: None) -> Any:
        state = self.context.state
        self.training: Training | None = None  # the one that runs or waits
        self._visit_over = False
        self.plots: LabFigure | None = None
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
        self.introduction = note()
        self.start = pmui.Button(label="Start", icon=icons.START, margin=(6, 6))
        self.start.on_click(lambda _: self._begin())
        self.cancel = pmui.Button(
            label="Cancel", icon=icons.STOP, variant="outlined", disabled=True, margin=(6, 6)
        )
        self.cancel.on_click(lambda _: self._stop())
        self.status = html("", "lab-status")
        self.layer = pmui.IntSlider(label="Layer", start=1, end=2, value=1, margin=(2, 16))
        self.layer.param.watch(self._show_layer, "value")
        self.pictures = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.table = html("", "lab-table")
        if pn.state.curdoc is not None and pn.state.curdoc.session_context is not None:
            pn.state.on_session_destroyed(self._visit_ended)
        return pn.Column(
            self.introduction,
            pn.Row(
                *(self.preset, self.start, self.cancel),
                stylesheets=[":host { flex-wrap: wrap; align-items: center; }"],
                styles=UNLIMITED,
                sizing_mode="stretch_width",
                margin=(0, 8),
            ),
            self.status,
            self.pictures,
            self.table,
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        if self.plots is None:
            return []
        matrices = [each.figure for each in self.plots.matrices]
        return [*self.plots.figures.values(), *matrices]

    def recolour(self, dark: bool) -> None:
        if self.plots is not None:
            self.plots.colour(dark)

    def complete(self) -> None:
        # The axes stand before anything has been trained, and say what is to be seen there.
        if self.plots is None:
            self._draw([Record(each) for each in self._networks()])
            self.status.object = f"<p>{WAITING}</p>"

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
        what = f"<b>{preset.title}</b>: {preset.note}" if preset else f"<b>{OWN}</b>."
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

    # ---- showing ----------------------------------------------------------------------------

    def _draw(self, records: list[Record]) -> None:
        self.plots = shown = LabFigure(records, legends=False)
        shown.colour(self.context.state.dark)
        depth = records[0].settings.depth
        self.layer.param.update(end=max(2, depth), value=shown.layer)
        f = shown.figures
        row = partial(plots, height=HEIGHT)
        colours = {"residual": "identity", "hc": "hc", "mhc": "projected"}
        entries = [(colours[name], CONNECTIONS[name]) for name in COMPARED]
        self.pictures[:] = [
            html(legend([*entries, ("forward", "forward"), ("backward", "backward")])),
            row(f["gain"], f["loss"], f["gradient_norm"]),
            row(f["mixing"], f["layer"], f["layers"]),
            row(*(each.figure for each in shown.matrices)),
            self.layer,
        ]
        self.set_type()

    def _follow(self, training: Training) -> None:
        if training is not self.training:
            return
        with hold():
            self.status.object = _progress(training)
            if self.plots is not None:
                self.plots.update()

    def _show_layer(self, *_: Any) -> None:
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
        self.table.object = _results(training.records)


def preset_of(settings: Mapping[str, Any]) -> str:
    """The preset that has these settings, or `OWN`."""

    def relevant(values: Mapping[str, Any]) -> dict[str, Any]:
        return {n: values[n] for n in LAB_SETTINGS.values() if n not in NO_MATTER}

    for name, preset in PRESETS.items():
        if relevant(preset.settings().values_by_name()) == relevant(settings):
            return name
    return OWN


def _field(state: State, own: str, name: str) -> Any:
    """The control of a setting; its label need not say that it is of the lab."""
    parameter = state.param[own]
    options = {"label": Settings.param[name].label, "size": "small", **WIDE}
    if isinstance(parameter, param.Selector):
        return pmui.Select.from_param(parameter, **options)
    return typed(state, own, **options)


def _progress(training: Training) -> str:
    if training.before:
        others = "another training" if training.before == 1 else f"{training.before} trainings"
        return f'<p role="status">Waiting in line: {others} of this server must end before.</p>'
    done, most = training.steps
    if not done:
        return "<p>Starting …</p>"
    left = training.seconds_left
    rest = f"{math.ceil(left)} s left" if math.isfinite(left) else ""
    return (
        f'<p><progress aria-label="Training" value="{done}" max="{most}"></progress> '
        f"{done} of {most} steps, {rest}</p>"
    )


def _results(records: list[Record]) -> str:
    """A table of the results, and below it what the paper measured."""
    finished = {each.settings.connection: each.summary for each in records if each.summary}
    if not finished:
        return ""
    plain = finished.get("residual")
    task = TASKS[records[0].settings.task]
    rows = ""
    for name, end in finished.items():
        times = end.seconds_per_step / plain.seconds_per_step if plain else math.nan
        rows += (
            f'<tr><th scope="row">{CONNECTIONS[name]}</th><td>{end.outcome}, {end.steps} steps</td>'
            f"<td>{_number(end.loss)}</td><td>{_score(end.score, task.score)}</td>"
            f"<td>{in_html(end.largest_gain)}</td>"
            f"<td>{_number(end.largest_gradient_norm)}</td>"
            f"<td>{1e3 * end.seconds_per_step:.3g} ms</td><td>{_number(times)} ×</td></tr>"
        )
    return (
        '<div class="lab-results"><table class="cost-table"><thead><tr><th scope="col">Network</th>'
        '<th scope="col">Outcome</th><th scope="col">Last loss</th>'
        f'<th scope="col">{task.score.capitalize()} (validation)</th>'
        '<th scope="col">Largest composite gain</th><th scope="col">Largest gradient norm</th>'
        '<th scope="col">Time per step</th><th scope="col">of the residual network’s</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
        "<p>Times are medians as measured here, on this machine, of networks this small, taking "
        f"turns. The paper measured {100 * TRAINING_OVERHEAD:.1f} % more training time for mHC at "
        "n = 4, with fused kernels, recomputation and overlapped communication at large scale "
        f"({escape(MHC_PAPER)}, section 4.3).</p></div>"
    )


def _score(score: float, kind: str) -> str:
    if not math.isfinite(score):
        return "—"
    return f"{100 * score:.1f} %" if kind == "accuracy" else f"{score:.3f}"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "—"

"""What the lab recorded: runs that can be replayed, and the Jacobians of its networks."""

from __future__ import annotations

import numpy as np

from ....figures import words
from ....figures.packed import GAINS, PLAIN
from ....lab.evidence import has_runs, recorded_runs
from ....lab.findings import balanced, told
from ....lab.jacobian import recorded_jacobians
from ....lab.replay import ALONG, OF_EXPERTS, ReplayFigure
from ....lab.routing import EXPLAINED
from ....lab.settings import PRESETS
from ....lab.verdict import rates, swatches, verdict
from ....lab.whole import jacobian_figures, jacobian_legend, jacobian_note
from .base import Choice, Plot


class Replay(Plot):
    """Recorded runs of the lab, one of which a slider of its own replays."""

    name = "replay"
    view = "lab"
    title = "Lab"
    group = "Training"
    of_experiment = False
    choices = (
        Choice(
            "preset",
            "Preset",
            {PRESETS["fails"].title: "fails"}  # that of the story
            | {each.title: name for name, each in PRESETS.items() if has_runs(name)},
        ),
        Choice(
            "replayed",
            "Seed replayed",
            {"typical": "typical", "most unlike the others": "odd"},
        ),
    )

    def build(self) -> None:
        self.runs = recorded_runs(self.request.preset)
        self.replay = next(r for r in self.runs.replays if r.why == self.request.replayed)
        position = {**self.request.position, ALONG: 1}
        shown = ReplayFigure(self.runs, self.replay, position, layer=2)
        for source, cells in zip(shown.tables, (GAINS, PLAIN, PLAIN, PLAIN), strict=False):
            columns = {name: np.asarray(c, float) for name, c in source.data.items()}
            self.pack(source, [columns], *cells)
        names = ("gain", "loss", "score", "gradient_norm", "layers")
        self.figures = [shown.figures[each] for each in names]
        self.figures += [each.figure for each in shown.matrices]
        self.figures += [shown.figures[name] for name in OF_EXPERTS if self.runs.routed]
        last = len(shown.steps)
        marks = [1, *(last * k // 5 for k in range(1, 6))]
        self.sliders = {
            ALONG: {
                "label": "Step of training",
                "start": 1,
                "end": last,
                "marks": marks,
                "of_view": True,
            }
        }

    def legend(self) -> list[words.Entry]:
        entries = swatches(self.runs.connections)
        return [*entries, ("forward", "forward"), ("backward", "backward")]

    def note(self, i: int) -> str:
        said = f"{told(self.request.preset)} {rates(self.runs)}"
        return f"{said} {EXPLAINED} {balanced(self.runs)}" if self.runs.routed else said

    def html(self) -> str:
        slider = f'<div class="range" data-name="{ALONG}"></div>'
        # A lecture has room for three.
        others = len(self.figures) - 3
        plots = '<div class="plot"></div>' * 3 + '<div class="plot beside"></div>' * others
        return f'<div class="replay">{verdict(self.runs, self.replay)}{slider}</div>{plots}'


class Jacobian(Plot):
    """The derivative of the lab's networks, branches included, beside H_res alone."""

    name = "jacobian"
    view = "jacobian"
    title = "Whole network"
    group = "Training"
    of_experiment = False

    def build(self) -> None:
        self.found = recorded_jacobians()
        self.figures = list(jacobian_figures(self.found).values())

    def legend(self) -> list[words.Entry]:
        return jacobian_legend()

    def note(self, i: int) -> str:
        return jacobian_note(self.found)

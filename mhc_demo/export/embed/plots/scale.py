"""A pipeline's schedule, simulated for the paper's 27B model: a file cannot simulate another."""

from __future__ import annotations

from ....figures import pipeline, words
from ....figures.stages import ALL, account, lesson, tables_html
from ....numerics.pipeline import SCHEDULES
from ....numerics.stages import WAYS, Stages, timeline
from .base import Choice, Plot

SHOWN = WAYS["all three"]


class Scale(Plot):
    """What n streams send between the stages, drawn on the schedules."""

    name = "scale"
    view = "scale"
    title = "At scale"
    group = "Cost"
    of_experiment = False
    choices = (
        Choice(
            "schedule",
            "Schedule",
            {"All of them": ALL} | {each.title: name for name, each in SCHEDULES.items()},
        ),
    )

    def build(self) -> None:
        self.stages, chosen = Stages(), self.request.schedule
        lines = {name: timeline(self.stages, name, SHOWN) for name in SCHEDULES}
        end = pipeline.end_of(lines.values())
        drawn = [name for name in SCHEDULES if chosen in (ALL, name)]
        self.figures = [
            pipeline.PipelineFigure(lines[name], end, last=name == drawn[-1]).figure
            for name in drawn
        ]

    def legend(self) -> list[words.Entry]:
        both_ways = self.request.schedule in (ALL, "dualpipe")
        return pipeline.legend(both_ways=both_ways, recomputed=SHOWN.recomputed)

    def note(self, i: int) -> str:
        return f"{account(self.stages, SHOWN)}<br>{lesson(self.stages, self.request.schedule)}"

    def html(self) -> str:
        plots = '<div class="plot"></div>' * len(self.figures)
        tables = tables_html(self.stages, self.request.schedule, SHOWN)
        return f'<div class="halves">{plots}</div><div class="counts">{tables}</div>'

"""The composite gain against depth, and against iterations at the chosen depth."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.plotting import figure

from ...figures import CompositeFigure, IterationsFigure, words
from .base import View, html, lines_legend, note, paragraph, plot, plots, with_scale


class CompositeView(View):
    """Composite gain against depth, and against iterations at the chosen depth."""

    name = "composite"
    title = "Composite gain"
    group = "Gain"

    def build(self, data: Any) -> Any:
        context = self.context
        self.cliff: IterationsFigure | None = None
        self.main = CompositeFigure(context.surface, context.table, context.state.position())
        self.plots = plots(self.main.figure, None, shares=(2, 1))
        self.legend = html("")
        self.note = note()
        return pn.Column(
            with_scale(context.state, self.legend),
            self.plots,
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def complete(self) -> None:
        context = self.context
        self.cliff = IterationsFigure(
            context.surface, context.table, context.state.position(), self.main.y_range
        )
        self.plots[1].append(plot(self.cliff.figure))
        self.set_type()

    def figures(self) -> list[figure]:
        return [each.figure for each in (self.main, self.cliff) if each is not None]

    def update(self, data: Any) -> None:
        self.main.update(self.context.surface)

    def describe(self) -> None:
        self.legend.object = lines_legend(self.context.state, *words.theory(self.context.surface))
        self.note.object = paragraph(words.composite(self.context.state))

"""The composite gain against depth, and against iterations at the chosen depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
from bokeh.plotting import figure

from ...figures import CompositeFigure, IterationsFigure
from ...mixing import gaussian_growth
from ...projections import PROJECTIONS
from .base import View, html, lines_legend, note, paragraph, plot, plots

if TYPE_CHECKING:
    from ..explorer import Explorer


class CompositeView(View):
    """Composite gain against depth, and against iterations at the chosen depth."""

    name = "composite"
    title = "Composite gain"

    def build(self, data: Any) -> Any:
        explorer = self.explorer
        self.cliff: IterationsFigure | None = None
        self.main = CompositeFigure(explorer.surface, explorer.table, explorer.state.seen())
        self.plots = plots(self.main.figure, None, shares=(2, 1))
        self.legend = html("")
        self.note = note()
        self._describe()
        return pn.Column(
            self.legend,
            self.plots,
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def complete(self) -> None:
        explorer = self.explorer
        self.cliff = IterationsFigure(
            explorer.surface, explorer.table, explorer.state.seen(), self.main.y_range
        )
        self.plots[1].append(plot(self.cliff.figure))
        self.set_type()

    def figures(self) -> list[figure]:
        return [each.figure for each in (self.main, self.cliff) if each is not None]

    def update(self, data: Any) -> None:
        self.main.update(self.explorer.surface)
        self._describe()

    def moved(self) -> bool:
        self._describe()
        return False

    def _describe(self) -> None:
        has_theory = bool(self.explorer.surface["expected_log10_gain"].notnull().any())
        theory = [("theory", "theory of HC (exact mean)")] if has_theory else []
        self.legend.object = lines_legend(self.explorer, *theory)
        self.note.object = paragraph(f"{_growth_sentence(self.explorer)} {_note(self.explorer)}")


def _growth_sentence(explorer: Explorer) -> str:
    """What theory says of the unconstrained line, for the init that has a theory."""
    state = explorer.state
    if state.init != "gaussian" or state.spread == 0:
        return ""
    rate, deviation = gaussian_growth(state.streams, state.spread)
    pace = abs(rate)
    what = (
        "barely moves"
        if pace < 0.04
        else (
            ("explodes" if rate > 0 else "vanishes")
            if pace > 0.1
            else ("grows" if rate > 0 else "shrinks")
        )
    )
    return (
        f"<b>At n = {state.streams} and spread {state.spread:g} unconstrained mixing {what}</b>: "
        f"{rate:+.3f} decades per layer, ± {deviation:.3f} per √layer over seeds "
        "(top Lyapunov exponent of Gaussian products; Newman 1986).".replace("-", "−")
    )


def _note(explorer: Explorer) -> str:
    chosen = PROJECTIONS[explorer.state.projection]
    return f"<b>{chosen.title}</b>: {chosen.note}"

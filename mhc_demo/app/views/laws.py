"""Why it holds: the theorems behind the page, each with a plot of both of its sides.

All of it is computed from the experiment that the page shows.  The browser moves the marks with the
depth and the iterations; the numbers in the sentences follow from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
from bokeh.plotting import figure

from ...figures import laws as figures
from ...figures.statements import (
    CARDS_OF_LAWS,
    FIRST,
    Card,
    Measured,
    in_card,
    legends,
    measured,
    words_of,
)
from ...numerics.projections import PROJECTIONS
from ...story.formulas import FORMULAS
from ...story.glossary import explained
from ..computing import Key, Position, experiment_of
from ..snippet import laws_snippet
from ..static import CSS, LAWS_CSS
from .base import UNLIMITED, View, legend, plot

if TYPE_CHECKING:
    from ..state import State as PageState

SHIPPED_WHOLE = 8
"""Up to this n the norms of all iterations are computed at once; above, the present ones'."""

HEIGHT = "var(--mhc-heatmap, clamp(200px, 17vw, 330px))"
"""Of a plot; in a lecture what is left of the screen."""


class LawsView(View):
    """Why it holds: six statements, each with a plot."""

    name = "why"
    title = "Why it holds"
    group = "Why it holds"

    @staticmethod
    def compute(key: Key, position: Position) -> Measured:
        experiment = experiment_of(key)
        only = position["iterations"] if experiment.streams > SHIPPED_WHOLE else None
        return measured(experiment, only=only)

    @staticmethod
    def told(state: PageState) -> str:
        return "".join(
            f"<h3>{card.title}</h3>{FORMULAS[card.formula].markup()}<p>{card.text}</p>"
            for card in CARDS_OF_LAWS
        )

    @staticmethod
    def snippet(state: PageState) -> str:
        return laws_snippet({**dict(state.key()), **state.position()})

    def build(self, data: Measured) -> Any:
        state = self.context.state
        self.data = data
        position = state.position()
        self.limits = figures.LimitsFigure(data.limits, position)
        self.composites = figures.CompositeLawsFigure(data.composites, position)
        self.rows = figures.RowsFigure(data.rows, position)
        self.drift = figures.DriftFigure(data.drift)
        self.table = _pane("")
        kept, norms = self.composites.figures
        shown = {
            "limits": self.limits.figure,
            "kept": kept,
            "norms": norms,
            "kinds": self.table,
            "drift": self.drift.figure,
            "rows": self.rows.figure,
        }
        self.below = {card.name: _pane("") for card in CARDS_OF_LAWS}
        return pn.Row(
            *(self._card(k, card, shown[card.name]) for k, card in enumerate(CARDS_OF_LAWS)),
            stylesheets=[":host { flex-wrap: wrap; align-items: flex-start; }"],
            styles=UNLIMITED,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _card(self, k: int, card: Card, shown: Any) -> pn.Column:
        if isinstance(shown, figure):
            shown = pn.Column(
                plot(shown), styles={"height": HEIGHT, "flex": "none"}, margin=(0, 8, 0, 0)
            )
        head = f'<h3>{card.title}</h3><div class="drawn">{FORMULAS[card.formula].markup()}</div>'
        return pn.Column(
            _pane(head),
            shown,
            self.below[card.name],
            styles={
                **UNLIMITED,
                "flex": "1 1 min(100%, max(430px, 30%))",
                "min-width": "0",
                **({"display": "var(--mhc-more, flex)"} if k >= FIRST else {}),
            },
            margin=0,
        )

    def figures(self) -> list[figure]:
        kept, norms = self.composites.figures
        return [self.limits.figure, kept, norms, self.drift.figure, self.rows.figure]

    def update(self, data: Measured) -> None:
        self.data = data
        self.limits.update(data.limits)
        self.composites.update(data.composites)
        self.rows.update(data.rows)
        self.drift.update(data.drift)

    def holds(self, position: Position) -> bool:
        return position["iterations"] in self.composites.table.tags[0]["iterations"]

    def describe(self) -> None:
        state = self.context.state
        position = state.position()
        if not self.holds(position):
            return  # it is updated in a moment
        self.table.object = in_card(figures.kinds_html(self.data.kinds, position["depth"]))
        chosen = PROJECTIONS[state.projection]
        depth, iterations = position["depth"], position["iterations"]
        entries = legends(chosen.label, iterations > 0)
        said = words_of(self.data, chosen, depth=depth, iterations=iterations)
        for card in CARDS_OF_LAWS:
            above = legend(entries[card.name]) if card.name in entries else ""
            text = explained(f'<p>{card.text}</p><p class="now">{said[card.name]}</p>')
            self.below[card.name].object = in_card(above + text)


def _pane(text: str) -> pn.pane.HTML:
    return pn.pane.HTML(
        in_card(text) if text else "",
        stylesheets=[CSS, LAWS_CSS],
        styles=UNLIMITED,
        sizing_mode="stretch_width",
        margin=0,
    )

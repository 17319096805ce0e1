"""The plots of the theorems behind the page, each with what it says at every position."""

from __future__ import annotations

from typing import Any

from ....figures import laws as figures
from ....figures import words
from ....figures.packed import FINE
from ....figures.statements import (
    CARDS_OF_LAWS,
    FIRST,
    Card,
    all_places,
    at_every_depth,
    in_card,
    legends,
    measured,
)
from ....numerics.projections import PROJECTIONS
from ....story.formulas import FORMULAS
from ....story.glossary import explained
from .base import Plot


class Laws(Plot):
    """Six statements, each with both of its sides measured."""

    name = "why"
    view = "why"
    title = "Why it holds"
    group = "Why it holds"
    scripts = ("laws.js",)
    styles = ("laws.css",)

    def build(self) -> None:
        request = self.request
        limits, position = request.limits, request.position
        self.found = [measured(each, **limits) for each in request.experiments]
        self.chosen = PROJECTIONS[request.experiments[0].projection]
        first = self.found[0]
        of_limits = figures.LimitsFigure(first.limits, position)
        composites = figures.CompositeLawsFigure(first.composites, position)
        rows = figures.RowsFigure(first.rows, position)
        drift = figures.DriftFigure(first.drift)
        composites.fit(*(each.composites for each in self.found))
        rows.fit(*(each.rows for each in self.found))
        drift.fit(*(each.drift for each in self.found))
        columns = {
            of_limits.table: [figures.limit_columns(each.limits, float) for each in self.found],
            rows.source: [figures.rows_columns(each.rows) for each in self.found],
            drift.source: [figures.drift_columns(each.drift) for each in self.found],
        }
        for source, of_each in columns.items():
            self.pack(source, of_each, *FINE)
        self.pack(
            composites.table, [figures.law_columns(each.composites, float) for each in self.found]
        )
        self.composites = composites.table
        kept, norms = composites.figures
        self.figures = [of_limits.figure, kept, norms, drift.figure, rows.figure]

    def said(self, i: int) -> dict[str, Any]:
        common = at_every_depth(self.request.experiments[i], self.request.limits["depth"])
        return {
            "laws": {
                "table": self.composites.id,
                "of_depth": common.said,
                "places": all_places(self.found[i].composites, self.chosen),
                "kinds": common.kinds,
            }
        }

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        entries = legends(self.chosen.label, projected=True)
        cards = (self._card(k, card, entries) for k, card in enumerate(CARDS_OF_LAWS))
        return f'<div class="mhc-laws">{"".join(cards)}</div>'

    def _card(self, k: int, card: Card, entries: dict[str, list[words.Entry]]) -> str:
        drawn = '<div class="kinds"></div>' if card.name == "kinds" else '<div class="plot"></div>'
        above = words.legend(entries[card.name], explained) if card.name in entries else ""
        return in_card(
            f'<h3>{card.title}</h3><div class="drawn">{FORMULAS[card.formula].markup()}</div>'
            f'{drawn}{above}{explained(f"<p>{card.text}</p>")}<p class="now"></p>',
            card.name,
            " more" * (k >= FIRST),
        )

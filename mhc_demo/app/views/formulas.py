"""The mathematics in one place, every symbol explained."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...story.formulas import FORMULAS
from ...story.glossary import explained
from .base import View, html


class FormulasView(View):
    """All formulas, with what they say and where they come from."""

    name = "formulas"
    title = "Formulas"
    group = "Formulas"
    of_experiment = False

    def build(self, data: Any) -> Any:
        return html(_formulas())


@cache
def _formulas() -> str:
    return (
        '<div class="formulas">'
        + "".join(
            f'<section><h3>{each.title}</h3><div class="drawn">{each.markup()}</div>'
            f'<p>{explained(each.text)}</p><p class="source">{each.source}</p></section>'
            for each in FORMULAS.values()
        )
        + "</div>"
    )

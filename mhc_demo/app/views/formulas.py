"""The mathematics in one place, every symbol explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...story.formulas import formulas_html
from .base import View, html

if TYPE_CHECKING:
    from ..state import State


class FormulasView(View):
    """All formulas, with what they say and where they come from."""

    name = "formulas"
    title = "Formulas"
    group = "Formulas"
    of_experiment = False

    @staticmethod
    def told(state: State) -> str:
        return formulas_html()

    def build(self, data: Any) -> Any:
        return html(formulas_html())

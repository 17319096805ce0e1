"""The 27B model's own matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...figures import figure8_html
from .base import View, html

if TYPE_CHECKING:
    from ..state import State


class Figure8View(View):
    """The 27B model's own matrices."""

    name = "figure8"
    title = "27B model"
    group = "Real models"
    of_experiment = False

    @staticmethod
    def told(state: State) -> str:
        return figure8_html()

    def build(self, data: Any) -> Any:
        self.page = html(figure8_html())
        self.set_type()
        return self.page

    def set_type(self) -> None:
        self.page.css_classes = ["large"] if self.context.state.present else []

"""The 27B model's own matrices."""

from __future__ import annotations

from typing import Any

from ...figures import figure8_html
from .base import View, html


class Figure8View(View):
    """The 27B model's own matrices."""

    name = "figure8"
    title = "27B model"
    group = "Real models"
    of_experiment = False

    def build(self, data: Any) -> Any:
        self.page = html(figure8_html())
        self.set_type()
        return self.page

    def set_type(self) -> None:
        self.page.css_classes = ["large"] if self.context.state.present else []

"""The 27B model's own matrices."""

from __future__ import annotations

from typing import Any

from ...figures import figure8_html
from .base import View, html


class Figure8View(View):
    """The 27B model's own matrices."""

    name = "figure8"
    title = "27B model"

    def build(self, data: Any) -> Any:
        return html(figure8_html())

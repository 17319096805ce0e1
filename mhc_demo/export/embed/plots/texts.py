"""What is read, not drawn: the formulas, and the claims with what is true of them."""

from __future__ import annotations

from ....figures import words
from ....story.claims import TITLE, claims_html
from ....story.formulas import formulas_html
from .base import Plot


class Formulas(Plot):
    """The mathematics in one place, every symbol explained."""

    name = "formulas"
    view = "formulas"
    title = "Formulas"
    group = "Formulas"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        return formulas_html()


class Claims(Plot):
    """What has been written about mHC, and what is true of it."""

    name = "claims"
    view = "claims"
    title = TITLE
    group = "Take home"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        scenes = self.request.scenes
        return claims_html((lambda name: f"{scenes}{name}") if scenes else None)


class Link(Claims):
    """In place of the page's link, which a file does not have: what its reader may have read."""

    name = "link"
    view = "link"
    title = ""  # no door of its own

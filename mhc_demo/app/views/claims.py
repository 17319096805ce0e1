"""What has been written about mHC, and what is true of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn

from ...story.claims import TITLE, claims_html, claims_of_the_page
from .base import View, html

if TYPE_CHECKING:
    from ..state import State


class ClaimsView(View):
    """Popular claims, each with the scene that shows what is true of it."""

    name = "claims"
    title = TITLE
    group = "Take home"
    of_experiment = False

    @staticmethod
    def told(state: State) -> str:
        return claims_of_the_page()

    def build(self, data: Any) -> Any:
        document = pn.state.curdoc
        served = document is not None and document.session_context is not None
        # In a notebook a link would lead away from it.
        return html(claims_of_the_page() if served else claims_html(None))

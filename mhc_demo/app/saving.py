"""Below the plots: what saves them; and with it what describes them to who cannot see them."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from .static import CSS


class Saving(JSComponent):
    """Text alternatives of all plots that are seen, and a row of buttons for each.

    One for the whole page, which finds the plots by itself: see `static/plots.js`.
    """

    query = param.String(doc="The state as in a link, which saved pictures carry.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const stop = mhc.plots(host, view.model.document, () => model.query)
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]

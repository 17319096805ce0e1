"""Below the plots: buttons that save them, and their descriptions for those who cannot see them."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from .static import CSS


class Saving(JSComponent):
    """Text alternatives of all visible plots, and a row of buttons for each.

    One component serves the whole page, and finds the plots itself: see `static/plots.js`.
    """

    query = param.String(doc="The state as a query string, which is written into saved pictures.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const stop = mhc.plots(host, view.model.document, () => model.query)
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]

"""The page's own address, to be scanned from the last row."""

from __future__ import annotations

from typing import Any, ClassVar

import panel as pn
import param
from panel.custom import JSComponent

from .._panel import prompt
from ..qr import ALONE, checked, drawn, is_local
from ..static import CSS
from .base import View


@prompt
class Link(JSComponent):
    """A code to scan, and the address that it holds."""

    asked = param.Boolean(doc="Whether the browser is to say by which address it came.")
    address = param.String(doc="What the browser says; it may be anything.")
    shown = param.String(doc="The address that is shown; empty if there is none to show.")
    code = param.String(doc="Its code, as SVG; made by Python.")
    why = param.String(doc="Why there is none.")

    _esm = """
    export function render({model, el}) {
      const host = document.createElement("div")
      host.className = "mhc-link"
      el.append(host)
      const follow = () => {
        host.replaceChildren()
        if (model.code) {
          const named = {role: "img", ariaLabel: `QR code of ${model.shown}`}
          const code = mhc.element("div", "code", host, named)
          code.innerHTML = model.code
        }
        if (model.shown) mhc.element("p", "address", host, {textContent: model.shown})
        if (model.why) mhc.element("p", "why", host, {textContent: model.why})
      }
      model.on("code", follow)
      model.on("why", follow)
      follow()
      if (model.asked) model.address = location.origin + location.pathname
    }
    """
    _stylesheets: ClassVar = [CSS]


class LinkView(View):
    """The link of the page without a state, which is short enough for large modules."""

    name = "link"
    title = "Link"
    group = "Take home"
    of_experiment = False

    def build(self, data: Any) -> Any:
        document = pn.state.curdoc
        served = document is not None and document.session_context is not None
        # In a notebook the address is the notebook's.
        self.link = Link(asked=served, margin=0, sizing_mode="stretch_width")
        self.link.param.watch(self._told, "address")
        return pn.Column(self.link, sizing_mode="stretch_width", margin=0)

    def _told(self, event: param.parameterized.Event) -> None:
        address = checked(event.new)
        if not address:
            self.link.param.update(shown="", code="", why="")
        elif is_local(address):
            self.link.param.update(shown=address, code="", why=ALONE)
        else:
            self.link.param.update(shown=address, code=drawn(address), why="")

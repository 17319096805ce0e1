"""What the page uses of Panel, panel-material-ui and Bokeh although they do not promise to keep it.

Each piece says why nothing public will do.  All were seen in Panel 1.9.4, panel-material-ui 0.16.6
and Bokeh 3.9.2; `tests/test_private_panel.py` names those that an upgrade breaks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.embed import bundle
from bokeh.model import Model
from bokeh.server.server import Server
from bokeh.server.tornado import BokehTornado
from panel.io.server import WSHandler
from panel.util import edit_readonly
from tornado.httpserver import HTTPServer

Component = TypeVar("Component")

GATHERED = 1
"""Milliseconds for which changes from the browser are gathered."""


def prompt(component: Component) -> Component:
    """Have a component, or a class of them, pass on what the browser changes at once.

    Panel gathers changes for 50 ms, a third of what a change may take in all, and has no setting
    for it.  We gather them ourselves (`latest.py`, and the sliders in the browser).
    """
    component._debounce = GATHERED  # type: ignore[attr-defined]
    return component


def follow_busy(page: pmui.Page, busy: param.Parameter) -> None:
    """Have a page's busy state follow that parameter.

    The constructor ties it to the whole server's, and nothing public unties it: every page would
    show every visitor's work, and each closed page would stay in memory.
    """
    with edit_readonly(page):
        page.busy = busy


def load_components() -> None:
    """Load the script of panel-material-ui's components with the page, for this session.

    By itself the browser learns of it only when it meets the first component.
    """
    address = pmui.Page._render_esm(server=True).removeprefix("./")
    pn.config.js_modules = {"material": address}


def serve_folder(name: str, folder: Path) -> None:
    """Have every server of this process serve a folder, at static/extensions/NAME.

    `panel serve` serves no folder beside an app, but it does serve those of Bokeh's extensions.
    """
    bundle.extension_dirs[name] = folder


def hide_working_folder() -> None:
    """Keep the server's working folder out of its pages.

    Every page describes all widgets there are, with their defaults, and that folder is the default
    of one that we do not use.  A default of a model cannot be changed once its class is made.
    """
    selector = Model.model_class_reverse_map.get("FileSelector1")
    if selector is not None:
        selector.lookup("directory").property._default = ""


def tornado_application(server: Server) -> BokehTornado:
    """The Tornado application of a server, for its routes and settings; `Server` shows neither."""
    return server._tornado


def http_server(server: Server) -> HTTPServer:
    """What takes a server's connections, for the number of them; `Server` does not show it."""
    return server._http


class SessionHandler(WSHandler):
    """Panel's websocket, with a public name for the step that opens a page's session.

    It is private in Bokeh and in Panel, and calls nothing that could be overridden instead.
    """

    async def open_session(self, token: str) -> None:
        """Find or build the session, and tell the browser that it is there."""
        await super()._async_open(token)

    async def _async_open(self, token: str) -> Any:
        await self.open_session(token)

"""A page is built in pieces, between which the server answers others.

Bokeh builds a page in one go, on the event loop.  Before that, it awaits what an application does
when a session is created.  There what the first view shows is computed on a thread, and the page is
made of Panel's objects; when Bokeh asks for it, only its own models are left to be made.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import panel as pn
import panel_material_ui as pmui
from bokeh.application.application import SessionContext
from bokeh.application.handlers import Handler
from bokeh.document import Document
from bokeh.server.tornado import BokehTornado

from ._panel import document_of, session_of
from .explorer import compute_first
from .following import bring
from .page import create
from .state import State

_made: WeakKeyDictionary[Document, pmui.Page] = WeakKeyDictionary()
"""Pages that Bokeh has not asked for yet."""


def opened() -> pmui.Page:
    """The page of the present session, which an application hands to Bokeh."""
    doc = pn.state.curdoc
    made = _made.pop(doc, None) if doc is not None else None
    return made if made is not None else create()


class Ahead(Handler):
    """Makes the page of `opened` before Bokeh asks for it."""

    async def on_session_created(self, session_context: SessionContext) -> None:
        """Compute what the page first shows, and make it."""
        doc = document_of(session_context)
        try:
            with session_of(doc):
                state = State()
                state.read(pn.state.session_args)
                bring(state)
            await asyncio.to_thread(compute_first, state)
            with session_of(doc):
                _made[doc] = create(state)
        except Exception:  # it fails again when Bokeh asks for the page, and is told there
            return
        await asyncio.sleep(0)

    def modify_document(self, doc: Document) -> None:
        """Nothing: `opened` is given to Bokeh by the application's own handler."""


def build_in_pieces(server: BokehTornado) -> None:
    """Build the pages of a server that serves `opened` in pieces."""
    for context in server.applications.values():
        context.application.add(Ahead())

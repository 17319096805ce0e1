"""One page for all who follow: what the lecturer shows is built, moved and written once.

Two hundred pages of their own took eighteen seconds of processor for a change of scene (2026-11),
most of it for views that are built anew.  So those who follow share a session of Bokeh's, one for
each theme and process, and see what happens in it.  Its one connection (`Mirror`) passes each
message on to the lines of all of them.  Nothing that their browsers say reaches that session: they
ask for its document when they come, and may guess; whatever else they do, they do on a page of
their own (`static/follow.js`).

The session's name is the same in all processes, for whichever of them gave the token, any may get
the websocket.  In each it is another session.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import panel as pn
from bokeh.core.types import ID
from bokeh.events import DocumentReady
from bokeh.protocol import Protocol
from bokeh.protocol.message import Message
from bokeh.server.connection import ServerConnection
from bokeh.server.contexts import ApplicationContext
from bokeh.server.session import ServerSession
from bokeh.util.token import generate_jwt_token, generate_session_id, get_session_id
from panel.io.document import extra_socket_handlers

from ._panel import hold, session_of
from .faults import UnwantedError, report
from .following import values_of
from .lecture import LOOKS, Hall, Look, Paced, guess_of, new_name

if TYPE_CHECKING:
    from .explorer import Explorer
    from .lasting import LastingHandler

GUESSES = 1.0
"""Seconds between two guesses of a page that are passed on; the last one always is."""

LONGEST_GUESS = 300
"""Characters."""

GUESS = "guess "
"""How a frame begins that is a guess, and no part of a message of Bokeh's."""


Fragment = tuple[str | bytes, bool]
"""Of a message, and whether it is binary."""


@dataclass(eq=False)
class Reader:
    """A page that follows: its handler, and from which message on it gets them."""

    handler: LastingHandler
    since: int | None = None
    """The number of the last message that its document holds; None until it has one."""
    name: str = field(default_factory=new_name)
    guess: tuple[str, float] | None = None
    tell: Paced | None = None


class Mirror:
    """A session whose document many browsers show; for Bokeh it is the socket of one of them."""

    def __init__(
        self, mirrors: Mirrors, session: ServerSession, context: ApplicationContext
    ) -> None:
        self.mirrors, self.session = mirrors, session
        self.readers: dict[LastingHandler, Reader] = {}
        self._sent = 0
        self._waiting: deque[tuple[int, list[Fragment]]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._document: tuple[int, list[Fragment]] | None = None
        self._news = asyncio.Event()
        self.connection = ServerConnection(Protocol(), self, context, session)
        _by_connection[self.connection] = self
        mirrors.hall.on_place.append(self._news.set)
        self._walk = asyncio.create_task(self._go_along(), context=Context())

    @property
    def explorer(self) -> Explorer:
        """What the session shows."""
        return self.mirrors.explorers[self.session.id]

    async def complete(self) -> None:
        """Do what a page's first picture does: add what could wait until it stood."""
        doc = self.session.document

        def stand() -> None:
            with session_of(doc):
                doc.callbacks.trigger_event(DocumentReady())
                with hold():
                    self.explorer.window.first_picture = True

        await self.session.with_document_locked(stand)

    # ---- what happens in the session ---------------------------------------------------------

    async def _go_along(self) -> None:
        """Go where the lecturer goes, and on when all have been told."""
        while True:
            place = self.mirrors.hall.place
            try:
                if place:
                    await self.session.with_document_locked(self._go, values_of(place))
                if self._pump is not None:
                    await self._pump
            except Exception as error:  # the next place may be another
                report(error)
            await self._news.wait()
            self._news.clear()

    def _go(self, values: dict[str, Any]) -> None:
        with session_of(self.session.document), hold():
            self.explorer.go(values)

    async def send_message(self, message: Message[Any]) -> None:
        """Pass a message on to all; Bokeh calls this."""
        self.send(message)

    def send(self, message: Message[Any]) -> None:
        """Pass a message on to all who have a document."""
        self._sent += 1
        self._waiting.append((self._sent, fragments_of(message)))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._pass_on(), context=Context())

    async def _pass_on(self) -> None:
        while self._waiting:
            number, fragments = self._waiting.popleft()
            for reader in list(self.readers.values()):
                if reader.since is not None and reader.since < number:
                    reader.handler.pass_on(fragments)
                    await asyncio.sleep(0)  # to compress a table takes milliseconds

    # ---- who follows -------------------------------------------------------------------------

    def join(self, handler: LastingHandler) -> None:
        """A page has come, and will ask for its document."""
        reader = self.readers[handler] = Reader(handler)
        reader.tell = Paced(lambda: self._pass_guess(reader), GUESSES)
        acknowledged = self.connection.protocol.create("ACK")
        handler.pass_on(fragments_of(acknowledged))
        self.mirrors.count()

    def leave(self, handler: LastingHandler) -> None:
        """A page is gone."""
        reader = self.readers.pop(handler, None)
        if reader is not None and reader.tell is not None:
            reader.tell.stop()
        self.mirrors.count()

    async def hear(self, handler: LastingHandler, message: Message[Any]) -> None:
        """A message from a page: its question for the document is answered, once."""
        reader = self.readers.get(handler)
        if reader is None or reader.since is not None or message.msgtype != "PULL-DOC-REQ":
            return
        await self.session.with_document_locked(self._answer, reader, message.header["msgid"])

    def _answer(self, reader: Reader, asked: str) -> None:
        # All who come between two changes get the same document, but for the first line of it.
        if self._document is None or self._document[0] != self._sent:
            doc = self.session.document
            reply = self.connection.protocol.create("PULL-DOC-REPLY", ID(""), doc)
            self._document = self._sent, fragments_of(reply)
        number, [(header, _), *rest] = self._document
        header = json.dumps({**json.loads(header), "msgid": new_name(), "reqid": asked})
        reader.handler.pass_on([(header, False), *rest])
        reader.since = number

    # ---- what they guess ---------------------------------------------------------------------

    def hear_guess(self, handler: LastingHandler, text: str) -> None:
        """A page guesses; what is no guess in the present scene costs a line in the log."""
        reader = self.readers.get(handler)
        if reader is None or reader.tell is None:
            return
        try:
            given = json.loads(text) if len(text) <= LONGEST_GUESS else None
        except (ValueError, RecursionError):
            given = None
        try:
            scene = self.explorer.state.scene
            reader.guess = scene, guess_of(given, scene)
        except UnwantedError as error:
            report(error)
            return
        reader.tell()

    def _pass_guess(self, reader: Reader) -> None:
        if reader.guess is not None:
            self.mirrors.hall.guess(reader.name, *reader.guess)


def fragments_of(message: Message[Any]) -> list[Fragment]:
    """A message of Bokeh's in the frames that a websocket carries."""
    fragments: list[Fragment] = [
        (text, False) for text in (message.header_json, message.metadata_json, message.content_json)
    ]
    for buffer in message.buffers:
        fragments += [(json.dumps(buffer.ref), False), (buffer.to_bytes(), True)]
    return fragments


_by_connection: dict[ServerConnection, Mirror] = {}
"""Those that Panel writes to; they last as long as the process."""


def _dispatch(
    connection: ServerConnection, events: list[Any] | None = None, msg: Message[Any] | None = None
) -> list[Any]:
    """How Panel writes what it has gathered."""
    if msg is None and events:
        msg = connection.protocol.create("PATCH-DOC", events)
    if msg is not None:
        _by_connection[connection].send(msg)
    return []


extra_socket_handlers[Mirror] = _dispatch


class Mirrors:
    """Those of a hall in this process."""

    def __init__(self, hall: Hall, secret_key: bytes) -> None:
        """Before the server's processes are started, so that they have the names in common."""
        self.hall = hall
        self.names = {look: generate_session_id(secret_key, signed=True) for look in LOOKS}
        self.looks = {name: look for look, name in self.names.items()}
        self.explorers: dict[str, Explorer] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._building = asyncio.Lock()

    def look_of_session(self) -> Look | None:
        """How the present session looks, if it is one of these."""
        doc = pn.state.curdoc
        context = doc.session_context if doc is not None else None
        return self.looks.get(context.id) if context is not None else None

    def count(self) -> None:
        """Say how many follow."""
        self.hall.count(sum(len(each.readers) for each in self._mirrors.values()))

    def token(self, look: Look, app: Any, headers: dict[str, str]) -> str:
        """A token for one page; each opens a line of its own."""
        return generate_jwt_token(
            self.names[look],
            secret_key=app.secret_key,
            signed=app.sign_sessions,
            expiration=app.session_token_expiration,
            extra_payload={"page": new_name(), "arguments": {}, "headers": headers},
        )

    def shows(self, token: str) -> bool:
        """Whether a token opens one of these."""
        return get_session_id(token) in self.looks

    async def of(self, handler: Any, token: str) -> Mirror | None:
        """The one that a token opens, which is built if nobody has come before; None for others."""
        if not self.shows(token):
            return None
        name = get_session_id(token)
        async with self._building:
            if name not in self._mirrors:
                context = handler.application_context
                session = await context.create_session_if_needed(name, handler.request, token)
                mirror = Mirror(self, session, context)
                await mirror.complete()
                self._mirrors[name] = mirror
        return self._mirrors[name]

"""A websocket that outlives its connection: phones sleep, and a hall's Wi-Fi comes and goes.

Bokeh's own ends with the connection; what is sent meanwhile is lost, on both sides, and a page that
comes back has to be built anew.  Here both sides number the frames and keep what the other has not
acknowledged.  A connection that comes back says how many it has, and gets the rest, in order and
once.  To Bokeh, on both sides, nothing has happened: no view is built again, a training goes on.

The *line* is the handler that Bokeh knows; its *wire* is the handler of the present connection, at
first itself.  Frames that begin with MARK are ours: a count of those received, which the browser
(`static/connection.js`) sends every second while its page is seen, and we answer.
"""

from __future__ import annotations

import logging
import re
import time
from asyncio import Future
from collections import deque
from contextlib import suppress
from typing import Any

from bokeh.protocol.message import Message
from bokeh.server.session import ServerSession
from bokeh.server.views.ws import WSHandler as BokehHandler
from bokeh.util.token import check_token_signature, get_session_id, get_token_payload
from panel.io.server import WSHandler
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .faults import one_line, report

log = logging.getLogger(__name__)

MARK = "~"
COUNT = re.compile(MARK + r"(\d{1,15})")

LASTS = 120.0
"""Seconds that a line is kept without a wire; its page costs some 4 MB."""

MOST = 2**25
"""Bytes kept for a browser that is not there; a training sends some 100 kB a second."""

MOST_UNREAD = 2**23
"""Bytes of one message that is not complete."""

READ = ("PULL-DOC-REQ", "PATCH-DOC", "SERVER-INFO-REQ")
"""The messages that the page sends.  Bokeh would take a whole document from it, too."""

lines: dict[str, LastingHandler] = {}
"""The lines of this process by their tokens."""


class LastingHandler(WSHandler):
    """The handler of `*/ws`: a line, or a wire of one that had another before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line: LastingHandler | None = None
        """Of which this is, or was, the wire."""
        # What follows is a line's.
        self._wire: LastingHandler | None = None
        self._ended = False
        self._expiry: Any = None
        self._sent = self._received = 0
        self._kept: deque[tuple[str | bytes, bool]] = deque()  # sent, and not acknowledged
        self._kept_bytes = self._unread_bytes = 0

    # ---- who may connect ---------------------------------------------------------------------

    async def prepare(self) -> None:
        """Answer what cannot become a wire before it is one."""
        await super().prepare()
        status = None if self._finished else self._refusal()
        if status is not None:
            self.set_status(status)
            self.finish()

    def _refusal(self) -> int | None:
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        if len(offered) != 2 or offered[0].strip() != "bokeh":
            return 400
        self._token = token = offered[1].strip()
        if "resume" in self.request.arguments:
            count = self._resumed_at()
            line = lines.get(token)
            known = line is not None and count is not None and line._holds(count)
            return None if known else 410  # the page has to be opened anew
        if token in lines:
            return 409  # a page has one line
        return None if self._issued(token) else 403

    def _resumed_at(self) -> int | None:
        count = COUNT.fullmatch(
            MARK + self.request.arguments["resume"][-1].decode("ascii", "replace")
        )
        return int(count[1]) if count else None

    def _issued(self, token: str) -> bool:
        """Whether a server of ours wrote this token, into a page that may still open a session."""
        app = self.application
        try:
            if not app.sign_sessions:  # then only by whom it has
                session = self.application_context.get_session(get_session_id(token))
                return session.token == token
            signed = check_token_signature(token, secret_key=app.secret_key, signed=True)
            return signed and time.time() < get_token_payload(token)["session_expiry"]
        except Exception:  # whatever it is that it stumbles over
            return False

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "bokeh"

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Become the wire of the line that is resumed, or a new line."""
        if "resume" not in self.request.arguments:
            lines[self._token] = self._line = self._wire = self
            super().open(*args, **kwargs)
            return
        line, count = lines.get(self._token), self._resumed_at()
        if line is None or count is None or not line._holds(count):  # since the handshake
            WebSocketHandler.close(self)
            return
        self._line = line
        line._resume(self, count)

    # ---- the wire ----------------------------------------------------------------------------

    async def on_message(self, fragment: str | bytes) -> None:
        """A frame from the browser: a count, or a part of one of Bokeh's messages."""
        line = self._line
        if line is None or line._wire is not self or line._ended:
            return
        if isinstance(fragment, str) and fragment.startswith(MARK):
            count = COUNT.fullmatch(fragment)
            if count is None or not line._holds(int(count[1])):
                line._end("a count that cannot be")
                return
            line._acknowledged(int(count[1]))
            line._say_count()
        else:
            line._received += 1
            await line._take(fragment)

    def on_close(self) -> None:
        """The connection has ended: the line waits for another, unless the page was left."""
        line = self._line
        if line is None or line._wire is not self:
            return
        line._wire = None
        if self.close_code in (1000, 1001):
            line._end()
        elif not line._ended:
            loop = self.application.io_loop
            line._expiry = loop.call_later(LASTS, line._end)

    # ---- the line ----------------------------------------------------------------------------

    def _holds(self, count: int) -> bool:
        """Whether a browser that has received `count` frames can be sent the rest."""
        return not self._ended and self._sent - len(self._kept) <= count <= self._sent

    def _acknowledged(self, count: int) -> None:
        while self._sent - len(self._kept) < count:
            message, _ = self._kept.popleft()
            self._kept_bytes -= len(message)

    def _say_count(self) -> None:
        self._put(f"{MARK}{self._received}", False)

    def _put(self, message: str | bytes, binary: bool) -> Future[None] | None:
        assert self._wire is not None
        try:
            written = WebSocketHandler.write_message(self._wire, message, binary)
        except (WebSocketClosedError, StreamClosedError):
            return None
        written.add_done_callback(lambda it: it.cancelled() or it.exception())  # nobody need ask
        return written

    def _resume(self, wire: LastingHandler, count: int) -> None:
        old, self._wire = self._wire, wire
        if old is not None:  # it went without a word
            WebSocketHandler.close(old)
        if self._expiry is not None:
            self.application.io_loop.remove_timeout(self._expiry)
            self._expiry = None
        self._acknowledged(count)
        self._say_count()
        for message, binary in self._kept:
            self._put(message, binary)

    async def write_message(
        self, message: bytes | str | dict[str, Any], binary: bool = False, locked: bool = True
    ) -> None:
        """Send a frame of Bokeh's, now or when there is a wire again."""
        if locked:
            with await self.write_lock.acquire():
                await self.write_message(message, binary, locked=False)
            return
        if self._ended:
            return
        assert isinstance(message, str | bytes)
        self._sent += 1
        self._kept.append((message, binary))
        self._kept_bytes += len(message)
        if self._wire is not None:
            written = self._put(message, binary)
            if written is not None:
                with suppress(WebSocketClosedError, StreamClosedError):
                    await written
        if self._kept_bytes > MOST:
            self._end("a browser that takes nothing")

    def ping(self, data: bytes = b"") -> None:
        """Tornado pings each wire; Bokeh need not."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """What Bokeh does on an error of the protocol."""
        self._end(reason or "")

    def _end(self, why: str = "") -> None:
        if self._ended:
            return
        self._ended = True
        if why:
            log.warning("a connection was ended: %s", one_line(why))
        lines.pop(self._token or "", None)
        wire, self._wire = self._wire, None
        if wire is not None:
            WebSocketHandler.close(wire, 1000)
        self._kept.clear()
        if self.connection is not None:
            self._leave()

    def _leave(self) -> None:
        assert self.connection is not None
        session = self.connection.session
        BokehHandler.on_close(self)
        session.request_expiration()

    async def _async_open(self, token: str) -> None:
        try:
            await super()._async_open(token)
        except Exception as error:
            report(error)
            self._end()
        if self._ended and self.connection is not None:  # who asked for it has left
            self._leave()

    async def _take(self, fragment: str | bytes) -> None:
        """What Bokeh's `on_message` does, but what it cannot use costs one line in the log."""
        if self.connection is None:
            self._end("it spoke before it was asked to")
            return
        self._unread_bytes += len(fragment)
        try:
            message = await self.receiver.consume(fragment)
        except Exception as error:
            self._end(f"no message of Bokeh's: {one_line(error)}")
            return
        if message is not None:
            self._unread_bytes = 0
            await self._do(message)
        elif self._unread_bytes > MOST_UNREAD:
            self._end("a message without an end")

    async def _do(self, message: Message[Any]) -> None:
        assert self.connection is not None
        try:
            if message.msgtype not in READ:
                raise ValueError(f"the page sends no {message.msgtype}")
            if message.msgtype == "PATCH-DOC":
                reply = await ServerSession.patch(message, self.connection)
            else:
                reply = await self.handler.handle(message, self.connection)
        except Exception as error:
            report(error)
            if self.connection is None or self._ended:
                return
            reply = self.connection.error(message, "it was ignored")
        if not self._ended:
            await self.send_message(reply)

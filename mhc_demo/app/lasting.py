"""A websocket that outlives its connection: phones sleep, and a hall's Wi-Fi comes and goes.

Bokeh's own ends with the connection: what is sent meanwhile is lost, on both sides, and the page
has to be built again when the connection returns.  (Bokeh 3.9.2 tries to reconnect,
`config.reconnect` in Panel, but fails on any document with an array in it, and notices neither
silence nor a restarted server.)  Here both sides number the frames, and keep those that the other
has not acknowledged.  A browser that comes back says how many it has, and gets the others, in order
and once.  Bokeh does not notice, on either side: no view is built again, and a training goes on.

Frames that begin with MARK are ours.  They carry the count of frames received: the browser
(`static/connection.js`) sends its count every second while its page is visible, and we answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from asyncio import Future
from collections import deque
from contextlib import suppress
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from bokeh.protocol.message import Message
from bokeh.protocol.receiver import Receiver
from bokeh.server.connection import ServerConnection
from bokeh.server.session import ServerSession
from bokeh.util.token import check_token_signature, get_session_id, get_token_payload
from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketProtocol

from . import lecture
from ._panel import SessionHandler
from .faults import UnwantedError, one_line, report
from .mirror import GUESS, Fragment, Mirror
from .opening import TURNS

log = logging.getLogger(__name__)

MARK = "~"
COUNT = re.compile(MARK + r"(\d{1,15})")

LASTS = 120.0
"""Seconds for which a line waits for a wire; its page takes some 3 MB (benchmark `memory`)."""

MOST = 2**25
"""Bytes kept for a browser that is away, maybe with a training running."""

MOST_READ = 2**23
"""Bytes kept for a browser that is connected: it acknowledges each megabyte."""

MOST_IN_ALL = 2**28
"""Bytes kept for all browsers."""

MOST_LOST = 300
"""Lines without a wire."""

MOST_UNREAD = 2**21
"""Bytes of one message that is not complete; the page's messages have no buffers."""

READ = ("PULL-DOC-REQ", "PATCH-DOC")
"""The messages that the page sends.  Bokeh would also accept a whole document."""

CHANGES = ("ModelChanged", "MessageSent")
"""The events in the page's patches.  Others are costly: a new root takes as much as a page."""

MOST_CHANGES, MOST_CLICKS = 300, 5
"""In a patch; in the page's, at most 14 and one were observed.  A click is handled at once."""

VALUES = ("event", "map", "number", "object", "set")
"""The types of values, beside plain JSON.  Bokeh unpacks others, from a few bytes to gigabytes."""

DEEPEST = 64
"""Levels that a patch may be nested."""

MOST_PARTS = 100_000
"""Numbers, texts, lists and so on in a patch."""

READERS_LEVEL = 3
"""Of compression, for those who follow a lecture: half the time of 6, for a fifth more bytes."""

MOST_ORIGIN = 300
"""Characters of an origin; Bokeh repeats it in the log."""

lines: dict[str, Line] = {}
"""The lines of this process, by token."""


def make_room() -> None:
    """If there is too much, end the lines that have waited longest and those that keep most."""
    lost = [line for line in lines.values() if line.lost_at is not None]
    for line in sorted(lost, key=lambda line: line.lost_at or 0.0)[: max(0, len(lost) - MOST_LOST)]:
        line.end()
    while sum(line.kept_bytes for line in lines.values()) > MOST_IN_ALL:
        max(lines.values(), key=lambda line: line.kept_bytes).end("there is no room for it")


class Line:
    """The frames to and from one page.  Bokeh's handler takes it for its websocket's protocol.

    Its *home* is the handler that Bokeh knows, that of the first connection.  Its *wire* is the
    Tornado protocol of the present connection, at first the home's own.
    """

    selected_subprotocol = "bokeh"

    def __init__(self, token: str, home: LastingHandler, wire: WebSocketProtocol) -> None:
        self.token, self.home = token, home
        self.wire: WebSocketProtocol | None = wire
        self.ended = False
        self.sent = self.received = 0
        self._kept: deque[tuple[str | bytes, bool]] = deque()  # sent, but not acknowledged
        self.kept_bytes = 0
        self.lost_at: float | None = None
        self._expiry: object | None = None
        lines[token] = self
        self.say_count()  # by which the browser knows that it can resume

    # ---- what Tornado's and Panel's code calls -----------------------------------------------

    def is_closing(self) -> bool:
        """Whether the line has ended; that a connection has is not enough."""
        return self.ended

    def write_message(self, message: str | bytes, binary: bool = False) -> Future[None]:
        """Send a frame, now or when there is a wire again."""
        self.sent += 1
        self._kept.append((message, binary))
        self.kept_bytes += len(message)
        written = self._put(message, binary)
        if self.kept_bytes > (MOST if self.wire is None else MOST_READ):
            self.end("a browser that takes nothing")
        return written

    def write_ping(self, data: bytes) -> None:
        """Nothing: Tornado pings each wire itself."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """End the line: Bokeh calls this after an error of the protocol."""
        self.end(reason or "")

    # ---- counting ----------------------------------------------------------------------------

    def holds(self, count: int) -> bool:
        """Whether a browser that has received `count` frames can be sent the rest."""
        return not self.ended and self.sent - len(self._kept) <= count <= self.sent

    def acknowledge(self, count: int) -> None:
        """Drop the frames that the browser has received: the first `count`."""
        while self.sent - len(self._kept) < count:
            message, _ = self._kept.popleft()
            self.kept_bytes -= len(message)

    def say_count(self) -> None:
        """Tell the browser how many of its frames were received."""
        self._put(f"{MARK}{self.received}", False)

    def _put(self, message: str | bytes, binary: bool) -> Future[None]:
        with suppress(WebSocketClosedError, StreamClosedError):  # the frame is kept
            if self.wire is not None and not self.wire.is_closing():
                _settle(self.wire.write_message(message, binary=binary))
        return _done()

    # ---- wires -------------------------------------------------------------------------------

    def resume(self, wire: WebSocketProtocol, count: int) -> None:
        """Continue on another wire, after the `count` frames that the browser has."""
        old, self.wire = self.wire, wire
        if (
            old is not None and old.stream is not None
        ):  # silent, and Tornado would wait for its answer
            old.stream.close()
        self._stop_waiting()
        self.acknowledge(count)
        self.say_count()
        for message, binary in self._kept:
            self._put(message, binary)

    def lose(self, *, left: bool) -> None:
        """The connection has ended: end too if the page was left, else wait for another wire."""
        self.wire = None
        if left:
            self.end()
        elif not self.ended:
            self.lost_at = time.monotonic()
            self._expiry = self.home.application.io_loop.call_later(LASTS, self.end)

    def _stop_waiting(self) -> None:
        self.lost_at = None
        if self._expiry is not None:
            self.home.application.io_loop.remove_timeout(self._expiry)
            self._expiry = None

    def end(self, why: str = "") -> None:
        """End for good, and let the session go; `why` is written to the log."""
        if self.ended:
            return
        self.ended = True
        if why:
            log.warning("a connection was ended: %s", one_line(why))
        del lines[self.token]
        self._stop_waiting()
        self._kept.clear()
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.close(1000)
        self.home.leave()


def _done() -> Future[None]:
    """What nobody has to wait for: a frame that is not written is kept."""
    future: Future[None] = Future()
    future.set_result(None)
    return future


def _settled(written: Future[None]) -> None:
    if not written.cancelled():
        written.exception()  # looked at, so that it is not logged


CLOSE = 0x8
"""Of a frame that ends the connection."""


def gather_writes(stream: IOStream) -> None:
    """Have what is written to a stream in one turn of the loop go out together, and at once.

    A table is some fifteen frames, and each would be a call of the system and a packet.  The system
    would also hold back a small packet until the one before is acknowledged, which browsers do some
    40 ms later.
    """
    stream.set_nodelay(True)
    write, waiting = stream.write, bytearray()

    def flush() -> None:
        with suppress(StreamClosedError):
            if waiting:
                _settle(write(bytes(waiting)))
        waiting.clear()

    def gather(data: bytes | memoryview) -> Future[None]:
        if stream.closed():
            return write(data)  # which raises
        if not waiting:
            stream.io_loop.add_callback(flush)
        waiting.extend(data)
        if data[0] & 0xF == CLOSE:
            flush()
        return _done()

    stream.write = gather  # type: ignore[method-assign]


def _settle(written: Future[None]) -> None:
    written.add_done_callback(_settled)


class LastingHandler(SessionHandler):
    """The handler of `*/ws`: the home of a new line, or a new wire for one that exists."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._protocol: WebSocketProtocol | None = None
        self._line: Line | None = None
        self._unread = 0
        """Bytes received of a message that is not complete."""
        self._mirror: Mirror | None = None
        """What the page shows if it follows a lecture: then it has no session of its own."""
        self.connection: ServerConnection | None
        super().__init__(*args, **kwargs)

    @property
    def ws_connection(self) -> Any:
        """What Bokeh writes to: the line while it lasts, if this is its home."""
        line = self._line
        return line if line is not None and line.home is self and not line.ended else self._protocol

    @ws_connection.setter
    def ws_connection(self, protocol: WebSocketProtocol | None) -> None:
        self._protocol = protocol

    # ---- who may connect ---------------------------------------------------------------------

    async def prepare(self) -> None:
        """Refuse requests before the handshake."""
        await super().prepare()
        status = self._refusal() if self.get_status() == 200 else None
        if status is not None:
            self.set_status(status)
            self.finish()

    def _refusal(self) -> int | None:
        origin = self.request.headers.get("Origin", "")
        try:
            urlsplit(origin)  # Tornado fails if it is no address
        except ValueError:
            return 403
        if len(origin) > MOST_ORIGIN:
            return 403
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        if len(offered) != 2 or offered[0].strip() != "bokeh":
            return 400
        self._token = token = offered[1].strip()
        if "resume" in self.request.arguments:
            return None if self._resumed() else 410  # the page has to be opened anew
        if token in lines:
            return 409  # a page has only one line
        return None if self._issued(token) else 403

    def _resumed(self) -> tuple[Line, int] | None:
        """The line that the browser wants to resume, and how many of its frames it has."""
        given = self.request.arguments["resume"][-1].decode("ascii", "replace")
        count, line = COUNT.fullmatch(MARK + given), lines.get(self._token)
        if count is None or line is None or not line.holds(int(count[1])):
            return None
        return line, int(count[1])

    def _issued(self, token: str) -> bool:
        """Whether one of our servers issued this token, for a page that may still connect."""
        app = self.application
        try:
            if not app.sign_sessions:  # then the token must be one of this server's sessions
                session = self.application_context.get_session(get_session_id(token))
                return session.token == token
            signed = check_token_signature(token, secret_key=app.secret_key, signed=True)
            return signed and time.time() < get_token_payload(token)["session_expiry"]
        except Exception:  # a malformed token raises all kinds of errors
            return False

    def get_compression_options(self) -> dict[str, Any] | None:
        """How frames are compressed: those that two hundred get, with less effort for each."""
        options = super().get_compression_options()
        if options and lecture.mirrors is not None and lecture.mirrors.shows(self._token):
            options["compression_level"] = READERS_LEVEL
        return options

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Accept: the token was checked before."""
        return "bokeh"

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Open a line, or bring one another wire."""
        assert self._protocol is not None
        if self._protocol.stream is not None:
            gather_writes(self._protocol.stream)
        if "resume" not in self.request.arguments:
            self._line = Line(self._token, self, self._protocol)
            super().open(*args, **kwargs)
        elif found := self._resumed():
            self._line, count = found
            self._line.resume(self._protocol, count)
        else:  # the line has ended since the handshake began
            self._protocol.close()

    async def open_session(self, token: str) -> None:
        """Open the session of the page that opened this line."""
        try:
            mirror = await lecture.mirrors.of(self, token) if lecture.mirrors else None
            if mirror is not None:
                self.receiver = Receiver(mirror.connection.protocol)
                if self._line is not None and not self._line.ended:
                    self._mirror = mirror
                    mirror.join(self)
                return
            async with self.settings[TURNS].turn():
                if self._line is not None and not self._line.ended:  # else the visitor has left
                    await super().open_session(token)
        except Exception as error:
            report(error)
            self.close()
        if self._line is None or self._line.ended:  # the visitor has left meanwhile
            self.leave()

    async def send_message(self, message: Message[Any]) -> None:
        """Send a message of Bokeh's, unless the line has ended."""
        if self._line is not None and not self._line.ended:
            await super().send_message(message)

    def pass_on(self, fragments: list[Fragment]) -> None:
        """Send a message whose fragments others get too."""
        for fragment, binary in fragments:
            if self._line is not None and not self._line.ended:
                self._line.write_message(fragment, binary)

    # ---- the wire ----------------------------------------------------------------------------

    async def on_message(self, fragment: str | bytes) -> None:
        """A frame from the browser: a count, or a part of one of Bokeh's messages."""
        line = self._line
        if line is None or line.wire is not self._protocol or line.ended:
            return
        if not (isinstance(fragment, str) and fragment.startswith(MARK)):
            line.received += 1
            await line.home.take(fragment)
            return
        count = COUNT.fullmatch(fragment)
        if count is None or not line.holds(int(count[1])):
            line.end("a count that cannot be")
            return
        line.acknowledge(int(count[1]))
        line.say_count()

    def on_connection_close(self) -> None:
        """Pass the end of the connection on to the wire's protocol, and not to the line."""
        line, self._line = self._line, None
        lost = line is not None and line.wire is self._protocol
        super().on_connection_close()
        self._line = line
        if lost:
            assert line is not None
            line.lose(left=self.close_code in (1000, 1001))

    def on_close(self) -> None:
        """Nothing: Bokeh would give up the session here, which `leave` does."""

    # ---- messages of the page ------------------------------------------------------------------

    def leave(self) -> None:
        """Give up the session, as Bokeh does when a connection ends."""
        connection: ServerConnection | None = self.connection
        if self._mirror is not None:
            self._mirror.leave(self)
        if connection is not None:
            self.connection, session = None, connection.session
            session.notify_connection_lost()
            self.application.client_lost(connection)
            session.request_expiration()

    async def take(self, fragment: str | bytes) -> None:
        """Handle a fragment as Bokeh's `on_message` does, but log an error in one line."""
        assert self._line is not None
        if self._mirror is not None and isinstance(fragment, str) and fragment.startswith(GUESS):
            self._mirror.hear_guess(self, fragment.removeprefix(GUESS))
            return
        if self.connection is None and self._mirror is None:
            self._line.end("it spoke before it was asked to")
            return
        self._unread += len(fragment)
        try:
            message = await self.receiver.consume(fragment)
        except Exception as error:
            self._line.end(f"no message of Bokeh's: {one_line(error)}")
            return
        if message is not None:
            self._unread = 0
            if not isinstance(message.header.get("msgid"), str):
                self._line.end("a message without a name")
                return
            await self._do(message)
            await asyncio.sleep(0)  # let others have a turn
        elif self._unread > MOST_UNREAD:
            self._line.end("a message without an end")

    async def _do(self, message: Message[Any]) -> None:
        if self._mirror is not None:
            await self._mirror.hear(self, message)
            return
        connection = self.connection
        assert connection is not None
        reply = None
        try:
            try:
                check(message)
            except (LookupError, TypeError) as error:
                raise UnwantedError("a patch of another shape") from error
            if message.msgtype == "PATCH-DOC":
                reply = await ServerSession.patch(message, connection)
            else:
                reply = await self.handler.handle(message, connection)
        except Exception as error:
            report(error)
        if reply is None:  # outside `except`, else Bokeh would send the traceback too
            reply = connection.error(message, "it was ignored")
        if self.connection is not None:
            await self.send_message(reply)


def check(message: Message[Any]) -> None:
    """Raise UnwantedError for a message that the page never sends, before Bokeh unpacks it."""
    if message.msgtype not in READ:
        raise UnwantedError(f"a message {message.msgtype}")
    if message.msgtype != "PATCH-DOC":
        return
    events = message.content["events"]
    if not isinstance(events, list) or len(events) > MOST_CHANGES:
        raise UnwantedError("no list of changes, or a very long one")
    for event in events:
        if event["kind"] not in CHANGES:
            raise UnwantedError(f"a change {event['kind']}")
        if event["kind"] == "MessageSent" and event["msg_type"] != "bokeh_event":
            raise UnwantedError(f"a message {event['msg_type']}")
    if sum(event["kind"] == "MessageSent" for event in events) > MOST_CLICKS:
        raise UnwantedError("more clicks than a hand does")
    level, parts = events, 0
    for _ in range(DEEPEST):
        dicts = [each for each in level if isinstance(each, dict)]
        lists = [each for each in level if isinstance(each, list)]
        for each in dicts:
            if each.get("type", VALUES[0]) not in VALUES:
                raise UnwantedError(f"a value {each['type']}")
        level = list(chain(*lists, *(each.values() for each in dicts)))
        parts += len(level)
        if parts > MOST_PARTS:
            break
    if level:
        raise UnwantedError("a value of very many levels or parts")

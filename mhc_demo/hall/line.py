"""The websocket of a page that outlives its connections: `static/connection.js` without a browser.

What that does when a server is slow is a part of the load that a hall is: a page that hears nothing
for some seconds connects again, and one that the server no longer knows is opened anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import StreamClosedError
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    websocket_connect,
)

from .browser import Browser

MARK = "~"
"""Begins a frame that counts frames: `MARK` of `mhc_demo/app/lasting.py`."""

# All of these are those of connection.js, in seconds.
ASK = 0.8
GIVEN_UP = 6.0
OPENING = 5.0
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
REFUSALS = {"resuming": 4, "opening": 2}
ACKNOWLEDGED = 64
ACKNOWLEDGED_BYTES = 2**20

LASTS = 120.0
"""Seconds for which the server keeps a page without a connection (`LASTS` of lasting.py)."""


class GoneError(Exception):
    """The server is not there, or knows the page no more, which then has to be opened anew."""


class Message(NamedTuple):
    """A message of Bokeh's."""

    header: dict[str, Any]
    content: dict[str, Any]
    buffers: dict[str, bytes]


class Line:
    """Bokeh's messages to and from a page, over one connection after the other."""

    def __init__(
        self, browser: Browser, page: str, token: str, heed: Callable[[Message], None]
    ) -> None:
        """`heed` is called with the server's messages that are no replies."""
        parts = urlsplit(page)
        scheme = "wss" if parts.scheme == "https" else "ws"
        self._url = urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws", "", ""))
        self._headers = {"Origin": f"{parts.scheme}://{parts.netloc}", **browser.headers()}
        self._token, self._heed = token, heed
        self.lost = ""
        """How the line was ended, in a few words; empty while it is there."""
        self.resumed = 0
        """How often it went on over another connection."""
        self._wire: WebSocketClientConnection | None = None
        self._bytes_before = 0
        self._lasting = False
        self._kept: deque[str] = deque()
        self._sent = self._received = self._acknowledged = self._unacknowledged_bytes = 0
        self._heard = time.monotonic()
        self._first: list[str | bytes] = []
        self._requests = 0
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect, and wait until the page's session is there.

        Raises GoneError if the page has to be opened anew.
        """
        there = self._expect("")  # the server's first message acknowledges the connection
        await self._connect()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._ask())]
        await there

    @property
    def bytes_received(self) -> int:
        """What came over all connections; compressed frames count as they were sent."""
        return self._bytes_before + _bytes_of(self._wire)

    async def request(self, kind: str, content: object) -> Message:
        """Send a message and return the answer to it.

        Raises GoneError if the line ends instead.
        """
        if self.lost:
            raise GoneError
        self._requests += 1
        name = f"visitor-{self._requests}"
        reply = self._expect(name)
        await self._send(json.dumps({"msgid": name, "msgtype": kind}), "{}", json.dumps(content))
        return await reply

    async def leave(self) -> None:
        """Close the connection as a page does that is closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._drop()

    # ---- connections ---------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Get a connection, the first one or another, in which both sides go on as they were."""
        kind = "resuming" if self._lasting else "opening"
        end, refusals = time.monotonic() + LASTS, 0
        for failures in count():
            pause = PAUSES[min(failures, len(PAUSES) - 1)] * random.uniform(0.75, 1.25)
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(OPENING):
                    await self._dial()
            except HTTPClientError as error:
                refusals += 1
                if refusals >= REFUSALS[kind]:
                    how = f"by the server, which refused another with status {error.code}"
                    raise GoneError(how) from None
            except (OSError, WebSocketError, GoneError):  # TimeoutError and StreamClosedError too
                if time.monotonic() > end:
                    raise GoneError("and no other could be made") from None
            else:
                return

    async def _dial(self) -> None:
        url = f"{self._url}?resume={self._received}" if self._lasting else self._url
        request = HTTPRequest(
            url, headers=dict(self._headers), connect_timeout=LASTS, request_timeout=LASTS
        )
        connecting = asyncio.ensure_future(
            websocket_connect(request, subprotocols=["bokeh", self._token], compression_options={})
        )
        try:
            wire = await asyncio.shield(connecting)
        except asyncio.CancelledError:  # Tornado would connect all the same, and nobody close it
            connecting.add_done_callback(_close)
            raise
        if wire.protocol is not None:  # Tornado waits for acknowledgements, no browser does
            wire.protocol.set_nodelay(True)
        try:
            greeting = await wire.read_message()
            if greeting is None:
                raise GoneError
            resuming, self._wire = self._lasting, wire
            if not self._counted(greeting):
                self._first.append(greeting)
            self._heard = time.monotonic()
            if resuming:
                self.resumed += 1
                await self._write(*self._kept)
        except BaseException:
            self._wire = None
            wire.close(1000)
            raise

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            self._bytes_before += _bytes_of(wire)
            wire.close(1000)

    # ---- frames --------------------------------------------------------------------------------

    def _expect(self, name: str) -> asyncio.Future[Message]:
        reply = self._replies[name] = asyncio.get_running_loop().create_future()
        return reply

    async def _send(self, *frames: str) -> None:
        if self._lasting:
            self._sent += len(frames)
            self._kept += frames
        await self._write(*frames)

    async def _write(self, *frames: str) -> None:
        if self._wire is not None:
            with contextlib.suppress(WebSocketClosedError, StreamClosedError):  # they are kept
                await asyncio.gather(*map(self._wire.write_message, frames))

    async def _tell(self) -> None:
        self._acknowledged, self._unacknowledged_bytes = self._received, 0
        await self._write(f"{MARK}{self._received}")

    async def _ask(self) -> None:
        while True:
            silence = time.monotonic() - self._heard
            if silence < ASK:
                await asyncio.sleep(ASK - silence)
                continue
            if self._lasting:
                await self._tell()
            await asyncio.sleep(ASK)

    def _counted(self, frame: Any) -> bool:
        """Whether this frame is the server's count of ours, which then need not be kept."""
        if not (isinstance(frame, str) and frame.startswith(MARK)):
            return False
        self._lasting = True
        while self._kept and self._sent - len(self._kept) < int(frame.removeprefix(MARK)):
            self._kept.popleft()
        return True

    async def _listen(self) -> None:
        try:
            while True:
                header = json.loads(await self._frame())
                await self._frame()  # metadata, of which there are none
                content, buffers = json.loads(await self._frame()), {}
                for _ in range(header.get("num_buffers", 0)):
                    name = json.loads(await self._frame())["id"]
                    buffers[name] = await self._frame()
                self._take(Message(header, content, buffers))
        except GoneError as error:
            self.lost = str(error) or "by the server"
        except (ValueError, LookupError) as error:
            self.lost = f"for a message that cannot be read: {error}"
        self._drop()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(GoneError())
                reply.exception()  # nobody may be waiting for it

    async def _frame(self) -> Any:
        while True:
            frame = await self._read()
            if frame is None:
                self._drop()
                if not self._lasting:
                    raise GoneError
                await self._connect()
                continue
            self._heard = time.monotonic()
            if self._counted(frame):
                continue
            self._received += 1
            self._unacknowledged_bytes += len(frame)
            if self._lasting and (
                self._received - self._acknowledged >= ACKNOWLEDGED
                or self._unacknowledged_bytes >= ACKNOWLEDGED_BYTES
            ):
                await self._tell()
            return frame

    async def _read(self) -> Any:
        """The next frame; None if the connection is closed, or silent for too long."""
        if self._first:
            return self._first.pop()
        if self._wire is None:
            return None
        try:
            return await asyncio.wait_for(
                asyncio.ensure_future(self._wire.read_message()),
                ASK + GIVEN_UP if self._lasting else None,
            )
        except TimeoutError:
            return None

    def _take(self, message: Message) -> None:
        name = message.header.get("reqid", "")
        if name or message.header.get("msgtype") == "ACK":
            reply = self._replies.pop(name, None)
            if reply is not None and not reply.done():
                reply.set_result(message)
        else:
            self._heed(message)


def _bytes_of(wire: WebSocketClientConnection | None) -> int:
    """What came over a connection, which Tornado counts but does not show."""
    return int(getattr(wire.protocol, "_wire_bytes_in", 0)) if wire is not None else 0


def _close(connecting: asyncio.Future[WebSocketClientConnection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()

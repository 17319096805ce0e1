"""How a visit begins: the first page, then a token, then a websocket that builds the session.

Bokeh builds a session for every page that is requested, before it answers.  Here the page is a
static one (`first.py`).  A session is built when its websocket has come, so none waits in memory
for a browser that has left, and none is built twice where several processes share the visitors.
They are built one at a time; those that nobody waits for only while the server has time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bokeh.server.tornado import BokehTornado
from bokeh.util.token import generate_jwt_token, generate_session_id
from panel.io.server import DocHandler
from tornado.routing import PathMatches, Rule

from .first import FirstPage, LivePage, arguments_of, first_page, live_page

TURNS = "turns to build a session"
"""Key in a server's settings: its `Turns`."""

LIVE = "what the live page loads"
"""Key in a server's settings: its `LivePage`."""

PAUSE = 0.01
"""Seconds between two sessions, in which other requests are answered."""

SHARE = 0.25
"""Of the time that may go into sessions that nobody waits for."""

WANTED = "Mhc-Wanted"
"""The header by which `static/first.js` says whether a visitor waits for the session."""


class Turns:
    """Lets one session be built at a time, and knows whether there is time for one more."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._free_at = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        self._waiting += 1
        try:
            async with self._lock:
                await asyncio.sleep(PAUSE)
                start = time.monotonic()
                try:
                    yield
                finally:
                    end = time.monotonic()
                    self._free_at = end + (end - start) * (1 / SHARE - 1)
        finally:
            self._waiting -= 1

    def free(self) -> bool:
        """Whether there is time for a session that nobody waits for."""
        return not self._waiting and time.monotonic() >= self._free_at

    def take(self) -> None:
        """Note that one was promised, so that the next one is not promised at once."""
        self._free_at = max(self._free_at, time.monotonic() + 1)


class PageHandler(DocHandler):
    """Answers a link with its first page."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Send the page, or say that the browser has it already."""
        arguments = arguments_of(self.request.arguments)
        self._page = await asyncio.to_thread(first_page, arguments, self._live())
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")  # to be kept, but asked for again
        self.write(self._page.html)

    _page: FirstPage | None = None

    def _live(self) -> LivePage:
        settings = self.settings
        if LIVE not in settings:
            settings[LIVE] = live_page(self.application)
        return settings[LIVE]

    def compute_etag(self) -> str | None:
        """The hash that was computed with the page."""
        return self._page.etag if self._page else super().compute_etag()


class TokenHandler(DocHandler):
    """Answers with a token, by which a websocket opens a session."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Send a token; 503 to a page that can wait, while the server has no time."""
        self.set_header("Cache-Control", "no-store")
        turns: Turns = self.settings[TURNS]
        if self.request.headers.get(WANTED) != "1":
            if not turns.free():
                self.set_status(503)
                return
            turns.take()
        self.write({"token": await self._token()})

    async def _token(self) -> str:
        app = self.application
        if not app.sign_sessions:  # then a token is good only if its session is there
            async with self.settings[TURNS].turn():
                return (await self.get_session()).token
        name = generate_session_id(secret_key=app.secret_key, signed=True)
        return generate_jwt_token(
            name,
            secret_key=app.secret_key,
            signed=True,
            expiration=app.session_token_expiration,
            extra_payload=self._generate_token_payload(),
        )


def open_visits(server: BokehTornado) -> None:
    """Have the pages of a server open this way."""
    server.settings[TURNS] = Turns()
    for rule in list(server.wildcard_router.rules):
        if rule.target is DocHandler:
            path = rule.matcher.regex.pattern.rstrip("$").rstrip("?").rstrip("/")
            token = Rule(PathMatches(path + "/token"), TokenHandler, rule.target_kwargs)
            server.wildcard_router.rules.insert(0, token)
            rule.target = PageHandler

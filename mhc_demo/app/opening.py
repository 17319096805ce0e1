"""How a visit begins: the first page, then a token, then a websocket that builds the session.

Bokeh builds a session for every page that is requested, before it answers.  Here the page is a
static one (`first.py`), which asks for a token.  A session is built when its websocket has come;
in a single process that is free, already with its token.  So few wait in memory for a browser that
has left, and none is built twice where several processes share the visitors.  They are built one at
a time; those that nobody waits for only while the server has time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import panel as pn
from bokeh.core.types import ID
from bokeh.server.session import ServerSession
from bokeh.server.tornado import BokehTornado
from bokeh.util.token import generate_jwt_token, generate_session_id
from panel.io.server import DocHandler
from tornado.process import task_id
from tornado.routing import PathMatches, Rule
from tornado.web import authenticated

from . import lecture
from .faults import report
from .first import FirstPage, FirstPages, arguments_of, follows, live_page, where_the_lecture_is
from .lecture import look_of

TURNS = "turns to build a session"
"""Key in a server's settings: its `Turns`."""

PAGES = "first pages"
"""Key in a server's settings: its `FirstPages`."""

PAUSE = 0.01
"""Seconds between two sessions, in which other requests are answered."""

SHARE = 0.5
"""Of the time that may go into sessions that nobody waits for."""

OPENED_BY = "first-page"
"""The header in a session's request if a first page opened it, which has what all pages share."""

WANTED = "Mhc-Wanted"
"""The header by which `static/first.js` says whether a visitor waits for the session."""


DARK = "Mhc-Dark"
"""The header by which it says whether the visitor's system is dark."""


def opened_by_first_page() -> bool:
    """Whether the present session belongs to a page that began as a first page."""
    return pn.state.curdoc is not None and OPENED_BY in pn.state.headers


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

    def is_free(self) -> bool:
        """Whether nobody holds a turn or waits for one."""
        return not self._waiting

    def busy_for(self) -> float:
        """Seconds until there may be time for a session that nobody waits for."""
        return max(self._free_at - time.monotonic(), float(self._waiting))

    def promise(self) -> None:
        """Note that a session was promised, so that the next is not promised at once."""
        self._free_at = max(self._free_at, time.monotonic() + 1)


class BuiltPageHandler(DocHandler):
    """Builds a session for each page that is requested, as Panel does, but one at a time.

    Otherwise those that are requested at once are built in one go, and nothing else is answered.
    """

    _left = False

    def on_connection_close(self) -> None:
        """Note that nobody waits for this page any more."""
        self._left = True

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Build the page and send it."""
        async with self.settings[TURNS].turn():
            if not self._left:
                await super().get(*args, **kwargs)


class FirstPageHandler(DocHandler):
    """Answers a link with its first page."""

    _page: FirstPage | None = None

    @authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Send the page, or say that the browser has it already."""
        settings = self.settings
        if PAGES not in settings:
            settings[PAGES] = FirstPages(live_page(self.application))
        arguments = arguments_of(self.request.arguments)
        self._page = await settings[PAGES].get(where_the_lecture_is(arguments))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")  # to be kept, but asked for again
        self.write(self._page.html)

    def compute_etag(self) -> str | None:
        """The hash that was computed with the page."""
        return self._page.etag if self._page else super().compute_etag()


class TokenHandler(DocHandler):
    """Answers with a token, by which a websocket opens a session."""

    @authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Send a token; if there is no time, tell a page that can wait when to ask again."""
        self.set_header("Cache-Control", "no-store")
        if follows(arguments_of(self.request.arguments)) and lecture.mirrors is not None:
            dark = self.request.headers.get(DARK) == "1"
            look = look_of(self.get_argument("theme", ""), dark)
            token = lecture.mirrors.token(look, self.application, {OPENED_BY: "1"})
            self.write({"token": token, "follows": True})
            return
        turns: Turns = self.settings[TURNS]
        if self.request.headers.get(WANTED) != "1":
            seconds = turns.busy_for()
            if seconds > 0:
                self.set_status(202)
                self.write({"seconds": round(seconds, 1)})
                return
            turns.promise()
        self.write({"token": await self._token()})

    async def _token(self) -> str:
        app = self.application
        if not app.sign_sessions:  # then a token is good only if its session is there
            return (await self._build()).token
        name = generate_session_id(secret_key=app.secret_key, signed=True)
        token = generate_jwt_token(
            name,
            secret_key=app.secret_key,
            signed=True,
            expiration=app.session_token_expiration,
            extra_payload={**self._generate_token_payload(), "headers": {OPENED_BY: "1"}},
        )
        # It is built while the browser loads the scripts of the live page, unless its websocket may
        # come to another process, or others wait: who asks for tokens alone must not hold them up.
        if task_id() is None and self.settings[TURNS].is_free():
            build = asyncio.ensure_future(self._build(name, token))
            build.add_done_callback(_report)
        return token

    async def _build(self, name: ID | None = None, token: str | None = None) -> ServerSession:
        async with self.settings[TURNS].turn():
            if name is None:
                return await self.get_session()
            context = self.application_context
            return await context.create_session_if_needed(name, self.request, token)


def _report(build: asyncio.Future[ServerSession]) -> None:
    if not build.cancelled() and (error := build.exception()) is not None:
        report(error)


def open_visits(server: BokehTornado, *, first_page: bool) -> None:
    """Have the visits of a server begin this way; without `first_page` with a session each."""
    server.settings[TURNS] = Turns()
    for rule in list(server.wildcard_router.rules):
        if rule.target is DocHandler:
            rule.target = FirstPageHandler if first_page else BuiltPageHandler
            if first_page:
                path = rule.matcher.regex.pattern.removesuffix("$").removesuffix("/?")
                token = Rule(PathMatches(path + "/token"), TokenHandler, rule.target_kwargs)
                server.wildcard_router.rules.insert(0, token)

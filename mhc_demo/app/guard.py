"""What stands between a visitor and the server: one rule before all others, and a few settings.

Panel's server is made for people who trust each other.  It imports any module that a link names
(`/components/...`), writes text of the link into the page (`bokeh-absolute-url`), lets scripts of
other sites build pages (`autoload.js`), and takes session ids from links.  The page needs none of
this.  Here is the list of what it does need; everything else is answered with 404.

`mhc-demo serve` and the notebook start their servers with `options` and `protect` them before the
first visitor.  `panel serve app.py` allows neither: there the page protects its server when it is
first opened, as far as that is still possible (`protect_own_server`).
"""

from __future__ import annotations

import gzip
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

import panel as pn
from bokeh.server.contexts import ApplicationContext
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from bokeh.settings import settings
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream
from tornado.routing import Matcher, Rule
from tornado.web import ErrorHandler, OutputTransform, StaticFileHandler

from ._panel import hasten, hide_working_folder
from .collecting import collect_when_quiet
from .compressed import accepts_gzip, compressing
from .lasting import LastingHandler, make_room
from .opening import open_visits
from .state import parameters_by_link_name

LARGEST_MESSAGE = 2**20
"""Bytes of a websocket frame from the browser."""

LARGEST_BODY = 2**16
"""Bytes of a request's body; the page sends none, and Tornado would accept 100 MB."""

LARGEST_HEADER = 2**15
"""Bytes of a request's headers; a browser sends the cookies of every server on this host."""

PING = 20
"""Seconds between two pings of a websocket; a browser that does not answer by the next is gone."""

MOST_WAITING = 50
"""Pages that may wait for their websocket.  Beyond that the oldest are dropped, and built again if
their websocket comes after all.  Each takes some 2 MB."""

CLEARING = 5
"""Seconds between two checks for sessions without a websocket."""

REFUSED_HEADERS = ("Bokeh-Session-Id", "Content-Length", "Transfer-Encoding")
"""We name the sessions ourselves; and arguments in a body would bypass the guard."""

PAGE_LEVEL = 4
"""Of compression, for pages, which differ in a nonce: 1.3 ms, to a seventh (2026-11)."""

SOCKET_LEVEL = 6
"""Of compression, for websockets: with 6 instead of 3, a second opening moved 67 kB instead of 79
(2026-11)."""

UNKNOWN = 9
"""Unknown parameters of a link, counted up to this many."""

POLICY = {
    "default-src": "'none'",
    # 'unsafe-eval': BokehJS compiles the code of formatters, tickers and callbacks.
    # blob: the browser loads the modules of Panel's components from there.
    "script-src": "'self' blob: 'unsafe-eval'",
    # Bokeh sets styles on elements, and all components write them into shadow roots.
    "style-src": "'self' blob: 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "object-src": "'none'",
}
"""What a page may load and run, beside the scripts that are written into it."""


def options(frame_ancestors: Sequence[str] | None = ()) -> dict[str, Any]:
    """The guard's keyword arguments for `pn.serve`.

    `frame_ancestors`: the other origins whose pages may show ours in a frame; None is all.
    """
    return {
        "location": False,  # its parser fails on some links, and the page has its own
        "secret_key": settings.secret_key_bytes() or secrets.token_bytes(32),
        "sign_sessions": True,
        # We need none of them, and they would be written into the page and its token.
        "include_headers": [],
        "include_cookies": [],
        "check_unused_sessions_milliseconds": 1000 * CLEARING,
        "keep_alive_milliseconds": 0,  # Tornado's own pings notice when a browser is gone
        "websocket_ping_interval": PING,
        "websocket_max_message_size": LARGEST_MESSAGE,
        "websocket_compression_level": SOCKET_LEVEL,
        "websocket_compression_mem_level": 5,  # 160 kB for each page instead of 256
        "http_server_kwargs": {
            "max_body_size": LARGEST_BODY,
            "max_header_size": LARGEST_HEADER,
            "idle_connection_timeout": 20,
            "body_timeout": 10,
        },
        "transforms": [headers(frame_ancestors)],
    }


def protect(server: BokehTornado, *, first_page: bool = False) -> None:
    """Let only what the page needs reach `server`, and make its websockets lasting ones.

    `first_page`: its pages show what their links say, so a link is answered with a static page.
    """
    hide_working_folder()
    server.default_router.rules.insert(0, Rule(Refused(server), ErrorHandler, {"status_code": 404}))
    open_visits(server, first_page=first_page)
    for rule in server.wildcard_router.rules:
        if not isinstance(rule.target, type):
            continue
        if issubclass(rule.target, WSHandler):
            rule.target = LastingHandler
        elif issubclass(rule.target, StaticFileHandler):
            rule.target = compressing(rule.target)
    PeriodicCallback(lambda: _make_room(server), 1000 * CLEARING).start()


def dedicate(server: BokehTornado) -> None:
    """Arrange this process for the page, if it does nothing but serve it."""
    hasten()
    collect_when_quiet(server)


def keep_some_files(server: HTTPServer) -> None:
    """Close new connections while nine tenths of the files that this process may open are open.

    If none were left, Python's loop would try to accept a connection again and again, and log it.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return
    most = 0.9 * resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    take = server.handle_stream

    def handle_stream(stream: IOStream, address: tuple[Any, ...]) -> Any:
        if stream.socket.fileno() > most:  # numbers are given out from the lowest
            stream.close()
            return None
        return take(stream, address)

    server.handle_stream = handle_stream  # type: ignore[method-assign]


def _make_room(server: BokehTornado) -> None:
    make_room()
    for app in server.applications.values():
        waiting = [s for s in app.sessions if not s.connection_count and not s.expiration_requested]
        waiting.sort(key=lambda session: session.milliseconds_since_last_unsubscribe)
        for session in waiting[MOST_WAITING:]:
            session.request_expiration()


NAME = re.compile(r"\(\?P<\w+>")
"""The name of a group in the pattern of an address."""


class Refused(Matcher):
    """Matches requests that the page does not need, and tidies the arguments of the others."""

    def __init__(self, server: BokehTornado) -> None:
        prefix = re.escape(server.prefix)
        apps = "|".join(url.rstrip("/") for url in server.applications)
        apps = NAME.sub("(?:", apps)  # for it is used twice below
        self.needed = re.compile(
            rf"{prefix}/?|{prefix}/favicon\.ico|({prefix})?/liveness"
            rf"|{prefix}({apps})(/|/ws|/token|/liveness)?|{prefix}({apps})?/static/.*"
        )

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        names = [name.lower() for name in request.arguments]
        if (
            self.needed.fullmatch(request.path)
            and "%00" not in request.path  # Tornado fails on it
            and request.method in ("GET", "HEAD")
            and not any(name.startswith("bokeh") for name in names)
            and not any(name in request.headers for name in REFUSED_HEADERS)
        ):
            if "/static/" in request.path:
                request.arguments = {n: v for n, v in request.arguments.items() if n == "v"}
                request.query_arguments = request.arguments
            elif not request.path.endswith("/ws"):
                request.arguments = tidied(request.arguments)
                request.query_arguments = request.arguments
            return None
        return {}


def tidied(arguments: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
    """A link's arguments: the last value of each that we know, as UTF-8; the others only by number.

    Panel and Bokeh read arguments too, and fail on other bytes and on names of their own.
    """
    names = parameters_by_link_name()
    known = {
        name: [values[-1].decode("utf-8", "replace").encode()]
        for name, values in arguments.items()
        if name in names and values
    }
    others = min(len(arguments) - len(known), UNKNOWN)
    return known | {f"unknown {i + 1}": [b""] for i in range(others)}


def headers(frame_ancestors: Sequence[str] | None = ()) -> type[OutputTransform]:
    """The transform that gives every answer of a server its headers."""
    policy = dict(POLICY)
    if frame_ancestors is not None:
        policy["frame-ancestors"] = " ".join(["'self'", *frame_ancestors])

    class Headers(OutputTransform):
        def __init__(self, request: HTTPServerRequest) -> None:
            self._request = request

        def transform_first_chunk(
            self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
        ) -> tuple[int, HTTPHeaders, bytes]:
            headers.pop("Server", None)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            if status_code == 304:  # the browser keeps the policy that it has with the page
                return status_code, headers, chunk
            own = dict(policy)
            if headers.get("Content-Type", "").startswith("text/html"):
                # All scripts in the page are ours, for it contains nothing of the link.  A script
                # that is added later has no nonce, and does not run.
                nonce = secrets.token_urlsafe(16)
                own["script-src"] += f" 'nonce-{nonce}'"
                chunk = chunk.replace(b"<script", f'<script nonce="{nonce}"'.encode())
                headers["Vary"] = "Accept-Encoding"
                if finishing and accepts_gzip(self._request):
                    headers["Content-Encoding"] = "gzip"
                    chunk = gzip.compress(chunk, PAGE_LEVEL)
                if "Content-Length" in headers:
                    headers["Content-Length"] = str(len(chunk))
            headers["Content-Security-Policy"] = "; ".join(map(" ".join, own.items()))
            return status_code, headers, chunk

    return Headers


# ---- panel serve app.py ----------------------------------------------------------------------

_unprotected: WeakSet[ApplicationContext] = WeakSet()
"""Our applications whose servers were started by others."""


def protect_own_server() -> None:
    """Protect the server of this session from its next request on, unless it is protected.

    For an app whose page is `create()`, which shows what the link says.
    """
    context = pn.state.curdoc and pn.state.curdoc.session_context
    if context is None or getattr(context, "server_context", None) is None:
        return
    _unprotected.add(context.server_context.application_context)
    if BokehTornado.find_handler is not _find_handler:
        BokehTornado.find_handler = _find_handler


def _find_handler(self: BokehTornado, request: HTTPServerRequest, **kwargs: Any) -> Any:
    # A session does not know its server, but every server calls this.
    found = _unprotected.intersection(self.applications.values())
    if found and not any(isinstance(rule.matcher, Refused) for rule in self.default_router.rules):
        nothing_else = found.issuperset(self.applications.values())
        protect(self, first_page=nothing_else)
        if nothing_else:
            dedicate(self)
        self.transforms.append(headers())
        self.settings["websocket_max_message_size"] = LARGEST_MESSAGE
        self.settings["websocket_ping_interval"] = PING
    return super(BokehTornado, self).find_handler(request, **kwargs)

"""`mhc-demo serve`: the page, which opens with a given state."""

from __future__ import annotations

import argparse
import contextlib
import errno
import ipaddress
import re
import secrets
import signal
import sys
import threading
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from . import processes
from .ending import tell
from .options import Run, add_option, check_together, number, plain, state_parameters


def serve(parser: argparse.ArgumentParser) -> Run:
    """Serve the interactive page from this machine.

    The page opens with the options given here; everything can be changed on the page, and its link
    always holds what it shows.
    """
    server = parser.add_argument_group("server")
    server.add_argument(
        "--port",
        type=number(int, 0, 65535),
        default=5006,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    server.add_argument(
        "--address",
        type=_address,
        default="localhost",
        help="address to listen on; 0.0.0.0 is every one of this machine, :: those of IPv6 too "
        "(default: %(default)s)",
    )
    server.add_argument(
        "--prefix",
        type=_prefix,
        default="",
        metavar="PATH",
        help="path under which the server lives, such as /mhc, for a proxy that passes paths on as "
        "they are; a proxy that strips it needs nothing here (default: none)",
    )
    server.add_argument(
        "--use-xheaders",
        action="store_true",
        help="believe the proxy in front about a visitor's address and scheme (X-Forwarded-For, "
        "X-Forwarded-Proto); only where nobody reaches the server but through it",
    )
    server.add_argument("--show", action="store_true", help="open the page in a browser")
    server.add_argument(
        "--allow-websocket-origin",
        type=_host,
        nargs="+",
        action="extend",
        default=[],
        metavar="HOST",
        help="name or name:port (80 or 443 if not given) by which other people's browsers reach "
        "the page, an IPv6 address in brackets (default: only localhost and --address)",
    )
    server.add_argument(
        "--frame-ancestors",
        type=_frame_ancestor,
        nargs="+",
        action="extend",
        default=[],
        metavar="ORIGIN",
        help="other sites whose pages may show this one in an iframe, such as "
        "https://blog.example.org or https://*.example.org; * is all (default: none)",
    )
    server.add_argument(
        "--num-procs",
        type=number(int, 0, 1024),
        default=1,
        metavar="N",
        help="processes to share the visitors; 0 is one for each core (default: %(default)s)",
    )
    server.add_argument(
        "--trainings",
        type=number(int, 0, 1024),
        default=1,
        metavar="N",
        help="runs of the lab that a process trains at the same time; the next ones wait. Each "
        "takes a core or two, and 2 GB of memory at most; 0: none is trained "
        "(default: %(default)s)",
    )
    hall = parser.add_argument_group("a hall that takes part")
    hall.add_argument(
        "--hall",
        action="store_true",
        help="pages opened with ?follow=1 go where the lecturer goes, and what they guess is told "
        "to the lecturer, without names; a second link is printed, which leads",
    )
    hall.add_argument(
        "--hall-key",
        type=_key,
        metavar="KEY",
        help="what the lecturer's link ends with, the same for all servers of a hall; with it "
        "--hall need not be given. 16 to 128 letters, digits, - or _ (default: one is drawn)",
    )
    hall.add_argument(
        "--broker",
        type=_broker,
        metavar="URL",
        help="Redis or Valkey, such as redis://localhost:6379, by which several processes or "
        "servers of a hall know of each other (default: none, for one process)",
    )
    opening = parser.add_argument_group("what the page opens with")
    declared = state_parameters()
    for name, parameter in declared.items():
        add_option(opening, name, parameter)

    def run(options: argparse.Namespace) -> int:
        given = {name: getattr(options, name) for name in declared}
        state = {name: value for name, value in given.items() if value is not None}
        check_together(parser, state, alone=options.num_procs == 1)
        if options.hall or options.hall_key:
            if (why := _no_hall(options)) is not None:
                parser.error(why)
            options.hall_key = options.hall_key or secrets.token_urlsafe()
        return _serve(options, state)

    return run


def page_url(address: str, port: int, state: Mapping[str, object], prefix: str = "") -> str:
    """The page's link for a server that listens on `address`, opening with `state`.

    >>> page_url("0.0.0.0", 5006, {"depth": 64, "spread": 0.5})
    'http://localhost:5006/app?depth=64&spread=0.5'
    """
    host = "localhost" if address in (*EVERYWHERE, "127.0.0.1") else address
    if ":" in host:
        host = f"[{host.replace('%', '%25')}]"
    query = urlencode({name: plain(value) for name, value in state.items()})
    return f"http://{host}:{port}{prefix}/app" + (f"?{query}" if query else "")


def _key(text: str) -> str:
    from ..app.lecture import KEY

    if not KEY.fullmatch(text):  # which is not repeated: it is a secret, if a bad one
        raise argparse.ArgumentTypeError(
            f"a key has 16 to 128 letters, digits, - or _; this one, of {len(text)} characters, "
            "is too short or has others"
        )
    return text


def _broker(text: str) -> str:
    try:
        parts = urlsplit(text)
        allowed = (parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0) or (
            parts.scheme == "unix" and parts.path
        )
    except ValueError:
        allowed = False
    if not allowed:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the address of a broker, such as redis://localhost:6379, "
            "rediss://name:6379 or unix:///run/valkey.sock"
        )
    return text


def _no_hall(options: argparse.Namespace) -> str | None:
    """Why these options cannot have a hall that takes part, or None."""
    from ..app import broker

    if options.broker is not None:
        why = broker.missing()
        return why and f"argument --broker: {why}"
    if options.num_procs == 1:
        return None
    return (
        f"argument --hall: with --num-procs {options.num_procs} the processes need a broker to "
        "know of each other: start Redis or Valkey and name it, such as --broker "
        "redis://localhost:6379, or serve with --num-procs 1"
    )


EVERYWHERE = ("", "0.0.0.0", "::")
"""Values of `--address` that mean all addresses of this machine."""


def _address(text: str) -> str:
    return text.removeprefix("[").removesuffix("]")


def _prefix(text: str) -> str:
    """A path as Bokeh wants it: with a slash at the start and none at the end, or empty."""
    path = text.strip("/")
    parts = path.split("/") if path else []
    if not all(re.fullmatch(r"[\w.~-]+", part, re.ASCII) and part.strip(".") for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a path such as /mhc, of letters, digits and . _ ~ - between slashes"
        )
    return f"/{path}" if path else ""


def _host(text: str) -> str:
    """A host as browsers write it: in lower case, IPv6 compressed, without a default port."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^\s:/\[\]]+)(:\d+)?", text.lower())
    try:
        if not found:
            raise ValueError
        host, port = found[1], found[2] or ""
        if host.startswith("["):
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a host name or name:port, nor an IPv6 address in brackets"
        ) from None
    return host + (port if port not in (":80", ":443") else "")


def _frame_ancestor(text: str) -> str:
    if not re.fullmatch(r"\*|https?://(\*\.)?[A-Za-z0-9.-]+(:(\d+|\*))?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an origin such as https://blog.example.org, nor *"
        )
    return text


def _root(opening: str) -> type:
    """The redirection from / to /app; Bokeh's own would drop the query of a link.

    Without a query the page opens with the state of the command line.  The target is relative,
    because a proxy may have the page under another path.
    """
    from tornado.web import RequestHandler

    class Root(RequestHandler):
        def get(self) -> None:
            query = self.request.query or opening
            here = self.request.path.rpartition("/")[2]  # empty unless the prefix lacks its slash
            self.redirect((f"{here}/app" if here else "app") + (f"?{query}" if query else ""))

    return Root


def _app_with_slash() -> type:
    """The redirection from /app/ to /app, from which the page's relative links start."""
    from tornado.web import RequestHandler

    class AppWithSlash(RequestHandler):
        def get(self) -> None:
            query = self.request.query
            self.redirect("../app" + (f"?{query}" if query else ""))

    return AppWithSlash


def _serve(options: argparse.Namespace, state: Mapping[str, object]) -> int:
    import panel as pn
    from panel.io.liveness import LivenessHandler
    from tornado.process import task_id

    from ..app import building, guard, lecture, training
    from ..app._panel import http_server, tornado_application
    from ..app.mirror import Mirrors
    from ..numerics.surface import compile_kernels

    # A container or a service manager sends SIGTERM where a person presses Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    training.at_once = options.trainings
    processes.open_more_files()
    with contextlib.suppress(ImportError):
        import numba  # noqa: F401  # here, so that the processes share it
    family = processes.Family()
    opens = state
    if options.hall_key:
        lecture.hall = lecture.Hall(options.hall_key)
        opens = {n: v for n, v in state.items() if n != "present"} | {"follow": 1}
    opening = urlsplit(page_url("localhost", 0, opens)).query
    guarded = guard.options(options.frame_ancestors)
    if lecture.hall is not None:
        lecture.mirrors = Mirrors(lecture.hall, guarded["secret_key"])
    try:
        server = pn.serve(
            {"app": building.opened},
            title="mHC demo",
            port=options.port,
            # Tornado reads :: as IPv6 alone.
            address=options.address if options.address not in ("", "::") else None,
            prefix=options.prefix,
            use_xheaders=options.use_xheaders,
            websocket_origin=[h for h in options.allow_websocket_origin if h[0] != "["] or None,
            num_procs=options.num_procs,
            extra_patterns=[(r"/?", _root(opening))],
            session_token_expiration=TOKENS_LAST,
            liveness=True,  # at /liveness: a health check must not open a session
            show=False,
            start=False,
            verbose=False,
            **guarded,
        )
    except OSError as error:
        print(f"mhc-demo: {_why_not_listening(options, error)}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if "restarts" not in str(error):
            raise
        print("mhc-demo: too many of its processes have died; see above", file=sys.stderr)
        family.dismiss()
        return 1
    except KeyboardInterrupt:
        if options.num_procs != 1:
            family.dismiss()
        raise
    tornado = tornado_application(server)
    tornado.websocket_origins.update(_origins(options, server.port))
    with_slash = (f"{options.prefix}/app/", _app_with_slash())
    # Health checks do not know the prefix.
    alive = (r"/liveness", LivenessHandler, {"applications": tornado.applications})
    tornado.add_handlers(r".*", [with_slash, alive])
    guard.protect(tornado, first_page=True)
    guard.dedicate(tornado)
    building.build_in_pieces(tornado)
    guard.keep_some_files(http_server(server))
    if task_id() is not None:
        family.follow()
    if family.announces():
        url = page_url(options.address, server.port, opens, options.prefix)
        tell(f"The page is at {url}  (Ctrl-C stops it)")
        if options.hall_key:
            leads = {n: v for n, v in state.items() if n != "follow"}
            url = page_url(options.address, server.port, leads, options.prefix)
            url += f"#lead={options.hall_key}"
            tell(f"The lecturer's is {url}")
        if options.show:
            import webbrowser

            server.io_loop.add_callback(webbrowser.open, url)
    processes.stop_by_signal(server.io_loop)
    server.start()
    if lecture.hall is not None and options.broker:
        from ..app.broker import Broker

        relay = Broker(lecture.hall, options.broker, options.hall_key)
        server.io_loop.add_callback(relay.run)
    # Beside the loop: unless an earlier server has kept the result, it takes ten seconds.
    threading.Thread(target=compile_kernels, daemon=True).start()
    server.io_loop.start()
    server.stop()
    return 0


TOKENS_LAST = 86_400
"""Seconds from a page's opening in which its websocket must first connect: Bokeh's five minutes
pass at once if in between the clock is set, or a laptop wakes up."""


def _origins(options: argparse.Namespace, port: int) -> list[str]:
    """The origins by which the page is reached without a proxy, and those Bokeh cannot parse."""
    own = {"localhost", "127.0.0.1", options.address} - set(EVERYWHERE)
    if options.address in ("", "::"):
        own |= {"::1"}
    own = {host for host in own if "%" not in host}  # browsers leave the interface out
    here = [_host(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") for host in own]
    given = [host for host in options.allow_websocket_origin if host[0] == "["]
    # Bokeh adds :80 to an origin without a colon, on both sides.
    return [host if ":" in host else f"{host}:80" for host in here + given]


def _why_not_listening(options: argparse.Namespace, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {options.port} is taken; choose another with --port, or --port 0 for a free one"
        )
    reason = error.strerror or str(error)
    return f"cannot listen on {options.address}, port {options.port}: {reason}"

"""`mhc-demo serve`: the page, opening with a given state."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import sys
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from .options import Run, add_option, check_together, number, plain, state_parameters


def serve(parser: argparse.ArgumentParser) -> Run:
    """Serve the interactive page from this machine.

    The page opens with what is given here; everything can be changed on the page, and its link
    always says what it shows.
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
        default="localhost",
        help="address to listen on; 0.0.0.0 is every one of this machine (default: %(default)s)",
    )
    server.add_argument("--show", action="store_true", help="open the page in a browser")
    server.add_argument(
        "--allow-websocket-origin",
        type=_host,
        nargs="+",
        action="extend",
        default=[],
        metavar="HOST",
        help="name or name:port (80 if not given) by which other people's browsers reach the page "
        "(default: only localhost and --address)",
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
        "takes a core or two, and some hundred MB; 0: none is trained (default: %(default)s)",
    )
    opening = parser.add_argument_group("what the page opens with")
    declared = state_parameters()
    for name, parameter in declared.items():
        add_option(opening, name, parameter)

    def run(options: argparse.Namespace) -> int:
        given = {name: getattr(options, name) for name in declared}
        state = {name: value for name, value in given.items() if value is not None}
        check_together(parser, state, alone=options.num_procs == 1)
        return _serve(options, state)

    return run


def page_url(address: str, port: int, state: Mapping[str, object]) -> str:
    """The page's link for a server that listens on `address`, opening with `state`.

    >>> page_url("0.0.0.0", 5006, {"depth": 64, "spread": 0.5})
    'http://localhost:5006/app?depth=64&spread=0.5'
    """
    host = "localhost" if address in ("", "0.0.0.0", "::", "127.0.0.1", "::1") else address
    if ":" in host:
        host = f"[{host}]"
    query = urlencode({name: plain(value) for name, value in state.items()})
    return f"http://{host}:{port}/app" + (f"?{query}" if query else "")


def _host(text: str) -> str:
    if not re.fullmatch(r"[^\s:/]+(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or name:port")
    return text


def _frame_ancestor(text: str) -> str:
    if not re.fullmatch(r"\*|https?://(\*\.)?[A-Za-z0-9.-]+(:(\d+|\*))?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an origin such as https://blog.example.org, nor *"
        )
    return text


def _serve(options: argparse.Namespace, state: Mapping[str, object]) -> int:
    import panel as pn
    from tornado.ioloop import PeriodicCallback
    from tornado.process import task_id
    from tornado.web import RequestHandler

    from ..app import guard, training
    from ..app.page import create

    # A container or a service manager says by SIGTERM what a person says with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    training.at_once = options.trainings
    parent = os.getpid()
    opening = urlsplit(page_url("localhost", 0, state)).query

    class Root(RequestHandler):
        """The way from / to /app: Bokeh's own would drop the query of a link.

        Without one the page opens with the state that was asked for.
        """

        def get(self) -> None:
            query = self.request.query or opening
            self.redirect(f"/app?{query}" if query else "/app")

    try:
        server = pn.serve(
            {"app": create},
            title="mHC demo",
            port=options.port,
            address=options.address or None,
            websocket_origin=_origins(options),
            num_procs=options.num_procs,
            extra_patterns=[(r"/", Root)],
            liveness=True,  # at /liveness: a health check must not open a visitor's session
            show=False,
            start=False,
            verbose=False,
            **guard.options(options.frame_ancestors),
        )
    except OSError as error:
        print(f"mhc-demo: {_why_not_listening(options, error)}", file=sys.stderr)
        return 1
    guard.protect(server._tornado)
    if not task_id():  # one process speaks for all
        url = page_url(options.address, server.port, state)
        print(f"The page is at {url}  (Ctrl-C stops it)", flush=True)
        if options.show:
            import webbrowser

            server.io_loop.add_callback(webbrowser.open, url)
    if task_id() is not None:  # one of several: none outlives the process that started them

        def stop_if_orphan() -> None:
            if os.getppid() != parent:
                server.io_loop.stop()

        server.io_loop.add_callback(PeriodicCallback(stop_if_orphan, 500).start)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # Panel's: stop the loop
    server.start()
    server.io_loop.start()
    server.stop()
    return 0


def _origins(options: argparse.Namespace) -> list[str] | None:
    # A port of 0 is known only to Bokeh, whose default is localhost at whatever port it gets.
    own = {"localhost", "127.0.0.1", options.address} - {"", "0.0.0.0"}
    here = [f"{host}:{options.port}" for host in sorted(own) if options.port and ":" not in host]
    return here + options.allow_websocket_origin or None


def _why_not_listening(options: argparse.Namespace, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {options.port} is taken; choose another with --port, or --port 0 for a free one"
        )
    reason = error.strerror or str(error)
    return f"cannot listen on {options.address}, port {options.port}: {reason}"

"""The command line: `mhc-demo serve`, and room for more.

The options that say what the page opens with are read off the declaration of its state, so a new
parameter or projection is here by itself.  That declaration brings NumPy and Panel along, so it
is imported only where a subcommand asks for it, and `mhc-demo --help` answers at once.

To add a subcommand, write one function below under `@command`.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

Run = Callable[[argparse.Namespace], int]
"""Does the work of a subcommand and returns the exit code."""

COMMANDS: dict[str, Callable[[argparse.ArgumentParser], Run]] = {}
"""Every subcommand by its name."""

DESCRIPTION = """\
Why hyper-connections explode and manifold-constrained ones (mHC) do not: an
interactive page that measures how much a deep stack of mixing matrices
amplifies a signal, and what a few Sinkhorn-Knopp iterations do about it.
"""

EXAMPLES = """\
examples:
  mhc-demo serve --show
      open the page in a browser
  mhc-demo serve --depth 64 --iterations 0 --streams 8
      serve it, and print the link that opens with this experiment
  mhc-demo serve --address 0.0.0.0 --allow-websocket-origin demo.example.org
      serve it to others, behind a proxy of that name
  mhc-demo serve --help
      every option, its range and its default
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: `sys.argv[1:]`) and return its exit code.

    0: done.  1: it could not be done.  2: the options were wrong (raised as SystemExit).
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        options = _parser(arguments).parse_args(arguments)
        return options.run(options)
    except KeyboardInterrupt:  # before the server has taken over the signal
        return 130


def command(
    build: Callable[[argparse.ArgumentParser], Run],
) -> Callable[[argparse.ArgumentParser], Run]:
    """Register a subcommand: it adds its options to the parser, and returns what to run.

    Its name is the function's, its help the docstring, of which the first line is the summary.
    """
    COMMANDS[build.__name__] = build
    return build


@command
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
        "--num-procs",
        type=number(int, 0, 1024),
        default=1,
        metavar="N",
        help="processes to share the visitors; 0 is one for each core (default: %(default)s)",
    )
    opening = parser.add_argument_group("what the page opens with")
    declared = state_parameters()
    for name, parameter in declared.items():
        _add_option(opening, name, parameter)

    def run(options: argparse.Namespace) -> int:
        given = {name: getattr(options, name) for name in declared}
        state = {name: value for name, value in given.items() if value is not None}
        _check_together(parser, state, alone=options.num_procs == 1)
        return _serve(options, state)

    return run


def state_parameters() -> dict[str, Any]:
    """What the page's link can carry, as param declarations by name."""
    from .app.state import URL_PARAMETERS, State

    return {name: State.param[name] for name in URL_PARAMETERS}


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


def flag(name: str) -> str:
    """The option of a parameter.

    >>> flag("model_width")
    '--model-width'
    """
    return f"--{name.replace('_', '-')}"


def plain(value: object) -> str:
    """As a person writes it: 1 for 1.0 and for True.

    >>> plain(1.0), plain(0.25), plain("rows")
    ('1', '0.25', 'rows')
    """
    return f"{value:.12g}" if isinstance(value, (float, bool)) else str(value)


def number(
    kind: type[int] | type[float], low: float | None, high: float | None
) -> Callable[[str], float]:
    """Converter of an option's text to a number in [low, high]; None leaves that end open.

    >>> number(int, 1, 128)("64")
    64

    Raises argparse.ArgumentTypeError that says what was given and what is allowed.
    """
    low, high = -math.inf if low is None else low, math.inf if high is None else high

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {noun}") from None
        if not (low <= value <= high and math.isfinite(value)):
            raise argparse.ArgumentTypeError(
                f"{text} is out of range ({plain(low)} to {plain(high)})"
            )
        return value

    return parse


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Converter of an option's text to one of `choices`.

    Raises argparse.ArgumentTypeError that says what was given and what is allowed.
    """

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def _host(text: str) -> str:
    if not re.fullmatch(r"[^\s:/]+(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or name:port")
    return text


def _add_option(group: Any, name: str, parameter: Any) -> None:
    """The option of one parameter: a name from a list, or a number within bounds."""
    import param

    if isinstance(parameter, param.Boolean):
        text = f"{parameter.label}. {parameter.doc}"
        group.add_argument(flag(name), dest=name, action="store_const", const=True, help=text)
        return
    if isinstance(parameter, param.Selector):
        names = list(filter(None, parameter.objects))
        parse: Callable[[str], Any] = one_of(names)
        allowed, metavar = "One of " + ", ".join(names), "NAME"
    else:
        kind = int if isinstance(parameter, param.Integer) else float
        parse = number(kind, *parameter.bounds)
        allowed = " to ".join(plain(bound) for bound in parameter.bounds)
        metavar = "N" if kind is int else "X"
    text = f"{parameter.label}. {parameter.doc} {allowed} (default: {plain(parameter.default)})"
    group.add_argument(
        flag(name),
        dest=name,
        type=parse,
        metavar=metavar,
        help=text.replace("%", "%%"),
    )


def _check_together(parser: argparse.ArgumentParser, state: Mapping[str, Any], alone: bool) -> None:
    """What is wrong with no option by itself: a projection that has too many streams, say."""
    from .app.state import exceeded
    from .devices import DEVICES

    values = {name: p.default for name, p in state_parameters().items()} | dict(state)
    # A process that has asked for CUDA can have no children that use it: they will ask.
    reason = DEVICES[values["device"]].missing() if alone else None
    if reason is not None:
        parser.error(f"argument --device: {values['device']} cannot be had: {reason}")
    for name, (most, who) in exceeded(values).items():
        parser.error(f"argument {flag(name)}: at most {most}, the most that {who}")


def _serve(options: argparse.Namespace, state: Mapping[str, object]) -> int:
    import panel as pn
    from tornado.ioloop import PeriodicCallback
    from tornado.process import task_id
    from tornado.web import RequestHandler

    from .app.page import create

    # A container or a service manager says by SIGTERM what a person says with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
            show=False,
            start=False,
            verbose=False,
        )
    except OSError as error:
        print(f"mhc-demo: {_why_not_listening(options, error)}", file=sys.stderr)
        return 1
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


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the options of that subcommand only that `arguments` call for."""
    parser = argparse.ArgumentParser(
        prog="mhc-demo",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, build in COMMANDS.items():
        summary, _, rest = (build.__doc__ or "").partition("\n")
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary} {' '.join(rest.split())}",
            allow_abbrev=False,
        )
        if name in arguments[:1]:
            subparser.set_defaults(run=build(subparser))
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from . import __version__

        print(f"mhc-demo {__version__}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())

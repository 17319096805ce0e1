"""`mhc-demo check-hall`: whether a server bears a full lecture hall, and what gives way first."""

from __future__ import annotations

import argparse
import contextlib
import secrets
from urllib.parse import urlsplit

from . import processes
from .ending import complain, tell
from .options import Run, number


def check_hall(parser: argparse.ArgumentParser) -> Run:
    """Fill a lecture hall: many visitors open the page of your own server at once.

    Without a URL it starts a server for this alone.  With one, the page there is opened by as many
    visitors as given: do this to your own server only, for to any other it is an attack.  The
    visitors are processes of this machine, draw nothing, and take processor of their own, as the
    last line says: if the server is on the same machine, it has that much less.
    """
    parser.add_argument(
        "url",
        nargs="?",
        type=_page,
        metavar="URL",
        help="page of your own server, such as http://localhost:5006/app; its query is what the "
        "visitors open (default: a server that is started for this)",
    )
    parser.add_argument(
        "--visitors",
        type=number(int, 1, 10_000),
        default=300,
        metavar="N",
        help="how many open the page (default: %(default)s)",
    )
    parser.add_argument(
        "--within",
        type=number(float, 0, 3600),
        default=60.0,
        metavar="SECONDS",
        help="time in which they come, at equal distances; 0: all at once (default: %(default)g)",
    )
    parser.add_argument(
        "--play",
        type=number(float, 0, 3600),
        default=0.0,
        metavar="SECONDS",
        help="time for which each then changes seed, streams or spread every ten seconds, at "
        "random (default: %(default)g)",
    )
    parser.add_argument(
        "--follow",
        type=number(int, 0, 1000),
        default=0,
        metavar="N",
        help="how often a lecturer then goes to another scene, whom all follow: needs a URL that "
        "ends with the #lead=KEY of the server's own, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="that of the server that is started, as for serve, if it follows with several "
        "processes",
    )
    parser.add_argument(
        "--num-procs",
        type=number(int, 0, 1024),
        metavar="N",
        help="processes of the server that is started, as for serve (default: 1)",
    )

    from ..hall.lecturer import page_of

    def run(options: argparse.Namespace) -> int:
        if options.url and options.num_procs is not None:
            parser.error(
                "argument --num-procs: not allowed with a URL, whose server runs already; it is "
                "for the server that is started without one"
            )
        if options.url and options.follow and not page_of(options.url)[1]:
            parser.error(
                "argument --follow: the URL must be the lecturer's, which the server printed when "
                "it was started, and which ends with #lead=KEY"
            )
        if (why := _too_many(options.visitors)) is not None:
            parser.error(f"argument --visitors: {why}")
        return _check(options)

    return run


def _page(text: str) -> str:
    try:
        parts = urlsplit(text)
        allowed = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        allowed = None
    if not allowed or not text.isascii() or any(map(str.isspace, text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the address of a page, such as http://localhost:5006/app"
        )
    return text


def _too_many(visitors: int) -> str | None:
    """Why so many visitors cannot be played, or None."""
    from ..hall.check import files_needed

    try:
        import resource
    except ImportError:  # not on Windows
        return None
    processes.open_more_files()
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = files_needed(visitors)
    if needed <= allowed or allowed == resource.RLIM_INFINITY:
        return None
    return (
        f"{visitors} need {needed} open files in a process, and this system allows {allowed} "
        f"(ulimit -Hn)"
    )


def _check(options: argparse.Namespace) -> int:
    from ..hall.account import account
    from ..hall.browser import RefusedError
    from ..hall.check import check
    from ..hall.crowd import Plan
    from ..hall.lecturer import follower_s, page_of
    from ..hall.server import Load, NoServerError, own_server

    plan = {
        "visitors": options.visitors,
        "within": options.within,
        "play": options.play,
        "follow": options.follow,
    }
    try:
        with contextlib.ExitStack() as stack:
            load, address = None, options.url
            if address is None:
                count = "1" if options.num_procs is None else str(options.num_procs)
                words = ["--num-procs", count]
                if options.follow:
                    key = secrets.token_hex()
                    words += ["--hall-key", key]
                    words += ["--broker", options.broker] if options.broker else []
                address, server = stack.enter_context(own_server(*words))
                if options.follow:
                    address += f"#lead={key}"
                if (why := Load.missing()) is None:
                    load = stack.enter_context(Load(server.pid))
                else:
                    tell(f"processor and memory are not measured: {why}")
            page, key = page_of(address)
            visited = follower_s(page) if options.follow else page
            found = check(Plan(visited, **plan), load, tell, lecturer=(page, key))
    except (NoServerError, RefusedError, RuntimeError) as error:
        complain(str(error))
        return 1
    tell(account(found))
    return 0

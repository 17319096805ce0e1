"""A full lecture hall.

Three hundred visitors open the page within a minute, at equal distances, each with an empty
browser; then two hundred of them each change seed, streams or spread every ten seconds, at random.
They are processes on the same machine that speak as a browser does and draw nothing (`mhc-demo
check-hall`), so the server has less of the processor than the machine: how much they took is said.
A first picture is there when all that it needs has arrived; a visitor gives up after 30 seconds. A
silence is the longest wait for an answer to somebody who asks every 50 ms, by a new connection
each, so that with several processes whichever is free may answer. Processor and memory are those of
the server's processes, without Caddy's; a first and a second opening are those of one browser
before the others come. The standalone file is served by Tornado, compressed once.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from mhc_demo.cli.processes import open_more_files
from mhc_demo.hall.account import failures, quantile, singled_out
from mhc_demo.hall.check import Found, check
from mhc_demo.hall.crowd import Plan
from mhc_demo.hall.server import Load, NoServerError, own_server, started

from .results import ROOT, Row, Table, Value, rounded

VISITORS, WITHIN = 300, 60.0
PLAYERS, PLAY, EVERY = 200, 20.0, 10.0
PATIENCE = 30.0

PICTURE, CHANGE_P95, SILENCE = 5.0, 300.0, 200.0
PROCESSOR, MEMORY, FIRST, SECOND = 0.15, 2.5, 1500.0, 60.0
"""Targets: seconds, ms, ms; seconds, MB, kB, kB."""

Served = Iterator[tuple[str, list[int]]]
"""The address of a page, and the processes that serve it."""


def run() -> Iterator[Table]:
    """The openings, what they cost, and the changes."""
    open_more_files()
    found: dict[str, Found] = {}
    notes: dict[str, str] = {}
    for what, serve in SETUPS.items():
        try:
            with serve() as (address, pids), Load(*pids) as load:
                alone = serve is standalone
                plan = Plan(
                    address,
                    visitors=VISITORS,
                    within=WITHIN / 3 if alone else WITHIN,
                    play=0.0 if alone else PLAY,
                    players=PLAYERS,
                    every=EVERY,
                    patience=PATIENCE,
                    alone=alone,
                )
                found[what] = check(plan, load)
        except LookupError as error:
            notes[what] = f"left out: {error.args[0]}"
        except (NoServerError, RuntimeError) as error:
            notes[what] = f"failed: {error}"
    left_out = [{"what": what, "note": note} for what, note in notes.items()]
    yield openings(found, left_out)
    yield costs(found)
    yield changes(found)


def openings(found: dict[str, Found], left_out: list[dict[str, str]]) -> Table:
    """How long visitors wait for the first picture."""
    headings = {
        "what": "",
        "served": "served",
        **{f"first_bytes_{k}": f"first bytes of the {name}, s" for k, name in NAMES.items()},
        **{f"picture_{k}": f"first picture of the {name}, s" for k, name in NAMES.items()},
        "median_s": "median, s",
        "p95_s": "95th percentile, s",
        "longest_s": "longest, s",
        "target_s": "target, s",
        "met": "met",
        "note": "",
    }
    rows: list[Row] = []
    for what, hall in found.items():
        pictures = [each.picture for each in hall.served if each.picture is not None]
        longest = quantile(pictures, 1.0)
        row: dict[str, Value] = {"what": what, "served": f"{len(pictures)} of {VISITORS}"}
        for k, opening in zip(NAMES, singled_out(hall).values(), strict=True):
            row[f"first_bytes_{k}"] = _rounded(opening.first_bytes)
            row[f"picture_{k}"] = _rounded(opening.picture)
        row |= {
            "median_s": _rounded(quantile(pictures, 0.5)),
            "p95_s": _rounded(quantile(pictures, 0.95)),
            "longest_s": _rounded(longest),
            "target_s": PICTURE,
            "met": len(pictures) == VISITORS and longest is not None and longest <= PICTURE,
            "note": failures(hall),
        }
        rows.append(row)
    return Table(headings, [*rows, *left_out], f"{VISITORS} openings within {WITHIN:.0f} s")


NAMES = {"first": "1st", "middle": f"{VISITORS // 2}th", "last": "last"}


def costs(found: dict[str, Found]) -> Table:
    """What an opening takes of the server and of the network."""
    headings = {
        "what": "",
        "processor_s": "processor for each opening, s",
        "target_processor_s": "target, s",
        "memory_mb": "memory of each page, MB",
        "target_memory_mb": "target, MB",
        "first_kb": "first opening, kB",
        "target_first_kb": "target, kB",
        "second_kb": "second opening, kB",
        "target_second_kb": "target, kB",
        "met": "met",
        "full": "what ran out",
        "visitors_s": "the visitors' own processor, s",
    }
    rows: list[Row] = []
    for what, hall in found.items():
        sizes = [
            each.received / 1e3 if each else None
            for each in (hall.first_opening, hall.second_opening)
        ]
        values = {
            "processor_s": (hall.processor_each, PROCESSOR),
            "memory_mb": (hall.memory_each, MEMORY),
            "first_kb": (sizes[0], FIRST),
            "second_kb": (sizes[1], SECOND),
        }
        row: dict[str, Value] = {"what": what}
        for name, (value, target) in values.items():
            row |= {name: _rounded(value), f"target_{name}": target}
        row["met"] = all(value is not None and value <= most for value, most in values.values())
        row["full"] = ", ".join(hall.full or ["nothing"])
        row["visitors_s"] = rounded(hall.own_processor)
        rows.append(row)
    return Table(headings, rows, "What an opening costs")


def changes(found: dict[str, Found]) -> Table:
    """How long a change takes when many make one, and how long nobody is answered."""
    headings = {
        "what": "",
        "pages": "pages",
        "answered": "answered",
        "per_second": "changes a second",
        "median_ms": "median, ms",
        "p95_ms": "95th percentile, ms",
        "target_p95_ms": "target, ms",
        "processor_ms": "processor for each change, ms",
        "silence_opening_ms": "longest silence during the openings, ms",
        "silence_ms": "during the changes, ms",
        "target_silence_ms": "target, ms",
        "met": "met",
    }
    rows: list[Row] = []
    for what, hall in found.items():
        silences = [1e3 * hall.silence_opening]
        row: dict[str, Value] = {"what": what}
        met = True
        if hall.players:
            answered = [1e3 * each for each in hall.answered]
            p95 = quantile(answered, 0.95)
            silences.append(1e3 * hall.silence_playing)
            row |= {
                "pages": hall.players,
                "answered": f"{len(answered)} of {len(hall.changes)}",
                "per_second": rounded(len(answered) / PLAY),
                "median_ms": _rounded(quantile(answered, 0.5)),
                "p95_ms": _rounded(p95),
                "target_p95_ms": CHANGE_P95,
                "processor_ms": _rounded(hall.processor_change and 1e3 * hall.processor_change),
                "silence_ms": rounded(silences[1]),
            }
            met = len(answered) == len(hall.changes) and p95 is not None and p95 <= CHANGE_P95
        row |= {
            "silence_opening_ms": rounded(silences[0]),
            "target_silence_ms": SILENCE,
            "met": met and max(silences) <= SILENCE,
        }
        rows.append(row)
    title = f"{PLAYERS} pages that each change something every {EVERY:.0f} s"
    return Table(headings, rows, title)


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)


# ---- what is tried -----------------------------------------------------------------------------


@contextlib.contextmanager
def one_process() -> Served:
    """`mhc-demo serve`."""
    with own_server() as (address, server):
        yield address, [server.pid]


@contextlib.contextmanager
def two_processes() -> Served:
    """`mhc-demo serve --num-procs 2`."""
    with own_server("--num-procs", "2") as (address, server):
        yield address, [server.pid]


@contextlib.contextmanager
def behind_caddy() -> Served:
    """Two servers behind the proxy of compose.yaml.

    Raises LookupError if there is no Caddy.
    """
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    caddy = shutil.which("caddy", path=places)
    if caddy is None:
        raise LookupError("there is no Caddy on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    origin = ("--allow-websocket-origin", f"localhost:{port}")
    with (
        own_server(*origin) as (first, one),
        own_server(*origin) as (second, two),
        tempfile.TemporaryDirectory() as home,
    ):
        upstreams = " ".join(each.split("/")[2] for each in (first, second))
        settings = {"HOME": home, "SITE": f"http://:{port}", "UPSTREAMS": upstreams}
        command = [caddy, "run", "--config", str(ROOT / "deploy" / "Caddyfile")]
        proxy = subprocess.Popen(command, env=settings, stderr=subprocess.DEVNULL)
        try:
            wait_for(f"http://localhost:{port}/liveness")
            yield f"http://localhost:{port}/app", [one.pid, two.pid]
        finally:
            proxy.terminate()
            proxy.wait(20)


def wait_for(address: str) -> None:
    """Wait until something answers.

    Raises NoServerError if nothing does in a minute.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=5).read()
            return
        time.sleep(0.1)
    raise NoServerError(f"{address} does not answer")


@contextlib.contextmanager
def standalone() -> Served:
    """The exported file, from a process that does nothing but send it."""
    import mhc_demo as mhc

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mhc.html.gz")
        file.write_bytes(gzip.compress(mhc.export_html().encode()))
        with started("-m", "benchmarks.load", str(file)) as (address, server):
            yield address, [server.pid]


SETUPS: dict[str, Callable[[], contextlib.AbstractContextManager[tuple[str, list[int]]]]] = {
    "one process": one_process,
    "--num-procs 2": two_processes,
    "two behind Caddy": behind_caddy,
    "the standalone file, in a third of the time": standalone,
}


def serve_file(path: Path) -> None:
    """Serve one compressed file on a free port, and print its address."""
    from tornado.httpserver import HTTPServer
    from tornado.ioloop import IOLoop
    from tornado.netutil import bind_sockets
    from tornado.web import Application, RequestHandler

    body = path.read_bytes()

    class File(RequestHandler):
        def get(self) -> None:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.set_header("Content-Encoding", "gzip")
            self.write(body)

    class Alive(RequestHandler):
        def get(self) -> None:
            self.write("")

    open_more_files()
    (listening, *_) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([("/mhc.html", File), ("/liveness", Alive)]))
    server.add_sockets([listening])
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mhc.html", flush=True)
    IOLoop.current().start()


if __name__ == "__main__":
    serve_file(Path(sys.argv[1]))

"""A lecture that two hundred pages follow.

The pages come within half a minute; then a lecturer goes to another scene every ten seconds.  They
are processes on the same machine that speak as a browser does and draw nothing (`mhc-demo
check-hall --follow`), so the server has less of the processor than the machine.  A page has
followed when it was told of the scene; with several processes the lecturer's message takes the way
through Redis, if there is one here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mhc_demo.cli.processes import open_more_files
from mhc_demo.hall.account import quantile
from mhc_demo.hall.check import check
from mhc_demo.hall.crowd import Plan
from mhc_demo.hall.lecturer import follower_s
from mhc_demo.hall.server import Load, NoServerError, own_server

from .results import Row, Table

FOLLOWERS, WITHIN, CHANGES = 200, 30.0, 5
TARGET = 2.0
"""Seconds in which a change of scene reaches 95 % of the pages."""


def run() -> Iterator[Table]:
    """One process, and two with a broker."""
    open_more_files()
    headings = {
        "what": "",
        "followed": "pages told",
        "median_s": "median, s",
        "p95_s": "95th percentile, s",
        "slowest_s": "95 % of the slowest change, s",
        "target_s": "target, s",
        "met": "met",
        "processor_ms": "processor for each page and change, ms",
        "silence_s": "longest silence, s",
        "note": "",
    }
    rows: list[Row] = [_measured("one process")]
    with _redis() as broker:
        if broker:
            options = ("--num-procs", "2", "--broker", broker)
            rows.append(_measured("two processes and Redis", *options))
        else:
            rows.append({"what": "two processes and Redis", "note": "left out: no redis-server"})
    yield Table(headings, rows, f"{FOLLOWERS} pages follow {CHANGES} changes of scene")


def _measured(what: str, *options: str) -> Row:
    key = secrets.token_hex()
    try:
        with own_server("--hall-key", key, *options) as (page, server), Load(server.pid) as load:
            visitors = Plan(
                follower_s(page), visitors=FOLLOWERS, within=WITHIN, follow=CHANGES, patience=30.0
            )
            found = check(visitors, load, lecturer=(page, key))
    except (NoServerError, RuntimeError) as error:
        return {"what": what, "note": f"failed: {error}"}
    told = found.moved
    every = [quantile([each for each in one if each is not None], 0.95) for one in found.followed]
    known = [each for each in every if each is not None]
    slowest = max(known, default=None)
    complete = len(told) == FOLLOWERS * CHANGES
    return {
        "what": what,
        "followed": f"{len(told)} of {FOLLOWERS * CHANGES}",
        "median_s": _rounded(quantile(told, 0.5)),
        "p95_s": _rounded(quantile(told, 0.95)),
        "slowest_s": _rounded(slowest),
        "target_s": TARGET,
        "met": complete and slowest is not None and slowest <= TARGET,
        "processor_ms": _rounded(1e3 * (found.processor_followed or 0.0)),
        "silence_s": _rounded(found.silence_following),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


@contextlib.contextmanager
def _redis() -> Iterator[str | None]:
    """A Redis of its own, by its address."""
    beside = f"{Path(sys.executable).parent}:{os.defpath}"
    program = shutil.which("redis-server", path=beside) or shutil.which("valkey-server")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "socket"
        server = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", str(socket), "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        try:
            for _ in range(100):
                if socket.exists():
                    break
                time.sleep(0.1)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait(10)

"""A site as a folder.

Three hundred visitors open a site of `mhc-demo site` within 30 seconds, at equal distances, each
with an empty browser, and each loads all that the page needs to be drawn, icon and service worker
too; then each opens it a second time, with what the browser has kept. Caddy serves it with
`deploy/site.Caddyfile`. They are one process on the same machine that speaks as a browser does and
draws nothing. The time is to the last byte. The site holds one experiment; with more of them the
list of files in its service worker is longer, and the page of all views begins with a longer index.
The live page's figures are under *A full lecture hall*.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mhc_demo as mhc
from mhc_demo.cli.processes import open_more_files
from mhc_demo.hall.account import quantile
from mhc_demo.hall.browser import Browser, of_same_origin
from mhc_demo.hall.server import Load

from .load import wait_for
from .results import ROOT, Row, Table, rounded

VISITORS, WITHIN = 300, 30.0
P95 = 0.5
"""Target: seconds to the last byte at the 95th percentile."""
FIRST, SECOND = 900.0, 20.0
"""Targets: kB of a first and a second opening."""

PAGES = ("index.html", "short.html", "explore.html")

LEAST: dict[str, Any] = {
    "streams": (4,),
    "spread": (1.0,),
    "init": ("gaussian",),
    "projection": ("sinkhorn",),
    "seed": (42,),
}
"""What a visitor sees first; the rest of a site's grid is not asked for."""

HEADINGS = {
    "what": "",
    "served": "served",
    "median_s": "median, s",
    "p95_s": "95th percentile, s",
    "target_s": "target, s",
    "longest_s": "longest, s",
    "first_kb": "first opening, kB",
    "target_first_kb": "target, kB",
    "second_kb": "second opening, kB",
    "target_second_kb": "target, kB",
    "processor_ms": "Caddy's processor for both, ms",
    "met": "met",
    "note": "",
}


def run() -> Iterator[Table]:
    """One table, with a row for each page."""
    yield measured(VISITORS, WITHIN)


def measured(visitors: int, within: float) -> Table:
    """So many visitors to each page of a site."""
    open_more_files()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        mhc.export_site(site, **LEAST)
        begins = needed(site)
        try:
            with caddy(site) as (address, pid), Load(pid) as load:
                for page in PAGES:
                    rows.append(opened(address, page, begins[page], visitors, within, load))
        except LookupError as error:
            rows.append({"what": PAGES[0], "note": f"not measured: {error.args[0]}"})
    return Table(HEADINGS, rows, f"{visitors} openings of each page within {within:.0f} s")


def needed(site: Path) -> dict[str, list[str]]:
    """What each page loads before it is drawn, as its service worker knows it."""
    worker = (site / "sw.js").read_text("utf-8")
    found = re.search(r"^const PAGES = (.*);$", worker, re.M)
    assert found
    beside = ["sw.js", "manifest.webmanifest", "icon.svg"]
    return {page: [*files, *beside] for page, files in json.loads(found[1]).items()}


def opened(
    address: str, page: str, files: list[str], visitors: int, within: float, load: Load
) -> Row:
    """The row of one page."""
    before = load.taken().processor
    openings = asyncio.run(crowd(f"{address}{page}", files, visitors, within))
    processor = load.taken().processor - before
    served = [each for each in openings if not isinstance(each, BaseException)]
    failed = [each for each in openings if isinstance(each, BaseException)]
    times = [seconds for seconds, _, _ in served]
    p95 = quantile(times, 0.95)
    first, second = (quantile([float(each[k]) / 1e3 for each in served], 1.0) for k in (1, 2))
    return {
        "what": page,
        "served": f"{len(served)} of {visitors}",
        "median_s": _rounded(quantile(times, 0.5)),
        "p95_s": _rounded(p95),
        "target_s": P95,
        "longest_s": _rounded(quantile(times, 1.0)),
        "first_kb": _rounded(first),
        "target_first_kb": FIRST,
        "second_kb": _rounded(second),
        "target_second_kb": SECOND,
        "processor_ms": rounded(1e3 * processor / max(1, len(served))),
        "met": not failed
        and p95 is not None
        and p95 <= P95
        and (first or 0) <= FIRST
        and (second or 0) <= SECOND,
        "note": f"the first that failed: {failed[0]!r}" if failed else "",
    }


async def crowd(
    address: str, files: list[str], visitors: int, within: float
) -> list[tuple[float, int, int] | BaseException]:
    """Seconds of the first opening, bytes of the first and of the second, for each visitor."""

    async def visit(number: int) -> tuple[float, int, int]:
        await asyncio.sleep(within * number / visitors)
        browser = Browser(pages={})
        try:
            started = time.monotonic()
            await load_page(browser)
            seconds, first = time.monotonic() - started, browser.bytes_received
            await load_page(browser)
            return seconds, first, browser.bytes_received - first
        finally:
            browser.close()

    async def load_page(browser: Browser) -> None:
        answer = await browser.page(address)
        await browser.load(of_same_origin(answer.url, files))

    return await asyncio.gather(*map(visit, range(visitors)), return_exceptions=True)


@contextlib.contextmanager
def caddy(site: Path) -> Iterator[tuple[str, int]]:
    """The address at which Caddy serves a site, and its process.

    Raises LookupError if there is no Caddy.
    """
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    program = shutil.which("caddy", path=places)
    if program is None:
        raise LookupError("there is no Caddy on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        settings = {"HOME": home, "SITE": f"http://:{port}", "FOLDER": str(site)}
        command = [program, "run", "--config", str(ROOT / "deploy" / "site.Caddyfile")]
        process = subprocess.Popen(command, env=settings, stderr=subprocess.DEVNULL)
        try:
            address = f"http://localhost:{port}/"
            wait_for(address)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait(20)


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)

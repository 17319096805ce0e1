"""What an open page costs the server, and whether it is given back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
from playwright.sync_api import Browser

from .browser import chromium, served
from .numerics import Row
from .page import ready


def megabytes(process: psutil.Process) -> float:
    """Memory that the server alone holds."""
    return process.memory_full_info().uss / 2**20


def visit(browser: Browser, address: str, pages: int) -> None:
    """Open pages one after the other, and close each."""
    for _ in range(pages):
        page = browser.new_page()
        ready(page, address)
        page.close()


def settled(process: psutil.Process, seconds: int = 60) -> float:
    """The least memory seen within a minute."""
    least = megabytes(process)
    for _ in range(seconds):
        time.sleep(1)
        least = min(least, megabytes(process))
    return least


def run() -> Iterator[Row]:
    """Rows of the table."""
    with served() as (address, pid), chromium() as browser:
        server = psutil.Process(pid)
        visit(browser, address, 10)
        settled(server)
        first = browser.new_page()
        ready(first, address)
        time.sleep(2)
        one = megabytes(server)
        more = []
        for _ in range(20):
            page = browser.new_page()
            ready(page, address)
            more.append(page)
        time.sleep(2)
        each = (megabytes(server) - one) / len(more)
        yield "server memory per open page beyond the first", "5 MB", f"{each:.1f} MB", ""
        for page in (first, *more):
            page.close()
        start = settled(server)
        for round_ in (1, 2, 3):
            visit(browser, address, 50)
            now = settled(server)
            what = f"a minute after 50 pages have come and gone, round {round_}"
            yield what, "back to the start", f"{now - start:+.1f} MB of {start:.0f} MB", ""

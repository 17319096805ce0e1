"""What an open page costs the server, and whether it is given back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
from playwright.sync_api import Browser, Page

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
        visit(browser, address, 3)
        pages: list[Page] = []
        held = {}
        for count in (10, 30):  # the first ones also fill what earlier visits have freed
            while len(pages) < count:
                page = browser.new_page()
                ready(page, address)
                pages.append(page)
            time.sleep(5)
            held[count] = megabytes(server)
        each = (held[30] - held[10]) / 20
        yield "server memory per open page, from the 10th to the 30th", "5 MB", f"{each:.1f} MB", ""
        for page in pages:
            page.close()
        start = settled(server)
        for round_ in (1, 2, 3):
            visit(browser, address, 50)
            now = settled(server)
            what = f"a minute after 50 pages have come and gone, round {round_}"
            yield what, "back to the start", f"{now - start:+.1f} MB of {start:.0f} MB", ""

"""What open pages cost the server in memory.

What the server's process has for itself alone (USS): each open page from the 10th to the 30th, and,
after all are closed, the change that rounds of visits leave, half a minute or more after the last
one: by then the server has twice let go of what was left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
from playwright.sync_api import Browser, Page

from .browser import chromium, joined, ready, served
from .results import Row, Table, rounded

PER_PAGE = 5
FIRST, LAST = 10, 30
ROUNDS, VISITS = 2, 25


def megabytes(process: psutil.Process) -> float:
    """Memory that the server alone holds."""
    return process.memory_full_info().uss / 1e6


def visit(browser: Browser, address: str, pages: int) -> None:
    """Open pages one after the other, and close each."""
    for _ in range(pages):
        page = browser.new_page()
        ready(page, address)
        joined(page)
        page.close()


def settled(process: psutil.Process, seconds: int = 30) -> float:
    """The least memory within half a minute."""
    least = megabytes(process)
    for _ in range(seconds):
        time.sleep(1)
        least = min(least, megabytes(process))
    return least


def run() -> Iterator[Table]:
    """While pages are open, and after they are closed."""
    with served() as (address, pid), chromium() as browser:
        server = psutil.Process(pid)
        visit(browser, address, 3)
        pages: list[Page] = []
        held = {}
        for count in (FIRST, LAST):  # the first ones also fill what earlier visits have freed
            while len(pages) < count:
                page = browser.new_page()
                ready(page, address)
                joined(page)
                pages.append(page)
            time.sleep(5)
            held[count] = megabytes(server)
        each = (held[LAST] - held[FIRST]) / (LAST - FIRST)
        yield Table(
            {"what": "", "size_mb": "MB", "target_mb": "target, MB", "met": "met"},
            [
                {
                    "what": "each open page",
                    "size_mb": rounded(each),
                    "target_mb": PER_PAGE,
                    "met": each <= PER_PAGE,
                }
            ],
        )
        for page in pages:
            page.close()
        start = settled(server)
        rows: list[Row] = [{"what": "before", "total_mb": rounded(start)}]
        for round_ in range(ROUNDS):
            visit(browser, address, VISITS)
            now = settled(server)
            rows.append(
                {
                    "what": f"after {VISITS * (round_ + 1)} visits",
                    "total_mb": rounded(now),
                    "change_mb": rounded(now - start),
                }
            )
        yield Table({"what": "", "total_mb": "the server, MB", "change_mb": "change, MB"}, rows)

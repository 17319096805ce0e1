"""When garbage is collected: while nobody waits for it.

A page that was left is a web of objects that refer to each other, which only Python's garbage
collector can free, and while it looks for them everything stands still.  By itself it looks through
all open pages again and again, and Panel lets it look through everything after each departure: with
150 pages open, nobody was answered for seconds.  Here young objects are collected as ever, and the
old ones only when the process has nothing else to do, or when too many pages have been left.

What bounds it: a page that was left is some 10,000 objects, and all that were left are freed in one
go, some 10 ms for each.  After a whole hall has left at once, a newcomer may wait for that once.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable

from bokeh.application.application import SessionContext
from bokeh.application.handlers import Handler
from bokeh.document import Document
from bokeh.server.tornado import BokehTornado
from tornado.ioloop import PeriodicCallback

from ._panel import leave_garbage

EVERY = 1.0
"""Seconds between two looks at what the process does."""

QUIET = 0.2
"""Of a core: a process that takes less than this has nobody to hold up."""

SETTLED = 10.0
"""Seconds after a departure in which the last that refers to the page lets go of it: timers, the
connection, what was being computed for it."""

LONGEST = 600.0
"""Seconds after which a quiet process collects although no page was left: pages that are open leave
some garbage too."""

WORTH_IT = 10
"""Open pages for each that must have been left: to look through them takes some 5 ms each."""

MOST_LEFT = 60
"""Pages left, beyond half of those that are open, for which a busy process collects too: some 3 MB
each."""

YOUNG, MIDDLE = 10_000, 20
"""Python's thresholds for young objects; a page is some 50,000 objects, most of which stay."""

NEVER = 2**30


class Collector:
    """Decides when to look through old objects; `look` is called every second."""

    def __init__(
        self,
        open_pages: Callable[[], int],
        *,
        collect: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        work: Callable[[], float] = time.process_time,
    ) -> None:
        self._open_pages, self._clock, self._work = open_pages, clock, work
        self._collect = collect or collect_all
        self.left = 0
        """Pages left since the last collection."""
        self._first_left = self._last_left = 0.0
        self._collected = self._looked = clock()
        self._worked = work()

    def page_was_left(self) -> None:
        """Note a departure."""
        self._last_left = self._clock()
        if not self.left:
            self._first_left = self._last_left
        self.left += 1

    def look(self) -> None:
        """Collect if it is due."""
        now, worked = self._clock(), self._work()
        quiet = worked - self._worked < QUIET * (now - self._looked)
        self._looked, self._worked = now, worked
        pages = self._open_pages()
        settled = self.left > pages // WORTH_IT and now - self._first_left >= SETTLED
        overdue = self.left > MOST_LEFT + pages // 2
        if overdue or (quiet and (settled or now - self._collected > LONGEST)):
            self._do(now)

    def _do(self, now: float) -> None:
        self._collect()
        self.left = int(self.left > 0 and now - self._last_left < SETTLED)  # else once more
        self._first_left = self._last_left
        self._collected = self._looked = self._clock()
        self._worked = self._work()


def collect_all() -> None:
    """Collect, and give what is free back to the system: a fifth of what a hall has taken."""
    gc.collect()
    if _trim is not None:
        _trim(0)


def _glibc_trim() -> Callable[[int], int] | None:
    """What returns freed memory, which glibc keeps; other systems' libraries have no such thing."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_trim = _glibc_trim()


class Departures(Handler):
    """Tells a collector when a page was left."""

    def __init__(self, collector: Collector) -> None:
        super().__init__()
        self._collector = collector

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        """Note it, and let others be answered before the next page is taken down."""
        self._collector.page_was_left()
        await asyncio.sleep(0.01)

    def modify_document(self, doc: Document) -> None:
        """Nothing."""


def collect_when_quiet(server: BokehTornado) -> None:
    """From now on, collect this process's old objects only when that holds up nobody."""
    contexts = list(server.applications.values())
    collector = Collector(lambda: sum(len(list(each.sessions)) for each in contexts))
    for context in contexts:
        context.application.add(Departures(collector))
    leave_garbage()
    gc.collect()
    gc.freeze()  # modules and classes: a tenth of a second of each collection
    gc.set_threshold(YOUNG, MIDDLE, NEVER)
    PeriodicCallback(collector.look, 1000 * EVERY).start()

"""What was wanted last is computed, beside whatever else the process does.

A visitor who drags a slider waits for its last position alone.  So one computation runs at a time,
on a thread; when it ends, what is wanted by then comes next, and what was wanted in between is
never computed.  Where visitors wait in line for a thread, each has one place in it, and keeps it
while what they want changes.  Some results are kept, to show them at once when they are wanted
again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Generic, TypeVar

Request = TypeVar("Request")
"""What is wanted.  Equal requests, which are hashable, want the same result."""

Result = TypeVar("Result")


class Latest(Generic[Request, Result]):
    """Computes what is wanted last.

    `compute` runs on a thread of the request's `executor`, by default one of the event loop's.
    `done` or `failed` is called with the request, and `done` with the result; by then another one
    may be wanted.  `execute` schedules a call or starts a coroutine, as `pn.state.execute` does.
    """

    def __init__(
        self,
        compute: Callable[[Request], Result],
        *,
        wanted: Callable[[], Request],
        done: Callable[[Request, Result], None],
        failed: Callable[[Request], None],
        execute: Callable[..., object],
        executor: Callable[[Request], Executor | None] = lambda _: None,
        most_kept: int = 16,
    ) -> None:
        self._compute, self._wanted = compute, wanted
        self._done, self._failed = done, failed
        self._execute, self._executor = execute, executor
        self._most_kept = most_kept
        self._kept: dict[Request, Result] = {}
        self.running = False
        """Whether a thread computes; it goes on until nothing else is wanted."""

    def start(self, *, anew: bool = False) -> None:
        """Bring what is wanted: from the results that are kept, unless `anew`, or computed.

        Where no event loop runs, there is nobody to hold up: it is computed at once.
        """
        request = self._wanted()
        if anew:
            self._kept.pop(request, None)
        if self.running:
            return
        if request in self._kept:
            self._done(request, self._kept[request])
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._done(request, self._compute(request))
            return
        self.running = True
        self._execute(self._run)

    def kept(self, request: Request) -> Result | None:
        """The result of a request, if it is kept."""
        return self._kept.get(request)

    async def prepare(self, request: Request) -> None:
        """Keep the result of what will probably be wanted; if it fails, it fails when it is."""
        if request not in self._kept:
            with contextlib.suppress(Exception):
                self._keep(request, await self._on_a_thread(request))

    async def _run(self) -> None:
        while True:
            request = self._wanted()
            try:
                request, result = await self._in_line(request)
            except Exception:
                if request != self._wanted():  # which may well succeed
                    continue
                self.running = False
                self._execute(partial(self._failed, request), schedule=True)
                raise
            if request == self._wanted():
                break
        self.running = False
        self._keep(request, result)
        # Scheduled, so that it runs with the document's lock: else what it adds to the page and
        # what it changes there may reach the browser in another order.
        self._execute(partial(self._done, request, result), schedule=True)

    async def _in_line(self, request: Request) -> tuple[Request, Result]:
        """Compute, when its turn comes, what is wanted by then."""
        executor = self._executor(request)

        def newest() -> tuple[Request, Result]:
            now = self._wanted()
            begun = now if self._executor(now) is executor else request
            return begun, self._compute(begun)

        return await asyncio.get_running_loop().run_in_executor(executor, newest)

    async def _on_a_thread(self, request: Request) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor(request), self._compute, request)

    def _keep(self, request: Request, result: Result) -> None:
        self._kept[request] = result
        if len(self._kept) > self._most_kept:
            del self._kept[next(iter(self._kept))]

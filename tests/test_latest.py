"""What was wanted last is computed; no widgets here, only an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest

from mhc_demo.app.latest import Latest


class Wish:
    """Somebody who wants one number after another, and keeps what comes of it."""

    def __init__(
        self, most_kept: int = 16, line: Callable[[Any], Executor | None] = lambda _: None
    ) -> None:
        self.wanted: Any = 0
        self.begun: list[Any] = []
        self.threads: set[threading.Thread] = set()
        self.done: list[tuple[Any, Any]] = []
        self.failed: list[Any] = []
        self.raised: list[Exception] = []
        self.slow = False
        self.go_on = threading.Semaphore(0)
        self.latest: Latest[Any, Any] = Latest(
            self.compute,
            wanted=lambda: self.wanted,
            done=lambda request, result: self.done.append((request, result)),
            failed=self.failed.append,
            execute=self.execute,
            executor=line,
            most_kept=most_kept,
        )

    def compute(self, request: Any) -> Any:
        """Its square; if slow, only when it may go on."""
        self.begun.append(request)
        self.threads.add(threading.current_thread())
        if self.slow:
            assert self.go_on.acquire(timeout=20)
        if request == "impossible":
            raise ValueError(request)
        return request**2

    def execute(self, callback: Callable[[], Any], schedule: bool = False) -> None:
        """As Panel does."""
        if not inspect.iscoroutinefunction(callback):
            asyncio.get_running_loop().call_soon(callback)
            return

        async def followed() -> None:
            try:
                await callback()
            except Exception as error:
                self.raised.append(error)

        self.task = asyncio.ensure_future(followed())

    def want(self, request: Any, *, anew: bool = False) -> None:
        self.wanted = request
        self.latest.start(anew=anew)


async def passed(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def quiet(wish: Wish) -> None:
    """Wait until nothing runs, and what that scheduled is done."""
    await passed(lambda: not wish.latest.running)
    for _ in range(3):
        await asyncio.sleep(0)


def run(story: Callable[[Wish], Awaitable[None]], **options: Any) -> None:
    async def with_a_loop() -> None:
        await story(Wish(**options))

    asyncio.run(with_a_loop())


def test_the_last_one_is_computed_and_those_between_never_are() -> None:
    async def story(wish: Wish) -> None:
        wish.slow = True
        wish.want(1)
        await passed(lambda: wish.begun)
        for request in (2, 3, 4):
            wish.want(request)
        wish.go_on.release(9)
        await quiet(wish)
        assert wish.begun == [1, 4]
        assert wish.done == [(4, 16)]

    run(story)


def test_it_is_computed_on_a_thread_while_others_are_answered() -> None:
    async def story(wish: Wish) -> None:
        wish.slow = True
        wish.want(3)
        await passed(lambda: wish.begun)  # the loop goes round meanwhile
        assert wish.latest.running
        assert wish.done == []
        wish.go_on.release()
        await quiet(wish)
        assert wish.done == [(3, 9)]
        assert threading.main_thread() not in wish.threads

    run(story)


def test_without_a_loop_it_is_computed_at_once() -> None:
    wish = Wish()
    wish.want(3)
    assert wish.done == [(3, 9)]
    assert not wish.latest.running
    assert wish.threads == {threading.current_thread()}


def test_a_failure_is_told_and_raised_and_the_next_one_is_computed() -> None:
    async def story(wish: Wish) -> None:
        wish.want("impossible")
        await quiet(wish)
        assert wish.failed == ["impossible"]
        assert [str(error) for error in wish.raised] == ["impossible"]
        wish.want(5)
        await quiet(wish)
        assert wish.done == [(5, 25)]

    run(story)


def test_a_failure_that_was_overtaken_is_nobody_s() -> None:
    async def story(wish: Wish) -> None:
        wish.slow = True
        wish.want("impossible")
        await passed(lambda: wish.begun)
        wish.want(6)
        wish.go_on.release(2)
        await quiet(wish)
        assert wish.done == [(6, 36)]
        assert wish.failed == wish.raised == []

    run(story)


def test_results_are_kept_up_to_the_limit_and_shown_at_once() -> None:
    async def story(wish: Wish) -> None:
        for request in (1, 2, 3):
            wish.want(request)
            await quiet(wish)
        assert (wish.latest.kept(1), wish.latest.kept(2), wish.latest.kept(3)) == (None, 4, 9)
        wish.done.clear()
        wish.want(2)
        assert wish.done == [(2, 4)]  # with no turn of the loop
        assert wish.begun == [1, 2, 3]
        wish.want(1)
        await quiet(wish)
        assert wish.begun == [1, 2, 3, 1]

    run(story, most_kept=2)


def test_anew_is_computed_whatever_is_kept() -> None:
    async def story(wish: Wish) -> None:
        wish.want(2)
        await quiet(wish)
        wish.want(2, anew=True)
        await quiet(wish)
        assert wish.begun == [2, 2]

    run(story)


def test_what_is_kept_does_not_overtake_what_is_under_way() -> None:
    async def story(wish: Wish) -> None:
        wish.want(1)
        await quiet(wish)
        wish.slow = True
        wish.want(2)
        await passed(lambda: 2 in wish.begun)
        wish.want(1)
        assert wish.done == [(1, 1)]  # of before
        wish.go_on.release(9)
        await quiet(wish)
        assert wish.done == [(1, 1), (1, 1)]

    run(story)


@pytest.mark.parametrize(("request_", "result"), [(4, 16), ("impossible", None)])
def test_what_is_prepared_is_kept_and_its_failure_is_not_told(request_: Any, result: Any) -> None:
    async def story(wish: Wish) -> None:
        await wish.latest.prepare(request_)
        await wish.latest.prepare(4)
        assert wish.latest.kept(request_) == result
        assert wish.begun.count(4) == 1
        assert wish.done == wish.failed == []
        wish.want(4)
        assert wish.done == [(4, 16)]

    run(story)


def test_who_waits_in_line_gets_what_is_wanted_when_the_turn_comes() -> None:
    with ThreadPoolExecutor(1) as short, ThreadPoolExecutor(1) as long:
        free = threading.Event()

        async def story(wish: Wish) -> None:
            long.submit(free.wait, 20)  # somebody else's work
            wish.want(10)
            await asyncio.sleep(0)
            wish.want(20)
            wish.want(30)
            free.set()
            await quiet(wish)
            assert wish.begun == [30]
            assert wish.done == [(30, 900)]

        run(story, line=lambda request: long if request >= 10 else short)


def test_nobody_brings_long_work_into_the_line_for_short() -> None:
    with ThreadPoolExecutor(1, "short") as short, ThreadPoolExecutor(1, "long") as long:
        free = threading.Event()

        async def story(wish: Wish) -> None:
            short.submit(free.wait, 20)
            wish.want(1)
            await asyncio.sleep(0)
            wish.want(30)
            free.set()
            await quiet(wish)
            assert wish.begun == [1, 30]
            assert sorted(each.name.split("_")[0] for each in wish.threads) == ["long", "short"]
            assert wish.done == [(30, 900)]

        run(story, line=lambda request: long if request >= 10 else short)

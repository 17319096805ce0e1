"""A process with a share of the visitors, so that whoever measures does not measure itself.

It reads lines of JSON from standard input, a `Plan` and then what to do next, and writes lines of
JSON about what happened.  It ends when its input does, and so never outlives who started it.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from typing import Any

from .visitor import FAILURES, PATIENCE, Visitor, why


@dataclass(frozen=True)
class Plan:
    """What the visitors do."""

    address: str
    """Of the page."""
    visitors: int = 300
    within: float = 60.0
    """Seconds in which they come, one after the other at equal distances."""
    play: float = 0.0
    """Seconds for which they change something, once all are there."""
    players: int | None = None
    """How many stay to play; None: all."""
    every: float = 10.0
    """Mean of the seconds from one change of a visitor's to the next."""
    follow: int = 0
    """How often a lecturer goes to another scene, whom all follow."""
    patience: float = PATIENCE
    """Seconds that each waits for the first picture."""
    alone: bool = False
    """Whether the page is a file that needs no server."""

    def share(self, part: int, parts: int) -> range:
        """The numbers of the visitors in one of several processes.

        >>> Plan("http://localhost:5006/app", visitors=5).share(1, 2)
        range(1, 5, 2)
        """
        return range(part, self.visitors, parts)


class Crowd:
    """The visitors of one process."""

    def __init__(self, plan: Plan, part: int, parts: int) -> None:
        self.plan = plan
        players = plan.visitors if plan.players is None else plan.players
        self.players = len(range(part, players, parts))
        self.numbers = plan.share(part, parts)
        self.there: list[Visitor] = []
        """Those that have seen the first picture."""
        self.wanted: asyncio.Queue[str] = asyncio.Queue()
        self.joining: dict[Visitor, asyncio.Task[None]] = {}
        self.live = 0
        """How many have the live page."""

    async def run(self) -> None:
        """Do what is asked for until nothing more is."""
        say("ready")
        while wish := await self.wanted.get():
            match wish:
                case "open":
                    await self._each(self._come(number) for number in self.numbers)
                    self._sum_up("opened")
                case "join":
                    staying, leaving = self.there[: self.players], self.there[self.players :]
                    self.there = staying
                    await self._each(self._leave(visitor) for visitor in leaving)
                    await self._each(self._want(visitor) for visitor in staying)
                    self._sum_up("joined")
                case "play":
                    end = time.monotonic() + self.plan.play
                    await self._each(self._play(visitor, end) for visitor in self.there)
                    self._sum_up("played")
                case "listen":
                    for visitor in self.there:
                        visitor.seen.clear()
                    say("listening")
                case "tell":
                    for visitor in self.there:
                        say("seen", scenes=visitor.seen)
                    self._sum_up("told")
                case "leave":
                    await self._each(self._leave(visitor) for visitor in self.there)
                    say("left")
                    return

    async def _each(self, doings: Any) -> None:
        tasks: list[Coroutine[Any, Any, None]] = list(doings)
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, asyncio.CancelledError):
                say("unseen", why="a visitor was interrupted")
            elif isinstance(found, BaseException):
                raise found

    def _sum_up(self, what: str) -> None:
        lines = [each.line for each in self.there if each.line is not None]
        say(
            what,
            lost=[line.lost for line in lines if line.lost],
            resumed=sum(line.resumed for line in lines),
            live=self.live,
            processor=time.process_time(),
        )

    async def _come(self, number: int) -> None:
        await asyncio.sleep(number * self.plan.within / self.plan.visitors)
        visitor = Visitor(self.plan.address, number)
        opening = await visitor.open(patience=self.plan.patience, alone=self.plan.alone)
        say("opening", **asdict(opening))
        if opening.picture is None:
            await visitor.leave()
            return
        self.there.append(visitor)
        if not self.plan.alone:
            self.joining[visitor] = asyncio.create_task(self._join(visitor))

    async def _join(self, visitor: Visitor) -> None:
        """Bring the live page when the server has time, and complete it."""
        try:
            await visitor.join(wanted=False)
            self.live += 1
            async with asyncio.timeout(self.plan.patience):
                await visitor.see()
        except FAILURES as error:
            say("unseen", why=f"the live page did not come: {why(error)}")

    async def _leave(self, visitor: Visitor) -> None:
        if visitor in self.joining:
            self.joining[visitor].cancel()
        await visitor.leave()

    async def _want(self, visitor: Visitor) -> None:
        """Want the live page, at some time in that in which each then makes a change."""
        await asyncio.sleep(random.Random(visitor.number).uniform(0, self.plan.every))
        try:
            async with asyncio.timeout(self.plan.patience):
                if visitor.line is None:
                    say("wanted", seconds=await visitor.join(wanted=True))
                await self.joining[visitor]
        except FAILURES as error:
            say("unseen", why=f"the live page did not come: {why(error)}")

    async def _play(self, visitor: Visitor, end: float) -> None:
        draw, every = random.Random(visitor.number), self.plan.every
        due = time.monotonic() + draw.uniform(0, every)
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                say("change", seconds=await visitor.change())
            except FAILURES as error:
                say("change", seconds=None, why=why(error))
                if visitor.line is None or visitor.line.lost:
                    return
            # Who had to wait makes no changes up for it.
            due = max(time.monotonic(), due + every * draw.uniform(0.5, 1.5))


def say(what: str, **more: Any) -> None:
    """Write a line about what happened."""
    print(json.dumps({"what": what, **more}), flush=True)


def main() -> None:
    """Be a share of the visitors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, who ends us too
    asyncio.run(_main())


async def _main() -> None:
    loop = asyncio.get_running_loop()
    told = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    crowd = Crowd(Plan(**told["plan"]), told["part"], told["parts"])
    doing = asyncio.create_task(crowd.run())

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(crowd.wanted.put_nowait, line.strip())
        loop.call_soon_threadsafe(doing.cancel)

    threading.Thread(target=read, daemon=True).start()
    try:
        await doing
    except (asyncio.CancelledError, BrokenPipeError):
        return  # whoever started us is gone

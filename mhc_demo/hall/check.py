"""A hall before a server: visitors in processes of their own, and somebody who asks all the while.

Whoever measures only waits here: the visitors are in other processes, and the question whether the
server answers comes from a thread that sleeps between two of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from .crowd import Plan
from .lecturer import Move, lead
from .server import Load, NoServerError
from .visitor import CHANGE_PATIENCE, Opening, Visitor

PROCESSES = 2
"""With visitors, at most."""

EACH = 50
"""Visitors for which one process is enough."""

PROBED = 0.05
"""Seconds between two questions whether the server answers."""

GONE = 3.0
"""Seconds for which nothing may listen until the server is taken for gone."""

EVERY = 10.0
"""Seconds from one change of scene to the next, in which a server can prepare what comes."""

SILENT = 60.0
"""Seconds that the answer to one such question may take."""

SETTLING = 3.0
"""Seconds after the last first picture in which the server adds the rest of the pages."""

MOST = 0.8
"""Share of the openings that have to be served for what each costs to be known: a server also works
for those that give up."""

STARTING = 60.0
"""Seconds that the processes with the visitors may take to start."""

MARGIN = 30.0
"""Seconds by which they may be late."""

FILES_EACH = 7
"""Connections of a visitor: six for files, one that lasts."""

FILES_BESIDE = 100


@dataclass(frozen=True)
class Change:
    """A change that a visitor made; `seconds` is None if its answer did not come."""

    seconds: float | None
    why: str = ""


@dataclass
class Found:
    """What the hall saw."""

    plan: Plan
    openings: list[Opening] = field(default_factory=list)
    first_opening: Opening | None = None
    """Of a visitor alone, before the others came, with the live page."""
    second_opening: Opening | None = None
    """Of the same browser again."""
    changes: list[Change] = field(default_factory=list)
    players: int = 0
    lost: list[str] = field(default_factory=list)
    """How connections were ended that had been there, one by one."""
    followed: list[list[float | None]] = field(default_factory=list)
    """For each of the lecturer's changes of scene the seconds until each follower's page was told
    of it; None: it was not told, or only of a later one."""
    processor_followed: float | None = None
    """Seconds of the server's processor for each page that was moved."""
    silence_following: float = 0.0
    resumed: int = 0
    """How often a page went on over another connection, for the one before was silent."""
    unseen: list[str] = field(default_factory=list)
    """Why pages were not completed after their first picture, one by one."""
    silence_opening: float = 0.0
    """The longest wait for /liveness while visitors came, in seconds."""
    silence_playing: float = 0.0
    processor_change: float | None = None
    """Seconds of the server's processor for each change."""
    opening_took: float = 0.0
    """Seconds from the first visitor's coming to the last one's first picture."""
    live: int = 0
    """How many had the live page when the last had come."""
    joined: list[float] = field(default_factory=list)
    """Seconds that players waited for the live page."""
    processor_each: float | None = None
    """Seconds of the server's processor for each opening, with the live pages that had come."""
    memory_each: float | None = None
    """MB of the server's memory for each live page."""
    full: list[str] | None = None
    """What ran out; None: not known."""
    own_processor: float = 0.0
    """Seconds of processor that the visitors took themselves."""

    @property
    def served(self) -> list[Opening]:
        """The openings that led to a first picture, in the order of the visitors."""
        there = (each for each in self.openings if each.picture is not None)
        return sorted(there, key=lambda each: each.number)

    @property
    def moved(self) -> list[float]:
        """The seconds of all pages that were moved, in all changes of scene."""
        return [each for change in self.followed for each in change if each is not None]

    @property
    def answered(self) -> list[float]:
        """The seconds of all changes that were answered."""
        return [each.seconds for each in self.changes if each.seconds is not None]


def files_needed(visitors: int) -> int:
    """How many files one of the processes with so many visitors may have to open."""
    return -(-visitors // parts_for(visitors)) * FILES_EACH + FILES_BESIDE


def parts_for(visitors: int) -> int:
    """How many processes share so many visitors."""
    return min(PROCESSES, os.cpu_count() or 1, -(-visitors // EACH))


def check(
    plan: Plan,
    load: Load | None = None,
    tell: Callable[[str], None] = lambda _: None,
    *,
    lecturer: tuple[str, str] | None = None,
) -> Found:
    """Fill the hall; `load` looks at the server, and `tell` is called with what happens now.

    `lecturer`: the page and the key of whom they follow, if the plan says so.  Raises NoServerError
    if the server cannot be reached or goes away meanwhile, RefusedError if nobody may lead.
    """
    found = Found(plan)
    found.first_opening, found.second_opening = asyncio.run(_nobody_else(plan))
    limit = plan.within + plan.patience + MARGIN
    with Probe(urljoin(plan.address, "liveness")) as probe, _crowds(plan, probe) as crowds:
        crowds.hear("ready", STARTING)
        before = load.taken() if load else None
        tell(f"{plan.visitors} visitors come within {plan.within:g} s")
        started = time.monotonic()
        crowds.tell("open")
        heard = crowds.hear("opened", limit)
        if not plan.alone:
            time.sleep(SETTLING)
        found.silence_opening = probe.longest(started)
        found.openings = [_opening(each) for each in heard if each["what"] == "opening"]
        found.unseen = [each["why"] for each in heard if each["what"] == "unseen"]
        ends = [_coming(plan, each) + (each.picture or 0.0) for each in found.served]
        found.opening_took = max(ends, default=0.0)
        last = [each for each in heard if each["what"] == "opened"]
        found.live = sum(each["live"] for each in last)
        if load and before and len(found.served) >= MOST * len(found.openings):
            after = load.taken()
            found.processor_each = (after.processor - before.processor) / len(found.openings)
            if plan.alone:
                found.memory_each = (after.memory - before.memory) / len(found.served)
        if plan.play and found.served:
            players = plan.visitors if plan.players is None else plan.players
            found.players = min(players, len(found.served))
            tell(f"{found.players} visitors want the live page")
            crowds.tell("join")
            heard = crowds.hear("joined", plan.every + plan.patience + MARGIN)
            found.joined = [each["seconds"] for each in heard if each["what"] == "wanted"]
            found.unseen += [each["why"] for each in heard if each["what"] == "unseen"]
            live = sum(each["live"] for each in heard if each["what"] == "joined")
            if load and before and live:
                found.memory_each = (load.taken().memory - before.memory) / live
            tell(f"{found.players} visitors play for {plan.play:g} s")
            idle = load.taken() if load else None
            crowds.tell("play")
            started = time.monotonic()
            heard = crowds.hear("played", plan.play + CHANGE_PATIENCE + MARGIN)
            found.silence_playing = probe.longest(started)
            found.changes = [
                Change(each["seconds"], each.get("why", ""))
                for each in heard
                if each["what"] == "change"
            ]
            if load and idle and found.changes:
                spent = load.taken().processor - idle.processor
                found.processor_change = spent / len(found.changes)
            last = [each for each in heard if each["what"] == "played"]
        if lecturer and plan.follow and found.served:
            last = _follow(found, crowds, probe, load, tell, lecturer)
        found.lost = [how for each in last for how in each["lost"]]
        found.resumed = sum(each["resumed"] for each in last)
        found.own_processor = sum(each["processor"] for each in last)
        found.full = load.full() if load else None
        crowds.tell("leave")
        with contextlib.suppress(NoServerError):  # that they leave in order is not measured
            crowds.hear("left", MARGIN)
    return found


def _follow(
    found: Found,
    crowds: Crowds,
    probe: Probe,
    load: Load | None,
    tell: Callable[[str], None],
    lecturer: tuple[str, str],
) -> list[dict[str, Any]]:
    """Have all follow a lecturer; returns what the visitors' processes say at the end."""
    plan = found.plan
    if not plan.play:
        tell(f"{len(found.served)} visitors want the live page")
        crowds.tell("join")
        heard = crowds.hear("joined", plan.every + plan.patience + MARGIN)
        found.joined = [each["seconds"] for each in heard if each["what"] == "wanted"]
        found.unseen += [each["why"] for each in heard if each["what"] == "unseen"]
    tell(f"they follow a lecturer through {plan.follow} changes of scene, one every {EVERY:g} s")
    started, idle = time.monotonic(), load.taken() if load else None

    def begin() -> None:
        nonlocal started, idle
        crowds.tell("listen")
        crowds.hear("listening", MARGIN)
        started, idle = time.monotonic(), load.taken() if load else None

    moves = asyncio.run(lead(*lecturer, moves=plan.follow, every=EVERY, tell=begin))
    found.silence_following = probe.longest(started)
    crowds.tell("tell")
    heard = crowds.hear("told", MARGIN)
    seen = [each["scenes"] for each in heard if each["what"] == "seen"]
    found.followed = [[_seconds_until(move, scenes) for scenes in seen] for move in moves]
    if load and idle and found.moved:
        spent = load.taken().processor - idle.processor
        found.processor_followed = spent / len(found.moved)
    return [each for each in heard if each["what"] == "told"]


def _seconds_until(move: Move, scenes: list[tuple[str, float]]) -> float | None:
    times = [at - move.at for scene, at in scenes if scene == move.scene and at >= move.at]
    return min(times, default=None)


async def _nobody_else(plan: Plan) -> tuple[Opening, Opening]:
    """Two openings by one browser, before anybody else comes."""
    visitor = Visitor(plan.address, returns=True)
    openings = []
    for _ in range(2):
        opening = await visitor.open(patience=plan.patience, alone=plan.alone)
        if opening.picture is None:
            await visitor.leave()
            raise NoServerError(f"the page at {plan.address} cannot be opened: {opening.why_not}")
        if not plan.alone:
            before = visitor.browser.bytes_received
            async with asyncio.timeout(plan.patience):
                await visitor.join(wanted=True)
            more = visitor.browser.bytes_received - before
            if visitor.line is not None and not opening.live:
                more += visitor.line.bytes_received
            opening = replace(opening, live=True, received=opening.received + more)
        openings.append(opening)
        await visitor.hang_up()
    await visitor.leave()
    return openings[0], openings[1]


def _opening(said: dict[str, Any]) -> Opening:
    return Opening(**{name: value for name, value in said.items() if name != "what"})


def _coming(plan: Plan, opening: Opening) -> float:
    return opening.number * plan.within / plan.visitors


# ---- the processes with the visitors -----------------------------------------------------------


class Crowds:
    """The processes with the visitors, and what they say."""

    def __init__(self, plan: Plan, probe: Probe) -> None:
        self.probe = probe
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        parts = parts_for(plan.visitors)
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "mhc_demo.hall"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(parts)
        ]
        for part, process in enumerate(self.processes):
            threading.Thread(target=self._read, args=(process,), daemon=True).start()
            self._tell(process, json.dumps({"plan": asdict(plan), "part": part, "parts": parts}))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._said.put(json.loads(line))
        self._said.put({"what": "over"})

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `hear` reports that it is over
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def tell(self, wish: str) -> None:
        """Say to each what to do next."""
        for process in self.processes:
            self._tell(process, wish)

    def hear(self, last: str, limit: float) -> list[dict[str, Any]]:
        """All that they say until each has said `last`.

        Raises NoServerError if the server goes away meanwhile, RuntimeError if one of them ends or
        is late.
        """
        end, waiting = time.monotonic() + limit, len(self.processes)
        heard: list[dict[str, Any]] = []
        while waiting or self.probe.failing:
            if self.probe.gone:
                pictures = sum(each.get("picture") is not None for each in heard)
                raise NoServerError(f"{self.probe.gone}, after {pictures} openings")
            if time.monotonic() > end:
                raise RuntimeError(f"the visitors did not end within {limit:g} s")
            with contextlib.suppress(queue.Empty):
                said = self._said.get(timeout=0.2)
                if said["what"] == "over":
                    raise RuntimeError("a process with visitors has ended; see above")
                waiting -= said["what"] == last
                heard.append(said)
        return heard

    def end(self) -> None:
        """End all of them now."""
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()


@contextlib.contextmanager
def _crowds(plan: Plan, probe: Probe) -> Iterator[Crowds]:
    crowds = Crowds(plan, probe)
    try:
        yield crowds
    finally:
        crowds.end()


# ---- whether it answers ------------------------------------------------------------------------


class Probe:
    """Asks a server all the while whether it is there, as a newcomer: by a new connection each."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.gone = ""
        """Why the server is taken for gone, in words; empty while it is not."""
        self.failing = False
        """Whether the last question was not answered."""
        self._waits: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def longest(self, since: float) -> float:
        """The longest wait for an answer of those asked for since then, in seconds."""
        return max((wait for asked, wait in [*self._waits] if asked >= since), default=0.0)

    def _ask(self) -> None:
        parts = urlsplit(self.address)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        there = time.monotonic()
        while not self._over.wait(PROBED):
            asked = time.monotonic()
            connection = kind(parts.netloc, timeout=SILENT)
            try:
                connection.request("GET", parts.path)
                connection.getresponse().read()
                there, self.failing = time.monotonic(), False
            except (OSError, http.client.HTTPException):
                self.failing = True
                silent = time.monotonic() - there
                if silent > GONE:  # a question alone may take longer
                    self.gone = (
                        f"the server at {parts.scheme}://{parts.netloc} went away: no answer for "
                        f"{silent:.0f} s"
                    )
                    return
            finally:
                connection.close()
            self._waits.append((asked, time.monotonic() - asked))

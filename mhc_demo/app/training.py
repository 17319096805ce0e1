"""Training for the page: processes beside the server, so many at once, the others in line."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence

from ..lab.__main__ import LENGTH
from ..lab.records import Record
from ..lab.settings import Settings
from ..lab.tasks import CONTEXT, TASKS

at_once = 1
"""Trainings of this process that run at the same time; `mhc-demo serve --trainings` sets it."""

LONGEST = 600.0
"""Seconds that one takes at most, for others wait."""

LARGEST = 2**24
"""Numbers in the streams of all layers and a batch, at most: a GB or two while it trains."""

EVERY = 0.2
"""Seconds between two looks at what has come."""

_line: list[Training] = []
"""Who trains and who waits, in the order of arrival; of the server's one event loop."""


class Training:
    """Networks that train side by side in one process."""

    def __init__(self, settings: Sequence[Settings]) -> None:
        self.records = [Record(each) for each in settings]
        self.begun = 0.0
        """When the first step was there, as `time.monotonic` counts."""
        self.failure = ""
        """Why it broke off, in a sentence; empty if it did not."""
        self.cancelled = False
        """Whether it was stopped."""
        self._process: Process | None = None

    def check(self) -> None:
        """What a server does not train for a visitor: ValueError that says so."""
        if not at_once:
            raise ValueError("this server trains nothing; mhc-demo train does")
        for record in self.records:
            asked = record.settings
            asked.check()
            places = CONTEXT if TASKS[asked.task].unit == "tokens" else 1
            numbers = asked.depth * asked.width * asked.streams * asked.batch * places
            if numbers > LARGEST:
                raise ValueError(
                    f"depth x width x streams x batch is {numbers:,} numbers, of which this page "
                    f"trains {LARGEST:,} at most; mhc-demo train has no such limit"
                )

    @property
    def before(self) -> int:
        """How many must end before this one starts."""
        return max(0, _line.index(self) - at_once + 1) if self in _line else 0

    @property
    def steps(self) -> tuple[int, int]:
        """How many steps are done, and how many there are, of all networks."""
        done = sum(
            record.settings.steps if record.summary else len(record.steps)
            for record in self.records
        )
        return done, sum(record.settings.steps for record in self.records)

    @property
    def seconds_left(self) -> float:
        """As long as those behind took; NaN before the first step."""
        done, most = self.steps
        return (time.monotonic() - self.begun) / done * (most - done) if done else float("nan")

    async def run(self, changed: Callable[[], None]) -> None:
        """Wait for a place, train, and call `changed` some times a second while there is news."""
        _line.append(self)
        try:
            while self.before and not self.cancelled:
                changed()
                await asyncio.sleep(EVERY)
            if not self.cancelled:
                await self._train(changed)
        finally:
            _line.remove(self)
            for record in self.records:
                if record.summary is None and record.steps:
                    record.summary = record.summed_up("cancelled")

    def cancel(self) -> None:
        """Stop, wherever it is."""
        self.cancelled = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _train(self, changed: Callable[[], None]) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mhc_demo.lab"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            # Threads that wait for one another must not keep the server from its cores.
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        wishes = [record.settings.values_by_name() for record in self.records]
        process.stdin.write(json.dumps(wishes).encode())
        process.stdin.close()
        if self.cancelled:  # while it was being started
            process.kill()
        changed()
        told = 0.0
        try:
            while True:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                i, record = pickle.loads(await process.stdout.readexactly(length))
                self.begun = self.begun or time.monotonic()
                self.records[i].extend([record])
                if time.monotonic() > self.begun + LONGEST:
                    self.failure = f"this page trains {LONGEST / 60:g} minutes at most"
                    self.cancel()
                if time.monotonic() > told + EVERY:
                    told = time.monotonic()
                    changed()
        except asyncio.IncompleteReadError:  # it has ended, one way or another
            said = (await process.stderr.read()).decode(errors="replace")
            if await process.wait() and not self.cancelled:
                self.failure = (said.strip().splitlines() or ["it ended without a word"])[-1]
        finally:
            if process.returncode is None:
                process.kill()

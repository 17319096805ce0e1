"""Training for the page: processes beside the server, so many at once, the others in line."""

from __future__ import annotations

import asyncio
import json
import math
import os
import pickle
import re
import signal
import sys
import time
from asyncio import IncompleteReadError, StreamReader
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence

from ..lab.__main__ import LENGTH
from ..lab.memory import memory
from ..lab.records import Record
from ..lab.settings import Settings

at_once = 1
"""Trainings of this process that run at the same time; `mhc-demo serve --trainings` sets it."""

LONGEST = 600.0
"""Seconds that one takes at most, for others wait."""

MOST_MEMORY = 2e9
"""Bytes that one takes at most.  What is estimated to take more is not begun; what takes more in
spite of that, the system ends."""

COMMAND = (sys.executable, "-m", "mhc_demo.lab")
"""What trains."""

LONGEST_LINE = 30
"""Trainings that train or wait, at most."""

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
        if len(_line) >= LONGEST_LINE:
            raise ValueError(f"{len(_line)} trainings are in line already; try again later")
        settings = [record.settings for record in self.records]
        for each in settings:
            each.check()
        needed = memory(settings)
        if needed > MOST_MEMORY:
            asked = settings[0]
            raise ValueError(
                f"depth {asked.depth}, width {asked.width}, streams {asked.streams} and batch "
                f"{asked.batch} may take {math.ceil(needed / 1e8) / 10:,} GB of memory, and this "
                f"page gives a training {_most()} at most; mhc-demo train has no such limit"
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
            before = 0
            while self.before and not self.cancelled:
                if self.before != before:
                    before = self.before
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
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                # Threads that wait for one another must not keep the server from its cores.
                env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
            )
        except OSError as error:
            self.failure = f"its process could not be started ({error.strerror})"
            return
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        asked = {
            "settings": [record.settings.values_by_name() for record in self.records],
            "memory": int(MOST_MEMORY),
        }
        # It stays open: when it is closed, were it by this server's death, the process ends.
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        if self.cancelled:  # while it was being started
            process.kill()
        changed()
        try:
            async with asyncio.timeout(LONGEST):
                _, said = await asyncio.gather(
                    self._follow(process.stdout, changed), _end_of(process.stderr)
                )
                ended = await process.wait()
        except TimeoutError:
            self.failure = f"this page trains {LONGEST / 60:g} minutes at most"
        else:
            if ended and not self.cancelled:
                self.failure = _why(ended, said)
        finally:
            process.stdin.close()
            if process.returncode is None:
                process.kill()
            await process.wait()  # what it had is free for the next one

    async def _follow(self, stdout: StreamReader, changed: Callable[[], None]) -> None:
        """Take in the records until there are no more."""
        told = 0.0
        while True:
            try:
                (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
                i, record = pickle.loads(await stdout.readexactly(length))
            except IncompleteReadError:  # the process has ended, one way or another
                return
            self.begun = self.begun or time.monotonic()
            self.records[i].extend([record])
            if time.monotonic() > told + EVERY:
                told = time.monotonic()
                changed()


async def _end_of(stream: StreamReader) -> str:
    """The last thousands of characters: a process that says more must not wait for a reader."""
    end = b""
    while more := await stream.read(2**16):
        end = (end + more)[-(2**13) :]
    return end.decode(errors="replace").strip()


def _why(ended: int, said: str) -> str:
    """Why a process broke off, in a sentence, of its exit status and what it said."""
    if OUT_OF_MEMORY.search(said):
        return f"it ran out of the {_most()} of memory that this page gives a training"
    if ended < 0:
        name = signal.Signals(-ended).name
        if name == "SIGKILL":
            return "the system ended its process, as it does when the machine runs out of memory"
        return f"its process crashed ({name})"
    return (said.splitlines() or ["it ended without a word"])[-1]


OUT_OF_MEMORY = re.compile(r"MemoryError|bad_alloc|allocate[\w ]* memory|out of memory", re.I)
"""How Python, PyTorch, LLVM and a GPU say it."""


def _most() -> str:
    return f"{MOST_MEMORY / 1e9:g} GB"

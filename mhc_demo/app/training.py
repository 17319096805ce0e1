"""Training for the page: in processes beside the server, a few at a time, while the others wait."""

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
"""Trainings of this process that run at a time; `mhc-demo serve --trainings` sets it."""

LONGEST = 600.0
"""Seconds that a training may take, for others wait."""

MOST_MEMORY = 2e9
"""Bytes that a training may take.  If it is estimated to need more, it is not started; if it needs
more all the same, the system ends it."""

COMMAND = (sys.executable, "-m", "mhc_demo.lab")
"""The process that trains."""

LONGEST_LINE = 30
"""Trainings that may run or wait."""

EVERY = 0.2
"""Seconds between two updates."""

_line: list[Training] = []
"""The trainings that run or wait, in order of arrival; used in the server's event loop alone."""


class Training:
    """Networks that train side by side in one process."""

    def __init__(self, settings: Sequence[Settings]) -> None:
        self.records = [Record(each) for each in settings]
        self.begun = 0.0
        """The time of the first step, by `time.monotonic`."""
        self.failure = ""
        """Why it broke off, in a sentence; empty if it did not."""
        self.cancelled = False
        """Whether it was stopped."""
        self._process: Process | None = None

    def check(self) -> None:
        """Raise ValueError, with the reason, for what a server does not train for a visitor."""
        if not at_once:
            raise ValueError("this server trains nothing; mhc-demo train does")
        if len(_line) >= LONGEST_LINE:
            raise ValueError(f"{len(_line)} trainings are in line already; try again later")
        settings = [record.settings for record in self.records]
        for each in settings:
            each.check()
        needed = memory(settings)
        if needed > MOST_MEMORY:
            first = settings[0]
            raise ValueError(
                f"depth {first.depth}, width {first.width}, streams {first.streams} and batch "
                f"{first.batch} may take {math.ceil(needed / 1e8) / 10:,} GB of memory, and this "
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
        """Estimated from the steps that are done; NaN before the first."""
        done, most = self.steps
        return (time.monotonic() - self.begun) / done * (most - done) if done else float("nan")

    async def run(self, changed: Callable[[], None]) -> None:
        """Wait for a turn, then train; call `changed` a few times a second while there is news."""
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
        """Stop, whether it waits or trains."""
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
                # Threads that wait for one another must leave their cores to the server.
                env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
            )
        except OSError as error:
            self.failure = f"its process could not be started ({error.strerror})"
            return
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        request = {
            "settings": [record.settings.values_by_name() for record in self.records],
            "memory": int(MOST_MEMORY),
        }
        # It stays open: when it closes, be it because this server dies, the process ends.
        process.stdin.write(json.dumps(request).encode() + b"\n")
        if self.cancelled:  # while the process was starting
            process.kill()
        changed()
        try:
            async with asyncio.timeout(LONGEST):
                _, errors = await asyncio.gather(
                    self._follow(process.stdout, changed), _end_of(process.stderr)
                )
                ended = await process.wait()
        except TimeoutError:
            self.failure = f"this page trains {LONGEST / 60:g} minutes at most"
        else:
            if ended and not self.cancelled:
                self.failure = _why(ended, errors)
        finally:
            process.stdin.close()
            if process.returncode is None:
                process.kill()
            await process.wait()  # its memory is free for the next one

    async def _follow(self, stdout: StreamReader, changed: Callable[[], None]) -> None:
        """Read the records until there are no more."""
        updated = 0.0
        while True:
            try:
                (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
                i, record = pickle.loads(await stdout.readexactly(length))
            except IncompleteReadError:  # the process has ended, one way or another
                return
            self.begun = self.begun or time.monotonic()
            self.records[i].extend([record])
            if time.monotonic() > updated + EVERY:
                updated = time.monotonic()
                changed()


async def _end_of(stream: StreamReader) -> str:
    """The last few thousand characters; all is read, so that the process never waits to write."""
    end = b""
    while more := await stream.read(2**16):
        end = (end + more)[-(2**13) :]
    return end.decode(errors="replace").strip()


def _why(ended: int, errors: str) -> str:
    """Why a process broke off, in a sentence, from its exit status and its errors."""
    if OUT_OF_MEMORY.search(errors):
        return f"it ran out of the {_most()} of memory that this page gives a training"
    if ended < 0:
        name = signal.Signals(-ended).name
        if name == "SIGKILL":
            return "the system ended its process, as it does when the machine runs out of memory"
        return f"its process crashed ({name})"
    return (errors.splitlines() or ["it ended without a word"])[-1]


OUT_OF_MEMORY = re.compile(r"MemoryError|bad_alloc|allocate[\w ]* memory|out of memory", re.I)
"""How Python, PyTorch, LLVM and CUDA say it."""


def _most() -> str:
    return f"{MOST_MEMORY / 1e9:g} GB"

"""How long projections take here, measured once for all visitors, in a process beside the server.

Not on a thread: to import PyTorch for the gradients holds up all other threads for seconds, and
what it takes of memory would stay.  One such process runs at a time; whoever else asks waits for
it, and sees its results as they come.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Iterable
from typing import TypeAlias

from ..numerics.costs import MatrixTimes
from ..numerics.projections import PROJECTIONS

Timed: TypeAlias = tuple[str, int, str]
"""Projection, streams and device of a measurement."""

COMMAND = (sys.executable, "-m", "mhc_demo.numerics.costs")
"""The process that measures."""

LONGEST = 180.0
"""Seconds that it may take."""

EVERY = 0.3
"""Seconds between two looks at what another's process has found."""

found: dict[Timed, MatrixTimes] = {}
"""What was measured."""

_busy = False


async def measure(wanted: Iterable[Timed], news: Callable[[], None]) -> None:
    """Measure what was not yet measured, all of one number of streams and one device.

    `news` is called when there is more in `found`.  Raises RuntimeError or OSError if the process
    fails, TimeoutError if it takes too long.
    """
    global _busy
    wanted = list(wanted)
    known = len(found)
    while _busy:
        await asyncio.sleep(EVERY)
        if len(found) > known:
            known = len(found)
            news()
    missing = [timed for timed in wanted if timed not in found]
    if not missing:
        return
    _busy = True
    try:
        async with asyncio.timeout(LONGEST):
            await _measure(missing, news)
    finally:
        _busy = False


async def _measure(missing: list[Timed], news: Callable[[], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        names = [name for name, _, _ in missing]
        _, streams, device = missing[0]
        modules = sorted({PROJECTIONS[name].function.__module__ for name in names})
        request = {"modules": modules, "projections": names, "streams": streams, "device": device}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        while line := await process.stdout.readline():
            times = MatrixTimes(**json.loads(line))
            found[times.projection, streams, device] = times
            news()
        if ended := await process.wait():
            raise RuntimeError(f"the process that measures ended with status {ended}")
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
            await process.wait()

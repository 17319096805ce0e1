"""The runs of a sweep in processes of this machine, one thread each.

A process that dies costs its own run another try and the others nothing: each has its own pipes,
and a thread here that waits for it.  (One pool for all would break as a whole.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from .settings import Settings
from .worker import THREADS

TRIES = 3
"""How often a run is begun whose process dies, before the sweep goes on without it."""

Event = Mapping[str, Any]
"""{"step": n} while a run goes on; {"outcome": ...} or {"error": ...} at its end."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def events(
    due: Mapping[Path, Settings],
    processes: int,
    modules: Sequence[str],
    checkpoint_every: int | None = None,
) -> Iterator[tuple[Path, Event]]:
    """Train all that is due; what happens to each run, as it happens.

    With `checkpoint_every` a run is begun again from its last checkpoint, not from its beginning.

    Closing the iterator ends the processes, whatever they do.
    """
    jobs: SimpleQueue[Path] = SimpleQueue()
    happened: SimpleQueue[tuple[Path, Event]] = SimpleQueue()
    for path in due:
        jobs.put(path)
    workers = [Worker(modules, checkpoint_every) for _ in range(min(processes, len(due)))]

    def serve(worker: Worker) -> None:
        with suppress(Empty):
            while not worker.closed:
                path = jobs.get_nowait()
                for event in worker.trained(path, due[path]):
                    happened.put((path, event))

    threads = [threading.Thread(target=serve, args=(each,)) for each in workers]
    left = len(due)
    try:
        for thread in threads:
            thread.start()
        while left:
            path, event = happened.get()
            left -= "step" not in event
            yield path, event
    finally:
        for each in workers:
            each.close()
        for thread in threads:
            thread.join()


class Worker:
    """A process that trains; one that has died is replaced when it is needed again."""

    def __init__(self, modules: Sequence[str], checkpoint_every: int | None = None) -> None:
        self.modules, self.checkpoint_every = list(modules), checkpoint_every
        self.process: subprocess.Popen | None = None
        self.closed = False
        self._how = ""
        self._changing = threading.Lock()

    def trained(self, path: Path, settings: Settings) -> Iterator[Event]:
        """Train a run into `path`: its events, the last of which is its end."""
        for _ in range(TRIES):
            if self.closed:
                return
            for event in self._answers(path, settings):
                yield event
                if "step" not in event:
                    return
        yield {"error": f"its process died {TRIES} times ({self._how})"}

    def close(self) -> None:
        """End the process, if there is one, and start no other."""
        self.closed = True
        self._end()

    def _answers(self, path: Path, settings: Settings) -> Iterator[Event]:
        """What the process says about a run; if it dies, the answers end without an outcome."""
        request = {
            "file": str(path.absolute()),
            "settings": settings.values_by_name(),
            "checkpoint_every": self.checkpoint_every,
        }
        with suppress(OSError, ValueError):  # it dies while written to, or in the middle of a line
            process = self._started()
            _tell(process, request)
            for line in process.stdout or ():
                event = json.loads(line)
                yield event
                if "step" not in event:
                    return
        self._end()

    def _end(self) -> None:
        with self._changing:
            process, self.process = self.process, None
        if process is not None:
            process.kill()
            code = process.wait()
            self._how = f"signal {-code}" if code < 0 else f"exit code {code}"

    def _started(self) -> subprocess.Popen:
        with self._changing:
            if self.closed:
                raise OSError("the sweep is over")
            if self.process is None:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", f"from {__package__}.worker import main; main()"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=os.environ | THREADS | {"PYTHONPATH": os.pathsep.join(sys.path)},
                    start_new_session=True,  # Ctrl-C is for the sweep, which ends its processes
                )
                _tell(self.process, {"modules": self.modules})
            return self.process


def _tell(process: subprocess.Popen, message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()

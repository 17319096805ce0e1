"""Many runs: a grid of settings, each run with a record of its own in a folder.

A record's name says its settings, so a folder is its own memory: a run whose record ends with a
summary is never run again, any other is.  Each local process trains on one thread, because a small
network is no faster on two; runs in processes of their own cannot disturb one another, and one that
dies costs its own run a second try.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import param

from ..numerics._arrays import whole_number
from .records import Record, read_ends
from .settings import SETTINGS, Settings
from .worker import THREADS

TRIES = 3
"""How often a run is begun whose process dies, before the sweep goes on without it."""
LOCK = ".sweep.lock"
ENDED = ("finished", "diverged")
"""The outcomes of runs that need not be run again."""


def grid(**settings: Any) -> list[Settings]:
    """All combinations of the values of `settings`, each one value or several.

    >>> [s.seed for s in grid(connection="hc", depth=16, seed=range(3))]
    [0, 1, 2]

    Seeds vary slowest, so that an interrupted sweep has as many seeds of each combination.
    Raises ValueError or TypeError for what `Settings` refuses, and for no values at all.
    """
    several = {name: _several(name, value) for name, value in settings.items()}
    order = sorted(several, key=lambda name: name != "seed")
    combinations = product(*(several[name] for name in order))
    return _distinct(Settings(**dict(zip(order, each, strict=True))) for each in combinations)


def _several(name: str, value: Any) -> list[Any]:
    if name not in SETTINGS:
        raise TypeError(f"there is no setting {name!r}; there are {', '.join(SETTINGS)}")
    several = isinstance(value, Iterable) and not isinstance(value, str)
    values = list(value) if several else [value]
    if not values:
        raise ValueError(f"{name} must have at least one value, not none")
    return [each.item() if hasattr(each, "item") else each for each in values]  # NumPy's numbers


def _distinct(runs: Iterable[Settings]) -> list[Settings]:
    return list({record_name(each): each for each in runs}.values())


def record_name(settings: Settings) -> str:
    """The name of a run's record: connection, seed, and every other setting that is not usual.

    >>> record_name(Settings(connection="hc", depth=64, seed=3))
    'hc-depth=64-seed=3.jsonl'
    """
    said = {name: _plain(name, getattr(settings, name)) for name in SETTINGS}
    usual = {name: _plain(name, Settings.param[name].default) for name in SETTINGS}
    changed = [name for name in SETTINGS if said[name] != usual[name]]
    others = [f"{n}={said[n]}" for n in changed if n not in ("connection", "seed")]
    return "-".join([settings.connection, *others, f"seed={settings.seed}"]) + ".jsonl"


def _plain(name: str, value: Any) -> str:
    whole = isinstance(Settings.param[name], (param.Integer, param.Selector))
    return str(value) if whole else repr(float(value))


@dataclass
class Progress:
    """How far a sweep is.  One object, which changes as the sweep goes on."""

    runs: int
    ended: int = 0
    """Runs that need no more work, those of earlier sweeps included."""
    before: int = 0
    """Runs that earlier sweeps had ended."""
    failed: dict[Path, str] = field(default_factory=dict)
    """The runs that could not be run, and why."""
    latest: Record | None = None
    """The run that has ended just now, without its steps; None at any other call."""
    path: Path | None = None
    """Its record."""
    share: float = 0.0
    """Of this sweep's own work, from 0 to 1."""
    seconds: float = 0.0
    """Since the start."""

    @property
    def seconds_left(self) -> float:
        """At the speed so far; infinite at first."""
        return self.seconds * (1.0 - self.share) / self.share if self.share else float("inf")


def sweep(
    folder: str | Path,
    runs: Iterable[Settings] | None = None,
    *,
    processes: int | None = None,
    modules: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> list[Path]:
    """Run a grid of settings, or a list of `runs`; returns the path of each run's record.

    >>> sweep("runs", connection=["hc", "mhc"], depth=64, seed=range(16))  # doctest: +SKIP

    The records are JSON lines in `folder`, as `recorded` writes them; `record_name` names them.
    Runs whose record is there and ends with a summary, also one that says "diverged", are not run
    again, by whatever version they were made; half ones are.  Each of `processes` (by default one
    for each core) trains one run at a time on one thread.  `modules` are imported there first: they
    may register tasks and connections.  `progress` hears of every run that ends, and a few times a
    second besides.

    A run whose process dies is begun again, three times at most.  Runs that cannot be run do not
    stop the others: at the end a RuntimeError names them.  Ctrl-C leaves what has ended.

    Raises ValueError, TypeError or ImportError, before anything runs, if a setting is not allowed,
    OSError if the folder cannot be written to, and RuntimeError if another sweep is at work there.
    """
    if runs is None:
        chosen = grid(**settings)
    elif settings:
        raise TypeError("runs and settings cannot both be given: a list has all settings in it")
    else:
        chosen = _distinct(runs)
    for each in chosen:
        each.check()
    folder = Path(folder)
    paths = {folder / record_name(each): each for each in chosen}
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        state = Progress(len(paths))
        due = {path: each for path, each in paths.items() if not has_ended(path, each)}
        state.ended = state.before = len(paths) - len(due)
        if due:
            count = processes or _processes(chosen)
            whole_number("processes", count, 1)
            _Sweep(due, state, progress or (lambda _: None)).run(min(count, len(due)), modules)
    if state.failed:
        raise RuntimeError(
            f"{len(state.failed)} of {len(paths)} runs failed: "
            + "; ".join(f"{path.name}: {why}" for path, why in state.failed.items())
        )
    return list(paths)


def has_ended(path: Path, settings: Settings) -> bool:
    """Whether the file is the record of a run with these settings that need not run again."""
    try:
        record = read_ends(path)
    except (OSError, ValueError):
        return False
    same = record.settings.values_by_name() == settings.values_by_name()
    return same and record.outcome in ENDED


def _processes(runs: Sequence[Settings]) -> int:
    if any(each.device != "cpu" for each in runs):
        return 1  # a GPU is one
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder, for one sweep at a time: two would write the same records."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise RuntimeError(f"another sweep is at work in {folder}") from None


class _Sweep:
    """The runs that are due, in local processes; a thread for each process, which it waits for."""

    def __init__(
        self, due: Mapping[Path, Settings], state: Progress, progress: Callable[[Progress], None]
    ) -> None:
        self.due, self.state, self.progress = due, state, progress
        self.work = {path: each.steps * each.depth for path, each in due.items()}
        self.done: dict[Path, float] = {}
        self.jobs: SimpleQueue[Path] = SimpleQueue()
        self.events: SimpleQueue[tuple[Path, dict[str, Any]]] = SimpleQueue()
        self.workers: list[Worker] = []
        self.stopping = False
        for path in due:
            self.jobs.put(path)

    def run(self, processes: int, modules: Sequence[str]) -> None:
        start, left = monotonic(), len(self.due)
        self.workers = [Worker(modules) for _ in range(processes)]
        threads = [threading.Thread(target=self._serve, args=(w,)) for w in self.workers]
        try:
            for each in threads:
                each.start()
            while left:
                path, event = self.events.get()
                self.state.seconds = monotonic() - start
                left -= self._heard(path, event)
                self.progress(self.state)
                self.state.latest = self.state.path = None
        finally:
            self.stopping = True
            for worker in self.workers:
                worker.close()
            for each in threads:
                each.join()

    def _heard(self, path: Path, event: Mapping[str, Any]) -> bool:
        """Take note of an event; whether it is the last of its run."""
        settings = self.due[path]
        ends = "step" not in event
        steps = settings.steps if ends else event["step"]
        self.done[path] = self.work[path] * steps / settings.steps
        self.state.share = sum(self.done.values()) / sum(self.work.values())
        if "error" in event:
            self.state.failed[path] = event["error"]
        elif ends:
            self.state.ended += 1
            self.state.latest, self.state.path = read_ends(path), path
        return ends

    def _serve(self, worker: Worker) -> None:
        with suppress(Empty):
            while not self.stopping:
                path = self.jobs.get_nowait()
                self.events.put((path, self._run(worker, path)))

    def _run(self, worker: Worker, path: Path) -> dict[str, Any]:
        """Run one run; returns its last event."""
        for _ in range(TRIES):
            if self.stopping:
                break
            for event in worker.answers(path, self.due[path]):
                if "step" not in event:
                    return event
                self.events.put((path, event))
        return {"error": f"its process died {TRIES} times ({worker.how})"}


class Worker:
    """A process that trains; one that has died is replaced when the next run is due."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = list(modules)
        self.process: subprocess.Popen | None = None
        self.how = "it was ended"
        """How the last one that died did so."""
        self._closed = False
        self._changing = threading.Lock()

    def answers(self, path: Path, settings: Settings) -> Iterator[dict[str, Any]]:
        """What the process says about a run; if it dies, the answers end without an outcome."""
        request = {"file": str(path.absolute()), "settings": settings.values_by_name()}
        with suppress(OSError, ValueError):  # it dies while written to, or in the middle of a line
            process = self._started()
            _tell(process, request)
            for line in process.stdout or ():
                event = json.loads(line)
                yield event
                if "step" not in event:
                    return
        self._end()

    def close(self) -> None:
        """End the process, if there is one, and start no other."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        with self._changing:
            process, self.process = self.process, None
        if process is not None:
            process.kill()
            code = process.wait()
            self.how = f"signal {-code}" if code < 0 else f"exit code {code}"

    def _started(self) -> subprocess.Popen:
        with self._changing:
            if self._closed:
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

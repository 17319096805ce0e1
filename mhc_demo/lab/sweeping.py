"""Many runs: a grid of settings, each run with a record of its own in a folder.

A record's name says its settings, so a folder is its own memory: a run whose record ends with a
summary is never run again, any other is, or goes on from its checkpoint if it has one.  Each local
process trains on one thread, because a small network is no faster on two; runs in processes of
their own cannot disturb one another, and one that dies costs its own run a second try.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Any

import param

from ..numerics._arrays import whole_number
from . import cluster, local
from .local import Event
from .records import Record, read_ends
from .settings import SETTINGS, Settings, as_settings
from .worker import import_all

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
    settings = as_settings(settings)
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
    """Since the first step, or on a cluster since the start."""

    @property
    def seconds_left(self) -> float:
        """At the speed so far; infinite at first."""
        known = self.share > 0.0 and self.seconds > 0.0
        return self.seconds * (1.0 - self.share) / self.share if known else float("inf")


def sweep(
    folder: str | Path,
    runs: Iterable[Settings] | None = None,
    *,
    processes: int | None = None,
    scheduler: Any = None,
    modules: Sequence[str] = (),
    checkpoint_every: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> list[Path]:
    """Run a grid of settings, or a list of `runs`; returns the path of each run's record.

    >>> sweep("runs", connection=["hc", "mhc"], depth=64, seed=range(16))  # doctest: +SKIP

    The records are JSON lines in `folder`, as `recorded` writes them; `record_name` names them.
    Runs whose record is there and ends with a summary, also one that says "diverged", are not run
    again, by whatever version they were made; half ones are.  Each of `processes` (by default one
    for each core) trains one run at a time on one thread, and writes its record as it goes.
    `progress` hears of every run that ends, and a few times a second besides.

    With `checkpoint_every` each run keeps a checkpoint beside its record after every so many steps,
    until it ends, and a half run goes on from there.  That is worth it for runs of many minutes.

    Tasks, connections and the like of your own must be in a module that can be imported: its name
    may be among `modules`, and need not if it is imported already.

    `scheduler` is the address of a Dask cluster, such as "tcp://10.0.0.1:8786", or a `Client`: its
    workers train instead, of which each should have one thread.  A worker sends the record when its
    run has ended, and this process writes it, so they need no common folder; nothing else is kept
    of a run, here or there.  They must have this package, and modules of your own, unless such a
    module is one file: that is sent.

    A run whose process or worker dies is begun again, three times at most.  Runs that cannot be run
    do not stop the others: at the end a RuntimeError names them.  Ctrl-C leaves what has ended.

    Raises ValueError, TypeError or ImportError, before anything runs, if a setting is not allowed,
    OSError if the folder cannot be written to or the scheduler not reached, and RuntimeError if
    another sweep is at work there.
    """
    if processes is not None and scheduler is not None:
        raise TypeError("processes and scheduler cannot both be given: a cluster has its own")
    import_all(modules)
    if checkpoint_every is not None:
        whole_number("checkpoint_every", checkpoint_every, 1)
        if scheduler is not None:
            raise TypeError(
                "checkpoint_every and scheduler cannot both be given: a cluster has no folder for "
                "checkpoints, and runs a half run again"
            )
    if runs is None:
        chosen = grid(**settings)
    elif settings:
        raise TypeError("runs and settings cannot both be given: a list has all settings in it")
    else:
        chosen = _distinct(runs)
    for each in chosen:
        each.check()
    modules = _modules(chosen, modules)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; records are written into a folder")
    paths = {folder / record_name(each): each for each in chosen}
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        state = Progress(len(paths))
        due = {path: each for path, each in paths.items() if not has_ended(path, each)}
        state.ended = state.before = len(paths) - len(due)
        ledger = _Ledger(due, state)
        with closing(_events(due, processes, scheduler, modules, checkpoint_every)) as events:
            for path, event in events:
                ledger.note(path, event)
                if progress is not None:
                    progress(state)
    if state.failed:
        raise RuntimeError(
            f"{len(state.failed)} of {len(paths)} runs failed: "
            + "; ".join(f"{path.name}: {why}" for path, why in state.failed.items())
        )
    return list(paths)


def _modules(runs: Sequence[Settings], modules: Sequence[str]) -> list[str]:
    """Those given, and those that define what the runs choose."""
    for each in runs:
        if "__main__" in each.modules():
            raise ValueError(
                f"the runs of a sweep choose what __main__ defines, that is a script or notebook "
                f"({record_name(each)}): other processes cannot import it, but can a module"
            )
    return list(dict.fromkeys([*modules, *(name for each in runs for name in each.modules())]))


def _events(
    due: Mapping[Path, Settings],
    processes: int | None,
    scheduler: Any,
    modules: Sequence[str],
    checkpoint_every: int | None,
) -> Generator[tuple[Path, Event], None, None]:
    if not due:
        return
    if scheduler is not None:
        yield from cluster.events(due, scheduler, modules)
        return
    if processes is None:
        on_gpu = any(each.device != "cpu" for each in due.values())
        processes = 1 if on_gpu else local.cores()
    processes = whole_number("processes", processes, 1)
    yield from local.events(due, processes, modules, checkpoint_every)


def has_ended(path: Path, settings: Settings) -> bool:
    """Whether the file is the record of a run with these settings that need not run again."""
    try:
        record = read_ends(path)
    except (OSError, ValueError):
        return False
    same = record.settings.values_by_name() == settings.values_by_name()
    return same and record.outcome in ENDED


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder, for one sweep at a time: two would write the same records."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise RuntimeError(f"another sweep is at work in {folder}") from None


class _Ledger:
    """What is known of the runs that are due, kept in a `Progress`."""

    def __init__(self, due: Mapping[Path, Settings], state: Progress) -> None:
        self.due, self.state = due, state
        self.work = {path: float(each.steps * each.depth) for path, each in due.items()}
        self.all_work = sum(self.work.values())
        self.done = dict.fromkeys(due, 0.0)
        self.start = monotonic()

    def note(self, path: Path, event: Event) -> None:
        """Take note of what has happened to a run."""
        state = self.state
        state.latest = state.path = None
        if not state.share and "step" in event:
            self.start = monotonic()  # the processes have started, which tells nothing of the speed
        state.seconds = monotonic() - self.start
        share = event["step"] / self.due[path].steps if "step" in event else 1.0
        done = self.work[path] * share
        state.share = min(1.0, state.share + (done - self.done[path]) / self.all_work)
        self.done[path] = done
        if "error" in event:
            state.failed[path] = event["error"]
        elif "outcome" in event:
            state.ended += 1
            state.latest, state.path = read_ends(path), path

"""A process of a sweep: it trains the runs that stdin names, one after the other, on one thread.

Lines of JSON go both ways.  The first line says which modules register tasks, connections and the
like; each further line is a run and its file.  When stdin closes, as it
does when the sweep is interrupted or dies, this process ends, even in the middle of a step.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .records import Step, Summary
    from .settings import Settings

TOLD = 0.2
"""Seconds between two messages about a run's steps."""

THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""The environment of a process that computes on one thread."""


ONE_THREAD = 64
"""Up to this width one thread is as fast as two on a quiet machine, and much faster on a busy one;
and it leaves the other core to whatever else runs."""


@contextmanager
def few_threads(runs: Iterable[Settings]) -> Iterator[None]:
    """In this context PyTorch computes on one thread, if the networks are all narrow."""
    import torch

    before = torch.get_num_threads()
    if all(each.width <= ONE_THREAD for each in runs):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_into(
    file: str,
    values: Mapping[str, Any],
    told: Callable[[int], None] = lambda step: None,
    checkpoint_every: int | None = None,
) -> str:
    """Train on one thread, with a record in `file`; returns the outcome.

    `told` hears the number of steps done, a few times a second.  With `checkpoint_every` there is a
    checkpoint beside the file until the run has ended, and the run goes on from one that is there.
    """
    import torch

    from . import Settings, Step, recorded

    torch.set_num_threads(1)
    settings = Settings(**values)
    checkpoint = checkpoint_beside(file)
    last, outcome = -TOLD, "interrupted"
    for record in recorded(_going_on(settings, checkpoint, checkpoint_every), settings, file):
        if isinstance(record, Step):
            if monotonic() - last >= TOLD:
                told(record.step)
                last = monotonic()
        else:
            outcome = record.outcome
    if checkpoint_every is not None:
        checkpoint.unlink(missing_ok=True)
    return outcome


def checkpoint_beside(record: str | Path) -> Path:
    """The checkpoint of a run in a sweep, by the file of its record."""
    path = Path(record)
    return path.with_name(f".{path.stem}.pt")


def _going_on(
    settings: Settings, checkpoint: Path, every: int | None
) -> Generator[Step | Summary, None, None]:
    """The run, from its checkpoint on if there is one of use."""
    from . import CheckpointError, train

    if every is None:
        return train(settings)
    try:
        return train(settings, checkpoint=checkpoint, checkpoint_every=every)
    except CheckpointError:  # it is of another version, say: then a half run is run again
        checkpoint.unlink()
        return train(settings, checkpoint=checkpoint, checkpoint_every=every)


def import_all(modules: Sequence[str]) -> None:
    """Import `modules` by name; what they register can then be chosen in settings."""
    for name in modules:
        import_module(name)


def _requests() -> SimpleQueue[dict[str, Any]]:
    """The lines of stdin, read in a thread of their own, which ends the process with stdin."""
    requests: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def read() -> None:
        for line in iter(sys.stdin.buffer.readline, b""):
            requests.put(json.loads(line))
        os._exit(0)

    Thread(target=read, daemon=True).start()
    return requests


def main() -> None:
    """Answer the requests on stdin, until it closes."""
    # What a user's module prints must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    requests = _requests()
    import_all(requests.get()["modules"])
    while True:
        request = requests.get()
        try:
            outcome = train_into(
                request["file"],
                request["settings"],
                lambda step: answer(step=step),
                request["checkpoint_every"],
            )
            answer(outcome=outcome)
        except Exception as error:  # a run that fails must not cost the others
            answer(error=f"{type(error).__name__}: {error}")

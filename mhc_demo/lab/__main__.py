"""The process that trains for a page: it reads settings from stdin and writes records to stdout.

It is a separate process because a thread would hold Python's lock against the server's event loop,
and because the system can limit the memory of a process.  Several networks take turns, a step each,
so that the page shows them side by side.  Closing stdin ends the training, and so does the death of
the server.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

from . import Settings, Step, Summary, train
from .worker import few_threads


def in_turn(settings: Sequence[Settings]) -> Iterator[tuple[int, Step | Summary]]:
    """(index, record) of several runs, which take turns, a step each."""
    runs = {i: train(each) for i, each in enumerate(settings)}
    while runs:
        for i in list(runs):
            record = next(runs[i], None)
            if record is None:
                del runs[i]
            else:
                yield i, record


def packed(message: Any) -> bytes:
    """A message preceded by its length."""
    body = pickle.dumps(message)
    return LENGTH.pack(len(body)) + body


LENGTH = struct.Struct("<Q")


def limit_memory(limit: int) -> None:
    """Have the system limit the memory of this process to `limit` bytes, where it can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # Private memory that can be written: weights, activations, stacks.  Much of the whole address
    # space (RLIMIT_AS) is libraries, and space that is reserved and never used.
    with suppress(ValueError, OSError):  # there is a lower limit already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def end_with_stdin() -> None:
    """End this process when its parent is gone, even in the middle of a step."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # sys.stdin.read() holds a lock that Python needs to exit
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def main() -> None:
    """Train the networks that stdin describes."""
    os.nice(5)  # sliders first
    request = json.loads(sys.stdin.readline())
    end_with_stdin()
    settings = [Settings(**values) for values in request["settings"]]
    if all(each.device == "cpu" for each in settings):  # a GPU's memory is not the system's
        limit_memory(request["memory"])
    out = sys.stdout.buffer
    with few_threads(settings):
        for message in in_turn(settings):
            out.write(packed(message))
            out.flush()


if __name__ == "__main__":
    main()

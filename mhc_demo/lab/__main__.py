"""What trains for a page: a line of settings comes in on stdin, records go out on stdout.

A process of its own, because a thread would hold Python's lock against the server's event loop,
and the system can hold a process to its memory.  Several networks take turns, a step each, so that
they are seen side by side.  Who closes stdin ends the training, and so does a server that dies.
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


def in_turn(settings: Sequence[Settings]) -> Iterator[tuple[int, Step | Summary]]:
    """(index, record) of several runs, a step of each at a time."""
    runs = {i: train(each) for i, each in enumerate(settings)}
    while runs:
        for i in list(runs):
            record = next(runs[i], None)
            if record is None:
                del runs[i]
            else:
                yield i, record


def packed(message: Any) -> bytes:
    """A message behind its length."""
    body = pickle.dumps(message)
    return LENGTH.pack(len(body)) + body


LENGTH = struct.Struct("<Q")
ONE_THREAD = 64
"""Up to this width one thread is as fast as two, and leaves the other core to the server."""


def hold_to(most: int) -> None:
    """Have the system give this process no more memory than that, on systems that can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # What is written and shared with nobody: weights, activations, stacks.  Of the whole address
    # space (RLIMIT_AS) much is libraries, and room that is reserved and never used.
    with suppress(ValueError, OSError):  # there is a lower limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def end_with_stdin() -> None:
    """End this process when whoever started it is gone, and be it in the middle of a step."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(), whose lock Python wants at the end
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def main() -> None:
    """Train what stdin asks for."""
    os.nice(5)  # sliders first
    asked = json.loads(sys.stdin.readline())
    end_with_stdin()
    settings = [Settings(**values) for values in asked["settings"]]
    if all(each.device == "cpu" for each in settings):  # a GPU's memory is not the system's
        hold_to(asked["memory"])
    if all(each.width <= ONE_THREAD for each in settings):
        import torch

        torch.set_num_threads(1)
    out = sys.stdout.buffer
    for message in in_turn(settings):
        out.write(packed(message))
        out.flush()


if __name__ == "__main__":
    main()

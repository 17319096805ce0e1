"""What trains for a page: settings come in on stdin, records go out on stdout while it does.

A process of its own, because a thread would hold Python's lock against the server's event loop.
Several networks take turns, a step each, so that they are seen side by side.  Who stops
reading stops the training.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from collections.abc import Iterator, Sequence
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


def main() -> None:
    """Train what stdin asks for."""
    os.nice(5)  # sliders first
    settings = [Settings(**values) for values in json.load(sys.stdin)]
    if all(each.width <= ONE_THREAD for each in settings):
        import torch

        torch.set_num_threads(1)
    out = sys.stdout.buffer
    try:
        for message in in_turn(settings):
            out.write(packed(message))
            out.flush()
    except BrokenPipeError:  # nobody is there to see it
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


if __name__ == "__main__":
    main()

"""How a command ends on a signal, or when nobody reads its output any more.

SIGTERM, sent by service managers, and SIGHUP, sent when a terminal closes, become what Ctrl-C is:
an exception, on whose way out everything unfinished is removed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TextIO

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Stopped(KeyboardInterrupt):
    """A signal, of this number, asks the process to end."""


def as_process(command: Callable[[], int]) -> int:
    """Run `command` as the only task of this process, and return the process's exit code.

    After a signal, by the shells' convention, 128 plus its number: 130 for Ctrl-C, 143 for SIGTERM.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under `nohup`
            signal.signal(number, _stop)
    try:
        if hasattr(sys.stdout, "reconfigure"):  # a file's name may not fit its encoding
            sys.stdout.reconfigure(errors="backslashreplace")
        code = command()
    except KeyboardInterrupt as stop:
        code = stopped(stop)
    except SystemExit as end:  # from argparse, with a number
        code = int(end.code or 0)
    for number in SIGNALS:  # nothing is left to remove
        if signal.getsignal(number) == _stop:
            signal.signal(number, signal.SIG_DFL)
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _hush(sys.stderr)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return _unheard(error)
    return code


def stopped(stop: KeyboardInterrupt) -> int:
    """The exit code of a stopped command."""
    return 128 + int(stop.args[0] if stop.args else signal.SIGINT)


def tell(words: str | bytes) -> None:
    """Write a line, or bytes as they are, to standard output, at once.

    Raises SystemExit if standard output cannot be written to.
    """
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        if isinstance(words, str):
            print(words)
        else:
            rest = memoryview(words)
            while rest:  # unbuffered (python -u), a write may be partial
                rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.flush()
    except OSError as error:
        raise SystemExit(_unheard(error)) from None


def complain(words: str) -> None:
    """Write a line to standard error, if that is possible: the exit code tells the rest."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"mhc-demo: {words}", file=sys.stderr)


def _stop(number: int, _: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the cleaning up after the first.
    error = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise Stopped(number)


def _unheard(error: OSError) -> int:
    """Complain that standard output cannot be written to; returns the exit code."""
    if sys.stdout is not None:
        _hush(sys.stdout)
    if isinstance(error, BrokenPipeError):  # the reader has closed it, as `head` does
        return 141  # as if SIGPIPE had ended it
    complain(f"cannot write standard output: {error.strerror or error}")
    return 1


def _hush(stream: TextIO) -> None:
    """Discard what cannot be written: Python would try again when it exits, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

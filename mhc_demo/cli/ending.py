"""How a command ends that is asked to by a signal, or that nobody listens to any more.

SIGTERM, by which a service manager ends a process, and SIGHUP, by which a closed terminal does, are
made what Ctrl-C is: an exception, on whose way out everything unfinished is removed.
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
    """The process was asked to end, by the signal of this number."""


def as_process(command: Callable[[], int]) -> int:
    """Run `command` as all that this process is for, and return the process' exit code.

    130 after Ctrl-C, 143 after SIGTERM, by the shells' custom: 128 and the signal's number.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # `nohup` has it ignored
            signal.signal(number, _stop)
    try:
        if hasattr(sys.stdout, "reconfigure"):  # a file's name may have letters that it has not
            sys.stdout.reconfigure(errors="backslashreplace")
        code = command()
    except KeyboardInterrupt as stop:
        code = stopped(stop)
    except SystemExit as end:  # by argparse, whose code is a number
        code = int(end.code or 0)
    for number in SIGNALS:  # nothing is left that would have to be removed
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
    """The exit code of what was stopped."""
    return 128 + int(stop.args[0] if stop.args else signal.SIGINT)


def tell(words: str | bytes) -> None:
    """Write a line, or bytes as they are, to standard output, at once.

    Raises SystemExit if it cannot be written to: what comes after would not be heard either.
    """
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        if isinstance(words, str):
            print(words)
        else:
            rest = memoryview(words)
            while rest:  # unbuffered (python -u), a write may take a part alone
                rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.flush()
    except OSError as error:
        raise SystemExit(_unheard(error)) from None


def complain(words: str) -> None:
    """Write a line to standard error, if anybody hears it: the exit code says it too."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"mhc-demo: {words}", file=sys.stderr)


def _stop(number: int, _: FrameType | None) -> None:
    # Who presses Ctrl-C twice must not interrupt the first one's clearing up.
    error = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise Stopped(number)


def _unheard(error: OSError) -> int:
    """Say why standard output cannot be written to; returns the exit code."""
    if sys.stdout is not None:
        _hush(sys.stdout)
    if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `head` has
        return 141  # as if SIGPIPE had ended it
    complain(f"cannot write standard output: {error.strerror or error}")
    return 1


def _hush(stream: TextIO) -> None:
    """Let what cannot be written go: else Python tries once more at its end, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

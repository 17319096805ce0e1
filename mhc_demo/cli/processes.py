"""The server's processes: one that dies is replaced, and all end together and soon.

Tornado forks them, restarts those that die, and gives up after a hundred.  It does not end the
others when the first one is gone, nor limit how long a process takes to end.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import threading
from typing import Any

GRACE = 3.0
"""Seconds that a process may take to end: Docker waits ten, and whoever presses Ctrl-C less."""


class Family:
    """A process and those that it starts by `pn.serve(num_procs=...)`; created before they are."""

    def __init__(self) -> None:
        # Only the first process keeps the write end open, and however it ends, that is closed.
        self._read_end, self._write_end = os.pipe()
        self._announced = mmap.mmap(-1, 1)  # memory that all of them share

    def announces(self) -> bool:
        """Whether this process is the first to call this: one prints the link for all."""
        if self._announced[0]:
            return False
        self._announced[0] = 1
        return True

    def follow(self) -> None:
        """In a started process: end, as by SIGTERM, when the first one is gone."""
        os.close(self._write_end)

        def wait() -> None:
            os.read(self._read_end, 1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, daemon=True).start()

    def dismiss(self) -> None:
        """In the first process: make all others end, and wait until they have."""
        os.close(self._write_end)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()


def stop_by_signal(loop: Any) -> None:
    """Let SIGTERM and Ctrl-C stop a Tornado loop, and the process whatever it is doing.

    Pages and surfaces in progress would delay it by some seconds each, and nobody waits for them.
    """

    def stop(*_: object) -> None:
        loop.asyncio_loop.call_soon_threadsafe(loop.stop)
        last = threading.Timer(GRACE, os._exit, (0,))
        last.daemon = True
        last.start()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)


def open_more_files() -> None:
    """Raise the soft limit of open files to the hard one: every visitor keeps a connection open.

    The usual 1024 is meant for programs that use select(), which nothing here does.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS allows less than the limit it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""How the server's processes live and end: one that dies is replaced, and all end together, soon.

Tornado forks them, starts those anew that die, and gives up after a hundred; what it leaves open is
who ends the others when the first one is gone, and how long a process may take to end.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import threading
from typing import Any

GRACE = 3.0
"""Seconds to end in: Docker's patience is ten, and whoever presses Ctrl-C has less."""


class Family:
    """A process and those that it starts by `pn.serve(num_procs=...)`; made before they are."""

    def __init__(self) -> None:
        # The first process alone holds one end open, and lets go of it however it ends.
        self._other_end, self._held = os.pipe()
        self._spoken = mmap.mmap(-1, 1)  # memory that all of them share

    def speaks(self) -> bool:
        """Whether this process is the first to ask: one speaks for all, and none of those anew."""
        if self._spoken[0]:
            return False
        self._spoken[0] = 1
        return True

    def follow(self) -> None:
        """In a process that was started: end, as by SIGTERM, when the first one is gone."""
        os.close(self._held)

        def wait() -> None:
            os.read(self._other_end, 1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, daemon=True).start()

    def dismiss(self) -> None:
        """In the first one: let all others end, and wait until they have."""
        os.close(self._held)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()


def stop_by_signal(loop: Any) -> None:
    """Let SIGTERM and Ctrl-C stop a Tornado loop, and the process, whatever it is at.

    Pages that are being opened and surfaces that are being computed would hold it up, some seconds
    each; there is nobody to show them to.
    """

    def stop(*_: object) -> None:
        loop.asyncio_loop.call_soon_threadsafe(loop.stop)
        last = threading.Timer(GRACE, os._exit, (0,))
        last.daemon = True
        last.start()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)


def open_more_files() -> None:
    """Raise the soft limit of open files to the hard one: every visitor holds a connection open.

    The usual 1024 is there for programs that use select(), which nothing here does.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS calls its limit infinite, and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

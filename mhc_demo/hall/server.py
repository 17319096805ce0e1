"""A server of our own to try, and what a server takes of the machine."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STARTS = 120.0
"""Seconds that a server may take until it prints its link."""

SHOWN = 20
"""Lines of a server's log."""

SAMPLED = 2.0
"""Seconds between two looks at the machine."""

FULL = {"processor": 0.9, "machine": 0.95, "memory": 0.9, "files": 0.85}
"""Shares from which something has run out.  Of its files a server keeps a tenth (`app/guard.py`);
the machine's processor is never wholly at work."""


class NoServerError(Exception):
    """The server could not be started or reached, or went away; its text says which."""


@contextlib.contextmanager
def own_server(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`mhc-demo serve` with these options on a free port, until the block ends: see `started`."""
    command = ["-m", "mhc_demo.cli", "serve", "--address", "localhost", "--port", "0"]
    with started(*command, *options) as server:
        yield server


@contextlib.contextmanager
def started(*command: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server that prints its link as its first line, run by this Python until the block ends.

    Yields the link, without a query, and the process.  Raises NoServerError if there is none.  An
    overburdened server logs thousands of lines: the last are shown if it is not there or goes away.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        server = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=log, text=True
        )
        watchdog = threading.Timer(STARTS, server.kill)
        watchdog.start()
        try:
            assert server.stdout is not None
            link = re.search(r"http://[^\s?]+", server.stdout.readline())
            watchdog.cancel()
            if link is None:
                raise NoServerError(f"the server did not start: exit code {server.wait()}")
            yield link.group(), server
        except NoServerError:
            log.seek(0)
            sys.stderr.writelines(deque(log, SHOWN))
            raise
        finally:
            watchdog.cancel()
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            if server.stdout is not None:
                server.stdout.close()


@dataclass(frozen=True)
class Taken:
    """What a server has taken so far."""

    processor: float
    """Seconds, of all cores."""
    memory: float
    """MB that its processes have for themselves alone."""


class Load:
    """Looks at a server's processes now and then: which of the machine's means run out?

    `pids` are the server's processes; those that they start are counted too.
    """

    def __init__(self, *pids: int) -> None:
        self.pids = pids
        self.peaks = dict.fromkeys(FULL, 0.0)
        """The largest share that was at work, or taken, in any look."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @staticmethod
    def missing() -> str | None:
        """Why nothing can be looked at, or None."""
        try:
            import psutil  # noqa: F401
        except ImportError:
            return "psutil is not installed; it comes with pip install 'mhc-demo[hall]'"
        return None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def taken(self) -> Taken:
        """What was taken up to now; a process that has died meanwhile is not counted."""
        memory = 0.0
        for process in self._processes():
            with _gone():
                memory += process.memory_full_info().uss / 1e6
        return Taken(self._processor(), memory)

    def full(self) -> list[str]:
        """What has run out, in words."""
        words = {
            "processor": "the processor, as far as the server's processes can use it",
            "machine": "the processor of the whole machine",
            "memory": "memory",
            "files": "files",
        }
        return [words[name] for name, peak in self.peaks.items() if peak >= FULL[name]]

    # ---- looking -------------------------------------------------------------------------------

    def _processes(self) -> list[Any]:
        import psutil

        found = []
        for pid in self.pids:
            with _gone():
                process = psutil.Process(pid)
                found += [process, *process.children(recursive=True)]
        return found

    def _processor(self) -> float:
        seconds = 0.0
        for process in self._processes():
            with _gone():
                times = process.cpu_times()
                seconds += times.user + times.system
        return seconds

    def _watch(self) -> None:
        import psutil

        psutil.cpu_percent(None)
        then, before = time.monotonic(), self._processor()
        while not self._over.wait(SAMPLED):
            now, seconds = time.monotonic(), self._processor()
            processes = self._processes()
            # One that has started others only waits for them.
            working = max(1, len(processes) - len(self.pids) * (len(processes) > len(self.pids)))
            cores = min(working, os.cpu_count() or 1)
            self._note("processor", (seconds - before) / (now - then) / cores)
            self._note("machine", psutil.cpu_percent(None) / 100)
            self._note("memory", psutil.virtual_memory().percent / 100)
            for process in processes:
                with _gone():
                    if hasattr(process, "rlimit"):
                        most = process.rlimit(psutil.RLIMIT_NOFILE)[0]
                        self._note("files", process.num_fds() / most)
            then, before = now, seconds

    def _note(self, name: str, share: float) -> None:
        self.peaks[name] = max(self.peaks[name], share)


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """Ignore that a process is no more, or not ours to look at."""
    import psutil

    with contextlib.suppress(psutil.Error):
        yield

"""The server that is attacked, what it logs and takes, and who else is answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT = 20  # s; whatever takes longer has hung
SILENCE = 5.0  # s; the longest that others may have to wait, on a machine that is busy otherwise
ROOM = 40.0  # MB by which the server may grow during an attack, as with any work
LINE = 1000  # the most characters in a line of the log: none repeats what was sent

Many = Callable[[int, int], int]
Record = Callable[[str, object], None]


class Answer(NamedTuple):
    """What came back; status 0 if the connection was closed without an answer."""

    status: int
    head: bytes
    body: bytes


class Server:
    """`mhc-demo serve` on a free port, its log in a file."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "mhc_demo.cli", "serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while self.request("/liveness", timeout=5).status != 200:
            assert self.process.poll() is None, self.log_after(0)
            assert time.monotonic() < end
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()

    def is_alive(self) -> bool:
        return self.process.poll() is None and self.request("/liveness", timeout=WAIT).status == 200

    def request(
        self, target: str | bytes, *headers: bytes, method: str = "GET", timeout: float = WAIT
    ) -> Answer:
        """Request exactly this target, which other clients would normalise."""
        if isinstance(target, str):
            target = target.encode()
        answer = b""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout) as connection,
        ):
            first = b"%s %s HTTP/1.1" % (method.encode(), target)
            always = (b"Host: localhost:%d" % self.port, b"Connection: close")
            connection.sendall(b"\r\n".join((first, *always, *headers, b"", b"")))
            while more := connection.recv(2**16):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        return Answer(int(head.split()[1]) if head else 0, head, body)

    def token(self, query: str = "") -> str:
        """A token, with which the page at this link opens its websocket."""
        answer = self.request("/app/token" + query, b"Mhc-Wanted: 1")
        return json.loads(answer.body)["token"]

    def log_end(self) -> int:
        """The position at which the log ends."""
        return self.log.stat().st_size

    def log_after(self, position: int) -> str:
        """What was logged after that position."""
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")

    def memory(self) -> float:
        """Resident memory in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def libraries(self) -> set[str]:
        """The compiled libraries that it has loaded, on systems that tell."""
        maps = Path(f"/proc/{self.process.pid}/maps")
        return set(re.findall(r"\S+\.so\S*$", maps.read_text(), re.M)) if maps.exists() else set()

    @contextlib.contextmanager
    def answering(self, record: Record | None = None) -> Iterator[None]:
        """Asserts that others are answered all the while, whatever happens inside."""
        longest = 0.0

        def probe() -> None:
            nonlocal longest
            start = time.monotonic()
            self.request("/liveness")
            longest = max(longest, time.monotonic() - start)

        with repeating(probe):
            yield
        if record:
            record("longest silence, s", round(longest, 2))
        assert longest < SILENCE

    @contextlib.contextmanager
    def not_growing(self) -> Iterator[None]:
        """Asserts that whatever happens inside takes little memory."""
        self.request("/app")  # what the first page loads does not count
        before = peak = self.memory()

        def look() -> None:
            nonlocal peak
            peak = max(peak, self.memory())

        with repeating(look):
            yield
        assert peak - before < ROOM


@contextlib.contextmanager
def repeating(step: Callable[[], None]) -> Iterator[None]:
    """Repeats `step` in a thread while the block runs."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(0.05):
            step()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("hostile") / "log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server; after the test it must be alive, with no traceback in its log."""
    if not running.is_alive():
        running.stop()
        running.start()
    position = running.log_end()
    yield running
    assert running.is_alive(), running.log_after(position)[-2000:]
    assert "Traceback" not in running.log_after(position), running.log_after(position)[-2000:]


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Many:
    """Chooses how many: the first number, or with `--long` the second."""
    long = request.config.getoption("--long")
    return lambda few, more: more if long else few

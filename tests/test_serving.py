"""How a server lives: where it can be reached, what it needs of its machine, and how it ends.

All of it with real processes; the page itself is in `tests/page`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60  # seconds until a process that hangs is ended; none should come near it


def command(*options: str, before: str = "") -> list[str]:
    """`mhc-demo serve` on a free port, behind lines of Python that come first."""
    script = f"{before}\nimport sys\nfrom mhc_demo.cli import main\nsys.exit(main())"
    return [sys.executable, "-c", script, "serve", "--port", "0", *options]


class Server(NamedTuple):
    """A server that has printed its link."""

    process: subprocess.Popen[str]
    log: IO[str]
    link: str

    @property
    def port(self) -> int:
        port = urlsplit(self.link).port
        assert port
        return port

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def said(self) -> str:
        """What it wrote as errors."""
        self.log.seek(0)
        return self.log.read()

    def ended(self) -> str:
        """What else it printed, when all of its processes are gone, which hold its output open."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        assert "Traceback" not in self.said()
        return out


@contextlib.contextmanager
def served(
    *options: str,
    before: str = "",
    within: Sequence[str] = (),
    folder: Path = ROOT,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Server]:
    """A server, by a command that may be given `within` another one."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*within, *command(*options, before=before)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # so that Ctrl-C can be sent to all of its processes at once
        )
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            server = Server(process, log, line.removeprefix("The page is at ").split(" ")[0])
            assert server.link.startswith("http"), line + server.said()
            yield server
        finally:
            watchdog.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def get(address: str, **headers: str) -> tuple[int, str]:
    """Status and text of an answer."""
    with contextlib.suppress(urllib.error.HTTPError):
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    return 404, ""


def connects(address: str, origin: str | None = None) -> bool:
    """Whether a browser that shows the page under `origin` gets its websocket."""
    here = urlsplit(address)
    _, answer = get(f"{here.scheme}://{here.netloc}{here.path}/token", **{"Mhc-Wanted": "1"})
    token = json.loads(answer)["token"]
    wanted = {"Origin": origin or f"http://{here.netloc}"}
    request = HTTPRequest(f"ws://{here.netloc}{here.path}/ws", headers=wanted)

    async def connect() -> bool:
        try:
            socket = await websocket_connect(request, subprotocols=["bokeh", token])
        except HTTPClientError:
            return False
        greeting = await socket.read_message()  # None if the server has closed
        socket.close()
        while await socket.read_message() is not None:  # to the server's part of closing
            pass
        return greeting is not None

    return asyncio.run(connect())


def eventually(check: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


# ---- where it can be reached ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Server]:
    """A server at all addresses of this machine, behind a proxy that it believes."""
    soft = min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    before = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""
    origins = ("[2001:DB8:0:0::1]:80", "[2001:db8::2]:8080", "Demo.example.org:443")
    options = ("--address", "::", "--use-xheaders", "--allow-websocket-origin", *origins)
    with served(*options, before=before) as server:
        yield server


def test_all_addresses_are_those_of_both_kinds(everywhere: Server) -> None:
    assert get(f"http://127.0.0.1:{everywhere.port}/liveness")[0] == 200
    assert get(f"http://[::1]:{everywhere.port}/app")[0] == 200


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        ("http://localhost:PORT", True),
        ("http://127.0.0.1:PORT", True),
        ("http://[::1]:PORT", True),
        ("http://[2001:db8::1]", True),
        ("https://[2001:db8::1]", True),
        ("http://[2001:db8::2]:8080", True),
        ("http://[2001:db8::2]", False),
        ("https://demo.example.org", True),  # browsers say neither a usual port nor capitals
        ("http://example.org", False),
        ("null", False),
    ],
)
def test_whose_websocket_is_let_in(everywhere: Server, origin: str, is_let_in: bool) -> None:
    origin = origin.replace("PORT", str(everywhere.port))
    assert connects(f"http://localhost:{everywhere.port}/app", origin) == is_let_in


@pytest.mark.long
def test_the_link_of_one_ipv6_address_opens_the_page() -> None:
    with served("--address", "[::1]", "--depth", "3") as server:
        assert server.link == f"http://[::1]:{server.port}/app?depth=3"
        assert connects(server.link.partition("?")[0])


def test_a_proxy_is_believed_whose_visitor_it_is(everywhere: Server) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9"}  # kept for documentation (RFC 5737)
    assert get(f"http://localhost:{everywhere.port}/no-such-page", **forwarded)[0] == 404
    eventually(lambda: "203.0.113.9" in everywhere.said())


def test_a_server_below_a_prefix() -> None:
    environment = os.environ | {"MHC_DEMO_SERVE_PREFIX": "mhc/"}
    with served("--depth", "3", environment=environment) as server:
        host = f"http://localhost:{server.port}"
        assert server.link == f"{host}/mhc/app?depth=3"
        for way in ("/mhc", "/mhc/", "/mhc/app/"):
            request = urllib.request.Request(f"{host}{way}?seed=7")
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                assert answer.url == f"{host}/mhc/app?seed=7"
        for path in ("/mhc/liveness", "/liveness", "/mhc/static/extensions/mhc-demo/slices.js"):
            assert get(host + path)[0] == 200
        assert get(f"{host}/app")[0] == 404
        assert connects(f"{host}/mhc/app")


# ---- what it needs of its machine ----------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process may do")
def test_as_many_files_may_be_open_as_the_system_allows(everywhere: Server) -> None:
    with open(f"/proc/{everywhere.process.pid}/limits") as file:
        line = next(line for line in file if line.startswith("Max open files"))
    soft, hard = re.findall(r"\d+|unlimited", line)
    assert soft == hard


# A user unknown to the system, with no home; and the websocket's clock is an hour from the page's.
ODD = """
import datetime, os, pwd, time, types

def unknown(_):
    raise KeyError

def put_the_clock_right():
    import panel.io.server
    from bokeh.server.views import ws

    ws.dt = types.SimpleNamespace(datetime=Later, timezone=datetime.timezone)
    panel.io.server.time = types.SimpleNamespace(time=lambda: time.time() + 3600 * HOURS)

class Later(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(hours=HOURS)

pwd.getpwuid = unknown
del os.environ["HOME"]
import mhc_demo
from mhc_demo.cli import processes

assert "ö 漢" in mhc_demo.__file__
processes.open_more_files = put_the_clock_right  # is called when all is imported
"""

READ_ONLY = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
READ_ONLY += [
    'for each in / "$PWD" "$TMPDIR"; do'
    ' mount --bind "$each" "$each" && mount -o remount,bind,ro "$each" || exit; done; '
    '! touch "$PWD/it" 2>/dev/null && cd "$PWD" && exec "$@"'
]
READ_ONLY += ["sh"]


@pytest.mark.parametrize("hours", [-1, pytest.param(1, marks=pytest.mark.long)])
def test_a_machine_without_a_home_a_writable_disk_and_a_steady_clock(
    tmp_path: Path, hours: int
) -> None:
    folder = tmp_path / "ö 漢 '"
    for part in ("mhc_demo", "static"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"HOME": "/", "TMPDIR": tempfile.gettempdir(), "LC_ALL": "C"}
    can = shutil.which("unshare") and not subprocess.call(
        [*READ_ONLY, "true"], cwd=folder, env=environment, stderr=subprocess.DEVNULL
    )
    within = READ_ONLY if can else ()
    with served(
        before=f"HOURS = {hours}\n{ODD}", within=within, folder=folder, environment=environment
    ) as server:
        assert connects(server.link)
        server.process.terminate()
        assert server.ended() == ""


# ---- how it ends ---------------------------------------------------------------------------------


def test_a_process_of_several_that_dies_is_replaced_and_none_outlives_the_first() -> None:
    with served("--num-procs", "2") as server:
        first = server.children
        assert len(first) == 2
        for each in first:
            each.kill()
        eventually(lambda: len(set(server.children) - set(first)) == 2)
        assert connects(server.link)  # by one of the new
        server.process.kill()
        assert server.ended() == ""  # and the link was said once


@pytest.mark.long
def test_ctrl_c_reaches_all_processes_of_a_terminal_at_once() -> None:
    with served("--num-procs", "2") as server:
        children = server.children
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(PATIENCE) == 130
        assert not any(each.is_running() for each in children)  # the first one is the last
        assert server.ended() == ""


@pytest.mark.long
def test_processes_that_cannot_start_are_not_started_for_ever() -> None:
    before = "import os, panel.io.server as s; s.Server.start = lambda self: os._exit(3)"
    done = subprocess.run(
        command("--num-procs", "2", before=before),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1] == "mhc-demo: too many of its processes have died; see above"
    )
    assert "Traceback" not in done.stderr


# A page that is never done, and beside it a thread that computes and, in one process, a training.
ENDLESS = """
import asyncio, time
from tornado.process import task_id
from mhc_demo.app import page, training
from mhc_demo.cli import processes
from mhc_demo.lab.settings import Settings

def create():
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, time.sleep, 1000)
    if task_id() is not None:
        stay()
    trained = training.Training([Settings(steps=10_000)])

    async def train():
        await trained.run(lambda: trained.begun and loop.call_soon(stay))

    loop.train = asyncio.ensure_future(train())

def stay():
    print("busy", flush=True)
    time.sleep(1000)

page.create = create
processes.GRACE = 0.3
"""


def visit(address: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        connects(address)


@pytest.mark.long
@pytest.mark.parametrize("processes", ["2", "1"])
def test_whatever_a_server_is_at_it_ends_and_leaves_nothing(processes: str) -> None:
    with served("--num-procs", processes, before=ENDLESS) as server:
        threading.Thread(target=visit, args=(server.link,), daemon=True).start()
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "busy\n"
        children = server.children
        assert children
        server.process.terminate()
        assert server.ended() == ""
        assert server.process.returncode == {"1": 0, "2": 130}[processes]
        _, alive = psutil.wait_procs(children, timeout=PATIENCE)
        assert not alive

"""Several processes: those that share a port, and those behind the proxy of compose.yaml."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
from playwright.sync_api import Page, expect

from .conftest import ROOT, Explorer, serve

CADDY = shutil.which("caddy", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
DEPTHS = (11, 22)  # that the servers open the page with: so they can be told apart

pytestmark = pytest.mark.browser


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://localhost:{port}/liveness", timeout=5).status == 200
    return False


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[tuple[str, dict[int, subprocess.Popen[bytes]]]]:
    """The proxy's address, and the server processes behind it by the depth they open with."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(1 + len(DEPTHS))]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        port, *ports = [probe.getsockname()[1] for probe in probes]
    servers = {}
    for own, depth in zip(ports, DEPTHS, strict=True):
        setting = {
            "MHC_DEMO_SERVE_PORT": str(own),
            "MHC_DEMO_SERVE_DEPTH": str(depth),
            "MHC_DEMO_SERVE_ALLOW_WEBSOCKET_ORIGIN": f"localhost:{port}",
        }
        command = [sys.executable, "-m", "mhc_demo.cli", "serve"]
        servers[depth] = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | setting, stdout=subprocess.DEVNULL
        )
    setting = {
        "HOME": str(tmp_path),
        "SITE": f"http://:{port}",
        "UPSTREAMS": " ".join(f"localhost:{own}" for own in ports),
    }
    processes = list(servers.values())
    try:
        end = time.monotonic() + 60
        while not all(map(_answers, ports)):
            assert time.monotonic() < end
            time.sleep(0.1)
        proxy = [str(CADDY), "run", "--config", str(ROOT / "deploy" / "Caddyfile")]
        processes.append(subprocess.Popen(proxy, env=setting, stderr=subprocess.DEVNULL))
        while not _answers(port):
            assert time.monotonic() < end
            time.sleep(0.1)
        yield f"http://localhost:{port}/", servers
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def server_of(page: Page, address: str) -> int:
    """Which server answers this visitor: the way from / says what it opens the page with."""
    answer = page.request.get(address, max_redirects=0)
    return int(parse_qs(urlsplit(answer.headers["location"]).query)["depth"][0])


@pytest.mark.long
def test_a_page_asks_no_other_host_whichever_process_has_its_websocket(new_explorer: Any) -> None:
    with serve("--num-procs", "2") as (address, _):
        for _ in range(4):  # the system gives a connection to one of the two
            explorer = new_explorer(1000, 700).open(address)
            assert explorer.hosts == {urlsplit(address).netloc}


@pytest.mark.long
def test_a_process_that_dies_is_replaced_and_its_visitors_come_back(new_explorer: Any) -> None:
    with serve("--num-procs", "2") as (address, server):
        explorer = new_explorer(1000, 700).open(address, "?depth=20&view=mixing")
        explorer.set("Depth (layers)", 23)
        expect(explorer.page).to_have_url(re.compile("depth=23&"))
        for process in psutil.Process(server.pid).children():
            process.kill()
        said = explorer.page.locator(".mhc-connection")
        expect(said).to_contain_text("opened anew, as it was", timeout=40_000)
        expect(explorer.slider("Depth (layers)")).to_have_value("23")
        expect(explorer.page).to_have_url(re.compile("depth=23&.*view=mixing"))
        shuffle(explorer)


@pytest.mark.long
@pytest.mark.skipif(CADDY is None, reason="caddy has no package for this machine")
def test_every_visitor_stays_at_one_server_and_one_that_dies_takes_no_other_along(
    hall: tuple[str, dict[int, subprocess.Popen[bytes]]], new_explorer: Any
) -> None:
    address, servers = hall
    visitors = [new_explorer(1000, 700).open(address) for _ in DEPTHS]
    homes = [int(parse_qs(urlsplit(each.page.url).query)["depth"][0]) for each in visitors]
    assert sorted(homes) == sorted(DEPTHS)  # to the server with the fewest, all at one address
    for visitor, home in zip(visitors, homes, strict=True):
        assert {server_of(visitor.page, address) for _ in range(5)} == {home}
        assert visitor.problems == []

    servers[homes[0]].kill()
    for visitor in visitors[1:]:
        shuffle(visitor)
        assert visitor.problems == []
    first = visitors[0]
    first.eventually(lambda: first.open(address))  # the page may be about to reload by itself
    assert server_of(first.page, address) in homes[1:]
    shuffle(first)


def shuffle(visitor: Explorer) -> None:
    """Another seed: HC's gains come anew from the server, over the websocket."""

    def gains() -> Any:
        columns = "m.data instanceof Map ? m.data.values() : Object.values(m.data)"
        return visitor.model("surface", f"[...({columns})].map((column) => [...column])")

    before = gains()  # all digits of all of them: the large number may well be the same again

    def others() -> None:
        assert gains() != before

    visitor.page.get_by_role("button", name="Shuffle").click()
    visitor.eventually(others)

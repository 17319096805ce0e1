"""The page in odd places: below a path of another site, behind TLS, by an IPv6 address, in a frame.

Two servers side by side and one proxy before both do for all of them.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import Explorer, serve
from .test_live_embed import Host
from .test_processes import CADDY, shuffle

pytestmark = [pytest.mark.browser, pytest.mark.long]

# The first site hands paths on as they are; the second one has a certificate, and strips /mhc.
CADDYFILE = """
{
	admin off
	skip_install_trust
	auto_https disable_redirects
}
http://localhost:%(plain)s {
	reverse_proxy localhost:%(prefixed)s
}
https://localhost:%(secure)s {
	tls internal
	redir /mhc /mhc/?{query}
	handle_path /mhc/* {
		reverse_proxy localhost:%(rooted)s
	}
}
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Path]]:
    """Another site, whose pages may frame ours, and its folder."""
    folder = tmp_path_factory.mktemp("site")
    host = Host(folder)
    yield host, folder
    host.shutdown()


@pytest.fixture(scope="module")
def outside() -> tuple[int, int]:
    """The proxy's ports."""
    plain, secure = free_ports(2)
    return plain, secure


@pytest.fixture(scope="module")
def prefixed(site: tuple[Host, Path], outside: tuple[int, int]) -> Iterator[str]:
    """The address of a server that lives below a path."""
    origins = ("--allow-websocket-origin", f"localhost:{outside[0]}")
    frames = ("--frame-ancestors", site[0].origin)
    with serve("--prefix", "/mhc", *origins, *frames) as (address, _):
        yield address


@pytest.fixture(scope="module")
def rooted(outside: tuple[int, int]) -> Iterator[str]:
    """The address of a server that knows of no prefix, on all addresses of this machine."""
    origins = ("--allow-websocket-origin", f"localhost:{outside[1]}")
    with serve("--address", "::", "--use-xheaders", *origins) as (address, _):
        yield address


@pytest.fixture(scope="module")
def proxy(
    prefixed: str, rooted: str, outside: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """The two sites of the proxy."""
    if CADDY is None:
        pytest.skip("caddy has no package for this machine")
    home = tmp_path_factory.mktemp("caddy")
    ports = {
        "plain": outside[0],
        "secure": outside[1],
        "prefixed": urlsplit(prefixed).port,
        "rooted": urlsplit(rooted).port,
    }
    (home / "Caddyfile").write_text(CADDYFILE % ports, "utf-8")
    command = [CADDY, "run", "--config", str(home / "Caddyfile")]
    process = subprocess.Popen(
        command, env={"HOME": str(home), "XDG_DATA_HOME": str(home)}, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None
            assert time.monotonic() < end
            with contextlib.suppress(OSError):
                # Its certificates are made before it listens anywhere.
                urllib.request.urlopen(f"http://localhost:{outside[0]}/mhc/liveness").read()
                break
            time.sleep(0.1)
        yield [f"http://localhost:{outside[0]}", f"https://localhost:{outside[1]}"]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Explorer]:
    """A tab that trusts the proxy's own certificate and lets the page use the clipboard."""
    context = browser.new_context(
        ignore_https_errors=True,
        viewport={"width": 1000, "height": 700},
        permissions=["clipboard-read", "clipboard-write"],
    )
    yield Explorer(context.new_page())
    context.close()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(0, id="passed on"),
        pytest.param(1, id="stripped, by TLS", marks=pytest.mark.long),
    ],
)
def test_the_page_lives_below_a_path_of_a_site(
    proxy: list[str], visitor: Explorer, way: int
) -> None:
    home = f"{proxy[way]}/mhc"
    page = visitor.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))

    visitor.open(home, "?seed=7")  # neither a slash nor /app, and the query is kept
    assert page.url.startswith(f"{home}/app?")
    assert "seed=7" in page.url
    shuffle(visitor)  # the websocket works
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url

    visitor.open(f"{home}/", "?embed=1&seed=8", controls=False)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open the whole page").click()
    opened.value.wait_for_url(
        re.compile(re.escape(f"{home}/app?") + ".*seed=8"), wait_until="commit"
    )
    opened.value.close()

    here = urlsplit(home)
    scheme = {"http": "ws", "https": "wss"}[here.scheme]
    assert any(each.startswith(f"{scheme}://{here.netloc}/mhc/app/ws") for each in asked)
    for each in map(urlsplit, asked):
        if each.scheme not in ("data", "blob"):
            assert (each.netloc, each.path.split("/")[1]) == (here.netloc, "mhc")
    assert visitor.problems == []


def test_the_page_is_opened_by_an_ipv6_address(rooted: str, visitor: Explorer) -> None:
    with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        try:
            probe.connect(("::1", urlsplit(rooted).port))
        except OSError:
            pytest.skip("this machine has no IPv6")
    visitor.open(f"http://[::1]:{urlsplit(rooted).port}/app")
    shuffle(visitor)
    assert visitor.problems == []


def framed(page: Page, site: tuple[Host, Path], sandbox: str, address: str) -> Any:
    """The page in a frame of another site, with a sandbox."""
    text = f'<iframe sandbox="{sandbox}" width="900" height="600" src="{address}"></iframe>'
    (site[1] / "index.html").write_text(text, "utf-8")
    page.goto(site[0].origin)
    return page.frame_locator("iframe")


def test_a_frame_without_an_origin_shows_a_message_with_a_link(
    site: tuple[Host, Path], prefixed: str, page: Page
) -> None:
    address = f"{prefixed}?embed=1&controls=depth&seed=7"
    escape = "allow-popups allow-popups-to-escape-sandbox"
    frame = framed(page, site, f"allow-scripts {escape}", address)
    expect(frame.locator("body")).to_have_text(re.compile("sandbox of this frame.*tab of its own"))
    link = frame.get_by_role("link")
    expect(link).to_have_text(f"{prefixed}?seed=7")  # can be copied where a frame opens nothing
    with page.expect_popup() as opened:
        link.click()
    expect(opened.value.locator(".mhc-headline .number").first).not_to_have_text("")


def test_a_sandbox_that_leaves_the_origin_shows_the_page(
    site: tuple[Host, Path], prefixed: str, page: Page
) -> None:
    frame = framed(page, site, "allow-scripts allow-same-origin", f"{prefixed}?embed=1")
    expect(frame.locator(".mhc-headline .number").first).not_to_have_text("")
    expect(frame.get_by_role("alert")).to_have_count(0)

"""What the guard lets pass, in a real browser and in front of each kind of server."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Page
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from .conftest import ROOT, serve

pytestmark = pytest.mark.browser

REFUSED = [
    "/components/test.__main__/x/_css/x",
    "/app/autoload.js?bokeh-autoload-element=1&bokeh-app-path=/app",
    "/app/autoload_js",
    "/app/metadata",
    "/app?bokeh-absolute-url=http://elsewhere.example",
    "/app?BOKEH-SESSION-ID=x",
    "/app?bokeh-token=x",
    "/static/extensions/mhc-demo/%00",
]


@pytest.fixture(
    scope="module",
    params=["panel serve app.py", pytest.param("mhc-demo serve", marks=pytest.mark.long)],
)
def site(request: pytest.FixtureRequest, address: str) -> Iterator[str]:
    """A server's address; it was asked for the page once, as `serve` does."""
    if request.param.startswith("panel"):
        yield address.removesuffix("/app")
    else:
        with serve("--address", "localhost") as (own, _):
            yield own.removesuffix("/app")


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("path", REFUSED)
def test_what_the_page_does_not_need_is_not_there(site: str, path: str) -> None:
    assert status(site + path) == 404


def test_session_ids_come_from_the_server_alone(site: str) -> None:
    assert status(f"{site}/app", **{"Bokeh-Session-Id": "mine"}) == 404


@pytest.mark.parametrize("query", ["bytes=1", "theme=%ff", "depth=" + 4301 * "9", "x=%E2%91%A0"])
def test_any_other_link_opens_the_page(site: str, query: str) -> None:
    assert status(f"{site}/app?{query}") == 200


def test_every_answer_says_what_may_be_done_with_it(site: str) -> None:
    for path in ("/app", "/static/extensions/mhc-demo/slices.js", "/favicon.ico"):
        with urllib.request.urlopen(site + path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["Server"] is None
            policy = answer.headers["Content-Security-Policy"]
            assert "frame-ancestors 'self'" in policy
            assert "default-src 'none'" in policy
            assert "unsafe-inline" not in re.findall(r"script-src[^;]*", policy)[0]


def token_of(site: str) -> str:
    request = urllib.request.Request(f"{site}/app/token", headers={"Mhc-Wanted": "1"})
    return json.load(urllib.request.urlopen(request))["token"]


def run(talk: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: Playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, talk).result()


def refusal(site: str, *protocols: str) -> int | None:
    """The status that a websocket is refused with; it stays open until the tests' loop ends."""

    async def connect() -> int | None:
        request = HTTPRequest(f"{site.replace('http', 'ws')}/app/ws")
        try:
            await websocket_connect(request, subprotocols=list(protocols))
        except HTTPClientError as error:
            return error.code
        return None

    return run(connect())


def test_sessions_that_are_wanted_at_once_leave_room_for_others(site: str) -> None:
    opened: list[int] = []

    async def open_one(token: str) -> None:
        request = HTTPRequest(f"{site.replace('http', 'ws')}/app/ws")
        socket = await websocket_connect(request, subprotocols=["bokeh", token])
        while "ACK" not in str(await socket.read_message()):
            pass
        opened.append(1)

    visitors = [Thread(target=lambda: run(open_one(token_of(site)))) for _ in range(10)]
    for each in visitors:
        each.start()
    assert status(f"{site}/static/extensions/mhc-demo/slices.js") == 200
    assert len(opened) < len(visitors)  # it did not have to wait for all of them
    for each in visitors:
        each.join()
    assert len(opened) == len(visitors)


def test_a_websocket_takes_the_token_of_a_page_and_no_other(site: str) -> None:
    token = token_of(site)
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert refusal(site, "bokeh", forged) == 403
    assert refusal(site, "bokeh", "e30") == 403
    assert refusal(site, "bokeh") == 400
    assert refusal(site, "bokeh", token) is None


def test_a_page_is_not_told_where_on_its_machine_the_server_is(site: str) -> None:
    token = token_of(site)

    async def document() -> str:
        request = HTTPRequest(f"{site.replace('http', 'ws')}/app/ws")
        socket = await websocket_connect(request, subprotocols=["bokeh", token])
        frame = ""
        while "roots" not in frame:
            if "ACK" in frame:
                for part in ('{"msgid": "1", "msgtype": "PULL-DOC-REQ"}', "{}", "{}"):
                    await socket.write_message(part)
            frame = await socket.read_message()
            assert isinstance(frame, str)
        return frame

    told = run(document())
    assert "FileSelector" in told
    assert str(ROOT) not in told


def test_a_script_that_comes_into_the_page_does_not_run(address: str, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(address)
    page.evaluate(
        """() => {
          const script = Object.assign(document.createElement("script"), {text: "ran = true"})
          document.body.append(script)
          document.body.insertAdjacentHTML("beforeend", '<img src="data:," onerror="ran = true">')
        }"""
    )

    def refusals() -> int:
        return sum("Content Security Policy" in text for text in said)

    for _ in range(500):
        if refusals() < 2:
            page.wait_for_timeout(20)
    assert refusals() == 2
    assert page.evaluate("window.ran") is None

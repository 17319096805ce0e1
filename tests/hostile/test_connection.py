"""Only a page that the server has sent opens a websocket, and no connection keeps others out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from bokeh.util.token import generate_jwt_token
from tornado.httpclient import HTTPClientError

from .conftest import WAIT, Server
from .visitor import assert_served, complete, connect, leave, visitor_of


def encoded(value: object) -> str:
    """Base64 as in Bokeh's tokens."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(**claims: object) -> str:
    """An unsigned token."""
    return encoded({"session_id": "mine", "session_expiry": time.time() + 300, **claims})


def of_another_server(expiration: int = 300, **payload: Any) -> str:
    """A token that another server signed."""
    key = b"of another server"
    return generate_jwt_token("mine", key, True, payload or None, expiration)


UNWELCOME: dict[str, Callable[[Server], list[str]]] = {
    "nothing": lambda server: [],
    "no token": lambda server: ["bokeh"],
    "an empty token": lambda server: ["bokeh", ""],
    "more than a token": lambda server: ["bokeh", server.token(), "x"],
    "another protocol": lambda server: ["spam", server.token()],
    "not base64": lambda server: ["bokeh", "%%%"],
    "not JSON": lambda server: ["bokeh", encoded(b"\xff")],
    "a list": lambda server: ["bokeh", encoded([])],
    "a long token": lambda server: ["bokeh", "A" * 50_000],
    "a longer token": lambda server: ["bokeh", "A" * 100_000],
    "forged": lambda server: ["bokeh", forged()],
    "forged, signed by guess": lambda server: ["bokeh", forged() + "." + "A" * 43],
    "forged, with two signatures": lambda server: ["bokeh", forged() + ".A.A"],
    "forged, the signature of another token": lambda server: [
        "bokeh",
        ".".join([forged(), *server.token().split(".")[1:]]),
    ],
    "forged, without end": lambda server: ["bokeh", forged(session_expiry=1e300)],
    "forged, of another type": lambda server: ["bokeh", forged(session_id=[], session_expiry="a")],
    "forged, its payload not compressed": lambda server: ["bokeh", forged(__bk__zlib_="AAAA")],
    "forged, its payload no arguments": lambda server: [
        "bokeh",
        forged(__bk__zlib_=encoded(zlib.compress(b'{"headers": 1, "arguments": 2}'))),
    ],
    "a signature cut short": lambda server: ["bokeh", server.token()[:-1]],
    "of another server": lambda server: [
        "bokeh",
        of_another_server(headers={}, cookies={}, arguments={}),
    ],
    "expired": lambda server: ["bokeh", of_another_server(-1)],
}


async def admitted(server: Server, *subprotocols: str, origin: str | None = "same") -> bool:
    """Whether the server accepts a websocket; it must not leave us waiting."""
    try:
        connection = await connect(server, *subprotocols, origin=origin)
    except (HTTPClientError, OSError):  # refused, or not even read
        return False
    first = await asyncio.wait_for(connection.read_message(), WAIT)
    await leave(connection)
    return first is not None


@pytest.mark.parametrize("offer", UNWELCOME.values(), ids=UNWELCOME)
def test_only_a_page_opens_a_websocket(
    server: Server, offer: Callable[[Server], list[str]]
) -> None:
    offered, position = offer(server), server.log_end()
    assert not asyncio.run(admitted(server, *offered))
    assert server.log_after(position).count("\n") <= 2


def test_no_token_is_unpacked_before_its_signature_is_checked(server: Server) -> None:
    unsigned = forged(__bk__zlib_=encoded(zlib.compress(b'{"x": "%s"}' % (b"0" * 30_000_000), 9)))
    with server.not_growing():
        for bomb in (unsigned, unsigned + "." + "A" * 43, of_another_server(x="0" * 30_000_000)):
            assert not asyncio.run(admitted(server, "bokeh", bomb))
    assert asyncio.run(admitted(server, "bokeh", server.token()))


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:1",
        "https://example.org",
        "null",
        "http://[",
        "http://localhost:{port}.example.org",
        "http://example.org@localhost:{port}",
        "http://localhost:{port}@example.org",
    ],
)
def test_no_other_sites_page_opens_a_websocket(server: Server, origin: str) -> None:
    origin = origin.format(port=server.port)
    assert not asyncio.run(admitted(server, "bokeh", server.token(), origin=origin))


def test_frames_sent_before_the_acknowledgement_do_no_harm(server: Server) -> None:
    handshake = [
        b"GET /app/ws HTTP/1.1",
        b"Host: localhost:%d" % server.port,
        b"Origin: http://localhost:%d" % server.port,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: bokeh, " + server.token().encode(),
    ]
    text = b"{}"
    frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text  # masked, with zeros
    position = server.log_end()
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as connection:
        connection.sendall(b"\r\n".join([*handshake, b"", frame * 3]))
        assert b"101 Switching" in connection.recv(2**16)
        time.sleep(0.3)
    assert server.log_after(position).count("\n") <= 1


def test_silent_and_repeated_connections_keep_nobody_out(server: Server) -> None:
    async def attack() -> None:
        silent = [await connect(server, "bokeh", server.token()) for _ in range(5)]
        token = server.token()
        twice = [await connect(server, "bokeh", token)]
        with contextlib.suppress(HTTPClientError):  # which may be refused
            twice.append(await connect(server, "bokeh", token))
        with contextlib.suppress(HTTPClientError):
            silent.append(await connect(server, "bokeh", server.token(), origin=None))
        await leave(twice.pop())
        async with visitor_of(server) as visitor:
            await assert_served(visitor, await complete(visitor), 12, 34)
        for connection in (*silent, *twice):
            await leave(connection)

    asyncio.run(attack())

"""Broken, large and many messages: each costs a line and its own connection at most."""

from __future__ import annotations

import asyncio
import json

import pytest

from .conftest import LINE, ROOT, Server
from .frames import BROKEN, BUFFERED, NO_EVENTS, Frames
from .visitor import changed, visitor_of


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
def test_a_broken_message_costs_a_line_and_the_connection_at_most(
    server: Server, frames: Frames
) -> None:
    async def attack() -> str:
        async with visitor_of(server) as visitor:
            position = server.log_end()
            await visitor.send(*frames)
            await visitor.send(*frames)  # which also completes an unfinished message
            await asyncio.sleep(0.1)
            return server.log_after(position)

    log = asyncio.run(attack())
    assert log.count("\n") <= 2
    assert max(map(len, log.splitlines()), default=0) <= LINE


def test_no_visitor_replaces_the_document(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            received = await visitor.request("PULL-DOC-REQ", {})
            doc = {**received[1]["doc"], "title": "replaced", "roots": []}
            answer = await visitor.request("PUSH-DOC", {"doc": doc})
            assert answer is None or answer[0]["msgtype"] != "OK"
            document = await visitor.document()
            assert document is None or document.models

    asyncio.run(attack())


def test_no_message_reveals_paths_on_the_server(server: Server) -> None:
    async def attack() -> str:
        async with visitor_of(server) as visitor:
            received = await visitor.request("PULL-DOC-REQ", {})
            return json.dumps((received[1], await visitor.patch(changed("spam", "value", 1))))

    messages = asyncio.run(attack())
    assert str(ROOT) not in messages
    assert "site-packages" not in messages


def test_a_large_message_ends_the_connection(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            assert (
                await visitor.request("PATCH-DOC", {"events": [], "spam": "x" * 1_100_000}) is None
            )

    with server.not_growing():
        asyncio.run(attack())


def test_endless_messages_take_no_memory(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            await visitor.send(BUFFERED % 10**6, "{}", NO_EVENTS)
            for _ in range(1000):
                if not await visitor.send('{"id": "a"}', b"x" * 100_000):
                    break

    with server.not_growing(), server.answering():
        asyncio.run(attack())


def test_a_thousand_frames_at_once_cost_one_line(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            await visitor.send(*["{}"] * 1000)
            await asyncio.sleep(0.3)

    position = server.log_end()
    asyncio.run(attack())
    assert server.log_after(position).count("\n") <= 1

"""A visitor who speaks to the server as a page does, or sends anything else, over a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import numpy as np
from bokeh.core.serialization import Buffer, Deserializer
from bokeh.model import Model
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from mhc_demo.app.computing import surface_of
from mhc_demo.app.state import State
from mhc_demo.figures.slices import gain_columns

from .conftest import WAIT, Server

MARK = "~"  # starts a frame that is not Bokeh's


async def connect(
    server: Server, *subprotocols: str, origin: str | None = "same"
) -> WebSocketClientConnection:
    own = {"same": f"http://localhost:{server.port}"}
    headers = {"Origin": own.get(origin, origin)} if origin else {}
    request = HTTPRequest(f"ws://localhost:{server.port}/app/ws", headers=headers)
    return await websocket_connect(request, subprotocols=list(subprotocols) or None)


LEAVING = 3  # s; what a connection that has ended already says, nobody hears


async def leave(connection: WebSocketClientConnection) -> None:
    """Close a connection as a closed page does, and let the server close it too."""
    connection.close(1000)

    async def read_to_the_end() -> None:
        while await connection.read_message() is not None:
            pass

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(read_to_the_end(), LEAVING)


class Document(NamedTuple):
    """What a visitor's browser gets: models by id, their possible properties, and buffers."""

    models: dict[str, dict[str, Any]]
    properties: dict[str, list[str]]
    buffers: list[Buffer]

    def find(self, kind: str, **attributes: object) -> dict[str, Any]:
        """The one model of that kind, whose classes are numbered, with these attributes."""
        [match] = [
            model
            for model in self.models.values()
            if re.fullmatch(kind + r"\d*", model["name"])
            and attributes.items() <= model["attributes"].items()
        ]
        return match


class Visitor:
    """Sends what a browser sends over its websocket, and anything else."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.requests = 0
        self.frames = 0  # received
        self.counted = False  # whether the server wants that count

    async def receive(self) -> tuple[dict[str, Any], dict[str, Any], list[Buffer]] | None:
        """Header, content and buffers of the next message; None if the server has closed."""

        async def frame() -> Any:
            while True:
                frame = await asyncio.wait_for(self.connection.read_message(), WAIT)
                if not (isinstance(frame, str) and frame.startswith(MARK)):
                    self.frames += 1
                    return frame
                self.counted = True

        header = await frame()
        if header is None:
            return None
        header, _, content = json.loads(header), await frame(), json.loads(await frame())
        number = header.get("num_buffers", 0)
        buffers = [Buffer(json.loads(await frame())["id"], await frame()) for _ in range(number)]
        return header, content, buffers

    async def send(self, *frames: str | bytes) -> bool:
        """Whether the frames could be sent: False if the server has closed."""
        try:
            for frame in frames:
                await self.connection.write_message(frame, binary=isinstance(frame, bytes))
        except WebSocketClosedError:
            return False
        return True

    async def request(self, kind: str, content: object) -> Any:
        """The answer to a message; None if the server closes."""
        self.requests += 1
        number = f"visitor-{self.requests}"
        header = {"msgid": number, "msgtype": kind}
        if self.counted:
            await self.send(f"{MARK}{self.frames}")
        if not await self.send(json.dumps(header), "{}", json.dumps(content)):
            return None
        while (received := await self.receive()) and received[0].get("reqid") != number:
            pass
        return received

    async def patch(self, *events: object) -> Any:
        return await self.request("PATCH-DOC", {"events": events})

    async def set(self, model: dict[str, Any], attribute: str, value: object) -> None:
        """Set a property as a browser does."""
        header, *_ = await self.patch(changed(model["id"], attribute, value))
        assert header["msgtype"] == "OK"

    async def document(self) -> Document | None:
        if not (received := await self.request("PULL-DOC-REQ", {})):
            return None
        _, content, buffers = received
        models: dict[str, dict[str, Any]] = {}

        def collect(part: Any) -> None:
            if isinstance(part, dict):
                if part.get("type") == "object":
                    models[part["id"]] = {"attributes": {}, **part}
                part = list(part.values())
            for each in part if isinstance(part, list) else ():
                collect(each)

        collect(content["doc"]["roots"])
        properties = {
            name: list(kind.properties()) for name, kind in Model.model_class_reverse_map.items()
        } | {
            kind["name"]: [each["name"] for each in kind.get("properties", ())]
            for kind in content["doc"].get("defs", ())
        }
        return Document(models, properties, buffers)


UNFOLDED = "?seed=1"
"""A link to a page that shows all controls: it sets one of those that are folded away."""


@contextlib.asynccontextmanager
async def visitor_of(server: Server, query: str = UNFOLDED) -> AsyncIterator[Visitor]:
    """A visitor with an open websocket, who leaves as a browser does when a page is closed."""
    visitor = Visitor(await connect(server, "bokeh", server.token(query)))
    received = await visitor.receive()
    assert received
    assert received[0]["msgtype"] == "ACK"
    yield visitor
    await leave(visitor.connection)


def changed(model: object, attribute: str, value: object) -> dict[str, object]:
    return {"kind": "ModelChanged", "model": {"id": model}, "attr": attribute, "new": value}


async def document_once(visitor: Visitor, ready: Callable[[Document], bool]) -> Document:
    """The document once it is ready, or as it is after some time."""
    for _ in range(100):
        document = await visitor.document()
        assert document
        if ready(document):
            break
        await asyncio.sleep(0.1)
    return document


async def complete(visitor: Visitor) -> Document:
    """The document of the whole page, most of which follows the first picture."""
    before = await visitor.document()
    assert before
    await visitor.set(before.find("BrowserWindow"), "first_picture", True)
    return await document_once(visitor, lambda now: len(now.models) > len(before.models))


async def assert_served(visitor: Visitor, page: Document, depth: int, seed: int) -> None:
    """Set another depth and seed, and get the numbers that the library computes."""
    expected = gain_columns(surface_of(State(seed=seed).key())["log10_gain"])

    def gains(document: Document) -> dict[str, Any]:
        source = document.find("ColumnDataSource", name="surface")
        return Deserializer().decode(source["attributes"]["data"], document.buffers)

    def is_right(document: Document) -> bool:
        columns = gains(document)
        return all(np.array_equal(columns[name], expected[name]) for name in expected)

    await visitor.set(page.find("Slider", state_name="depth"), "value", depth)
    await visitor.set(page.find("TextInput", name="Seed"), "value", str(seed))
    document = await document_once(visitor, is_right)
    assert is_right(document)
    query = document.find("BrowserWindow")["attributes"]["query"]
    assert f"&depth={depth}&" in query
    assert f"&seed={seed}&" in query

"""Changes of a visitor's document that no page asks for: they reach nobody else."""

from __future__ import annotations

import asyncio
import base64
import gzip
import random
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import LINE, Many, Record, Server
from .frames import BROKEN
from .visitor import Document, Visitor, assert_served, changed, complete, visitor_of


def array(of: object, dtype: object, *shape: int) -> dict[str, object]:
    return {"type": "ndarray", "array": of, "dtype": dtype, "order": "little", "shape": shape}


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 99, 10**9, -(10**9), 2**63, 10**400, 1.5, -0.5, 1e308),
    *("", "1", "spam", "<xss>", "\ud800", "\x00", "\n\n", "①", "nan", "9" * 4301, "x" * 5000),
    *([], [None], [[]], ["spam"], [1, 2, 3], {}, {"a": 1}, float("nan"), float("inf")),
    *({"type": "number", "value": value} for value in ("nan", "+inf", "-inf", "spam", None, [])),
    *({"type": kind} for kind in ("map", "set", "bytes", "slice", "ndarray", "object", "spam", [])),
    *({"type": kind} for kind in ("ref", "event", "symbol", "typed_array", "value", "field")),
    *({"type": "map", "entries": entries} for entries in ([["a", 1]], [[[1], 1]], [1], 1, None)),
    *({"type": "set", "entries": entries} for entries in ([1], [[1]], [{}], 1)),
    *({"type": "bytes", "data": data} for data in ("AA", "AAAA", {"id": "a"}, {}, 1, None)),
    *({"type": "object", "name": name, "id": "new"} for name in ("Div", "Spam", "Model", 1, None)),
    {"type": "object", "name": "Div", "id": "new", "attributes": {"text": 7, "spam": 1}},
    {"type": "object", "name": "CustomJS", "id": "new", "attributes": {"code": "<xss>"}},
    *(array([1], dtype, 1) for dtype in ("float64", "spam", "O", "V3", "M8[s]", 7, None)),
    *(array([1, 2], "float64", *shape) for shape in ((3, 3), (-1, -1), (2**40, 2**40))),
    *(
        array(of, "float64", 2)
        for of in ("spam", ["spam", 1], None, {"type": "bytes", "data": "A"})
    ),
    {"type": "typed_array", "array": ["a"], "order": "little", "dtype": "uint8"},
    {"type": "slice", "start": 1, "stop": "a", "step": 0},
    *({"id": name} for name in ("spam", 7, [], None)),
    {"type": "event", "name": "button_click", "values": {"model": 7}},
]

KINDS = [
    *("MessageSent", "ModelChanged", "ColumnDataChanged", "ColumnsStreamed", "ColumnsPatched"),
    *("TitleChanged", "RootAdded", "RootRemoved", "SessionCallbackAdded", "Spam", "", None, 7, []),
]
EVENTS = ["esm_event", "dom_event", "button_click", "tap", "document_ready", "connection_lost", "x"]


def odd_event(draw: random.Random, document: Document) -> object:
    """An event that cannot be applied to the document, or should not be."""
    name, model = draw.choice(list(document.models.items()))
    if draw.random() < 0.5:  # the page's own widgets, most of whose properties have no types
        of_page = [n for n, m in document.models.items() if m["name"][-1].isdigit()]
        name = draw.choice(of_page)
        model = document.models[name]
    value = draw.choice(VALUES)
    kind = draw.random()
    if kind < 0.7:
        properties = {*model["attributes"], *document.properties.get(model["name"], ()), "spam"}
        return changed(name, draw.choice(sorted(properties)), value)
    if kind < 0.85:
        values = {"model": {"id": name}, "data": value, "node": "x"}
        for left_out in draw.sample(list(values), draw.randint(0, 2)):
            del values[left_out]
        event = {"type": "event", "name": draw.choice(EVENTS), "values": values}
        data = event if draw.random() < 0.8 else value
        return {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": data}
    if kind < 0.97:
        event = {"kind": draw.choice(KINDS), "model": {"id": name}, "attr": "data", "new": value}
        event |= {"data": value, "patches": value, "title": value, "cols": None, "rollover": None}
        event |= {"msg_type": draw.choice(["spam", "bokeh_event", None]), "msg_data": value}
        for left_out in draw.sample(list(event), draw.randint(0, 3)):
            del event[left_out]
        return event
    return value


def roots(number: int) -> list[dict[str, Any]]:
    new = ({"type": "object", "name": "Div", "id": f"new{i}"} for i in range(number))
    return [{"kind": "RootAdded", "model": model} for model in new]


def titled(title: object) -> list[object]:
    return [{"kind": "TitleChanged", "title": title}]


def gzipped() -> dict[str, object]:
    packed = gzip.compress(b"0" * 60_000_000)
    return {"type": "bytes", "data": base64.b64encode(packed).decode()}


BOMBS: dict[str, Callable[[], list[object]]] = {
    "compressed bytes": lambda: titled(gzipped()),
    "a compressed array": lambda: titled(array(gzipped(), "uint8", 1)),
    "an array of wide text": lambda: titled(array(["a"] * 100, "S1000000", 100)),
    "many roots": lambda: [*roots(1000)],
    "many models": lambda: titled([root["model"] for root in roots(5000)]),
    "many events": lambda: [{"kind": "MessageSent", "msg_type": "spam", "msg_data": 1}] * 15_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_small_message_does_not_become_a_large_one(
    server: Server, bomb: Callable[[], list[object]], record_property: Record
) -> None:
    events = bomb()

    async def attack() -> None:
        async with visitor_of(server) as visitor:
            await visitor.patch(*events)

    with server.not_growing(), server.answering(record_property):
        asyncio.run(attack())


def test_a_thousand_changes_in_a_message_cost_one_line(server: Server) -> None:
    async def attack() -> int:
        async with visitor_of(server) as visitor:
            document = await visitor.document()
            assert document
            slider = document.find("Slider", state_name="depth")["id"]
            position = server.log_end()
            await visitor.patch(*[changed(slider, f"spam{i}", i) for i in range(1000)])
            await visitor.patch(*[changed(slider, "value", 1000 + i) for i in range(1000)])
            await asyncio.sleep(0.2)
            return server.log_after(position).count("\n")

    assert asyncio.run(attack()) <= 2


def test_odd_messages_cost_a_line_each_and_do_not_harm_others(
    server: Server, many: Many, record_property: Record
) -> None:
    views = [
        "",
        "?view=cost",
        "?view=lab",
        "?view=matrices",
        "?scene=dial",
        "?embed=1",
        "?present=1",
    ]
    batch = 25
    draw = random.Random(2)

    async def attack(attacker: Visitor) -> int:
        """How many messages it could send."""
        document = await complete(attacker)
        for sent in range(1, batch):
            events = [odd_event(draw, document) for _ in range(draw.choice([1, 1, 1, 2]))]
            if not await attacker.patch(*events):
                return sent  # because the server has closed
        await attacker.send(*draw.choice(list(BROKEN.values())))
        return batch

    async def attacks(number: int) -> None:
        async with visitor_of(server) as bystander:
            page = await complete(bystander)
            for _ in range(number // batch):
                position = server.log_end()
                async with visitor_of(server, draw.choice(views)) as attacker:
                    sent = await attack(attacker)
                    await asyncio.sleep(0.2)  # until Panel has gathered the changes
                log = server.log_after(position)
                assert "Traceback" not in log, log[-2000:]
                assert log.count("\n") <= sent, log[-2000:]
                assert max(map(len, log.splitlines()), default=0) <= LINE
                depth, seed = draw.randint(2, 120), draw.randint(1, 9999)
                await assert_served(bystander, page, depth, seed)

    with server.answering(record_property):
        asyncio.run(attacks(many(100, 2000)))

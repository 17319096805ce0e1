"""Frames are numbered, and kept until the browser has them: in order, once, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from bokeh.protocol import Protocol
from tornado.iostream import StreamClosedError

from mhc_demo.app import lasting
from mhc_demo.app.faults import UnwantedError
from mhc_demo.app.lasting import MARK, Line, check, lines


class Wire:
    """What a websocket's protocol sends, in a list."""

    def __init__(self) -> None:
        self.frames: list[str | bytes] = []
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def write_message(self, message: str | bytes, binary: bool = False) -> asyncio.Future[None]:
        self.frames.append(message)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def close(self, code: int | None = None) -> None:
        self.closed = True

    @property
    def stream(self) -> Wire:
        """Closing it cuts the connection."""
        return self


class Loop:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def call_later(self, seconds: float, then: Any) -> Any:
        self.due.append(then)
        return then

    def remove_timeout(self, then: Any) -> None:
        self.due.remove(then)


class Home:
    """A handler that hears when its line has ended."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.application = SimpleNamespace(io_loop=self.loop)
        self.left = 0

    def leave(self) -> None:
        self.left += 1


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert lines == {}


def run(story: Any) -> None:
    async def told() -> None:
        wire, home = Wire(), Home()
        line = Line("token", home, wire)  # type: ignore[arg-type]
        assert lines == {"token": line}
        assert wire.frames == [f"{MARK}0"]
        await story(line, wire, home)
        line.end()
        assert home.left == 1
        assert home.loop.due == []

    asyncio.run(told())


def test_another_wire_gets_what_the_browser_has_not_in_order_and_once() -> None:
    async def story(line: Line, wire: Wire, home: Home) -> None:
        for message in ("a", "b", "c"):
            await line.write_message(message)
        line.acknowledge(1)
        line.lose(left=False)
        assert not line.is_closing()
        await line.write_message("d")
        await line.write_message(b"e", binary=True)
        line.received = 7
        again = Wire()
        assert line.holds(2)
        line.resume(again, 2)  # type: ignore[arg-type]
        await line.write_message("f")
        assert again.frames == [f"{MARK}7", "c", "d", b"e", "f"]
        assert home.loop.due == []  # it waits for nobody any more

    run(story)


def test_a_wire_that_went_without_a_word_is_closed() -> None:
    async def story(line: Line, wire: Wire, home: Home) -> None:
        line.resume(Wire(), 0)  # type: ignore[arg-type]
        assert wire.closed
        assert not line.is_closing()

    run(story)


def test_counts_that_cannot_be_are_not_taken() -> None:
    async def story(line: Line, wire: Wire, home: Home) -> None:
        await line.write_message("a")
        await line.write_message("b")
        assert [line.holds(count) for count in (0, 1, 2, 3, 10**15)] == [
            True,
            True,
            True,
            False,
            False,
        ]
        line.acknowledge(1)
        assert not line.holds(0)  # it is gone

    run(story)


def test_it_ends_when_the_page_is_left_and_when_nobody_comes_back() -> None:
    async def left(line: Line, wire: Wire, home: Home) -> None:
        line.lose(left=True)
        assert line.is_closing()

    async def lost(line: Line, wire: Wire, home: Home) -> None:
        line.lose(left=False)
        (end,) = home.loop.due
        end()
        assert line.is_closing()

    run(left)
    run(lost)


def test_a_browser_that_takes_nothing_costs_so_much_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lasting, "MOST", 100)

    monkeypatch.setattr(lasting, "MOST_READ", 50)

    async def story(line: Line, wire: Wire, home: Home) -> None:
        line.lose(left=False)
        await line.write_message("x" * 60)
        assert not line.is_closing()
        await line.write_message("x" * 60)
        assert line.is_closing()

    run(story)


def test_lines_that_keep_most_or_waited_longest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "MOST_IN_ALL", 100)
    monkeypatch.setattr(lasting, "MOST_LOST", 2)

    async def told() -> None:
        few, much = (Line(name, Home(), Wire()) for name in ("few", "much"))  # type: ignore[arg-type]
        await few.write_message("x" * 30)
        await much.write_message("x" * 90)
        lasting.make_room()
        assert (few.ended, much.ended) == (False, True)
        more = [Line(str(i), Home(), Wire()) for i in range(3)]  # type: ignore[arg-type]
        for i, line in enumerate(more):
            line.lose(left=False)
            line.lost_at = float(i)
        lasting.make_room()
        assert [line.ended for line in more] == [True, False, False]
        for line in list(lines.values()):
            line.end()

    asyncio.run(told())


def patch(content: str) -> Any:
    return Protocol().assemble('{"msgid": "1", "msgtype": "PATCH-DOC"}', "{}", content)


@pytest.mark.parametrize(
    "events",
    [
        '[{"kind": "ModelChanged", "model": {"id": "p1"}, "attr": "value", "new": 3}]',
        '[{"kind": "ModelChanged", "model": {"id": "p1"}, "new": [null, {"a": 1}]}]',
        '[{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": {"type": "event"}}]',
    ],
)
def test_what_the_page_sends_passes(events: str) -> None:
    check(patch(f'{{"events": {events}}}'))


@pytest.mark.parametrize(
    "events",
    [
        '[{"kind": "RootAdded", "model": {"id": "p1"}}]',
        '[{"kind": "MessageSent", "msg_type": "spam", "msg_data": null}]',
        '[{"kind": "ModelChanged", "new": {"type": "bytes", "data": "H4sI"}}]',
        '[{"kind": "ModelChanged", "new": [[{"type": "ndarray", "dtype": "S10000000"}]]}]',
        '[{"kind": "ModelChanged", "new": ' + 70 * "[" + 70 * "]" + "}]",
        '[{"kind": "ModelChanged", "new": [' + ",".join(100_001 * "1") + "]}]",
        "[" + ",".join(301 * ['{"kind": "ModelChanged"}']) + "]",
        "[" + ",".join(6 * ['{"kind": "MessageSent", "msg_type": "bokeh_event"}']) + "]",
        '{"kind": "ModelChanged"}',
    ],
)
def test_what_it_does_not_is_refused_before_it_is_unpacked(events: str) -> None:
    with pytest.raises(UnwantedError):
        check(patch(f'{{"events": {events}}}'))


class Stream:
    """What is written to a socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.written: list[bytes] = []
        self.nodelay = self.shut = False
        self.io_loop = SimpleNamespace(add_callback=loop.call_soon)

    def set_nodelay(self, value: bool) -> None:
        self.nodelay = value

    def closed(self) -> bool:
        return self.shut

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        if self.shut:
            raise StreamClosedError
        self.written.append(bytes(data))
        return lasting._done()


def test_frames_of_one_turn_go_out_together_and_a_farewell_at_once() -> None:
    text, farewell = b"\x81\x01a", b"\x88\x00"

    async def write() -> None:
        stream: Any = Stream(asyncio.get_running_loop())
        lasting.gather_writes(stream)
        assert stream.nodelay
        for _ in range(3):
            await stream.write(text)
        assert stream.written == []
        await asyncio.sleep(0)
        assert stream.written == [3 * text]
        stream.write(memoryview(text))
        stream.write(farewell)
        assert stream.written == [3 * text, text + farewell]
        stream.write(text)
        stream.shut = True
        await asyncio.sleep(0)  # what was waiting is kept by the line
        with pytest.raises(StreamClosedError):
            stream.write(text)
        assert stream.written == [3 * text, text + farewell]

    asyncio.run(write())

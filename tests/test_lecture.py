"""A lecture that the hall follows: what happens in it, who may say so, and over which wires."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhc_demo.app import broker as brokers
from mhc_demo.app import lecture
from mhc_demo.app.broker import Broker
from mhc_demo.app.faults import UnwantedError
from mhc_demo.app.first import where_the_lecture_is
from mhc_demo.app.following import bring, values_of
from mhc_demo.app.lecture import LARGEST_GUESS, Hall, Paced, guess_of, new_name
from mhc_demo.app.state import PLACE_PARAMETERS, State
from mhc_demo.cli import main
from mhc_demo.hall import check as checking
from mhc_demo.hall.account import account
from mhc_demo.hall.check import Found, check
from mhc_demo.hall.crowd import Plan
from mhc_demo.hall.drawing import changed
from mhc_demo.hall.lecturer import follower_s, lead, page_of
from mhc_demo.hall.server import own_server
from mhc_demo.hall.visitor import BAR, SEED, WINDOW, Message, RefusedError, Visitor
from mhc_demo.story.scenes import SCENES

KEY = "a-key-that-nobody-guesses"
WAIT = 60.0  # s; whatever takes longer has hung
FIRST, SECOND, THIRD = list(SCENES)[:3]


async def until(true: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(WAIT):
        while not true():
            await asyncio.sleep(0.02)


# ---- what happens -------------------------------------------------------------------------------


def test_the_last_guess_of_each_page_counts_in_its_scene_until_it_is_cleared() -> None:
    hall, told = Hall(KEY), []
    hall.on_numbers.append(lambda: told.append(hall.guesses(FIRST)))
    one, other = new_name(), new_name()
    hall.guess(one, FIRST, 3)
    hall.guess(other, FIRST, 5.5)
    hall.guess(one, FIRST, 4)
    hall.guess(one, SECOND, 16)
    assert told == [[3.0], [3.0, 5.5], [4.0, 5.5], [4.0, 5.5]]
    hall.clear(FIRST)
    assert hall.guesses(FIRST) == []
    assert hall.guesses(SECOND) == [16.0]


def test_no_more_guesses_are_kept_than_a_plot_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lecture, "MOST_GUESSES", 3)
    hall = Hall(KEY)
    pages = [new_name() for _ in range(5)]
    for number, page in enumerate(pages):
        hall.guess(page, FIRST, number)
    hall.guess(pages[0], FIRST, 7)  # who is heard may still change its mind
    assert hall.guesses(FIRST) == [7.0, 1.0, 2.0]


def test_a_process_that_is_silent_for_long_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(KEY)
    hall.count(2)
    hall.take({"followers": [new_name(), 40]})
    assert hall.followers == 42
    now = time.monotonic() + lecture.GONE + 1
    monkeypatch.setattr(lecture.time, "monotonic", lambda: now)
    assert hall.followers == hall.followers_here() == 2


NO_GUESSES: list[Any] = [math.nan, math.inf, -401, 400.5, 10**400, True, "3", None, [3], {}, 3j]
MESSAGES: list[object] = [
    None, [], "?depth=3", {}, {"place": ""}, {"place": "depth=3"}, {"place": 3},
    {"place": "?" + "x" * lecture.LONGEST_PLACE}, {"place": "?a=\n"}, {"place": "?ü"},
    {"place": "?depth=3", "more": 1}, {"clear": "no scene"}, {"clear": [FIRST]},
    {"guess": [FIRST, "page", 3]}, {"guess": ["no scene", "0" * 16, 3]}, {"guess": [FIRST, 3]},
    {"guess": [FIRST, "0" * 16, 3], "more": 1}, {"followers": ["0" * 16, -1]},
    {"followers": ["0" * 16, 10**9]}, {"followers": ["0" * 16, 1.0]}, {"lead": KEY},
    *({"guess": [FIRST, "0" * 16, value]} for value in NO_GUESSES),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: repr(message)[:60])
def test_what_is_no_message_of_a_lecture_changes_nothing(message: object) -> None:
    hall = Hall(KEY)
    hall.on_place.append(pytest.fail)
    hall.on_numbers.append(pytest.fail)
    with pytest.raises(UnwantedError):
        hall.take(message)
    assert (hall.place, hall.guesses(FIRST), hall.followers) == ("", [], 0)


@pytest.mark.parametrize(
    "given",
    [
        None, [], "surge", {}, {"scene": FIRST}, {"value": 3}, {"scene": SECOND, "value": 3},
        {"scene": "no scene", "value": 3}, {"scene": FIRST, "value": 3, "page": "x"},
        {"scene": [FIRST], "value": 3}, *({"scene": FIRST, "value": v} for v in NO_GUESSES),
    ],
    ids=lambda given: repr(given)[:60],
)  # fmt: skip
def test_what_is_no_guess_in_the_present_scene_is_refused(given: object) -> None:
    with pytest.raises(UnwantedError):
        guess_of(given, FIRST)


@given(st.floats(-LARGEST_GUESS, LARGEST_GUESS) | st.integers(-400, 400))
def test_any_number_that_a_plot_can_show_is_a_guess(value: float) -> None:
    assert guess_of({"scene": FIRST, "value": value}, FIRST) == value


def test_without_a_scene_nothing_is_guessed() -> None:
    with pytest.raises(UnwantedError):
        guess_of({"scene": "", "value": 3}, "")


@pytest.mark.parametrize("key", ["", "short", "x" * 129, "a key with blanks in it", "ü" * 20])
def test_a_key_that_can_be_guessed_or_needs_quoting_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="16 to 128 letters, digits, - or _"):
        Hall(key)


def test_only_the_key_leads() -> None:
    hall = Hall(KEY)
    assert hall.is_led_by(KEY)
    for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), "\ud800"):
        assert not hall.is_led_by(wrong)


def test_what_is_wished_often_is_done_at_once_and_once_more() -> None:
    async def story() -> None:
        done: list[int] = []
        wishes = 0
        paced = Paced(lambda: done.append(wishes), 0.05)
        for _ in range(1000):
            wishes += 1
            paced()
        await until(lambda: done)
        assert done == [1000]
        for _ in range(1000):
            wishes += 1
            paced()
        assert done == [1000]
        await until(lambda: len(done) > 1)
        assert done == [1000, 2000]
        paced()
        paced(at_once=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert done == [1000, 2000, 2000]
        paced()
        paced.stop()
        await asyncio.sleep(0.1)
        assert len(done) == 3

    asyncio.run(story())


# ---- places --------------------------------------------------------------------------------------


def test_a_place_is_the_state_but_for_what_each_page_chooses() -> None:
    there = State(scene="dial", depth=23, theme="dark", present=True, own=[1.0, 0.5, 0.5, 1.0])
    query = there.query(whole=False)
    assert "theme" not in query
    assert "present" not in query
    assert values_of(query) == {name: getattr(there, name) for name in PLACE_PARAMETERS}


@given(
    st.text(max_size=60) | st.sampled_from(["?depth=999", "?view=x&scene=y", "?" + "a=1&" * 200])
)
def test_whatever_a_place_says_pages_can_go_there(query: str) -> None:
    State(**values_of(query))


def test_a_page_alone_does_not_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(follow=True)
    bring(state)
    assert not state.follow
    assert state.notices == ["There is no lecture to follow on this server."]
    monkeypatch.setattr(lecture, "hall", Hall(KEY))
    state = State(follow=True)
    bring(state)
    assert (state.follow, state.notices) == (False, [])


def test_who_comes_late_opens_the_page_of_the_present_scene(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = (("depth", b"3"), ("follow", b"1"), ("theme", b"dark"))
    assert where_the_lecture_is(link) == link
    hall = Hall(KEY)
    monkeypatch.setattr(lecture, "hall", hall)
    assert where_the_lecture_is(link) == link
    hall.show("?depth=64&scene=dial")
    there = (("depth", b"64"), ("follow", b"1"), ("scene", b"dial"), ("theme", b"dark"))
    assert where_the_lecture_is(link) == there
    for other in (link[:1], (*link, ("embed", b"1")), (("follow", b"0"),)):
        assert where_the_lecture_is(other) == other


# ---- over a websocket ----------------------------------------------------------------------------


class Watcher(Visitor):
    """A visitor who remembers what the page was told."""

    def _heed(self, message: Message) -> None:
        super()._heed(message)
        for event in message.content.get("events", ()):
            for what in (SEED, BAR):
                if "model" in event and self._is(event, what):
                    self.values[f"{what}.{event['attr']}"] = event.get("new")

    @property
    def scene(self) -> str:
        """Where the page is."""
        return self.query.get("scene", "")

    async def send(self, *events: object) -> None:
        """A patch, without waiting for the answer."""
        assert self.line is not None
        header = json.dumps({"msgid": "forged", "msgtype": "PATCH-DOC"})
        await self.line._send(header, "{}", json.dumps({"events": events}))

    async def guess(self, text: str) -> None:
        """What a browser sends when its reader guesses."""
        assert self.line is not None
        await self.line._send(f"guess {text}")


@contextlib.asynccontextmanager
async def visiting(*links: str) -> AsyncIterator[list[Watcher]]:
    """Visitors with the live page."""
    visitors = [Watcher(link, number) for number, link in enumerate(links)]
    try:
        async with asyncio.timeout(WAIT):
            for visitor in visitors:
                assert (await visitor.open()).why_not == ""
                await visitor.join(wanted=True)
                await visitor.see()
        yield visitors
    finally:
        for visitor in visitors:
            await visitor.leave()


async def leads(visitor: Watcher) -> None:
    await visitor.set(BAR, "key", KEY)
    await until(lambda: visitor.values[BAR] == "leads")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with own_server("--hall-key", KEY) as (address, _):
        yield address


def test_those_who_follow_go_where_the_lecturer_goes_and_nobody_else_steers(address: str) -> None:
    async def story() -> None:
        async with visiting(address, address, *2 * [follower_s(address)]) as visitors:
            lecturer, stranger, *followers = visitors
            for wrong in ("x" * len(KEY), KEY[:-1]):
                await stranger.set(BAR, "key", wrong)
            await until(lambda: stranger.refused)
            await leads(lecturer)
            await until(lambda: stranger.values[BAR] == "explores")
            await stranger.set(BAR, "role", "leads")  # its browser may write anything
            await until(lambda: lecturer.values.get(f"{BAR}.followers") == 2)
            await lecturer.set(SEED, "scene", SECOND)
            for each in followers:
                await until(lambda each=each: each.scene == SECOND)
                assert "present" not in each.query

            # From pages that follow nothing gets through; from others, nothing that leads.
            await stranger.set(SEED, "scene", "cost")
            for each in followers:
                await each.send(changed(each.known[SEED], "scene", "cost"))
                await each.send(changed(each.known[BAR], "key", KEY))
                await each.send(changed(each.known[BAR], "role", "leads"))
                await each.send(changed(each.known[WINDOW], "back", "1 ?scene=cost"))
            await lecturer.set(SEED, "scene", THIRD)
            for each in followers:
                await until(lambda each=each: each.scene == THIRD)
                assert {scene for scene, _ in each.seen} <= {FIRST, SECOND, THIRD, ""}

            async with visiting(follower_s(address)) as [late]:
                assert late.scene == THIRD
                await until(lambda: lecturer.values[f"{BAR}.followers"] == 3)
            await until(lambda: lecturer.values[f"{BAR}.followers"] == 2)

    asyncio.run(story())


def test_guesses_arrive_at_the_lecturer_s_page_alone_and_can_be_cleared(address: str) -> None:
    async def story() -> None:
        async with visiting(address, address, *2 * [follower_s(address)]) as visitors:
            lecturer, stranger, one, other = visitors
            await leads(lecturer)
            await lecturer.set(SEED, "scene", SECOND)
            for each in (one, other):
                await until(lambda each=each: each.scene == SECOND)
            bad = [f'{{"scene": "{THIRD}", "value": 1}}', "{", "NaN", "[" * 250, "x" * 1000]
            bad += [
                f'{{"scene": "{SECOND}", "value": {value}}}' for value in ("NaN", "1e9", "true")
            ]
            for text in bad:
                await one.guess(text)
            for value in range(50):  # dragged
                await one.guess(f'{{"scene": "{SECOND}", "value": {value}}}')
            await other.guess(f'{{"scene": "{SECOND}", "value": -2.5}}')
            others = f"{SEED}.others"
            await until(lambda: sorted(lecturer.values.get(others, [])) == [-2.5, 49])
            assert lecturer.values[f"{BAR}.guessed"] == 2
            for each in (stranger, one, other):
                assert others not in each.values

            await stranger.set(SEED, "wish", "clear 1")
            await one.send(changed(one.known[SEED], "wish", "clear 1"))
            await other.guess(f'{{"scene": "{SECOND}", "value": -3}}')
            await until(lambda: sorted(lecturer.values[others]) == [-3, 49])
            await lecturer.set(SEED, "wish", "clear 1")
            await until(lambda: lecturer.values[others] == [])
            await lecturer.set(SEED, "scene", FIRST)

    asyncio.run(story())


def test_a_page_that_follows_goes_on_over_another_connection(address: str) -> None:
    async def story() -> None:
        async with visiting(address, follower_s(address)) as [lecturer, follower]:
            await leads(lecturer)
            assert follower.line is not None
            wire = follower.line._wire
            assert wire is not None
            wire.stream.close()  # as a network does, without a word
            for scene in (SECOND, THIRD):
                await lecturer.set(SEED, "scene", scene)
            await until(lambda: follower.scene == THIRD)
            assert follower.line.resumed == 1

    asyncio.run(story())


def test_the_crowd_s_lecturer_is_told_why_it_may_not_lead(address: str) -> None:
    with pytest.raises(RefusedError, match="not the one that the server printed"):
        asyncio.run(lead(address, "x" * 20, moves=1, every=0.0))


# ---- through a broker ----------------------------------------------------------------------------

SERVER = next(
    (
        found
        for name in ("redis-server", "valkey-server")
        if (found := shutil.which(name, path=f"{Path(sys.executable).parent}:{os.defpath}"))
    ),
    None,
)
needs_server = pytest.mark.skipif(
    SERVER is None, reason="there is no redis-server or valkey-server"
)


@contextlib.contextmanager
def redis(port: int | None = None) -> Iterator[str]:
    """The address of a broker, on a port of its own, that keeps nothing."""
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([str(SERVER), *options], stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@contextlib.asynccontextmanager
async def process(url: str, key: str = KEY) -> AsyncIterator[Hall]:
    """A hall that hears others by the broker, as a process of a server has one."""
    hall = Hall(key)
    relay = Broker(hall, url, key)
    running = asyncio.create_task(relay.run())
    try:
        async with asyncio.timeout(WAIT):
            await relay.connected.wait()
        yield hall
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@needs_server
def test_processes_of_one_lecture_know_the_same_by_the_broker() -> None:
    async def story() -> None:
        page = new_name()
        with redis() as url:
            async with process(url) as one, process(url) as two, process(url, "k" * 16) as third:
                one.show("?depth=3")
                one.guess(page, FIRST, 4)
                one.count(7)
                await until(lambda: two.place and two.guesses(FIRST) and two.followers)
                assert (two.place, two.guesses(FIRST), two.followers) == ("?depth=3", [4.0], 7)
                async with process(url) as late:
                    assert (late.place, late.guesses(FIRST)) == ("?depth=3", [4.0])
                    for number in range(500):  # the last one is where they end
                        two.show(f"?depth={number}")
                    two.guess(page, FIRST, 5)
                    await until(lambda: one.place == late.place == "?depth=499")
                    await until(lambda: one.guesses(FIRST) == late.guesses(FIRST) == [5.0])
                    late.clear(FIRST)
                    await until(lambda: one.guesses(FIRST) == two.guesses(FIRST) == [])
                assert (third.place, third.guesses(FIRST), third.followers) == ("", [], 0)
            async with process(url) as later:
                assert (later.place, later.guesses(FIRST)) == ("?depth=499", [])

    asyncio.run(story())


@needs_server
def test_what_others_write_to_the_broker_is_checked() -> None:
    async def story() -> None:
        import redis.asyncio

        with globals()["redis"]() as url:
            client = redis.asyncio.from_url(url)
            async with process(url) as hall:
                [channel] = await client.pubsub_channels("mhc-demo:*")
                assert KEY.encode() not in channel
                forged = ["", "[" * 5000, "\xff", "x" * 20_000, "3", '{"said": {"place": "?a=1"}}']
                forged += [json.dumps({"from": "x", "said": message}) for message in MESSAGES[:-1]]
                for text in forged:
                    await client.publish(channel, text)
                await client.publish(channel, json.dumps({"from": "x", "said": {"place": "?a=1"}}))
                await until(lambda: hall.place)
                assert (hall.place, hall.guesses(FIRST), hall.followers) == ("?a=1", [], 0)
            await client.set(channel, b"\xff\n")
            await client.hset(channel.decode() + ":" + FIRST, mapping={b"\xff": "1", "a": "nan"})
            async with process(url) as hall:
                assert (hall.place, hall.guesses(FIRST)) == ("", [])
            await client.aclose()

    asyncio.run(story())


@needs_server
def test_a_broker_that_was_away_is_told_where_the_lecturer_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(brokers, "AGAIN", 0.05)

    async def story() -> None:
        with redis() as url:
            port = int(url.rpartition(":")[2])
            processes = contextlib.AsyncExitStack()
            one = await processes.enter_async_context(process(url))
            two = await processes.enter_async_context(process(url))
            one.leading = 1
            one.show("?depth=1")
            await until(lambda: two.place == "?depth=1")
        async with processes:
            one.show("?depth=2")
            one.guess(new_name(), FIRST, 3)
            with redis(port) as url:
                await until(lambda: two.place == "?depth=2" and two.guesses(FIRST) == [3.0])
                async with process(url) as late:
                    assert late.place == "?depth=2"

    asyncio.run(story())


@pytest.mark.long
@needs_server
def test_pages_of_several_processes_follow_one_lecturer() -> None:
    async def story(address: str) -> None:
        async with visiting(address, *4 * [follower_s(address)]) as [lecturer, *followers]:
            await leads(lecturer)
            await until(lambda: lecturer.values.get(f"{BAR}.followers") == 4)
            await lecturer.set(SEED, "scene", THIRD)
            for number, each in enumerate(followers):
                await until(lambda each=each: each.scene == THIRD)
                await each.guess(f'{{"scene": "{THIRD}", "value": {number}}}')
            others = f"{SEED}.others"
            await until(lambda: sorted(lecturer.values.get(others, [])) == [0, 1, 2, 3])

    options = ("--num-procs", "2", "--hall-key", KEY, "--broker")
    with redis() as url, own_server(*options, url) as (address, _):
        asyncio.run(story(address))


# ---- how soon ------------------------------------------------------------------------------------


def test_a_crowd_follows_a_lecturer_and_is_accounted_for(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "EVERY", 0.5)
    monkeypatch.setattr(checking, "SETTLING", 0.0)
    plan = Plan(follower_s(address), visitors=2, within=0.0, every=0.1, follow=1)
    found = check(plan, lecturer=(address, KEY))
    assert [len(change) for change in found.followed] == [2]
    assert len(found.moved) == 2
    assert "1, seen by 2 of 2 pages that follow" in account(found)


def test_who_did_not_see_a_change_waits_for_ever() -> None:
    plan = Plan("http://localhost/app", visitors=2, follow=2)
    said = account(Found(plan, followed=[[0.25, 0.5], [0.125, None]]))
    assert "2, seen by 3 of 4 pages that follow" in said
    assert "250 ms median, inf ms 95th percentile" in said


# ---- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("serve --hall --num-procs 2", "argument --hall: with --num-procs 2 the processes need"),
        ("serve --hall-key short", "argument --hall-key: a key has 16 to 128 letters"),
        ("serve --hall --broker http://x", "argument --broker: 'http://x' is not the address"),
        ("serve --hall --broker redis://", "argument --broker: 'redis://' is not the address"),
        ("check-hall http://localhost/app --follow 3", "argument --follow: the URL must be the"),
    ],
)
def test_a_hall_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_without_the_client_a_broker_is_refused_with_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SystemExit):
        main(["serve", "--hall", "--broker", "redis://localhost"])
    assert "argument --broker: the Python package redis is not" in capsys.readouterr().err


def test_a_lecturer_s_link_is_taken_apart() -> None:
    assert page_of(f"http://a:1/app?depth=3#lead={KEY}") == ("http://a:1/app?depth=3", KEY)
    assert page_of("http://a:1/app#other") == ("http://a:1/app", "")

"""The visitors of `mhc-demo check-hall` do what a browser does, and count what comes over the wire.

Nothing here is timed: how long things take is for `benchmarks/load.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from bokeh.core.serialization import Buffer, Deserializer
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from mhc_demo.app import lasting, opening
from mhc_demo.app.computing import surface_of
from mhc_demo.app.state import State
from mhc_demo.cli import check_hall, main
from mhc_demo.cli.options import from_environment
from mhc_demo.figures.slices import gain_columns
from mhc_demo.hall import line
from mhc_demo.hall import visitor as visiting
from mhc_demo.hall.account import account, quantile
from mhc_demo.hall.browser import Browser, RefusedError, loaded_by
from mhc_demo.hall.check import Change, Found, check, parts_for
from mhc_demo.hall.crowd import Plan
from mhc_demo.hall.server import Load, NoServerError, own_server
from mhc_demo.hall.visitor import WANTED, WIDGETS, Message, Opening, Page, Visitor
from mhc_demo.scripts import PAGE, text_of

WAIT = 60.0  # s; whatever takes longer has hung


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured here, so there is nothing to wait for before it."""
    monkeypatch.setattr("mhc_demo.hall.check.SETTLING", 0.0)
    monkeypatch.setattr("mhc_demo.hall.check.GONE", 0.5)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a page that is served."""
    with own_server() as (address, _):
        yield address


# ---- with the server ---------------------------------------------------------------------------


def table_in(message: Message) -> dict[str, Any]:
    """The columns of the table that a message brings."""
    buffers = [Buffer(name, data) for name, data in message.buffers.items()]
    for event in message.content["events"]:
        data = event.get("new", event.get("data"))
        if event.get("attr") == "data" and "forward.median" in json.dumps(data):
            return Deserializer().decode(data, buffers)
    raise AssertionError("no table")


async def visit(address: str, number: int) -> tuple[Opening, Visitor]:
    """Open the page, see it, change two things, and leave."""
    visitor = Visitor(address, number)
    try:
        async with asyncio.timeout(WAIT):
            opened = await visitor.open()
            assert opened.why_not == ""
            assert not opened.live  # a first picture needs no session
            await visitor.join(wanted=True)
            await visitor.see()
            for _ in range(2):
                await visitor.change()
    finally:
        await visitor.leave()
    return opened, visitor


@pytest.mark.long
def test_visitors_open_the_page_and_get_the_tables_that_they_ask_for(address: str) -> None:
    async def visits() -> list[tuple[Opening, Visitor]]:
        return await asyncio.gather(*(visit(address, number) for number in range(3)))

    for number, (opened, visitor) in enumerate(asyncio.run(visits())):
        assert opened.number == number
        assert opened.first_bytes is not None
        assert opened.picture is not None
        assert 0 < opened.first_bytes < opened.picture
        state = State()
        state.read({name: [value] for name, value in visitor.query.items()})
        assert state.notices == []
        shown = {name: float(getattr(state, name)) for name in WIDGETS.values()}
        assert shown == {name: float(visitor.values[name]) for name in WIDGETS.values()}
        names = (*WIDGETS.values(), "seed")
        assert any(getattr(state, name) != State.param[name].default for name in names)
        assert visitor.answer is not None
        got = table_in(visitor.answer)
        for name, column in gain_columns(surface_of(state.key())["log10_gain"]).items():
            np.testing.assert_array_equal(got[name], column)


@pytest.mark.long
def test_a_page_goes_on_over_another_connection(address: str) -> None:
    async def story() -> None:
        visitor = Visitor(address)
        async with asyncio.timeout(WAIT):
            assert (await visitor.open()).why_not == ""
            await visitor.join(wanted=True)
            await visitor.see()
            await visitor.change()
            assert visitor.line is not None
            assert visitor.line.resumed == 0
            wire = visitor.line._wire
            assert wire is not None
            wire.stream.close()  # as a network does, without a word
            await visitor.change()
            assert visitor.line.resumed == 1
            assert visitor.line.lost == ""
        await visitor.leave()

    asyncio.run(story())


def test_a_browser_loads_the_page_s_scripts_once(address: str) -> None:
    async def twice() -> tuple[list[int], list[set[str]]]:
        visitor = Visitor(address, returns=True)
        received, kept = [], []
        for _ in range(2):
            before = visitor.browser.bytes_received
            assert (await visitor.open()).why_not == ""
            await visitor.join(wanted=True)
            received.append(visitor.browser.bytes_received - before)
            kept.append(set(visitor.browser.kept))
            await visitor.hang_up()
        await visitor.leave()
        return received, kept

    (first, second), (before, after) = asyncio.run(twice())
    names = {address.partition("?")[0].rpartition("/")[2] for address in before}
    assert {*PAGE, "bokeh.min.js", "panel-material-ui.bundle.js"} <= names
    assert after == before
    assert first > 100 * second > 0


def test_a_hall_plays_and_is_accounted_for(address: str) -> None:
    plan = Plan(address, visitors=4, within=0.0, play=1.0, players=3, every=0.5)
    found = check(plan)
    assert [each.number for each in found.served] == [0, 1, 2, 3]
    assert found.lost == []
    assert found.players == 3
    assert len(found.changes) >= found.players  # each makes its first within half a second
    assert len(found.answered) == len(found.changes)
    assert found.first_opening is not None
    # Nobody but the first browser of all has seen the page before.
    smallest = min(each.received for each in found.served)
    assert 0.2 * found.first_opening.received < smallest < 0.5 * found.first_opening.received
    assert found.live or found.joined
    said = account(found)
    assert "4 of 4 openings served" in said
    assert "by 3 visitors" in said


@pytest.mark.long
def test_the_command_starts_a_server_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check-hall", "--visitors", "2", "--within", "0"]) == 0
    said = capfd.readouterr().out
    assert "2 of 2 openings served" in said
    for words in ("visitor 1 ", "visitor 2 ", "95th percentile", "longest silence"):
        assert words in said
    if Load.missing() is None:
        assert "ran out" in said


@pytest.mark.long
def test_a_server_that_goes_away_is_told_in_a_sentence() -> None:
    with own_server() as (address, server):

        def kill(said: str) -> None:
            if "play" in said:
                server.kill()

        plan = Plan(address, visitors=1, within=0.0, play=600.0)
        with pytest.raises(NoServerError, match=r"^the server at http://\S+ went away: no answer"):
            check(plan, tell=kill)


def test_nobody_at_the_address_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    [listening, *_] = bind_sockets(0, "127.0.0.1")
    port = listening.getsockname()[1]
    listening.close()
    assert main(["check-hall", f"http://127.0.0.1:{port}/app"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"mhc-demo: the page at http://127.0.0.1:{port}/app cannot be opened: ")
    assert said.count("\n") == 1


def test_a_process_with_visitors_ends_with_who_started_it() -> None:
    told = {"plan": asdict(Plan("http://localhost:9/app", visitors=1)), "part": 0, "parts": 1}
    done = subprocess.run(
        [sys.executable, "-m", "mhc_demo.hall"],
        input=json.dumps(told) + "\n",
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == 0
    assert done.stderr == ""


# ---- with answers made up ----------------------------------------------------------------------


class Tokenless(RequestHandler):
    """A page without a token, and with what a browser loads and what it does not."""

    def get(self) -> None:
        self.set_header("Set-Cookie", "home=2; Path=/")
        self.write(
            '<link rel="stylesheet" href="a.css"><link rel="next" href="b.css">'
            '<script src="/c.js"></script><script src="http://example.org/d.js"></script>'
            '<script type="module">import {x} from "./e.js"; import("./f.mjs")</script>'
        )


class Token(RequestHandler):
    """What the page asks for when it is there."""

    def get(self) -> None:
        asked = self.request.query
        if self.request.headers[WANTED] == "0":
            self.set_status(202)
            self.write({"seconds": 1.5})
        else:
            self.write({"token": f"{asked} {self.get_cookie('home')}"} if asked else {"spam": 1})


BODY = gzip.compress(b"x" * 10_000)


class Compressed(RequestHandler):
    """A file of a known length on the wire."""

    def get(self) -> None:
        self.set_header("Content-Encoding", "gzip")
        self.write(BODY)


class InParts(RequestHandler):
    """An answer whose length is not said before."""

    async def get(self) -> None:
        for _ in range(3):
            self.write(b"y" * 100)
            await self.flush()


@contextlib.asynccontextmanager
async def made_up() -> AsyncIterator[str]:
    handlers = {"/app": Tokenless, "/app/token": Token, "/gzip": Compressed, "/parts": InParts}
    server = HTTPServer(Application(list(handlers.items())))
    [listening, *_] = bind_sockets(0, "127.0.0.1")
    server.add_sockets([listening])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.stop()
        await server.close_all_connections()


def test_a_page_without_a_token_is_asked_for_one() -> None:
    async def story() -> None:
        async with made_up() as host:
            browser = Browser()
            page = Page(await browser.get(f"{host}/app?seed=7"))
            # With the page's query and cookie.
            assert await page.token(browser, wanted=True) == "seed=7 2"
            assert await page.token(browser, wanted=False) == 1.5
            with pytest.raises(RefusedError, match="something else than a token"):
                await Page(await browser.get(f"{host}/app")).token(browser, wanted=True)
            with pytest.raises(RefusedError, match="status 404"):
                await browser.get(f"{host}/spam")
            browser.close()

    asyncio.run(story())


def test_a_browser_loads_what_a_page_names_of_its_own_origin() -> None:
    async def story() -> None:
        async with made_up() as host:
            browser = Browser()
            found = loaded_by(await browser.get(f"{host}/app"))
            assert found == [f"{host}/{name}" for name in ("a.css", "c.js", "e.js", "f.mjs")]
            browser.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("path", "text", "sent"),
    [("gzip", "x" * 10_000, len(BODY)), ("parts", "y" * 300, 3 * len("64\r\n\r\n") + 305)],
)
def test_bytes_are_counted_as_they_were_sent(path: str, text: str, sent: int) -> None:
    async def story() -> None:
        async with made_up() as host:
            browser = Browser()
            answer = await browser.get(f"{host}/{path}")
            assert answer.text == text
            head = browser.bytes_received - sent
            assert 50 < head < 500  # the status and a few headers
            await browser.get(f"{host}/{path}")
            # The second time over the same connection.
            assert browser.bytes_received == 2 * (head + sent)
            browser.close()

    asyncio.run(story())


# ---- what the hall has in common with the page -------------------------------------------------


def test_the_hall_and_the_page_mean_the_same() -> None:
    assert WANTED == opening.WANTED
    assert line.MARK == lasting.MARK
    assert line.LASTS == lasting.LASTS
    # Those of connection.js, in milliseconds there.
    text = text_of("connection.js")
    for name in ("ASK", "GIVEN_UP", "OPENING"):
        assert f"const {name} = {1000 * getattr(line, name):.0f};" in text
    pauses = ", ".join(f"{1000 * pause:.0f}" for pause in line.PAUSES)
    assert f"const PAUSES = [{pauses}];" in text
    for (_, label), name in WIDGETS.items():
        assert State.param[name].label == label


def test_nested_models_are_found() -> None:
    child = {"type": "object", "name": "Div", "id": "p2"}
    row = {"type": "object", "name": "Row", "id": "p1", "attributes": {"children": [child]}}
    assert [model["id"] for model in visiting.models({"roots": [row]})] == ["p1", "p2"]


# ---- the account -------------------------------------------------------------------------------


def test_the_account_says_what_failed_and_what_was_not_there() -> None:
    openings = [Opening(0, 0.1, 0.5, received=1000), Opening(2, why_not="it took too long")]
    plan = Plan("http://localhost/app", visitors=3, play=10.0)
    changes = [Change(0.2), Change(None, "it took too long")]
    said = account(Found(plan, openings, changes=changes, players=1, lost=["by the server"]))
    assert "1 of 3 openings served" in said
    for what in ("an opening: it took too long", "a change: it took too long"):
        assert f"1 times {what}" in said
    assert "1 times a connection was ended by the server" in said
    assert "1 of 2 answered, 0.1 a second" in said
    assert "visitor 3                       -              -" in said


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.95) == 2.0
    assert quantile([], 0.5) is None


def test_visitors_are_shared_out_once_each() -> None:
    plan = Plan("http://localhost/app", visitors=301)
    shares = [plan.share(part, 2) for part in range(2)]
    assert sorted([*shares[0], *shares[1]]) == list(range(301))
    assert parts_for(1) == 1


# ---- options -----------------------------------------------------------------------------------


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["check-hall", *arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--visitors", "0"], "argument --visitors: 0 is out of range (1 to 10000)"),
        (["--visitors", "many"], "argument --visitors: 'many' is not a whole number"),
        (["--within", "-1"], "argument --within: -1 is out of range (0 to 3600)"),
        (["--play", "nan"], "argument --play: nan is out of range (0 to 3600)"),
        (["--num-procs", "-2"], "argument --num-procs: -2 is out of range (0 to 1024)"),
        (["localhost:5006"], "argument URL: 'localhost:5006' is not the address of a page"),
        (["http://"], "argument URL: 'http://' is not the address of a page"),
        (["http://[/app"], "argument URL: 'http://[/app' is not the address of a page"),
        (
            ["http://localhost:5006/app", "--num-procs", "2"],
            "argument --num-procs: not allowed with a URL",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in refusal(capsys, *arguments)


def test_more_visitors_than_files_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("resource")
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    said = refusal(capsys, "--visitors", "9000")
    assert "argument --visitors: 9000 need " in said
    assert "this system allows 1024 (ulimit -Hn)" in said


def test_the_help_says_whose_server_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check-hall", "--help"])
    assert "your own server only" in " ".join(capsys.readouterr().out.split())


def test_the_environment_names_the_command_with_an_underscore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MHC_DEMO_CHECK_HALL_VISITORS", "30")
    assert from_environment("check-hall") == ["--visitors", "30"]
    assert check_hall.__name__ == "check_hall"

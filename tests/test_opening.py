"""A link is answered with a static page, and files are compressed once."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import panel as pn
import pytest
from bokeh.server.tornado import BokehTornado
from bokeh.util.paths import bokehjs_path
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from mhc_demo.app import guard
from mhc_demo.app._panel import tornado_application
from mhc_demo.app.first import PICTURED, LivePage, first_page, live_page
from mhc_demo.app.opening import DARK, TURNS, WANTED, Turns
from mhc_demo.app.page import create
from mhc_demo.app.state import State
from mhc_demo.app.static import CSS
from mhc_demo.app.views import VIEWS
from mhc_demo.numerics.surface import gain_surface
from mhc_demo.scripts import PAGE, STATIC, text_of

LIVE = LivePage("bokeh.js", (), (), ())

Get = Callable[..., Coroutine[Any, Any, HTTPResponse]]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Get, BokehTornado]]:
    """A server of the page in this process, and what requests one of its addresses."""
    server = pn.serve(
        {"app": create}, port=0, start=False, show=False, verbose=False, **guard.options()
    )
    application = tornado_application(server)
    guard.protect(application, first_page=True)
    server.start()

    async def get(path: str, **headers: str) -> HTTPResponse:
        address = f"http://localhost:{server.port}/{path}"
        return await AsyncHTTPClient().fetch(
            address, headers=headers, raise_error=False, decompress_response=False
        )

    try:
        yield get, application
    finally:
        server.stop()


def sessions(application: BokehTornado) -> int:
    return sum(len(context.sessions) for context in application.applications.values())


def in_page(page: bytes, name: str) -> Any:
    """A block of data in a page."""
    block = re.search(rf'id="{name}">(.*?)</script>'.encode(), page, re.S)
    return json.loads(block[1]) if block else None


def test_a_link_is_answered_without_a_session() -> None:
    async def run() -> None:
        async with serving() as (get, application):
            for link in ("app", "app?streams=8&seed=7", "app?view=lab", "app?present=1", "app?x=1"):
                assert (await get(link)).code == 200
            assert sessions(application) == 0
            token = json.loads((await get("app/token", **{WANTED: "1"})).body)["token"]
            async with application.settings[TURNS].turn():  # when those before have had theirs
                assert token
                assert sessions(application) == 1

    asyncio.run(run())


@pytest.mark.parametrize("view", sorted(VIEWS.keys() - set(PICTURED)))
def test_a_page_without_scripts_has_a_picture_or_words(view: str) -> None:
    html = first_page((("view", view.encode()),), LIVE).html.decode()
    shown = html.split('<div class="mhc-still">')[1].split("<script")[0]
    assert "<svg" in shown or len(re.findall(r"\w+", shown)) > 60


def test_without_scripts_a_guess_is_not_answered() -> None:
    def page(*more: tuple[str, bytes]) -> str:
        return first_page((("scene", b"training"), *more), LIVE).html.decode()

    verdict = '<div class="lab-verdict">'
    assert verdict not in page()
    assert verdict in page(("revealed", b"training"))
    # A lecture does not show it while its page comes.
    assert "<noscript><h2>" in page(("present", b"1"))


def test_a_page_is_asked_for_again_and_not_sent_again() -> None:
    async def run() -> None:
        async with serving() as (get, _):
            first, second = await get("app"), await get("app")
            again = await get("app", **{"If-None-Match": first.headers["Etag"]})
            other = await get("app?seed=7", **{"If-None-Match": first.headers["Etag"]})
        assert first.headers["Cache-Control"] == "no-cache"
        assert first.headers["Etag"] == second.headers["Etag"]
        assert (again.code, again.body, other.code) == (304, b"", 200)
        # The browser keeps the policy with the page, whose scripts have that policy's nonce.
        assert "Content-Security-Policy" not in again.headers
        nonces = [re.findall(rb'nonce="([^"]+)"', answer.body) for answer in (first, second)]
        for answer, found in zip((first, second), nonces, strict=True):
            assert len(set(found)) == 1
            assert f"'nonce-{found[0].decode()}'" in answer.headers["Content-Security-Policy"]
        assert nonces[0][0] != nonces[1][0]

    asyncio.run(run())


def test_a_session_that_nobody_waits_for_comes_when_there_is_time() -> None:
    async def run() -> None:
        async with serving() as (get, application):
            turns = application.settings[TURNS]
            assert (await get("app/token")).code == 200
            later = await get("app/token")
            assert later.code == 202
            assert json.loads(later.body)["seconds"] > 0
            assert (await get("app/token", **{WANTED: "1"})).code == 200
            async with turns.turn():
                assert turns.busy_for() > 0

    asyncio.run(run())


def test_the_browser_says_by_the_same_header_whether_somebody_waits() -> None:
    assert f'"{WANTED}": asked ? "1" : "0"' in text_of("first.js")
    assert f'"{DARK}": dark ? "1" : "0"' in text_of("first.js")


def test_turns_are_taken_one_after_the_other() -> None:
    async def run() -> list[str]:
        turns, done = Turns(), []

        async def build(name: str) -> None:
            async with turns.turn():
                done.append(f"{name} begins")
                await asyncio.sleep(0.01)
                done.append(f"{name} ends")

        await asyncio.gather(build("a"), build("b"))
        assert turns.is_free()
        return done

    assert asyncio.run(run()) == ["a begins", "a ends", "b begins", "b ends"]


@pytest.fixture(scope="module")
def live() -> Any:
    """What the live page of a server loads."""

    async def run() -> Any:
        async with serving() as (_, application):
            return live_page(application)

    return asyncio.run(run())


def test_the_live_page_loads_no_part_of_bokeh_that_nothing_uses(live: Any) -> None:
    everything = " ".join((live.bokeh, *live.scripts, *live.modules, *live.styles))
    for part in ("bokeh.min.js", "bokeh-widgets", "bokeh-tables", "panel.min.js", "material-ui"):
        assert part in everything  # Panel's script needs the tables
    for part in ("bokeh-gl", "mathjax", "tabulator", "luxon", "http"):
        assert part not in everything


def test_the_first_page_has_the_numbers_of_its_link(live: Any) -> None:
    page = first_page((("depth", b"10"), ("members", b"3"), ("seed", b"7")), live).html
    assert "depth=10" in in_page(page, "mhc-first-data")["query"]
    picture = in_page(page, "mhc-first-picture")
    tables = picture["variants"][0]["tables"].values()
    packed = next(each["forward.median"] for each in tables if "forward.median" in each)
    hc = np.cumsum(packed["steps"][: packed["row"]])  # they are differences
    surface = gain_surface(State(seed=7, members=3))
    expected = surface["log10_gain"].sel(
        direction="forward", iterations=0, series="median", depth=10
    )
    assert hc[9] / picture["per_unit"] == pytest.approx(float(expected), abs=5e-4)


@pytest.mark.parametrize(
    "link",
    [
        {"present": b"1"},
        {"embed": b"1"},
        {"view": b"lab"},
        {"view": b"matrices"},
        {"view": b"layer-axis"},
        {"depth": b"1000"},
        {"streams": b"16", "members": b"256"},
    ],
)
def test_what_the_static_page_cannot_show_is_left_to_the_session(live: Any, link: Any) -> None:
    page = first_page(tuple(link.items()), live).html
    assert in_page(page, "mhc-first-data")
    assert in_page(page, "mhc-first-picture") is None


@pytest.mark.parametrize("view", ["composite", "layers", "mixing"])
def test_views_of_small_tables_are_there_at_once(live: Any, view: str) -> None:
    page = first_page((("view", view.encode()),), live).html
    assert in_page(page, "mhc-first-picture")


def test_files_are_compressed_for_browsers_that_take_it() -> None:
    script = (bokehjs_path() / "js" / "bokeh.min.js").read_bytes()

    async def run() -> None:
        async with serving() as (get, _):
            path = "static/js/bokeh.min.js?v=1"
            plain = await get(path)
            for accepted in ("gzip", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8"):
                packed = await get(path, **{"Accept-Encoding": accepted})
                assert packed.headers["Content-Encoding"] == "gzip"
                assert gzip.decompress(packed.body) == script
                assert len(packed.body) < 0.3 * len(script)
            for refused in ("identity", "br", "gzip;q=0", "gzip; q=0.0", ""):
                answer = await get(path, **{"Accept-Encoding": refused})
                assert "Content-Encoding" not in answer.headers
                assert answer.body == script
            # A cache must not give one to who asked for the other.
            assert {a.headers["Vary"] for a in (plain, packed)} == {"Accept-Encoding"}
            assert plain.headers["Etag"] != packed.headers["Etag"]
            same = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["Etag"]}
            assert (await get(path, **same)).code == 304
            part = await get(path, **{"Range": "bytes=0-9"})
            assert (part.code, part.body) == (206, script[:10])
            assert (await get("static/js/missing.js", **{"Accept-Encoding": "gzip"})).code == 404
            outside = await get("static/js/../../../x.js", **{"Accept-Encoding": "gzip"})
            assert outside.code in (403, 404)

    asyncio.run(run())


def test_a_file_whose_address_names_its_version_is_kept_for_ever() -> None:
    async def run() -> None:
        async with serving() as (get, _):
            page = (await get("app")).body.decode()
            ours = re.findall(r'src="(static/extensions/mhc-demo/[^"]+)"', page)
            assert {address.split("/")[-1].split("?")[0] for address in ours} >= set(PAGE)
            for address in ours:
                answer = await get(address)
                assert answer.body == (STATIC / address.split("/")[-1].split("?")[0]).read_bytes()
                assert "max-age=315360000" in answer.headers["Cache-Control"]
            assert "Cache-Control" not in (await get(ours[0].split("?")[0])).headers

    asyncio.run(run())


def test_a_first_opening_moves_little(live: Any) -> None:
    """The target is 1.5 MB; the websocket's 60 kB come on top (benchmark `load`)."""

    async def run() -> int:
        async with serving() as (get, _):
            page = await get("app", **{"Accept-Encoding": "gzip"})
            scripts = re.findall(r'src="([^"]+)"', gzip.decompress(page.body).decode())
            files = [*scripts, *live.scripts, *live.modules, *live.styles]
            answers = [await get(file, **{"Accept-Encoding": "gzip"}) for file in files]
            assert {answer.code for answer in answers} == {200}
            return sum(len(answer.body) for answer in (page, *answers))

    assert asyncio.run(run()) < 1.4e6


def test_copies_of_our_styles_in_a_message_are_near_enough_to_be_compressed() -> None:
    """Deflate finds what was there up to 2^15 bytes before; a component's own data come between."""
    assert len(CSS.encode()) < 2**15 - 2**12

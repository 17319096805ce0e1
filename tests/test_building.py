"""A page is built in pieces; the server's side of it, no browser."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

from bokeh.server.contexts import ApplicationContext
from panel.io.application import build_applications
from tornado.ioloop import IOLoop

from mhc_demo.app import building


class Visitors:
    """Sessions of an application that serves our page, as a server opens them."""

    def __init__(self) -> None:
        app = build_applications({"app": building.opened}, "mHC", location=False)["/app"]
        self.context = ApplicationContext(app, io_loop=IOLoop.current(), url="/app")
        server: Any = SimpleNamespace(applications={"/app": self.context})
        building.build_in_pieces(server)

    async def open(self, name: str, query: str = "") -> Any:
        given = {key: [v.encode() for v in values] for key, values in parse_qs(query).items()}
        request: Any = SimpleNamespace(arguments=given, cookies={}, headers={}, path="/app")
        return await self.context.create_session_if_needed(name, request)  # type: ignore[arg-type]


def test_a_page_is_that_of_its_link_whoever_else_opens_one_meanwhile() -> None:
    async def story() -> None:
        visitors = Visitors()
        sessions = await asyncio.gather(
            *(visitors.open(f"visitor {n}", f"streams={n}&seed=7") for n in range(2, 7))
        )
        for n, session in enumerate(sessions, start=2):
            queries = [str(getattr(each, "query", "")) for each in session.document.models]
            (own,) = {each for each in queries if "streams=" in each}
            assert f"streams={n}&seed=7" in own
        assert not building._made

    asyncio.run(story())


def test_others_are_answered_while_a_page_is_built() -> None:
    async def story() -> None:
        turns: list[str] = []

        async def others() -> None:
            while True:
                await asyncio.sleep(0)
                turns.append("")

        answered = asyncio.create_task(others())
        visitors = Visitors()
        await visitors.open("visitor", "seed=123456")
        answered.cancel()
        assert len(turns) >= 2

    asyncio.run(story())

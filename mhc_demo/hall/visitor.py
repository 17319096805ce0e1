"""One visitor: opens the page, sees its first picture, and changes something now and then.

What Bokeh's client, `static/connection.js` and the page's components do in a browser is done here
in so far as the server notices it.  Messages are read as JSON, which is cheaper than to build
Bokeh's models: of these only the few are looked for that a visitor changes or looks at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from tornado.iostream import StreamClosedError

from .browser import Answer, Browser, RefusedError, loaded_by, of_same_origin
from .drawing import READY, changed, told
from .line import GoneError, Line, Message

PATIENCE = 120.0
"""Seconds that a visitor waits for the first picture."""

CHANGE_PATIENCE = 30.0
"""Seconds that a visitor waits for the answer to a change."""

LOOKED = 0.5
"""Seconds between two looks whether the line of who waits is still there."""

WIDTH = 1400
"""Of the window that a visitor has not."""


# ---- opening -----------------------------------------------------------------------------------

DATA = re.compile(r'id="mhc-first-data">(.*?)</script>', re.S)
PICTURE = 'id="mhc-first-picture"'
"""In a page that has its first picture with it."""

TOKEN = re.compile(r'"token":\s*"([^"]+)"')
"""In a page of Panel's."""

WANTED = "Mhc-Wanted"
"""The header by which a page says whether its visitor waits for the session."""


@dataclass
class Page:
    """What a page says of how it goes on."""

    answer: Answer
    follows: bool = False
    """Whether it shows what all see who follow a lecture; known with the token."""

    @property
    def has_picture(self) -> bool:
        """Whether it can draw its first picture without a session."""
        return PICTURE in self.answer.text

    @property
    def data(self) -> dict[str, Any]:
        """What the page brings for its scripts."""
        found = DATA.search(self.answer.text)
        return json.loads(found[1]) if found else {}

    @property
    def live_files(self) -> list[str]:
        """The addresses of what the live page loads beside its own."""
        live = self.data.get("live", {})
        return [each for name in ("scripts", "modules", "styles") for each in live.get(name, ())]

    async def token(self, browser: Browser, *, wanted: bool) -> str | float:
        """The token that opens the websocket, or the seconds until the server may have time.

        Raises RefusedError if the answer is something else.
        """
        if found := TOKEN.search(self.answer.text):
            return found[1]
        parts = urlsplit(self.answer.url)
        address = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/token"))
        answer = await browser.get(address, **{WANTED: str(int(wanted))})
        try:
            said = json.loads(answer.body)
            self.follows = bool(said.get("follows"))
            return str(said["token"]) if "token" in said else float(said["seconds"])
        except (ValueError, LookupError, TypeError):
            raise RefusedError(f"{answer.url} answers with something else than a token") from None


@dataclass(frozen=True)
class Opening:
    """How a visitor's opening went; times in seconds from the visitor's first request."""

    number: int
    """Of the visitor, from 0, in the order of their coming."""
    first_bytes: float | None = None
    picture: float | None = None
    """Until everything that the first picture needs had arrived."""
    live: bool = False
    """Whether the live page was there too."""
    received: int = 0
    """Bytes."""
    why_not: str = ""
    """Why it failed."""
    anew: int = 0
    """How often the page was opened anew meanwhile, as a browser does that gets no connection."""


def why(error: BaseException) -> str:
    """Why an opening failed or a connection ended, in a few words."""
    match error:
        case TimeoutError():
            return "it took too long"
        case ConnectionRefusedError():
            return "nothing listens there"
        case StreamClosedError():
            return "the connection was closed"
        case GoneError():
            return "the server knew the page no more"
        case OSError():
            return error.strerror or str(error)
    return str(error)


FAILURES = (
    RefusedError,
    GoneError,
    OSError,  # TimeoutError and StreamClosedError too
)
"""What a server that is overburdened or gone does to its visitors."""


# ---- what is on the page -----------------------------------------------------------------------


def models(part: Any) -> Iterator[dict[str, Any]]:
    """All models in a part of a message, each as its name, id and attributes.

    >>> nested = {"attributes": {"child": {"type": "object", "name": "Div", "id": "p2"}}}
    >>> [model["id"] for model in models([{"type": "object", "name": "Row", "id": "p1", **nested}])]
    ['p1', 'p2']
    """
    parts = [part]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if part.get("type") == "object" and "id" in part:
                yield part
            parts += part.values()
        elif isinstance(part, list):
            parts += part


WIDGETS = {
    ("IntSlider", "Streams (n)"): "streams",
    ("FloatSlider", "Spread"): "spread",
}
"""The widgets that a visitor changes, by their class and label, and the parameter of the link that
each sets."""

SEED = "seed"
"""What takes the wish for another seed, which the server draws."""

WINDOW, TABLE = "window", "table"
"""What reports the first picture and holds the link, and what the plots are cut from."""

SAYS = {"window": "query", "bar": "role"}
"""The attribute that matters of a model, by its role, if it is not its value."""

BAR = "bar"
"""What takes the lecturer's key and says who leads, where a hall follows a lecture."""


def role(model: dict[str, Any]) -> str:
    """Which of the models that a visitor knows this is, or empty; its class may have a number."""
    kind, attributes = model.get("name", "").rstrip("0123456789"), model.get("attributes", {})
    if kind == "BrowserWindow":
        return WINDOW
    if kind == "Story":
        return SEED
    if kind == "LectureBar":
        return BAR
    if kind == "ColumnDataSource" and attributes.get("name") == "surface":
        return TABLE
    return next((WIDGETS[kind, text] for text in _texts(attributes) if (kind, text) in WIDGETS), "")


def _texts(attributes: dict[str, Any]) -> list[str]:
    return [text for name in ("label", "name") if isinstance(text := attributes.get(name), str)]


def sheets(document: Any) -> list[str]:
    """The addresses of the style sheets that a document's models bring along."""
    return [
        model["attributes"]["url"]
        for model in models(document)
        if model["name"] == "ImportedStyleSheet" and model.get("attributes", {}).get("url")
    ]


def another(name: str, now: Any, draw: random.Random) -> Any:
    """Another value of a widget, as that widget writes it."""
    while True:
        match name:
            case "seed":  # a wish that differs from the one before
                value: Any = f"shuffle {draw.randrange(10**9)}"
            case "streams":
                value = draw.randint(2, 8)
            case _:
                value = draw.randint(1, 30) / 10
        if value != now:
            return value


class Visitor:
    """A person with a browser at one page."""

    def __init__(self, address: str, number: int = 0, *, returns: bool = False) -> None:
        self.address, self.number = address, number
        self.browser = Browser(pages={} if returns else None)
        self.line: Line | None = None
        self.answer: Message | None = None
        """The message that brought the table last asked for."""
        self.seen: list[tuple[str, float]] = []
        """The scenes that the page went to, and when it was told."""
        self.refused = False
        """Whether the key that it gave was wrong."""
        self._chance = random.Random(number)
        self._forget()

    def _forget(self) -> None:
        self.known: dict[str, str] = {}
        """The ids of the models that matter, by their role."""
        self.values: dict[str, Any] = {}
        """What the widgets say, by their role."""
        self._new: list[list[dict[str, Any]]] = []
        """The messages about models that came since the last picture."""
        self._drawing: asyncio.Task[None] | None = None
        self._complete = asyncio.Event()
        self._asked: tuple[str, Any] | None = None
        self._understood = False
        self._answered: asyncio.Future[tuple[float, Message]] | None = None
        self._page: Page
        self._hurry = asyncio.Event()
        self._joining = asyncio.Lock()

    # ---- opening -------------------------------------------------------------------------------

    async def open(self, *, patience: float = PATIENCE, alone: bool = False) -> Opening:
        """Open the page until its first picture could be drawn; `alone`: it needs no server.

        With the browser of an earlier opening only what is not kept is loaded.
        """
        self._forget()
        started, before = time.monotonic(), self.browser.bytes_received
        first: float | None = None
        anew = 0
        try:
            async with asyncio.timeout(patience):
                while True:
                    self._page = page = Page(await self.browser.page(self.address))
                    first = first or page.answer.first_bytes - started
                    await self.browser.load(loaded_by(page.answer))
                    if alone or page.has_picture or await self._connected(wanted=True):
                        break
                    anew += 1
        except FAILURES as error:
            await self.hang_up()
            return Opening(self.number, first_bytes=first, why_not=why(error), anew=anew)
        picture = time.monotonic() - started
        received = self.browser.bytes_received - before
        if self.line is not None:
            received += self.line.bytes_received
        live = self.line is not None
        return Opening(self.number, first, picture, live, received, anew=anew)

    async def join(self, *, wanted: bool) -> float:
        """Bring the live page, at once if it is `wanted`; return the seconds that it took.

        Raises one of FAILURES.
        """
        started = time.monotonic()
        if wanted:
            self._hurry.set()
        while self.line is None:
            if not await self._connected(wanted=wanted):
                self._page = Page(await self.browser.page(self.address))
        return time.monotonic() - started

    async def _token(self, *, wanted: bool) -> str:
        while True:
            said = await self._page.token(self.browser, wanted=wanted or self._hurry.is_set())
            if isinstance(said, str):
                return said
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), said * self._chance.uniform(1, 1.5))

    async def _connected(self, *, wanted: bool) -> bool:
        """Get the document of a page; False if it has to be opened anew."""
        async with self._joining:
            if self.line is not None:
                return True
            token = await self._token(wanted=wanted)
            url = self._page.answer.url
            await self.browser.load(of_same_origin(url, self._page.live_files))
            line = self.line = Line(self.browser, url, token, self._heed)
            try:
                await line.open()
                pulled = await line.request("PULL-DOC-REQ", {})
            except GoneError:
                await self.hang_up()
                return False
            document = pulled.content.get("doc")
            self._learn(document)
            await self.browser.load(of_same_origin(url, sheets(document)))
            return True

    async def see(self) -> None:
        """Report that the first picture stands, upon which the server adds the rest of the page.

        Raises RefusedError if the server does not take it, GoneError if it is gone.
        """
        assert self.line is not None
        if self._page.follows:  # of which the server is not told what a browser does
            return
        if WINDOW not in self.known:
            raise RefusedError(f"the page at {self.address} cannot be told of its first picture")
        window = self.known[WINDOW]
        self._new += [
            [READY],
            [changed(window, "inner_width", WIDTH)],
            [changed(window, "first_picture", True)],
        ]
        await self._draw()

    @property
    def scenes(self) -> list[str]:
        """The names of the story's scenes."""
        return [each["name"] for each in self._page.data.get("scenes", ())]

    async def set(self, what: str, attribute: str, value: object) -> None:
        """Set a property of a model that the visitor knows.

        Raises RefusedError if the server does not take it, GoneError if it is gone.
        """
        await self._patch(changed(self.known[what], attribute, value))

    async def leave(self) -> None:
        """Close the page and the browser."""
        await self.hang_up()
        self.browser.close()

    async def hang_up(self) -> None:
        """Close the page, but not the browser."""
        line, self.line = self.line, None
        if line is not None:
            await line.leave()

    # ---- playing -------------------------------------------------------------------------------

    async def change(self) -> float:
        """Change something, and return the seconds until the table for it was there.

        Raises TimeoutError if none comes, RefusedError if the server takes no change, GoneError.
        """
        assert self.line is not None
        async with asyncio.timeout(CHANGE_PATIENCE):
            while not self._complete.is_set():
                if self.line.lost:
                    raise GoneError
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._complete.wait(), LOOKED)
            name = self._chance.choice([SEED, *WIDGETS.values()])
            value = another(name, self.values[name], self._chance)
            before = self.query.get(SEED)
            self._asked, self._understood = (name, before if name == SEED else value), False
            answered = self._answered = asyncio.get_running_loop().create_future()
            started = time.monotonic()
            try:
                attribute = "wish" if name == SEED else "value"
                await self._patch(changed(self.known[name], attribute, value))
                while not answered.done():
                    if self.line.lost:
                        raise GoneError
                    await asyncio.wait([answered], timeout=LOOKED)
            finally:
                self._asked = None
        self.values[name] = value
        there, self.answer = answered.result()
        return there - started

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the page's link."""
        asked = parse_qs(self.values.get(WINDOW, "").removeprefix("?"))
        return {name: values[-1] for name, values in asked.items()}

    async def _patch(self, *events: object) -> None:
        assert self.line is not None
        reply = await self.line.request("PATCH-DOC", {"events": events})
        if reply.header["msgtype"] != "OK":
            raise RefusedError(f"the page at {self.address} takes no change")

    async def _draw_the_rest(self) -> None:
        with contextlib.suppress(*FAILURES):  # whoever waits for something is told of it
            while self._new:
                await self._draw()

    async def _draw(self) -> None:
        """Tell what a browser tells of the models that are new, without waiting in between."""
        patches, self._new = self._new, []
        await asyncio.gather(*(self._patch(*patch) for patch in patches))

    # ---- looking -------------------------------------------------------------------------------

    def _heed(self, message: Message) -> None:
        if message.header.get("msgtype") != "PATCH-DOC":
            return
        events = [event for event in message.content.get("events", ()) if "model" in event]
        if not self._complete.is_set():
            self._learn(events)
            if (
                self._new
                and not self._page.follows
                and (self._drawing is None or self._drawing.done())
            ):
                self._drawing = asyncio.create_task(self._draw_the_rest())
        for event in events:
            if self._is(event, WINDOW) and event.get("attr") == "query":
                before = self.query.get("scene")
                self.values[WINDOW] = event.get("new", "")
                scene = self.query.get("scene", "")
                if scene != before:
                    self.seen.append((scene, time.monotonic()))
            if self._is(event, BAR):
                if event.get("attr") == "role":
                    self.values[BAR] = event.get("new", "")
                self.refused |= event.get("attr") == "refused"
        # Only a table that comes with or after the link that names the value is the answer.
        if self._asked is not None and not self._understood:
            name, value = self._asked
            now = self.query.get(name, "nan")
            self._understood = now != value if name == SEED else float(now) == float(value)
        if self._answered is None or self._answered.done() or not self._understood:
            return
        if any(self._is(each, TABLE) and each.get("attr") == "data" for each in events):
            self._answered.set_result((time.monotonic(), message))

    def _is(self, event: dict[str, Any], what: str) -> bool:
        return what in self.known and event["model"].get("id") == self.known[what]

    def _learn(self, part: Any) -> None:
        for model in models(part):
            self._new += told(model)
            if what := role(model):
                self.known[what] = model["id"]
                attributes = model.get("attributes", {})
                self.values[what] = attributes.get(SAYS.get(what, "value"))
        if {WINDOW, TABLE, SEED, *WIDGETS.values()} <= self.known.keys():
            self._complete.set()

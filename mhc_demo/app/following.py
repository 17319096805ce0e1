"""A page that takes part in a lecture: it follows, explores on its own, or leads.

All who follow go to the same place, so what they will see is computed once for all of a process
(`Procession`); then the pages are moved one after the other, and the server answers others in
between.  A page that has not been moved when the lecturer goes on is moved to the newer place at
once.  What a page may do is decided by `Following` alone, from what the server knows of it: the
properties of its components are the browser's to set, and say nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

import panel as pn
import param
from bokeh.document import Document
from panel.custom import JSComponent

from . import lecture
from ._panel import hold, prompt, session_of
from .computing import Request, line_for
from .faults import report
from .lecture import Hall, Paced, guess_of
from .state import COMPUTED_PARAMETERS, PLACE_PARAMETERS, POSITION_PARAMETERS, State
from .static import CSS

if TYPE_CHECKING:
    from .explorer import Explorer

MOST_ARGUMENTS = 100
"""In a place's query; the page's own have half as many."""

MOVES = 0.2
"""Seconds between two moves of the lecturer's that are passed on; another scene is at once."""

GUESSES = 1.0
"""Seconds between two guesses of a page."""

NUMBERS = 0.25
"""Seconds between two times that the lecturer's page is told of guesses and followers."""

MOST_KEYS = 5
"""Keys that a page may try."""

SHARE = 0.3
"""Of the time between two scenes that goes into what the next one will need."""

STAYS = ":host { position: sticky; bottom: 6px; z-index: 40; pointer-events: none; }"
"""Style of the bar, which stays in sight, and lets pass what is pressed beside it."""

NO_LECTURE = "There is no lecture to follow on this server."
NO_KEY = (
    "This page does not lead: the key in its link is not the one that the server printed when it "
    "was started."
)

Compute = Callable[[Request], Any]


@prompt
class LectureBar(JSComponent):
    """A bar for those who follow or may follow; for the lecturer, numbers: `static/follow.js`."""

    role = param.String(doc='"follows", "explores" or "leads"; empty if there is nothing to say.')
    followers = param.Integer(default=0, doc="How many follow; told to the lecturer alone.")
    guessed = param.Integer(default=0, doc="How many have guessed in the present scene; likewise.")
    refused = param.Integer(default=0, doc="How many keys were wrong.")
    key = param.String(doc="The key that the lecturer's link brought; the browser sets it.")
    wish = param.String(doc='"follow" or "explore", with a count so that two in a row differ.')

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const doc = view.model.document
      let wishes = 0
      const stop = mhc.lecture.join(host, {
        present: () => model,
        ask: (what) => { model.wish = `${what} ${++wishes}` },
      })
      for (const name of ["role", "followers", "guessed"]) model.on(name, mhc.lecture.draw)
      model.on("refused", mhc.lecture.forget)
      // What Python answers before the page stands, Panel does not send.
      const prove = () => { if (mhc.lecture.key) model.key = mhc.lecture.key }
      if (doc.is_idle) prove()
      else doc.idle.connect(prove)
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


@dataclass(frozen=True)
class Place:
    """Where the lecturer is, and what a page needs to show it."""

    query: str
    values: dict[str, Any]
    request: Request
    computed: Any
    """What the request asks for; None if it failed, as it then does for each page by itself."""


def values_of(query: str) -> dict[str, Any]:
    """The values that a place's query stands for; what does not fit is left out."""
    try:
        arguments = parse_qs(query.removeprefix("?"), max_num_fields=MOST_ARGUMENTS)
    except ValueError:
        arguments = {}
    there = State()
    there.read(arguments)
    return there.place()


def request_of(values: dict[str, Any]) -> Request:
    """What a page at a place wants computed."""
    key = tuple((name, values[name]) for name in COMPUTED_PARAMETERS)
    return Request(key, values["view"], {name: values[name] for name in POSITION_PARAMETERS})


def bring(state: State) -> None:
    """Bring a state that was read from a link to the lecture, if it follows one."""
    if not state.follow:
        return
    if lecture.hall is None:
        state.param.update(follow=False, notices=[*state.notices, NO_LECTURE])
    elif lecture.hall.place:
        state.param.update(**values_of(lecture.hall.place), notices=[])


class Procession:
    """Moves the pages of a process that follow, one after the other."""

    def __init__(self, hall: Hall, compute: Compute) -> None:
        self.hall, self._compute = hall, compute
        self._pages: dict[Following, str] = {}
        """Where each is; those that were moved longest ago come first."""
        self._news = asyncio.Event()
        self._place: Place | None = None
        hall.on_place.append(self._news.set)
        # In a context of its own: the page that is the first would else be kept as long as this.
        self._task = asyncio.create_task(self._walk(), context=Context())

    def join(self, page: Following) -> None:
        """Have a page follow from now on."""
        self._pages[page] = ""
        self._news.set()
        self.hall.count(len(self._pages))

    def leave(self, page: Following) -> None:
        """Have a page follow no more."""
        if self._pages.pop(page, None) is not None:
            self.hall.count(len(self._pages))

    async def _walk(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if not self.hall.place or not self._pages:
                continue
            try:
                place = await self._understood(self.hall.place)
                await self._move_all(place)
                await self._look_ahead(place)
            except Exception as error:
                report(error)

    async def _move_all(self, place: Place) -> None:
        for page in [page for page, there in self._pages.items() if there != place.query]:
            if self._news.is_set() and self.hall.place != place.query:
                return  # those who are left go to the newer place, first of all
            if page in self._pages:
                del self._pages[page]
                self._pages[page] = place.query
                await page.in_turn(lambda page=page: page.go(place))  # type: ignore[misc]
                await asyncio.sleep(0)

    async def _understood(self, query: str) -> Place:
        if self._place is None or self._place.query != query:
            values = values_of(query)
            request = request_of(values)
            computed = await self._computed(request)
            self._place = Place(query, values, request, computed)
        return self._place

    async def _computed(self, request: Request) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(line_for(request), self._compute, request)
        except Exception as error:
            report(error)
            return None

    async def _look_ahead(self, place: Place) -> None:
        """Build what the next scene needs in all pages, as long as the lecturer stays here."""
        there = State(**place.values)
        request = there.next_scene()
        if request is None or not self._pages:
            return
        computed = await self._computed(request)
        for page in list(self._pages):
            if computed is None or self._news.is_set():
                return
            if page in self._pages:
                start = time.monotonic()
                await page.in_turn(lambda page=page: page.build_ahead(request, computed))  # type: ignore[misc]
                await asyncio.sleep((time.monotonic() - start) * (1 / SHARE - 1))


_processions: WeakKeyDictionary[Hall, Procession] = WeakKeyDictionary()


def procession_of(hall: Hall, compute: Compute) -> Procession:
    """The one of a hall, which begins with its first page."""
    if hall not in _processions:
        _processions[hall] = Procession(hall, compute)
    return _processions[hall]


class Following:
    """How one page takes part in a lecture."""

    def __init__(self, explorer: Explorer, hall: Hall, compute: Compute) -> None:
        self.explorer, self.hall = explorer, hall
        self.name = lecture.new_name()
        self.leads = False
        self._compute = compute
        self._doc: Document | None = pn.state.curdoc
        self._stands = self._moving = self._over = False
        self._keys = 0
        self._guess: tuple[str, float] | None = None
        self._tell_guess = Paced(self._pass_guess, GUESSES)
        self._tell_place = Paced(self._pass_place, MOVES)
        self._tell_numbers = Paced(self._show_numbers, NUMBERS)
        self.bar = LectureBar(margin=0, sizing_mode="stretch_width", stylesheets=[STAYS])
        self.bar.param.watch(self._wished, "wish")
        self.bar.param.watch(self._proved, "key")
        state = explorer.state
        state.param.watch(self._moved, list(PLACE_PARAMETERS))
        state.param.watch(self._follow_changed, "follow")
        explorer.window.param.watch(self._begin, "first_picture")
        explorer.story.param.watch(self._guessed, "guess")
        hall.on_place.append(self._show_role)
        pn.state.on_session_destroyed(lambda _: self.end())
        self._show_role()

    # ---- its life ----------------------------------------------------------------------------

    def _begin(self, event: param.parameterized.Event) -> None:
        """Join when the page stands: what Python changes before, Panel does not send."""
        if event.new and not self._stands:
            self._stands = True
            self._follow_changed()

    def end(self) -> None:
        """Leave the lecture for good."""
        if self._over:
            return
        self._over = True
        for paced in (self._tell_guess, self._tell_place, self._tell_numbers):
            paced.stop()
        self.hall.on_place.remove(self._show_role)
        if self.leads:
            self.hall.leading -= 1
            self.hall.on_numbers.remove(self._tell_numbers)
        elif self.hall in _processions:
            _processions[self.hall].leave(self)

    async def in_turn(self, what: Callable[[], object]) -> None:
        """Do something to the page when nothing else is done to it."""
        doc = self._doc
        session = doc.session_context.session if doc and doc.session_context else None

        def done() -> None:
            assert doc is not None
            with session_of(doc), hold():
                what()

        if session is not None and not self._over:
            try:
                await session.with_document_locked(done)
            except Exception as error:  # another page's turn comes all the same
                report(error)

    def _show_role(self) -> None:
        state = self.explorer.state
        if self.leads:
            role = "leads"
        elif state.follow:
            role = "follows"
        else:
            role = "explores" if self.hall.place and not state.embed else ""
        if role != self.bar.role:
            self.bar.role = role

    # ---- who follows -------------------------------------------------------------------------

    def _wished(self, event: param.parameterized.Event) -> None:
        wish = event.new.partition(" ")[0]
        if wish in ("follow", "explore") and not self.leads:
            self.explorer.state.follow = wish == "follow"

    def _follow_changed(self, *_: Any) -> None:
        follows = self.explorer.state.follow
        if follows and self.leads:
            self.explorer.state.follow = False
            return
        self.explorer.window.replaces = follows
        self._show_role()
        if follows and self._stands and not self._over:
            procession_of(self.hall, self._compute).join(self)
        elif self.hall in _processions:
            _processions[self.hall].leave(self)

    def go(self, place: Place) -> None:
        """Go where the lecturer is."""
        if not self.explorer.state.follow:
            return
        self._moving = True
        try:
            self.explorer.go(place.values, place.request, place.computed)
        finally:
            self._moving = False

    def build_ahead(self, request: Request, computed: Any) -> None:
        """Build what the lecturer will probably show next."""
        if self.explorer.state.follow:
            self.explorer.prepare(request, computed)

    def _moved(self, *events: param.parameterized.Event) -> None:
        """Tell the others of the lecturer's move; of anybody else's, that they go on their own."""
        names = {event.name for event in events}
        if self.leads:
            self._tell_place(at_once=bool(names & {"scene", "view"}))
            if "scene" in names:
                self._tell_numbers()
        elif self.explorer.state.follow and not self._moving and names != {"device"}:
            # A device that fails is left by the page itself.
            self.explorer.state.follow = False

    # ---- who leads ---------------------------------------------------------------------------

    def _proved(self, event: param.parameterized.Event) -> None:
        if self.leads or not event.new or self._keys >= MOST_KEYS:
            return
        self._keys += 1
        right = self.hall.is_led_by(event.new)
        with hold():
            self.bar.key = ""
            if not right:
                self.bar.refused += 1
                self.explorer.state.notices = [NO_KEY]
                return
            self.explorer.state.follow = False
            self.leads = True
            self.hall.leading += 1
            self.hall.on_numbers.append(self._tell_numbers)
            self._show_role()
        self._tell_place(at_once=True)
        self._tell_numbers()

    def _pass_place(self) -> None:
        self.hall.show(self.explorer.state.query(whole=False))

    def clear(self) -> None:
        """Forget what was guessed in the present scene, if the lecturer wishes it."""
        if self.leads and (scene := self.explorer.state.scene):
            self.hall.clear(scene)

    def _show_numbers(self) -> None:
        others = self.hall.guesses(self.explorer.state.scene)

        def show() -> None:
            self.bar.param.update(followers=self.hall.followers, guessed=len(others))
            if self.explorer.story.others != others:
                self.explorer.story.others = others

        if not self._over:
            self._telling = asyncio.ensure_future(self.in_turn(show))

    # ---- who guesses -------------------------------------------------------------------------

    def _guessed(self, event: param.parameterized.Event) -> None:
        if event.new == {} or self.leads:
            return
        scene = self.explorer.state.scene
        value = guess_of(event.new, scene)
        if self.explorer.state.follow:  # the number of those who explore is another
            self._guess = scene, value
            self._tell_guess()

    def _pass_guess(self) -> None:
        if self._guess is not None:
            self.hall.guess(self.name, *self._guess)

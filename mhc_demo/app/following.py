"""How a page takes part in a lecture: it leads, or is one that those who follow see, or neither.

What a page may do is decided here, from what the server knows of it: the properties of its
components are the browser's to set, and say nothing.  Those who follow have no page of their own,
but see the one of a `mirror.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs

import panel as pn
import param
from panel.custom import JSComponent

from . import lecture
from ._panel import hold, prompt, session_of
from .faults import report
from .lecture import Hall, Paced
from .state import PLACE_PARAMETERS, State
from .static import CSS

if TYPE_CHECKING:
    from .explorer import Explorer

MOST_ARGUMENTS = 100
"""In a place's query; the page's own have half as many."""

MOVES = 0.2
"""Seconds between two moves of the lecturer's that are passed on."""

AT_ONCE = {"scene", "view", "revealed"}
"""What is passed on without waiting: another scene, another view, the answer to a guess."""

NUMBERS = 0.25
"""Seconds between two times that the lecturer's page is told of guesses and followers."""

MOST_KEYS = 5
"""Keys that a page may try."""

STAYS = ":host { position: sticky; bottom: 6px; z-index: 40; pointer-events: none; }"
"""Style of the bar, which stays in sight, and lets pass what is pressed beside it."""

NO_LECTURE = "There is no lecture to follow on this server."
NO_KEY = (
    "This page does not lead: the key in its link is not the one that the server printed when it "
    "was started."
)


@prompt
class LectureBar(JSComponent):
    """A bar for those who follow or may follow; for the lecturer, numbers: `static/follow.js`."""

    role = param.String(doc='"follows", "explores" or "leads"; empty if there is nothing to say.')
    followers = param.Integer(default=0, doc="How many follow; told to the lecturer alone.")
    guessed = param.Integer(default=0, doc="How many have guessed in the present scene; likewise.")
    refused = param.Integer(default=0, doc="How many keys were wrong.")
    key = param.String(doc="The key that the lecturer's link brought; the browser sets it.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const doc = view.model.document
      const stop = mhc.hall.join(host, () => model)
      for (const name of ["role", "followers", "guessed"]) model.on(name, mhc.hall.draw)
      model.on("refused", mhc.hall.forget)
      // What Python answers before the page stands, Panel does not send.
      const prove = () => { if (mhc.hall.key) model.key = mhc.hall.key }
      if (doc.is_idle) prove()
      else doc.idle.connect(prove)
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


def values_of(query: str) -> dict[str, Any]:
    """The values that a place's query stands for; what does not fit is left out."""
    try:
        arguments = parse_qs(query.removeprefix("?"), max_num_fields=MOST_ARGUMENTS)
    except ValueError:
        arguments = {}
    there = State()
    there.read(arguments)
    return there.place()


def bring(state: State) -> None:
    """Bring the state of the page that those who follow see to the lecture.

    Any other page does not follow, whatever its link says: its browser did not ask to.
    """
    look = lecture.mirrors.look_of_session() if lecture.mirrors is not None else None
    if look is not None and lecture.hall is not None:
        place = values_of(lecture.hall.place) if lecture.hall.place else {}
        state.param.update(**place, follow=True, theme=look.theme, dark=look.dark, notices=[])
    elif state.follow:
        notices = [NO_LECTURE] if lecture.hall is None else []
        state.param.update(follow=False, notices=[*state.notices, *notices])


class Following:
    """How one page takes part in a lecture."""

    def __init__(self, explorer: Explorer, hall: Hall) -> None:
        self.explorer, self.hall = explorer, hall
        self.leads = False
        self._doc = pn.state.curdoc
        self._over = False
        self._keys = 0
        self._telling: asyncio.Future[None] | None = None
        self._tell_place = Paced(self._pass_place, MOVES)
        self._tell_numbers = Paced(self._show_numbers, NUMBERS)
        self.bar = LectureBar(margin=0, sizing_mode="stretch_width", stylesheets=[STAYS])
        if explorer.state.follow and self._doc is not None and lecture.mirrors is not None:
            lecture.mirrors.explorers[self._doc.session_context.id] = explorer
        else:
            self.bar.param.watch(self._proved, "key")
            explorer.state.param.watch(self._moved, list(PLACE_PARAMETERS))
            hall.on_place.append(self._show_role)
            pn.state.on_session_destroyed(lambda _: self.end())
        self._show_role()

    def end(self) -> None:
        """Leave the lecture for good."""
        if self._over:
            return
        self._over = True
        self._tell_place.stop()
        self._tell_numbers.stop()
        self.hall.on_place.remove(self._show_role)
        if self.leads:
            self.hall.leading -= 1
            self.hall.on_numbers.remove(self._tell_numbers)

    def _show_role(self) -> None:
        state = self.explorer.state
        if self.leads or state.follow:
            role = "leads" if self.leads else "follows"
        else:
            role = "explores" if self.hall.place and not state.embed else ""
        if role != self.bar.role:
            self.bar.role = role

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
            self.leads = True
            self.hall.leading += 1
            self.hall.on_numbers.append(self._tell_numbers)
            self._show_role()
        self._tell_place(at_once=True)
        self._tell_numbers()

    def _moved(self, *events: param.parameterized.Event) -> None:
        if self.leads:
            names = {event.name for event in events}
            self._tell_place(at_once=bool(names & AT_ONCE))
            if "scene" in names:
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
            self._telling = asyncio.ensure_future(self._in_turn(show))

    async def _in_turn(self, what: Callable[[], object]) -> None:
        """Do something to the page when nothing else is done to it."""
        doc = self._doc
        session = doc.session_context.session if doc and doc.session_context else None

        def done() -> None:
            assert doc is not None
            with session_of(doc), hold():
                what()

        if session is not None:
            try:
                await session.with_document_locked(done)
            except Exception as error:
                report(error)

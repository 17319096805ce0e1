"""A lecture that the hall takes part in: where the lecturer is, and what everybody guesses.

Everything that happens is a small message: the lecturer's pages and the followers' write them, and
`Hall.take` is the one place where they count.  Where several processes serve the hall, a broker
passes each message on to all of them (`broker.py`), so all know the same.  A message is checked in
any case: a browser or a broker may send anything.  Nobody is named, and nothing is kept but in
memory.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
import time
from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..story.scenes import SCENES
from .faults import UnwantedError

if TYPE_CHECKING:
    from .mirror import Mirrors

KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")
"""What a key may be: what needs no quoting in a link, and is too long to be guessed."""

MOST_GUESSES = 2000
"""Guesses of a scene; more pages than that are not heard."""

LARGEST_GUESS = 400.0
"""Of either sign: a guess is the log10 of a gain, or the number of a choice."""

LONGEST_PLACE = 8192
"""Characters of a link's query."""

PLACE = re.compile(rf"\?[!-~]{{1,{LONGEST_PLACE - 1}}}")
NAME = re.compile(r"[0-9a-f]{16}")
"""Of a page or of a process: a number drawn by chance."""

MOST_FOLLOWERS = 100_000

GONE = 15.0
"""Seconds after which a process that has said nothing is not counted any more."""

Message = Mapping[str, Any]


class Look(NamedTuple):
    """What can differ between pages that follow."""

    theme: str
    dark: bool


LOOKS = (Look("auto", False), Look("auto", True), Look("light", False), Look("dark", True))


def look_of(theme: str, system_dark: bool) -> Look:
    """How a page looks whose link asks for a theme, on a system that may be dark.

    >>> look_of("dark", False), look_of("", True)
    (Look(theme='dark', dark=True), Look(theme='auto', dark=True))
    """
    dark = theme == "dark" if theme in ("light", "dark") else system_dark
    return Look(theme if theme in ("light", "dark") else "auto", dark)


hall: Hall | None = None
"""The lecture of this process's server; `mhc-demo serve --hall` sets it."""

mirrors: Mirrors | None = None
"""The pages that those who follow see; likewise."""


def new_name() -> str:
    """A name for a page or a process, which says nothing about it."""
    return secrets.token_hex(8)


class Hall:
    """What the pages of one lecture have in common.

    The lecturer's pages are those that know `key`.  `on_place` are called when the lecturer has
    moved, `on_numbers` when there are other guesses or followers.  `pass_on` is called with each
    message of this process, for the others.
    """

    def __init__(self, key: str) -> None:
        if not KEY.fullmatch(key):
            raise ValueError(
                f"key must be 16 to 128 letters, digits, - or _, not one of {len(key)} characters "
                "that is too short or has others"
            )
        self._key = key.encode()
        self.name = new_name()
        """Of this process."""
        self.place = ""
        """Where the lecturer is, as a link's query; empty until there is a lecturer."""
        self.leading = 0
        """Pages of this process that lead."""
        self._guesses: dict[str, dict[str, float]] = {}
        self._followers: dict[str, tuple[int, float]] = {}
        self.on_place: list[Callable[[], None]] = []
        self.on_numbers: list[Callable[[], None]] = []
        self.pass_on: Callable[[Message], None] = lambda message: None

    def is_led_by(self, key: str) -> bool:
        """Whether this is the lecturer's key; takes as long whatever it is."""
        return hmac.compare_digest(key.encode("utf-8", "replace"), self._key)

    # ---- what happens ------------------------------------------------------------------------

    def say(self, message: Message) -> None:
        """Something happens in this process: it counts here, and others are told."""
        self.take(message)
        self.pass_on(message)

    def show(self, place: str) -> None:
        """The lecturer is at this place now."""
        if place != self.place:
            self.say({"place": place})

    def guess(self, page: str, scene: str, value: float) -> None:
        """A page guesses; its last guess in a scene counts."""
        self.say({"guess": [scene, page, value]})

    def clear(self, scene: str) -> None:
        """Forget all guesses in a scene."""
        self.say({"clear": scene})

    def count(self, followers: int) -> None:
        """So many pages of this process follow."""
        self.say({"followers": [self.name, followers]})

    def take(self, message: object) -> None:
        """Take over what happened, here or elsewhere.

        Raises UnwantedError for what is no such message.
        """
        match message:
            case {"place": str(place), **more} if not more and PLACE.fullmatch(place):
                if place != self.place:
                    self.place = place
                    _call(self.on_place)
            case {"guess": [str(scene), str(page), value], **more} if not more:
                if scene not in SCENES or not NAME.fullmatch(page):
                    raise UnwantedError("a guess of no page, or in no scene")
                guesses = self._guesses.setdefault(scene, {})
                if page in guesses or len(guesses) < MOST_GUESSES:
                    guesses[page] = number_of(value)
                    _call(self.on_numbers)
            case {"clear": str(scene), **more} if not more and scene in SCENES:
                if self._guesses.pop(scene, None):
                    _call(self.on_numbers)
            case {"followers": [str(process), int(count)], **more} if (
                not more and NAME.fullmatch(process) and 0 <= count <= MOST_FOLLOWERS
            ):
                self._followers[process] = count, time.monotonic()
                _call(self.on_numbers)
            case _:
                raise UnwantedError("no message of a lecture")

    # ---- what is known -----------------------------------------------------------------------

    def guesses(self, scene: str) -> list[float]:
        """What was guessed in a scene, a number for each page."""
        return list(self._guesses.get(scene, {}).values())

    @property
    def followers(self) -> int:
        """How many pages follow, in all processes."""
        late = time.monotonic() - GONE
        self._followers = {
            process: (count, said)
            for process, (count, said) in self._followers.items()
            if said > late or process == self.name
        }
        return sum(count for count, _ in self._followers.values())

    def followers_here(self) -> int:
        """How many pages of this process follow."""
        return self._followers.get(self.name, (0, 0.0))[0]


def _call(them: list[Callable[[], None]]) -> None:
    for each in list(them):
        each()


def number_of(value: object) -> float:
    """A guess as a number.

    Raises UnwantedError if it is none, or larger than any gain that a plot shows.
    """
    if type(value) not in (int, float) or not abs(value) <= LARGEST_GUESS:  # type: ignore[arg-type]
        raise UnwantedError(f"a guess that is no number from -{LARGEST_GUESS:g} to its opposite")
    return float(value)  # type: ignore[arg-type]


def guess_of(given: object, scene: str) -> float:
    """The number in what a browser gives as a guess, in the scene that its page shows.

    >>> guess_of({"scene": "surge", "value": 16}, "surge")
    16.0

    Raises UnwantedError for anything else.
    """
    match given:
        case {"scene": str(theirs), "value": value, **more} if not more and len(theirs) < 100:
            if theirs == scene and scene in SCENES:
                return number_of(value)
    raise UnwantedError("no guess in the present scene")


class Paced:
    """Calls something now, but not again for some seconds; then once, however often it was wished.

    So whoever drags a slider does not flood the others, and the last position always comes.
    """

    def __init__(self, call: Callable[[], object], seconds: float) -> None:
        self._call, self._seconds = call, seconds
        self._due: TimerHandle | None = None
        self._last = -math.inf

    def __call__(self, *, at_once: bool = False) -> None:
        """Wish for a call, in the loop's next turn if it may be `at_once`."""
        loop = get_running_loop()
        if self._due is not None:
            if not at_once:
                return
            self._due.cancel()
        wait = 0.0 if at_once else max(0.0, self._last + self._seconds - loop.time())
        self._due = loop.call_later(wait, self._now)

    def _now(self) -> None:
        self._due = None
        self._last = get_running_loop().time()
        self._call()

    def stop(self) -> None:
        """Forget a wish."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

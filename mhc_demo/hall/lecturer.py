"""The lecturer before a hall that follows: goes from scene to scene, and notes when.

A visitor like the others, whose page leads because it knows the key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from .browser import RefusedError
from .visitor import BAR, SEED, Visitor

PATIENCE = 60.0
"""Seconds in which the server must take the key."""


class Move(NamedTuple):
    """A change of scene, and when the lecturer's page was told to make it."""

    scene: str
    at: float


def page_of(link: str) -> tuple[str, str]:
    """The page that a lecturer's link opens, and its key; empty if it has none.

    >>> page_of("http://localhost:5006/app#lead=abc")
    ('http://localhost:5006/app', 'abc')
    """
    parts = urlsplit(link)
    key = parts.fragment.removeprefix("lead=") if parts.fragment.startswith("lead=") else ""
    return urlunsplit(parts._replace(fragment="")), key


def follower_s(page: str) -> str:
    """The link of those who follow.

    >>> follower_s("http://localhost:5006/app?theme=dark")
    'http://localhost:5006/app?theme=dark&follow=1'
    """
    return page + ("&" if urlsplit(page).query else "?") + "follow=1"


async def lead(
    page: str, key: str, *, moves: int, every: float, tell: Callable[[], None] = lambda: None
) -> list[Move]:
    """Go through so many changes of scene, one every so many seconds, after the first one.

    `tell` is called when the lecturer leads and has shown the first scene for that time.  Raises
    RefusedError if the server does not let this page lead.
    """
    visitor = Visitor(page)
    made = []
    try:
        async with asyncio.timeout(PATIENCE):
            opening = await visitor.open()
            if opening.why_not:
                raise RefusedError(f"the lecturer's page cannot be opened: {opening.why_not}")
            scenes = visitor.scenes
            await visitor.join(wanted=True)
            await visitor.see()
            if BAR not in visitor.known:
                raise RefusedError(f"the server at {page} has no hall that follows: serve --hall")
            await visitor.set(BAR, "key", key)
            while visitor.values[BAR] != "leads":
                if visitor.refused:
                    raise RefusedError("the key is not the one that the server printed")
                await asyncio.sleep(0.05)
        for number in range(moves + 1):
            scene = scenes[number % len(scenes)]
            if number:
                made.append(Move(scene, time.monotonic()))
            await visitor.set(SEED, "scene", scene)
            await asyncio.sleep(every)
            if not number:
                tell()
    finally:
        await visitor.leave()
    return made

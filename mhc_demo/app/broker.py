"""The broker that passes a lecture's messages on where several processes serve the hall.

Redis or Valkey, by Redis's own client.  A message is published, and what a process that starts
later has to know (where the lecturer is, what was guessed) is also kept there for some hours, under
a name that is made from the lecturer's key, so that two lectures can share a broker.  Without the
broker each process goes on by itself; when it is back, what happened last is said again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ..story.scenes import SCENES
from .faults import UnwantedError, one_line
from .lecture import MOST_GUESSES, Hall, Message, new_name

log = logging.getLogger(__name__)

KEPT = 12 * 3600
"""Seconds for which the broker keeps a lecture that nobody changes."""

AGAIN = 2.0
"""Seconds until a broker that is not there is asked again."""

HEARTBEAT = 5.0
"""Seconds between two times that a process says how many follow in it."""

LONGEST = 16_384
"""Bytes of a message."""

MOST_WAITING = 4 * MOST_GUESSES
"""Messages that wait for a broker that is not there."""


def missing() -> str | None:
    """Why there can be no broker, or None."""
    try:
        import redis  # noqa: F401
    except ImportError:
        return "the Python package redis is not installed; pip install 'mhc-demo[broker]'"
    return None


class Broker:
    """Connects a hall with those of other processes, as long as `run` runs."""

    def __init__(self, hall: Hall, url: str, key: str) -> None:
        from redis.asyncio import from_url

        self.hall = hall
        hall.name = new_name()  # the server's processes begin as copies of one
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        self._channel = f"mhc-demo:{name}"
        self._client = from_url(url, socket_connect_timeout=AGAIN, health_check_interval=20)
        self._waiting: dict[tuple[str, ...], Message] = {}
        self._news = asyncio.Event()
        self.connected = asyncio.Event()
        """Whether this process hears the others."""
        hall.pass_on = self._pass_on

    async def run(self) -> None:
        """Listen and speak for ever, with one connection after the other."""
        speaking = asyncio.create_task(self._speak())
        beating = asyncio.create_task(self._beat())
        try:
            await self._persist(self._listen)
        finally:
            self.hall.pass_on = lambda message: None
            for task in (speaking, beating):
                task.cancel()
            await asyncio.gather(speaking, beating, return_exceptions=True)
            await self._client.aclose()

    async def _persist(self, what: Callable[[], Awaitable[None]]) -> None:
        from redis.exceptions import RedisError

        told = ""
        while True:
            try:
                await what()
            except (RedisError, OSError, ValueError) as error:
                why = one_line(error)
                if why != told:  # else a line every two seconds
                    log.warning("the broker of the lecture does not answer: %s", why)
                    told = why
            self.connected.clear()
            await asyncio.sleep(AGAIN)

    # ---- listening ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        async with self._client.pubsub() as channel:
            await channel.subscribe(self._channel)
            async for heard in channel.listen():
                if heard["type"] == "subscribe":  # the client also connects again by itself
                    await self._catch_up()
                    self.connected.set()
                elif heard["type"] == "message":
                    self._take(heard["data"])

    async def _catch_up(self) -> None:
        """Take over what happened before, and say again what the broker may have missed."""
        pipe = self._client.pipeline(transaction=False)
        pipe.get(self._channel)
        for scene in SCENES:
            pipe.hgetall(self._guesses(scene))
        place, *guesses = await pipe.execute()
        if self.hall.leading:
            self._pass_on({"place": self.hall.place})
        elif place is not None:
            self._heed({"place": place.decode("utf-8", "replace")})
        for scene, of_scene in zip(SCENES, guesses, strict=True):
            for page, value in list(of_scene.items())[:MOST_GUESSES]:
                with suppress(ValueError):
                    self._heed({"guess": [scene, page.decode(), float(value)]})

    def _take(self, data: bytes) -> None:
        try:
            heard = json.loads(data) if len(data) <= LONGEST else None
        except (ValueError, RecursionError):
            heard = None
        match heard:
            case {"from": str(sender), "said": said}:
                if sender != self.hall.name:  # ours counts already, and may be an old one by now
                    self._heed(said)
            case _:
                log.warning("a message of the broker was ignored")

    def _heed(self, said: object) -> None:
        try:
            self.hall.take(said)
        except UnwantedError as error:
            log.warning("a message of the broker was ignored: %s", one_line(error))

    # ---- speaking ----------------------------------------------------------------------------

    def _pass_on(self, message: Message) -> None:
        """Send it when the broker is there; of what changes the same thing, only the last."""
        [(kind, what)] = message.items()
        about = {"guess": what[:2], "clear": [what], "followers": what[:1]}.get(kind, [])
        if kind == "clear":
            for each in [w for w in self._waiting if w[:2] == ("guess", what)]:
                del self._waiting[each]
        if len(self._waiting) < MOST_WAITING:
            self._waiting.pop((kind, *about), None)
            self._waiting[kind, *about] = message
            self._news.set()

    async def _speak(self) -> None:
        await self._persist(self._send_all)

    async def _send_all(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            sent = dict(self._waiting)
            if not sent:
                continue
            try:
                pipe = self._client.pipeline(transaction=True)
                for message in sent.values():
                    self._put(pipe, message)
                await pipe.execute()
            except BaseException:
                self._news.set()
                raise
            for about, message in sent.items():
                if self._waiting.get(about) is message:
                    del self._waiting[about]

    def _put(self, pipe: Any, message: Message) -> None:
        match message:
            case {"place": place}:
                pipe.set(self._channel, place, ex=KEPT)
            case {"guess": [scene, page, value]}:
                pipe.hset(self._guesses(scene), page, json.dumps(value))
                pipe.expire(self._guesses(scene), KEPT)
            case {"clear": scene}:
                pipe.delete(self._guesses(scene))
        pipe.publish(self._channel, json.dumps({"from": self.hall.name, "said": message}))

    def _guesses(self, scene: str) -> str:
        return f"{self._channel}:{scene}"

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            if count := self.hall.followers_here():
                self._pass_on({"followers": [self.hall.name, count]})

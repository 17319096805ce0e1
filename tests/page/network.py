"""A network between browser and server that can be cut, and that can stand still."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable


class Network:
    """Carries whatever comes to `port` to another port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._there = True
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()  # to the end
        self.port: int = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._do(self._server.close)

    def cut(self) -> None:
        """End all connections, and refuse new ones."""

        def end() -> None:
            self._there = False
            for each in self._ends:
                each.transport.abort()

        self._do(end)

    def stand_still(self) -> None:
        """Carry nothing, without a word."""
        self._do(self._moving.clear)

    def go_on(self) -> None:
        """Be whole again; what stood still arrives."""

        def mend() -> None:
            self._there = True
            self._moving.set()

        self._do(mend)

    def _do(self, what: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(what)

    async def _listen(self) -> int:
        self._moving = asyncio.Event()
        self._moving.set()
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        try:
            if self._there:
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
                ends.add(back)
                self._ends |= ends
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:  # nobody listens there
            pass
        finally:
            self._ends -= ends
            for each in ends:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                await self._moving.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

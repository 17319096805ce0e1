"""The explorer in a notebook: its page in a frame, served by the notebook's own process.

A frame, because a page writes the address bar, listens to keys and sets fonts, and must not do that
to the notebook.  So the notebook needs no extension, explorers do not disturb each other, and no
other host is contacted.  A server in a thread of its own, so that the page answers while a cell
runs; one server for all frames, each of which has an address that cannot be guessed.  The page has
a state of its own, since only its server's thread may touch it, and the two states are kept equal.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from weakref import WeakKeyDictionary, ref

import panel as pn
import param
from tornado.ioloop import IOLoop

from . import explorer, guard
from ._panel import http_server, tornado_application
from .page import create
from .state import URL_PARAMETERS, State

HEIGHT = 760
"""The height of the frame, in pixels: enough for the headline, the dial and a plot."""

NAMES = list(URL_PARAMETERS)


@dataclass
class Shown:
    """What a frame shows, even if the notebook has let go of the explorer since."""

    state: ref[State]
    kernel: asyncio.AbstractEventLoop
    values: dict[str, Any]
    """The values of the state, or the last ones if the state is gone."""
    tell_page: list[Callable[[dict[str, Any]], None]] = field(default_factory=list)
    """A function for each open page."""

    def changed(self, *events: param.parameterized.Event) -> None:
        values = {event.name: event.new for event in events}
        self.values.update(values)
        for tell in list(self.tell_page):
            tell(values)


_shown: dict[str, Shown] = {}
"""What frames show, by the key in their addresses; kept as long as the kernel runs, and small."""

_keys: WeakKeyDictionary[State, str] = WeakKeyDictionary()

_port: Future[int] | None = None


class Explorer(explorer.Explorer):
    """The interactive explorer; shows itself in a notebook, `.servable()` in an app.

    Keyword arguments are the parameters of `State`: `Explorer(depth=64, iterations=1)`.
    """

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, str]:
        """What a notebook displays."""
        return {"text/plain": repr(self), "text/html": frame(self.state)}


def frame(state: State) -> str:
    """HTML that shows the page with `state`, and keeps the two equal while the kernel runs.

    A state has one address, however often it is shown.  Nothing here keeps the state alive:
    without it, the frame goes on by itself.

    Raises RuntimeError where no event loop runs: it is for cells of a notebook.
    """
    kernel = asyncio.get_running_loop()
    key = _keys.setdefault(state, secrets.token_urlsafe())
    if key not in _shown:
        _shown[key] = Shown(ref(state), kernel, {name: getattr(state, name) for name in NAMES})
        state.param.watch(_shown[key].changed, NAMES)
    return (
        f'<iframe src="http://localhost:{_server_port()}/explorer/{key}" width="100%" '
        f'height="{HEIGHT}" style="border: 0" '
        'title="Explorer of the gain of composite mappings"></iframe>'
    )


def _server_port() -> int:
    """The port of this process's server, which is started if there is none."""
    global _port
    if _port is None or (_port.done() and _port.exception()):
        _port = Future()
        Thread(target=_serve, args=(_port,), daemon=True).start()
    return _port.result()


def _serve(port: Future[int]) -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    try:
        server = pn.serve(
            {"/explorer/{key}": _page},
            address="localhost",
            title="mHC demo",
            show=False,
            start=False,
            verbose=False,
            **guard.options(frame_ancestors=None),  # any notebook's
        )
        guard.protect(tornado_application(server))
        guard.keep_some_files(http_server(server))
        server.start()
    except BaseException as error:
        port.set_exception(error)
        raise
    port.set_result(server.port)
    server.io_loop.start()


def _page() -> pn.viewable.Viewable:
    """The page of one frame, tied to the state of the notebook's explorer."""
    document, loop = pn.state.curdoc, IOLoop.current()
    shown = _shown.get(pn.state.route_params["key"])
    if shown is None:
        return pn.pane.Str("The kernel that showed this explorer has ended: run its cell again.")
    ours = State(**shown.values)
    page = create(ours)
    from_page: dict[str, Any] = {}  # while the kernel takes it over: not to be sent back

    def tell_kernel(*events: param.parameterized.Event) -> None:
        values = {event.name: event.new for event in events}
        if shown.state() is None:
            shown.values.update(values)
        else:
            shown.kernel.call_soon_threadsafe(take_over, values)

    def take_over(values: dict[str, Any]) -> None:
        if (theirs := shown.state()) is not None:
            from_page.update(values)
            theirs.param.update(**values)
            from_page.clear()

    def tell_page(values: dict[str, Any]) -> None:
        new = {name: value for name, value in values.items() if name not in from_page}
        # On the page's own thread: while that holds changes back, as it often does at the start,
        # what another thread adds to the document is held back too, and may be lost.
        loop.add_callback(document.add_next_tick_callback, lambda: ours.param.update(**new))

    ours.param.watch(tell_kernel, NAMES)
    shown.tell_page.append(tell_page)
    pn.state.on_session_destroyed(lambda _: shown.tell_page.remove(tell_page))
    return page

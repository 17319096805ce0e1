"""The explorer in a notebook: its page in a frame, served by the notebook's own process.

A frame, because a page writes its address, listens to keys and brings its type along, all of which
would be the notebook's; so the notebook needs no extension, no two explorers meet, and no other
host is asked for anything.  A thread of its own, because then the page also answers while a cell
runs.  The page has a state of its own too, and each side tells the other what changes: what belongs
to a page is touched by its server's thread alone.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread

import panel as pn
import panel_material_ui as pmui
import param

from .page import create
from .state import URL_PARAMETERS, State

HEIGHT = 760
"""Of the frame, in pixels: the headline, the dial and a first plot."""


def frame(state: State) -> str:
    """HTML that shows the page with `state`, and keeps the two equal while the kernel runs.

    Raises RuntimeError where no event loop runs: it is for what a notebook's cell displays.
    """
    kernel = asyncio.get_running_loop()
    port: Future[int] = Future()
    Thread(target=_serve, args=(state, kernel, port), daemon=True).start()
    return (
        f'<iframe src="http://localhost:{port.result()}/app" width="100%" height="{HEIGHT}" '
        'style="border: 0" title="Explorer of the gain of composite mappings"></iframe>'
    )


def _serve(state: State, kernel: asyncio.AbstractEventLoop, port: Future[int]) -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    try:
        server = pn.serve(
            {"app": lambda: _page(state, kernel)},
            address="localhost",
            title="mHC demo",
            show=False,
            start=False,
            verbose=False,
        )
        server.start()
    except BaseException as error:
        port.set_exception(error)
        raise
    port.set_result(server.port)
    server.io_loop.start()


def _page(theirs: State, kernel: asyncio.AbstractEventLoop) -> pmui.Page:
    """The page of one frame, tied to the state of the explorer that the notebook holds."""
    document = pn.state.curdoc
    names = list(URL_PARAMETERS)
    ours = State(**{name: getattr(theirs, name) for name in names})
    page = create(ours)
    heard: dict[str, object] = {}  # from the page, by the kernel: not to be sent back there

    def tell_kernel(*events: param.parameterized.Event) -> None:
        kernel.call_soon_threadsafe(hear, {event.name: event.new for event in events})

    def hear(values: dict[str, object]) -> None:
        heard.update(values)
        theirs.param.update(**values)
        heard.clear()

    def tell_page(*events: param.parameterized.Event) -> None:
        values = {event.name: event.new for event in events if event.name not in heard}
        document.add_next_tick_callback(lambda: ours.param.update(**values))

    ours.param.watch(tell_kernel, names)
    told = theirs.param.watch(tell_page, names)
    pn.state.on_session_destroyed(lambda _: theirs.param.unwatch(told))
    return page

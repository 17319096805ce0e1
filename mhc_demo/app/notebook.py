"""The explorer in a notebook: a file in a frame, in whose place comes the page where it can.

The page is served by the notebook's own process, which a browser often cannot reach: the kernel
may be on another machine, or the notebook may be a saved one without a kernel.  So a cell's output
holds the exported file (`export/framed.py`), and a script beside it asks for the page: on this
machine, if the notebook was opened from it, and through the notebook's own server if that has the
extension jupyter-server-proxy.  Only if the kernel answers does the page take the file's place.
Panel's own way into notebooks, its comms, needs no address, but it needs an extension in each kind
of notebook, puts the page's scripts and styles into the notebook's own document, and leaves nothing
to see in a saved one.

A frame, because a page writes the address bar, listens to keys and sets fonts, and must not do that
to the notebook.  So the notebook needs no extension, explorers do not disturb each other, and no
other host is contacted.  A server in a thread of its own, so that the page answers while a cell
runs; one server for all frames, each of which has an address that cannot be guessed.  The page has
a state of its own, since only its server's thread may touch it, and the two states are kept equal.
"""

from __future__ import annotations

import asyncio
import json
import re
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
from tornado.web import RequestHandler

from ..export.embed import export_html, plots_of
from ..export.framed import HEIGHT, framed, still_figure
from ..figures.signal import USUAL
from ..figures.still import picture, told
from ..numerics.surface import Experiment
from . import explorer, guard
from ._panel import http_server, tornado_application
from .page import create
from .state import URL_PARAMETERS, State
from .views import VIEWS

TITLE = "Explorer of the gain of composite mappings"
PICTURE = "Composite gain against depth"

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

    Keyword arguments are the parameters of `State`: `Explorer(depth=64, iterations=1)`.  `live`
    says what a notebook shows: None, a file in whose place comes the page where the browser reaches
    the kernel; False, the file alone; True, the page on this machine, whether it is reached or not.
    """

    def __init__(self, state: State | None = None, *, live: bool | None = None, **params: Any):
        if live is not None and not isinstance(live, bool):
            raise TypeError(f"live must be None, False or True, not {live!r}")
        super().__init__(state, **params)
        self.live = live

    def __repr__(self) -> str:
        state = self.state
        given = {name: getattr(state, name) for name in NAMES}
        changed = [f"{k}={v!r}" for k, v in given.items() if v != state.param[k].default]
        return f"Explorer({', '.join(changed)})"

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, str]:
        """What a notebook displays."""
        if self.live:
            return {"text/plain": repr(self), "text/html": frame(self.state)}
        shown = self.surface, self.state.position()
        words = told(*shown)
        return {
            "text/plain": f"{self!r}\n{_plain(words)}",
            "text/html": _filed(self.state, words, picture(*shown), alone=self.live is False),
            "image/svg+xml": picture(*shown),
        }


def frame(state: State) -> str:
    """HTML that shows the page with `state`, and keeps the two equal while the kernel runs.

    Raises RuntimeError where no event loop runs: it is for cells of a notebook.
    """
    return (
        f'<iframe src="http://localhost:{_server_port()}{_path(state)}" width="100%" '
        f'height="{HEIGHT}" style="border: 0" title="{TITLE}"></iframe>'
    )


def _filed(state: State, words: str, svg: str, *, alone: bool) -> str:
    """HTML that shows a file of what an explorer shows, and the page if that is reached.

    `alone`: the file, and never the page.  A view that needs the server has no file: then a picture
    stands there, and says so.
    """
    script = "" if alone else _going_live(state)
    page = _file(state)
    if page is None:
        view = VIEWS[state.view].title
        missing = (
            f"The view “{view}” needs a kernel that this browser reaches; here is the gain of the "
            f"same matrices. {words}"
        )
        # An empty frame, of which the page takes the place.
        return f"<div>{still_figure(svg, missing, PICTURE)}<script>{script}</script></div>"
    instead = still_figure(svg, f"{words} In a notebook that runs scripts, it moves.", PICTURE)
    return framed(page, title=TITLE, instead=instead, script=script)


def _file(state: State) -> str | None:
    """The page's view as a file, or None if a file cannot hold it."""
    try:
        plots = plots_of(state.view)
    except ValueError:
        return None
    if state.view == "sinkhorn" and state.own:
        return None
    return export_html(
        Experiment(**state.values_of_experiment()),
        scene=state.scene or None,
        depth=state.depth,
        iterations=state.iterations,
        plots=plots,
        title=None if state.scene else "",
        theme=state.theme,
        device=state.device,
        signal={name: getattr(state, name) for name in USUAL},
        layer=state.layer,
        scale=state.scale,
        pinned=state.pinned,
    )


def _plain(markup: str) -> str:
    """A sentence without its tags; what is raised in it has a ^."""
    return re.sub(r"<[^>]+>", "", markup.replace("<sup>", "^"))


GO_LIVE = """\
(async ({port, path}) => {
  const holder = document.currentScript?.parentNode;
  if (!holder) return;
  const places = [];
  // The address of this machine is asked only by notebooks of this machine: a saved one on another
  // host must not try the ports of who reads it.
  const here = /^(localhost|127\\.\\d+\\.\\d+\\.\\d+|\\[::1\\])$/.test(location.hostname);
  if (here || location.protocol === "vscode-webview:") places.push(`http://localhost:${port}`);
  const config = document.getElementById("jupyter-config-data"); // JupyterLab, Notebook 7
  if (config) places.push(`${JSON.parse(config.textContent).baseUrl ?? "/"}proxy/${port}`);
  for (const place of places) {
    try {
      const answer = await fetch(`${place}${path}/liveness`, {cache: "no-store"});
      if ((await answer.json()).alive !== true) continue;
    } catch {
      continue; // nobody there, or somebody else
    }
    const live = document.createElement("iframe");
    Object.assign(live, {src: `${place}${path}`, width: "100%", height: HEIGHT, title: TITLE});
    live.style.border = 0;
    holder.replaceChildren(live);
    return;
  }
})(PLACE);"""


def _going_live(state: State) -> str:
    """The script that puts the page in the file's place; "" where no event loop runs."""
    try:
        place = {"port": _server_port(), "path": _path(state)}
    except RuntimeError:
        return ""
    script = GO_LIVE.replace("PLACE", json.dumps(place))
    return script.replace("HEIGHT", str(HEIGHT)).replace("TITLE", json.dumps(TITLE))


def _path(state: State) -> str:
    """The path of a state's page on our server.

    A state has one, however often it is shown.  Nothing here keeps the state alive: without it, the
    page goes on by itself.

    Raises RuntimeError where no event loop runs.
    """
    kernel = asyncio.get_running_loop()
    key = _keys.setdefault(state, secrets.token_urlsafe())
    if key not in _shown:
        _shown[key] = Shown(ref(state), kernel, {name: getattr(state, name) for name in NAMES})
        state.param.watch(_shown[key].changed, NAMES)
    return f"/explorer/{key}"


class Alive(RequestHandler):
    """Says to any origin that knows a page's address whether this kernel has that page."""

    def get(self, key: str) -> None:
        self.set_header("Access-Control-Allow-Origin", "*")
        self.write({"alive": key in _shown})


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
        application = tornado_application(server)
        application.add_handlers(r".*", [(r"/explorer/([\w-]+)/liveness", Alive)])
        # Behind a proxy the page has the notebook's origin, whatever that is.  Who does not know
        # the page's address gets no token, and without one no websocket.
        application.websocket_origins.add("*")
        guard.protect(application)
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

"""A Bokeh layout as a file of its own: HTML, or SVG and PNG with the help of a browser.

Bokeh draws in a browser, so a picture needs one.  Any Chromium does (Chrome, Edge): it is started
without a window, loads a page from this process, and sends the picture back.  That needs no driver
and no Python package, and no waiting time is guessed.  The browser sees this page alone, and
leaves nothing behind: its folder is temporary.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bokeh.embed import json_item
from bokeh.models import LayoutDOM
from bokeh.resources import Resources
from bokeh.themes import Theme

from ..scripts import PLOT, text_of

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "chromium-headless-shell",
)
"""Names of browsers on the path; the first one found is taken."""

ELSEWHERE = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": tuple(
        rf"{folder}\{name}.exe"
        for folder in (r"C:\Program Files", r"C:\Program Files (x86)")
        for name in (
            r"Google\Chrome\Application\chrome.exe",
            r"Microsoft\Edge\Application\msedge.exe",
        )
    ),
}
"""Where browsers are on systems that do not put them on the path."""

VARIABLE = "MHC_BROWSER"
"""The environment variable that names the browser to take."""

PATIENCE = 60
"""Seconds that a browser may take to draw."""


class NoPictureError(RuntimeError):
    """There is no browser, or it drew nothing; the message says what to do."""


def html(layout: LayoutDOM, title: str, theme: Theme, background: str) -> str:
    """A page with the layout and all scripts in it, which asks no other host for anything."""
    return _page(layout, title, theme, background, "")


def draw(
    layout: LayoutDOM,
    title: str,
    theme: Theme,
    background: str,
    *,
    suffix: str,
    scale: float = 1.0,
    browser: str | None = None,
) -> bytes:
    """The layout as an SVG or PNG file (`suffix` ".svg" or ".png"), drawn by a headless browser.

    A PNG file has `scale` pixels for each pixel of the layout.  `browser` is the program to use;
    by default the one named by the environment variable MHC_BROWSER, else the first one found.

    Raises NoPictureError, which says what to do, if there is none or it does not draw in a minute.
    """
    program = find_browser(browser)
    send = SEND.replace("TYPE", json.dumps(suffix.removeprefix(".")))
    page = _page(layout, title, theme, background, send)
    answers: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
    with _server(page, answers) as address:
        command = [program, *OPTIONS, f"--window-size={layout.width},{layout.height}"]
        command += [f"--force-device-scale-factor={scale}", address]
        browser_runs = _Browser(command)
        try:
            browser_runs.start()
            what, answer = _answer(answers, browser_runs)
        except NoPictureError as error:
            raise NoPictureError(f"{program} {error}; {ADVICE}") from None
        finally:
            browser_runs.end()
    if what == "failed":
        raise NoPictureError(f"{program} failed: {answer.decode(errors='replace')}; {ADVICE}")
    return answer


def find_browser(browser: str | None = None) -> str:
    """The browser to draw with: the named one, or the first known one that is installed.

    Raises NoPictureError if there is none.
    """
    named = browser or os.environ.get(VARIABLE)
    if named:
        program = shutil.which(named)
        if program is None:
            raise NoPictureError(f"there is no browser {named!r}")
        return program
    candidates = (*BROWSERS, *ELSEWHERE.get(sys.platform, ()))
    for program in map(shutil.which, candidates):
        if program is not None:
            return program
    raise NoPictureError(
        f"a browser has to draw it, and none of {', '.join(BROWSERS)} is here: install Chromium or "
        f"Chrome, name another of their kind with --browser or {VARIABLE}, or write .html"
    )


ADVICE = "name another browser with --browser, or write .html"

OPTIONS = [
    "--headless",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--remote-debugging-port=0",  # without it some exit once the page is loaded
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),  # root needs this
]

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ margin: 0; background: {background}; }}
#picture {{ margin: auto; width: fit-content; }}
</style>
</head>
<body>
<div id="picture"></div>
<script>{bokeh}</script>
<script>{mhc}</script>
<script>
const picture = Bokeh.embed.embed_item({item}, "picture");
{script}
</script>
</body>
</html>
"""

SEND = """\
(async () => {
  const send = (what, body) => fetch(`${location.pathname}/${what}`, {method: "POST", body});
  try {
    const [view] = (await picture).roots;
    const doc = view.model.document;
    if (!doc.is_idle) await new Promise((done) => doc.idle.connect(done));
    // Bokeh's own background covers the layout's pixels, which are fewer than the file's.
    const plot = view.export(TYPE, true);
    const {width, height} = view.bbox;
    const layer = new plot.constructor(plot.backend, true);
    layer.resize(width, height);
    const ctx = layer.prepare();
    ctx.fillStyle = getComputedStyle(view.el).backgroundColor;
    ctx.fillRect(-1, -1, width + 2, height + 2);
    ctx.drawImage(plot.canvas, 0, 0, width, height);
    layer.finish();
    if (TYPE === "svg") {
      const svg = layer.ctx.get_svg();
      svg.setAttribute("role", "img");
      svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
      for (const outline of svg.querySelectorAll("text[stroke-opacity='0']")) outline.remove();
      const title = document.createElementNS(svg.namespaceURI, "title");
      title.textContent = document.title;
      svg.prepend(title);
    }
    await send("drawn", await layer.to_blob());
  } catch (error) {
    await send("failed", String(error));
  }
})();"""


def _page(layout: LayoutDOM, title: str, theme: Theme, background: str, script: str) -> str:
    item = json.dumps(json_item(layout, theme=theme)).replace("</", "<\\/")
    bokeh = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    return PAGE.format(
        title=escape(title),
        background=background,
        bokeh=bokeh,
        mhc=text_of(*PLOT),
        item=item,
        script=script,
    )


@contextmanager
def _server(page: str, answers: SimpleQueue[tuple[str, bytes]]) -> Iterator[str]:
    """Serve the page at an address that nobody else knows, and put its answer into `answers`."""
    path = f"/{secrets.token_urlsafe()}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, page.encode()) if self.path == path else self._reply(404, b"")

        def do_POST(self) -> None:
            where, _, what = self.path.rpartition("/")
            if where != path:
                return self._reply(404, b"")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(200, b"")
            answers.put((what, body))

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *about: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # the browser was ended
                super().handle_error(*about)

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{path}"
        server.shutdown()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mhc-"))
    try:
        yield folder
    finally:
        for _ in range(50):  # the browser's own processes may still write for a moment
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.1)


class _Browser(threading.Thread):
    """The browser, started and ended in a thread, which no signal can interrupt.

    Otherwise Ctrl-C at the wrong moment would leave it running, or leave its folder behind.
    """

    def __init__(self, command: list[str]) -> None:
        super().__init__()
        self.command = command
        self.failure: Exception | None = None
        self.ended_with: int | None = None
        self.unwanted = threading.Event()

    def run(self) -> None:
        try:
            with _folder() as folder, open(folder / "log", "wb") as log:
                program, *options = self.command
                # In a session of its own it does not get Ctrl-C.
                process = subprocess.Popen(
                    [program, f"--user-data-dir={folder}", *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "TMPDIR": str(folder)},  # it leaves its files there
                    start_new_session=True,
                )
                while not self.unwanted.wait(0.2) and self.ended_with is None:
                    self.ended_with = process.poll()
                _end(process)
        except Exception as error:
            self.failure = error

    def end(self) -> None:
        self.unwanted.set()
        if self.ident is not None:
            self.join()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the browser: by SIGTERM first, on which it ends its own processes too."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if os.name == "posix":  # a process that outlives it would write into the folder again
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _answer(answers: SimpleQueue[tuple[str, bytes]], browser: _Browser) -> tuple[str, bytes]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            return answers.get(timeout=0.2)
        except Empty:
            if browser.failure is not None:
                raise browser.failure from None
            if browser.ended_with is not None:
                raise NoPictureError(f"ended with exit code {browser.ended_with}") from None
    raise NoPictureError(f"has drawn nothing in {PATIENCE} seconds")

"""A served page and a real Chromium, and the hands and eyes of the measurements on the page.

A move is timed from the browser's dispatch of the event to the first task after the frame in which
the main plot was painted with the new state.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from .results import BROWSERS, ROOT

PATIENCE = 180_000  # ms; a busy machine is to be measured too

PROBE = """([name, for_data]) => {
  const doc = Bokeh.documents[0]
  const view = Bokeh.index.find_one_by_id(doc.get_model_by_name(name).id)
  const probe = (window.probe = {times: [], event: null, start: null, for_data})
  const changed = () => { probe.start ??= probe.event }
  for (const event of ["pointermove", "keydown", "pointerdown"])
    addEventListener(event, () => { probe.event = performance.now() }, {capture: true})
  let before = ""
  mhc.listen(doc, ({depth, iterations, replay}) => {
    const now = `${depth}, ${iterations}, ${replay}` // the same, if new tables came
    if (now !== before && !probe.for_data) changed()
    before = now
  })
  doc.get_model_by_name("surface").properties.data.change.connect(() => {
    if (probe.for_data) changed()
  })
  const paint = view._actual_paint
  view._actual_paint = function (...args) {
    paint.apply(this, args)
    if (probe.start === null) return
    const start = probe.start
    probe.start = null
    // Tasks of lower priority may be put off while a hand moves.
    const painted = () => probe.times.push(performance.now() - start)
    scheduler.postTask(painted, {priority: "user-blocking"})
  }
  probe.start = null
}"""
"""Times every repaint of the plot of a name that a move of depth or iterations led to; with
`probe.for_data`, one that new data led to."""

FIRST_PAINT = """
(() => {
  const look = () => {
    const doc = window.Bokeh?.documents?.[0]
    const first = ["signal-hc", "composite", "runs-gain"]
    const plot = first.map((name) => doc?.get_model_by_name(name)).find(Boolean)
    const view = plot && Bokeh.index.find_one_by_id(plot.id)
    if (view?._render_count > 0) window.first_paint = performance.now()
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
})()"""


@contextlib.contextmanager
def served(folder: Path = ROOT) -> Iterator[tuple[str, int]]:
    """`panel serve app.py` on a free port; yields (address of the page, process id)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "panel", "serve", "app.py", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://localhost:{port}/app"
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address, timeout=PATIENCE / 1000).read()
                break
            if server.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {server.returncode}")
            time.sleep(0.1)
        else:
            raise TimeoutError("the server does not answer")
        yield address, server.pid
    finally:
        server.kill()  # nothing of it is kept, and a busy machine may take long to end it in order
        server.wait()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium: the system's if it is there, else Playwright's own."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    options: dict[str, Any] = {"executable_path": binary} if binary else {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"], **options
        )
        yield browser
        browser.close()


def ready(page: Page, address: str) -> None:
    """Open the page and wait until its first plot is painted."""
    page.set_default_timeout(PATIENCE)
    page.add_init_script(FIRST_PAINT)
    page.goto(address)
    page.wait_for_function("window.first_paint !== undefined")


def joined(page: Page) -> None:
    """Wait until the live page has taken the place of the first one."""
    page.evaluate("() => window.mhc?.first?.want({})")  # else it comes when the server has time
    page.wait_for_function("document.documentElement.classList.contains('mhc-joined')")


def times_so_far(page: Page) -> np.ndarray:
    """The probe's times in ms since the last call."""
    page.wait_for_timeout(400)
    return np.array(page.evaluate("() => probe.times.splice(0)"))


def drag(page: Page, name: str, moves: int) -> np.ndarray:
    """Times of dragging a slider to and fro."""
    rail = page.get_by_role("slider", name=name).bounding_box()
    assert rail
    y = rail["y"] + rail["height"] / 2
    page.mouse.move(rail["x"] + rail["width"] / 2, y)
    page.mouse.down()
    times_so_far(page)
    for i in range(moves):
        page.mouse.move(rail["x"] + rail["width"] * (0.5 + 0.45 * math.sin(i / 9)), y)
        page.wait_for_timeout(30)
    page.mouse.up()
    return times_so_far(page)


def press(page: Page, name: str, presses: int, pause: int, turn: int = 5) -> np.ndarray:
    """Times of arrow keys on a slider: `turn` to the right, as many to the left, and again."""
    page.get_by_role("slider", name=name).focus()
    times_so_far(page)
    for i in range(presses):
        page.keyboard.press(arrow(i, turn))
        page.wait_for_timeout(pause)
    return times_so_far(page)


def arrow(i: int, turn: int) -> str:
    """The i-th key: `turn` to the right, as many to the left, and again."""
    return "ArrowRight" if i // turn % 2 == 0 else "ArrowLeft"


def round_trips(page: Page, act: Callable[[int], None], count: int) -> np.ndarray:
    """Times of `act(0)`, `act(1)`, ..., each done once the plot of the one before is painted."""
    times_so_far(page)
    for i in range(count):
        act(i)
        page.wait_for_function("done => probe.times.length > done", arg=i)
        page.wait_for_timeout(200)
    return times_so_far(page)

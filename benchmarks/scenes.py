"""The next scene of the story.

From the clicker's key to the last plot painted, at 1920 x 1080 in headless Chromium, and how long
the server's event loop is kept from its other visitors by it. What is computed ahead, while the
scene before is on the screen, is not in these times. The first scene and the last, which times the
projection itself, are left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import numpy as np
from bokeh.document import Document
from panel.io.state import set_curdoc
from playwright.sync_api import Page

from mhc_demo.app.explorer import Explorer
from mhc_demo.story.scenes import SCENES

from .browser import chromium, joined, ready, served
from .results import Table
from .timing import timed, times_table

TARGET = 150
ROUNDS = ("opened for the first time", "opened before")

PAINTS = """() => {
  let [proto] = Bokeh.index.query(({model}) => model.type === "Figure")
  while (!Object.hasOwn(proto, "_actual_paint")) proto = Object.getPrototypeOf(proto)
  const paint = proto._actual_paint
  window.painted = 0
  proto._actual_paint = function (...args) {
    paint.apply(this, args)
    window.painted = performance.now()
  }
}"""

# Registered before the story's own listener, which lets no later one have its keys.
PRESSED = 'addEventListener("keydown", () => { window.pressed = performance.now() }, true)'


AT_REST = "performance.now() - Math.max(painted, pressed) > 3000"


def run() -> Iterator[Table]:
    """The server's part before Playwright starts: its event loop would be in the way of ours."""
    yield times_table(
        [timed(what, times, TARGET) for what, times in server_times()], "The server's event loop"
    )
    with served() as (address, _), chromium() as browser:
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        rows = [timed(what, times, TARGET) for what, times in painted_times(page, address)]
        yield times_table(rows, "To the last plot painted")


def server_times() -> Iterator[tuple[str, np.ndarray]]:
    """Milliseconds of each change of scene, in a page that no browser shows."""
    document = Document()
    with set_curdoc(document):
        explorer = Explorer(scene="stream", present=True)
        explorer.main.server_doc(document)
        explorer.window.first_picture = True
    for what in ROUNDS:
        yield what, np.array(asyncio.run(_through_the_scenes(document, explorer)))


async def _through_the_scenes(document: Document, explorer: Explorer) -> list[float]:
    times = []
    for name in list(SCENES)[:-1]:
        with set_curdoc(document):
            start = time.perf_counter()
            explorer.story.scene = name
            times.append(1e3 * (time.perf_counter() - start))
            while explorer.computing:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
    return times[1:]


def painted_times(page: Page, address: str) -> Iterator[tuple[str, np.ndarray]]:
    """Milliseconds from the key to the last paint, of each scene that has a plot."""
    page.add_init_script(PRESSED)
    ready(page, f"{address}?scene=stream&present=1")
    joined(page)
    page.wait_for_timeout(2000)
    page.evaluate(PAINTS)
    count = len(SCENES) - 2
    for turn, what in enumerate(ROUNDS):
        for _ in range(turn * count):  # back to where it began
            page.keyboard.press("PageUp")
            page.wait_for_timeout(1000)
        times = []
        for _ in range(count):
            page.keyboard.press("PageDown")
            page.wait_for_function(AT_REST)
            elapsed = page.evaluate("painted - pressed")
            if elapsed > 0:  # else the scene has no plot
                times.append(elapsed)
        yield what, np.array(times)

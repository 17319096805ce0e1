"""From a hand on a slider to a painted plot, in a real Chromium.

A move is timed from the browser's dispatch of the event to the first task after the frame in
which the main plot was painted with the new state: what our code, Bokeh, the widget library and
the browser's own style and layout take together.  In headless Chromium the compositor draws in
software, on the same two cores.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bokeh.document import Document
from panel.io.state import set_curdoc
from playwright.sync_api import Browser, Page

from mhc_demo.app.explorer import Explorer
from mhc_demo.story.scenes import SCENES

from .browser import chromium, served
from .numerics import Row, summary

PROBE = """(for_data) => {
  const doc = Bokeh.documents[0]
  const view = Bokeh.index.find_one_by_id(doc.get_model_by_name("composite").id)
  const probe = (window.probe = {times: [], event: null, start: null, for_data})
  const changed = () => { probe.start ??= probe.event }
  for (const event of ["pointermove", "keydown", "pointerdown"])
    addEventListener(event, () => { probe.event = performance.now() }, {capture: true})
  mhc.listen(doc, () => { if (!probe.for_data) changed() })
  doc.get_model_by_name("surface").properties.data.change.connect(changed)
  const paint = view._actual_paint
  view._actual_paint = function (...args) {
    paint.apply(this, args)
    if (probe.start === null) return
    const start = probe.start
    probe.start = null
    const after = new MessageChannel()
    after.port1.onmessage = () => probe.times.push(performance.now() - start)
    after.port2.postMessage(0)
  }
  probe.start = null
}"""

FIRST_PAINT = """
(() => {
  const look = () => {
    const plot = window.Bokeh?.documents?.[0]?.get_model_by_name("composite")
    const view = plot && Bokeh.index.find_one_by_id(plot.id)
    if (view?._render_count > 0) window.first_paint = performance.now()
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
})()"""


PAINTS = """() => {
  const doc = Bokeh.documents[0]
  let proto = Bokeh.index.find_one_by_id(doc.get_model_by_name("composite").id)
  while (!Object.hasOwn(proto, "_actual_paint")) proto = Object.getPrototypeOf(proto)
  const paint = proto._actual_paint
  window.painted = 0
  proto._actual_paint = function (...args) {
    paint.apply(this, args)
    window.painted = performance.now()
  }
}"""

# Before the story's own, which lets nobody else hear of its keys.
PRESSED = 'addEventListener("keydown", () => { window.pressed = performance.now() }, true)'


def ready(page: Page, address: str) -> None:
    """Open the page and wait until its first plot stands."""
    page.add_init_script(FIRST_PAINT)
    page.goto(address)
    page.wait_for_function("window.first_paint !== undefined")


def taken(page: Page) -> np.ndarray:
    """The probe's times so far, in ms; the probe starts anew."""
    page.wait_for_timeout(400)
    return np.array(page.evaluate("() => probe.times.splice(0)"))


def drag(page: Page, name: str, moves: int) -> np.ndarray:
    """Drag a slider to and fro."""
    rail = page.get_by_role("slider", name=name).bounding_box()
    assert rail
    y = rail["y"] + rail["height"] / 2
    page.mouse.move(rail["x"] + rail["width"] / 2, y)
    page.mouse.down()
    taken(page)
    for i in range(moves):
        page.mouse.move(rail["x"] + rail["width"] * (0.5 + 0.45 * math.sin(i / 9)), y)
        page.wait_for_timeout(30)
    page.mouse.up()
    return taken(page)


def press(page: Page, name: str, presses: int, pause: int, turn: int = 5) -> np.ndarray:
    """Arrow keys on a slider, `turn` times to and as often fro."""
    page.get_by_role("slider", name=name).focus()
    taken(page)
    for i in range(presses):
        page.keyboard.press("ArrowRight" if i // turn % 2 == 0 else "ArrowLeft")
        page.wait_for_timeout(pause)
    return taken(page)


def run() -> Iterator[Row]:
    """Rows of the table."""
    frame = "17 / 34 ms"
    with served() as (address, _), chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        ready(page, address)
        page.wait_for_timeout(1500)
        page.evaluate(PROBE, False)
        for name in ("Depth (layers)", "Sinkhorn iterations"):
            drag(page, name, 30)
            yield f"drag {name} to painted plot", frame, *summary(drag(page, name, 200))
            yield f"arrow keys on {name}", frame, *summary(press(page, name, 100, 40))
        page.evaluate("() => { probe.for_data = true }")
        what = "to painted plot, 32 members (round trip)"
        times = press(page, "Streams (n)", 40, 500, turn=1)
        yield f"Streams, 4 to 5 and back, {what}", "150 ms", *summary(times)
        times = press(page, "Spread", 40, 500, turn=20)
        yield f"Spread, n = 4, {what}", "150 ms", *summary(times)
        shuffle = page.get_by_role("button", name="Shuffle")
        for _ in range(30):
            shuffle.click()
            page.wait_for_timeout(500)
        yield (
            f"Seed (shuffle), n = 4, {what}",
            "150 ms",
            *summary(taken(page)),
        )
        page.close()
        yield from server_work()
        yield from scenes(browser, address)
        yield from opening(browser, address)


def server_work() -> Iterator[Row]:
    """How long the next scene keeps the server's event loop, from the click to the message.

    What is done ahead, while the scene before is spoken about, is not in it.
    """
    document = Document()
    with set_curdoc(document):
        explorer = Explorer(scene="stream", present=True)
        explorer.main.server_doc(document)
        explorer.window.first_picture = True
    for what in ("opened for the first time", "seen before"):
        yield (
            f"server's work for the next scene, {what}",
            "150 ms",
            *summary(np.array(asyncio.run(_through_the_scenes(document, explorer)))),
        )


async def _through_the_scenes(document: Document, explorer: Explorer) -> list[float]:
    times = []
    for name in list(SCENES)[:-1]:  # the last one would time the projection
        with set_curdoc(document):
            start = time.perf_counter()
            explorer.story.scene = name
            times.append(1e3 * (time.perf_counter() - start))
            while explorer.computing:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
    return times[1:]


def scenes(browser: Browser, address: str) -> Iterator[Row]:
    """From the clicker to the last plot of the next scene, at first and when seen before."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.add_init_script(PRESSED)
    ready(page, f"{address}?scene=stream&present=1")
    page.wait_for_timeout(2000)
    page.evaluate(PAINTS)
    # The last scene times the projection, and draws what it measured.
    count = len(SCENES) - 2
    for what in ("opened for the first time", "seen before"):
        times = []
        for _ in range(count):
            page.keyboard.press("PageDown")
            page.wait_for_timeout(2000)
            took = page.evaluate("painted - pressed")
            if took > 0:  # else it has no plot
                times.append(took)
        for _ in range(count):
            page.keyboard.press("PageUp")
            page.wait_for_timeout(1000)
        yield f"next scene, {what}, to its last plot painted", "150 ms", *summary(np.array(times))
    page.close()


BARE = """
import numpy, panel, panel_material_ui
from bokeh.plotting import figure
panel.extension()
plot = figure(name="composite", sizing_mode="stretch_width", height=400)
for k in range(4):
    plot.line(numpy.arange(128), k * numpy.arange(128))
panel_material_ui.Page(main=[panel.pane.Bokeh(plot)]).servable()
"""


def opening(browser: Browser, address: str) -> Iterator[Row]:
    """Time to the first plot, beside the same of a bare page of the widget library, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(BARE)
        with served(Path(folder)) as (bare, _):
            painted: dict[str, list[float]] = {address: [], bare: []}
            for _ in range(12):
                for where, times in painted.items():
                    page = browser.new_page(viewport={"width": 1400, "height": 900})
                    ready(page, where)
                    times.append(page.evaluate("first_paint"))
                    page.wait_for_timeout(1000)
                    page.close()
    ours, least = (np.array(times) for times in painted.values())
    yield "opening the page to the first plot", "1.3 s", *summary(ours)
    ratio = f"ours takes {np.median(ours / least):.2f} times as long"
    yield f"a bare Panel page with one plot of four lines ({ratio})", "", *summary(least)
    blocked = [held_up(browser, address) for _ in range(8)]
    what = "longest time that the server does not answer while a page opens"
    yield what, "0.2 s", *summary(np.array(blocked))


def held_up(browser: Browser, address: str) -> float:
    """The longest wait of other requests while a page is opened, in ms."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    url = address.rsplit("/", 1)[0] + "/static/extensions/mhc-demo/mhc.css"
    waits = [0.0]
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.02):
            start = time.perf_counter()
            urllib.request.urlopen(url, timeout=10).read()
            waits.append(1e3 * (time.perf_counter() - start))

    thread = threading.Thread(target=ask)
    thread.start()
    ready(page, address)
    page.wait_for_timeout(1000)
    done.set()
    thread.join()
    page.close()
    return max(waits)

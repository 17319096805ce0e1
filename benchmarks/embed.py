"""The standalone HTML file.

Its size gzipped, and its times from a disk in headless Chromium without a network, taken as those
of the page are; opening it in turn with a file that holds nothing but BokehJS and a plot of four
lines. Then the whole story as a file, in the same way: its first picture; a change of scene, at
1920 x 1080, until the last of its plots is painted and seen; and a move. The next scene comes by
the clicker's key, three seconds after the scene before it was painted: meanwhile the file has drawn
it out of sight. A jump goes to a scene of which nothing is ready.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import json_item
from bokeh.plotting import figure
from bokeh.util.paths import bokehjs_path
from playwright.sync_api import Browser, Page, ViewportSize

import mhc_demo as mhc
from mhc_demo.story.scenes import SCENES

from .browser import PROBE, chromium, drag, press, ready
from .page import FRAME, FRAME_P95
from .results import Row, Table, rounded
from .scenes import AT_REST, PRESSED
from .timing import timed, times_table

VIEWPORT: ViewportSize = {"width": 1200, "height": 700}
OPENINGS = 8
MOVES = 120
"""Of a slider in each drag."""
WALL: ViewportSize = {"width": 1920, "height": 1080}
STORY = 1200
"""The most that the story may have in kB."""
FIRST_PICTURE, NEXT_SCENE = 700, 100
"""Targets of the story's file, in milliseconds."""
JUMPS, STRIDE = 10, 5
"""How often one jumps, and over how many scenes: no divisor of their number, or some would come
twice."""

SHARP = mhc.Experiment(spread=5.0)
"""Logits so sharp that every iteration moves the curves: what does not move is not painted anew."""

FILES: dict[str, tuple[int | None, dict[str, Any]]] = {
    "the defaults": (450, {}),
    "four numbers of streams": (500, {"streams": (2, 4, 8, 16)}),
    "four numbers of streams, spread 5": (
        500,
        {"streams": (2, 4, 8, 16), "experiment": SHARP},
    ),
    "the defaults, a fragment": (None, {"fragment": True}),
}
"""What is exported, the most it may have in kB, and the arguments."""


SEEN = """(name) => {
  const doc = Bokeh.documents[0]
  let proto = Bokeh.index.find_one_by_id(doc.get_model_by_name(name).id)
  while (!Object.hasOwn(proto, "_actual_paint")) proto = Object.getPrototypeOf(proto)
  const paint = proto._actual_paint
  const seen = ({el}) => el.checkVisibility({visibilityProperty: true})
  window.painted = 0
  proto._actual_paint = function (...args) {
    paint.apply(this, args)
    if (seen(this)) window.painted = performance.now()
  }
  let before = ""
  const look = () => {
    const plots = Bokeh.index.query((view) => view.model.type === "Figure" && seen(view))
    const now = [...plots].map(({model}) => model.id).join()
    // The first task after the frame that shows them.
    if (now && now !== before) scheduler.postTask(
      () => { window.painted = performance.now() }, {priority: "user-blocking"})
    before = now
    requestAnimationFrame(look)
  }
  look()
}"""
"""Notes when a plot that is seen was painted last, or came into sight: one that is painted out of
sight, before its scene is asked for, is not seen yet."""


JUMP = "(name) => { window.pressed = performance.now(); location.hash = name }"


def run() -> Iterator[Table]:
    """Sizes, then times."""
    yield sizes()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path, bare = Path(folder, "mhc.html"), Path(folder, "bare.html")
        path.write_text(mhc.export_html(SHARP), "utf-8")
        bare.write_text(least(), "utf-8")
        yield times(browser, path, bare)
        story = Path(folder, "story.html")
        story.write_text(mhc.export_story(), "utf-8")
        yield told(browser, story)


def sizes() -> Table:
    """Every file of `FILES`."""
    rows: list[Row] = []
    files = [(what, kb, mhc.export_html(**arguments)) for what, (kb, arguments) in FILES.items()]
    for what, target, html in [*files, ("the whole story", STORY, mhc.export_story())]:
        size = len(gzip.compress(html.encode())) / 1000
        met = None if target is None else size <= target
        rows.append({"what": what, "size_kb": rounded(size), "target_kb": target, "met": met})
    headings = {"what": "", "size_kb": "gzipped, kB", "target_kb": "target, kB", "met": "met"}
    return Table(headings, rows)


def least() -> str:
    """The least that can be drawn: BokehJS, and a plot of four lines."""
    plot = figure(name="composite", width=700, height=300)
    for k in range(4):
        plot.line(np.arange(128), k * np.arange(128))
    item = json.dumps(json_item(plot, "plot"))
    script = (bokehjs_path() / "js" / "bokeh.min.js").read_text("utf-8")
    return (
        f'<!DOCTYPE html><meta charset="utf-8"><div id="plot"></div><script>{script}</script>'
        f"<script>Bokeh.embed.embed_item({item})</script>"
    )


def times(browser: Browser, path: Path, bare: Path) -> Table:
    """Opening both files in turn, then the sliders of ours."""
    opened: dict[Path, list[float]] = {path: [], bare: []}
    for _ in range(OPENINGS):
        for file, found in opened.items():
            context = browser.new_context(viewport=VIEWPORT, offline=True)
            page = context.new_page()
            ready(page, file.as_uri())
            found.append(page.evaluate("first_paint"))
            context.close()
    ours, others = (np.array(found) for found in opened.values())
    ratio = rounded(float(np.median(ours / others)))
    rows = [
        timed("to the first plot", ours, 500),
        timed("to the first plot of a bare file", others, ours_over=ratio),
    ]
    page = browser.new_page(viewport=VIEWPORT)
    ready(page, path.as_uri())
    page.wait_for_timeout(1000)
    page.evaluate(PROBE, ["composite", False])
    for name in ("Depth (layers)", "Sinkhorn iterations"):
        drag(page, name, 30)
        rows.append(timed(f"drag {name}", drag(page, name, MOVES), FRAME, FRAME_P95))
        rows.append(timed(f"arrow keys on {name}", press(page, name, 100, 40), FRAME, FRAME_P95))
    return times_table(rows, ours_over="ours is a multiple of")


def told(browser: Browser, path: Path) -> Table:
    """The story's file: its first picture, every change of scene, and moves."""
    opened = []
    for _ in range(OPENINGS):
        context = browser.new_context(viewport=VIEWPORT, offline=True)
        page = context.new_page()
        ready(page, path.as_uri())
        opened.append(page.evaluate("first_paint"))
        context.close()
    rows = [
        timed("to the first picture", np.array(opened), FIRST_PICTURE),
        timed("the next scene", scene_changes(browser, path), NEXT_SCENE),
        timed("a jump to another scene", jumps(browser, path)),
    ]
    for scene, name in (("others", "Depth (layers)"), ("sharp", "Sinkhorn iterations")):
        page = browser.new_page(viewport=VIEWPORT)
        ready(page, f"{path.as_uri()}#{scene}")
        page.wait_for_timeout(1000)
        page.evaluate(PROBE, ["composite", False])
        drag(page, name, 30)
        rows.append(timed(f"drag {name}", drag(page, name, MOVES), FRAME, FRAME_P95))
    return times_table(rows, "The story as a file")


def presented(browser: Browser, path: Path) -> Page:
    """The story's file in the presenter's view, with a clock."""
    context = browser.new_context(viewport=WALL, offline=True)
    context.add_init_script("Element.prototype.requestFullscreen = async () => {}")
    page = context.new_page()
    page.add_init_script(PRESSED)
    ready(page, path.as_uri())
    page.evaluate(SEEN, "signal-hc")
    page.get_by_role("button", name="Present").click()
    page.keyboard.press("PageUp")  # there is no scene before the first
    return page


def scene_changes(browser: Browser, path: Path) -> np.ndarray:
    """Milliseconds from the key until all is seen, of each scene that has a plot."""
    page = presented(browser, path)
    times = []
    while True:
        page.wait_for_function(AT_REST)
        scene = page.url
        page.keyboard.press("PageDown")
        page.wait_for_function(AT_REST)
        if page.url == scene:
            page.keyboard.press("PageDown")  # that was the answer to a guess
            page.wait_for_function(AT_REST)
        if page.url == scene:
            break
        elapsed = page.evaluate("painted - pressed")
        if elapsed > 0:  # else the scene has no plot
            times.append(elapsed)
    page.context.close()
    return np.array(times)


def jumps(browser: Browser, path: Path) -> np.ndarray:
    """The same for scenes that are not beside the present one."""
    page = presented(browser, path)
    names = list(SCENES)
    times = []
    for k in range(JUMPS):
        page.wait_for_function(AT_REST)
        name = names[(k + 1) * STRIDE % len(names)]
        page.evaluate(JUMP, name)
        page.wait_for_function(AT_REST)
        elapsed = page.evaluate("painted - pressed")
        if elapsed > 0:
            times.append(elapsed)
    page.context.close()
    return np.array(times)

"""Opening the page.

In headless Chromium on the same machine, from the request to the first plot, and until the live
page has taken the place of the first one, in turn with a bare Panel page of the same widget library
with one plot of four lines: what the framework takes by itself. Then how long the server leaves
another visitor's request unanswered while a page opens.
"""

from __future__ import annotations

import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from .browser import PATIENCE, chromium, joined, ready, served
from .results import Table, rounded
from .timing import timed, times_table

OPENINGS, LISTENINGS = 12, 8

BARE = """
import numpy, panel, panel_material_ui
from bokeh.plotting import figure
panel.extension()
plot = figure(name="composite", sizing_mode="stretch_width", height=400)
for k in range(4):
    plot.line(numpy.arange(128), k * numpy.arange(128))
panel_material_ui.Page(main=[panel.pane.Bokeh(plot)]).servable()
"""


def run() -> Iterator[Table]:
    """The first plot, and the longest silence."""
    with served() as (address, _), chromium() as browser:
        ours, live, bare = first_plots(browser, address)
        ratio = rounded(float(np.median(ours / bare)))
        silences = np.array([longest_silence(browser, address) for _ in range(LISTENINGS)])
        rows = [
            timed("to the first plot", ours, 1300),
            timed("to the live page", live),
            timed("to the first plot of a bare page", bare, ours_over=ratio),
            timed("longest wait of another request", silences, 200),
        ]
        yield times_table(rows, ours_over="ours is a multiple of")


def first_plots(browser: Browser, address: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Milliseconds to the first plot of the page, to its live page, and to the bare page's plot."""
    live = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(BARE)
        with served(Path(folder)) as (bare, _):
            painted: dict[str, list[float]] = {address: [], bare: []}
            for _ in range(OPENINGS):
                for where, times in painted.items():
                    page = browser.new_page(viewport={"width": 1400, "height": 900})
                    ready(page, where)
                    times.append(page.evaluate("first_paint"))
                    if where == address:
                        joined(page)
                        live.append(page.evaluate("performance.now()"))
                    page.wait_for_timeout(1000)
                    page.close()
    return np.array(painted[address]), np.array(live), np.array(painted[bare])


def longest_silence(browser: Browser, address: str) -> float:
    """The longest wait of other requests while a page is opened, in ms."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    url = address.rsplit("/", 1)[0] + "/static/extensions/mhc-demo/mhc.css"
    waits = [0.0]
    done = threading.Event()

    def request() -> None:
        while not done.wait(0.02):
            start = time.perf_counter()
            urllib.request.urlopen(url, timeout=PATIENCE / 1000).read()
            waits.append(1e3 * (time.perf_counter() - start))

    thread = threading.Thread(target=request)
    thread.start()
    try:
        ready(page, address)
        page.wait_for_timeout(1000)
    finally:
        done.set()
        thread.join()
        page.close()
    return max(waits)

"""The standalone file: its size, and its times from a disk in a real Chromium without a network.

The times are taken as those of the page are (`page.py`).
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
from playwright.sync_api import ViewportSize

import mhc_demo as mhc

from .browser import chromium
from .numerics import Row, summary
from .page import PROBE, drag, press, ready

VIEWPORT: ViewportSize = {"width": 1200, "height": 700}

FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "the defaults": ("450 kB", {}),
    "four numbers of streams": ("500 kB", {"streams": (2, 4, 8, 16)}),
    "four numbers of streams, spread 5": (
        "500 kB",
        {"streams": (2, 4, 8, 16), "experiment": mhc.Experiment(spread=5.0)},
    ),
    "the defaults, a fragment": ("", {"fragment": True}),
}


def bare() -> str:
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


def run() -> Iterator[Row]:
    """Rows of the table."""
    for what, (target, arguments) in FILES.items():
        size = len(gzip.compress(mhc.export_html(**arguments).encode()))
        yield f"{what}, gzipped", target, f"{size / 1000:.0f} kB", ""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder, "mhc.html")
        path.write_text(mhc.export_html(), "utf-8")
        least = Path(folder, "bare.html")
        least.write_text(bare(), "utf-8")
        opened: dict[Path, list[float]] = {path: [], least: []}
        for _ in range(20):
            for file, times in opened.items():
                context = browser.new_context(viewport=VIEWPORT, offline=True)
                page = context.new_page()
                ready(page, file.as_uri())
                times.append(page.evaluate("first_paint"))
                context.close()
        ours, others = (np.array(times) for times in opened.values())
        yield "opening the file from a disk to the first plot", "0.5 s", *summary(ours)
        ratio = f"ours takes {np.median(ours / others):.2f} times as long"
        yield f"a file with nothing but BokehJS and four lines ({ratio})", "", *summary(others)
        page = browser.new_page(viewport=VIEWPORT)
        ready(page, path.as_uri())
        page.wait_for_timeout(1000)
        page.evaluate(PROBE, False)
        for name in ("Depth (layers)", "Sinkhorn iterations"):
            drag(page, name, 30)
            yield f"drag {name} to painted plot", "17 / 34 ms", *summary(drag(page, name, 200))
            times_of_keys = press(page, name, 100, 40)
            yield f"arrow keys on {name}", "17 / 34 ms", *summary(times_of_keys)

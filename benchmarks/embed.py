"""The standalone file: its size, and its times from a disk in a real Chromium without a network.

The times are taken as those of the page are (`page.py`).
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mhc_demo as mhc

from .browser import chromium
from .numerics import Row, summary
from .page import PROBE, drag, press, ready

FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "the defaults": ("450 kB", {}),
    "four numbers of streams": ("500 kB", {"streams": (2, 4, 8, 16)}),
    "four numbers of streams, spread 5": (
        "500 kB",
        {"streams": (2, 4, 8, 16), "experiment": mhc.Experiment(spread=5.0)},
    ),
    "the defaults, a fragment": ("", {"fragment": True}),
}


def run() -> Iterator[Row]:
    """Rows of the table."""
    for what, (target, arguments) in FILES.items():
        size = len(gzip.compress(mhc.export_html(**arguments).encode()))
        yield f"{what}, gzipped", target, f"{size / 1000:.0f} kB", ""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder, "mhc.html")
        path.write_text(mhc.export_html(), "utf-8")
        times = []
        for _ in range(20):
            context = browser.new_context(viewport={"width": 1200, "height": 700}, offline=True)
            page = context.new_page()
            ready(page, path.as_uri())
            times.append(page.evaluate("first_paint"))
            context.close()
        yield "opening the file from a disk to the first plot", "0.5 s", *summary(np.array(times))
        page = browser.new_page(viewport={"width": 1200, "height": 700})
        ready(page, path.as_uri())
        page.wait_for_timeout(1000)
        page.evaluate(PROBE, False)
        for name in ("Depth (layers)", "Sinkhorn iterations"):
            drag(page, name, 30)
            yield f"drag {name} to painted plot", "17 / 34 ms", *summary(drag(page, name, 200))
            times_of_keys = press(page, name, 100, 40)
            yield f"arrow keys on {name}", "17 / 34 ms", *summary(times_of_keys)

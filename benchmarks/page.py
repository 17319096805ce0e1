"""Moves on the page, from the hand to the painted plot.

In headless Chromium, which draws in software on the same cores as the server. A move is timed from
the browser's dispatch of the event to the first task after the frame in which the main plot was
painted with the new state: what our code, Bokeh, the widget library and the browser's own style and
layout take together. Depth and iterations are looked up in the browser; streams, spread and seed
go to the server and come back, with an ensemble of 32 members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .browser import PROBE, arrow, chromium, drag, joined, press, ready, round_trips, served
from .results import Table
from .timing import timed, times_table

FRAME, FRAME_P95 = 17, 34
ROUND_TRIP = 150

DIALS = ("Depth (layers)", "Sinkhorn iterations")
PICTURES = (
    ("signal, n = 4, 64 layers", "view=signal", "signal-projected", 1, DIALS),
    ("signal, n = 4, 8 layers", "view=signal&zoom=8", "signal-projected", 1, DIALS),
    ("signal, n = 16, 4 layers", "view=signal&streams=16&zoom=4", "signal-projected", 2, DIALS),
    (
        "recorded runs",
        "view=lab&lab_depth=64&lab_learning_rate=0.03",
        "runs-layers",
        1,
        ("Step of training",),
    ),
    ("composite gain", "view=composite", "composite", 1, DIALS),
)
"""Title, link, the plot that is painted last, the frames that a move may take, and the sliders."""


def run() -> Iterator[Table]:
    """What the browser does by itself, then what needs the server."""
    with served() as (address, _), chromium() as browser:
        rows = []
        for title, query, plot, frames, sliders in PICTURES:
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            ready(page, f"{address}?{query}")
            joined(page)
            page.wait_for_timeout(1500)
            page.evaluate(PROBE, [plot, False])
            targets = (frames * FRAME, frames * FRAME_P95)
            for name in sliders:
                drag(page, name, 30)
                rows.append(timed(f"{title}: drag {name}", drag(page, name, 120), *targets))
                if plot == "composite":
                    # Where each iteration moves the lines; where none does, nothing is painted.
                    page.get_by_role("slider", name=name).press("Home")
                    keys = press(page, name, 100, 40)
                    rows.append(timed(f"{title}: arrow keys on {name}", keys, *targets))
        yield times_table(rows, "In the browser")

        page.evaluate("() => { probe.for_data = true }")

        def press_on(name: str, turn: int) -> Callable[[int], None]:
            slider = page.get_by_role("slider", name=name)
            return lambda i: slider.press(arrow(i, turn))

        shuffle = page.get_by_role("button", name="Shuffle")
        streams = round_trips(page, press_on("Streams (n)", turn=1), 40)
        spread = round_trips(page, press_on("Spread", turn=20), 40)
        seed = round_trips(page, lambda _: shuffle.click(), 30)
        rows = [
            timed("streams, 4 to 5 and back", streams, ROUND_TRIP),
            timed("spread, n = 4", spread, ROUND_TRIP),
            timed("seed (shuffle), n = 4", seed, ROUND_TRIP),
        ]
        yield times_table(rows, "Through the server and back")

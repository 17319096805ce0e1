"""Depth and dial need no server: it is killed, and the plots go on (see also test_connection.py).

One server is killed for all, with a tab open for each test.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

import mhc_demo as mhc

from .conftest import Explorer, serve
from .library import compared, comparison_is_of, phase_is_of

pytestmark = pytest.mark.browser

QUERIES = {
    "compare": "?view=compare&members=3&spread=3",
    "phase": "?view=phase",
}


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> Iterator[dict[str, Explorer]]:
    """Tabs whose server is gone since they were complete, by the views that are open in them."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    opened = {view: Explorer(context.new_page()) for view in QUERIES}
    with serve() as (address, server):
        for view, query in QUERIES.items():
            opened[view].open(address, query)
        expect(opened["compare"].page.locator(".mhc-compare tbody tr").first).to_be_visible()
        expect(opened["phase"].page.locator(".mhc-plots button").last).to_be_visible()
        for tab in opened.values():
            assert tab.problems == []
        server.kill()
        server.wait()
        yield opened
    context.close()


def test_the_comparison_follows_depth_and_dial_with_no_server(tabs: dict[str, Explorer]) -> None:
    explorer = tabs["compare"]
    found = mhc.compare(mhc.Experiment(members=3, spread=3.0))
    explorer.eventually(lambda: comparison_is_of(explorer, found, 64, 1))
    explorer.set("Depth (layers)", 5)
    explorer.set("Sinkhorn iterations", 4)
    explorer.eventually(lambda: comparison_is_of(explorer, found, 5, 4))
    explorer.set("Sinkhorn iterations", 0)
    explorer.eventually(lambda: comparison_is_of(explorer, found, 5, 0))
    for direction in ("forward", "backward"):
        lines = compared(explorer, direction)
        np.testing.assert_array_equal(lines["sinkhorn"], lines["none"])


@pytest.mark.long
def test_the_phase_maps_follow_depth_and_dial_with_no_server(tabs: dict[str, Explorer]) -> None:
    explorer = tabs["phase"]
    explorer.eventually(lambda: phase_is_of(explorer, {}, 64, 1))
    explorer.set("Depth (layers)", 60)
    explorer.set("Sinkhorn iterations", 3)
    explorer.eventually(lambda: phase_is_of(explorer, {}, 60, 3))

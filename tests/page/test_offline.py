"""Depth and dial need no server: it is killed, and the plots go on (compare test_connection.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc

from .conftest import Explorer, nothing_went_wrong, serve
from .library import compared, comparison_is_of, phase_is_of

pytestmark = pytest.mark.browser


@contextmanager
def left_alone(explorer: Explorer, query: str, last: str) -> Iterator[None]:
    """A page whose server is gone since it was complete: when what comes last could be seen."""
    with serve() as (address, server):
        explorer.open(address, query)
        expect(explorer.page.locator(last).last).to_be_visible()
        nothing_went_wrong(explorer)
        server.kill()
        server.wait()
        yield
    explorer.problems.clear()  # the browser says that nobody answers


@pytest.mark.long
def test_the_comparison_follows_depth_and_dial_with_no_server(explorer: Explorer) -> None:
    found = mhc.compare(mhc.Experiment(members=3, spread=3.0))
    with left_alone(explorer, "?view=compare&members=3&spread=3", ".mhc-compare tbody tr"):
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
def test_the_phase_maps_follow_depth_and_dial_with_no_server(explorer: Explorer) -> None:
    with left_alone(explorer, "?view=phase", ".mhc-plots button"):
        explorer.eventually(lambda: phase_is_of(explorer, {}, 64, 1))
        explorer.set("Depth (layers)", 60)
        explorer.set("Sinkhorn iterations", 3)
        explorer.eventually(lambda: phase_is_of(explorer, {}, 60, 3))

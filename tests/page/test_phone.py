"""The page on a phone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from mhc_demo.app.views import VIEWS

pytestmark = pytest.mark.browser


def test_a_phone_needs_no_sideways_scrolling(new_explorer: Any, address: str) -> None:
    explorer = new_explorer(390, 844).open(address)
    expect(explorer.page.get_by_role("button", name="Open drawer")).to_be_visible()
    for name in VIEWS:
        explorer.show(name)
        assert explorer.page.evaluate("document.documentElement.scrollWidth") <= 390, name
        main = explorer.page.locator("main").evaluate("(e) => [e.scrollWidth, e.clientWidth]")
        assert main[0] <= main[1], name
    assert explorer.problems == []


def test_on_a_phone_the_plot_of_a_scene_is_in_the_first_screen(
    new_explorer: Any, address: str
) -> None:
    explorer = new_explorer(390, 844).open(address, "?scene=explosion")
    for scene in ("explosion", "dial"):
        expect(explorer.page).to_have_url(re.compile(f"scene={scene}"))
        plot = explorer.page.locator(".bk-Figure").first
        explorer.stands(plot)
        box = plot.bounding_box()
        assert box["y"] + box["height"] <= 844
        explorer.page.get_by_role("button", name="Next").click()
    assert explorer.problems == []

"""The page on a phone.

Two pages are opened for all that is to be seen there: to open one takes seconds.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from mhc_demo.app.views import VIEWS

from .conftest import Explorer
from .test_compare import names_do_not_overlap

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 390, 844


def nothing_sticks_out(explorer: Explorer, what: str) -> None:
    """Neither the page nor its main part can be scrolled sideways."""
    page = explorer.page
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH, what
    main = page.locator("main").evaluate("(e) => [e.scrollWidth, e.clientWidth]")
    assert main[0] <= main[1], what


def test_a_phone_shows_every_view_whole(new_explorer: Any, address: str) -> None:
    """No sideways scrolling; the buttons that save plots stand below the view."""
    explorer = new_explorer(WIDTH, HEIGHT).open(address)
    page = explorer.page
    expect(page.get_by_role("button", name="Open drawer")).to_be_visible()
    for name, view in VIEWS.items():
        explorer.show(name)
        nothing_sticks_out(explorer, name)
        buttons = page.locator(".mhc-plots button").filter(visible=True)
        if view.of_experiment and name not in ("figure8", "formulas"):
            expect(buttons.last).to_be_visible()
            explorer.saves_below_the_view(name)
            nothing_sticks_out(explorer, name)
        if name == "compare":
            names_do_not_overlap(explorer)
    assert explorer.problems == []


def test_on_a_phone_both_halves_of_the_signal_are_in_the_first_screen(
    new_explorer: Any, address: str
) -> None:
    explorer = new_explorer(WIDTH, HEIGHT).open(address, "?view=signal")
    page = explorer.page
    for half in page.locator(".bk-Figure").all():
        explorer.stands(half)
        box = half.bounding_box()
        assert box
        assert box["y"] + box["height"] <= HEIGHT
    # The two numbers stand side by side, and nothing below them moves with the dial.
    tops = set()
    for iterations in (1, 0, 30):
        explorer.set("Sinkhorn iterations", iterations)
        bases = page.locator(".mhc-headline .base").all()
        assert len({round(base.bounding_box()["y"]) for base in bases}) == 1
        tops.add(explorer.slider("Depth (layers)").bounding_box()["y"])
    assert len(tops) == 1


def test_the_story_and_its_explanations_stay_inside_a_phone(
    new_explorer: Any, address: str
) -> None:
    explorer = new_explorer(WIDTH, HEIGHT).open(address, "?scene=real")
    nothing_sticks_out(explorer, "real")
    words = explorer.page.locator(".mhc-story .term").filter(visible=True).all()
    assert len(words) > 2
    for word in words:
        word.click()
        box = explorer.page.locator(".mhc-tip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= WIDTH
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= HEIGHT


def test_on_a_phone_the_plot_of_a_scene_is_in_the_first_screen(
    new_explorer: Any, address: str
) -> None:
    explorer = new_explorer(390, 844).open(address, "?scene=explosion")
    for scene in ("explosion", "dial"):
        expect(explorer.page).to_have_url(re.compile(f"scene={scene}"))
        plot = explorer.page.locator(".bk-Figure").first
        for button in ("Show the answer", "Next ▶"):
            explorer.stands(plot)
            box = plot.bounding_box()
            assert box["y"] + box["height"] <= 844
            explorer.page.get_by_role("button", name=button, exact=True).click()
    assert explorer.problems == []

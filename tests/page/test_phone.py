"""The page on a phone.

One page is opened for all that is to be seen there: to open one takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from mhc_demo.app.views import VIEWS

from .conftest import Explorer, nothing_went_wrong, usual
from .test_compare import names_do_not_overlap

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 390, 844


@pytest.fixture(scope="module")
def tab(browser: Browser, address: str) -> Iterator[Explorer]:
    """A phone on which the page was opened by its plain address."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    yield Explorer(context.new_page()).open(address)
    context.close()


@pytest.fixture
def phone(tab: Explorer) -> Iterator[Explorer]:
    """It, for one test; each begins with a link, or opens all views."""
    yield tab
    nothing_went_wrong(tab)


def nothing_sticks_out(explorer: Explorer, what: str) -> None:
    """Neither the page nor its main part can be scrolled sideways."""
    page = explorer.page
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH, what
    main = page.locator("main").evaluate("(e) => [e.scrollWidth, e.clientWidth]")
    assert main[0] <= main[1], what


@pytest.mark.parametrize("name", usual("composite", "compare", of=VIEWS))
def test_a_phone_shows_a_view_whole(phone: Explorer, name: str) -> None:
    """No sideways scrolling; the buttons that save plots stand below the view."""
    page = phone.visit("?view=signal").page
    expect(page.get_by_role("button", name="Open drawer")).to_be_visible()
    if name != "signal":
        phone.show(name)
    nothing_sticks_out(phone, name)
    if VIEWS[name].of_experiment:
        buttons = page.locator(".mhc-plots button").filter(visible=True)
        expect(buttons.last).to_be_visible()
        phone.saves_below_the_view(name)
        nothing_sticks_out(phone, name)
    if name == "compare":
        names_do_not_overlap(phone)


def test_on_a_phone_both_halves_of_the_signal_are_in_the_first_screen(phone: Explorer) -> None:
    page = phone.visit("?view=signal").page
    for half in page.locator(".bk-Figure").all():
        phone.stands(half)
        box = half.bounding_box()
        assert box
        assert box["y"] + box["height"] <= HEIGHT
    # The two numbers stand side by side, and nothing below them moves with the dial.
    tops = set()
    for iterations in (1, 0, 30):
        phone.set("Sinkhorn iterations", iterations)
        bases = page.locator(".mhc-headline .base").all()
        assert len({round(base.bounding_box()["y"]) for base in bases}) == 1
        tops.add(phone.slider("Depth (layers)").bounding_box()["y"])
    assert len(tops) == 1


def test_the_story_and_its_explanations_stay_inside_a_phone(phone: Explorer) -> None:
    phone.visit("?scene=real")
    nothing_sticks_out(phone, "real")
    words = phone.page.locator(".mhc-story .term").filter(visible=True).all()
    assert len(words) > 2
    for word in words:
        word.click()
        box = phone.page.locator(".mhc-tip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= WIDTH
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= HEIGHT


def test_on_a_phone_the_plot_of_a_scene_is_in_the_first_screen(phone: Explorer) -> None:
    phone.visit("?scene=explosion")
    for scene in ("explosion", "dial"):
        expect(phone.page).to_have_url(re.compile(f"scene={scene}"))
        plot = phone.page.locator(".bk-Figure").first
        for button in ("Show the answer", "Next ▶"):
            phone.stands(plot)
            box = plot.bounding_box()
            assert box["y"] + box["height"] <= 844
            phone.page.get_by_role("button", name=button, exact=True).click()

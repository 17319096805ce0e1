"""Nobody is kept out: axe-core finds nothing serious, and words explain themselves to the keyboard.

axe-core comes in a Python package, so that the tests need no other package manager.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from mhc_demo.app.formulas import FORMULAS
from mhc_demo.app.glossary import TERMS
from mhc_demo.app.scenes import SCENES
from mhc_demo.app.state import THEMES
from mhc_demo.app.views import VIEWS

from .conftest import Explorer

pytestmark = pytest.mark.browser

AXE = Axe()


def settled(page: Page) -> None:
    """Wait until nothing has been computed for half a second: numbers in waiting are dimmed."""
    calm = 0
    while calm < 5:
        page.wait_for_timeout(100)
        opacity = page.locator(".mhc-headline").evaluate("(e) => getComputedStyle(e).opacity")
        calm = calm + 1 if opacity == "1" else 0


def serious(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody out, and where."""
    found = AXE.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", THEMES.values())
def test_axe_finds_nothing_serious_in_any_view(
    explorer: Explorer, address: str, theme: str
) -> None:
    page = explorer.open(address, f"?theme={theme}").page
    found = {}
    for name, view in VIEWS.items():
        page.get_by_role("tab", name=view.title, exact=True).click()
        expect(page).to_have_url(re.compile(f"view={name}"))
        settled(page)
        found[name] = serious(page)
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.parametrize("theme", THEMES.values())
def test_axe_finds_nothing_serious_in_the_story(
    explorer: Explorer, address: str, theme: str
) -> None:
    page = explorer.open(address, f"?theme={theme}&scene=stream").page
    found = {"story": serious(page)}
    explorer.open(address, f"?theme={theme}&scene=stream&present=1", controls=False)
    for name, scene in SCENES.items():
        expect(page.get_by_role("heading", name=scene.title)).to_be_visible()
        expect(page.locator(".mhc-headline")).not_to_have_attribute("aria-busy", "true")
        found[name] = serious(page)
        page.keyboard.press("PageDown")
    page.keyboard.press("h")
    found["help"] = serious(page)
    assert {name: each for name, each in found.items() if each} == {}


def test_a_word_is_explained_on_hover_on_focus_and_on_a_tap(
    explorer: Explorer, new_explorer: Any, address: str
) -> None:
    page = explorer.open(address, "?scene=harmless").page
    tip = page.locator(".mhc-tip")
    word = page.locator(".mhc-story .term", has_text="Amax gain")
    word.hover()
    expect(tip).to_be_visible()
    expect(tip).to_contain_text(TERMS["amax"].meaning)
    page.mouse.move(5, 5)
    expect(tip).not_to_be_visible()
    word.focus()
    page.keyboard.press("Tab")
    expect(tip).to_contain_text(TERMS["row_sum"].meaning)
    page.keyboard.press("Escape")
    expect(tip).not_to_be_visible()
    word.click()
    page.mouse.move(5, 5)
    page.wait_for_timeout(400)
    expect(tip).to_be_visible()  # a tap keeps it
    word.click()
    expect(tip).not_to_be_visible()


def test_the_explanation_stays_inside_a_phone(new_explorer: Any, address: str) -> None:
    explorer = new_explorer(390, 844)
    page = explorer.open(address, "?scene=harmless").page
    for word in page.locator(".mhc-story .term").all():
        word.click()
        box = page.locator(".mhc-tip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844


def test_every_formula_is_typeset_with_its_symbols_explained(
    explorer: Explorer, address: str
) -> None:
    page = explorer.open(address, "?view=formulas").page
    expect(page.locator(".formulas math")).to_have_count(len(FORMULAS))
    first = page.locator(".formulas section").first
    first.locator("math .term[role=button]").first.hover()
    expect(page.locator(".mhc-tip")).to_contain_text(TERMS["x"].meaning)
    assert page.evaluate(
        "document.fonts.ready.then(() => document.fonts.check('20px \"mhc math\"', '∑'))"
    )


def test_a_control_s_explanation_can_be_reached_by_the_keyboard(
    explorer: Explorer, address: str
) -> None:
    page = explorer.open(address).page
    sign = page.get_by_role("img", name="Standard deviation of the entries.")
    sign.focus()
    expect(page.get_by_role("tooltip")).to_contain_text("Standard deviation of the entries.")

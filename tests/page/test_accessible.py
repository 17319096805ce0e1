"""Words, symbols and controls explain themselves: to the pointer, the keyboard and a finger.

That axe-core finds nothing serious is tested where every view and every scene is opened.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from mhc_demo.story.formulas import FORMULAS
from mhc_demo.story.glossary import TERMS

from .conftest import Explorer

pytestmark = pytest.mark.browser


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


def test_every_formula_is_typeset_with_its_symbols_explained(shared: Explorer) -> None:
    shared.show("formulas")
    page = shared.page
    expect(page.locator(".formulas math")).to_have_count(len(FORMULAS))
    first = page.locator(".formulas section").first
    first.locator("math .term[role=button]").first.hover()
    expect(page.locator(".mhc-tip")).to_contain_text(TERMS["x"].meaning)
    assert page.evaluate(
        "document.fonts.ready.then(() => document.fonts.check('20px \"mhc math\"', '∑'))"
    )


def test_a_control_s_explanation_can_be_reached_by_the_keyboard(shared: Explorer) -> None:
    page = shared.page
    sign = page.get_by_role("img", name="Standard deviation of the entries.")
    sign.focus()
    expect(page.get_by_role("tooltip")).to_contain_text("Standard deviation of the entries.")

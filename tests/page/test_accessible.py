"""Words, symbols and controls explain themselves: to the pointer, the keyboard and a finger.

That axe-core finds nothing serious is tested where every view and every scene is opened.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from mhc_demo.story.formulas import FORMULAS
from mhc_demo.story.glossary import TERMS
from mhc_demo.story.scenes import SCENES

from .conftest import Explorer

pytestmark = pytest.mark.browser


def test_a_word_is_explained_on_hover_on_focus_and_on_a_tap(shared: Explorer) -> None:
    page = shared.visit("?scene=harmless").page
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES["harmless"].title)
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

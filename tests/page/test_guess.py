"""A reader guesses before a scene tells: on the plot or by a choice, by hand, keyboard, clicker."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from mhc_demo.story.scenes import SCENES

from .conftest import JOINED, Explorer
from .test_first import held, opened

pytestmark = pytest.mark.browser

FIND = (
    "[...Bokeh.documents].flatMap((doc) => [...doc.all_models])"
    ".find(({type}) => /^Story/.test(type))"
)
GUESS = f"() => ({{...{FIND}.guess}})"
"""The guess that the page tells the server."""


def mark(page: Page) -> Locator:
    return page.get_by_role("slider", name="Your guess: the gain after 64 layers")


def answer(page: Page) -> Locator:
    return page.get_by_role("button", name="Show the answer")


def text(page: Page) -> Locator:
    return page.locator(".mhc-story .text")


def test_a_mark_on_the_plot_is_compared_with_the_curve(shared: Explorer) -> None:
    page = shared.visit("?scene=explosion").page
    expect(page.locator(".veil")).to_have_count(1)
    expect(page.locator(".mhc-headline .number").first).to_be_hidden()
    expect(page.locator(".bk-events[inert]")).to_have_count(1)  # a text alternative would tell
    expect(text(page)).not_to_contain_text("16.2")
    shared.keeps_nobody_out()
    box = page.locator(".catch").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 3)
    expect(mark(page)).to_have_attribute("aria-valuetext", re.compile("^10 to the power of 3"))
    highest = float(mark(page).get_attribute("aria-valuenow") or "nan")
    top, end = shared.y_range("composite")[1], box["height"]
    assert highest == pytest.approx(top, abs=1.0 + top * 6 / end)
    mark(page).focus()
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    guessed = f"{highest - 5:.1f}"
    expect(mark(page)).to_have_attribute("aria-valuetext", f"10 to the power of {guessed}")
    assert page.evaluate(GUESS)["scene"] == "explosion"
    assert page.evaluate(GUESS)["value"] == pytest.approx(float(guessed))
    answer(page).click()
    expect(text(page)).to_contain_text("16.2")
    compared = page.locator(".mhc-story .compared")
    expect(compared).to_have_text(f"You guessed 10{guessed}; it is 1016.2.")
    expect(page.locator(".veil")).to_have_count(0)
    expect(page.locator(".mhc-headline .number").first).to_be_visible()
    expect(page.locator(".bk-events[inert]")).to_have_count(0)
    expect(page.locator(".mark")).to_have_text(re.compile("guessed"))
    expect(page).to_have_url(re.compile("revealed=explosion"))
    # The link shows what is shown; the scene begins anew where one asks for it.
    page.get_by_role("button", name="Reset").click()
    expect(answer(page)).to_be_visible()
    expect(page.locator(".veil")).to_have_count(1)
    page.get_by_role("button", name="Close the story").click()
    expect(page.locator(".mark")).to_have_count(0)
    expect(page.locator(".mhc-headline .number").first).to_be_visible()


def test_a_choice_is_compared_and_the_answer_moves_the_slider(shared: Explorer) -> None:
    guess = SCENES["price"].guess
    assert guess
    page = shared.visit("?scene=price&present=1").page
    choices = page.get_by_role("radio")
    expect(choices).to_have_text([title for title, _ in guess.choices])
    expect(shared.slider("Depth (layers)")).to_have_value("1")
    choices.nth(2).focus()
    page.keyboard.press("Enter")
    expect(choices.nth(2)).to_have_attribute("aria-checked", "true")
    expect(choices.nth(0)).to_have_attribute("aria-checked", "false")
    shared.keeps_nobody_out()
    page.keyboard.press("PageDown")
    compared = page.locator(".mhc-story .compared")
    expect(compared).to_contain_text(guess.choices[2][0])
    expect(compared).to_contain_text(guess.choices[guess.right()][0])
    expect(shared.slider("Depth (layers)")).to_have_value("5")
    expect(page).to_have_url(re.compile("depth=5&.*revealed=price"))
    # Others' guesses, as a lecturer's page has them, are counted beside the choices.
    page.keyboard.press("r")
    expect(choices).to_have_count(len(guess.choices))
    page.evaluate(f"() => {{ {FIND}.others = [2, 0, 2] }}")
    expect(choices.locator(".votes")).to_have_text([" 1", "", " 2", ""])
    page.evaluate(f"() => {{ {FIND}.others = [] }}")


@pytest.mark.long
def test_nobody_has_to_guess_and_the_first_page_takes_guesses_too(
    explorer: Explorer, pictured: str
) -> None:
    page = explorer.page
    with held(page):
        opened(explorer, pictured, "?scene=dial&way=short")
        expect(page.locator(".mhc-story .where")).to_have_text("4 / 6")
        mark(page).focus()
        page.keyboard.press("ArrowUp")
        answer(page).click()
        expect(text(page)).to_contain_text("1.13")
        expect(explorer.number(1)).to_have_text("1.13")
    expect(page.locator(JOINED)).to_be_attached()
    expect(text(page)).to_contain_text("1.13")
    expect(explorer.slider("Sinkhorn iterations")).to_have_value("1")
    expect(page).to_have_url(re.compile("iterations=1&.*way=short&revealed=dial"))
    assert page.evaluate(GUESS)["scene"] == "dial"
    page.get_by_role("button", name="Next ▶", exact=True).click()
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES["why"].title)
    page.get_by_role("button", name="Next ▶", exact=True).click()
    answer(page).click()  # without a guess
    expect(page.locator(".mhc-story .compared")).to_have_count(0)
    page.get_by_role("button", name="The whole lecture").click()
    expect(page.locator(".mhc-story .where")).to_have_text(f"1 / {len(SCENES)}")

"""A lecture before two pages that follow it, in real browsers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from mhc_demo.story.scenes import SCENES

from .conftest import Explorer, serve

pytestmark = pytest.mark.browser

KEY = "a-key-that-nobody-guesses"
STORY = "[...Bokeh.documents[0].all_models].find((m) => /^Story\\d+$/.test(m.type))"
FIRST, SECOND, THIRD = "harmless", "explosion", "dial"


@pytest.fixture(scope="module")
def hall() -> Iterator[str]:
    with serve("--hall-key", KEY, picture=True) as (address, _):
        yield address


def shows(tab: Explorer, scene: str) -> None:
    """A page is at a scene, and says so in its address."""
    expect(tab.page.locator(".mhc-first")).to_have_count(0)  # the live page took its place
    expect(tab.page.locator(".mhc-story h2")).to_have_text(SCENES[scene].title)
    expect(tab.page).to_have_url(re.compile(f"scene={scene}(&|$)"))


def bar(tab: Explorer) -> Any:
    return tab.page.locator(".mhc-follow")


@pytest.mark.long
def test_a_lecturer_and_two_who_follow(hall: str, new_explorer: Any) -> None:
    lecturer = new_explorer(1280, 720)
    # The first key makes a lecture fill the screen, whose size Playwright then cannot change.
    lecturer.page.add_init_script("Element.prototype.requestFullscreen = async () => {}")
    lecturer.open(hall, f"?scene={FIRST}&present=1#lead={KEY}", controls=False)
    assert KEY not in lecturer.page.url
    phone, desk = new_explorer(390, 844), new_explorer(1000, 700)
    for each in (phone, desk):
        each.open(hall, "?follow=1", controls=False)
        shows(each, FIRST)  # who comes late is where the others are
        expect(bar(each)).to_contain_text("Following the lecture")
    count = lecturer.page.locator(".mhc-story .count")
    expect(count).to_have_text("2 follow")

    entries = phone.page.evaluate("history.length")
    lecturer.page.keyboard.press("PageDown")
    for each in (lecturer, phone, desk):
        shows(each, SECOND)

    # They guess, which the lecturer alone sees, and clears.
    for number, each in enumerate((phone, desk)):
        each.page.evaluate(f"{STORY}.guess = {{scene: '{SECOND}', value: {number} + 0.5}}")
    expect(count).to_have_text("2 follow · 2 guessed")
    assert sorted(lecturer.page.evaluate(f"{STORY}.others")) == [0.5, 1.5]
    assert phone.page.evaluate(f"{STORY}.others") == []
    lecturer.page.keyboard.press("h")
    expect(lecturer.page.locator(".mhc-cover")).to_contain_text("clear what was guessed")
    lecturer.page.keyboard.press("h")
    lecturer.page.keyboard.press("c")
    expect(count).to_have_text("2 follow")

    # The answer, a slider, and the next scene come to all, and leave no trace in their histories.
    lecturer.page.keyboard.press("PageDown")
    for each in (phone, desk):
        expect(each.page).to_have_url(re.compile(f"revealed={SECOND}(&|$)"))
    lecturer.set("Depth (layers)", 61)
    for each in (phone, desk):
        expect(each.slider("Depth (layers)")).to_have_value("61")
        assert "present" not in each.page.url
    lecturer.page.keyboard.press("PageDown")
    for each in (phone, desk):
        shows(each, THIRD)
    assert phone.page.evaluate("history.length") == entries

    # Off by the button, and back.
    phone.page.get_by_role("button", name="Explore on my own").click()
    expect(bar(phone)).to_contain_text("You are on your own")
    expect(count).to_have_text("1 follows")
    shows(phone, THIRD)
    lecturer.page.keyboard.press("PageUp")
    shows(desk, SECOND)
    shows(phone, THIRD)
    phone.page.get_by_role("button", name="Follow the lecture").click()
    expect(bar(phone)).to_contain_text("Following the lecture")
    shows(phone, SECOND)

    # Off by a slider of one's own.
    depth = int(desk.slider("Depth (layers)").input_value())
    desk.slider("Depth (layers)").press("ArrowLeft")
    expect(bar(desk)).to_contain_text("You are on your own")
    shows(desk, SECOND)
    expect(desk.slider("Depth (layers)")).to_have_value(str(depth - 1))

    # Opened anew, the lecturer's page leads again.
    lecturer.page.reload()
    expect(lecturer.page.locator(".mhc-story .count")).to_have_text("1 follows")
    lecturer.page.keyboard.press("PageUp")
    shows(phone, FIRST)

    # A wrong key gives an ordinary page that says so, and forgets it.
    desk.open(hall, "?depth=20#lead=not-the-right-key")
    expect(desk.page.get_by_role("alert")).to_contain_text("This page does not lead")
    assert "lead" not in desk.page.url
    assert desk.page.evaluate("sessionStorage.getItem('mhc-lead')") is None
    desk.keeps_nobody_out("button-name", "aria-allowed-attr", "color-contrast")
    for each in (lecturer, phone, desk):
        assert each.problems == []

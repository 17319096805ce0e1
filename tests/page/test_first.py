"""The first page: it stands and moves without a session, and the live page takes its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from .conftest import JOINED, Explorer

pytestmark = pytest.mark.browser

FIRST = ".mhc-first"


DRAWN = """() => [...(Bokeh.documents[0]?.all_models ?? [])].some((model) =>
  model.type === "Figure" && Bokeh.index.find_one_by_id(model.id)?._render_count > 0)"""


@contextmanager
def held(page: Page) -> Iterator[list[Route]]:
    """No token is given out until this ends: the server has no time."""
    routes: list[Route] = []
    busy = True
    page.route("**/app/token?*", lambda route: routes.append(route) if busy else route.continue_())
    yield routes
    busy = False
    for route in routes:
        route.continue_()


def opened(explorer: Explorer, address: str, query: str = "") -> Explorer:
    """The first page of a link, with its picture."""
    explorer.address = address
    explorer.page.goto(address + query)
    explorer.page.wait_for_function(DRAWN)
    return explorer


def places(page: Page) -> dict[str, list[float]]:
    """Where things stand that a reader looks at."""
    return page.evaluate(
        """() => {
          const found = {}
          const look = (root) => {
            for (const each of root.querySelectorAll("*")) {
              if (each.shadowRoot) look(each.shadowRoot)
              const shape = each.matches(".base, output, .mhc-range input, .legend li, .bk-Figure")
              const text = each.matches("[role=tab], .mhc-story button, p, h2")
              const name = shape ? each.className || each.tagName : text && each.textContent
              if (!name || !each.checkVisibility()) continue
              const {x, y, width, height} = each.getBoundingClientRect()
              let key = name.slice(0, 40)
              while (key in found) key += "+"
              found[key] = [x, y, width, height]
            }
          }
          const first = document.querySelector(".mhc-first")
          look(first ? first.shadowRoot : document)
          return found
        }"""
    )


def test_the_picture_and_both_sliders_need_no_session(explorer: Explorer, pictured: str) -> None:
    with held(explorer.page) as routes:
        opened(explorer, pictured, "?depth=20")
        expect(explorer.number(0).locator("sup")).not_to_have_text("")
        before = explorer.gain(0)
        explorer.set("Depth (layers)", 120)
        assert explorer.gain(0) > before + 15
        explorer.set("Sinkhorn iterations", 0)
        assert explorer.gain(1) == explorer.gain(0)
        explorer.page.wait_for_function(
            "location.search.includes('depth=120') && location.search.includes('iterations=0')"
        )
        assert routes
    expect(explorer.page.locator(JOINED)).to_be_attached()
    expect(explorer.slider("Depth (layers)")).to_have_value("120")
    assert explorer.gain(1) == explorer.gain(0)


def test_without_scripts_there_is_a_picture_with_its_numbers(
    browser: Browser, pictured: str
) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{pictured}?depth=64&iterations=1")
        picture = page.locator("figure.mhc-still")
        expect(picture.locator("svg")).to_be_visible()
        expect(picture.locator("figcaption b")).to_have_text(["1016.2", "1.13"])


@pytest.mark.parametrize(
    ("size", "query"),
    [
        ((1400, 900), ""),
        pytest.param((1920, 1080), "?theme=dark&scene=explosion", marks=pytest.mark.long),
        pytest.param((390, 844), "?view=mixing&iterations=5", marks=pytest.mark.long),
    ],
)
def test_the_first_page_keeps_nobody_out_and_nothing_jumps_when_the_live_one_takes_over(
    new_explorer: Any, pictured: str, size: tuple[int, int], query: str
) -> None:
    explorer = new_explorer(*size)
    with held(explorer.page):
        opened(explorer, pictured, query)
        explorer.page.wait_for_timeout(500)
        before = places(explorer.page)
        explorer.keeps_nobody_out()
        assert explorer.page.locator(FIRST).count()
    expect(explorer.page.locator(JOINED)).to_be_attached()
    explorer.stands(explorer.page.locator(".mhc-stage"))
    after = places(explorer.page)
    assert len(before) > 15
    assert before.keys() - after.keys() <= {"One moment"}
    moved = {
        name: (place, after[name])
        for name, place in before.items()
        if name in after
        if max(abs(a - b) for a, b in zip(place, after[name], strict=True)) > 1.5
    }
    assert moved == {}
    assert explorer.problems == []


def test_what_was_wanted_of_the_first_page_is_done_by_the_live_one(
    explorer: Explorer, pictured: str
) -> None:
    page = explorer.page
    with held(page) as routes:
        opened(explorer, pictured)
        explorer.set("Depth (layers)", 90)
        page.get_by_role("button", name="Toggle theme").click()
        page.get_by_role("tab", name="Mixing").click()
        expect(page.get_by_text("One moment")).to_be_visible()
        page.wait_for_timeout(300)
        assert "depth=64" in routes[0].request.url  # the session knows of nothing
    expect(page.locator(JOINED)).to_be_attached()
    page.wait_for_function(
        "['depth=90', 'theme=dark', 'view=mixing'].every((part) => location.search.includes(part))"
    )
    expect(page.get_by_role("tab", name="Mixing")).to_have_attribute("aria-selected", "true")
    expect(explorer.slider("Depth (layers)")).to_have_value("90")


@pytest.mark.long
def test_of_two_quick_clicks_the_last_one_wins(explorer: Explorer, pictured: str) -> None:
    page = explorer.page
    opened(explorer, pictured)
    page.mouse.move(20, 400)
    page.mouse.down()  # until then, the first page stays
    page.wait_for_function("Bokeh.documents.length > 1 && Bokeh.documents[1].is_idle")
    # The second click comes while the live page does what the first one wished.
    page.evaluate(
        """() => {
          const {shadowRoot: first} = document.querySelector(".mhc-first")
          const tabs = [...first.querySelectorAll("[role=tab]")]
          const press = (name) => tabs.find((tab) => tab.textContent === name).click()
          const doors = [...Bokeh.documents[1].all_models].find((m) => /^Doors/.test(m.type))
          const {change} = doors.properties.view
          const second = () => { change.disconnect(second); press("Mixing") }
          change.connect(second)
          press("Formulas")
        }"""
    )
    page.mouse.up()
    expect(page.locator(JOINED)).to_be_attached()
    expect(page).to_have_url(re.compile("view=mixing(&|$)"))
    expect(page.get_by_role("tab", name="Mixing")).to_have_attribute("aria-selected", "true")


@pytest.mark.long
def test_a_hand_on_a_slider_is_not_interrupted(explorer: Explorer, pictured: str) -> None:
    page = explorer.page
    with held(page):
        opened(explorer, pictured)
        box = explorer.slider("Depth (layers)").bounding_box()
        assert box
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.5, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.8, middle)
        now = explorer.slider("Depth (layers)").input_value()
    page.wait_for_function("Bokeh.documents.length > 1 && Bokeh.documents[1].is_idle")
    page.wait_for_timeout(1500)
    expect(page.locator(FIRST)).to_be_attached()
    page.mouse.up()
    expect(page.locator(FIRST)).to_have_count(0)
    expect(explorer.slider("Depth (layers)")).to_have_value(now)
    expect(explorer.slider("Depth (layers)")).to_be_focused()


@pytest.mark.long
def test_scripts_that_do_not_arrive_are_loaded_again(explorer: Explorer, pictured: str) -> None:
    page = explorer.page
    page.route("**/panel.min.js*", lambda route: route.abort(), times=2)
    opened(explorer, pictured)
    page.evaluate("mhc.first.want({})")
    expect(page.locator(JOINED)).to_be_attached()
    assert all("ERR_FAILED" in problem for problem in explorer.problems)
    explorer.problems.clear()

"""The presenter's view on the projectors that there are, and what a lecturer does in a hurry."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from mhc_demo.app.views import VIEWS
from mhc_demo.figures.sinkhorn import LAST_STEP
from mhc_demo.story.scenes import SCENES

from .conftest import Explorer

pytestmark = pytest.mark.browser

SHOWN = """() => {
  const seen = ({model, el}) => model.type === "Figure" && el.checkVisibility()
  return [...Bokeh.index.query(seen)].map(({model, el}) => {
    const {top, bottom} = el.getBoundingClientRect()
    const labels = [...model.left, ...model.below].filter((axis) => axis.axis_label)
    return {top, bottom, sizes: labels.map((axis) => axis.major_label_text_font_size)}
  })
}"""
"""Where the visible figures stand, and the type of their axes."""


def fits(explorer: Explorer, figures: int, rows: int = 1, type_: str = "14.0px") -> None:
    """All of so many figures are in one screen, in rows, their labels in that type."""
    page = explorer.page

    def all_is_seen() -> None:
        shown = page.evaluate(SHOWN)
        assert len(shown) == figures
        assert {size for each in shown for size in each["sizes"]} <= {type_}
        assert len({round(each["top"]) for each in shown}) == rows
        assert max(each["bottom"] for each in shown) <= page.viewport_size["height"] + 1
        main = page.locator("main").evaluate("(e) => [e.scrollHeight, e.clientHeight]")
        assert main[0] <= main[1] + 1

    explorer.eventually(all_is_seen)


@pytest.mark.long
def test_a_lecture_fits_small_projectors_in_one_type(shared: Explorer) -> None:
    page = shared.page
    page.set_viewport_size({"width": 1920, "height": 1080})
    shared.visit("?scene=others&present=1")
    fits(shared, 2, type_="20.0px")
    shared.visit("?scene=explosion&revealed=explosion&present=1")
    fits(shared, 1, type_="20.0px")
    for width, height in ((1280, 720), (1366, 768), (1024, 768)):
        page.set_viewport_size({"width": width, "height": height})
        fits(shared, 1)
    for scene in ("dial", "work", "why"):
        page.keyboard.press("PageDown")
        expect(page).to_have_url(re.compile(f"scene={scene}"))
        if SCENES[scene].guess:
            page.keyboard.press("PageDown")
            expect(page).to_have_url(re.compile(f"revealed={scene}"))
    fits(shared, 2)  # those that the scene is about
    shared.visit("?view=matrices&present=1")
    fits(shared, 4, rows=2)  # never one alone in a row
    page.set_viewport_size({"width": 1280, "height": 720})
    fits(shared, 4)


@pytest.mark.long
def test_views_without_a_scene_are_presented_without_its_text(shared: Explorer) -> None:
    page = shared.page
    page.set_viewport_size({"width": 1280, "height": 720})
    for name in ("lab", "compare"):
        shared.visit(f"?view={name}&present=1")
        expect(page.locator(".mhc-story h2")).to_have_text(VIEWS[name].title)
        expect(page.locator(".mhc-story .text")).to_have_count(0)
        expect(page.locator(".mhc-headline")).to_be_visible(visible=name == "compare")
        expect(page.get_by_role("tab").first).to_be_hidden()
        expect(page.locator(".bk-Figure").first).to_be_visible()  # the lab's axes, untrained
    wide = page.locator("main").evaluate("(e) => e.scrollWidth - e.clientWidth")
    assert wide <= 0
    page.keyboard.press("PageDown")
    expect(page.locator(".mhc-story h2")).to_have_text(next(iter(SCENES.values())).title)


def test_the_presented_signal_is_whole_on_a_small_projector(shared: Explorer) -> None:
    page = shared.page
    page.set_viewport_size({"width": 1280, "height": 720})
    shared.visit("?view=signal&present=1")
    expect(page.locator(".mhc-signal")).to_be_visible()
    fits(shared, 2, rows=2)
    for each in (".mhc-signal", ".mhc-headline", ".mhc-range"):
        for box in (node.bounding_box() for node in page.locator(each).all()):
            assert box
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 720, each


def test_any_view_is_presented_from_the_page_by_keyboard(shared: Explorer) -> None:
    page = shared.visit("?view=sinkhorn").page
    button = page.get_by_role("button", name="Present this view")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".mhc-story h2")).to_have_text(VIEWS["sinkhorn"].title)
    expect(page).to_have_url(re.compile("view=sinkhorn&.*present=1"))
    expect(button).to_be_hidden()
    # P plays what the view is about, and there alone.
    page.emulate_media(reduced_motion="reduce")  # then play goes straight to the end
    page.keyboard.press("p")
    expect(shared.slider("Step")).to_have_value(str(LAST_STEP))
    expect(shared.slider("Sinkhorn iterations")).to_have_value("1")
    page.keyboard.press("Escape")
    expect(button).to_be_visible()
    shared.show("mixing")
    button.click()
    expect(page.locator(".mhc-story h2")).to_have_text(VIEWS["mixing"].title)
    page.keyboard.press("p")
    expect(shared.slider("Sinkhorn iterations")).to_have_value("30")
    page.emulate_media(reduced_motion="no-preference")


def test_neither_play_nor_haste_parts_page_and_link(shared: Explorer) -> None:
    page = shared.page
    shared.visit("?scene=explosion&revealed=explosion&present=1")
    depth = shared.slider("Depth (layers)")
    page.keyboard.press("p")
    expect(depth).to_have_value(re.compile("^(6[7-9]|[7-9].)$"))
    page.keyboard.press("PageDown")
    expect(page).to_have_url(re.compile("depth=64&.*scene=dial"))
    page.wait_for_timeout(1000)  # whatever was on its way has come
    expect(depth).to_have_value("64")
    expect(page).to_have_url(re.compile("depth=64&.*scene=dial"))
    for _ in range(4):
        page.keyboard.press("PageUp")
        page.wait_for_timeout(100)
    names = list(SCENES)
    there = names[names.index("dial") - 4]
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES[there].title)
    expect(page).to_have_url(re.compile(f"scene={there}"))
    page.wait_for_timeout(500)
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES[there].title)

"""The address: a link is what is seen, and what is seen is a link."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from mhc_demo.numerics.surface import MAX_DEPTH
from mhc_demo.story.scenes import SCENES

from .conftest import Explorer

pytestmark = pytest.mark.browser


def test_the_link_is_what_is_seen(explorer: Explorer, address: str) -> None:
    query = (
        "?iterations=2&depth=30&streams=3&seed=9&spread=2.5&init=identity&projection=rows"
        "&members=5&definition=worst-case&device=numpy&view=layers&theme=dark"
    )
    explorer.open(address, query)
    expect(explorer.slider("Depth (layers)")).to_have_value("30")
    expect(explorer.slider("Sinkhorn iterations")).to_have_value("2")
    expect(explorer.page.get_by_role("tab", name="Single layers")).to_have_attribute(
        "aria-selected", "true"
    )
    expect(explorer.page).to_have_url(address + query)
    explorer.set("Depth (layers)", 33)
    expect(explorer.page).to_have_url(address + query.replace("depth=30", "depth=33"))
    entries = explorer.page.evaluate("history.length")
    explorer.set("Depth (layers)", 50)
    expect(explorer.page).to_have_url(re.compile("depth=50"))
    assert explorer.page.evaluate("history.length") == entries


def test_a_bad_link_is_corrected_with_notices(explorer: Explorer, address: str) -> None:
    """And nothing of it reaches the page as markup."""
    evil = "%3Cimg%20src%3Dx%20onerror%3D%22window.pwned%3D1%22%3E"
    bad = "depth=500&iterations=-3&spread=nan&streams=9&projection=mhc-lite"
    explorer.open(address, f"?{bad}&{evil}={evil}&seed={evil}&view={evil}&definition={evil}")
    for notice in (
        f"Depth (layers): set to {MAX_DEPTH}; it ranges from 1 to {MAX_DEPTH}.",
        "Sinkhorn iterations: set to 0",
        "Spread: the value in the link was ignored",
        "Seed: the value in the link was ignored",
        "Streams (n): set to 6",
        "An unknown parameter in the link was ignored.",
    ):
        expect(explorer.page.get_by_role("alert")).to_contain_text(notice)
    good = f"iterations=0&depth={MAX_DEPTH}&streams=6&seed=42&spread=1&init=gaussian"
    good += "&projection=mhc-lite"
    expect(explorer.page).to_have_url(re.compile(re.escape(good)))
    assert explorer.model("signal-hc", "m.renderers.length") > 0
    assert explorer.page.evaluate("window.pwned") is None
    expect(explorer.page.locator("img[src='x']")).to_have_count(0)
    assert "onerror" not in explorer.page.get_by_role("alert").inner_text()


DARK = """() => Bokeh.documents[0].roots().find(({data}) => data && "dark_theme" in data)
  .data.dark_theme"""


@pytest.mark.long
def test_the_page_is_as_dark_as_the_system_until_somebody_chooses(
    explorer: Explorer, address: str
) -> None:
    page = explorer.page
    page.emulate_media(color_scheme="dark")
    explorer.open(address)
    page.wait_for_function(DARK)
    expect(page).not_to_have_url(re.compile("theme"))
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"() => !({DARK})()")
    toggle = page.get_by_role("button", name=re.compile("theme", re.I))
    toggle.click()
    expect(page).to_have_url(re.compile("theme=dark"))
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    expect(page).to_have_url(re.compile("theme=dark"))
    assert page.evaluate(DARK)
    toggle.click()  # what the system has anyway
    expect(page).not_to_have_url(re.compile("theme"))

    # On paper: light, the whole column, and nothing to press.
    plot = page.locator(".bk-Figure").first
    drawn = plot.bounding_box()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(color_scheme="dark")  # of paper, not of the system
    page.emulate_media(media="print")
    expect(page.get_by_role("banner")).to_be_hidden()
    expect(page.get_by_role("tab").first).to_be_hidden()
    expect(page.get_by_label("What enters")).to_be_hidden()
    expect(page.get_by_role("button", name="Reset")).to_be_hidden()
    expect(explorer.slider("Depth (layers)")).to_be_hidden()
    expect(page.get_by_text("Depth (layers)").first).to_be_visible()
    main = page.locator("main").evaluate("(e) => [e.scrollHeight, e.clientHeight]")
    assert main[0] <= main[1] + 1  # nothing is cut off
    assert not page.evaluate(DARK)
    # A sheet is lower than the window, and plots stay as high as they were.
    page.set_viewport_size({"width": 1400, "height": 500})
    zoom = plot.evaluate("(node) => node.currentCSSZoom")
    assert plot.bounding_box()["height"] == pytest.approx(drawn["height"] * zoom, abs=1)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(DARK)


def test_views_and_scenes_are_entries_of_the_history(explorer: Explorer, address: str) -> None:
    # In a tab of its own: a browser keeps 50 entries, and then counts no more.
    page = explorer.page
    explorer.open(address, "?depth=30&seed=7&view=composite")
    expect(page).to_have_url(re.compile("depth=30&.*seed=7&.*view=composite"))
    entries = page.evaluate("history.length")
    explorer.show("mixing")
    explorer.set("Depth (layers)", 33)
    expect(page).to_have_url(re.compile("depth=33&"))
    page.get_by_role("button", name=re.compile("The story")).click()
    expect(page).to_have_url(re.compile(f"scene={next(iter(SCENES))}"))
    assert page.evaluate("history.length") == entries + 2
    page.go_back()
    expect(explorer.slider("Depth (layers)")).to_have_value("33")
    expect(page.locator(".mhc-story h2")).to_have_count(0)
    selected = page.locator(".mhc-doors .outer").get_by_role("tab", selected=True)
    expect(selected).to_have_text("Mixing")
    page.go_back()
    expect(selected).to_have_text("Gain")
    expect(explorer.slider("Depth (layers)")).to_have_value("30")
    expect(page).to_have_url(re.compile("depth=30&.*seed=7&.*view=composite"))
    page.go_forward()
    page.go_forward()
    expect(page.locator(".mhc-story h2")).to_have_count(1)
    expect(page).to_have_url(re.compile(f"scene={next(iter(SCENES))}"))
    assert page.evaluate("history.length") == entries + 2

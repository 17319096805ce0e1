"""The story, told with a clicker and no mouse."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from mhc_demo.story.scenes import SCENES

from .conftest import RULES, Explorer

pytestmark = pytest.mark.browser

TITLES = [scene.title for scene in SCENES.values()]
NAMES = list(SCENES)


def title(page: Page) -> Any:
    return page.locator(".mhc-story h2")


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_whole_story_can_be_told_with_a_clicker(shared: Explorer, theme: str) -> None:
    page = shared.page
    page.set_viewport_size({"width": 1920, "height": 1080})
    if theme == "dark":
        page.get_by_role("button", name="Toggle theme").click()
    shared.visit(f"?present=1&scene={NAMES[0]}")
    expect(title(page)).to_have_text(TITLES[0])
    expect(page.get_by_role("banner")).to_be_hidden()
    expect(page.get_by_role("tab").first).to_be_hidden()
    looked_at: set[str] = set()
    for name, scene in list(SCENES.items())[1:]:
        page.keyboard.press("PageDown")
        expect(title(page)).to_have_text(scene.title)
        expect(page).to_have_url(re.compile(f"scene={name}"))
        expect(page.locator(".mhc-story .question")).to_have_count(0 if scene.guess else 1)
        if scene.guess:
            page.keyboard.press("PageDown")  # the answer
            expect(page.locator(".mhc-story .question")).to_have_count(1)
        expect(page.locator(".mhc-headline")).to_be_visible(visible=scene.headline)
        for control in ("Sinkhorn iterations", "Depth (layers)", "Spread", "Projection"):
            role = "combobox" if control == "Projection" else "slider"
            needed = re.sub(r"^sinkhorn | .*", "", control.lower()) in scene.controls
            where = page.get_by_role(role, name=re.compile(f"^{re.escape(control)}"))
            expect(where.filter(visible=True)).to_have_count(int(needed))
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, name

        def one_screen(name: str = name) -> None:
            stage = page.locator(".mhc-stage").bounding_box()
            assert stage
            assert stage["y"] + stage["height"] <= 1080, name
            assert stage["height"] >= 400, name

        shared.eventually(one_screen)
        if (view := scene.state["view"]) not in looked_at:
            # The colours of a view are those of its tab, which test_views.py looks at.
            shared.keeps_nobody_out(*RULES[theme], colours=not looked_at or theme == "dark")
            looked_at.add(view)
        if name == "real":
            figure_8_fits_one_screen(shared)
    page.keyboard.press("PageDown")  # there is no next one
    page.keyboard.press("PageUp")
    expect(title(page)).to_have_text(TITLES[-2])
    real = NAMES.index("real")
    for before in reversed(TITLES[real:-2]):
        page.keyboard.press("ArrowLeft")
        expect(title(page)).to_have_text(before)
    page.keyboard.press("Escape")
    expect(page.get_by_role("banner")).to_be_visible()
    expect(title(page)).to_have_text(TITLES[real])
    expect(page.locator(".fig8-gains")).to_be_visible()
    expect(page.locator(".fig8-gain").first).to_be_hidden()


def figure_8_fits_one_screen(explorer: Explorer) -> None:
    page = explorer.page
    expect(page.locator(".fig8 .hc .fig8-gain").last).to_contain_text("509.1")
    expect(page.locator(".fig8 .mhc .fig8-gain").last).to_contain_text("1.01")
    expect(page.locator(".fig8-gains")).to_be_hidden()

    def all_is_seen() -> None:
        shown = page.locator(".fig8-matrix, .fig8-gain").filter(visible=True)
        boxes = [each.bounding_box() for each in shown.all()]
        assert len(boxes) == 16  # of the six matrices of each network, four that can be read
        assert all(b and b["x"] + b["width"] <= 1920 for b in boxes)
        assert all(b and b["y"] + b["height"] <= 1080 for b in boxes)
        assert len({b["y"] for b in boxes if b}) == 4  # two rows, and the gains of each
        cell = page.locator(".fig8-matrix td").first
        assert cell.evaluate("(e) => parseFloat(getComputedStyle(e).fontSize)") >= 20

    explorer.eventually(all_is_seen)


def test_a_scene_sets_the_page_and_its_sliders_stay_live(shared: Explorer) -> None:
    page = shared.page
    page.get_by_role("button", name="As a lecture").click()
    sharp = NAMES.index("sharp")
    for i in (0, 1, sharp - 1):
        if i == sharp - 1:
            shared.visit(f"?scene={NAMES[i]}")
        expect(title(page)).to_have_text(TITLES[i])
        if SCENES[NAMES[i]].guess:
            page.get_by_role("button", name="Show the answer").click()
        page.get_by_role("button", name="Next ▶", exact=True).click()
    expect(title(page)).to_have_text(SCENES["sharp"].title)
    expect(shared.number(1)).to_have_text("1.80")
    expect(page).to_have_url(re.compile("spread=5.*scene=sharp"))
    shared.set("Sinkhorn iterations", 20)
    expect(shared.number(1)).to_have_text("1.02")
    expect(page).to_have_url(re.compile("iterations=20.*scene=sharp"))
    # A link into a changed scene shows what was changed.
    link = page.url[page.url.index("?") :]
    shared.visit("?view=composite")
    expect(shared.number(1)).to_have_text("1.13")
    shared.visit(link)
    expect(title(page)).to_have_text(SCENES["sharp"].title)
    expect(shared.number(1)).to_have_text("1.02")
    page.get_by_role("button", name="Reset").click()
    expect(shared.slider("Sinkhorn iterations")).to_have_value("1")
    page.get_by_role("button", name="Close the story").click()
    expect(title(page)).to_have_count(0)
    expect(page).not_to_have_url(re.compile("scene="))


def test_each_key_of_the_presenter(explorer: Explorer, address: str) -> None:
    page = explorer.page
    explorer.open(address, "?scene=dial&revealed=dial&present=1&iterations=0", controls=False)
    label = re.compile("^Composite Amax gain against depth")
    expect(page.get_by_role("img", name=label)).to_be_visible()
    expect(page.locator(".mhc-plots")).to_be_hidden()  # no files in front of an audience
    page.keyboard.press("f")
    page.keyboard.press("b")
    expect(page.locator(".mhc-cover")).to_be_visible()
    page.keyboard.press("b")
    expect(page.locator(".mhc-cover")).to_have_count(0)
    page.keyboard.press("h")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("speaker notes")
    explorer.keeps_nobody_out()
    page.keyboard.press("Escape")
    expect(page.locator(".mhc-cover")).to_have_count(0)
    page.keyboard.press("p")
    expect(explorer.slider("Sinkhorn iterations")).not_to_have_value(re.compile("^[01]$"))
    page.keyboard.press("r")  # also to the guess with which the scene begins
    expect(explorer.slider("Sinkhorn iterations")).to_have_value("0")
    page.keyboard.press("PageDown")
    expect(explorer.slider("Sinkhorn iterations")).to_have_value("1")
    page.keyboard.press("s")
    expect(page).not_to_have_url(re.compile("seed=42"))
    with page.expect_popup() as popup:
        page.keyboard.press("n")
    expect(popup.value.locator("body")).to_contain_text(SCENES["dial"].notes)
    slider = explorer.slider("Sinkhorn iterations")
    slider.focus()
    page.keyboard.press("ArrowRight")  # the slider's own
    expect(slider).to_have_value("2")
    expect(title(page)).to_have_text(SCENES["dial"].title)
    page.keyboard.press("PageDown")  # the clicker's, though a slider has the focus
    expect(title(page)).to_have_text(SCENES["work"].title)
    expect(popup.value.locator("body")).to_contain_text(SCENES["work"].notes)
    popup.value.close()


def test_the_story_fits_a_wall(shared: Explorer) -> None:
    shared.page.set_viewport_size({"width": 3840, "height": 2160})
    shared.visit("?scene=real")
    assert shared.page.evaluate("document.documentElement.scrollWidth") <= 3840


def test_what_is_shown_can_be_copied(shared: Explorer) -> None:
    page = shared.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shared.set("Depth (layers)", 59)
    shared.unfold()
    page.get_by_role("textbox", name="Seed").fill("7")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("depth=59&.*seed=7&"))
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert "seed=7" in (script := page.evaluate("navigator.clipboard.readText()"))
    assert "depth=59" in script
    expect(page.get_by_role("button", name="Copy as Python")).to_be_visible()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url

"""The story as a file, in a browser without a network: from a disk and in a sandboxed frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import mhc_demo as mhc
from mhc_demo.app.state import URL_PARAMETERS, State
from mhc_demo.numerics.numbers import in_text
from mhc_demo.story.results import Results
from mhc_demo.story.scenes import SCENES, SHORT

from .conftest import Explorer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the story in both ways."""
    path = tmp_path_factory.mktemp("story")
    for way in ("whole", "short"):
        (path / f"{way}.html").write_text(mhc.export_story(way), "utf-8")
    return path


@pytest.fixture
def tab(browser: Browser) -> Iterator[Explorer]:
    """A tab that has no network, and may report no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    context.add_init_script("Element.prototype.requestFullscreen = async () => {}")
    explorer = Explorer(context.new_page())
    asked: list[str] = []
    explorer.page.on("request", lambda request: asked.append(request.url))
    yield explorer
    assert explorer.problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def title(page: Page) -> str:
    return page.locator(".mhc-story h2").inner_text()


def headline(name: str) -> list[str]:
    """The two numbers of a scene by the library, as `Explorer.number` reads them."""
    defaults = {each: State.param[each].default for each in URL_PARAMETERS}
    results = Results({**defaults, **SCENES[name].state})
    both = [in_text(results.gain(0)), in_text(results.gain())]
    return [text.replace("^", "") for text in both]


def test_it_is_told_with_a_clicker_from_a_disk(tab: Explorer, folder: Path) -> None:
    page = tab.page
    page.goto((folder / "whole.html").as_uri())
    page.get_by_role("button", name="Present").click()
    for name, scene in SCENES.items():
        expect(page.locator(".mhc-story h2")).to_have_text(scene.title)
        if scene.guess:
            expect(page.locator(".mhc-story .question")).to_have_count(0)
            page.keyboard.press("PageDown")
        expect(page.locator(".mhc-story .question")).to_have_count(1)
        expect(page.locator(".mhc-headline")).to_have_count(int(scene.headline))
        if scene.headline:
            numbers = page.locator(".mhc-headline .number").filter(visible=True)
            wanted = headline(name)[: 1 if "headline-projected" in scene.hidden else 2]
            expect(numbers).to_have_text(wanted)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.url.endswith(f"#{name}") or name == next(iter(SCENES))
        page.keyboard.press("PageDown")
    expect(page.locator(".mhc-story h2")).to_have_text(list(SCENES.values())[-1].title)
    for key in ("s", "c"):  # of the live page alone: nothing happens, and nothing breaks
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Present")).to_be_visible()
    tab.keeps_nobody_out()


def test_a_link_opens_a_scene_whose_training_is_replayed(tab: Explorer, folder: Path) -> None:
    page = tab.page
    page.goto(f"{(folder / 'short.html').as_uri()}#training")
    expect(page.locator(".mhc-story .where")).to_have_text(f"{len(SHORT)} / {len(SHORT)}")
    expect(page.locator(".veil")).to_have_count(5)
    expect(page.locator(".lab-verdict b").first).to_be_hidden()
    page.get_by_role("button", name="Show the answer").click()
    expect(page.locator(".lab-verdict b").first).to_be_visible()
    step = tab.slider("Step of training")
    expect(step).not_to_have_value(re.compile("^[1-4]?$"))  # it plays
    tab.keeps_nobody_out()
    # The scene before it, and back again by the browser's own way.
    page.get_by_role("button", name="Back").click()
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES["why"].title)
    page.go_back()
    expect(page.locator(".mhc-story h2")).to_have_text(SCENES["training"].title)
    expect(page.get_by_role("button", name="Next ▶", exact=True)).to_be_disabled()


def test_it_lives_in_a_sandboxed_frame(tab: Explorer, folder: Path) -> None:
    page = tab.page
    html = (folder / "short.html").read_text("utf-8")
    page.set_content(
        f'<iframe sandbox="allow-scripts" srcdoc="{escape(html)}" '
        'style="width: 1000px; height: 800px"></iframe>'
    )
    frame = page.frame_locator("iframe")
    expect(frame.locator(".mhc-story h2")).to_have_text(SCENES["surge"].title)
    frame.get_by_role("button", name="Next ▶", exact=True).click()
    expect(frame.locator(".mhc-story h2")).to_have_text(SCENES["widen"].title)
    expect(frame.get_by_role("img", name=re.compile("^A signal|^Signal"))).to_have_count(1)


def test_a_scene_is_worth_printing(tab: Explorer, folder: Path) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark")
    page.goto(f"{(folder / 'short.html').as_uri()}#surge")
    expect(page.locator(".bk-Figure").first).to_be_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    host = page.locator(".mhc-demo")
    assert host.evaluate("(e) => getComputedStyle(e).filter").startswith("invert(1)")
    assert host.evaluate("(e) => e.getBoundingClientRect().width") <= 1046  # of the paper
    expect(page.locator(".mhc-story nav")).to_be_hidden()
    plot = page.locator(".bk-Figure").filter(visible=True).bounding_box()
    words = page.locator(".words").first.bounding_box()
    assert plot
    assert words
    assert plot["height"] > 100
    assert plot["y"] + plot["height"] <= words["y"]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="dark")
    expect(page.locator(".mhc-story nav")).to_be_visible()
    assert host.get_attribute("data-theme") == "auto"

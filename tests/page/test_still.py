"""What a reader sees whose browser does not run the page's scripts: a picture and its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import mhc_demo as mhc
from mhc_demo.numerics.numbers import in_text
from mhc_demo.story.scenes import SCENES

pytestmark = pytest.mark.browser

FEW = mhc.Experiment(members=4)


def tells(page: Page, hc: str, projected: str) -> None:
    picture = page.locator("figure.mhc-still")
    expect(picture.locator("svg")).to_be_visible()
    box = picture.locator("svg").bounding_box()
    assert box
    assert box["height"] > 100
    expect(picture.locator("figcaption b")).to_have_text([hc, projected])


def numbers() -> list[str]:
    gains = mhc.gain_surface(FEW)["log10_gain"].sel(depth=64, series="median")
    both = [float(gains.sel(iterations=t).max()) for t in (0, 1)]
    return [in_text(each).replace("^", "") for each in both]


@pytest.mark.parametrize(
    "policy", [pytest.param("script-src 'none'", marks=pytest.mark.long), "default-src 'none'"]
)
def test_where_scripts_are_forbidden(browser: Browser, policy: str) -> None:
    html = mhc.export_html(FEW)
    with browser.new_context() as context:
        page = context.new_page()
        headers = {"Content-Security-Policy": policy, "Content-Type": "text/html"}
        page.route("**/*", lambda route: route.fulfill(body=html, headers=headers))
        page.goto("http://still.test/")
        tells(page, *numbers())


def test_where_there_are_none(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "story.html").write_text(mhc.export_story("short"), "utf-8")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((tmp_path / "story.html").as_uri())
        expect(page.locator("figure.mhc-still svg")).to_be_visible()
        for scene in ("explosion", "training"):
            expect(page.get_by_role("heading", name=SCENES[scene].title)).to_be_visible()


def test_where_they_run_it_leaves(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "file.html").write_text(mhc.export_html(FEW), "utf-8")
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto((tmp_path / "file.html").as_uri())
        expect(page.locator(".bk-Figure").first).to_be_visible()
        expect(page.locator(".mhc-still")).to_have_count(0)

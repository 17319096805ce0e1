"""The address: a link is what is seen, and what is seen is a link."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from mhc_demo.numerics.surface import MAX_DEPTH

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
    assert len(explorer.plotted("composite")) > 0
    assert explorer.page.evaluate("window.pwned") is None
    expect(explorer.page.locator("img[src='x']")).to_have_count(0)
    assert "onerror" not in explorer.page.get_by_role("alert").inner_text()

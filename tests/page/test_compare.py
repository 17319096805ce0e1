"""The comparison of all projections."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.numerics.projections import PROJECTIONS

from .conftest import Explorer
from .library import comparison_is_of, expected

pytestmark = pytest.mark.browser


def test_a_reopened_comparison_shows_the_present_state(shared: Explorer) -> None:
    shared.show("compare")
    shared.show("mixing")
    for _ in range(3):
        shared.slider("Streams (n)").press("ArrowRight")
    shared.set("Sinkhorn iterations", 3)
    shared.set("Depth (layers)", 61)
    shared.show("compare")
    found = mhc.compare(mhc.Experiment(members=10, streams=7))  # that many of 32, to be quick
    shared.eventually(lambda: comparison_is_of(shared, found, 61, 3, absent=("mhc-lite",)))
    expect(
        shared.page.get_by_text("mHC-lite (permutation mixture) takes at most 6 streams.")
    ).to_be_visible()


PLACES = ["iterations=1", "iterations=0", "spread=0", "streams=1"]
"""Where lines lie close together."""


@pytest.mark.parametrize(
    "place", [*PLACES[:2], *(pytest.param(each, marks=pytest.mark.long) for each in PLACES[2:])]
)
def test_the_names_of_compared_lines_do_not_overlap(shared: Explorer, place: str) -> None:
    sliders = {"iterations=0": "Sinkhorn iterations", "spread=0": "Spread"}
    if place != "iterations=1":
        shared.slider(sliders.get(place, "Streams (n)")).press("Home")
    expect(shared.page).to_have_url(re.compile(f"{place}&"))
    shared.show("compare")
    names_do_not_overlap(shared)
    shared.saves_below_the_view()
    # Nor when the window is as narrow as a phone; test_phone.py opens the page there.
    shared.page.set_viewport_size({"width": 390, "height": 844})
    shared.page.wait_for_function(NARROW)
    names_do_not_overlap(shared)


NARROW = """() => ["forward", "backward"].every((direction) =>
  Bokeh.documents[0].get_model_by_name(`compare-${direction}`).outer_width <= 390)"""
"""Both plots have been laid out anew."""


def names_do_not_overlap(explorer: Explorer) -> None:
    """The names at the right end of the comparison's lines."""

    def names_are_apart() -> None:
        for direction in ("forward", "backward"):
            height, low, high, texts, places, size, right = explorer.model(
                f"compare-{direction}",
                """(() => {
                    const r = m.renderers.find((r) => r.glyph.type === "Text")
                    const {data} = r.data_source
                    const x = column(data, "x1")[0]
                    const space = (m.x_range.end - x) * m.inner_width / m.x_range.end
                    return [m.inner_height, m.y_range.start, m.y_range.end, column(data, "text"),
                            column(data, "y1"), r.glyph.text_font_size.value, space]
                })()""",
            )
            assert {text.split(" ↑")[0].split(" ↓")[0] for text in texts} == {
                PROJECTIONS[name].label for name in PROJECTIONS
            }
            pixels = np.sort((high - np.array(places)) / (high - low) * height)
            points = float(size.removesuffix("px"))
            assert (np.diff(pixels) >= points).all()
            assert pixels[0] >= 0.5 * points
            assert pixels[-1] <= height - 0.5 * points
            assert right > 8 * points

    explorer.eventually(names_are_apart)


def test_what_leaves_the_comparison_has_its_gain_beside_its_name(shared: Explorer) -> None:
    shared.show("compare")
    gain = float(expected({}, "backward", iterations=0, depth=64))

    def text_is_right() -> None:
        texts = shared.model(
            "compare-backward",
            'column(m.renderers.find((r) => r.glyph.type === "Text").data_source.data, "text")',
        )
        digits = f"{gain:.1f}".translate(str.maketrans("0123456789.", "⁰¹²³⁴⁵⁶⁷⁸⁹·"))
        assert f"HC ↑ 10{digits}" in texts
        assert "Sinkhorn" in texts

    shared.eventually(text_is_right)

"""The comparison of all projections."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.figures import style
from mhc_demo.figures.compare import REST
from mhc_demo.numerics.projections import PROJECTIONS

from .conftest import Explorer, usual
from .library import comparison_is_of, expected, written_table

pytestmark = pytest.mark.browser


@pytest.mark.long
def test_a_reopened_comparison_shows_the_present_state(shared: Explorer) -> None:
    shared.show("compare")
    shared.show("mixing")
    for _ in range(3):
        shared.slider("Streams (n)").press("ArrowRight")
    shared.set("Sinkhorn iterations", 3)
    shared.set("Depth (layers)", 61)
    shared.show("compare")
    found = mhc.compare(mhc.Experiment(members=10, streams=7))  # that many of 32, to be quick
    absent = tuple(name for name, chosen in PROJECTIONS.items() if not chosen.sizes.hold(7))
    assert "mhc-lite" in absent
    shared.eventually(lambda: comparison_is_of(shared, found, 61, 3, absent))
    expect(shared.page.get_by_text("takes at most 6 streams.")).to_be_visible()


PLACES = ["iterations=1", "iterations=0", "spread=0", "streams=1"]
"""Where lines lie close together."""


@pytest.mark.parametrize("place", usual("iterations=0", of=PLACES))
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
                chosen.label for chosen in PROJECTIONS.values() if chosen.leads
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


def test_rows_are_sorted_pinned_and_highlighted(shared: Explorer) -> None:
    page = shared.page
    shared.show("compare")

    def looks(name: str) -> list[Any]:
        """Colour and width of a line, and the names at the ends of lines."""
        return shared.model(
            "compare-backward",
            f"""(() => {{
                const {{glyph}} = m.renderers.find((r) => r.name === "{name}, backward")
                const text = m.renderers.find((r) => r.glyph.type === "Text").data_source.data
                return [glyph.line_color.value, glyph.line_width.value, column(text, "text")]
            }})()""",
        )

    # Sorted by click and by key, and still sorted when a slider moves.
    heading = page.locator(".mhc-compare thead th.norm")
    heading.click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert next(iter(written_table(shared))) == "exp only"
    page.get_by_role("button", name="Sort by Worst-case norm").press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    shared.set("Sinkhorn iterations", 0)

    def sorted_again() -> None:
        norms = shared.page.evaluate(NORMS)
        assert norms == sorted(norms)
        assert list(written_table(shared))[-1] == "exp only"
        assert written_table(shared)["Sinkhorn"]["norm"].startswith("10")

    shared.eventually(sorted_again)
    heading.click()  # as they were
    expect(heading).not_to_have_attribute("aria-sort", re.compile("."))
    assert list(written_table(shared)) == [chosen.label for chosen in PROJECTIONS.values()]

    # A line that is grey until its row is pointed at, and pinned by a key.
    grey = looks("Identity")
    row = page.locator(".mhc-compare tbody tr").filter(has_text="Identity")
    row.hover()

    def stands_out() -> None:
        _, width, labels = looks("Identity")
        assert width > grey[1]
        assert "Identity" in labels

    shared.eventually(stands_out)
    pin = page.get_by_role("button", name="Draw Identity")
    expect(pin).to_have_attribute("aria-pressed", "false")
    pin.press(" ")
    expect(pin).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile(r"pinned=sinkhorn,mhc-lite,rows,exp,none,identity(&|$)"))
    page.mouse.move(0, 0)
    shared.eventually(lambda: assert_equal(looks("Identity")[0], style.stroke(5).colour))

    # A seventh takes the place of the oldest.
    page.get_by_role("button", name="Draw Released").click()
    expect(page).to_have_url(re.compile(r"pinned=released,mhc-lite,rows,exp,none,identity(&|$)"))
    page.mouse.move(0, 0)
    shared.eventually(lambda: assert_equal(looks("Sinkhorn")[0], REST.colour))

    # One layer under each, not before it is wanted.
    expect(page.locator(".mhc-each .tiles button")).to_have_count(0)
    page.get_by_text("The same layer under each").click()
    expect(page.locator(".mhc-each .tiles button")).to_have_count(len(PROJECTIONS))
    page.locator(".mhc-each").get_by_role("button", name="exp only").click()
    expect(page).to_have_url(re.compile(r"pinned=released,mhc-lite,rows,-,none,identity(&|$)"))
    expect(page.get_by_role("button", name="Draw exp only")).to_have_attribute(
        "aria-pressed", "false"
    )


def assert_equal(found: Any, expected: Any) -> None:
    assert found == expected


NORMS = """() => {
  const doc = Bokeh.documents[0]
  const norms = new Map()
  for (const name of ["compare-still", "compare-moving"]) {
    const {data} = doc.get_model_by_name(name)
    const column = (c) => [...(data instanceof Map ? data.get(c) : data[c])]
    column("label").forEach((label, i) => norms.set(label, column("norm")[i]))
  }
  const inside = (node) => [...(node.shadowRoot?.children ?? []), ...node.children]
  const all = (node) => [node, ...inside(node).flatMap(all)]
  const table = all(document.body).find((node) => node.classList.contains("mhc-compare"))
  const names = [...table.querySelectorAll("tbody .name .short")]
  return names.map((node) => norms.get(node.textContent))
}"""
"""The worst-case norms in the order of the rows."""

"""Sinkhorn at work: its steps are Python's, each is announced, and a wrong number is named."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.figures import style
from mhc_demo.figures.matrices import PALETTES
from mhc_demo.figures.sinkhorn import LAST_STEP, sentences

from .conftest import Explorer
from .test_plots import saved

pytestmark = pytest.mark.browser

# The browser holds float32 numbers.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def shows(explorer: Explorer, logits: np.ndarray, step: int) -> None:
    """The matrix, its title, the plot of errors and the sentence are those of that step."""
    steps = mhc.half_steps(logits)
    expect(explorer.page.locator(".mhc-steps [role=status]")).to_have_text(sentences(steps)[step])
    n = len(logits)

    def right() -> None:
        drawn = explorer.matrix("sinkhorn-matrix")
        assert drawn["title"].endswith(f", step {step}")
        block = np.reshape(drawn["value"], (n + 1, n + 1))
        here = steps.isel(step=step)
        assert block[-1, -1] == here["power"]
        np.testing.assert_allclose(block[:n, :n], here["mantissa"], **CLOSE)
        np.testing.assert_allclose(block[:n, n], here["row_sum"], **CLOSE)
        np.testing.assert_allclose(block[n, :n], here["column_sum"], **CLOSE)
        now = explorer.plotted("sinkhorn-error")["now"][0]
        error = steps.isel(step=step - 1 + int(here["whole"]))["error"].values  # of a whole one
        wanted = np.log10(error) if error > 0 and here["iteration"] else np.nan
        np.testing.assert_allclose(now, wanted, **CLOSE)

    explorer.eventually(right)


def test_every_step_is_python_s_and_is_announced(shared: Explorer) -> None:
    page = shared.page
    logits = mhc.sample_mixing(3, streams=4, seed=42)[0]
    shared.show("sinkhorn")
    shows(shared, logits[0], 0)
    further = page.get_by_role("button", name="Next half step")
    for _ in range(3):
        further.click()
    shows(shared, logits[0], 3)
    texts = shared.matrix("sinkhorn-matrix")["text"]
    assert texts[4::5][:4] == ["1.00"] * 4  # the rows were divided last
    page.get_by_role("button", name="Back", exact=False).first.click()
    shows(shared, logits[0], 2)
    # A picture that is kept says of which matrix and step it is.
    step, title = "Layer 1, step 2", "Largest |sum − 1| after each iteration"
    assert f">{step}<" in saved(shared, title, "SVG", step).decode()
    shared.slider("Step").press("ArrowRight")
    shared.slider("Step").press("ArrowRight")
    shows(shared, logits[0], 4)
    expect(page).to_have_url(re.compile("&step=4(&|$)"))
    layer = page.get_by_role("textbox", name="Layer at work")
    layer.fill("3")
    layer.press("Enter")
    shows(shared, logits[2], 4)
    page.emulate_media(reduced_motion="reduce")  # then play goes straight to the end
    page.get_by_role("button", name="Play Step").click()
    shows(shared, logits[2], LAST_STEP)
    page.emulate_media(reduced_motion="no-preference")
    # What was left stands there again when the view is opened anew.
    shared.show("mixing")
    shared.show("sinkhorn")
    shows(shared, logits[2], LAST_STEP)


TOPS = """() => [...Bokeh.index.query(({model}) => model.type === "Figure")]
  .filter(({el}) => el.checkVisibility()).map(({el}) => el.getBoundingClientRect().top)"""
"""Where the visible plots begin."""


def test_the_plots_stay_where_they_are_whatever_a_step_says(shared: Explorer) -> None:
    shared.show("sinkhorn")
    tops = set()
    for _ in range(8):
        tops.update(shared.page.evaluate(TOPS))
        shared.page.get_by_role("button", name="Next half step").click()
        shared.painted()
    assert len(tops) == 1


@pytest.mark.long
def test_a_dark_system_has_a_dark_matrix_from_the_first(explorer: Explorer, address: str) -> None:
    explorer.page.emulate_media(color_scheme="dark")
    explorer.open(address, "?view=sinkhorn")

    def is_dark() -> None:
        looks = """m.renderers.map(({glyph}) => glyph.name === "ink"
          ? glyph.text_color.value : glyph.fill_color?.transform?.palette.at(-1))"""
        found = explorer.model("sinkhorn-matrix", looks)
        assert {style.INK["dark"], PALETTES["dark"][-1]} <= set(found)
        assert {style.INK["light"], PALETTES["light"][-1]}.isdisjoint(found)

    explorer.eventually(is_dark)


def test_own_numbers_are_taken_or_the_wrong_cell_is_named(shared: Explorer) -> None:
    page = shared.page
    shared.show("sinkhorn")
    page.locator("summary", has_text="Own numbers").click()
    cell = page.get_by_role("textbox", name="Row 1, column 2")
    cell.fill("<b>7</b>")
    cell.press("Tab")
    alert = page.locator(".mhc-own [role=alert]")
    expect(alert).to_have_text(
        "Row 1, column 2: a number from −10,000 to 10,000 is allowed, such as −0.5 or 2e-3."
    )
    expect(cell).to_have_attribute("aria-invalid", "true")
    cell.fill("7")
    cell.press("Tab")
    expect(alert).to_have_text("")
    expect(page).to_have_url(re.compile(r"&own=0\.34,7,"))
    pasted = page.get_by_role("textbox", name="Paste a matrix")
    pasted.fill("1 2 3\n4 5")
    show = page.get_by_role("button", name="Show the pasted matrix")
    show.click()
    expect(alert).to_contain_text("Row 1 has 3 numbers; a matrix of 2 rows needs 2 in each.")
    pasted.fill("[[1e4, 0],\n [−3, 0.5]]")
    show.click()
    shared.keeps_nobody_out()
    shows(shared, np.array([[1e4, 0], [-3, 0.5]]), 0)
    page.get_by_role("button", name="Next half step").click()
    shows(shared, np.array([[1e4, 0], [-3, 0.5]]), 1)
    expect(page).to_have_url(re.compile("&own=10000,0,-3,0.5(&|$)"))
    page.get_by_role("button", name="Back to the network").click()
    shows(shared, mhc.sample_mixing(1, streams=4, seed=42)[0, 0], 1)

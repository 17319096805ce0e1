"""The phase maps."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from mhc_demo.numerics.surface import MAX_DEPTH

from .conftest import Explorer
from .library import phase_is_of, shades

pytestmark = pytest.mark.browser


def click_on(explorer: Explorer, figure: str, x: float, y: float) -> None:
    """Click where a figure has its data point (x, y)."""
    left, top = explorer.model(
        figure,
        f"""(() => {{
            const view = Bokeh.index.find_one(m)
            const {{x, y}} = view.el.getBoundingClientRect()
            return [x + view.frame.x_scale.compute({x}), y + view.frame.y_scale.compute({y})]
        }})()""",
    )
    explorer.page.mouse.click(left, top)


@pytest.mark.long
def test_a_click_on_a_phase_map_goes_to_its_cell(shared: Explorer) -> None:
    page = shared.page
    shared.show("phase")
    shared.eventually(lambda: phase_is_of(shared, {}, 64, 1))
    click_on(shared, "phase-spread", 4.8, 2.6)
    expect(page).to_have_url(re.compile(r"iterations=5&depth=64&streams=4&seed=42&spread=2\.5&"))
    expect(shared.slider("Sinkhorn iterations")).to_have_value("5")
    expect(shared.slider("Spread")).to_have_value("2.5")
    expect(shared.number(1)).not_to_have_text("")
    shared.eventually(lambda: phase_is_of(shared, {"spread": 2.5}, 64, 5))
    click_on(shared, "phase-streams", 100.2, 2.1)
    expect(page).to_have_url(re.compile("iterations=5&depth=100&streams=2&"))
    expect(shared.slider("Depth (layers)")).to_have_value("100")
    values = {"spread": 2.5, "streams": 2}
    shared.eventually(lambda: phase_is_of(shared, values, 100, 5))
    shared.show("composite")
    shared.show("phase")
    click_on(shared, "phase-streams", 50, 3)
    expect(page).to_have_url(re.compile("iterations=5&depth=50&streams=3&"))


def test_a_phase_map_leaves_empty_what_does_not_exist(shared: Explorer) -> None:
    explorer = shared
    explorer.page.get_by_role("combobox", name="Projection").click()
    explorer.page.get_by_role("menuitem", name=re.compile("mHC-lite")).click()
    explorer.show("phase")

    def upper_rows_are_empty() -> None:
        rows = shades(explorer, "phase-streams").reshape(MAX_DEPTH, 16)
        assert np.isnan(rows[:, 6:]).all()
        np.testing.assert_allclose(rows[:, :6], 0, atol=1e-10)  # doubly stochastic, to rounding

    explorer.eventually(upper_rows_are_empty)
    click_on(explorer, "phase-streams", 20, 12)
    explorer.page.wait_for_timeout(500)  # or Bokeh would see a double click
    click_on(explorer, "phase-streams", 20, 6)
    expect(explorer.page).to_have_url(re.compile("depth=20&streams=6&"))
    expect(explorer.page.get_by_role("alert")).to_have_count(0)  # 12 would have been corrected

"""The view "My model" in a real browser: a good file is drawn, a bad one gets a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc

from .conftest import Explorer

pytestmark = pytest.mark.browser

H = mhc.sample_mixing(depth=150, streams=4, members=500, init="identity", spread=0.1, seed=2)
HOSTILE = "<img src=x onerror=alert(1)>.npz"


def test_a_good_file_is_drawn_and_a_bad_one_gets_a_sentence(
    address: str, new_explorer: Any, tmp_path: Path
) -> None:
    explorer: Explorer = new_explorer(1400, 900)
    explorer.page.goto(f"{address}?view=my-model")
    choice = explorer.page.locator(".mhc-drop input")
    np.savez(tmp_path / HOSTILE, h_res=H.astype("f4"))  # 4.8 MB: in several pieces
    choice.set_input_files(tmp_path / HOSTILE)
    said = explorer.page.locator(".lab-status p")
    expect(said).to_contain_text(f"{HOSTILE}: NumPy archive, array 'h_res'; 150 layers")
    data = mhc.inspect(H.astype("f4")).to_xarray()
    gains = data["composite_gain"].sel(definition="paper", series="median")

    def drawn() -> None:
        lines = explorer.plotted("own-composites")
        for direction in ("forward", "backward"):
            shown = lines[f"largest |sum|, {direction}"]
            np.testing.assert_allclose(shown, gains.sel(direction=direction), rtol=0, atol=1e-6)

    explorer.eventually(drawn)
    explorer.set("Layer", 3)
    title = "Bokeh.index.query(({model}) => model.name === 'matrix-layer-own')"
    explorer.page.wait_for_function(f"() => [...{title}][0]?.model.title.text === 'Layer 3'")
    bad = tmp_path / "bad.npz"
    np.savez(bad, h_res=np.array([{}], dtype=object))
    choice.set_input_files(bad)
    problem = explorer.page.get_by_role("alert").filter(has_text="bad.npz")
    expect(problem).to_contain_text("was not loaded. The array 'h_res' holds pickled objects")
    expect(said).to_contain_text("150 layers")
    expect(explorer.page.locator(".fig8 h3").first).to_have_text(HOSTILE)
    assert explorer.problems == []

"""The controls beside the plots: what changes the matrices themselves."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from mhc_demo import Experiment
from mhc_demo.numerics.devices import DEVICES
from mhc_demo.numerics.surface import MAX_DEPTH

from .conftest import Explorer
from .library import CLOSE, expected

pytestmark = pytest.mark.browser


def hc_ends_at(explorer: Explorer, log10_gain: float) -> None:
    """Wait until HC's line of the forward gains ends there, at the last depth."""
    explorer.page.wait_for_function(
        """(last) => {
          const plot = Bokeh.documents[0].get_model_by_name("composite")
          const data = plot.renderers.find((r) => r.name === "HC, forward").data_source.data
          return Math.abs((data.get?.("forward_median") ?? data.forward_median)[127] - last) < 1e-4
        }""",
        arg=float(log10_gain),
    )


def test_streams_seed_and_spread_bring_a_new_surface(shared: Explorer) -> None:
    shared.slider("Streams (n)").press("ArrowRight")
    expect(shared.page).to_have_url(re.compile("streams=5"))
    shared.slider("Spread").press("ArrowRight")
    expect(shared.page).to_have_url(re.compile(r"spread=1\.1"))
    shared.unfold()
    shared.page.get_by_role("textbox", name="Seed").fill("7")
    shared.page.keyboard.press("Enter")
    expect(shared.page).to_have_url(re.compile("seed=7&"))
    values = {"streams": 5, "spread": 1.1, "seed": 7}
    wanted = expected(values, "forward", iterations=0)
    hc_ends_at(shared, wanted[-1])
    lines = shared.plotted("composite")
    np.testing.assert_allclose(lines["HC, forward"], wanted, **CLOSE)
    np.testing.assert_allclose(
        lines["projected, backward"], expected(values, "backward", iterations=1), **CLOSE
    )


def test_shuffle_changes_the_seed_and_reset_restores_everything(shared: Explorer) -> None:
    shared.set("Depth (layers)", 20)
    shared.set("Sinkhorn iterations", 5)
    shared.slider("Streams (n)").press("ArrowLeft")
    expect(shared.page).to_have_url(re.compile("iterations=5&depth=20&streams=3&"))
    before = shared.page.url
    shared.page.get_by_role("button", name="Shuffle").click()
    expect(shared.page).not_to_have_url(re.compile("seed=42&"))
    assert before != shared.page.url
    shared.page.get_by_role("button", name="Reset").click()
    expect(shared.slider("Depth (layers)")).to_have_value("64")
    expect(shared.slider("Sinkhorn iterations")).to_have_value("1")
    expect(shared.page).to_have_url(re.compile("depth=64&streams=4&seed=42"))


def test_the_theme_toggle_is_part_of_the_link(shared: Explorer) -> None:
    shared.page.get_by_role("button", name=re.compile("theme", re.I)).click()
    expect(shared.page).to_have_url(re.compile("theme=dark"))


def test_a_projection_that_takes_few_streams_limits_them(shared: Explorer) -> None:
    for _ in range(4):
        shared.slider("Streams (n)").press("ArrowRight")
    expect(shared.page).to_have_url(re.compile("streams=8&"))
    shared.page.get_by_role("combobox", name="Projection").click()
    shared.page.get_by_role("menuitem", name=re.compile("mHC-lite")).click()
    expect(shared.page.get_by_role("alert")).to_contain_text("Streams (n): set to 6")
    expect(shared.page).to_have_url(re.compile("streams=6.*projection=mhc-lite"))
    expect(shared.number(1)).to_have_text("1.00")
    expect(shared.page.locator(".mhc-headline .name").nth(1)).to_contain_text("mHC-lite")


def test_a_select_is_opened_and_chosen_from_by_keyboard(shared: Explorer) -> None:
    page = shared.page
    select = page.get_by_role("combobox", name="Projection")
    for key, projection in (
        ("Enter", "released"),
        ("ArrowDown", "sinkhorn"),
        ("Space", "released"),
    ):
        select.focus()
        page.keyboard.press(key)
        expect(page.get_by_role("menuitem").first).to_be_focused()
        if projection == "released":
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(f"projection={projection}&"))


def test_a_number_is_typed_again_and_again_and_out_of_range(shared: Explorer) -> None:
    page = shared.page
    shared.unfold()
    seed = page.get_by_role("textbox", name=re.compile("^Seed"))
    for text, kept, said in (
        ("7", "7", ""),
        ("8", "8", ""),
        ("-1", "0", "set to 0; it ranges from 0 to 4294967295."),
        ("a lot", "0", "what was typed was ignored; it must be a whole number."),
        ("1,234", "1234", ""),
    ):
        seed.fill(text)
        seed.press("Enter")
        expect(seed).to_have_value(kept)
        expect(page).to_have_url(re.compile(f"seed={kept}&"))
        helper = page.locator(".MuiFormHelperText-root").filter(has_text=re.compile("set to|typed"))
        expect(helper).to_have_count(int(bool(said)))
        if said:
            expect(helper).to_have_text(said)


def test_a_device_is_chosen_and_what_is_missing_says_why(shared: Explorer) -> None:
    page = shared.page
    shared.unfold()
    device = page.get_by_role("combobox", name="Device")
    expect(page.get_by_text("Gains computed by NumPy")).to_be_visible()
    device.click()
    cuda = page.get_by_role("menuitem", name="PyTorch, CUDA")
    if reason := DEVICES["cuda"].missing():
        expect(cuda).to_have_attribute("aria-disabled", "true")
        expect(page.get_by_text(reason)).to_be_visible()
    page.get_by_role("menuitem", name="PyTorch, CPU").click()
    said = expect(page.get_by_text("Gains computed by PyTorch"))
    said.to_contain_text(f"{Experiment().members * MAX_DEPTH:,} matrices projected")
    expect(page).to_have_url(re.compile("device=cpu"))
    shared.visit("?view=composite")
    expect(page.get_by_text("Gains computed by NumPy")).to_be_visible()
    shared.visit("?members=4&seed=3&device=cpu&view=composite")
    expect(page.get_by_text("Gains computed by PyTorch")).to_be_visible()
    np.testing.assert_allclose(
        shared.plotted("composite")["HC, forward"],
        expected({"members": 4, "seed": 3}, "forward", iterations=0),
        **CLOSE,
    )


def test_a_large_ensemble_opens_at_once_and_is_completed(shared: Explorer) -> None:
    shared.visit("?members=200&depth=50&view=composite")
    wanted = expected({"members": 200}, "forward", iterations=0)
    hc_ends_at(shared, wanted[-1])


def test_an_init_brings_its_own_slider_and_takes_it_away(shared: Explorer) -> None:
    page = shared.page
    shared.unfold()
    slider = shared.slider("Shared by all layers")
    for init, sliders in (("Layers share a part", 1), ("Gaussian", 0), ("Layers share a part", 1)):
        page.get_by_role("combobox", name=re.compile("^Init")).click()
        page.get_by_role("menuitem", name=init, exact=True).click()
        expect(slider).to_have_count(sliders)
    slider.press("Home")
    slider.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"init=shared&.*shared=0\.05&"))
    # A twentieth shared changes the gains, and they are those of the link.
    hc_ends_at(shared, expected({"init": "shared", "shared": 0.05}, "forward", iterations=0)[-1])

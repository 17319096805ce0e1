"""The views: what they show when they are opened, left, and opened again."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.app.views import VIEWS
from mhc_demo.story.doors import QUESTIONS

from .conftest import ORIENTATION, RULES, Explorer
from .library import CLOSE

pytestmark = pytest.mark.browser


def test_a_reopened_tab_shows_the_present_state(shared: Explorer) -> None:
    # What the browser cut while a tab was open is not known to Python, and what changed while it
    # was closed not to the browser.
    for view in ("layers", "layer-axis", "matrices", "mixing"):
        shared.show(view)
    shared.set("Sinkhorn iterations", 4)
    shared.set("Depth (layers)", 58)
    shared.slider("Streams (n)").press("ArrowLeft")
    expect(shared.page).to_have_url(re.compile("iterations=4&depth=58&streams=3"))
    experiment = mhc.Experiment(streams=3)
    surface = mhc.gain_surface(experiment)["log10_gain"].sel(series="median")
    both = ("forward", "backward")

    def composite_is_right() -> None:
        for d in both:
            wanted = surface.sel(direction=d, iterations=4).values
            lines = shared.plotted("composite")
            np.testing.assert_allclose(lines[f"projected, {d}"], wanted, **CLOSE)
            wanted = surface.sel(direction=d, depth=58).values
            np.testing.assert_allclose(shared.plotted("iterations")[d], wanted, **CLOSE)

    def layer_axis_is_right() -> None:
        gains = mhc.layer_axis_gains(experiment, depth=58).sel(series="median", iterations=4)
        lines = shared.plotted("layer-axis")
        for d in both:
            wanted = gains.sel(direction=d).values
            np.testing.assert_allclose(lines[f"projected, {d}"], wanted, **CLOSE)

    def heatmap_is_right() -> None:
        drawn = shared.matrix("matrix-layer-projected")
        matrix = mhc.sinkhorn_knopp(mhc.sample_mixing(depth=58, streams=3, seed=42), 4)[0, -1]
        assert len(drawn["value"]) == 16
        block = np.reshape(drawn["value"], (4, 4))
        np.testing.assert_allclose(block[:3, :3], matrix, rtol=1e-5)
        assert drawn["text"][0] == f"{matrix[0, 0]:.2f}"
        assert drawn["title"] == "Projected, layer 58"

    for view, check in (
        ("composite", composite_is_right),
        ("layer-axis", layer_axis_is_right),
        ("matrices", heatmap_is_right),
    ):
        shared.show(view)
        shared.eventually(check)


def test_the_page_and_its_tables_keep_nobody_out(shared: Explorer) -> None:
    shared.keeps_nobody_out()
    shared.show("why")
    shared.keeps_nobody_out(colours=False)


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_opens_keeps_nobody_out_and_survives_a_change(
    shared: Explorer, theme: str
) -> None:
    if theme == "dark":
        shared.page.get_by_role("button", name="Toggle theme").click()
    streams = itertools.cycle([("ArrowRight", 5), ("ArrowLeft", 4)])
    for name, view in VIEWS.items():
        shared.show(name)
        link = f"view={name}&theme=dark" if theme == "dark" else rf"view={name}(&(?!theme)|$)"
        expect(shared.page).to_have_url(re.compile(link))
        shared.keeps_nobody_out(*RULES[theme])
        if theme == "light" and view.of_experiment:
            shared.set("Depth (layers)", int(shared.slider("Depth (layers)").input_value()) + 2)
            key, changed = next(streams)
            shared.slider("Streams (n)").press(key)
            expect(shared.page).to_have_url(re.compile(f"streams={changed}&"))
    if theme == "light":
        shared.keeps_nobody_out(ORIENTATION)


@pytest.mark.long
def test_the_papers_axes_show_the_product_from_the_last_layer_down(shared: Explorer) -> None:
    shared.show("layer-axis")
    shared.set("Depth (layers)", 24)
    experiment = mhc.Experiment()
    gains = mhc.layer_axis_gains(experiment, depth=24).sel(series="median")

    def lines_are_right() -> None:
        lines = shared.plotted("layer-axis")
        for name, iterations in (("HC", 0), ("projected", 1)):
            for direction in ("forward", "backward"):
                wanted = gains.sel(direction=direction, iterations=iterations).values
                np.testing.assert_allclose(lines[f"{name}, {direction}"], wanted, **CLOSE)

    shared.eventually(lines_are_right)


WIDTHS = """(() => {
  const ctx = document.createElement("canvas").getContext("2d")
  const cell = m.inner_width / (m.x_range.end - m.x_range.start)
  return m.renderers.filter(({glyph}) => glyph.name === "ink").map(({glyph}) => {
    ctx.font = `${glyph.text_font_size.value} ${glyph.text_font.value}`
    return [ctx.measureText("−1.67").width / cell, parseFloat(glyph.text_font_size.value)]
  })
})()"""
"""How much of its cell a number takes, and how many pixels its type has."""


@pytest.mark.parametrize("streams", [4, 8])
def test_numbers_stay_inside_the_cells_of_a_matrix(shared: Explorer, streams: int) -> None:
    shared.show("matrices")
    for _ in range(streams - 4):
        shared.slider("Streams (n)").press("ArrowRight")
    expect(shared.page).to_have_url(re.compile(f"streams={streams}&"))

    def numbers_fit() -> None:
        found = shared.model("matrix-layer-hc", WIDTHS)
        assert len(found) == 2  # entries and sums
        for share, pixels in found:
            assert share < 0.95
            assert pixels >= 9

    shared.eventually(numbers_fit)


@pytest.mark.parametrize("streams", [pytest.param(3, marks=pytest.mark.long), 6])
def test_heatmaps_show_the_matrices_of_the_first_network(shared: Explorer, streams: int) -> None:
    # Up to n = 4 the browser holds all matrices; above, they come by round trip.
    shared.show("matrices")
    for _ in range(abs(streams - 4)):
        shared.slider("Streams (n)").press("ArrowLeft" if streams < 4 else "ArrowRight")
    expect(shared.page).to_have_url(re.compile(f"streams={streams}&"))
    shared.set("Depth (layers)", 12)
    shared.set("Sinkhorn iterations", 2)
    logits = mhc.sample_mixing(depth=12, streams=streams, seed=42)[0]
    projected = mhc.sinkhorn_knopp(logits, 2)
    n = streams
    matrices = {
        "matrix-layer-hc": logits[-1],
        "matrix-layer-projected": projected[-1],
        "matrix-composite-projected": mhc.compose(projected).matrix(at=12),
    }

    def heatmaps_are_right() -> None:
        for name, matrix in matrices.items():
            shown = shared.matrix(name)
            block = np.array(shown["value"]).reshape(n + 1, n + 1)
            close = {"rtol": 1e-5, "atol": 1e-6}
            np.testing.assert_allclose(block[:n, :n], matrix, **close)
            np.testing.assert_allclose(block[:n, n], matrix.sum(axis=1), **close)
            np.testing.assert_allclose(block[n, :n], matrix.sum(axis=0), **close)
            first = float(shown["text"][0].replace("−", "-"))
            assert first == pytest.approx(matrix[0, 0], abs=0.0051)

    shared.eventually(heatmaps_are_right)


def test_figure_8_shows_printed_and_computed_sums(shared: Explorer) -> None:
    shared.show("figure8")
    page = shared.page
    expect(page.locator(".fig8-matrix")).to_have_count(12)
    first = page.locator(".fig8-matrix").first
    expect(first).to_contain_text("5.43")
    expect(first.locator("td.sum").first).to_contain_text("18.73")
    expect(first.locator("td.sum .fig8-computed").first).to_have_text("18.72")
    expect(page.locator(".fig8-gains tbody tr")).to_have_count(12)
    expect(page.locator(".fig8 .source")).to_contain_text("arXiv:2512.24880")


def test_all_doors_fit_beside_the_controls_and_say_their_question(shared: Explorer) -> None:
    doors = shared.page.locator(".mhc-doors")
    heads = doors.locator(".outer").get_by_role("tab")
    expect(heads).to_have_text(list(QUESTIONS))
    last = heads.last.bounding_box()
    assert last
    assert last["x"] + last["width"] <= 1400
    # The arrow keys open the next one, and the last view of a group is opened again.
    shared.show("layers")
    expect(doors.locator(".question")).to_have_text(QUESTIONS["Gain"])
    heads.nth(1).focus()
    shared.page.keyboard.press("ArrowRight")
    expect(shared.page).to_have_url(re.compile("view=(matrices|sinkhorn)"))
    expect(doors.locator(".question")).to_have_text(QUESTIONS["Matrices"])
    shared.page.keyboard.press("ArrowLeft")
    expect(shared.page).to_have_url(re.compile("view=layers"))

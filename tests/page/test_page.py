"""The page as a visitor meets it, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.app.views import VIEWS
from mhc_demo.figures import phase, style
from mhc_demo.figures.compare import look
from mhc_demo.numerics import costs
from mhc_demo.numerics.comparison import MIXING
from mhc_demo.numerics.devices import DEVICES
from mhc_demo.numerics.numbers import in_text
from mhc_demo.numerics.projections import PROJECTIONS

from .conftest import Explorer, serve

pytestmark = pytest.mark.browser

# The browser holds float32 numbers: seven digits of a log10 gain.
CLOSE = {"rtol": 3e-7, "atol": 1e-7}


def expected(values: dict[str, Any], direction: str, **where: Any) -> np.ndarray:
    """Python's own numbers for what a plot shows."""
    surface = mhc.gain_surface(mhc.Experiment(**values))
    return surface["log10_gain"].sel(direction=direction, series="median", **where).values


def test_the_headline_falls_from_ten_to_the_sixteen_to_about_one(
    explorer: Explorer, address: str
) -> None:
    explorer.open(address, "?iterations=0")
    assert 15 < explorer.gain(0) < 17
    assert explorer.gain(1) == explorer.gain(0)
    explorer.slider("Sinkhorn iterations").press("ArrowRight")
    expect(explorer.number(1)).to_have_text(re.compile(r"^1\.[01]\d$"))
    assert 15 < explorer.gain(0) < 17


def test_plotted_lines_are_pythons_numbers(explorer: Explorer, address: str) -> None:
    explorer.open(address)
    explorer.set("Sinkhorn iterations", 3)
    for depth in (64, 61):
        explorer.set("Depth (layers)", depth)
        lines = explorer.plotted("composite")
        assert set(lines) == {
            "HC, forward",
            "HC, backward",
            "projected, forward",
            "projected, backward",
        }
        for direction in ("forward", "backward"):
            np.testing.assert_allclose(
                lines[f"HC, {direction}"], expected({}, direction, iterations=0), **CLOSE
            )
            np.testing.assert_allclose(
                lines[f"projected, {direction}"], expected({}, direction, iterations=3), **CLOSE
            )

            def second_plot_has_followed(direction: str = direction, depth: int = depth) -> None:
                wanted = expected({}, direction, depth=depth)
                np.testing.assert_allclose(
                    explorer.plotted("iterations")[direction], wanted, **CLOSE
                )

            explorer.eventually(second_plot_has_followed)


def test_a_slider_can_be_dragged(explorer: Explorer, address: str) -> None:
    explorer.open(address)
    slider = explorer.slider("Depth (layers)")
    box = slider.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    explorer.page.mouse.move(box["x"] + box["width"] / 2, y)
    explorer.page.mouse.down()
    seen = []
    for share in (0.5, 0.6, 0.7, 0.8):
        explorer.page.mouse.move(box["x"] + box["width"] * share, y)
        explorer.page.wait_for_timeout(60)
        seen.append(explorer.gain(0))
    explorer.page.mouse.up()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] + 5
    depth = int(slider.input_value())
    # The headline shows one decimal of the exponent, of the larger direction.
    larger = max(expected({}, d, iterations=0, depth=depth) for d in ("forward", "backward"))
    assert explorer.gain(0) == pytest.approx(larger, abs=0.051)


def test_depth_and_iterations_need_no_server(explorer: Explorer) -> None:
    with serve() as (address, server):
        explorer.open(address)
        explorer.page.wait_for_timeout(1000)
        server.kill()
        server.wait()
        explorer.set("Depth (layers)", 70)
        explorer.set("Sinkhorn iterations", 0)
        assert explorer.gain(1) == explorer.gain(0)
        lines = explorer.plotted("composite")
        np.testing.assert_array_equal(lines["projected, forward"], lines["HC, forward"])
        assert style.PROJECTED not in drawn_colours(explorer, "composite")
        explorer.set("Sinkhorn iterations", 1)
        assert style.PROJECTED in drawn_colours(explorer, "composite")
    explorer.problems.clear()  # the browser complains of the lost connection, and should


def drawn_colours(explorer: Explorer, figure: str) -> set[str]:
    """The colours of all that is to be seen of a figure's lines, bands and dots."""
    return set(
        explorer.model(
            figure,
            """m.renderers.filter((r) => r.visible && r.glyph).map(({glyph}) =>
                (glyph.fill_color?.value ?? glyph.line_color.value))""",
        )
    )


@pytest.mark.parametrize("view", ["composite", "layers", "layer-axis"])
def test_at_zero_iterations_hc_is_seen_in_its_own_colour(
    explorer: Explorer, address: str, view: str
) -> None:
    explorer.open(address, f"?view={view}&iterations=0&members=2")
    legend = explorer.page.locator(".legend li.projected")
    projected = explorer.page.locator(".legend li.projected:not(.off)")

    def only_hc_is_drawn() -> None:
        colours = drawn_colours(explorer, view)
        assert style.HC in colours
        assert style.PROJECTED not in colours

    def both_are_drawn() -> None:
        assert {style.HC, style.PROJECTED} <= drawn_colours(explorer, view)

    explorer.eventually(only_hc_is_drawn)
    expect(legend).to_have_count(1)
    expect(projected).to_have_count(0)
    explorer.set("Sinkhorn iterations", 2)
    explorer.eventually(both_are_drawn)
    expect(projected).to_have_count(1)
    explorer.set("Sinkhorn iterations", 0)
    explorer.eventually(only_hc_is_drawn)
    expect(projected).to_have_count(0)
    # What the browser hid while a tab was open is right when the tab is opened again.
    explorer.page.get_by_role("tab", name="Mixing").click()
    expect(explorer.page).to_have_url(re.compile("view=mixing"))
    explorer.set("Sinkhorn iterations", 1)
    explorer.page.get_by_role("tab", name=VIEWS[view].title).click()
    explorer.eventually(both_are_drawn)


def test_axes_stay_still_while_a_slider_moves(explorer: Explorer, address: str) -> None:
    explorer.open(address)
    before = explorer.y_range("composite")
    explorer.set("Depth (layers)", 60)
    explorer.set("Sinkhorn iterations", 0)
    assert explorer.y_range("composite") == before
    low, high = before
    for values in explorer.plotted("composite").values():
        assert values.min() >= low
        assert values.max() <= high


def test_play_steps_to_the_end_and_can_be_stopped(explorer: Explorer, address: str) -> None:
    dial = explorer.open(address, "?iterations=27").slider("Sinkhorn iterations")
    play = explorer.page.get_by_role("button", name="Play Sinkhorn iterations")
    pause = explorer.page.get_by_role("button", name="Pause Sinkhorn iterations")
    play.click()
    expect(pause).to_be_visible()
    expect(dial).to_have_value("30")
    play.click()  # from the end: anew
    expect(dial).to_have_value(re.compile(r"^([2-9]|1\d)$"))
    pause.click()
    value = dial.input_value()
    explorer.page.wait_for_timeout(900)
    expect(dial).to_have_value(value)


def test_depth_plays_too_at_one_of_three_speeds(explorer: Explorer, address: str) -> None:
    page = explorer.open(address, "?depth=120").page
    for speed in ("1", "2", "0.5"):
        button = page.get_by_role("button", name=f"Speed of play: {speed}", exact=True)
        expect(button).to_have_count(2)
        if speed != "0.5":
            button.last.click()
    page.get_by_role("button", name="Play Depth").click()
    expect(explorer.slider("Depth (layers)")).to_have_value("128")


def test_who_wants_less_motion_gets_the_end_at_once(explorer: Explorer, address: str) -> None:
    explorer.page.emulate_media(reduced_motion="reduce")
    explorer.open(address, "?iterations=3")
    explorer.page.get_by_role("button", name="Play Sinkhorn iterations").click()
    expect(explorer.slider("Sinkhorn iterations")).to_have_value("30", timeout=200)


def test_streams_seed_and_spread_bring_a_new_surface(explorer: Explorer, address: str) -> None:
    explorer.open(address)
    explorer.slider("Streams (n)").press("ArrowRight")
    expect(explorer.page).to_have_url(re.compile("streams=5"))
    explorer.slider("Spread").press("ArrowRight")
    expect(explorer.page).to_have_url(re.compile(r"spread=1\.1"))
    explorer.page.get_by_role("textbox", name="Seed").fill("7")
    explorer.page.keyboard.press("Enter")
    expect(explorer.page).to_have_url(re.compile("seed=7&"))
    values = {"streams": 5, "spread": 1.1, "seed": 7}
    wanted = expected(values, "forward", iterations=0)
    explorer.page.wait_for_function(
        """(last) => {
          const plot = Bokeh.documents[0].get_model_by_name("composite")
          const data = plot.renderers.find((r) => r.name === "HC, forward").data_source.data
          return Math.abs((data.get?.("forward_median") ?? data.forward_median)[127] - last) < 1e-4
        }""",
        arg=float(wanted[-1]),
    )
    lines = explorer.plotted("composite")
    np.testing.assert_allclose(lines["HC, forward"], wanted, **CLOSE)
    np.testing.assert_allclose(
        lines["projected, backward"], expected(values, "backward", iterations=1), **CLOSE
    )


def test_shuffle_changes_the_seed_and_reset_restores_everything(
    explorer: Explorer, address: str
) -> None:
    explorer.open(address, "?depth=20&iterations=5&streams=3")
    before = explorer.page.url
    explorer.page.get_by_role("button", name="Shuffle").click()
    expect(explorer.page).not_to_have_url(re.compile("seed=42&"))
    assert before != explorer.page.url
    explorer.page.get_by_role("button", name="Reset").click()
    expect(explorer.slider("Depth (layers)")).to_have_value("64")
    expect(explorer.slider("Sinkhorn iterations")).to_have_value("1")
    expect(explorer.page).to_have_url(re.compile("depth=64&streams=4&seed=42"))


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
    bad = "depth=500&iterations=-3&spread=nan&seed=true&streams=9&projection=mhc-lite&nonsense=1"
    explorer.open(address, f"?{bad}")
    for notice in (
        "Depth (layers): set to 128; it ranges from 1 to 128.",
        "Sinkhorn iterations: set to 0",
        "Spread: the value in the link was ignored",
        "Seed: the value in the link was ignored",
        "Streams (n): set to 6",
        "An unknown parameter in the link was ignored.",
    ):
        expect(explorer.page.get_by_role("alert")).to_contain_text(notice)
    good = "iterations=0&depth=128&streams=6&seed=42&spread=1&init=gaussian&projection=mhc-lite"
    expect(explorer.page).to_have_url(re.compile(re.escape(good)))
    assert len(explorer.plotted("composite")) > 0


def test_nothing_of_a_link_reaches_the_page_as_markup(explorer: Explorer, address: str) -> None:
    evil = "%3Cimg%20src%3Dx%20onerror%3D%22window.pwned%3D1%22%3E"
    explorer.open(address, f"?{evil}={evil}&depth={evil}&projection={evil}&view={evil}&seed={evil}")
    expect(explorer.page.get_by_role("alert")).to_contain_text("ignored")
    assert explorer.page.evaluate("window.pwned") is None
    expect(explorer.page.locator("img[src='x']")).to_have_count(0)
    assert "onerror" not in explorer.page.get_by_role("alert").inner_text()


def test_a_projection_that_takes_few_streams_limits_them(explorer: Explorer, address: str) -> None:
    explorer.open(address, "?streams=8")
    explorer.page.get_by_role("combobox", name="Projection").click()
    explorer.page.get_by_role("menuitem", name=re.compile("mHC-lite")).click()
    expect(explorer.page.get_by_role("alert")).to_contain_text("Streams (n): set to 6")
    expect(explorer.page).to_have_url(re.compile("streams=6.*projection=mhc-lite"))
    expect(explorer.number(1)).to_have_text("1.00")
    expect(explorer.page.locator(".mhc-headline .name").nth(1)).to_contain_text("mHC-lite")


def test_a_select_is_opened_and_chosen_from_by_keyboard(explorer: Explorer, address: str) -> None:
    page = explorer.open(address).page
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


def test_a_number_is_typed_again_and_again_and_out_of_range(
    explorer: Explorer, address: str
) -> None:
    page = explorer.open(address).page
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


def test_a_device_is_chosen_and_what_is_missing_says_why(explorer: Explorer, address: str) -> None:
    page = explorer.open(address, "?members=4&seed=3").page
    device = page.get_by_role("combobox", name="Device")
    expect(page.get_by_text("Gains computed by NumPy")).to_be_visible()
    device.click()
    cuda = page.get_by_role("menuitem", name="PyTorch, CUDA")
    if reason := DEVICES["cuda"].missing():
        expect(cuda).to_have_attribute("aria-disabled", "true")
        expect(page.get_by_text(reason)).to_be_visible()
    page.get_by_role("menuitem", name="PyTorch, CPU").click()
    expect(page.get_by_text("Gains computed by PyTorch")).to_contain_text("512 matrices projected")
    expect(page).to_have_url(re.compile("device=cpu"))
    explorer.open(address, "?members=4&seed=3&device=cpu")
    expect(page.get_by_text("Gains computed by PyTorch")).to_be_visible()
    np.testing.assert_allclose(
        explorer.plotted("composite")["HC, forward"],
        expected({"members": 4, "seed": 3}, "forward", iterations=0),
        **CLOSE,
    )


def test_a_reopened_tab_shows_the_present_state(explorer: Explorer, address: str) -> None:
    # What the browser cut while a tab was open is not known to Python, and what changed while it
    # was closed not to the browser.
    explorer.open(address, "?members=3")
    tab = explorer.page.get_by_role("tab")
    for name in ("Single layers", "Paper’s axes", "Matrices", "Mixing"):
        tab.filter(has_text=name).click()
        explorer.page.wait_for_timeout(400)
    explorer.set("Sinkhorn iterations", 4)
    explorer.set("Depth (layers)", 58)
    explorer.slider("Streams (n)").press("ArrowLeft")
    expect(explorer.page).to_have_url(re.compile("iterations=4&depth=58&streams=3"))
    experiment = mhc.Experiment(members=3, streams=3)
    surface = mhc.gain_surface(experiment)["log10_gain"].sel(series="median")
    both = ("forward", "backward")

    def composite_is_right() -> None:
        for d in both:
            wanted = surface.sel(direction=d, iterations=4).values
            lines = explorer.plotted("composite")
            np.testing.assert_allclose(lines[f"projected, {d}"], wanted, **CLOSE)
            wanted = surface.sel(direction=d, depth=58).values
            np.testing.assert_allclose(explorer.plotted("iterations")[d], wanted, **CLOSE)

    def layer_axis_is_right() -> None:
        gains = mhc.layer_axis_gains(experiment, depth=58).sel(series="median", iterations=4)
        lines = explorer.plotted("layer-axis")
        for d in both:
            wanted = gains.sel(direction=d).values
            np.testing.assert_allclose(lines[f"projected, {d}"], wanted, **CLOSE)

    def heatmap_is_right() -> None:
        drawn = explorer.matrix("matrix-layer-projected")
        matrix = mhc.sinkhorn_knopp(mhc.sample_mixing(depth=58, streams=3, seed=42), 4)[0, -1]
        assert len(drawn["value"]) == 16
        block = np.reshape(drawn["value"], (4, 4))
        np.testing.assert_allclose(block[:3, :3], matrix, rtol=1e-5)
        assert drawn["text"][0] == f"{matrix[0, 0]:.2f}"
        assert drawn["title"] == "Projected, layer 58"

    for name, check in (
        ("Composite gain", composite_is_right),
        ("Paper’s axes", layer_axis_is_right),
        ("Matrices", heatmap_is_right),
    ):
        tab.filter(has_text=name).click()
        explorer.eventually(check)


def test_a_large_ensemble_opens_at_once_and_is_completed(explorer: Explorer, address: str) -> None:
    explorer.open(address, "?members=200&depth=50")
    wanted = expected({"members": 200}, "forward", iterations=0)
    explorer.page.wait_for_function(
        """(last) => {
          const plot = Bokeh.documents[0].get_model_by_name("composite")
          const data = plot.renderers.find((r) => r.name === "HC, forward").data_source.data
          return Math.abs((data.get?.("forward_median") ?? data.forward_median)[127] - last) < 1e-4
        }""",
        arg=float(wanted[-1]),
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_opens_keeps_nobody_out_and_survives_a_change(
    explorer: Explorer, address: str, theme: str
) -> None:
    explorer.open(address, f"?theme={theme}")
    for name, view in VIEWS.items():
        explorer.page.get_by_role("tab", name=view.title).click()
        expect(explorer.page).to_have_url(re.compile(f"view={name}&theme={theme}"))
        explorer.page.wait_for_timeout(300)
        explorer.keeps_nobody_out()
        if theme == "light" and view.of_experiment:
            explorer.set("Depth (layers)", int(explorer.slider("Depth (layers)").input_value()) + 2)
            explorer.slider("Streams (n)").press("ArrowRight")
            explorer.page.wait_for_timeout(500)


def test_the_papers_axes_show_the_product_from_the_last_layer_down(
    explorer: Explorer, address: str
) -> None:
    explorer.open(address, "?view=layer-axis&depth=20&members=4")
    explorer.set("Depth (layers)", 24)
    experiment = mhc.Experiment(members=4)
    gains = mhc.layer_axis_gains(experiment, depth=24).sel(series="median")

    def lines_are_right() -> None:
        lines = explorer.plotted("layer-axis")
        for name, iterations in (("HC", 0), ("projected", 1)):
            for direction in ("forward", "backward"):
                wanted = gains.sel(direction=direction, iterations=iterations).values
                np.testing.assert_allclose(lines[f"{name}, {direction}"], wanted, **CLOSE)

    explorer.eventually(lines_are_right)


@pytest.mark.parametrize("streams", [3, 6])
def test_heatmaps_show_the_matrices_of_the_first_network(
    explorer: Explorer, address: str, streams: int
) -> None:
    # Up to n = 4 the browser holds all matrices; above, they come by round trip.
    explorer.open(address, f"?view=matrices&streams={streams}&depth=10")
    explorer.page.wait_for_timeout(800)
    explorer.set("Depth (layers)", 12)
    explorer.set("Sinkhorn iterations", 2)
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
            shown = explorer.matrix(name)
            block = np.array(shown["value"]).reshape(n + 1, n + 1)
            close = {"rtol": 1e-5, "atol": 1e-6}
            np.testing.assert_allclose(block[:n, :n], matrix, **close)
            np.testing.assert_allclose(block[:n, n], matrix.sum(axis=1), **close)
            np.testing.assert_allclose(block[n, :n], matrix.sum(axis=0), **close)
            first = float(shown["text"][0].replace("−", "-"))
            assert first == pytest.approx(matrix[0, 0], abs=0.0051)

    explorer.eventually(heatmaps_are_right)


def test_figure_8_shows_printed_and_computed_sums(explorer: Explorer, address: str) -> None:
    explorer.open(address, "?view=figure8")
    page = explorer.page
    expect(page.locator(".fig8-matrix")).to_have_count(12)
    first = page.locator(".fig8-matrix").first
    expect(first).to_contain_text("5.43")
    expect(first.locator("td.sum").first).to_contain_text("18.73")
    expect(first.locator("td.sum .fig8-computed").first).to_have_text("18.72")
    expect(page.locator(".fig8-gains tbody tr")).to_have_count(12)
    expect(page.locator(".fig8 .source")).to_contain_text("arXiv:2512.24880")


def test_at_one_stream_the_signal_vanishes_and_at_two_it_barely_moves(
    explorer: Explorer, address: str
) -> None:
    explorer.open(address, "?streams=1")
    assert explorer.gain(0) < -10
    expect(explorer.page.locator(".mhc-headline .verdict").first).to_have_text("vanishes")
    expect(explorer.page.get_by_text("unconstrained mixing vanishes")).to_be_visible()
    explorer.slider("Streams (n)").press("ArrowRight")
    expect(explorer.page.get_by_text("unconstrained mixing barely moves")).to_be_visible()
    assert abs(explorer.gain(0)) < 4


def test_a_phone_needs_no_sideways_scrolling(new_explorer: Any, address: str) -> None:
    explorer = new_explorer(390, 844).open(address)
    expect(explorer.page.get_by_role("button", name="Open drawer")).to_be_visible()
    for name, view in VIEWS.items():
        explorer.page.get_by_role("tab", name=view.title).click()
        expect(explorer.page).to_have_url(re.compile(f"view={name}&"))
        explorer.page.wait_for_timeout(800)
        assert explorer.page.evaluate("document.documentElement.scrollWidth") <= 390, name
        main = explorer.page.locator("main").evaluate("(e) => [e.scrollWidth, e.clientWidth]")
        assert main[0] <= main[1], name
    assert explorer.problems == []


def test_all_tabs_fit_beside_the_controls(explorer: Explorer, address: str) -> None:
    page = explorer.open(address).page
    tabs = page.get_by_role("tab")
    expect(tabs).to_have_count(len(VIEWS))
    last = tabs.last.bounding_box()
    assert last
    assert last["x"] + last["width"] <= 1400
    assert tabs.last.evaluate("(e) => e.closest('.MuiTabs-scroller').scrollWidth") <= 1100


def test_the_theme_toggle_is_part_of_the_link(explorer: Explorer, address: str) -> None:
    explorer.open(address)
    explorer.page.get_by_role("button", name=re.compile("theme", re.I)).click()
    expect(explorer.page).to_have_url(re.compile("theme=dark"))


def test_the_cost_view_lays_pythons_gains_against_measured_times(
    explorer: Explorer, address: str
) -> None:
    explorer.open(address, "?view=cost&members=4&depth=40")
    explorer.page.get_by_text("ns per matrix and further iteration").wait_for()
    surface = mhc.gain_surface(mhc.Experiment(members=4))["log10_gain"]
    gains = surface.sel(direction="backward", series="median")
    explorer.set("Depth (layers)", 43)
    explorer.set("Sinkhorn iterations", 2)

    def dots_are_right() -> None:
        times = explorer.plotted("cost-time")["time"]
        assert times.shape == (31,)
        assert (times > 0).all()
        for name in ("cost-trade", "cost-closer"):
            drawn = explorer.plotted(name)
            np.testing.assert_allclose(drawn["backward"], gains.sel(depth=43).values, **CLOSE)
            wanted = gains.sel(depth=43, iterations=2).values
            np.testing.assert_allclose(drawn["present"], [wanted], **CLOSE)
            along, present = explorer.model(
                name,
                """["backward", "present"].map((name) => {
                    const r = m.renderers.find((r) => r.name === name)
                    return column(r.data_source.data, r.glyph.x.field)
                })""",
            )
            np.testing.assert_allclose(along, times, rtol=1e-6)
            np.testing.assert_allclose(present, times[[2]], rtol=1e-6)

    explorer.eventually(dots_are_right)
    gain = in_text(float(gains.sel(depth=43, iterations=2)))
    expect(explorer.page.get_by_text("Median backward gain after 43 layers")).to_contain_text(
        f"{gain} at 2 ("
    )
    explorer.page.get_by_role("button", name="Measure again").click()
    expect(explorer.page.get_by_role("button", name="Measure again")).to_be_enabled()


def test_the_cost_calculator_shows_the_librarys_numbers(explorer: Explorer, address: str) -> None:
    page = explorer.open(address, "?view=cost").page

    def shows(streams: int, width: int, depth: int, block: int) -> None:
        for name, each in (
            ("Residual connection", costs.residual_traffic(width)),
            ("unfused", costs.hyper_connection_traffic(streams, width)),
            ("fused", costs.fused_traffic(streams, width)),
        ):
            row = {"unfused": "(5n + 1)C", "fused": "in one kernel"}.get(name, name)
            cells = page.locator(".cost-traffic tbody tr", has_text=row).locator("td")
            wanted = [f"{n:,}" for n in (each.read, each.written, each.moved)]
            expect(cells).to_have_text([*wanted, re.compile(r"^[\d.]+$")])
        best = costs.best_recompute_block(depth, streams)
        for row, length in (("Everything", None), ("best block", best), ("your block", block)):
            kept = costs.stored_activations(streams, width, depth, length)
            cells = page.locator(".cost-activations tbody tr", has_text=row).locator("td")
            wanted = [f"{n:,}" for n in (kept.resident, kept.transient, kept.peak)]
            expect(cells).to_have_text([*wanted, re.compile(r"^[\d.]+ %$")])

    shows(4, 2560, 60, 2)
    page.get_by_role("combobox", name="Model of the paper").click()
    page.get_by_role("menuitem", name=re.compile("^3B")).click()
    shows(4, 1280, 24, 2)
    expect(page.get_by_role("textbox", name="Residual layers L")).to_have_value("24")
    for name, typed in (("Expansion rate n", "7"), ("Your block (layers)", "5")):
        page.get_by_role("textbox", name=name).fill(typed)
        page.keyboard.press("Enter")
    shows(7, 1280, 24, 5)
    page.get_by_role("textbox", name="Expansion rate n").fill("8")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    shows(9, 1280, 24, 5)
    expect(page.get_by_role("combobox", name="Model of the paper")).to_contain_text("another")
    page.get_by_role("textbox", name="Width C").fill("-3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Width C")).to_have_value("1")
    shows(9, 1, 24, 5)
    expect(page.get_by_text("set to 1; it ranges from 1 to 1048576.")).to_be_visible()
    # What is counted is in the link, and the link is what is counted.
    said = "model_streams=9&model_width=1&model_layers=24&model_block=5"
    expect(page).to_have_url(re.compile(said))
    explorer.open(page.url)
    shows(9, 1, 24, 5)
    page.get_by_role("button", name="Reset").click()
    shows(4, 2560, 60, 2)
    expect(page).not_to_have_url(re.compile("model_"))
    expect(page.get_by_role("combobox", name="Model of the paper")).to_contain_text("27B")
    cited = page.locator(".cost-cited")
    expect(cited).to_contain_text("6.7 %")
    expect(cited).to_contain_text("arXiv:2512.24880")


def compared(explorer: Explorer, direction: str) -> dict[str, np.ndarray]:
    """What the comparison's plot of a direction draws, by the projection's name."""
    drawn = explorer.plotted(f"compare-{direction}")
    assert len(drawn) == len(PROJECTIONS)
    return {name: drawn[f"{look(name).label}, {direction}"] for name in PROJECTIONS}


def comparison_is_of(
    explorer: Explorer, found: Any, depth: int, iterations: int, absent: tuple[str, ...] = ()
) -> None:
    """The comparison's lines and table are those of `mhc.compare`."""
    drawn = {direction: compared(explorer, direction) for direction in ("forward", "backward")}
    rows = explorer.page.locator(".mhc-compare tbody tr")
    expect(rows).to_have_count(len(PROJECTIONS))
    for row, (name, chosen) in enumerate(PROJECTIONS.items()):
        t = iterations if chosen.iterative else 1
        cells = rows.nth(row).locator("td").all_inner_texts()
        if name in absent:
            assert cells == ["—"] * 5
            continue
        here = found.sel(projection=name, iterations=t)
        gains = here["log10_gain"].sel(series="median")
        for direction, cell in zip(("forward", "backward"), cells, strict=False):
            wanted = gains.sel(direction=direction).values
            np.testing.assert_allclose(drawn[direction][name], wanted, **CLOSE)
            shown = float(gains.sel(direction=direction, depth=depth))
            if abs(shown) < 2.999:
                assert cell == f"{10**shown:#.3g}".rstrip(".")
            else:
                assert cell == f"10{shown:.1f}".replace("-", "−")
        distance = float(here["distance"].sel(series="median").median())
        if distance < 1e-13:
            assert cells[2] == "0"
        elif 1e-3 <= distance < 1e3:
            assert float(cells[2]) == pytest.approx(distance, rel=0.006)
        for metric, cell in zip(MIXING, cells[3:], strict=True):
            value = float(here[metric].sel(depth=depth))
            assert cell == "—" if np.isnan(value) else float(cell) == pytest.approx(value, abs=6e-4)


def test_the_comparison_follows_depth_and_dial_with_no_server(explorer: Explorer) -> None:
    found = mhc.compare(mhc.Experiment(members=3, spread=3.0))
    with serve() as (address, server):
        explorer.open(address, "?view=compare&members=3&spread=3")
        explorer.eventually(lambda: comparison_is_of(explorer, found, 64, 1))
        explorer.page.wait_for_timeout(500)
        server.kill()
        server.wait()
        explorer.set("Depth (layers)", 5)
        explorer.set("Sinkhorn iterations", 4)
        explorer.eventually(lambda: comparison_is_of(explorer, found, 5, 4))
        explorer.set("Sinkhorn iterations", 0)
        explorer.eventually(lambda: comparison_is_of(explorer, found, 5, 0))
        for direction in ("forward", "backward"):
            lines = compared(explorer, direction)
            np.testing.assert_array_equal(lines["sinkhorn"], lines["none"])
    explorer.problems.clear()  # the browser complains of the lost connection, and should


def test_a_reopened_comparison_shows_the_present_state(explorer: Explorer, address: str) -> None:
    page = explorer.open(address, "?view=compare&members=2&streams=6").page
    page.get_by_role("tab", name="Mixing").click()
    expect(page).to_have_url(re.compile("view=mixing"))
    explorer.slider("Streams (n)").press("ArrowRight")
    explorer.set("Sinkhorn iterations", 3)
    explorer.set("Depth (layers)", 61)
    page.get_by_role("tab", name="Compare").click()
    found = mhc.compare(mhc.Experiment(members=2, streams=7))
    explorer.eventually(lambda: comparison_is_of(explorer, found, 61, 3, absent=("mhc-lite",)))
    expect(page.get_by_text("mHC-lite (permutation mixture): only up to n = 6.")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("query", ["", "&iterations=0", "&spread=0", "&streams=1"])
def test_the_names_of_compared_lines_do_not_overlap(
    new_explorer: Any, address: str, query: str, width: int
) -> None:
    explorer = new_explorer(width, 844).open(address, f"?view=compare&members=1{query}")

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
                look(name).label for name in PROJECTIONS
            }
            pixels = np.sort((high - np.array(places)) / (high - low) * height)
            points = float(size.removesuffix("px"))
            assert (np.diff(pixels) >= points).all()
            assert pixels[0] >= 0.5 * points
            assert pixels[-1] <= height - 0.5 * points
            assert right > 8 * points

    explorer.eventually(names_are_apart)


def test_what_leaves_the_comparison_has_its_gain_beside_its_name(
    explorer: Explorer, address: str
) -> None:
    explorer.open(address, "?view=compare")
    gain = float(expected({}, "backward", iterations=0, depth=64))

    def text_is_right() -> None:
        texts = explorer.model(
            "compare-backward",
            'column(m.renderers.find((r) => r.glyph.type === "Text").data_source.data, "text")',
        )
        digits = f"{gain:.1f}".translate(str.maketrans("0123456789.", "⁰¹²³⁴⁵⁶⁷⁸⁹·"))
        assert f"HC ↑ 10{digits}" in texts
        assert "Sinkhorn" in texts

    explorer.eventually(text_is_right)


def shades(explorer: Explorer, figure: str) -> np.ndarray:
    """What the cells of a phase map are coloured by."""
    return np.array(
        explorer.model(figure, 'column(m.renderers[0].data_source.data, "shade")'), dtype=float
    )


def marked(explorer: Explorer, figure: str) -> list[float]:
    """Where the ring of a phase map is."""
    return explorer.model(
        figure,
        """["x", "y"].map((axis) => column(m.renderers.at(-1).data_source.data, axis)[0])""",
    )


def phase_is_of(explorer: Explorer, values: dict[str, Any], depth: int, iterations: int) -> None:
    """Both phase maps are those of `mhc.phase_map`, and the present state is marked."""
    experiment = mhc.Experiment(**{"members": 3, **values})
    over_spread = phase.larger_gain(mhc.phase_map(experiment, "spread")).sel(depth=depth)
    over_streams = phase.larger_gain(mhc.phase_map(experiment, "streams"))
    over_streams = over_streams.sel(iterations=iterations)
    np.testing.assert_array_equal(
        shades(explorer, "phase-spread"), phase.shade(over_spread.values).ravel()
    )
    np.testing.assert_array_equal(
        shades(explorer, "phase-streams"),
        phase.shade(over_streams.transpose("depth", "streams").values).ravel(),
    )
    assert marked(explorer, "phase-spread") == [iterations, experiment.spread]
    assert marked(explorer, "phase-streams") == [depth, experiment.streams]
    titles = [explorer.model(name, "m.title.text") for name in ("phase-spread", "phase-streams")]
    assert titles == [
        f"depth = {depth}, n = {experiment.streams}",
        f"iterations = {iterations}, spread = {experiment.spread:g}",
    ]


def test_the_phase_maps_follow_depth_and_dial_with_no_server(explorer: Explorer) -> None:
    with serve() as (address, server):
        explorer.open(address, "?view=phase")
        explorer.eventually(lambda: phase_is_of(explorer, {}, 64, 1))
        explorer.page.wait_for_timeout(500)
        server.kill()
        server.wait()
        explorer.set("Depth (layers)", 60)
        explorer.set("Sinkhorn iterations", 3)
        explorer.eventually(lambda: phase_is_of(explorer, {}, 60, 3))
    explorer.problems.clear()  # the browser complains of the lost connection, and should


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


def test_a_click_on_a_phase_map_goes_to_its_cell(explorer: Explorer, address: str) -> None:
    page = explorer.open(address, "?view=phase&seed=3").page
    explorer.eventually(lambda: phase_is_of(explorer, {"seed": 3}, 64, 1))
    click_on(explorer, "phase-spread", 4.8, 2.6)
    expect(page).to_have_url(re.compile(r"iterations=5&depth=64&streams=4&seed=3&spread=2\.5&"))
    expect(explorer.slider("Sinkhorn iterations")).to_have_value("5")
    expect(explorer.slider("Spread")).to_have_value("2.5")
    expect(explorer.number(1)).not_to_have_text("")
    explorer.eventually(lambda: phase_is_of(explorer, {"seed": 3, "spread": 2.5}, 64, 5))
    click_on(explorer, "phase-streams", 100.2, 2.1)
    expect(page).to_have_url(re.compile("iterations=5&depth=100&streams=2&"))
    expect(explorer.slider("Depth (layers)")).to_have_value("100")
    values = {"seed": 3, "spread": 2.5, "streams": 2}
    explorer.eventually(lambda: phase_is_of(explorer, values, 100, 5))


def test_a_phase_map_leaves_empty_what_does_not_exist(explorer: Explorer, address: str) -> None:
    explorer.open(address, "?view=phase&projection=mhc-lite&members=1")

    def upper_rows_are_empty() -> None:
        rows = shades(explorer, "phase-streams").reshape(128, 16)
        assert np.isnan(rows[:, 6:]).all()
        np.testing.assert_allclose(rows[:, :6], 0, atol=1e-10)  # doubly stochastic, to rounding

    explorer.eventually(upper_rows_are_empty)
    url = explorer.page.url
    click_on(explorer, "phase-streams", 20, 12)
    explorer.page.wait_for_timeout(500)
    assert explorer.page.url == url

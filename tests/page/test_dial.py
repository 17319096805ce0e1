"""The dial, the depth slider and the headline: what moves without waiting for the server."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from mhc_demo.app.views import VIEWS
from mhc_demo.figures import style
from mhc_demo.numerics.surface import MAX_DEPTH

from .conftest import Explorer, usual
from .library import CLOSE, expected

pytestmark = pytest.mark.browser


def test_the_headline_falls_from_ten_to_the_sixteen_to_about_one(shared: Explorer) -> None:
    shared.set("Sinkhorn iterations", 0)
    assert 15 < shared.gain(0) < 17
    assert shared.gain(1) == shared.gain(0)
    shared.slider("Sinkhorn iterations").press("ArrowRight")
    expect(shared.number(1)).to_have_text(re.compile(r"^1\.[01]\d$"))
    assert 15 < shared.gain(0) < 17


def test_the_longest_sentence_leaves_the_story_s_buttons_their_place(shared: Explorer) -> None:
    # At such a depth the number has 27 digits, and the sentence two lines in a window on a desk.
    shared.set("Depth (layers)", 105)
    boxes = [
        shared.page.locator(each).bounding_box()
        for each in (".mhc-headline .lead", ".mhc-story .begin", ".mhc-headline .arrow")
    ]
    assert all(boxes)
    sentence, button, arrow = boxes
    assert sentence["height"] > 30
    assert sentence["y"] + sentence["height"] <= button["y"]
    assert button["y"] + button["height"] <= arrow["y"] + arrow["height"] / 4


TOP = """() => Math.min(...[...Bokeh.index.query(({model}) => model.type === "Figure")]
  .filter(({el}) => el.checkVisibility()).map(({el}) => el.getBoundingClientRect().top))"""
"""Where the visible plots begin."""


@pytest.mark.long
def test_in_no_view_the_dial_moves_a_plot_or_leaves_the_hand(shared: Explorer) -> None:
    mouse = shared.page.mouse
    for name, view in VIEWS.items():
        if not view.of_experiment:
            continue
        shared.show(name)
        box = shared.slider("Sinkhorn iterations").bounding_box()
        assert box
        places = [box["x"] + 13 + (box["width"] - 26) * part for part in (0.0, 1 / 30, 1.0)]
        middle = box["y"] + box["height"] / 2
        mouse.move(places[1], middle)
        mouse.down()
        tops = set()
        for iterations, x in zip((0, 1, 30), places, strict=True):
            mouse.move(x, middle)
            # With what Python says of it, and changes.
            expect(shared.page).to_have_url(re.compile(f"iterations={iterations}&"))
            tops.add(shared.page.evaluate(TOP))
        mouse.up()
        assert len(tops) == 1, name
        shared.set("Sinkhorn iterations", 1)


def test_plotted_lines_are_pythons_numbers(shared: Explorer) -> None:
    shared.set("Sinkhorn iterations", 3)
    for depth in (64, 61):
        shared.set("Depth (layers)", depth)
        lines = shared.plotted("composite")
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
                np.testing.assert_allclose(shared.plotted("iterations")[direction], wanted, **CLOSE)

            shared.eventually(second_plot_has_followed)


def test_a_slider_can_be_dragged(shared: Explorer) -> None:
    slider = shared.slider("Depth (layers)")
    box = slider.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    shared.page.mouse.move(box["x"] + box["width"] / 2, y)
    shared.page.mouse.down()
    seen = []
    for share in (0.5, 0.6, 0.7, 0.8):
        shared.page.mouse.move(box["x"] + box["width"] * share, y)
        shared.painted()
        seen.append(shared.gain(0))
    shared.page.mouse.up()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] + 5
    depth = int(slider.input_value())
    # The headline shows one decimal of the exponent, of the larger direction.
    larger = max(expected({}, d, iterations=0, depth=depth) for d in ("forward", "backward"))
    assert shared.gain(0) == pytest.approx(larger, abs=0.051)


@pytest.mark.parametrize("view", usual("composite", of=("composite", "layers", "layer-axis")))
def test_at_zero_iterations_hc_is_seen_in_its_own_colour(shared: Explorer, view: str) -> None:
    shared.show(view)
    shared.set("Sinkhorn iterations", 0)
    legend = shared.page.locator(".legend li.projected")
    projected = shared.page.locator(".legend li.projected:not(.off)")

    def only_hc_is_drawn() -> None:
        colours = shared.colours(view)
        assert style.HC in colours
        assert style.PROJECTED not in colours

    def both_are_drawn() -> None:
        assert {style.HC, style.PROJECTED} <= shared.colours(view)

    shared.eventually(only_hc_is_drawn)
    expect(legend).to_have_count(1)
    expect(projected).to_have_count(0)
    shared.set("Sinkhorn iterations", 2)
    shared.eventually(both_are_drawn)
    expect(projected).to_have_count(1)
    shared.set("Sinkhorn iterations", 0)
    shared.eventually(only_hc_is_drawn)
    expect(projected).to_have_count(0)
    # What the browser hid while a tab was open is right when the tab is opened again.
    shared.show("mixing")
    shared.set("Sinkhorn iterations", 1)
    shared.show(view)
    shared.eventually(both_are_drawn)


def test_axes_stay_still_while_a_slider_moves(shared: Explorer) -> None:
    before = shared.y_range("composite")
    shared.set("Depth (layers)", 60)
    shared.set("Sinkhorn iterations", 0)
    assert shared.y_range("composite") == before
    low, high = before
    for values in shared.plotted("composite").values():
        assert values.min() >= low
        assert values.max() <= high


def test_play_steps_to_the_end_and_can_be_stopped(shared: Explorer) -> None:
    dial = shared.slider("Sinkhorn iterations")
    shared.set("Sinkhorn iterations", 27)
    play = shared.page.get_by_role("button", name="Play Sinkhorn iterations")
    pause = shared.page.get_by_role("button", name="Pause Sinkhorn iterations")
    play.click()
    expect(pause).to_be_visible()
    expect(dial).to_have_value("30")
    play.click()  # from the end: anew
    expect(dial).to_have_value(re.compile(r"^([2-9]|1\d)$"))
    pause.click()
    value = dial.input_value()
    shared.page.wait_for_timeout(900)
    expect(dial).to_have_value(value)


def test_depth_plays_too_at_one_of_three_speeds(shared: Explorer) -> None:
    page = shared.page
    shared.set("Depth (layers)", 120)
    for speed in ("1", "2", "0.5"):  # and then 1 again
        button = page.get_by_role("button", name=f"Speed of play: {speed}", exact=True)
        expect(button).to_have_count(2)
        if speed != "0.5":
            button.last.click()
    page.get_by_role("button", name="Play Depth").click()
    expect(shared.slider("Depth (layers)")).to_have_value(str(MAX_DEPTH))
    button.last.click()


def test_a_visitor_who_wants_less_motion_sees_the_end_at_once(shared: Explorer) -> None:
    shared.page.emulate_media(reduced_motion="reduce")
    shared.set("Sinkhorn iterations", 3)
    shared.page.get_by_role("button", name="Play Sinkhorn iterations").click()
    expect(shared.slider("Sinkhorn iterations")).to_have_value("30", timeout=200)
    shared.page.emulate_media(reduced_motion="no-preference")


def test_at_one_stream_the_signal_vanishes_and_at_two_it_barely_moves(shared: Explorer) -> None:
    shared.slider("Streams (n)").press("Home")
    expect(shared.page.locator(".mhc-headline .verdict").first).to_have_text("vanishes")
    assert shared.gain(0) < -10
    expect(shared.page.get_by_text("unconstrained mixing vanishes")).to_be_visible()
    shared.slider("Streams (n)").press("ArrowRight")
    expect(shared.page.get_by_text("unconstrained mixing barely moves")).to_be_visible()
    assert abs(shared.gain(0)) < 4


def test_gains_that_signs_make_1_are_not_called_stable(shared: Explorer) -> None:
    shared.visit("?view=composite&projection=signed-sums&iterations=1&depth=64")
    verdicts = shared.page.locator(".mhc-headline .verdict")
    expect(verdicts).to_have_text(["explodes", "only its sums stay 1"])

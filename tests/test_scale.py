"""The two scales of the gains, without a browser."""

from __future__ import annotations

import json
import re

import pytest

import mhc_demo as mhc
from mhc_demo.app.components import ScaleControl
from mhc_demo.app.state import State
from mhc_demo.figures.scale import NEAR, SCALES
from mhc_demo.scripts import text_of

SMALL = {"members": 2, "streams": 3}
OF_GAINS = ("composite", "layers", "layer-axis", "compare")


def opened(view: str) -> mhc.Explorer:
    explorer = mhc.Explorer(**SMALL, view=view)
    explorer.window.first_picture = True
    return explorer


def test_a_link_has_the_scale_where_it_is_not_the_usual_one() -> None:
    assert "scale" not in State().query()
    assert "&scale=near" in State(scale="near").query()
    read = State()
    read.read({"scale": [b"near"]})
    assert (read.scale, read.notices) == ("near", [])


def test_a_scene_and_a_reset_keep_the_scale() -> None:
    state = State(scale="near", scene="sharp")
    state.show_scene()
    state.reset()
    state.shuffle()
    assert state.scale == "near"


@pytest.mark.parametrize("view", OF_GAINS)
def test_every_axis_of_gains_has_both_scales_and_follows_a_new_experiment(view: str) -> None:
    explorer = opened(view)
    shown = explorer.stage.views[view]
    for p in shown.figures():
        (scales,) = p.y_range.tags
        assert scales == {"full": [p.y_range.start, p.y_range.end], "near": list(NEAR)}
    assert len(shown.content.select(ScaleControl)) == 1
    before = shown.figures()[0].y_range.tags
    explorer.state.streams = 5
    assert shown.figures()[0].y_range.tags != before


def test_the_control_and_the_state_follow_each_other_and_refuse_what_is_no_scale() -> None:
    explorer = opened("composite")
    (control,) = explorer.stage.views["composite"].content.select(ScaleControl)
    control.scale = "near"
    assert explorer.state.scale == "near"
    assert "scale=near" in explorer.window.query
    control.scale = "far"
    assert explorer.state.scale == control.scale == "near"
    explorer.state.scale = "full"
    assert control.scale == "full"


def test_a_file_opens_with_a_scale_and_has_one_switch_for_each_group_of_plots() -> None:
    few = mhc.Experiment(members=2)
    html = mhc.export_html(few, scale="near", plots=["composite", "iterations", "layers", "mixing"])
    assert html.count('<div class="scale"></div>') == 2
    assert re.search(r'\["scale","near"\]', html)
    with pytest.raises(ValueError, match="scale"):
        mhc.export_html(few, scale="far")


def test_the_scales_have_the_same_names_in_the_browser() -> None:
    assert json.dumps([list(each) for each in SCALES.items()]) in text_of("scale.js")

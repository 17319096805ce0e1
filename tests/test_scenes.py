"""The story says what the library computes, and no number that it does not."""

from __future__ import annotations

import re

import pytest

from mhc_demo.app.state import URL_PARAMETERS, State
from mhc_demo.story.scenes import CITED, NUMBER, NUMBERS, SCENES, Scene, Seen, markup

EVERY = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


def values(scene: Scene) -> dict[str, object]:
    """The whole state that a scene sets."""
    defaults = {name: State.param[name].default for name in URL_PARAMETERS}
    return {**defaults, **scene.state}


@EVERY
def test_every_number_in_a_text_is_what_the_library_computes(scene: Scene) -> None:
    seen = Seen(values(scene))
    said = NUMBER.findall(scene.text + scene.question)
    assert {shown: NUMBERS[name](seen) for shown, name in said} == {
        shown: shown for shown, _ in said
    }


@EVERY
def test_every_other_number_is_part_of_the_scene_s_state(scene: Scene) -> None:
    text = CITED.sub("", NUMBER.sub("", scene.text + " " + scene.question))
    state = [v for v in values(scene).values() if isinstance(v, (int, float))]
    own = {f"{v:g}" for v in state} | {"1", "27", "20"}  # gain 1; 27B; the paper's t_max
    assert set(re.findall(r"\d+(?:\.\d+)?", text)) <= own


@EVERY
def test_a_scene_is_a_state_of_the_page_that_exists(scene: Scene) -> None:
    State(**scene.state)
    assert set(scene.controls) <= set(URL_PARAMETERS)
    assert scene.question.endswith("?")
    assert scene.notes
    assert "{" not in markup(scene.text)
    assert "[" not in markup(scene.text)

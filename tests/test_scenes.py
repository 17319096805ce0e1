"""The story says what the library computes, and has no number that it does not."""

from __future__ import annotations

import re

import pytest

from mhc_demo.app.state import URL_PARAMETERS, State
from mhc_demo.story.scenes import CITED, NUMBER, NUMBERS, SCENES, Results, Scene, markup

EVERY = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


def values(scene: Scene) -> dict[str, object]:
    """The whole state that a scene sets."""
    defaults = {name: State.param[name].default for name in URL_PARAMETERS}
    return {**defaults, **scene.state}


@EVERY
def test_every_number_in_a_text_is_what_the_library_computes(scene: Scene) -> None:
    results = Results(values(scene))
    numbers = NUMBER.findall(scene.text + scene.question + scene.notes)
    assert {text: NUMBERS[name](results) for text, name in numbers} == {
        text: text for text, _ in numbers
    }


@EVERY
def test_every_other_number_is_part_of_the_state_of_the_scene(scene: Scene) -> None:
    text = CITED.sub("", NUMBER.sub("", f"{scene.text} {scene.question} {scene.notes}"))
    state = [v for v in values(scene).values() if isinstance(v, (int, float))]
    own = {f"{v:g}" for v in state} | {"0", "1", "20", "27"}  # gain 1; the paper's t_max; 27B
    own |= {"200", "2,000"}  # networks drawn for a number, as `NUMBERS` says
    own |= set(re.findall(r"(?:Figure|Fig\.|Table|Newman|step) ([\d,]+)", text))  # where it stands
    own |= {"1.00"}  # what the sums on the screen turn to
    assert set(re.findall(r"\d[\d,]*(?:\.\d+)?(?<!,)", text)) <= own


@EVERY
def test_a_scene_is_a_possible_state_of_the_page(scene: Scene) -> None:
    State(**scene.state)
    assert set(scene.controls) <= set(URL_PARAMETERS)
    assert scene.question.endswith("?")
    assert scene.notes
    assert "{" not in markup(scene.text)
    assert "[" not in markup(scene.text)

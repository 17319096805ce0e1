"""The story says what the library computes, and has no number that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mhc_demo.app.state import URL_PARAMETERS, State
from mhc_demo.story.claims import CLAIMS, VERDICTS, Claim, claims_html, page
from mhc_demo.story.markup import CITED, NUMBER, markup, value_of
from mhc_demo.story.results import NUMBERS, Results
from mhc_demo.story.scenes import SCENES, SHORT, Scene, beginning, scenes_of

EVERY = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
EVERY_CLAIM = pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)


def values(scene: Scene) -> dict[str, object]:
    """The whole state that a scene sets."""
    defaults = {name: State.param[name].default for name in URL_PARAMETERS}
    return {**defaults, **scene.state}


def told(scene: Scene) -> str:
    """All that a scene says."""
    asked = scene.guess.asks if scene.guess else ""
    return " ".join((scene.text, scene.short, asked, scene.question, scene.notes, scene.try_live))


def wrong(scene: Scene, text: str) -> list[tuple[str, str, str]]:
    """The numbers of a text that are not what the library computes for the scene, and what is."""
    results = Results(values(scene))
    found = [(name, number, NUMBERS[name](results)) for number, name in NUMBER.findall(text)]
    return [each for each in found if each[1] != each[2]]


def others(scene: Scene, text: str) -> set[str]:
    """The numbers in a text that are neither computed, nor cited, nor of the scene's state."""
    text = CITED.sub("", NUMBER.sub("", text))
    state = [v for v in values(scene).values() if isinstance(v, (int, float))]
    own = {f"{v:g}" for v in state} | {"0", "1", "20", "27"}  # gain 1; the paper's t_max; 27B
    own |= {"200", "2,000"}  # networks drawn for a number, as `NUMBERS` says
    own |= set(re.findall(r"(?:Figure|Fig\.|Table|Newman|step|Eq\.) ([\d,]+)", text))  # a place
    own |= {"16"}  # seeds of each recorded network: see test_evidence.py
    own |= {"1.00"}  # what the sums on the screen turn to
    return set(re.findall(r"\d[\d,]*(?:\.\d+)?(?<!,)", text)) - own


@EVERY
def test_every_number_in_a_text_is_what_the_library_computes(scene: Scene) -> None:
    assert wrong(scene, told(scene)) == []


@EVERY
def test_every_other_number_is_part_of_the_state_of_the_scene(scene: Scene) -> None:
    assert others(scene, told(scene)) == set()


@EVERY_CLAIM
def test_a_claim_is_answered_with_numbers_that_are_computed_or_cited(claim: Claim) -> None:
    assert wrong(SCENES[claim.scene], claim.answer) == []
    assert others(SCENES[claim.scene], claim.answer) == set()


@EVERY_CLAIM
def test_a_claim_has_a_verdict_a_source_and_a_short_answer(claim: Claim) -> None:
    assert claim.verdict in VERDICTS
    assert claim.sources
    assert all(re.fullmatch(r"https://[!-~]+", each.url) for each in claim.sources)
    assert len(re.findall(r"[.!?](?:\s|$)", CITED.sub("", claim.answer))) <= 4
    assert claim.text[-1] == "."


def test_the_documentation_and_the_page_have_every_claim() -> None:
    written = (Path(__file__).parents[1] / "docs" / "claims.md").read_text("utf-8")
    assert written == page()  # python -m mhc_demo.story.claims
    html = claims_html(lambda scene: f"?scene={scene}")
    for claim in CLAIMS.values():
        assert f"?scene={claim.scene}" in html
        assert f"`?scene={claim.scene}`" in written
    assert html.count("<section") == len(CLAIMS)
    assert "scene=" not in claims_html(None)  # in a notebook it would lead nowhere


@EVERY
def test_a_scene_is_a_possible_state_of_the_page(scene: Scene) -> None:
    State(**scene.state)
    assert set(scene.controls) <= set(URL_PARAMETERS)
    assert scene.question.endswith("?")
    assert scene.notes
    assert "{" not in markup(scene.text)
    assert "[" not in markup(scene.text)


GUESSED = {name: scene for name, scene in SCENES.items() if scene.guess}


@pytest.mark.parametrize("name", GUESSED)
def test_a_guess_has_an_answer_and_does_not_tell_it(name: str) -> None:
    scene, guess = SCENES[name], SCENES[name].guess
    assert guess
    told_after = [number for number, _ in NUMBER.findall(scene.text) + CITED.findall(scene.text)]
    asked = [number for number, _ in NUMBER.findall(guess.asks) + CITED.findall(guess.asks)]
    assert guess.answer in told_after
    assert guess.answer not in asked
    assert bool(guess.mark) != bool(guess.choices)
    limits = [most for _, most in guess.choices]
    assert limits == sorted(set(limits))
    if guess.choices:
        assert 0 <= value_of(guess.answer) <= limits[guess.right()]
    # What would tell is covered, is at another place until then, or is played.
    assert guess.covers or guess.before
    assert guess.before.items().isdisjoint(scene.state.items())
    assert beginning(name, revealed=False) == {**scene.state, **guess.before}
    assert beginning(name, revealed=True) == scene.state


def test_the_short_way_is_six_scenes_in_the_order_of_the_story() -> None:
    assert len(SHORT) == 6
    assert [name for name in scenes_of("whole") if name in SHORT] == list(scenes_of("short"))

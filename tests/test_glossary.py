"""Every formula can be typeset, and every term in it and in a text is explained."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from mhc_demo.story.formulas import FORMULAS
from mhc_demo.story.glossary import TERMS, explained, typeset
from mhc_demo.story.scenes import SCENES

SYMBOL = re.compile(r"<(\w+)>")


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_well_formed_and_leaves_no_latex(name: str) -> None:
    formula = FORMULAS[name]
    tree = ElementTree.fromstring(formula.markup().replace("&nbsp;", " "))
    text = "".join(tree.itertext())
    assert "\\" not in text
    assert "&" not in text
    assert tree.get("aria-label") == formula.spoken


@pytest.mark.parametrize("name", FORMULAS)
def test_every_symbol_of_a_formula_is_explained(name: str) -> None:
    used = set(SYMBOL.findall(FORMULAS[name].latex))
    assert used
    assert used <= TERMS.keys()
    assert all(TERMS[each].latex for each in used)
    markup = FORMULAS[name].markup()
    stops = re.findall(r'role="button" tabindex="0" data-title="([^"]*)"', markup)
    assert len(stops) == len(set(stops))  # the keyboard stops at each once


def test_an_index_is_set_below_the_superscript() -> None:
    assert "<msubsup>" in typeset("<h_res>_2", "H res 2")


def test_every_formula_of_a_scene_exists() -> None:
    assert {scene.formula for scene in SCENES.values()} - {""} <= FORMULAS.keys()


def test_a_word_is_explained_where_it_first_occurs_and_never_inside_markup() -> None:
    text = explained('<b title="the gain">HC</b>: a gain, and a gain; dehcx')
    assert text.count('class="term"') == 2
    assert '<b title="the gain">' in text
    assert text.endswith("and a gain; dehcx")


def test_no_word_belongs_to_two_terms() -> None:
    words = [word.lower() for term in TERMS.values() for word in term.words]
    assert len(words) == len(set(words))


def test_a_meaning_is_one_short_text() -> None:
    assert {name for name, term in TERMS.items() if not 5 < len(term.meaning) < 260} == set()


def test_the_bold_one_is_a_letter_of_its_own_and_a_tilde_lifts_no_superscript() -> None:
    # Chromium ignores `mathvariant` on digits, and sets a superscript above an accent.
    ones = FORMULAS["closed"].markup()
    assert "<mn>𝟏</mn>" in ones
    assert "mathvariant" not in ones
    assert '<mpadded height="0"><mo stretchy="false">&#x0007E;</mo>' in FORMULAS["mhc"].markup()

"""How a gain is written; that JavaScript writes the same is tested in page/test_numbers.py."""

from __future__ import annotations

import math

import pytest

from mhc_demo.numerics import numbers


@pytest.mark.parametrize(
    ("log10", "headline", "tick", "exact"),
    [
        (0.0, "1.00", "1", "1"),
        (math.log10(1.1), "1.10", "1.1", "1.1"),
        (math.log10(0.012345678), "0.0123", "0.0123", "0.01235"),
        (math.log10(264.4), "264", "264", "264.4"),
        (2.9994, "999", "999", "998.6"),
        (2.9995, "10³·⁰", "999", "998.8"),
        (16.2371, "10¹⁶·²", "1.73 × 10¹⁶", "1.726 × 10¹⁶"),
        (-90.0, "10⁻⁹⁰·⁰", "10⁻⁹⁰", "1 × 10⁻⁹⁰"),
        (-math.inf, "0", "0", "0"),
        (math.inf, "—", "—", "—"),
        (math.nan, "—", "—", "—"),
    ],
)
def test_a_gain_has_three_digits_a_short_tick_and_four_digits_on_hover(
    log10: float, headline: str, tick: str, exact: str
) -> None:
    assert numbers.in_label(log10) == headline
    assert numbers.tick(log10) == tick
    assert numbers.exact(log10) == exact


def test_in_html_the_power_is_raised_and_on_a_terminal_it_is_ascii() -> None:
    assert numbers.in_html(-16.2371) == "10<sup>−16.2</sup>"
    assert numbers.in_text(-16.2371) == "10^-16.2"


@pytest.mark.parametrize(
    ("log10", "fate"), [(0, 0), (0.301, 0), (0.302, 1), (-3, -1), (3.1, 2), (-math.inf, -2)]
)
def test_a_gain_within_a_factor_of_two_stays_near_one(log10: float, fate: int) -> None:
    assert numbers.fate(log10) == fate


def test_a_zero_has_no_sign() -> None:
    assert numbers.entry(-0.004) == "0.00"
    assert numbers.entry(-0.5) == "−0.50"
    assert numbers.exact_entry(-0.0) == "0"

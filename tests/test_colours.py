"""Colours of the plots: text can be read on every cell of a matrix, in both themes."""

from __future__ import annotations

import pytest
from bokeh.models import ColumnDataSource, Rect

from mhc_demo.figures import style
from mhc_demo.figures.matrices import PALETTES, Heatmap

LEAST_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3 (AA), for text of normal size."""


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb", as WCAG 2.2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_matrix_s_numbers_can_be_read_on_every_cell(theme: str) -> None:
    assert all(contrast(each, style.INK[theme]) >= LEAST_CONTRAST for each in PALETTES[theme])


@pytest.mark.parametrize(("theme", "page"), [("light", "#ffffff"), ("dark", "#121212")])
def test_zero_is_nearest_to_the_page_and_large_entries_stand_out(theme: str, page: str) -> None:
    palette = PALETTES[theme]
    middle = len(palette) // 2
    found = [contrast(each, page) for each in palette]
    assert min(range(len(found)), key=found.__getitem__) == middle
    assert min(found[0], found[-1]) > 2


@pytest.mark.parametrize(("theme", "page"), [("light", "#ffffff"), ("dark", "#121212")])
def test_sums_can_be_read_and_have_no_colour_of_a_method(theme: str, page: str) -> None:
    # As much of them as slices.js lays on.
    for colour, most in ((style.OFF, 0.6), (style.EXACT, 0.5)):
        pairs = [(int(colour[i : i + 2], 16), int(page[i : i + 2], 16)) for i in (1, 3, 5)]
        cell = "#" + "".join(f"{round(most * a + (1 - most) * b):02x}" for a, b in pairs)
        assert contrast(cell, style.INK[theme]) >= LEAST_CONTRAST
    drawn = {
        each.glyph.fill_color
        for each in Heatmap("sums", "", 4, ColumnDataSource(), marked=True).figure.renderers
        if isinstance(each.glyph, Rect) and isinstance(each.glyph.fill_color, str)
    }
    assert {style.OFF, style.EXACT} <= drawn
    assert drawn.isdisjoint({style.HC, style.PROJECTED, style.PLUS, style.MINUS})


def test_no_sign_has_the_colour_of_a_method() -> None:
    signs = {style.PLUS, style.MINUS, *sum(style.TINTS.values(), ())}
    assert signs.isdisjoint({style.HC, style.PROJECTED, style.IDENTITY, style.THEORY})

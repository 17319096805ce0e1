"""Columns of a table as whole numbers, small when compressed and exact in what is shown of them.

Four sets of float32 gains would fill a file that is to be read in a blog post, and would still
show a sixth digit here and there that is not the library's.  A whole number of a small unit
does better: it is chosen such that its text in the headline and on hover (`numerics/numbers.py`)
is that of the float64 value itself, and among such numbers it is a round one, because digits that
nobody sees are noise.  Neighbours differ by little, so their differences are sent; gzip does the
rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numerics.numbers import EXACT_LIMIT, FAR_FROM_ONE, NEAR_ONE, ROUNDED_LIMIT

Floats = NDArray[np.float64]
Cells = Callable[[Floats], tuple[Floats, Floats]]
"""Finite values -> the ends of the ranges around them in which the text is the same."""

PER_UNIT = 10**7
"""Steps to 1; a file holds this number once, for all its columns.  The sixth digit of a gain of
9.99999 is 4e-7 in its log10, and half of that where the headline's third digit changes in the
middle of it."""

ROUND = (10, 100, 1000, 10_000)
"""Steps of rounder numbers: the last that lies within the ends of a range is taken."""

INSIDE = 1e-3
"""How far from the ends of a range a number stays, in steps: on the very end a gain may be shown as
either of two texts."""

LIMITS = (NEAR_ONE, ROUNDED_LIMIT, FAR_FROM_ONE, EXACT_LIMIT, math.inf)
"""Where `exact`, `rounded` and `fate` change their manner."""
BREAKS = sorted(sign * limit for sign in (-1, 1) for limit in LIMITS)


def hover_cells(log10: Floats) -> tuple[Floats, Floats]:
    """The cells of a gain as `exact` writes it: four digits, from 10^4 on with a power of ten."""
    return _rounded(log10, np.full(log10.shape, 4))


def headline_cells(log10: Floats) -> tuple[Floats, Floats]:
    """The cells of a gain as `rounded` writes it: three digits, or a power to a decimal."""
    small = np.abs(log10) < ROUNDED_LIMIT
    tenth = np.rint(10 * log10) / 10
    low, high = _rounded(log10, np.full(log10.shape, 3))
    return np.where(small, low, tenth - 0.05), np.where(small, high, tenth + 0.05)


def third_decimals(values: Floats) -> tuple[Floats, Floats]:
    """The cells of a number with three decimals."""
    shown = np.rint(1000 * values) / 1000
    return shown - 0.0005, shown + 0.0005


def fourth_decimals(values: Floats) -> tuple[Floats, Floats]:
    """The cells of a number with four decimals."""
    shown = np.rint(10_000 * values) / 10_000
    return shown - 0.00005, shown + 0.00005


def entry_cells(values: Floats) -> tuple[Floats, Floats]:
    """The cells of an entry of a matrix as `entry` writes it, with two decimals."""
    shown = np.rint(100 * values) / 100
    return shown - 0.005, shown + 0.005


def fourth_digits(values: Floats) -> tuple[Floats, Floats]:
    """What differs from a number by no more than half of its fourth digit, or fourth decimal."""
    power = np.floor(np.log10(np.maximum(np.abs(values), 1)))
    half = 0.5 * 10.0 ** np.maximum(power - 3, -4)
    return values - half, values + half


GAINS: Sequence[Cells] = (hover_cells, headline_cells)
PLAIN: Sequence[Cells] = (third_decimals,)
FINE: Sequence[Cells] = (fourth_decimals,)
ENTRIES: Sequence[Cells] = (entry_cells, fourth_digits)


def _rounded(log10: Floats, digits: NDArray[Any]) -> tuple[Floats, Floats]:
    """The ends of the range of log10 in which a gain has the same digits, in the same manner."""
    power = np.floor(log10)
    most = 10.0 ** (digits - 1)
    shown = np.rint(10.0 ** (log10 - power) * most)
    # Below 1.00000 the step to the next number is a tenth of the one above it.
    low = np.where(shown == most, most - 0.05, shown - 0.5) / most
    at = np.searchsorted(BREAKS, log10, side="right")
    return (
        np.maximum(power + np.log10(low), np.take(BREAKS, at - 1)),
        np.minimum(power + np.log10((shown + 0.5) / most), np.take(BREAKS, at)),
    )


def steps(values: Floats, cells: Sequence[Cells]) -> Floats:
    """The whole number of steps for each finite value.

    Within 1e-7 of the end of a range there may be no whole number that lies in all of `cells`; then
    the last of them counts.
    """
    found = np.rint(values * PER_UNIT)
    least, most = np.full(values.shape, -np.inf), np.full(values.shape, np.inf)
    for ends in cells:
        low, high = (each * PER_UNIT for each in ends(values))
        low, high = np.ceil(low + INSIDE), np.floor(high - INSIDE)
        found = np.clip(found, low, high)
        least, most = np.maximum(least, low), np.minimum(most, high)
    for unit in ROUND if cells else ():
        rounder = unit * np.rint(values * PER_UNIT / unit)
        found = np.where((least <= rounder) & (rounder <= most), rounder, found)
    return found + 0.0  # no -0


def pack(values: Any, row: int, cells: Sequence[Cells] = GAINS) -> dict[str, Any]:
    """A column in rows of `row` numbers, for `unpack` in `static/embed.js`.

    The first two rows (HC, and one iteration) hold differences from the number before, the others
    from the row before.  Where NaN and minus infinity are, each is as far from the one before.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    known = np.isfinite(flat)
    whole = np.zeros(flat.shape)
    whole[known] = steps(flat[known], cells)
    table = whole.reshape(-1, row)
    differences = table.copy()
    differences[:2, 1:] -= table[:2, :-1]
    differences[2:] -= table[1:-1]
    packed: dict[str, Any] = {"row": row, "steps": differences.astype(np.int64).ravel().tolist()}
    for name, where in (("unknown", np.isnan(flat)), ("zero", np.isneginf(flat))):
        if where.any():
            packed[name] = np.diff(np.flatnonzero(where), prepend=0).tolist()
    return packed

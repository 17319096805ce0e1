"""How a gain is written, given its log10: on ticks, in the headline, on hover, in running text.

`static/numbers.js` holds the same rules under the same names, and a test compares the two.  They
stand at the bottom of the package because the story and the command line write gains too, and
need no Bokeh.  JavaScript rounds a tie away from zero and Python to even; here it is JavaScript's.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

TICK_LIMIT, ROUNDED_LIMIT, EXACT_LIMIT = 3, 2.9995, 4
"""From this |log10| on, a tick, a rounded gain and an exact one are powers of ten."""

NEAR_ONE, FAR_FROM_ONE = math.log10(2), 3
"""Largest |log10| of a gain that stays near 1, and of one that does not explode or vanish."""

UNKNOWN = "—"


class Parts(NamedTuple):
    """A number, or "10" and its power."""

    base: str
    power: str


def rounded(log10: float) -> Parts:
    """A gain as the headline writes it: three digits, or from 10^3 on the power of ten.

    >>> rounded(0.0517), rounded(16.2371)
    (Parts(base='1.13', power=''), Parts(base='10', power='16.2'))
    """
    if not math.isfinite(log10):
        return Parts(_not_finite(log10), "")
    if abs(log10) >= ROUNDED_LIMIT:
        return Parts("10", minus(_fixed(log10, 1)))
    gain = 10.0**log10
    return Parts(_precise(gain, 3), "")


def in_text(log10: float) -> str:
    """A rounded gain for plain text such as a terminal's, in ASCII if it is finite.

    >>> in_text(0.0517), in_text(-16.2371)
    ('1.13', '10^-16.2')
    """
    base, power = rounded(log10)
    return f"{base}^{power.replace('−', '-')}" if power else base


def in_html(log10: float) -> str:
    """A rounded gain as HTML.

    >>> in_html(16.2371)
    '10<sup>16.2</sup>'
    """
    base, power = rounded(log10)
    return f"{base}<sup>{power}</sup>" if power else base


def in_label(log10: float) -> str:
    """A rounded gain where there is neither HTML nor a caret: in plots and their titles.

    >>> in_label(16.2371)
    '10¹⁶·²'
    """
    base, power = rounded(log10)
    return base + superscript(power)


def tick(log10: float) -> str:
    """A tick's label: as short as it can be.

    >>> tick(0), tick(16), tick(16.5)
    ('1', '10¹⁶', '3.16 × 10¹⁶')
    """
    if not math.isfinite(log10):
        return _not_finite(log10)
    if abs(log10) < TICK_LIMIT:
        return _significant(10.0**log10, 3)
    if float(log10).is_integer():
        return f"10{superscript(int(log10))}"
    return _scientific(log10, 2)


def exact(log10: float) -> str:
    """A gain on hover: four digits, whether as a power of ten or not.

    >>> exact(0.0517), exact(16.2371)
    ('1.126', '1.726 × 10¹⁶')
    """
    if not math.isfinite(log10):
        return _not_finite(log10)
    if abs(log10) < EXACT_LIMIT:
        return _significant(10.0**log10, 4)
    return _scientific(log10, 3)


def fate(log10: float) -> int:
    """What becomes of a signal: 0 if it stays near 1, ±1 if it grows or shrinks, ±2 beyond 10^±3.

    >>> fate(0.0517), fate(-16.2)
    (0, -2)
    """
    size = abs(log10)
    return int(math.copysign((size > NEAR_ONE) + (size > FAR_FROM_ONE), log10))


def entry(value: float) -> str:
    """An entry of a matrix in its cell, to two decimals.

    >>> entry(-0.5), entry(-0.001)
    ('−0.50', '0.00')
    """
    return minus(_fixed(value, 2)) if math.isfinite(value) else UNKNOWN


def exact_entry(value: float) -> str:
    """An entry of a matrix on hover, to six digits.

    >>> exact_entry(-1 / 3)
    '−0.333333'
    """
    return minus(_significant(value, 6)) if math.isfinite(value) else UNKNOWN


def superscript(number: int | str) -> str:
    """A number as it stands above the line.

    >>> superscript(-15)
    '⁻¹⁵'
    """
    return str(number).translate(SUPERSCRIPTS)


SUPERSCRIPTS = str.maketrans("-−.0123456789", "⁻⁻·⁰¹²³⁴⁵⁶⁷⁸⁹")


def minus(text: str) -> str:
    """A number's text with the sign for minus, and none before a zero.

    >>> minus("-1.0"), minus("-0.0")
    ('−1.0', '0.0')
    """
    if not text.startswith("-"):
        return text
    return text[1:] if float(text) == 0 else f"−{text[1:]}"


def _not_finite(log10: float) -> str:
    return "0" if log10 < 0 else UNKNOWN


def _round(x: float, digits: int) -> Decimal:
    return Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal(x)


def _precise(x: float, digits: int) -> str:
    """A number with `digits` digits, be they zeros; a larger one is whole (`toPrecision`)."""
    found = _round(x, digits)
    return f"{found:.{max(0, digits - 1 - found.adjusted())}f}"


def _fixed(x: float, decimals: int) -> str:
    """A number with `decimals` decimals (`toFixed`)."""
    context = Context(prec=400, rounding=ROUND_HALF_UP)
    return f"{Decimal(x).quantize(Decimal(1).scaleb(-decimals), context=context):f}"


def _significant(x: float, digits: int) -> str:
    """A number with at most `digits` significant digits, as JavaScript prints it."""
    found = _round(x, digits).normalize()
    plain = not found or -7 < found.adjusted() < 21
    return f"{found:f}" if plain else f"{found:e}"


def _scientific(log10: float, digits: int) -> str:
    power = math.floor(log10)
    mantissa = Decimal(_fixed(10.0 ** (log10 - power), digits)).normalize()
    if mantissa >= 10:
        mantissa, power = mantissa / 10, power + 1
    return f"{mantissa:f} × 10{superscript(power)}"

"""Values of parameters as text, and text as values: for URLs and for fields to type in.

Both can be hostile: text is matched against a strict pattern, and never repeated.
"""

from __future__ import annotations

import math
import re
from typing import Any

import param

from ..figures.compare import FREE, MOST_PINNED, are_places
from ..numerics.projections import PROJECTIONS

WHOLE = re.compile(r"[+-]?\d{1,15}")
DECIMAL = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,3})?")


ENTRY = re.compile(r"[+-]?(\d{1,20}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?")
"""An entry of a matrix, as spreadsheets and NumPy write it."""

LARGEST_ENTRY = 1e4
MOST_ROWS = 8
DIGITS = 6
"""Significant digits of an entry that are kept, so that a matrix fits into a link."""


class SquareMatrix(param.List):
    """The entries of a square matrix, row after row; empty for none."""

    def _validate(self, val: Any) -> None:
        super()._validate(val)
        size = math.isqrt(len(val))
        numbers = all(type(x) in (int, float) and abs(x) <= LARGEST_ENTRY for x in val)
        if not numbers or size**2 != len(val) or size > MOST_ROWS:
            raise ValueError(
                f"{self.name} must hold n * n numbers from {-LARGEST_ENTRY:g} to "
                f"{LARGEST_ENTRY:g}, n at most {MOST_ROWS}, not {val!r}"
            )


class Pinned(param.List):
    """Names of projections in up to `MOST_PINNED` places, of which each has its own stroke."""

    def _validate(self, val: Any) -> None:
        super()._validate(val)
        if not are_places(val):
            raise ValueError(
                f"{self.name} must hold at most {MOST_PINNED} different names of projections, or "
                f"{FREE!r} for a free place, not {val!r}"
            )


def places_of(text: str) -> list[str] | None:
    """The projections in their places, written with commas between; None if it is none.

    >>> places_of("sinkhorn,-,rows"), places_of("sinkhorn,sinkhorn"), places_of("")
    (['sinkhorn', '-', 'rows'], None, ['-'])
    """
    names = text.split(",", MOST_PINNED) if text else [FREE]
    return names if are_places(names) else None


def entry_of(text: str) -> float | None:
    """The entry that a text is, or None if it is none or too large.

    >>> entry_of(" −0.5 "), entry_of("1e4"), entry_of("10001"), entry_of("")
    (-0.5, 10000.0, None, None)
    """
    text = text.strip().replace("−", "-")
    if not ENTRY.fullmatch(text):
        return None
    value = float(text)
    return float(f"{value:.{DIGITS}g}") + 0.0 if abs(value) <= LARGEST_ENTRY else None


def entries_of(text: str) -> list[float] | None:
    """The entries of a square matrix, written row after row with commas; None if it is none."""
    if text == "":
        return []
    parts = text.split(",", MOST_ROWS**2)
    if math.isqrt(len(parts)) ** 2 != len(parts) or len(parts) > MOST_ROWS**2:
        return None
    found = [entry_of(part) for part in parts]
    return None if None in found else found  # type: ignore[return-value]


def written(value: Any) -> str:
    """The text of a value.

    >>> written(0.5), written(3.0), written(True), written(["depth", "streams"])
    ('0.5', '3', '1', 'depth,streams')
    >>> written([0.5, 3.0])
    '0.5,3'
    """
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(map(written, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def understood(
    parameter: param.Parameter, given: bytes | str, what: str = "the value in the link"
) -> tuple[Any, str]:
    """(value or None, notice or ""): the value that a text gives; `what` names the text."""
    text = given.decode("utf-8", "replace") if isinstance(given, bytes) else given
    ignored = f"{what} was ignored; it"
    if isinstance(parameter, param.Boolean):
        if text in ("0", "1"):
            return text == "1", ""
        return None, f"{ignored} can be 0 or 1."
    if isinstance(parameter, param.ListSelector):
        names = text.split(",") if text else []
        if set(names) <= set(parameter.objects):
            return list(dict.fromkeys(names)), ""
        return None, f"{ignored} can have any of {', '.join(parameter.objects)}."
    if isinstance(parameter, param.Selector):
        if text in parameter.objects:
            return text, ""
        return None, f"{ignored} can be {', '.join(filter(None, map(str, parameter.objects)))}."
    if isinstance(parameter, SquareMatrix):
        entries = entries_of(text)
        if entries is None:
            return None, (
                f"{ignored} must be n × n numbers from −{LARGEST_ENTRY:g} to {LARGEST_ENTRY:g}, "
                f"row after row with commas between, n at most {MOST_ROWS}."
            )
        return entries, ""
    if isinstance(parameter, Pinned):
        places = places_of(text)
        if places is None:
            return None, (
                f"{ignored} can have up to {MOST_PINNED} different ones of "
                f"{', '.join(PROJECTIONS)}, with commas between."
            )
        return places, ""
    whole = isinstance(parameter, param.Integer)
    if not (WHOLE if whole else DECIMAL).fullmatch(text.strip()):
        return None, f"{ignored} must be {'a whole number' if whole else 'a number'}."
    value = int(text) if whole else float(text)
    low, high = parameter.bounds
    kept = min(max(value, low), high)
    if kept == value and math.isfinite(value):
        return value, ""
    return kept, f"set to {written(kept)}; it ranges from {written(low)} to {written(high)}."

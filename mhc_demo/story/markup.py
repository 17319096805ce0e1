"""How a text of the story marks its numbers, and what a reader sees of it.

`{10^16.2|hc}` is a number that the function `NUMBERS["hc"]` computes (`results.py`), and
`[3000|Fig. 3b]` one that a paper printed, with its place.
"""

from __future__ import annotations

import html
import re

NUMBER = re.compile(r"\{([^|{}]+)\|(\w+)\}")
"""A number as the reader sees it, and the function that computes it."""
CITED = re.compile(r"\[([^|\[\]]+)\|([^|\[\]]+)\]")
"""A number that a paper printed, and where."""


def value_of(number: str) -> float:
    """The value of a number that is written in a text.

    >>> value_of("10^2"), value_of("1.13")
    (100.0, 1.13)
    """
    base, caret, power = number.partition("^")
    return float(base) ** float(power) if caret else float(number.replace(",", ""))


def markup(text: str) -> str:
    """A scene's text as HTML: numbers in bold, the last of those from one place with the place."""
    text = html.escape(text, quote=False)
    text = NUMBER.sub(lambda m: f"<b>{raised(m[1])}</b>", text)
    last = {m[2]: m.end() for m in CITED.finditer(text)}

    def cited(m: re.Match[str]) -> str:
        place = f" <cite>({m[2]})</cite>" if m.end() == last[m[2]] else ""
        return f"<b>{raised(m[1])}</b>{place}"

    return CITED.sub(cited, text)


def plain(text: str) -> str:
    """A scene's text without markup, numbers of a paper with their place."""
    return CITED.sub(lambda m: f"{m[1]} ({m[2]})", NUMBER.sub(lambda m: m[1], text))


def raised(number: str) -> str:
    """A number as HTML, its power of ten raised."""
    base, caret, power = number.partition("^")
    return f"{base}<sup>{power}</sup>" if caret else base

"""Values of parameters as text, and text as values: for URLs and for fields to type in.

Both can be hostile: text is matched against a strict pattern, and never repeated.
"""

from __future__ import annotations

import math
import re
from typing import Any

import param

WHOLE = re.compile(r"[+-]?\d{1,15}")
DECIMAL = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,3})?")


def written(value: Any) -> str:
    """The text of a value.

    >>> written(0.5), written(3.0), written(True), written(["depth", "streams"])
    ('0.5', '3', '1', 'depth,streams')
    """
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(value)
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
    whole = isinstance(parameter, param.Integer)
    if not (WHOLE if whole else DECIMAL).fullmatch(text.strip()):
        return None, f"{ignored} must be {'a whole number' if whole else 'a number'}."
    value = int(text) if whole else float(text)
    low, high = parameter.bounds
    kept = min(max(value, low), high)
    if kept == value and math.isfinite(value):
        return value, ""
    return kept, f"set to {written(kept)}; it ranges from {written(low)} to {written(high)}."

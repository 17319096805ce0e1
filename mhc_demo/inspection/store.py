"""What every file of arrays is to the reader: names, declared shapes, and a way to read one array.

The formats differ in how they say what they hold; what is taken from it (`choosing.py`) does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .limits import UnreadableError, shown

Floats = NDArray[Any]


@dataclass(frozen=True)
class Declared:
    """One array as its file declares it; nothing of it has been read."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """As the format writes it."""
    itemsize: int
    read: Callable[[], Floats]
    """Reads it, as floating-point numbers or text.  Raises UnreadableError."""
    text: bool = False
    """Whether it holds names, and no numbers."""


@dataclass(frozen=True)
class Store:
    """The arrays of a file."""

    format: str
    """In words, for sentences."""
    arrays: Mapping[str, Declared]
    layer_names: tuple[str, ...] = ()
    """What the file itself calls the layers, if it does."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why arrays cannot be read, by their names."""


LARGEST = 1e100
"""No mapping has larger entries; the sums of smaller ones are far from any float's end."""


def finite(array: Floats, name: str) -> Floats:
    """The array, unless it holds NaN, infinity or numbers that no mapping has.

    Raises UnreadableError.
    """
    flat = array.reshape(-1)
    for start in range(0, flat.size, 2**20):  # a mask of the whole would be another such array
        piece = flat[start : start + 2**20]
        if not np.isfinite(piece).all():
            raise UnreadableError(f"The array {shown(name)} holds NaN or infinity.")
        if max(float(piece.max()), -float(piece.min())) > LARGEST:
            raise UnreadableError(f"The array {shown(name)} holds numbers beyond {LARGEST:g}.")
    return array

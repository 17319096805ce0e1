"""What a file of mappings may hold, and the one error that says why it is not loaded.

A file may come from anybody.  So whatever it declares is compared with these limits before any of
it is read, unzipped or allocated, and every reader here raises `UnreadableError` and nothing else
for a file that is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


class UnreadableError(ValueError):
    """A file that is not loaded; the text is one plain sentence for whoever brought it."""


@dataclass(frozen=True)
class Limits:
    """The most that is read; `math.inf` is no limit."""

    bytes: float
    """Of the arrays as they are declared, unzipped."""
    layers: float
    streams: float
    matrices: float
    """Of all tokens and layers: each takes memory for its gains, however small it is."""

    def check(self, shape: tuple[int, ...], itemsize: int, name: str) -> None:
        """Refuse an array (..., layers, n, n) of that shape, by its declaration alone.

        Raises UnreadableError if it is no stack of square matrices, or larger than allowed.
        """
        self.check_bytes(math.prod(shape) * itemsize, f"The array {shown(name)}")
        if len(shape) < 3 or shape[-1] != shape[-2]:
            raise UnreadableError(
                f"The array {shown(name)} has the shape {shape}; it must be (layers, n, n) or "
                "(tokens, layers, n, n), with square matrices."
            )
        if 0 in shape:
            raise UnreadableError(f"The array {shown(name)} is empty: its shape is {shape}.")
        count = math.prod(shape[:-2])
        if count > self.matrices:
            raise UnreadableError(
                f"The array {shown(name)} has {count:,} matrices; at most {self.matrices:,} are "
                "read."
            )
        if shape[-3] > self.layers:
            raise UnreadableError(
                f"The array {shown(name)} has {shape[-3]:,} layers; at most {self.layers:,} are "
                "read."
            )
        if shape[-1] > self.streams:
            raise UnreadableError(
                f"The array {shown(name)} has n = {shape[-1]:,} streams; at most {self.streams:,} "
                "are read."
            )

    def check_bytes(self, size: float, what: str) -> None:
        """Refuse what is larger than allowed."""
        if size > self.bytes:
            raise UnreadableError(
                f"{what} would take {size / MIB:,.1f} MiB; at most {self.bytes / MIB:,.0f} "
                "MiB are read."
            )


MIB = 2**20

PAGE = Limits(bytes=64 * MIB, layers=512, streams=32, matrices=2**20)
"""On a page, where others wait for the same server."""

NONE = Limits(bytes=math.inf, layers=math.inf, streams=math.inf, matrices=math.inf)
"""On one's own machine."""

LONGEST_NAME = 60


def shown(name: str) -> str:
    """A name out of a file as a sentence holds it: in quotes, short, without control characters."""
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…")

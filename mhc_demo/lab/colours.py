"""How each connection is drawn: its colour, the width of its lines, and its marker."""

from __future__ import annotations

from ..figures import style
from .connections import CONNECTIONS

WIDTHS = {"residual": 6.0, "hc": 2.5, "mhc": 2.5}
"""In pixels: mHC's line often lies on the residual network's, and both should be visible."""
COLOURS = {"residual": style.IDENTITY, "hc": style.HC, "mhc": style.PROJECTED}
OTHERS = ("#0b7285", "#a61e4d", "#5c940d", "#862e9c", "#e67700", "#364fc7")
"""The colours of all other connections, in turn."""
MARKERS = {"residual": "square", "hc": "triangle", "mhc": "circle"}
"""By what a connection's name begins with."""


def colour_of(connection: str) -> str:
    """The colour of a connection's lines."""
    others = [name for name in CONNECTIONS if name not in COLOURS]
    if connection in COLOURS:
        return COLOURS[connection]
    return OTHERS[others.index(connection) % len(OTHERS)]

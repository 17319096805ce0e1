"""The page: Panel around the figures.  Delete this folder and a good library is left.

Panel is imported when `Explorer` is first used: the numerics and the story do without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .notebook import Explorer

__all__ = ["Explorer"]


def __getattr__(name: str) -> Any:
    if name != "Explorer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .notebook import Explorer

    return Explorer

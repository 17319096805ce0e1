"""The softmax along one axis, of which several projections are made."""

from __future__ import annotations

from types import ModuleType

from .._arrays import Array


def softmax(xp: ModuleType, x: Array, axis: int) -> Array:
    exp = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return exp / xp.sum(exp, axis=axis, keepdims=True)

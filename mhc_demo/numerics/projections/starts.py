"""Logits from which a layer starts: near the identity, where every stream is itself.

Each function here takes a projection of one n x n matrix, n, and how much of each row shall lie off
the diagonal, in size and on average, and returns logits (n, n) of which that is true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float64]
Start: TypeAlias = Callable[[Callable[[Matrix], Matrix], int, float], Matrix]

HALVINGS = 64


def off_diagonal(matrix: Matrix) -> float:
    """The share of the entries' sizes that is off the diagonal."""
    sizes = np.abs(matrix)
    return 1.0 - float(np.trace(sizes) / sizes.sum())


def on_the_diagonal(project: Callable[[Matrix], Matrix], streams: int, off: float) -> Matrix:
    """A multiple of the identity, found by bisection; 0 where there is none ("identity", n = 1).

    Of Sinkhorn-Knopp it is ln((1 - m)(n - 1) / m), m being `off`.  Other projections have other
    formulas: mHC-lite adds up n logits, KromHC takes means of n^2 / 2.
    """
    eye = np.eye(streams)

    def found(diagonal: float) -> float:
        return off_diagonal(project(diagonal * eye))

    low, high = -50.0, 50.0
    if found(low) <= off:
        return 0.0 * eye
    while found(high) > off:
        high *= 2.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if found(middle) > off else (low, middle)
    return 0.5 * (low + high) * eye


def above_the_diagonal(diagonal: float) -> Start:
    """The same size everywhere above the diagonal, 0 below, and `diagonal` on it.

    For orthogonal matrices and their squares, which are the identity without it: there the squares
    off the diagonal have no gradient.  Where `off` is more than such logits give, they give their
    most.
    """

    def start(project: Callable[[Matrix], Matrix], streams: int, off: float) -> Matrix:
        upper = np.triu(np.ones((streams, streams)), 1)
        base = diagonal * np.eye(streams)
        if streams == 1:
            return base
        sizes = np.geomspace(1e-6, 8.0, 128)
        shares = [off_diagonal(project(base + size * upper)) for size in sizes]
        first = next((k for k, share in enumerate(shares) if share >= off), None)
        if first is None:
            return base + sizes[int(np.argmax(shares))] * upper
        low, high = sizes[max(first - 1, 0)], sizes[first]
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            enough = off_diagonal(project(base + middle * upper)) >= off
            low, high = (low, middle) if enough else (middle, high)
        return base + high * upper

    return start


def at_zero(project: Callable[[Matrix], Matrix], streams: int, off: float) -> Matrix:
    """Nothing: of the Cayley transform, the identity itself, where all logits have a gradient.

    With signs, whatever is off the diagonal would change what the streams have in common.
    """
    return np.zeros((streams, streams))


def evenly(project: Callable[[Matrix], Matrix], streams: int, off: float) -> Matrix:
    """1 - `off` on the diagonal and `off` spread evenly over the rest of each row: no logits."""
    each = off / max(streams - 1, 1)
    return (1.0 - off - each) * np.eye(streams) + each if streams > 1 else np.eye(1)

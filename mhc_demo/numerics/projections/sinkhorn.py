"""Sinkhorn-Knopp: as the paper has it, and as DeepSeek released it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import device

from .._arrays import Array, known, scalar
from ..paper import MHC, TOKENBENDER
from .registry import ITERATIVE, Halves, projection
from .softmax import softmax
from .starts import Matrix

PAPER_ITERATIONS = 20
"""t_max of the paper (section 4.2)."""

RELEASED_EPS = 1e-6
"""eps of DeepSeek's released kernels (TileKernels `sinkhorn_normalize`)."""


def _sinkhorn_halves(xp: ModuleType, logits: Array) -> Iterator[Array]:
    """`sinkhorn_iterates` in the same operations, after the columns and after the rows."""
    logits = logits - xp.max(logits, axis=-2, keepdims=True)
    if _extent(xp, logits) < tame_range(logits.dtype, logits.shape[-1]):
        matrix = xp.exp(logits)
        while True:
            for axis in (-2, -1):
                matrix = matrix / xp.sum(matrix, axis=axis, keepdims=True)
                yield matrix
    while True:
        for axis in (-2, -1):
            logits = _log_softmax(xp, logits, axis)
            yield xp.exp(logits)


@projection(
    "sinkhorn",
    "Sinkhorn–Knopp (mHC)",
    kind=ITERATIVE,
    short="Sinkhorn",
    iterative=True,
    unit_rows=True,
    masks=True,
    fused={"eps": 0.0},
    halves=Halves(
        _sinkhorn_halves,
        ("columns", "rows"),
        ("columns divided by their sums", "rows divided by their sums"),
    ),
    cost="O(n²) an iteration",
    source=MHC.short,
    note="The paper's projection: columns first, rows second, t times (Eq. 9).",
    published=f"composite gain near 1.6 at 27B ({MHC.number}, Fig. 7b)",
    leads=True,
)
def sinkhorn_iterates(xp: ModuleType, logits: Array) -> Iterator[Array]:
    """Eq. 9, t = 1, 2, ...: all iterates of logits (..., n, n)."""
    # Columns are normalised first, so their maxima can be subtracted beforehand.
    logits = logits - xp.max(logits, axis=-2, keepdims=True)
    if _extent(xp, logits) < tame_range(logits.dtype, logits.shape[-1]):
        matrix = xp.exp(logits)
        while True:
            matrix = matrix / xp.sum(matrix, axis=-2, keepdims=True)
            matrix = matrix / xp.sum(matrix, axis=-1, keepdims=True)
            yield matrix
    while True:
        logits = _log_softmax(xp, logits, -2)
        logits = _log_softmax(xp, logits, -1)
        yield xp.exp(logits)


def tame_range(dtype: Any, streams: int) -> float:
    """How far below its column's maximum a logit may be for linear scaling to be exact.

    The entries of all iterates stay above exp(-2 * range) / n^2, and the scalings within
    exp(range) of 1: within this range, alternating division is as exact as logarithms, and 2.6
    times as fast.  `dtype` is NumPy's or PyTorch's.
    """
    smallest = 2.0**-1022 if "float64" in str(dtype) else 2.0**-126
    return -math.log(smallest) / 2 - 2 * math.log(streams)


def _extent(xp: ModuleType, nonpositive: Array) -> float:
    if not math.prod(nonpositive.shape):
        return 0.0
    # Whatever the logits are, logarithms are exact.
    return -scalar(xp.min(nonpositive)) if known(xp, nonpositive) else math.inf


def _log_softmax(xp: ModuleType, x: Array, axis: int) -> Array:
    # The maximum is subtracted first and separately: added to the log of the sum, its rounding
    # would swamp that log, and sums would miss 1 by 5e-4 in float32 for logits near 1e4.
    x = x - xp.max(x, axis=axis, keepdims=True)
    return x - xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True))


def _released_halves(xp: ModuleType, logits: Array) -> Iterator[Array]:
    """`released_iterates` in the same operations, after the columns and after the rows."""
    matrix = softmax(xp, logits, -2) + RELEASED_EPS
    yield matrix
    for axis in cycle((-1, -2)):
        matrix = matrix / (xp.sum(matrix, axis=axis, keepdims=True) + RELEASED_EPS)
        yield matrix


@projection(
    "released",
    "DeepSeek's release (ε = 1e-6)",
    kind=ITERATIVE,
    short="Released",
    iterative=True,
    masks=True,
    fused={"eps": RELEASED_EPS},
    eps=RELEASED_EPS,
    halves=Halves(
        _released_halves,
        ("columns", "rows"),
        ("columns divided by their sums plus ε", "rows divided by their sums plus ε"),
        ("columns divided by their sums, then ε added", "rows divided by their sums plus ε"),
    ),
    cost="O(n²) an iteration",
    source="github.com/deepseek-ai/TileKernels",
    note="As in DeepSeek's TileKernels: eps is added to the first softmax and to every sum, so "
    "the row sums fall short of 1 by about eps. It acts transposed, and so ends on rows like Eq. "
    "9.",
)
def released_iterates(xp: ModuleType, logits: Array, eps: float | None = None) -> Iterator[Array]:
    """The released variant, t = 1, 2, ...: all iterates of logits (..., n, n)."""
    # The kernels normalise rows, then columns, of a matrix that is applied transposed.  In our
    # orientation, that of the matrix as applied, this is columns, then rows; with eps = 0 it is
    # Eq. 9.
    eps = RELEASED_EPS if eps is None else eps
    matrix = softmax(xp, logits, -2) + eps
    matrix = matrix / (xp.sum(matrix, axis=-1, keepdims=True) + eps)
    while True:
        yield matrix
        matrix = matrix / (xp.sum(matrix, axis=-2, keepdims=True) + eps)
        matrix = matrix / (xp.sum(matrix, axis=-1, keepdims=True) + eps)


def _blended(
    iterates: Callable[[ModuleType, Array], Iterator[Array]], xp: ModuleType, logits: Array
) -> Iterator[Array]:
    """(1 - a) I + a S for every S of Sinkhorn-Knopp's iterates, a the sigmoid of the mean logit."""
    mean = xp.mean(logits, axis=(-2, -1), keepdims=True)
    share = softmax(xp, xp.concat([mean, xp.zeros_like(mean)], axis=-1), -1)
    eye = xp.eye(logits.shape[-1], dtype=logits.dtype, device=device(logits))
    kept = share[..., 1:] * eye
    for matrix in iterates(xp, logits):
        yield kept + share[..., :1] * matrix


def _equal_logits(project: Callable[[Matrix], Matrix], streams: int, off: float) -> Matrix:
    """Those of a uniform S, with the mean at which a S has `off` off the diagonal.

    Where a uniform S has too little, its diagonal is the weaker for it.
    """
    if streams == 1:
        return np.zeros((1, 1))
    uniform = (streams - 1) / streams
    of_s = uniform if off <= uniform**2 else math.sqrt(off)
    diagonal = math.log((streams - 1) * (1 - of_s) / of_s)
    share = off / of_s
    mean = math.log(share / (1 - share))
    return mean - diagonal / streams + diagonal * np.eye(streams)


@projection(
    "blend",
    "Sinkhorn–Knopp blended with I",
    kind=ITERATIVE,
    short="Blend",
    iterative=True,
    unit_rows=True,
    halves=Halves(
        partial(_blended, _sinkhorn_halves),
        ("columns", "rows"),
        (
            "columns divided by their sums, then blended with I",
            "rows divided by their sums, then blended with I",
        ),
    ),
    balances="sinkhorn",
    start=_equal_logits,
    weights=lambda n: 20 * n * n,
    cost="O(n²) an iteration",
    source=TOKENBENDER,
    note="(1 − a) I + a S: Sinkhorn's matrix S and the identity. There a is a parameter of its "
    "own; here it is the sigmoid of the mean logit, which S ignores. A layer starts near I with S "
    "far from it.",
)
def _blend(xp: ModuleType, logits: Array) -> Iterator[Array]:
    return _blended(sinkhorn_iterates, xp, logits)

"""The projections: from n x n logits to the matrix that mixes the streams.

Each is one small function in `PROJECTIONS`; the page, the command line and the property tests
know no projection by name.  A one-shot projection returns a matrix; an iterative one is a
generator of its iterates, so that all 31 positions of the dial cost one pass.  Iteration 0 of
every projection is the raw matrix itself, that is, HC.

To add a projection, write one function here under `@projection(...)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import cycle, permutations
from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from ._arrays import Array, is_torch, known, scalar
from .paper import MHC_LITE

PAPER_ITERATIONS = 20
"""t_max of the paper (section 4.2)."""

RELEASED_EPS = 1e-6
"""eps of DeepSeek's released kernels (TileKernels `sinkhorn_normalize`)."""


@dataclass(frozen=True)
class Halves:
    """The iterations of a projection taken apart, for a reader who wants to see them at work."""

    function: Callable[[ModuleType, Array], Iterator[Array]]
    """As the projection's own generator, but yields after every part of an iteration, as often in
    each as there are names."""
    names: tuple[str, ...]
    """What was normalised in each part: "columns" or "rows"."""
    words: tuple[str, ...]
    """The same as half a sentence."""
    first: tuple[str, ...] = ()
    """That of the first iteration, if it differs."""


@dataclass(frozen=True)
class Projection:
    """One way to turn logits into a mixing matrix, and what is promised of the result."""

    name: str
    title: str
    function: Callable[..., Any]
    short: str = ""
    """A shorter name, where there is little room; if empty, the title serves."""
    iterative: bool = False
    takes_logits: bool = True
    """False where the input is HC's own H_res, not logits ("none")."""
    unit_rows: bool = False
    """The rows sum to 1: the forward gain is 1."""
    unit_columns: bool = False
    """The columns sum to 1: the backward gain is 1."""
    nonnegative: bool = True
    bounded: bool = True
    """Products of such matrices stay bounded at every depth."""
    max_streams: int | None = None
    weights: Callable[[int], int] | None = None
    """How many numbers it keeps besides a matrix's entries, as a function of n; None if none."""
    fused: Mapping[str, Any] | None = None
    """Arguments with which `kernels.sinkhorn` computes it in PyTorch; None if it does not."""
    eps: float | None = None
    """What it adds to the sums that it divides by, unless told otherwise; None if it adds nothing.
    Such a function takes `eps` as its third argument."""
    halves: Halves | None = None
    """Its iterations taken apart (see `half_steps.py`); None if only whole ones are known."""
    note: str = ""
    """One sentence for the reader, with its source."""

    @property
    def label(self) -> str:
        """Its name as a plot writes it at the end of a line."""
        return self.short or self.title

    def check(self, streams: int) -> None:
        """ValueError if the projection does not exist for that many streams."""
        if self.max_streams is not None and streams > self.max_streams:
            raise ValueError(
                f"projection {self.name!r} takes at most {self.max_streams} streams "
                f"({self.note.rstrip('.')}), not {streams}"
            )


PROJECTIONS: dict[str, Projection] = {}
"""Every projection by its name."""


def projection(name: str, title: str, **promises: Any) -> Callable[[Callable], Callable]:
    """Register a function (xp, logits) -> matrix, or a generator of iterates."""

    def register(function: Callable) -> Callable:
        PROJECTIONS[name] = Projection(name, title, function, **promises)
        return function

    return register


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
    short="Sinkhorn",
    iterative=True,
    unit_rows=True,
    fused={"eps": 0.0},
    halves=Halves(
        _sinkhorn_halves,
        ("columns", "rows"),
        ("columns divided by their sums", "rows divided by their sums"),
    ),
    note="The paper's projection: columns first, rows second, t times (Eq. 9).",
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


def _softmax(xp: ModuleType, x: Array, axis: int) -> Array:
    exp = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return exp / xp.sum(exp, axis=axis, keepdims=True)


def _released_halves(xp: ModuleType, logits: Array) -> Iterator[Array]:
    """`released_iterates` in the same operations, after the columns and after the rows."""
    matrix = _softmax(xp, logits, -2) + RELEASED_EPS
    yield matrix
    for axis in cycle((-1, -2)):
        matrix = matrix / (xp.sum(matrix, axis=axis, keepdims=True) + RELEASED_EPS)
        yield matrix


@projection(
    "released",
    "DeepSeek's release (ε = 1e-6)",
    short="Released",
    iterative=True,
    fused={"eps": RELEASED_EPS},
    eps=RELEASED_EPS,
    halves=Halves(
        _released_halves,
        ("columns", "rows"),
        ("columns divided by their sums plus ε", "rows divided by their sums plus ε"),
        ("columns divided by their sums, then ε added", "rows divided by their sums plus ε"),
    ),
    note="As in DeepSeek's TileKernels: eps is added to the first softmax and to every sum, so "
    "the sums fall short of 1 by about eps. It acts transposed, and so ends on rows like Eq. 9.",
)
def released_iterates(xp: ModuleType, logits: Array, eps: float | None = None) -> Iterator[Array]:
    """The released variant, t = 1, 2, ...: all iterates of logits (..., n, n)."""
    # The kernels normalise rows, then columns, of a matrix that is applied transposed.  In our
    # orientation, that of the matrix as applied, this is columns, then rows; with eps = 0 it is
    # Eq. 9.
    eps = RELEASED_EPS if eps is None else eps
    matrix = _softmax(xp, logits, -2) + eps
    matrix = matrix / (xp.sum(matrix, axis=-1, keepdims=True) + eps)
    while True:
        yield matrix
        matrix = matrix / (xp.sum(matrix, axis=-2, keepdims=True) + eps)
        matrix = matrix / (xp.sum(matrix, axis=-1, keepdims=True) + eps)


@projection(
    "mhc-lite",
    "mHC-lite (permutation mixture)",
    short="mHC-lite",
    unit_rows=True,
    unit_columns=True,
    max_streams=6,
    weights=math.factorial,
    note=f"A softmax mixture of all n! permutation matrices ({MHC_LITE.number}), doubly stochastic "
    "with no iteration. The paper learns n! logits; here permutation p gets the sum of its n "
    "entries of the n x n logits, which is our adaptation.",
)
def _mhc_lite(xp: ModuleType, logits: Array) -> Array:
    n = logits.shape[-1]
    vertices = xp.asarray(_permutation_matrices(n), dtype=logits.dtype, device=device(logits))
    flat = xp.reshape(logits, (*logits.shape[:-2], n * n))
    sums = _weighted_sums(xp, flat, xp.permute_dims(vertices, (1, 0)), n)
    weights = _softmax(xp, sums, -1)
    return xp.reshape(weights @ vertices, logits.shape)


def _weighted_sums(xp: ModuleType, flat: Array, vertices: Array, n: int) -> Array:
    """The sum of each permutation's logits, (..., n * n) @ (n * n, n!); -inf is a mask."""
    # In place of -inf, because 0 times -inf is NaN: so low that its permutations get no weight.
    low = -float(xp.finfo(flat.dtype).max) / (2 * n)
    can_raise = not is_torch(xp) and known(xp, flat)
    if can_raise and not bool(xp.any(flat < low)):
        return flat @ vertices
    sums = xp.where(flat < low, low, flat) @ vertices
    none_left = xp.max(sums, axis=-1, keepdims=True) < low / 2
    if can_raise and bool(xp.any(none_left)):
        raise ValueError(
            "logits must leave a permutation without a masked entry (-inf) for projection "
            "'mhc-lite', but there is a matrix without any"
        )
    return xp.where(none_left, math.nan, sums)


@cache
def _permutation_matrices(n: int) -> NDArray[np.float64]:
    """All n x n permutation matrices, flattened: (n!, n * n)."""
    return np.eye(n)[list(permutations(range(n)))].reshape(-1, n * n)


@projection(
    "rows",
    "Rows only (softmax)",
    short="Rows only",
    unit_rows=True,
    note="Half an iteration: each row divided by its sum. The forward gain is 1, and the backward "
    "gain can never exceed n, because a product of row-stochastic matrices is row-stochastic.",
)
def _rows(xp: ModuleType, logits: Array) -> Array:
    return _softmax(xp, logits, -1)


@projection(
    "columns",
    "Columns only (softmax)",
    short="Columns only",
    unit_columns=True,
    note="The other half: each column divided by its sum. The backward gain is 1, the forward "
    "gain can never exceed n.",
)
def _columns(xp: ModuleType, logits: Array) -> Array:
    return _softmax(xp, logits, -2)


@projection(
    "exp",
    "exp only",
    bounded=False,
    note="Positive entries and no division: from n = 2 on it explodes faster than the raw matrix. "
    "What tames the product is both, entries that are not negative and sums that are 1.",
)
def _exp(xp: ModuleType, logits: Array) -> Array:
    limit = math.log(float(xp.finfo(logits.dtype).max))
    if math.prod(logits.shape) and known(xp, logits) and scalar(xp.max(logits)) >= limit:
        raise ValueError(
            f"projection 'exp' overflows {logits.dtype} for logits above {limit:.1f}; "
            f"the largest here is {scalar(xp.max(logits)):g}"
        )
    return xp.exp(logits)


@projection(
    "none",
    "None (HC)",
    short="HC",
    takes_logits=False,
    nonnegative=False,
    bounded=False,
    note="Hyper-Connections as they are: nothing bounds the matrix (Eq. 5).",
)
def _none(xp: ModuleType, logits: Array) -> Array:
    return logits


@projection(
    "identity",
    "Identity (no mixing)",
    short="Identity",
    unit_rows=True,
    unit_columns=True,
    note="The plain residual stream, n times over: nothing explodes and nothing mixes.",
)
def _identity(xp: ModuleType, logits: Array) -> Array:
    eye = xp.eye(logits.shape[-1], dtype=logits.dtype, device=device(logits))
    return xp.broadcast_to(eye, logits.shape)

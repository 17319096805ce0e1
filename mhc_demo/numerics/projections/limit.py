"""The limit of Sinkhorn-Knopp, by Newton's method on its dual, with an exact gradient.

The limit is D1 exp(Z) D2 with all sums 1.  With the rows' scaling eliminated, the columns' scaling
exp(y) is where the convex function sum_i log sum_j exp(Z_ij + y_j) - sum_j y_j is least.  Its
gradient is the column sums less 1, its Hessian C - M^T M, C the diagonal of the column sums.

Three things make Newton's method safe and exact, for logits up to 1e4 and beyond:

- The step is shortened by log(1 + r) / r, r the range of y.  The function is a sum of
  log-sum-exps, for which that step always descends (generalised self-concordance; Sun and
  Tran-Dinh, Mathematical Programming 178, 2019); near the limit it is Newton's own.
- Sharp logits are reached by doubling: the limit at Z / 2^k, then its logarithm twice as the start
  for Z / 2^(k - 1).
- The logarithms are kept in place, as in `sinkhorn.py`, and the last two steps are taken on the
  matrix itself, so that the sums are right to rounding.

Those two steps are also what is differentiated, everything before being held fixed.  Each step of
Newton's method doubles how many derivatives agree with the limit's, so two of them give the
implicit function theorem's first, second and third, in any library that differentiates, for the
cost of two solves.
"""

from __future__ import annotations

import math
from types import ModuleType

from array_api_compat import device

from .._arrays import Array, doubled, frozen, is_torch, known
from ..paper import MHC
from .registry import ITERATIVE, projection
from .sinkhorn import _log_softmax

MOST = 200
"""Newton steps after which a limit that is not reached is no longer waited for."""
UNSEEN = 24
"""Newton steps where nobody can look whether fewer would do: what is traced by a compiler.  They
are enough for logits up to about 100; of sharper ones the rows alone are right."""
EXTENT = 8.0
"""How far apart logits may be for Newton's method to start at them at once."""
NEAR = 0.1
"""How far from 1 sums may be for the logits to be doubled."""
TOLERANCE = 1e-14
"""The least that rounding always reaches, up to n = 64."""
LOST = 1e-3
"""Column sums that stay this far from 1 have no limit: masks leave no permutation."""


def newton_limit(
    xp: ModuleType, logits: Array, tolerance: float = TOLERANCE
) -> tuple[Array, Array, Array]:
    """The limit (..., n, n), Newton steps (...) and how far from 1 its column sums are (...).

    Where there is no limit it is NaN, or in NumPy ValueError.
    """
    dtype = logits.dtype
    logits = doubled(xp, logits)
    start, steps, missed = searched(xp, frozen(xp, logits), tolerance)
    masked = logits == -math.inf
    lost = (missed > LOST) & xp.any(masked, axis=(-2, -1))
    may_raise = not is_torch(xp) and known(xp, logits)
    if may_raise and bool(xp.any(lost)):
        raise ValueError(
            "logits must leave a permutation without a masked entry (-inf) for projection "
            "'sinkhorn-limit', but there is a matrix without any"
        )
    if not may_raise:
        start = xp.where(lost[..., None, None], math.nan, start)
    tame = xp.where(masked, xp.zeros_like(logits), logits)
    matrix = start * xp.exp(tame - frozen(xp, tame))  # adds nothing but the gradient
    matrix = matrix / xp.sum(matrix, axis=-1, keepdims=True)
    for _ in range(2):
        matrix = matrix * xp.exp(_newton_step(xp, matrix))
        matrix = matrix / xp.sum(matrix, axis=-1, keepdims=True)
    off = xp.max(xp.abs(xp.sum(matrix, axis=-2) - 1.0), axis=-1)
    return xp.astype(matrix, dtype, copy=False), steps, off


def _newton_step(xp: ModuleType, matrix: Array) -> Array:
    """The y of Newton's method, (..., 1, n), from a matrix whose rows sum to 1."""
    n = matrix.shape[-1]
    sums = xp.sum(matrix, axis=-2, keepdims=True)
    eye = xp.eye(n, dtype=matrix.dtype, device=device(matrix))
    # 1 is in the Hessian's kernel; the ridge is for limits that fall apart into blocks.
    ridge = n * float(xp.finfo(matrix.dtype).eps)
    hessian = (sums + ridge) * eye - xp.matrix_transpose(matrix) @ matrix + 1.0 / n
    step = xp.linalg.solve(hessian, xp.matrix_transpose(1.0 - sums))
    return xp.matrix_transpose(step)


def searched(xp: ModuleType, logits: Array, tolerance: float) -> tuple[Array, Array, Array]:
    """The limit to `tolerance`, its rows exact, the steps of each matrix and what they missed."""
    finite = xp.where(logits == -math.inf, math.inf, logits)
    extent = xp.max(logits, axis=(-2, -1)) - xp.min(finite, axis=(-2, -1))
    halvings = xp.ceil(xp.log2(xp.maximum(extent / EXTENT, xp.ones_like(extent))))
    logits = _log_softmax(xp, logits * (2.0**-halvings)[..., None, None], -2)
    steps = xp.zeros_like(halvings)
    seen = known(xp, logits)
    for _ in range(MOST if seen else UNSEEN):
        logits = _log_softmax(xp, logits, -1)
        matrix = xp.exp(logits)
        error = xp.max(xp.abs(xp.sum(matrix, axis=-2) - 1.0), axis=-1)
        done = (error <= tolerance) & (halvings == 0)
        if seen and bool(xp.all(done)):
            break
        step = _newton_step(xp, matrix)
        reach = xp.max(step, axis=-1, keepdims=True) - xp.min(step, axis=-1, keepdims=True)
        tiny = float(xp.finfo(step.dtype).smallest_normal)
        step = step * (xp.log1p(reach) / (reach + tiny))
        doubling = (error <= NEAR) & (halvings > 0)
        once = xp.astype(doubling, step.dtype)
        going = 1.0 - xp.astype(done, step.dtype)
        logits = (1.0 + once)[..., None, None] * (logits + going[..., None, None] * step)
        halvings, steps = halvings - once, steps + going
    logits = logits * (2.0**halvings)[..., None, None]  # 1 unless the steps ran out
    matrix = xp.exp(_log_softmax(xp, logits, -1))
    return matrix, steps, xp.max(xp.abs(xp.sum(matrix, axis=-2) - 1.0), axis=-1)


@projection(
    "sinkhorn-limit",
    "Limit of Sinkhorn–Knopp (Newton)",
    kind=ITERATIVE,
    short="Sinkhorn's limit",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    masks=True,
    weights=lambda n: 10 * n * n,
    cost="O(n³) a Newton step, 4 to 8 of them for tame logits",
    source=MHC.short,
    note="What Sinkhorn–Knopp tends to with ever more iterations: the doubly stochastic matrix "
    "nearest to exp of the logits in the sense of Kullback and Leibler. Newton's method finds it; "
    "the gradient is the limit's own.",
)
def _limit(xp: ModuleType, logits: Array) -> Array:
    return newton_limit(xp, logits)[0]

"""What is done to HC's own matrix, signs and all: a bound on its norm, or sums of 1 without one.

The two that fix the sums are controls.  They show that sums of 1 bound nothing while entries may be
negative: the paper's gain reads 1, and the worst case explodes.
"""

from __future__ import annotations

import math
from types import ModuleType

from .._arrays import Array, known
from ..paper import SPECTRAL_SPHERE
from .registry import CONTROLS, UNIT_NORM, projection
from .starts import evenly


@projection(
    "spectral",
    "Spectral norm at most 1",
    kind=UNIT_NORM,
    short="Spectral ball",
    takes_logits=False,
    nonnegative=False,
    unit_norm=True,
    start=evenly,
    weights=lambda n: 2 * n * n,
    cost="O(n³): singular values",
    source=SPECTRAL_SPHERE.short,
    note="HC's matrix, divided by its largest singular value where that exceeds 1. No signal "
    "grows, signs are allowed and no mean is conserved. The paper keeps matrices on the sphere of "
    "norm 1; here those inside the ball stay as they are.",
)
def _spectral(xp: ModuleType, matrix: Array) -> Array:
    # LAPACK refuses NaN, which is to pass through and stay in its matrix.
    sound = xp.where(xp.isfinite(matrix), matrix, xp.zeros_like(matrix))
    norms = xp.linalg.svdvals(sound)[..., :1, None]
    return matrix / xp.where(norms > 1, norms, xp.ones_like(norms))


@projection(
    "signed-rows",
    "Rows divided by their sums, signs kept",
    kind=CONTROLS,
    short="Signed rows",
    takes_logits=False,
    unit_rows=True,
    nonnegative=False,
    bounded=False,
    cost="O(n²)",
    note="HC's matrix, each row divided by its sum with no exponential before: the paper's forward "
    "gain is 1, and products explode nevertheless, because entries may be negative.",
)
def _signed_rows(xp: ModuleType, matrix: Array) -> Array:
    # A row of zeros, as at spread 0, becomes uniform, as a row of equal logits does.
    empty = xp.all(matrix == 0, axis=-1, keepdims=True)
    matrix = xp.where(empty, 1.0 / matrix.shape[-1], matrix)
    sums = xp.sum(matrix, axis=-1, keepdims=True)
    if math.prod(matrix.shape) and known(xp, matrix) and bool(xp.any(sums == 0)):
        raise ValueError(
            "projection 'signed-rows' divides each row by its sum, which must not be 0, but there "
            "is a row whose entries cancel"
        )
    return matrix / sums


@projection(
    "signed-sums",
    "All sums 1, signs kept",
    kind=CONTROLS,
    short="Signed sums",
    takes_logits=False,
    unit_rows=True,
    unit_columns=True,
    nonnegative=False,
    bounded=False,
    cost="O(n²)",
    note="The matrix nearest to HC's whose rows and columns all sum to 1. The paper's gain is 1 "
    "both ways at every depth, while the worst case explodes: sums of 1 bound only what is not "
    "negative.",
)
def _signed_sums(xp: ModuleType, matrix: Array) -> Array:
    rows = xp.mean(matrix, axis=-1, keepdims=True)
    columns = xp.mean(matrix, axis=-2, keepdims=True)
    whole = xp.mean(matrix, axis=(-2, -1), keepdims=True)
    # P H P + 1 1^T / n, P = I - 1 1^T / n.
    return matrix - rows - columns + (whole + 1.0 / matrix.shape[-1])

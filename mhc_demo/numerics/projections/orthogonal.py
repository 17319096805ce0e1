"""Orthogonal matrices, and their squared entries, which are doubly stochastic with no iteration.

The rows and columns of an orthogonal matrix have length 1, so the squares of its entries sum to 1
along both: an orthostochastic matrix.  Not every doubly stochastic matrix is one from n = 3 on.

At Q = I the squares of the entries off the diagonal have no gradient, being squares of 0.  So a
layer starts a little off the identity, where every logit above the diagonal has one.
"""

from __future__ import annotations

from types import ModuleType

from array_api_compat import device

from .._arrays import Array
from ..paper import GO_MHC, JPMHC, TOKENBENDER
from .registry import SQUARES, UNIT_NORM, projection
from .starts import above_the_diagonal, at_zero

POLISHING = 2
"""Newton-Schulz steps after a Cayley transform.  Each squares the error: 1e-3, in float32 at logits
of 1e4, becomes 1e-12."""

GROWING, SETTLING = 14, 4
"""Newton-Schulz steps of "polar-squares": those that raise small singular values threefold each,
and those that converge.  Together they take singular values from 1e-7 of the norm on to 1."""


def _identity_like(xp: ModuleType, matrix: Array) -> Array:
    return xp.eye(matrix.shape[-1], dtype=matrix.dtype, device=device(matrix))


def _cayley_of(xp: ModuleType, skew: Array) -> Array:
    """(I - A)(I + A)^-1 of skew-symmetric A, orthogonal to rounding.

    I + A is never singular.  Its condition is the size of A, and what that costs in orthogonality
    is put right by Newton-Schulz steps, which leave an orthogonal matrix and its gradient alone.
    """
    eye = _identity_like(xp, skew)
    q = xp.linalg.solve(eye + skew, eye - skew)  # the two commute
    for _ in range(POLISHING):
        q = _newton_schulz(xp, q)
    return q


def _newton_schulz(xp: ModuleType, q: Array) -> Array:
    """One step towards the nearest orthogonal matrix: singular values s become s (3 - s^2) / 2."""
    return 1.5 * q - 0.5 * (q @ (xp.matrix_transpose(q) @ q))


def _skew(xp: ModuleType, logits: Array) -> Array:
    return 0.5 * (logits - xp.matrix_transpose(logits))


@projection(
    "cayley-squares",
    "Orthostochastic (Cayley transform)",
    kind=SQUARES,
    short="Cayley squares",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    start=above_the_diagonal(0.0),
    weights=lambda n: 4 * n * n,
    cost="O(n³): one solve",
    source=f"{GO_MHC.short}, its case s = 1",
    note="The squares of the entries of (I − A)(I + A)⁻¹, A the antisymmetric half of the logits, "
    "which uses n(n − 1)/2 of the n² logits. Logits of 0 give I, where no entry off the diagonal "
    "has a gradient: a layer starts a little beside it.",
)
def _cayley_squares(xp: ModuleType, logits: Array) -> Array:
    q = _cayley_of(xp, _skew(xp, logits))
    return q * q


@projection(
    "polar-squares",
    "Orthostochastic (polar factor)",
    kind=SQUARES,
    short="Polar squares",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    start=above_the_diagonal(1.0),
    weights=lambda n: 20 * n * n,
    cost=f"O(n³): {3 * (GROWING + SETTLING) + 2} products",
    source=TOKENBENDER,
    note="The squares of the entries of the orthogonal matrix nearest to the logits, by "
    f"{GROWING + SETTLING + 1} Newton–Schulz steps; there, 5. The size of the logits does not "
    "matter. Where they are singular the nearest one is not unique, and below 1e-7 of their norm "
    "the steps do not reach it: what is missing of the sums is spread evenly.",
)
def _polar_squares(xp: ModuleType, logits: Array) -> Array:
    largest = xp.max(xp.abs(logits), axis=(-2, -1), keepdims=True)
    x = logits / xp.where(largest > 0, largest, xp.ones_like(largest))
    tiny = float(xp.finfo(x.dtype).smallest_normal)
    x = x / xp.sqrt(xp.sum(x * x, axis=(-2, -1), keepdims=True) + tiny)
    for _ in range(GROWING):
        x = _quintic(xp, x, 3.0, -3.2, 1.2)  # these coefficients are TOKENBENDER's
    for _ in range(SETTLING):
        x = _quintic(xp, x, 1.875, -1.25, 0.375)
    x = _newton_schulz(xp, x)  # after which no singular value exceeds 1
    return _completed(xp, x * x)


def _quintic(xp: ModuleType, x: Array, a: float, b: float, c: float) -> Array:
    """Singular values s become a s + b s^3 + c s^5."""
    gram = xp.matrix_transpose(x) @ x
    return a * x + x @ (b * gram + c * (gram @ gram))


def _completed(xp: ModuleType, matrix: Array) -> Array:
    """What is missing of the rows' and columns' sums, which are at most 1, spread over the rest.

    The matrix that is added has rank one.  Of squares of an orthogonal matrix nothing is missing.
    """
    zero = xp.zeros_like(matrix[..., :1, :1])
    rows = xp.maximum(1.0 - xp.sum(matrix, axis=-1, keepdims=True), zero)
    columns = xp.maximum(1.0 - xp.sum(matrix, axis=-2, keepdims=True), zero)
    whole = xp.maximum(
        xp.sum(rows, axis=-2, keepdims=True), xp.sum(columns, axis=-1, keepdims=True)
    )
    return matrix + rows * columns / xp.where(whole > 0, whole, xp.ones_like(whole))


@projection(
    "go-mhc",
    "go-mHC (generalised orthostochastic)",
    kind=SQUARES,
    short="go-mHC",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    start=above_the_diagonal(0.0),
    weights=lambda n: 12 * n * n,
    cost="O(n³): one solve of size 2n",
    source=GO_MHC.short,
    note="Half the sum of squares of each 2 × 2 block of an orthogonal 2n × 2n matrix (the "
    "paper's s is 2), which from n = 3 covers more of the doubly stochastic matrices than single "
    "squares do. The paper learns n(2n − 1) parameters; here the antisymmetric half K and the "
    "symmetric half S of the n² logits make that matrix the Cayley transform of K + iS, which is "
    "unitary.",
)
def _go_mhc(xp: ModuleType, logits: Array) -> Array:
    n = logits.shape[-1]
    skew = _skew(xp, logits)
    symmetric = 0.5 * (logits + xp.matrix_transpose(logits))
    doubled = xp.concat(
        [xp.concat([skew, -symmetric], axis=-1), xp.concat([symmetric, skew], axis=-1)], axis=-2
    )
    q = _cayley_of(xp, doubled)
    squares = q * q
    halves = squares[..., :n, :] + squares[..., n:, :]
    return 0.5 * (halves[..., :n] + halves[..., n:])


@projection(
    "cayley",
    "Orthogonal (Cayley transform)",
    kind=UNIT_NORM,
    short="Cayley",
    nonnegative=False,
    unit_norm=True,
    start=at_zero,
    weights=lambda n: 4 * n * n,
    cost="O(n³): one solve",
    source=JPMHC.short,
    note="(I − A)(I + A)⁻¹, A the antisymmetric half of the logits: no signal grows or shrinks and "
    "nothing collapses, but signs are allowed and no mean is conserved, so that the paper's gain "
    "and the worst case part company. Logits of 0 give I, where a layer starts; large ones come "
    "near −I, but for one direction if n is odd.",
)
def _cayley(xp: ModuleType, logits: Array) -> Array:
    return _cayley_of(xp, _skew(xp, logits))

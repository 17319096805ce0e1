"""Convex mixtures of permutation matrices, which are doubly stochastic with no iteration.

Of all n! permutations, or of a few that form a group: the n cyclic shifts, or the n permutations
that flip bits of a stream's index, whose mixtures with independent bits are Kronecker products.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import permutations
from types import ModuleType

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from .._arrays import Array, is_torch, known
from ..paper import KROMHC, MHC_LITE
from .registry import PERMUTATIONS, POWERS_OF_TWO, projection, up_to
from .softmax import softmax


@projection(
    "mhc-lite",
    "mHC-lite (permutation mixture)",
    kind=PERMUTATIONS,
    short="mHC-lite",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    masks=True,
    sizes=up_to(6),
    weights=math.factorial,
    cost="O(n! n²)",
    source=MHC_LITE.short,
    note="A softmax mixture of all n! permutation matrices, doubly stochastic "
    "with no iteration. The paper learns n! logits; here permutation p gets the sum of its n "
    "entries of the n × n logits, which is our adaptation.",
    leads=True,
)
def _mhc_lite(xp: ModuleType, logits: Array) -> Array:
    n = logits.shape[-1]
    vertices = xp.asarray(_permutation_matrices(n), dtype=logits.dtype, device=device(logits))
    flat = xp.reshape(logits, (*logits.shape[:-2], n * n))
    sums = _weighted_sums(xp, flat, xp.permute_dims(vertices, (1, 0)), n, "mhc-lite")
    weights = softmax(xp, sums, -1)
    return xp.reshape(weights @ vertices, logits.shape)


def _weighted_sums(xp: ModuleType, flat: Array, vertices: Array, n: int, name: str) -> Array:
    """The sum of each permutation's logits, (..., n * n) @ (n * n, count); -inf is a mask."""
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
            f"{name!r}, but there is a matrix without any"
        )
    return xp.where(none_left, math.nan, sums)


@cache
def _permutation_matrices(n: int) -> NDArray[np.float64]:
    """All n x n permutation matrices, flattened: (n!, n * n)."""
    return np.eye(n)[list(permutations(range(n)))].reshape(-1, n * n)


@projection(
    "kromhc",
    "KromHC (Kronecker product)",
    kind=PERMUTATIONS,
    short="KromHC",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    sizes=POWERS_OF_TWO,
    weights=lambda n: n * n * (n.bit_length() - 1),
    cost="O(n² log n)",
    source=KROMHC.short,
    note="The Kronecker product of log2 n doubly stochastic 2 × 2 matrices, each one number a with "
    "1 − a. The paper learns a for each factor; here the logit of a is the mean logit where two "
    "streams agree in that factor's bit less the mean where they differ, which gives a product's "
    "own logarithms back their product.",
)
def _kromhc(xp: ModuleType, logits: Array) -> Array:
    n = logits.shape[-1]
    matrix = xp.ones_like(logits)
    for flipped in _bits(n):
        flips = xp.asarray(flipped, dtype=logits.dtype, device=device(logits))
        half = n * n / 2
        means = [
            xp.sum(logits * mask, axis=(-2, -1), keepdims=True) / half
            for mask in (1.0 - flips, flips)
        ]
        factor = softmax(xp, xp.concat(means, axis=-1), -1)
        matrix = matrix * (factor[..., :1] * (1.0 - flips) + factor[..., 1:] * flips)
    return matrix


@cache
def _bits(n: int) -> tuple[NDArray[np.float64], ...]:
    """For each bit of a stream's index, where row and column differ in it: (n, n) of 0 and 1."""
    differ = np.arange(n)[:, None] ^ np.arange(n)
    return tuple((differ >> bit & 1).astype(np.float64) for bit in range(n.bit_length() - 1))


@projection(
    "circulant",
    "Circulant (cyclic shifts)",
    kind=PERMUTATIONS,
    short="Circulant",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    masks=True,
    weights=lambda n: n,
    cost="O(n²) and one softmax over n",
    note="A softmax mixture of the n cyclic shifts, one of the smallest sets of permutations that "
    "lead from every stream to every other. The logit of a shift is the mean of its n entries of "
    "the n × n logits, not their sum as in mHC-lite, so that a circulant matrix is the projection "
    "of its own logarithms. We know no paper that proposes it.",
)
def _circulant(xp: ModuleType, logits: Array) -> Array:
    n = logits.shape[-1]
    shifts = xp.asarray(_cyclic_shifts(n), dtype=logits.dtype, device=device(logits))
    flat = xp.reshape(logits, (*logits.shape[:-2], n * n))
    sums = _weighted_sums(xp, flat, xp.permute_dims(shifts, (1, 0)), n, "circulant")
    return xp.reshape(softmax(xp, sums / n, -1) @ shifts, logits.shape)


@cache
def _cyclic_shifts(n: int) -> NDArray[np.float64]:
    """The n cyclic shifts as matrices, flattened: (n, n * n)."""
    return np.stack([np.roll(np.eye(n), k, axis=1) for k in range(n)]).reshape(n, n * n)

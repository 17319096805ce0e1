"""Convex mixtures of permutation matrices, which are doubly stochastic with no iteration."""

from __future__ import annotations

import math
from functools import cache
from itertools import permutations
from types import ModuleType

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from .._arrays import Array, is_torch, known
from ..paper import MHC_LITE
from .registry import projection, up_to
from .softmax import softmax


@projection(
    "mhc-lite",
    "mHC-lite (permutation mixture)",
    short="mHC-lite",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    sizes=up_to(6),
    weights=math.factorial,
    source=MHC_LITE.short,
    note=f"A softmax mixture of all n! permutation matrices ({MHC_LITE.number}), doubly stochastic "
    "with no iteration. The paper learns n! logits; here permutation p gets the sum of its n "
    "entries of the n x n logits, which is our adaptation.",
    leads=True,
)
def _mhc_lite(xp: ModuleType, logits: Array) -> Array:
    n = logits.shape[-1]
    vertices = xp.asarray(_permutation_matrices(n), dtype=logits.dtype, device=device(logits))
    flat = xp.reshape(logits, (*logits.shape[:-2], n * n))
    sums = _weighted_sums(xp, flat, xp.permute_dims(vertices, (1, 0)), n)
    weights = softmax(xp, sums, -1)
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

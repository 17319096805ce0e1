"""How sharp the logits are, and how many Sinkhorn iterations they need.

A projected matrix remembers its logits: Sinkhorn-Knopp only multiplies rows and columns of
exp(logits), so log H_res is the logits up to a number for each row and one for each column.  With
the means of rows and columns taken out the two are equal, to the rounding of the smallest entry.
So what can be said of the logits can be said of any positive H_res, whoever recorded it.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..numerics.comparison import distance_from_doubly_stochastic
from ..numerics.projections import PAPER_ITERATIONS, PROJECTIONS

if TYPE_CHECKING:
    from .choosing import Reading

ENOUGH = 0.01
"""Iterations are enough that bring every sum of rows and columns within this of 1."""
PATIENCE = 200
"""Iterations that are tried; logits that need more have infinitely many in the table."""
TRIED = 2**12
"""Matrices of which iterations are counted, evenly spaced over the tokens."""
USUAL = PAPER_ITERATIONS


def logit_columns(reading: Reading, stochastic: bool) -> dict[str, tuple[str, object]]:
    """Of each layer `largest_logit`, `iterations_needed` and `error_left`; NaN if not known.

    - `largest_logit`: the largest |logit| over entries and tokens, the means of rows and columns
      taken out.
    - `iterations_needed`: how many iterations bring the sums within `ENOUGH` of 1, for the token
      that needs most of those that are tried.
    - `error_left`: the largest |sum - 1| that `USUAL` iterations leave of those.
    """
    depth = reading.matrices.shape[1]
    names = ("largest_logit", "iterations_needed", "error_left")
    unknown = np.full(depth, math.nan)
    if reading.logits is None and not stochastic:
        return dict.fromkeys(names, ("layer", unknown))
    tokens = len(reading.matrices)
    at = np.unique(np.linspace(0, tokens - 1, min(tokens, max(1, TRIED // depth))).astype(int))
    if reading.logits is not None:
        logits = np.asarray(reading.logits[at], np.float64)
    else:
        logits = recovered(np.asarray(reading.matrices[at], np.float64))
    known = np.isfinite(logits).all(axis=(0, 2, 3))
    found = {name: unknown.copy() for name in names}
    if known.any():
        needed, error = counted(logits[:, known])
        found["largest_logit"][known] = np.abs(centred(logits[:, known])).max(axis=(0, 2, 3))
        found["iterations_needed"][known] = needed
        found["error_left"][known] = error
    return {name: ("layer", values) for name, values in found.items()}


def recovered(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The centred logits of projected matrices (..., n, n); NaN where an entry is 0."""
    positive = (matrices > 0).all(axis=(-2, -1), keepdims=True)
    return centred(np.log(np.where(positive, matrices, math.nan)))


def centred(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits (..., n, n) without the means of rows and columns, which no iteration sees."""
    without = logits - logits.mean(axis=-1, keepdims=True)
    return without - without.mean(axis=-2, keepdims=True)


def counted(
    logits: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many iterations logits (tokens, layers, n, n) need, and what `USUAL` ones leave.

    Each is the worst over the tokens, shape (layers,).
    """
    needed = np.full(logits.shape[1], math.inf)
    left = np.full(logits.shape[1], math.nan)
    iterates = PROJECTIONS["sinkhorn"].function(np, logits)
    for t, matrices in enumerate(islice(iterates, PATIENCE), start=1):
        error = distance_from_doubly_stochastic(matrices).max(axis=0)
        needed = np.where((error < ENOUGH) & np.isinf(needed), float(t), needed)
        if t <= USUAL:
            left = error
        if t >= USUAL and np.isfinite(needed).all():
            break
    return needed, left

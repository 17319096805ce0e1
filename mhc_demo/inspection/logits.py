"""How sharp the logits are, and how many Sinkhorn iterations they need.

A projected matrix remembers its logits: Sinkhorn-Knopp only multiplies rows and columns of
exp(logits), so log H_res is the logits up to a number for each row and one for each column.  With
the means of rows and columns taken out the two are equal, to the rounding of the smallest entry.
So what can be said of the logits can be said of any positive H_res, whoever recorded it.  Logits
that were recorded or read are better still, as entries of sharp ones are lost in rounding and eps;
but only where H_res is their Sinkhorn projection, and not another one.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..numerics.comparison import distance_from_doubly_stochastic
from ..numerics.contraction import centred
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
SAME = 0.02
"""How far apart entries may be of H_res and of an iterate, at most, for one to be the other."""


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
    matrices = np.asarray(reading.matrices[at], np.float64)
    if reading.logits is not None:
        logits = np.asarray(reading.logits[at], np.float64)
    else:
        logits = recovered(matrices)
    known = np.isfinite(logits).all(axis=(0, 2, 3))
    found = {name: unknown.copy() for name in names}
    if known.any():
        logits, matrices = logits[:, known], matrices[:, known]
        needed, error, theirs = counted(logits, matrices)
        sharpest = np.abs(centred(logits)).max(axis=(0, 2, 3))
        for name, values in zip(names, (sharpest, needed, error), strict=True):
            found[name][known] = np.where(theirs, values, math.nan)
    return {name: ("layer", values) for name, values in found.items()}


def recovered(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The centred logits of projected matrices (..., n, n); NaN where an entry is 0."""
    positive = (matrices > 0).all(axis=(-2, -1), keepdims=True)
    return centred(np.log(np.where(positive, matrices, math.nan)))


def counted(
    logits: NDArray[np.float64], matrices: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """How many iterations logits (tokens, layers, n, n) need, and what `USUAL` ones leave.

    Each is the worst over the tokens, shape (layers,).  The third: whether `matrices` are one of
    these iterates.
    """
    needed = np.full(logits.shape[1], math.inf)
    left = np.full(logits.shape[1], math.nan)
    apart = np.full(logits.shape[1], math.inf)
    iterates = PROJECTIONS["sinkhorn"].function(np, logits)
    for t, iterate in enumerate(islice(iterates, PATIENCE), start=1):
        error = distance_from_doubly_stochastic(iterate).max(axis=0)
        apart = np.minimum(apart, np.abs(iterate - matrices).max(axis=(0, 2, 3)))
        needed = np.where((error < ENOUGH) & np.isinf(needed), float(t), needed)
        if t <= USUAL:
            left = error
        if t >= USUAL and np.isfinite(needed).all():
            break
    return needed, left, apart < SAME

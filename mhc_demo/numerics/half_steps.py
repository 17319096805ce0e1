"""Sinkhorn at work: one matrix, and every half step of an iterating projection on its way.

A projection (`projections/`) yields whole iterations, which is all that networks need.  A reader
who wants to see why the sums become 1 needs what lies between: the logits, exp, columns divided,
rows divided, and how fast the error falls.  One matrix is small, so this is NumPy's float64 and
nothing else.

Entries can be beyond any float (exp of a logit of 10^4), so a step is kept as a matrix and a power
of ten that multiplies it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ._arrays import Array, choice, square_matrices, whole_number
from .comparison import distance_from_doubly_stochastic
from .contraction import logit_range
from .projections import PROJECTIONS, Projection
from .surface import MAX_ITERATIONS

PATIENCE = 1000
"""Iterations after which a limit that is not reached is no longer waited for."""

ROUNDING = 1e-14
"""By how much eight iterations move an entry when rounding alone is left, at n = 16."""

SETTLED = 1e-9
"""The same when the limit is known to six digits, even if an iteration takes 1 % off the error."""


NEAR = 1e-3
"""How far from 1 the sums of a limit may be.  Of logits that are thousands apart the entries are 0
and 1 and stand still for thousands of iterations, while only their logarithms move."""


def half_steps(
    logits: Array, projection: str = "sinkhorn", iterations: int = MAX_ITERATIONS
) -> xr.Dataset:
    """What happens to one n x n matrix of logits on its way through a projection.

    Dimensions: `step` 0, 1, ... (the logits, exp, then half after half, or the result alone of a
    projection that does not iterate), `row` and `column` 1 ... n.  Variables:

    - `mantissa` (step, row, column) and `power` (step): the matrix is mantissa * 10**power.
    - `row_sum` (step, row), `column_sum` (step, column): of the mantissa.
    - `name` (step): "logits", "exp", "columns", "rows" ..., and `what`, the same in words.
    - `iteration` (step): whole iterations done; `whole` (step): whether this step ends one.
    - `error` (step): the largest |row sum - 1| or |column sum - 1|; infinite beyond any float.

    Attributes: `projection`, `iterative`, and, if it iterates, `logit_range` (`contraction.py`),
    `second_singular_value` of the limit (of "blend", of what it blends), `limit_error` (0 but for
    rounding and the released eps) and `converged`, 0 where `PATIENCE` iterations do not reach the
    limit and the last two numbers are those of the last one.

    The error falls by the square of that singular value per iteration in the end.

    >>> steps = half_steps([[1.0, 0.0], [0.0, 1.0]], iterations=2)
    >>> [str(name) for name in steps["name"].values]
    ['logits', 'exp', 'columns', 'rows', 'columns', 'rows']

    Raises ValueError or TypeError for an unknown projection, more streams than it can take,
    iterations < 1, and whatever is not one finite square matrix.
    """
    chosen = PROJECTIONS[choice("projection", projection, PROJECTIONS)]
    iterations = whole_number("iterations", iterations, 1)
    _, given = square_matrices(logits, "logits")
    matrix = np.asarray(given, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"logits must be one matrix, shape (n, n), not shape {matrix.shape}")
    chosen.check(len(matrix))
    taken = [
        ("logits", "the logits" if chosen.takes_logits else "the matrix of HC", matrix, 0.0, 0),
        *_steps(chosen, matrix, iterations),
    ]
    names, what, matrices, log10s, done = zip(*taken, strict=True)
    mantissa, power = scaled(np.stack(matrices), np.array(log10s))
    factor = np.where(power < 300, 10.0 ** np.minimum(power, 300), math.inf)
    sums = {"row_sum": mantissa.sum(axis=2), "column_sum": mantissa.sum(axis=1)}
    with np.errstate(invalid="ignore"):  # 0 * inf
        true = [np.where(s == 0, 0.0, s * factor[:, None]) for s in sums.values()]
    off = [abs(each - 1) for each in true]
    counts = np.array(done)
    n = np.arange(1, len(matrix) + 1)
    return xr.Dataset(
        {
            "mantissa": (("step", "row", "column"), mantissa),
            "power": ("step", power),
            "row_sum": (("step", "row"), sums["row_sum"]),
            "column_sum": (("step", "column"), sums["column_sum"]),
            "name": ("step", list(names)),
            "what": ("step", list(what)),
            "iteration": ("step", counts),
            "whole": ("step", np.diff(counts, prepend=0) > 0),
            "error": ("step", np.maximum(*(each.max(axis=1) for each in off))),
        },
        coords={"step": np.arange(len(taken)), "row": n, "column": n},
        attrs={
            "projection": projection,
            "iterative": int(chosen.iterative),
            **(_limit_of(chosen, matrix) if chosen.iterative else {}),
        },
    )


Taken = tuple[str, str, NDArray[np.float64], float, int]
"""Name, words, matrix, log10 of a factor of the matrix, whole iterations done."""


def _steps(chosen: Projection, logits: NDArray[np.float64], iterations: int) -> Iterator[Taken]:
    """All steps after the logits."""
    if not chosen.iterative:
        yield chosen.name, chosen.title, chosen.function(np, logits), 0.0, 1
        return
    largest = float(logits.max())
    exp = np.exp(logits - largest)
    yield "exp", "exp of each logit makes every entry positive", exp, largest / math.log(10), 0
    if chosen.halves is None:  # only its whole iterations are known
        for t, matrix in enumerate(islice(chosen.function(np, logits), iterations), start=1):
            yield "iteration", "one iteration", matrix, 0.0, t
        return
    per_iteration = len(chosen.halves.names)
    halves = islice(chosen.halves.function(np, logits), per_iteration * iterations)
    for k, matrix in enumerate(halves):
        place = k % per_iteration
        name, t = chosen.halves.names[place], k // per_iteration
        first = chosen.halves.first if k < len(chosen.halves.first) else chosen.halves.words
        yield name, first[place], matrix, 0.0, t + (place == per_iteration - 1)


def scaled(
    matrices: NDArray[np.float64], log10: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices (..., n, n) times 10**log10 as mantissa (..., n, n) and power of ten (...).

    The power is 0 where the largest entry lies between 0.01 and 1000, and can be read as it is.
    """
    largest = np.abs(matrices).max(axis=(-2, -1))
    magnitude = np.log10(np.where(largest == 0, 1.0, largest)) + log10
    power = np.where((magnitude >= -2) & (magnitude < 3), 0.0, np.floor(magnitude))
    return matrices * (10.0 ** (log10 - power))[..., None, None], power


def _limit_of(chosen: Projection, logits: NDArray[np.float64]) -> dict[str, float]:
    """The attributes of the limit of an iteration, or of the one that runs inside it."""
    inner = PROJECTIONS[chosen.balances] if chosen.balances else chosen
    matrix = before = logits
    moved = math.inf
    for t, matrix in enumerate(islice(inner.function(np, logits), PATIENCE)):
        if t % 8 == 0:  # seldom enough that looking costs little
            moved = float(np.abs(matrix - before).max()) if t else math.inf
            before = matrix
            if moved < ROUNDING and distance_from_doubly_stochastic(matrix) < NEAR:
                break
    off = float(distance_from_doubly_stochastic(matrix))
    return {
        "logit_range": float(logit_range(logits)),
        "second_singular_value": _second_singular_value(matrix),
        "limit_error": off,
        "converged": int(moved < SETTLED and off < NEAR),
    }


def _second_singular_value(matrix: NDArray[np.float64]) -> float:
    """0 for a 1 x 1 matrix, which has none."""
    return float(np.linalg.svd(matrix, compute_uv=False)[1]) if len(matrix) > 1 else 0.0

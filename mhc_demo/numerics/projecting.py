"""Applying a projection: with any array library, or in PyTorch with the fused operator.

`projections` specifies the projections in code that every array library runs.  The functions here
are those that users call: they check their arguments and choose the implementation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from types import ModuleType
from typing import NamedTuple

from ._arrays import (
    Array,
    choice,
    has_masks,
    is_torch,
    known,
    nonnegative,
    square_matrices,
    whole_number,
    widened,
)
from .projections import PAPER_ITERATIONS, PROJECTIONS, Projection
from .projections.limit import TOLERANCE, newton_limit


def project(
    logits: Array,
    projection: str = "sinkhorn",
    iterations: int = PAPER_ITERATIONS,
    *,
    eps: float | None = None,
) -> Array:
    """The projection of each matrix of `logits`, shape (..., n, n), as the same kind of array.

    `iterations` counts full iterations (for Sinkhorn-Knopp: columns, then rows); 0 returns the
    input itself, which is HC.  Projections that do not iterate ignore any other count.  `eps` is
    for "released", whose implementations differ in it: DeepSeek's is 1e-6.

    >>> import numpy as np
    >>> bool(np.allclose(project(np.zeros((3, 4, 4)), "mhc-lite"), 1 / 4))
    True

    A logit of -inf masks its entry, which is then 0 (of "released", some eps), where the projection
    says that it knows masks (`PROJECTIONS[name].masks`).  Each row and column must keep an entry
    that is not masked.

    JAX's arrays are projected under `jit`, `grad` and `vmap` too.

    Raises ValueError or TypeError for an unknown name, iterations < 0, matrices that are not
    square or neither finite nor masked, a row or column that is masked altogether, more streams
    than the projection can take, and an eps that it does not.  What is traced (`jax.jit`,
    `torch.compile`) or on a GPU is not checked for that, nor a PyTorch tensor for NaN.  There, such
    a matrix comes out as NaN or as something that is not stochastic.
    """
    chosen = PROJECTIONS[choice("projection", projection, PROJECTIONS)]
    iterations = whole_number("iterations", iterations, 0)
    eps = checked_eps(chosen, eps)
    xp, logits = _taken(chosen, logits)
    return projected(xp, chosen, logits, iterations, eps)


def _taken(chosen: Projection, logits: Array) -> tuple[ModuleType, Array]:
    """`logits` with their namespace, if the projection takes such; otherwise ValueError."""
    xp, logits = square_matrices(logits, "logits", masks=chosen.takes_logits)
    chosen.check(logits.shape[-1])
    if chosen.takes_logits and not chosen.masks and has_masks(xp, logits):
        those = ", ".join(repr(p.name) for p in PROJECTIONS.values() if p.masks)
        raise ValueError(
            f"logits must be finite for projection {chosen.name!r}, which has no meaning for a "
            f"masked entry (-inf); those that have are {those}"
        )
    return xp, logits


def checked_eps(chosen: Projection, eps: float | None) -> float | None:
    """`eps` as a float >= 0, or None for the projection's own; ValueError if it takes none."""
    if eps is None:
        return None
    if chosen.eps is None:
        takers = ", ".join(repr(each.name) for each in PROJECTIONS.values() if each.eps is not None)
        raise ValueError(f"eps goes with projection {takers}, not with {chosen.name!r}")
    return nonnegative("eps", eps)


def projected(
    xp: ModuleType, chosen: Projection, logits: Array, iterations: int, eps: float | None = None
) -> Array:
    """`project` without any checks, as a layer calls it in every step of training.

    NaN passes through: checking for it would stall a GPU.
    """
    if iterations == 0:
        return logits
    if chosen.fused is not None and is_torch(xp):
        from .kernels.sinkhorn import sinkhorn  # imports PyTorch, as the caller has already done

        own = chosen.fused if eps is None else {**chosen.fused, "eps": eps}
        return sinkhorn(logits, iterations, **own)
    dtype = logits.dtype
    logits = widened(xp, logits)
    further = () if eps is None else (eps,)
    result = chosen.function(xp, logits, *further)
    if chosen.iterative:
        result = next(islice(result, iterations - 1, None))
    return xp.astype(result, dtype, copy=False)


def sinkhorn_knopp(
    logits: Array, iterations: int = PAPER_ITERATIONS, *, order: str = "columns"
) -> Array:
    """Sinkhorn-Knopp, shape (..., n, n) -> (..., n, n) (Eq. 8, 9).

    exp, then `iterations` times: divide each column by its sum, then each row by its sum.  The
    rows of the result sum to 1 exactly (to rounding); the columns only in the limit.  0
    iterations return the input.  Always finite, non-negative and row-stochastic, for logits up
    to +-1e4 and beyond.

    That is the paper's order, "columns" first; `order="rows"` takes rows first and columns
    second, as several public implementations do.

    A PyTorch tensor is projected on its own device (on CUDA by a Triton kernel, if Triton is
    installed), differentiably: the gradient is that of the truncated iteration.

    Raises ValueError or TypeError as `project` does, and for an unknown order.
    """
    chosen = PROJECTIONS["sinkhorn"]
    iterations = whole_number("iterations", iterations, 0)
    xp, logits = square_matrices(logits, "logits", masks=True)
    if choice("order", order, ("columns", "rows")) == "columns":
        return projected(xp, chosen, logits, iterations)
    if iterations and is_torch(xp):
        from .kernels.sinkhorn import sinkhorn

        return sinkhorn(logits, iterations, rows_first=True)
    transposed = projected(xp, chosen, xp.matrix_transpose(logits), iterations)
    return xp.matrix_transpose(transposed)


class Limit(NamedTuple):
    """What `sinkhorn_limit` finds."""

    matrix: Array
    """(..., n, n), doubly stochastic."""
    steps: Array
    """(...), Newton steps that it took."""
    error: Array
    """(...), the largest |column sum - 1|; the rows are right to rounding."""


def sinkhorn_limit(logits: Array, *, tolerance: float = TOLERANCE) -> Limit:
    """The limit of Sinkhorn-Knopp, shape (..., n, n), by Newton's method on its dual.

    It is what `sinkhorn_knopp` tends to with ever more iterations, and is found to `tolerance`
    (of the column sums, at least 1e-14) in 4 to 12 steps for logits of spread up to 5, in some 40
    at most for spread 1e4.  A PyTorch tensor or an array of JAX is projected differentiably, up to
    third derivatives: the gradient is that of the limit (implicit function theorem), not of the
    steps.  The work is done in float64, and JAX's in its own dtype.

    >>> import numpy as np
    >>> found = sinkhorn_limit(np.log([[1.0, 2.0], [3.0, 4.0]]))
    >>> bool(np.allclose(found.matrix.sum(0), 1) and found.steps < 8)
    True

    A logit of -inf masks its entry.  Where masks leave no entry but 0 to balance another, the limit
    has zeros that no mask put there, as that of [[0, 0], [-inf, 0]], the identity.

    Raises ValueError or TypeError as `project` does, for a tolerance that is no number of at least
    1e-14, and if masks leave no permutation, for which there is no limit (NaN in PyTorch).  Under a
    compiler (`jax.jit`, `torch.compile`) 24 steps are taken, which is enough up to spread 8.
    """
    tolerance = nonnegative("tolerance", tolerance)
    if tolerance < TOLERANCE:
        raise ValueError(f"tolerance must be at least {TOLERANCE:g}, not {tolerance:g}")
    xp, logits = square_matrices(logits, "logits", masks=True)
    return Limit(*newton_limit(xp, widened(xp, logits), tolerance))


def iterates(logits: Array, projection: str, count: int) -> Iterator[Array]:
    """The results of `project` for iterations 1, ..., count, one after another.

    A projection that does not iterate yields its single result once, or nothing for count 0.
    """
    chosen = PROJECTIONS[choice("projection", projection, PROJECTIONS)]
    xp, logits = _taken(chosen, logits)
    if chosen.fused is not None and is_torch(xp):
        from .kernels.sinkhorn import has_kernel, sinkhorn

        # Each count from the start: a kernel moves a matrix twice, a generator's step six times.
        if known(xp, logits) and has_kernel(logits):
            yield from (sinkhorn(logits, t, **chosen.fused) for t in range(1, count + 1))
            return
    wide = widened(xp, logits)
    if chosen.iterative:
        results = chosen.function(xp, wide)
    else:
        results = (chosen.function(xp, wide) for _ in range(1))
    yield from (xp.astype(each, logits.dtype, copy=False) for each in islice(results, count))

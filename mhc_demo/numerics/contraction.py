"""How sharp logits are, and how fast Sinkhorn's iteration must converge for that.

In Hilbert's projective metric a positive matrix contracts by kappa = tanh(range / 4) at least, with
`range` how far its logits differ across rows and columns (Birkhoff, Trans. AMS 85, 1957).  One
Sinkhorn iteration applies the matrix and its transpose, so that what is left of the error shrinks
by kappa^2 at least (Franklin and Lorenz, Linear Algebra Appl. 114/115, 1989).  That is a bound:
the true rate, in the end, is the square of the limit's second singular value (Knight, SIAM J.
Matrix Anal. Appl. 30, 2008), which only the limit tells.
"""

from __future__ import annotations

import math
from numbers import Real

from array_api_compat import array_namespace

from ._arrays import Array, square_matrices, widened
from .metrics import diameter
from .projecting import iterates


def logit_range(logits: Array) -> Array:
    """The range of logits that an iteration sees, (..., n, n) -> (...), in nats.

    max over i, j, k, l of L_ij - L_il - L_kj + L_kl: numbers added to whole rows or columns, which
    Sinkhorn takes away again, do not count.  It is the metric "logit_range" of any projection of
    these logits.  Infinite if a logit is -inf.

    >>> float(logit_range([[1.0, 0.0], [0.0, 1.0]]))
    2.0

    Raises ValueError or TypeError for logits that are not square or not finite (but for -inf).
    """
    xp, logits = square_matrices(logits, "logits", masks=True)
    logits = widened(xp, logits)
    masked = logits == -math.inf
    found = diameter(xp, xp.where(masked, 0.0, logits))
    return xp.where(xp.any(masked, axis=(-2, -1)), math.inf, found)


def iterations_bound(logits: Array, error: float = 0.01) -> Array:
    """Sinkhorn iterations that are enough for an error, (..., n, n) -> (...), as whole numbers.

    After so many, by Franklin and Lorenz's bound, no row or column sum is further than `error` from
    1.  The column sums c after the first iteration are computed; from there max ln c - min ln c
    shrinks by kappa^2 = tanh(range / 4)^2 each time.  Mostly far fewer are needed.  Infinite if a
    logit is -inf, or kappa is 1 to the precision of the dtype.

    >>> float(iterations_bound([[1.0, 0.0], [0.0, 1.0]]))
    1.0

    Raises ValueError or TypeError as `logit_range` does, and for an error that is not above 0.
    """
    if isinstance(error, bool) or not isinstance(error, Real):
        raise TypeError(f"error must be a number, not {error!r}")
    if not 0 < error < math.inf:
        raise ValueError(f"error must be above 0 and finite, not {error}")
    spread = logit_range(logits)
    xp = array_namespace(spread)
    kappa = xp.tanh(0.25 * spread)
    first = next(iterates(logits, "sinkhorn", 1))
    sums = xp.sum(widened(xp, first), axis=-2)
    left = xp.log(xp.max(sums, axis=-1)) - xp.log(xp.min(sums, axis=-1))
    # Rounding alone has no rate; and where kappa is 1, there is none to divide by.
    small, stuck = left <= math.log1p(error), kappa >= 1
    pace = -2.0 * xp.log(xp.where(stuck | (kappa == 0), 0.5, kappa))
    more = xp.ceil(xp.log(xp.where(small, 1.0, left) / math.log1p(error)) / pace)
    return xp.where(small, 1.0, xp.where(stuck, math.inf, 1.0 + xp.clip(more, 0.0, None)))


def centred(logits: Array) -> Array:
    """Logits (..., n, n) without the means of rows and columns, which no iteration sees."""
    xp = array_namespace(logits)
    without = logits - xp.mean(logits, axis=-1, keepdims=True)
    return without - xp.mean(without, axis=-2, keepdims=True)

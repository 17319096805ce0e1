"""Measures by which ways of mixing are told apart, each one function.

A gain says how large a product becomes.  The measures here say what it has made of the streams: how
much of their differences is left, whatever the scale; how little the weakest stream or gradient
gets; how evenly a row reads.  Each takes matrices (..., n, n) of any array library.  Whether it
can be asked of a product that nothing bounds depends on what the scale does to it, and a metric
says so: see `Metric`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from array_api_compat import device

from ._arrays import Array, square_matrices, widened

METRICS: dict[str, Metric] = {}
"""Every metric by its name, in the order of `GROUPS`."""

GROUPS = {
    "differences": "Differences left between streams",
    "relative": "Differences left, relative to the whole",
    "size": "How much it amplifies, and attenuates",
    "entries": "How evenly it reads, for entries that are not negative",
}
"""The heading of each group of metrics."""

LOG10_2 = math.log10(2.0)


@dataclass(frozen=True)
class Metric:
    """A number that says what a matrix does to the streams."""

    name: str
    title: str
    function: Callable[[ModuleType, Array], Array]
    note: str
    group: str
    """One of `GROUPS`."""
    plotted: bool = False
    """Whether the mixing plot shows it, where 0 means that all streams are alike."""
    scale_free: bool = False
    """Whether it ignores the scale, and so says something of unbounded products too."""
    homogeneous: bool = False
    """Whether it is c times as large for c times the matrix; then `log10` can be asked of any."""
    signed: bool = True
    """Whether it is known where entries are negative; if not, it is NaN there."""
    compared: str = ""
    """Of what the comparison of all projections gives it: "layer", of single ones, or "composite";
    if empty, it does not."""

    def __call__(self, matrices: Array) -> Array:
        """The metric of each matrix, shape (..., n, n) -> (...)."""
        xp, matrices = square_matrices(matrices, "matrices")
        return self.function(xp, widened(xp, matrices))

    def log10(self, mantissa: Array, exponent: Array) -> Array:
        """log10 of the metric of mantissa * 2**exponent, (..., n, n) and (...) -> (...).

        It never overflows: see `gains.Composite`, whose parts these are.  -inf where it is 0.
        Raises ValueError for a metric that is not `homogeneous`.
        """
        if not self.homogeneous:
            named = ", ".join(repr(m.name) for m in METRICS.values() if m.homogeneous)
            raise ValueError(
                f"{self.name!r} does not grow with its matrix, so that its log10 cannot be told "
                f"from mantissa and exponent; {named} do"
            )
        xp, mantissa = square_matrices(mantissa, "mantissa")
        value = self.function(xp, widened(xp, mantissa))
        zero = value == 0
        power = LOG10_2 * xp.astype(xp.asarray(exponent), value.dtype)
        return xp.where(zero, -math.inf, xp.log10(xp.where(zero, 1.0, value)) + power)


def metric(
    name: str, title: str, group: str, note: str, **options: Any
) -> Callable[[Callable], Callable]:
    """Register a function (xp, matrices (..., n, n)) -> (...)."""

    def register(function: Callable) -> Callable:
        METRICS[name] = Metric(name, title, function, note, group, **options)
        return function

    return register


# Differences left: they compare with a stochastic matrix, which keeps what all streams share


@metric(
    "second_singular_value",
    "Second singular value",
    "differences",
    "Of a doubly stochastic matrix, how strongly the best-preserved difference between streams "
    "survives; 1 for a permutation, "
    "0 for the uniform matrix. 0 at n = 1, where there is no second stream.",
    plotted=True,
    homogeneous=True,
    compared="layer",
)
def _second_singular_value(xp: ModuleType, matrices: Array) -> Array:
    return _second(xp, matrices, xp.linalg.svdvals(matrices))


@metric(
    "second_eigenvalue",
    "Second eigenvalue",
    "differences",
    "|λ₂|, the second-largest modulus of an eigenvalue: the rate at which one layer, applied again "
    "and again, would fade differences. A single step may do less: of a doubly stochastic matrix "
    "the second singular value bounds what is left.",
    homogeneous=True,
)
def _second_eigenvalue(xp: ModuleType, matrices: Array) -> Array:
    return _second(xp, matrices, _moduli(xp, matrices))


@metric(
    "stream_disagreement",
    "Stream disagreement",
    "differences",
    "Dobrushin’s coefficient (1956): half the 1-norm between the two most different rows. For a "
    "row-stochastic matrix 0 means that every stream carries the same mixture, 1 that two "
    "streams share nothing.",
    plotted=True,
    homogeneous=True,
)
def _stream_disagreement(xp: ModuleType, matrices: Array) -> Array:
    # One offset between rows at a time: all pairs at once would take n times the memory.
    largest = xp.zeros(matrices.shape[:-2], dtype=matrices.dtype, device=device(matrices))
    for offset in range(1, matrices.shape[-1] // 2 + 1):
        difference = xp.abs(matrices - xp.roll(matrices, offset, axis=-2))
        largest = xp.maximum(largest, xp.max(xp.sum(difference, axis=-1), axis=-1))
    return 0.5 * largest


@metric(
    "uniform_distance",
    "Distance from uniform",
    "differences",
    "Frobenius distance from the matrix with 1/n everywhere: 0 when every stream has become the "
    "average of all, sqrt(n - 1) for a permutation.",
    plotted=True,
)
def _uniform_distance(xp: ModuleType, matrices: Array) -> Array:
    offset = matrices - 1.0 / matrices.shape[-1]
    return xp.sqrt(xp.sum(offset * offset, axis=(-2, -1)))


# The same whatever the scale, so that HC and mHC stand on one


@metric(
    "effective_streams",
    "Effective number of streams",
    "relative",
    "Participation ratio of the squared singular values, (sum s^2)^2 / sum s^4: n for a "
    "permutation, 1 when all streams are multiples of one. It ignores the scale.",
    scale_free=True,
    compared="composite",
)
def _effective_streams(xp: ModuleType, matrices: Array) -> Array:
    squares = xp.linalg.svdvals(_unscaled(xp, matrices)) ** 2
    total = xp.sum(squares, axis=-1)
    fourth = xp.sum(squares * squares, axis=-1)
    return total * total / xp.where(fourth == 0, 1.0, fourth)


@metric(
    "singular_ratio",
    "Second to first singular value",
    "relative",
    "s₂/s₁: what is left of a difference beside the direction that is amplified most; 0 when "
    "all streams are multiples of one. Over layers it falls at the distance of the first two "
    "Lyapunov exponents.",
    scale_free=True,
)
def _singular_ratio(xp: ModuleType, matrices: Array) -> Array:
    return _second_to_first(xp, matrices, xp.linalg.svdvals(_unscaled(xp, matrices)))


@metric(
    "spectral_gap",
    "Spectral gap",
    "relative",
    "1 − |λ₂|/|λ₁|, from the moduli of the eigenvalues: 0 if some difference would never fade, 1 "
    "if all were gone after n − 1 repetitions. It speaks of one matrix repeated; layers differ, "
    "so of a product use its singular values.",
    scale_free=True,
)
def _spectral_gap(xp: ModuleType, matrices: Array) -> Array:
    moduli = _moduli(xp, _unscaled(xp, matrices))
    return 1.0 - _second_to_first(xp, matrices, moduli)


# Size


@metric(
    "smallest_row_sum",
    "Smallest row sum",
    "size",
    "The smallest absolute sum of a row, as the gain is the largest: what the weakest stream keeps "
    "of a signal that all share. A maximum hides it.",
    homogeneous=True,
)
def _smallest_row_sum(xp: ModuleType, matrices: Array) -> Array:
    return xp.min(xp.abs(xp.sum(matrices, axis=-1)), axis=-1)


@metric(
    "smallest_column_sum",
    "Smallest column sum",
    "size",
    "The smallest absolute sum of a column: the same for gradients. The paper’s Figure 8 prints "
    "0.41 to 1.50 for mHC.",
    homogeneous=True,
)
def _smallest_column_sum(xp: ModuleType, matrices: Array) -> Array:
    return xp.min(xp.abs(xp.sum(matrices, axis=-2)), axis=-1)


@metric(
    "spectral_norm",
    "Spectral norm",
    "size",
    "The largest singular value: by how much the length of any signal can grow. 1 for a doubly "
    "stochastic matrix (mHC paper, section 4.1).",
    homogeneous=True,
)
def _spectral_norm(xp: ModuleType, matrices: Array) -> Array:
    return xp.linalg.svdvals(matrices)[..., 0]


@metric(
    "infinity_norm",
    "Infinity norm",
    "size",
    "The largest sum of |entries| of a row: by how much the largest entry of any signal can grow, "
    "the forward gain in the worst case.",
    homogeneous=True,
)
def _infinity_norm(xp: ModuleType, matrices: Array) -> Array:
    return xp.max(xp.sum(xp.abs(matrices), axis=-1), axis=-1)


@metric(
    "one_norm",
    "1-norm",
    "size",
    "The largest sum of |entries| of a column: by how much the sum of |entries| of any signal can "
    "grow, the backward gain in the worst case.",
    homogeneous=True,
)
def _one_norm(xp: ModuleType, matrices: Array) -> Array:
    return xp.max(xp.sum(xp.abs(matrices), axis=-2), axis=-1)


# Of matrices that are not negative


@metric(
    "row_entropy",
    "Entropy of the rows",
    "entries",
    "Mean over the rows, each divided by its sum, of −Σ p ln p in nats, as of attention (Zhai et "
    "al. 2023): 0 if each row reads one stream, ln n if all alike; its exponential is a number of "
    "streams.",
    scale_free=True,
    signed=False,
)
def _row_entropy(xp: ModuleType, matrices: Array) -> Array:
    sums = xp.sum(matrices, axis=-1, keepdims=True)
    share = matrices / xp.where(sums == 0, 1.0, sums)
    terms = xp.where(share > 0, share, 1.0)
    entropy = xp.mean(-xp.sum(terms * xp.log(terms), axis=-1), axis=-1)
    known = xp.all(matrices >= 0, axis=(-2, -1)) & xp.all(sums[..., 0] > 0, axis=-1)
    return xp.where(known, entropy, math.nan)


@metric(
    "logit_range",
    "Range of the logits",
    "entries",
    "The most by which the difference of two logits of a row changes from row to row, in nats: the "
    "diameter in Hilbert’s projective metric (Birkhoff 1957). No scaling of rows or columns "
    "changes it.",
    scale_free=True,
    signed=False,
)
def _logit_range(xp: ModuleType, matrices: Array) -> Array:
    positive = matrices > 0
    inside = xp.all(positive, axis=(-2, -1))
    found = diameter(xp, xp.log(xp.where(positive, matrices, 1.0)))
    found = xp.where(inside, found, math.inf)
    return xp.where(xp.any(matrices < 0, axis=(-2, -1)), math.nan, found)


@metric(
    "birkhoff_coefficient",
    "Birkhoff’s coefficient",
    "entries",
    "κ = tanh(range / 4): the matrix contracts Hilbert’s metric at least so much (Birkhoff 1957), "
    "and one Sinkhorn iteration of its logits at least by κ² (Franklin and Lorenz 1989).",
    scale_free=True,
    signed=False,
)
def _birkhoff_coefficient(xp: ModuleType, matrices: Array) -> Array:
    return xp.tanh(0.25 * _logit_range(xp, matrices))


def diameter(xp: ModuleType, logits: Array) -> Array:
    """Max over i, j, k, l of L_ij - L_il - L_kj + L_kl, shape (..., n, n) -> (...).

    The diameter of exp(L) in Hilbert's projective metric.
    """
    largest = xp.zeros(logits.shape[:-2], dtype=logits.dtype, device=device(logits))
    for offset in range(1, logits.shape[-1] // 2 + 1):  # as in `_stream_disagreement`
        difference = logits - xp.roll(logits, offset, axis=-2)
        span = xp.max(difference, axis=-1) - xp.min(difference, axis=-1)
        largest = xp.maximum(largest, xp.max(span, axis=-1))
    return largest


def _unscaled(xp: ModuleType, matrices: Array) -> Array:
    """Each matrix with its largest |entry| at 1; a zero matrix stays so."""
    scale = xp.max(xp.abs(matrices), axis=(-2, -1), keepdims=True)
    return matrices / xp.where(scale == 0, 1.0, scale)


def _moduli(xp: ModuleType, matrices: Array) -> Array:
    """|eigenvalues|, the largest first."""
    return xp.sort(xp.abs(xp.linalg.eigvals(matrices)), axis=-1, descending=True)


def _second(xp: ModuleType, matrices: Array, values: Array) -> Array:
    if matrices.shape[-1] == 1:
        return xp.zeros(matrices.shape[:-2], dtype=matrices.dtype, device=device(matrices))
    return values[..., 1]


def _second_to_first(xp: ModuleType, matrices: Array, values: Array) -> Array:
    """0 where all values are 0, or there is one."""
    first = values[..., 0]
    return _second(xp, matrices, values) / xp.where(first == 0, 1.0, first)

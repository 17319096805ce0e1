"""What theory says of the growth of products of random matrices.

Lyapunov exponents in closed form, and what an expected gain differs from them by at a finite depth:
the inits of `mixing.py` draw their dashed lines by both.  All of it is computed and nothing drawn;
the tests compare it with simulations and with integrals taken in other ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arrays import nonnegative, whole_number

Floats: TypeAlias = NDArray[np.float64]

LN10 = math.log(10.0)


def gaussian_growth(streams: int, spread: float = 1.0) -> tuple[float, float]:
    """Growth of a product of `streams` x `streams` matrices with N(0, spread^2) entries.

    Returns (decades per layer, standard deviation over seeds in decades per sqrt(layer)): the
    top Lyapunov exponent of the real Ginibre ensemble, (ln 2 + psi(n/2)) / 2 + ln(spread) nats,
    and sqrt(psi'(n/2)) / 2, psi the digamma function (Newman, Commun. Math. Phys. 103, 1986).

    >>> round(gaussian_growth(4)[0], 4)
    0.2423
    """
    streams = whole_number("streams", streams, 1)
    spread = nonnegative("spread", spread)
    digamma, trigamma = _polygamma_at_half(streams)
    log_spread = math.log(spread) if spread > 0 else -math.inf
    return (0.5 * (math.log(2.0) + digamma) + log_spread) / LN10, 0.5 * math.sqrt(trigamma) / LN10


def gaussian_exponents(
    streams: int, spread: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All Lyapunov exponents of such a product, and their deviations over seeds, each (streams,).

    The exponents in nats per layer, (ln 2 + psi((n - k + 1)/2)) / 2 + ln(spread) for k = 1 ... n,
    and the standard deviations in nats per sqrt(layer), sqrt(psi'((n - k + 1)/2)) / 2: in the QR
    decompositions of `lyapunov_exponents` the k-th diagonal entry of a layer is an independent
    chi_{n-k+1} (Newman, Commun. Math. Phys. 103, 1986).

    At n = 4 the first two are ln 2 - 1/2 apart: HC's streams come near rank one at 0.193 nats per
    layer.

    >>> gaussian_exponents(4)[0].round(3)
    array([ 0.558,  0.365,  0.058, -0.635])
    """
    streams = whole_number("streams", streams, 1)
    spread = nonnegative("spread", spread)
    log_spread = math.log(spread) if spread > 0 else -math.inf
    digamma, trigamma = np.array([_polygamma_at_half(m) for m in range(streams, 0, -1)]).T
    return 0.5 * (math.log(2.0) + digamma) + log_spread, 0.5 * np.sqrt(trigamma)


def _polygamma_at_half(n: int) -> tuple[float, float]:
    """psi(n/2) and psi'(n/2), by the recurrence from psi(1/2) or psi(1)."""
    euler = 0.5772156649015329
    if n % 2:
        x, digamma, trigamma = 0.5, -euler - 2.0 * math.log(2.0), math.pi**2 / 2.0
    else:
        x, digamma, trigamma = 1.0, -euler, math.pi**2 / 6.0
    while x < n / 2:
        digamma += 1.0 / x
        trigamma -= 1.0 / x**2
        x += 1.0
    return digamma, trigamma


@cache
def mean_log_largest_normal(n: int) -> float:
    """E ln max_i |z_i| of n standard normals, by the trapezoid rule in t = ln of the maximum.

    E t = b - integral of F from -infinity to b for any b beyond which F = 1, with
    F(t) = erf(e^t / sqrt 2)^n, smooth and vanishing on the left: accurate to 1e-6.
    """
    t = np.linspace(-16.0, 3.0, 3801)
    cumulative = np.array([math.erf(math.exp(v) / math.sqrt(2.0)) ** n for v in t])
    return float(t[-1] - np.trapezoid(cumulative, t))


# ---- drift from the identity --------------------------------------------------------------------


def drift_exponent(streams: int, spread: float) -> float:
    """Top Lyapunov exponent of I + spread * Z, in nats per layer; exact.

    For a unit vector v, |(I + spread Z) v|^2 = (1 + spread g)^2 + spread^2 chi^2_{n-1} whatever v
    is: spread^2 times a non-central chi-square with n degrees of freedom.  The exponent is half the
    mean of its logarithm.  With w = 1 / (2 spread^2), a Poisson mixture of central chi-squares
    gives

        (ln(2 spread^2) + psi(n/2) + integral_0^1 (1 - e^{-w s}) (1 - s)^{n/2 - 1} / s ds) / 2.

    For small spread it is (n - 2) spread^2 / 2 - (n - 2)(n - 4) spread^4 / 4 + ...: a series in
    spread^2 because the derivative by spread^2 is (n - 2)/2 times the mean of 1 / |I + spread Z|^2
    (heat equation).  At n = 2 what is left is exponentially small, at n = 4 what follows the first
    term is.

    >>> round(drift_exponent(4, 0.2), 6)
    0.04

    Raises ValueError or TypeError for streams < 1 and a spread that is not finite and at least 0.
    """
    streams = whole_number("streams", streams, 1)
    spread = nonnegative("spread", spread)
    if spread == 0:
        return 0.0
    half, w = streams / 2, 0.5 / spread / spread
    integral = _from_0_to_1(lambda s, rest: -np.expm1(-w * s) * rest ** (half - 1) / s)
    return 0.5 * (_polygamma_at_half(streams)[0] - math.log(w) + integral)


def _turning(streams: int, spread: float) -> float:
    """ln(-ln a), a the second harmonic of a direction that is left after one layer I + spread * Z.

    a = (n E cos^2 - 1) / (n - 1), cos between a vector and its image; after `depth` layers a^depth
    is left.  By the same mixture as in `drift_exponent`, a = w integral_0^1 e^{-w s} (1 - s)^{n/2}
    ds; by parts, 1 - a = n/2 integral_0^1 e^{-w s} (1 - s)^{n/2 - 1} ds, exact for a near 1 too.
    """
    half, w = streams / 2, 0.5 / spread / spread
    lost = _from_0_to_1(lambda s, rest: np.exp(-w * s) * half * rest ** (half - 1))
    return math.log(-math.log1p(-lost))


def mean_log_largest_after(depth: Floats, n: int, spread: float) -> Floats:
    """E ln(sqrt(n) max_i |u_i|), u the direction of (1, ..., 1) after `depth` layers I + spread Z.

    0 before the first layer.  See `Identity.expected_log10_gain`.
    """
    if n == 1:
        return np.zeros(depth.shape)
    turnings, means = _mean_log_largest_by_turning(n)
    turning = _turning(n, spread) + np.log(depth)
    # Below the table it is proportional to the spread, the square of which is -ln a.
    below = np.exp(0.5 * np.minimum(turning - turnings[0], 0.0))
    return np.asarray(below * np.interp(turning, turnings, means))


@cache
def _mean_log_largest_by_turning(n: int) -> tuple[Floats, Floats]:
    """For one layer I + spread Z of growing spread: its `_turning`, and the mean that it gives.

    The row sums are 1 + spread sqrt(n) g_i, g_i independent: the mean of ln of the largest is an
    integral over the n-th power of their distribution, and the mean of ln of their length is known.
    """
    spreads = np.geomspace(0.01, 50.0, 80)
    means = [_mean_log_largest_shifted(n, s) - drift_exponent(n, s) for s in spreads]
    return np.array([_turning(n, s) for s in spreads]), np.array(means)


def _mean_log_largest_shifted(n: int, spread: float) -> float:
    """E ln max_i |1 + spread sqrt(n) z_i|, as `mean_log_largest_normal`."""
    scale = spread * math.sqrt(2.0 * n)
    t = np.linspace(-8.0, math.log1p(6.0 * scale), 1201)
    x = np.exp(t)
    one = 0.5 * (_erf((x - 1.0) / scale) + _erf((x + 1.0) / scale))
    return float(t[-1] - np.trapezoid(one**n, t))


def _erf(x: Floats) -> Floats:
    return np.array([math.erf(v) for v in x])


def _from_0_to_1(f: Callable[[Floats, Floats], Floats]) -> float:
    """The integral of f(s, 1 - s) over s from 0 to 1, which may be infinite at the ends.

    The double exponential rule of Takahasi and Mori (1974), s = 1 / (1 + exp(-pi sinh t)).
    """
    return float(np.sum(_WEIGHTS * f(_NODES, _NODES[::-1])))


_T = np.linspace(-4.2, 4.2, 538)
_NODES = 1.0 / (1.0 + np.exp(-math.pi * np.sinh(_T)))
_WEIGHTS = (_T[1] - _T[0]) * math.pi * np.cosh(_T) * _NODES * _NODES[::-1]

"""Drawing mixing matrices, and what theory says about their products.

A network is drawn as one array of standard normal noise Z, shape (members, depth, n, n).  An
*init* turns the noise into the two things that are compared: the unconstrained mapping H_res of
Hyper-Connections (HC), and the logits that a projection takes (mHC).  Both come from the same
noise, so that the two lines of a plot differ in nothing else.  Where there is a theory of the
growth, the init provides it.

To add an init, write an `Init` subclass below: the page, the command line and the tests find it
in `INITS`.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import islice
from types import ModuleType
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from ._arrays import Array, choice, whole_number
from .projections import PAPER_ITERATIONS, sinkhorn_iterates

LN10 = math.log(10.0)
MAX_SEED = 2**32 - 1


class Init:
    """How noise becomes mixing matrices.  Subclasses register themselves in `INITS`."""

    name: ClassVar[str]
    title: ClassVar[str]

    def __init_subclass__(cls) -> None:
        INITS[cls.name] = cls()

    def mapping(self, noise: Array, spread: float) -> Array:
        """The unconstrained H_res of HC, shape (..., depth, n, n), from the first layer on."""
        raise NotImplementedError

    def logits(self, noise: Array, spread: float) -> Array:
        """What a projection takes (H~_res, Eq. 8), shape (..., depth, n, n)."""
        raise NotImplementedError

    def expected_log10_gain(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> NDArray[np.float64] | None:
        """Exact mean of log10 of HC's composite gain ("paper") at each depth; None if unknown."""
        return None

    def expected_log10_ratio(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """How log10 of s2/s1 of HC's composite falls with depth, and its deviation over seeds.

        Up to a constant that does not grow with depth; None if unknown.
        """
        return None


INITS: dict[str, Init] = {}
"""Every init by its name."""


class Gaussian(Init):
    """Every entry spread * N(0, 1), for the mapping and for the logits alike."""

    name = "gaussian"
    title = "Gaussian"

    def mapping(self, noise: Array, spread: float) -> Array:
        return spread * noise

    def logits(self, noise: Array, spread: float) -> Array:
        return spread * noise

    def expected_log10_gain(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> NDArray[np.float64] | None:
        """Mean of log10(max_i |row sum i|) of a product of `depth` Gaussian matrices, exactly.

        A Gaussian matrix sends every vector of length r to a Gaussian vector of length
        r * chi_n, whatever its direction.  The row sums are the image of (1, ..., 1), so their
        length is sqrt(n) times a product of independent chi_n, and their direction after the
        last layer is uniform: mean = (depth - 1) growth + ln sqrt(n) + E ln max_i |z_i|.  The
        column sums of the composite have the same law.
        """
        if spread == 0:
            return None
        largest = _mean_log_largest_normal(streams) + 0.5 * math.log(streams) + math.log(spread)
        steps = np.asarray(depth, dtype=np.float64) - 1.0
        return (largest / LN10) + steps * gaussian_growth(streams, spread)[0]

    def expected_log10_ratio(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """By the distance of the first two Lyapunov exponents, which the spread does not change."""
        if spread == 0 or streams == 1:
            return None
        (first, second), deviations = (each[:2] / LN10 for each in gaussian_exponents(streams))
        layers = np.asarray(depth, dtype=np.float64)
        return (second - first) * layers, np.hypot(*deviations) * np.sqrt(layers)


class Identity(Init):
    """Where training starts: HC at I + spread * Z, mHC's logits at 8 I + spread * Z.

    With 8 on the diagonal the projected matrix at spread 0 has 0.0003 off the diagonal at n = 4,
    so both networks start as n untouched streams and `spread` is how far they have drifted.
    The 8 is ours: the paper does not print its bias.  (It is also the contrast between the
    diagonal and the rest that public implementations start from.)
    """

    name = "identity"
    title = "Identity + drift"
    DIAGONAL_LOGIT = 8.0

    def mapping(self, noise: Array, spread: float) -> Array:
        return _diagonal_like(noise, 1.0) + spread * noise

    def logits(self, noise: Array, spread: float) -> Array:
        return _diagonal_like(noise, self.DIAGONAL_LOGIT) + spread * noise


class EqualDrift(Identity):
    """As "identity", but mHC's matrices have moved as far from the identity as HC's.

    HC is at I + spread * Z.  mHC's logits are ln((1 - a) I + a S), S the projection of Z, with the
    a at which both matrices are equally far from I (Frobenius norm); but a is at most 1, because no
    doubly stochastic matrix is further from I than sqrt(2n).  In "identity" the strong diagonal
    hides most of the same noise, so that mHC's matrices hardly move.
    """

    name = "equal-drift"
    title = "Identity + equal drift"
    NOTHING = 1e-12
    """What stands for an entry of 0, which has no logarithm."""

    def logits(self, noise: Array, spread: float) -> Array:
        xp = array_namespace(noise)
        identity = _diagonal_like(noise, 1.0)
        iterates = sinkhorn_iterates(xp, noise)
        doubly_stochastic = next(islice(iterates, PAPER_ITERATIONS - 1, None))
        towards = doubly_stochastic - identity
        share = spread * _length(xp, noise) / (_length(xp, towards) + self.NOTHING)
        moved = identity + xp.clip(share, 0.0, 1.0) * towards
        return xp.log(xp.clip(moved, self.NOTHING, None))


class Alike(Init):
    """Layers that are alike: spread * (Z_1 + 0.075 Z_l), so that every layer is nearly the first.

    In the other inits layers are independent, and what one leaves unbalanced the next evens out.
    Here it adds up: trained layers need not be independent either.
    """

    name = "alike"
    title = "Layers alike"
    OWN = 0.075
    """How much each layer has of its own.  Logits that share a part of spread 4 and have 0.3 of
    their own come near the paper's 1.6."""

    def mapping(self, noise: Array, spread: float) -> Array:
        return spread * (noise[..., :1, :, :] + self.OWN * noise)

    def logits(self, noise: Array, spread: float) -> Array:
        return self.mapping(noise, spread)


def _length(xp: ModuleType, matrices: Array) -> Array:
    """The Frobenius norm of each matrix, shape (..., 1, 1)."""
    return xp.sqrt(xp.sum(matrices * matrices, axis=(-2, -1), keepdims=True))


def _diagonal_like(noise: Array, value: float) -> Array:
    xp = array_namespace(noise)
    return value * xp.eye(noise.shape[-1], dtype=noise.dtype, device=device(noise))


def sample_noise(depth: int, streams: int, members: int = 1, seed: int = 0) -> NDArray[np.float64]:
    """Standard normal noise, shape (members, depth, streams, streams), NumPy float64.

    Member m is drawn by a counter-based generator (Philox) keyed by (seed, m), layer after
    layer: layer l of member m is the same matrix whatever the depth and the number of members.

    Raises ValueError or TypeError if an argument is not a whole number in its range
    (depth, streams, members >= 1; 0 <= seed < 2**32).
    """
    depth = whole_number("depth", depth, 1)
    streams = whole_number("streams", streams, 1)
    members = whole_number("members", members, 1)
    seed = whole_number("seed", seed, 0, MAX_SEED)
    return _noise_of(range(members), depth, streams, seed)


def _noise_of(members: range, depth: int, streams: int, seed: int) -> NDArray[np.float64]:
    noise = np.empty((len(members), depth, streams, streams))
    for row, member in zip(noise, members, strict=True):
        generator = np.random.Generator(np.random.Philox(key=seed + (member << 64)))
        generator.standard_normal(out=row)
    return noise


def sample_mixing(
    depth: int = 64,
    streams: int = 4,
    members: int = 1,
    init: str = "gaussian",
    spread: float = 1.0,
    seed: int = 0,
    *,
    logits: bool = False,
) -> NDArray[np.float64]:
    """Random mixing matrices of an ensemble of networks, shape (members, depth, streams, streams).

    `logits=False` gives H_res of HC, unconstrained; `logits=True` what a projection takes
    instead.  For the init "gaussian" they are the same matrices.

    >>> sample_mixing(depth=64, streams=4, members=32, seed=42).shape
    (32, 64, 4, 4)

    Raises ValueError or TypeError that names the argument, the value and what is allowed.
    """
    chosen = INITS[choice("init", init, INITS)]
    spread = nonnegative("spread", spread)
    noise = sample_noise(depth, streams, members, seed)
    return chosen.logits(noise, spread) if logits else chosen.mapping(noise, spread)


def nonnegative(name: str, value: float) -> float:
    """`value` as a finite float >= 0; otherwise a TypeError or ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond any float
        number = math.inf
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} must be finite and at least 0, not {value}")
    return number


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
def _mean_log_largest_normal(n: int) -> float:
    """E ln max_i |z_i| of n standard normals, by the trapezoid rule in t = ln of the maximum.

    E t = b - integral of F from -infinity to b for any b beyond which F = 1, with
    F(t) = erf(e^t / sqrt 2)^n, smooth and vanishing on the left: accurate to 1e-6.
    """
    t = np.linspace(-16.0, 3.0, 3801)
    cumulative = np.array([math.erf(math.exp(v) / math.sqrt(2.0)) ** n for v in t])
    return float(t[-1] - np.trapezoid(cumulative, t))

"""Drawing mixing matrices.

A network is drawn as one array of standard normal noise Z, shape (members, depth, n, n).  An
*init* turns the noise into the two things that are compared: the unconstrained mapping H_res of
Hyper-Connections (HC), and the logits that a projection takes (mHC).  Both come from the same
noise, so that the two lines of a plot differ in nothing else.  Where there is a theory of the
growth, the init provides it.

To add an init, write an `Init` subclass below: the page, the command line and the tests find it
in `INITS`, and what it declares in `parameters` becomes a slider, an option and a part of a link.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from ._arrays import Array, batch_innermost, choice, nonnegative, real_number, whole_number
from .growth import (
    LN10,
    Floats,
    drift_exponent,
    gaussian_exponents,
    gaussian_growth,
    mean_log_largest_after,
    mean_log_largest_normal,
)
from .projections import PAPER_ITERATIONS

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Parameter:
    """A number that an init takes beside the spread, from `low` to `high`."""

    default: float
    low: float
    high: float
    step: float
    """By which a slider moves it."""
    label: str
    doc: str

    def checked(self, name: str, value: float) -> float:
        """`value` as a float in its range; otherwise a TypeError or ValueError that names it."""
        number = real_number(name, value)
        if not self.low <= number <= self.high:  # NaN is not either
            raise ValueError(f"{name} must be between {self.low:g} and {self.high:g}, not {value}")
        return number


class Growth(NamedTuple):
    """How fast HC's composite grows in the long run."""

    rate: float
    """Decades per layer: the top Lyapunov exponent."""
    deviation: float | None
    """Standard deviation over seeds, in decades per sqrt(layer), where it is known."""
    law: str
    """Of what it is the exponent, and who found it."""


class Init:
    """How noise becomes mixing matrices.  Subclasses register themselves in `INITS`.

    An instance has values for the `parameters` that its class declares, as attributes; those in
    `INITS` have the defaults.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = {}

    def __init_subclass__(cls) -> None:
        INITS[cls.name] = cls()

    def __init__(self, **values: float) -> None:
        """Raises ValueError or TypeError for a value out of range and for an unknown parameter."""
        for name in values.keys() - self.parameters.keys():
            users = [repr(init.name) for init in INITS.values() if name in init.parameters]
            known = f"only {', '.join(users)} has" if users else "no init has"
            raise TypeError(f"init {self.name!r} has no parameter {name}; {known}")
        for name, parameter in self.parameters.items():
            setattr(self, name, parameter.checked(name, values.get(name, parameter.default)))

    def noise(self, members: Iterable[int], depth: int, streams: int, seed: int) -> Floats:
        """What `mapping` and `logits` take, shape (members, depth, n, n), NumPy float64.

        Layer l of a member must not depend on the depth, nor on the other members.
        """
        return _noise_of(members, depth, streams, seed)

    def mapping(self, noise: Array, spread: float) -> Array:
        """The unconstrained H_res of HC, shape (..., depth, n, n), from the first layer on."""
        raise NotImplementedError

    def logits(self, noise: Array, spread: float) -> Array:
        """What a projection takes (H~_res, Eq. 8), shape (..., depth, n, n)."""
        raise NotImplementedError

    def expected_log10_gain(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> Floats | None:
        """Mean of log10 of HC's composite gain ("paper") at each depth; None if unknown.

        It is exact, or the init says how near it is.
        """
        return None

    def growth(self, streams: int, spread: float) -> Growth | None:
        """By how much HC's composite grows per layer in the long run; None if unknown."""
        return None

    def remark(self, depth: int, streams: int, spread: float, seed: int) -> str:
        """A sentence for the reader on the first network of a seed; empty if there is none."""
        return ""

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

    def growth(self, streams: int, spread: float) -> Growth | None:
        if spread == 0:
            return None
        rate, deviation = gaussian_growth(streams, spread)
        return Growth(rate, deviation, "top Lyapunov exponent of Gaussian products; Newman 1986")

    def expected_log10_gain(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> Floats | None:
        """Mean of log10(max_i |row sum i|) of a product of `depth` Gaussian matrices, exactly.

        A Gaussian matrix sends every vector of length r to a Gaussian vector of length
        r * chi_n, whatever its direction.  The row sums are the image of (1, ..., 1), so their
        length is sqrt(n) times a product of independent chi_n, and their direction after the
        last layer is uniform: mean = (depth - 1) growth + ln sqrt(n) + E ln max_i |z_i|.  The
        column sums of the composite have the same law.
        """
        if spread == 0:
            return None
        largest = mean_log_largest_normal(streams) + 0.5 * math.log(streams) + math.log(spread)
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

    def growth(self, streams: int, spread: float) -> Growth | None:
        if spread == 0:
            return None
        rate = drift_exponent(streams, spread) / LN10
        return Growth(rate, None, "top Lyapunov exponent of I + σZ")

    def expected_log10_gain(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> Floats | None:
        """Mean of log10(max_i |row sum i|) of a product of `depth` matrices I + spread * Z.

        The law of Z is the same in every basis, so I + spread * Z lengthens every vector by a
        factor of one and the same law.  The mean of ln of the length of the row sums is therefore
        ln sqrt(n) + depth * `drift_exponent`, exactly.  Their largest is length times the largest
        entry of the direction, which starts as (1, ..., 1) / sqrt(n) and ends uniform.  This
        direction's part is exact at depth 1 and in the limit; between, the law of a direction after
        many small steps is taken to be that after one large step with the same second harmonic.
        The mean is then off by less than 0.004 decades (by n; compared with 10^5 networks of n = 2
        to 16 at spreads 0.05 to 1).  The column sums of the composite have the same law.
        """
        layers = np.asarray(depth, dtype=np.float64)
        if spread == 0:
            return np.zeros(layers.shape)
        largest = mean_log_largest_after(layers, streams, spread)
        return (layers * drift_exponent(streams, spread) + largest) / LN10


class EqualDrift(Identity):
    """As "identity", but mHC's matrices have moved as far from the identity as HC's.

    HC is at I + spread * Z, and how far that is (Frobenius norm) is what the spread sets.  mHC's
    logits are b I + Z, as "identity" has them, with the b of each layer at which its matrix, after
    20 iterations, is equally far from I.  In "identity" the strong diagonal hides most of the same
    noise, so that mHC's matrices hardly move.

    Doubly stochastic matrices end: the b reaches down to where the diagonal has all but gone.
    There every layer is at least n / sqrt(n - 1) from I, the distance of the uniform matrix without
    its diagonal, and `FURTHEST` of it is how far a layer is taken whose HC is further away.
    """

    name = "equal-drift"
    title = "Identity + equal drift"
    FURTHEST = 0.95

    def logits(self, noise: Array, spread: float) -> Array:
        n = noise.shape[-1]
        if spread == 0 or n == 1:  # one stream: 1, whatever its logit is
            return 0.0 * noise + _diagonal_like(noise, _STRONGEST)
        xp = array_namespace(noise)
        exact = xp.astype(noise, xp.float64)
        distance = xp.clip(spread * _length(xp, exact), None, self.furthest(n))
        flat = xp.reshape(batch_innermost(xp, exact), (-1, n, n))
        diagonal = _diagonal_at(xp.permute_dims(flat, (1, 2, 0)), xp.reshape(distance, (-1,)))
        diagonal = xp.reshape(diagonal, distance.shape)
        return xp.astype(exact + diagonal * _diagonal_like(exact, 1.0), noise.dtype)

    def furthest(self, streams: int) -> float:
        """How far from the identity mHC's matrices are taken at most, Frobenius norm."""
        return self.FURTHEST * _distance_without_diagonal(streams)

    def remark(self, depth: int, streams: int, spread: float, seed: int) -> str:
        if streams == 1:
            return ""
        limit = self.furthest(streams)
        noise = self.noise(range(1), depth, streams, seed)
        beyond = int(np.sum(spread * np.linalg.norm(noise, axis=(-2, -1)) > limit))
        if not beyond:
            return (
                "HC’s matrices and mHC’s (after 20 iterations) are equally far from the identity, "
                "layer by layer."
            )
        return (
            f"In {beyond} of the first network’s {depth} layers HC’s matrix is further from the "
            f"identity than mHC’s can be: there mHC’s is kept {limit:.2f} away (Frobenius norm)."
        )


class Alike(Init):
    """Layers that are alike: spread * (Z_1 + 0.075 Z_l), so that every layer is nearly the first.

    In the other inits layers are independent, and what one leaves unbalanced the next evens out.
    Here it adds up: trained layers need not be independent either.
    """

    name = "alike"
    title = "Layers alike"
    OWN = 0.075
    """How much each layer has of its own.  With a shared part of spread 4 and 0.3 of their own,
    one network in forty passes a gain of 1.5 over 30 layers; the paper's peaks near 1.6."""

    def mapping(self, noise: Array, spread: float) -> Array:
        return spread * (noise[..., :1, :, :] + self.OWN * noise)

    def logits(self, noise: Array, spread: float) -> Array:
        return self.mapping(noise, spread)


class Shared(Gaussian):
    """Layers that share a part: spread * (sqrt(shared) Z_common + sqrt(1 - shared) Z_l).

    Every entry has the standard deviation `spread` whatever is shared, and the same entry of two
    layers has the correlation `shared`: at 0 it is "gaussian", at 1 all layers are one matrix.
    Z_common is drawn from a stream of the generator that nothing else uses, so that it depends on
    seed and member alone, and the layers' own parts are the matrices of "gaussian".
    """

    name = "shared"
    title = "Layers share a part"
    parameters: ClassVar = {
        "shared": Parameter(
            default=0.95,
            low=0.0,
            high=1.0,
            step=0.05,
            label="Shared by all layers",
            doc="Correlation between layers: 0 is independent layers, 1 one matrix again and "
            "again.",
        )
    }
    shared: float

    def noise(self, members: Iterable[int], depth: int, streams: int, seed: int) -> Floats:
        members = list(members)
        noise = _noise_of(members, depth, streams, seed)
        noise *= math.sqrt(1.0 - self.shared)
        noise += math.sqrt(self.shared) * _noise_of(members, 1, streams, seed, _COMMON)
        return noise

    def growth(self, streams: int, spread: float) -> Growth | None:
        return super().growth(streams, spread) if self.shared == 0 else None

    def remark(self, depth: int, streams: int, spread: float, seed: int) -> str:
        if self.shared == 0:
            return "The layers share nothing: they are independent."
        if self.shared == 1:
            return "All layers of a network are one matrix."
        return (
            "The layers are not independent: the same entry of any two has a correlation of "
            f"{self.shared:g} over networks."
        )

    def expected_log10_gain(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> Floats | None:
        """As of "gaussian" where nothing is shared, exactly; at n = 1 whatever is shared.

        With one stream the gain is the product of |entries|, the logarithms of which have the same
        mean whether or not they are independent.  Elsewhere there is no exact mean that we know.
        """
        if self.shared > 0 and streams > 1:
            return None
        return super().expected_log10_gain(depth, streams, spread)

    def expected_log10_ratio(
        self, depth: NDArray[np.integer], streams: int, spread: float
    ) -> tuple[Floats, Floats] | None:
        if self.shared > 0:
            return None
        return super().expected_log10_ratio(depth, streams, spread)


PARAMETERS: dict[str, Parameter] = {
    name: parameter for init in INITS.values() for name, parameter in init.parameters.items()
}
"""The parameters of all inits beside the spread, by name."""


def chosen_init(name: str, **values: float) -> Init:
    """The init of that name with these values of its parameters; what is missing is the default.

    >>> chosen_init("shared", shared=0.5).shared
    0.5

    Raises ValueError or TypeError that names the argument, the value and what is allowed.
    """
    return type(INITS[choice("init", name, INITS)])(**values)


_STRONGEST = 32.0
"""The diagonal logit at which a projected matrix is the identity to rounding."""


def _distance_without_diagonal(n: int) -> float:
    """The least Frobenius distance from I of a doubly stochastic matrix with a zero diagonal."""
    return n / math.sqrt(n - 1)


def _diagonal_at(noise: Array, distance: Array) -> Array:
    """The b at which b I + noise, projected, is at that distance from I; (n, n, k), (k,) -> (k,).

    The distance falls as b rises.  At first scaling and b approach their ends together; what that
    finds is off because the projection ends after 20 iterations, and is corrected by the secant
    rule within a bracket.  Each matrix is on its own: its b does not depend on the others.  A
    distance is met to 1e-3 of itself, mostly far better.
    """
    xp = array_namespace(noise)
    n = noise.shape[0]
    weights = xp.exp(noise)
    on = weights * xp.eye(n, dtype=noise.dtype, device=device(noise))[..., None]
    off = weights - on
    target = xp.log(distance)
    # Of equal entries e^-b off the diagonal it is d = n sqrt(n - 1) / (e^b + n - 1).
    flattening = xp.clip(1.0 - distance / _distance_without_diagonal(n), 0.05, 1.0)
    b = _log_distance(xp, off / xp.sum(on, axis=0)) - target + xp.log(flattening)
    rows = xp.ones_like(weights[:, :1, :])
    for _ in range(_TOGETHER):
        rows, columns = _scaled(xp, off + on * xp.exp(b), rows)
        error = _log_distance(xp, off * rows * columns) - target
        b = b + xp.clip(error / flattening, -_STEP, _STEP)
    found, left = xp.zeros_like(b), xp.arange(b.shape[0], device=device(noise))
    slope, low, high = -flattening, b - math.inf, b + math.inf
    before = error_before = b
    for step in range(_MOST_CORRECTIONS):
        matrix, rows = off + on * xp.exp(b), xp.ones_like(off[:, :1, :])
        for _ in range(PAPER_ITERATIONS):
            rows, columns = _scaled(xp, matrix, rows)
        error = _log_distance(xp, off * rows * columns) - target
        low, high = xp.where(error > 0, b, low), xp.where(error > 0, high, b)
        if step:
            moved = xp.where(b == before, 1.0, b - before)
            slope = xp.where(b == before, slope, (error - error_before) / moved)
            slope = xp.clip(slope, -2.0, -0.02)
        before, error_before = b, error
        b = b - xp.clip(error / slope, -_STEP, _STEP)
        outside = (b < low) | (b > high)  # then both ends are known
        near = xp.abs(error) < (_NEAR if step else _NEAR_AT_FIRST)
        b = xp.where(outside & ~near, 0.5 * (low + high), b)
        found[left] = b
        (others,) = xp.nonzero(~near)
        if not others.shape[0]:
            break
        left, b, before, error_before, slope, low, high, target, off, on = (
            xp.take(x, others, axis=-1)
            for x in (left, b, before, error_before, slope, low, high, target, off, on)
        )
    return found


_TOGETHER, _MOST_CORRECTIONS, _STEP = 6, 30, 2.0

_NEAR_AT_FIRST = 1e-4
_NEAR = 2e-3
"""An error of ln of the distance after which one more step of the secant rule leaves its square."""


def _scaled(xp: ModuleType, matrix: Array, rows: Array) -> tuple[Array, Array]:
    """One iteration (columns, then rows) as factors of `matrix`, shape (n, n, k)."""
    columns = 1.0 / xp.sum(matrix * rows, axis=0, keepdims=True)
    return 1.0 / xp.sum(matrix * columns, axis=1, keepdims=True), columns


def _log_distance(xp: ModuleType, off: Array) -> Array:
    """The ln of the distance from I of row-stochastic matrices, from what is off their diagonal.

    (n, n, k) -> (k,).  So it is exact for small distances too, where 1 minus an entry is not.
    """
    lost = xp.sum(off, axis=1)
    return 0.5 * xp.log(xp.sum(lost * lost, axis=0) + xp.sum(off * off, axis=(0, 1)))


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


_COMMON = 1
"""The stream of noise that layers share; 0 is their own."""


def _noise_of(
    members: Iterable[int], depth: int, streams: int, seed: int, stream: int = 0
) -> Floats:
    # A key has 128 bits: the seed takes the first 32, the stream the next, the member the last 64.
    keys = [seed + (stream << 32) + (member << 64) for member in members]
    noise = np.empty((len(keys), depth, streams, streams))
    for row, key in zip(noise, keys, strict=True):
        np.random.Generator(np.random.Philox(key=key)).standard_normal(out=row)
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
    **parameters: float,
) -> Floats:
    """Random mixing matrices of an ensemble of networks, shape (members, depth, streams, streams).

    `logits=False` gives H_res of HC, unconstrained; `logits=True` what a projection takes
    instead.  For the init "gaussian" they are the same matrices.  `parameters` are those of the
    init: "shared" takes `shared`, from 0 to 1.

    >>> sample_mixing(depth=64, streams=4, members=32, seed=42).shape
    (32, 64, 4, 4)

    Raises ValueError or TypeError that names the argument, the value and what is allowed.
    """
    chosen = chosen_init(init, **parameters)
    spread = nonnegative("spread", spread)
    depth = whole_number("depth", depth, 1)
    streams = whole_number("streams", streams, 1)
    members = whole_number("members", members, 1)
    seed = whole_number("seed", seed, 0, MAX_SEED)
    noise = chosen.noise(range(members), depth, streams, seed)
    return chosen.logits(noise, spread) if logits else chosen.mapping(noise, spread)

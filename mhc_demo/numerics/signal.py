"""A signal on its way through the streams: how much each of them carries after every layer.

A gain is one number for a whole composite; this is what it is the gain of.  In a network a stream
is a vector of C numbers, each of which the same matrices mix, so one number for each stream is
enough here.  A signal may reach 10^357 or 10^-90: it is carried as a vector and an integer power
of two, like a `Composite`, and leaves as sign and log10.

To add a kind of signal, write one function here under `@signal(...)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from array_api_compat import device
from numpy.typing import NDArray

from ._arrays import Array, as_floating, choice, whole_number
from .gains import (
    DIRECTIONS,
    LOG10_2,
    _layers,
    _rescale,
    _times_power_of_two,
    compose,
    log10,
    multiply,
)
from .projections import PROJECTIONS
from .surface import MAX_DEPTH, MAX_ITERATIONS, Experiment, _check, _layers_of

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """What the streams carry: sign * 10**log10, each of shape (..., depth + 1, n).

    Entry l along the depth axis is what they carry after layer l, entry 0 before the first.
    """

    sign: Array
    """-1, 0 or 1, int8."""
    log10: Array
    """-inf where a stream carries nothing."""


def propagate(
    matrices: Array, entering: Array, direction: str = "forward", *, writes: Array | None = None
) -> Signal:
    """A signal through layers whose H_res are `matrices`, shape (..., depth, n, n).

    direction "forward": `entering`, shape (..., n), is what the streams carry before the first
    layer, and x_l = H_l x_{l-1} + w_l (Eq. 3), where `writes`, shape (..., depth, n), is what each
    layer writes to the streams, H_post^T F; by default nothing.  "backward": `entering` is a
    gradient after the last layer, and g_{l-1} = H_l^T g_l: what flows past the branches.

    >>> swap = [[[0.0, 1.0], [1.0, 0.0]]] * 2
    >>> propagate(swap, [100.0, 0.0]).log10.tolist()
    [[2.0, -inf], [-inf, 2.0], [2.0, -inf]]

    Raises ValueError or TypeError for shapes that do not fit, numbers that are not finite, and
    `writes` on the way backward.
    """
    backward = choice("direction", direction, DIRECTIONS) == "backward"
    if backward and writes is not None:
        raise ValueError("writes must be None if direction is 'backward'")
    xp, matrices = _layers(matrices)
    depth, n = matrices.shape[-3], matrices.shape[-1]
    start = _fitting(xp, matrices, "entering", entering, (n,))
    written = None
    shapes = [tuple(matrices.shape[:-3]), tuple(start.shape[:-1])]
    if writes is not None:
        written = _fitting(xp, matrices, "writes", writes, (depth, n))
        shapes.append(tuple(written.shape[:-2]))
    batch = np.broadcast_shapes(*shapes)
    layers = xp.moveaxis(xp.broadcast_to(matrices, (*batch, depth, n, n)), -3, 0)
    if backward:
        layers = xp.matrix_transpose(xp.flip(layers, axis=0))
    layers, shifts = _rescale(
        xp, layers, xp.zeros((depth, *batch), dtype=xp.int64, device=device(matrices))
    )
    power = xp.zeros(batch, dtype=xp.int64, device=device(matrices))
    carried = [_rescale(xp, xp.broadcast_to(start, (*batch, n))[..., None], power)]
    for step in range(depth):
        signal, power = carried[-1]
        signal, power = multiply(xp, layers[step, ...], signal), power + shifts[step, ...]
        if written is not None:
            added = xp.broadcast_to(written[..., step, :], (*batch, n))
            signal, power = _sum(xp, signal, power, added[..., None])
        elif step % _RUN == 0:
            signal, power = _rescale(xp, signal, power)
        carried.append((signal, power))
    if backward:
        carried.reverse()
    mantissa = xp.stack([signal[..., 0] for signal, _ in carried], axis=-2)
    exponent = xp.stack([power for _, power in carried], axis=-1)[..., None]
    return Signal(
        xp.astype(xp.sign(mantissa), xp.int8),
        log10(xp, xp.abs(mantissa)) + LOG10_2 * xp.astype(exponent, mantissa.dtype),
    )


_RUN = 4
"""Layers between two rescalings.  Their largest entries are between 1 and 2, so a signal grows
by at most (2n)^4 meanwhile, and shrinks below float32 only if four layers cancel all its digits."""


def _fitting(
    xp: ModuleType, matrices: Array, name: str, values: Any, shape: tuple[int, ...]
) -> Array:
    """`values`, shape (..., *shape), finite, as an array like `matrices`."""
    _, values = as_floating(values, name)
    if tuple(values.shape[-len(shape) :]) != shape:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have shape (..., {expected}), not {tuple(values.shape)}")
    values = xp.astype(xp.asarray(values, device=device(matrices)), matrices.dtype)
    if not bool(xp.all(xp.isfinite(values))):
        raise ValueError(f"{name} must be finite, but holds NaN or infinity")
    return values


def _sum(xp: ModuleType, signal: Array, power: Array, added: Array) -> tuple[Array, Array]:
    """Signal * 2**power + added, as a vector with its power of two."""
    nothing = xp.all(signal == 0, axis=(-2, -1))
    power = xp.where(nothing, 0, power)
    common = xp.where(power > 0, power, 0)
    total = _times_power_of_two(xp, signal, power - common)
    total = total + _times_power_of_two(xp, xp.zeros_like(total) + added, -common)
    return _rescale(xp, total, common)


# ---- what may enter ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Entering:
    """A kind of signal that enters."""

    name: str
    title: str
    note: str
    make: Callable[[Floats, str, int], Floats]
    """(HC's matrices (depth, n, n), direction, seed) -> what enters, shape (n,)."""
    at_depth: bool = False
    """Whether it depends on how many layers there are."""


ENTERING: dict[str, Entering] = {}
"""Every kind of signal by its name."""

Made: TypeAlias = Callable[[Floats, str, int], Floats]


def signal(name: str, title: str, note: str, **more: bool) -> Callable[[Made], Made]:
    """Register a kind of signal."""

    def register(make: Made) -> Made:
        ENTERING[name] = Entering(name, title, note, make, **more)
        return make

    return register


@signal(
    "alike",
    "All streams alike",
    "1 enters every stream: if layers write nothing, the row sums of the composite leave "
    "(backward: its column sums), and the largest is the gain as the paper defines it.",
)
def _alike(matrices: Floats, direction: str, seed: int) -> Floats:
    return np.ones(matrices.shape[-1])


@signal("one", "One stream", "1 enters the first stream, nothing the others.")
def _one(matrices: Floats, direction: str, seed: int) -> Floats:
    return np.eye(matrices.shape[-1])[0]


@signal(
    "difference",
    "A difference",
    "+1 enters the first stream and −1 the second: a difference between streams, of which the "
    "mean is 0.",
)
def _difference(matrices: Floats, direction: str, seed: int) -> Floats:
    n = matrices.shape[-1]
    return np.array([1.0, -1.0, *[0.0] * (n - 2)]) if n > 1 else np.zeros(1)


@signal("random", "Random", "A random number enters every stream, normally distributed.")
def _random(matrices: Floats, direction: str, seed: int) -> Floats:
    return np.asarray(_generator(seed, _SIGNAL).standard_normal(matrices.shape[-1]))


@signal(
    "worst",
    "The worst case for HC",
    "+1 or −1 enters every stream, with the signs that make HC’s largest output at this depth as "
    "large as it can be: the induced norm of its composite.",
    at_depth=True,
)
def _worst(matrices: Floats, direction: str, seed: int) -> Floats:
    composite, _ = compose(matrices).scaled(matrices.shape[-3])
    rows = composite if direction == "forward" else composite.T
    largest = rows[np.abs(rows).sum(axis=-1).argmax()]
    return np.where(largest < 0, -1.0, 1.0)


_SIGNAL, _WRITES = 2**32, 2**32 + 1
"""Members that no ensemble has: the noise of signals and writes is no network's."""


def _generator(seed: int, member: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed + (member << 64)))


def random_writes(depth: int, streams: int, seed: int) -> Floats:
    """What layers write to the streams, H_post^T F, shape (depth, streams).

    F is a fresh N(0, 1) number at each layer, whatever the streams carry: branches normalise what
    they read.  H_post = 2 sigmoid(b) with b ~ N(0, 1) for each stream (mHC, Eq. 8).  The first
    layers' writes are the same whatever the depth.
    """
    noise = _generator(seed, _WRITES).standard_normal((depth, streams + 1))
    return np.asarray(noise[:, :1] * 2.0 / (1.0 + np.exp(-noise[:, 1:])))


# ---- the table behind the picture ---------------------------------------------------------------


def signal_surface(
    experiment: Experiment,
    *,
    entering: str = "alike",
    direction: str = "forward",
    writes: bool = False,
    at: int = 64,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
    member: int = 0,
) -> xr.Dataset:
    """A signal through one network of an experiment, at every iteration count.

    `entering` is a name in `ENTERING`.  A gradient (direction "backward") enters after layer `at`,
    and the worst case is the worst after layer `at`; else `at` changes nothing.  With `writes`
    each layer adds `random_writes` on the way forward; on the way backward they are left out.

    Variables: `sign` and `log10` (iterations, position, stream), position 0 before the first
    layer, up to `depth` (backward: up to `at`); `entering` (stream); `matrix` (iterations, layer,
    row, column).  iterations 0 is HC.

    >>> signal = signal_surface(Experiment(streams=4, seed=42), entering="alike", at=64)
    >>> round(float(signal["log10"].sel(iterations=1, position=64).max()), 6)
    0.0

    Raises ValueError or TypeError that names the argument.
    """
    _check(experiment)
    kind = ENTERING[choice("entering", entering, ENTERING)]
    choice("direction", direction, DIRECTIONS)
    depth = whole_number("depth", depth, 1)
    at = whole_number("at", at, 1, depth)
    iterations = whole_number("iterations", iterations, 0)
    member = whole_number("member", member, 0)
    layers = _layers_of(experiment, range(member, member + 1), depth, iterations)[:, 0]
    known = np.minimum(np.arange(iterations + 1), len(layers) - 1)  # one-shot: 1 at every count
    layers = np.ascontiguousarray(layers)
    through = layers if direction == "forward" else layers[:, :at]
    start = kind.make(layers[0, :at], direction, experiment.seed)
    written = None
    if writes and direction == "forward":
        written = random_writes(depth, experiment.streams, experiment.seed)
    carried = propagate(through, start, direction, writes=written)
    if written is None and np.ptp(start) == 0:
        chosen = PROJECTIONS[experiment.projection]
        if chosen.sums_by_theorem(direction):  # then what all streams share stays itself
            entered = propagate(np.eye(len(start))[None], start)
            carried.sign[1:], carried.log10[1:] = entered.sign[0], entered.log10[0]
    n = np.arange(1, experiment.streams + 1)
    return xr.Dataset(
        {
            "sign": (("iterations", "position", "stream"), carried.sign[known]),
            "log10": (("iterations", "position", "stream"), carried.log10[known]),
            "entering": ("stream", start),
            "matrix": (("iterations", "layer", "row", "column"), layers[known]),
        },
        coords={
            "iterations": np.arange(iterations + 1),
            "position": np.arange(through.shape[1] + 1),
            "layer": np.arange(1, depth + 1),
            "stream": n,
            "row": n,
            "column": n,
        },
        attrs={
            **experiment.values_of_experiment(),
            "member": member,
            "entering": entering,
            "direction": direction,
            "writes": written is not None,
            "at": at,
        },
    )

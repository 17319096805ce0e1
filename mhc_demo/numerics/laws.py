"""Why mixing matrices behave as they do: the theorems behind the page, measured on an experiment.

Each function here measures both sides of one statement, so that a plot, or a test, can hold one
against the other: how fast Sinkhorn's error falls against what survives of a difference; what is
kept of the mean and of the shared part of a signal; the norms of composites; where products of
row-stochastic matrices end; and how four kinds of matrices compare.  Matrices are NumPy's float64,
for an SVD of each is most of the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ._arrays import Array, batch_innermost, nonnegative, square_matrices, whole_number
from .gains import DIRECTIONS, LOG10_2, Composite, compose, log10, log10_gain
from .growth import drift_exponent
from .metrics import METRICS
from .mixing import sample_noise
from .projections import PROJECTIONS, sinkhorn_iterates
from .projections.limit import searched
from .signal import ENTERING
from .surface import MAX_DEPTH, MAX_ITERATIONS, Experiment, Floats, _check, _layers_of

# ---- one number explains two views ---------------------------------------------------------------

FLOOR = 1e-11
"""Errors below this are more and more rounding, and tell no rate."""

DONE = 1e-13
"""An error at which the limit is reached to rounding."""

NEAR = 1e-6
"""How far the sums of a limit may be from 1 for its singular values to be those of the limit."""

RESTART = 32
"""Iterations after which the matrices that have reached their limit are left out."""

LATE = 128
"""Iterations after which a rate is late, and what is left of the way to the limit is Newton's."""


@dataclass(frozen=True)
class Limits:
    """Where Sinkhorn-Knopp takes logits, and how fast."""

    matrix: Floats
    """The limit, (..., n, n); the last iterate where it is not `reached`."""
    rate: Floats
    """By how much the last iteration above rounding multiplied the error, (...); NaN if unknown."""
    reached: NDArray[np.bool_]
    """Whether the sums are 1 within `NEAR`, (...)."""


def sinkhorn_limits(logits: Array, iterations: int = LATE) -> Limits:
    """Sinkhorn-Knopp of logits (..., n, n) for so many iterations, and the limit that it tends to.

    The error is the largest |column sum - 1| after whole iterations, which end on rows.  In the end
    each iteration multiplies it by the square of the limit's second singular value: near the limit
    P, dividing columns and then rows maps the logarithms of the column scalings by P^T P (Knight,
    SIAM J. Matrix Anal. Appl. 30, 2008).  Where the iterations end before the error does, Newton's
    method finds the limit.

    >>> found = sinkhorn_limits([[0.0, 0.0], [0.0, math.log(4)]])
    >>> found.matrix.round(6).tolist(), round(float(found.rate), 6)
    ([[0.666667, 0.333333], [0.333333, 0.666667]], 0.111111)

    Raises ValueError or TypeError as `project` does, and for iterations < 1.
    """
    _, given = square_matrices(logits, "logits", masks=True)
    iterations = whole_number("iterations", iterations, 1)
    z = np.array(given, dtype=np.float64)  # a copy, for it is written to
    n, batch = z.shape[-1], z.shape[:-2]
    z = z.reshape(-1, n, n)
    matrix, rate, error = z.copy(), np.full(len(z), math.nan), np.full(len(z), math.inf)
    active, done = np.arange(len(z)), 0
    while len(active) and done < iterations:
        count = min(RESTART, iterations - done)
        before, ratio = error[active], rate[active]
        for latest in islice(sinkhorn_iterates(np, batch_innermost(np, z[active])), count):
            now = _column_error(latest)
            tells = (now > FLOOR) & np.isfinite(before)
            ratio = np.where(tells, now / np.where(tells, before, 1.0), ratio)
            before = now
        matrix[active], rate[active], error[active] = latest, ratio, before
        with np.errstate(divide="ignore"):
            z[active] = np.log(latest)  # from which Sinkhorn goes on as if it had not stopped
        done += count
        active = active[before > DONE]
    if len(active):
        matrix[active], _, error[active] = searched(np, z[active], DONE)
    return Limits(matrix.reshape(*batch, n, n), rate.reshape(batch), (error < NEAR).reshape(batch))


def _column_error(matrices: Floats) -> Floats:
    return np.asarray(np.abs(matrices.sum(axis=-2) - 1.0).max(axis=-1))


def differences(streams: int) -> Floats:
    """An orthonormal basis of the differences between streams, shape (n, n - 1): 1 is not in it.

    >>> bool(np.allclose(differences(3).sum(axis=0), 0))
    True

    Raises ValueError or TypeError for streams < 1.
    """
    n = whole_number("streams", streams, 1)
    basis = np.triu(np.ones((n, n)), 1)[:, 1:] - np.diag(np.arange(n), 0)[:, 1:]
    return np.asarray(basis / np.sqrt(np.arange(1, n) * np.arange(2, n + 1)))


def layer_limits(experiment: Experiment, *, depth: int = MAX_DEPTH, member: int = 0) -> xr.Dataset:
    """Sinkhorn's limit of every layer of one network: how slow it is, and how little it mixes.

    The experiment's own projection is ignored.  Variables, each (layer):

    - `s2_squared`: the square of the limit's second singular value.
    - `rate`: by how much an iteration multiplies Sinkhorn's error, late; see `sinkhorn_limits`.
    - `largest`: how much of the best-kept difference between streams is left after the layer,
      |P d|^2 / |d|^2, the largest over all d with mean 0.
    - `random`: the same of one random difference.

    All are NaN where the limit is not reached, and where there is one stream.

    >>> found = layer_limits(Experiment(seed=3), depth=16)
    >>> bool((found["random"] <= found["largest"]).all())
    True

    Raises ValueError or TypeError for depth < 1 and member < 0.
    """
    _check(experiment)
    depth, member = whole_number("depth", depth, 1), whole_number("member", member, 0)
    n = experiment.streams
    names = ("s2_squared", "rate", "largest", "random")
    found = {name: np.full(depth, math.nan) for name in names}
    if n > 1:
        limits = sinkhorn_limits(_logits_of(experiment, range(member, member + 1), depth)[0])
        kept = limits.matrix @ differences(n)
        generator = np.random.Generator(np.random.Philox(key=experiment.seed + (_RANDOM << 64)))
        d = generator.standard_normal((depth, n - 1))
        image = np.einsum("lij,lj->li", kept, d)
        found["s2_squared"] = METRICS["second_singular_value"](limits.matrix) ** 2
        found["rate"] = limits.rate
        found["largest"] = np.linalg.svdvals(kept)[:, 0] ** 2
        found["random"] = (image**2).sum(axis=-1) / (d**2).sum(axis=-1)
        found = {name: np.where(limits.reached, v, math.nan) for name, v in found.items()}
    return xr.Dataset(
        {name: ("layer", values) for name, values in found.items()},
        coords={"layer": np.arange(1, depth + 1)},
        attrs={**experiment.values_of_experiment(), "member": member},
    )


_RANDOM = 2**32 + 2
"""A member that no ensemble has, nor signal: its noise are the random differences."""


def _logits_of(experiment: Experiment, members: range, depth: int) -> Floats:
    """Logits with the limit of the experiment's own, one iteration on, (members, depth, n, n)."""
    first = _layers_of(experiment.changed(projection="sinkhorn"), members, depth, 1)[1]
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(first))


# ---- what is kept of a signal, and the norms -----------------------------------------------------


def kept(composite: Composite, entering: Array) -> tuple[Array, Array]:
    """What composites keep of a signal: log10 of two sizes, relative to what entered, (..., depth).

    `entering`, shape (n,), is what the streams carry at first.  The first size is that of the mean
    over the streams: 1 at every depth if the columns of all layers sum to 1.  The second is that of
    a signal which all streams share, as the root mean square over the streams of the row sums: 1 at
    every depth if the rows of all layers sum to 1.  Both hold whatever the signs of the entries.

    >>> kept(compose(np.full((1, 2, 2), 0.5)), [3.0, 1.0])[0].tolist()
    [0.0]

    Raises ValueError for a signal with the mean 0, of which no share is known.
    """
    x = np.asarray(entering, dtype=np.float64)
    matrices = np.asarray(composite.mantissa, dtype=np.float64)
    if x.shape != matrices.shape[-1:]:
        raise ValueError(f"entering must have shape {matrices.shape[-1:]}, not {x.shape}")
    if not np.isfinite(x).all() or x.mean() == 0:
        raise ValueError(f"entering must be finite with a mean other than 0, not {x.tolist()}")
    mean = np.abs((matrices.mean(axis=-2) @ x) / x.mean())
    shared = np.sqrt((matrices.sum(axis=-1) ** 2).mean(axis=-1))
    power = LOG10_2 * np.asarray(composite.exponent)
    return log10(np, mean) + power, log10(np, shared) + power


def log10_norms(composite: Composite) -> Array:
    """log10 of the induced 1, infinity and 2 norms of composites, shape (3, ..., depth).

    The 2 norm is at most the geometric mean of the other two, for any matrix:
    |A|_2^2 is the largest eigenvalue of A^T A, so at most |A^T A|_1 <= |A|_inf |A|_1.
    """
    matrices = np.asarray(composite.mantissa, dtype=np.float64)
    one, infinity = (log10_gain(matrices, d, "worst-case") for d in reversed(DIRECTIONS))
    two = log10(np, np.linalg.svdvals(matrices)[..., 0])
    return np.stack([one, infinity, two]) + LOG10_2 * np.asarray(composite.exponent)


KEPT = ("mean", "shared")
NORMS = ("one", "infinity", "two")


def composite_laws(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
    only: int | None = None,
    member: int = 0,
) -> xr.Dataset:
    """What one network's composites keep of a random signal, and their norms.

    Variables, log10, each (iterations, depth): `mean` and `shared` as in `kept`, of the random
    signal of the view "Signal"; the norms `one`, `infinity` and `two` as in `log10_norms`.
    iterations 0 is HC.  If `only` is given, just 0 and that count are computed.  What is kept by
    theorem is told as 1 where entries with signs are so large that only rounding would show.

    >>> laws = composite_laws(Experiment(streams=4), depth=8, iterations=20)
    >>> bool((laws["two"] <= (laws["one"] + laws["infinity"]) / 2 + 1e-12).all())
    True

    Raises ValueError or TypeError for depth < 1, iterations < 0, member < 0.
    """
    _check(experiment)
    depth, member = whole_number("depth", depth, 1), whole_number("member", member, 0)
    counts = list(range(whole_number("iterations", iterations, 0) + 1))
    if only is not None:
        counts = sorted({0, whole_number("only", only, 0)})
    layers = _layers_of(experiment, range(member, member + 1), depth, counts[-1])[:, 0]
    # A projection that does not iterate has one matrix for all counts from 1 on.
    last = len(layers) - 1
    known = sorted({min(t, last) for t in counts})
    composite = compose(np.ascontiguousarray(layers[known]))
    enters = ENTERING["random"].make(layers[0], "forward", experiment.seed)
    mean, shared = kept(composite, enters)
    values = dict(zip(KEPT + NORMS, (mean, shared, *log10_norms(composite)), strict=True))
    for name, direction in zip(KEPT, ("backward", "forward"), strict=True):
        if PROJECTIONS[experiment.projection].sums_by_theorem(direction):
            values[name][1:] = 0.0
    rows = [known.index(min(t, last)) for t in counts]
    return xr.Dataset(
        {name: (("iterations", "depth"), v[rows]) for name, v in values.items()},
        coords={"iterations": counts, "depth": np.arange(1, depth + 1)},
        attrs={**experiment.values_of_experiment(), "member": member},
    )


# ---- where products of row-stochastic matrices end -----------------------------------------------


ALIKE = 1e-3
"""The ergodicity coefficient of a composite whose rows show where products end."""


def rows_only_laws(
    experiment: Experiment, *, depth: int = MAX_DEPTH, member: int = 0
) -> xr.Dataset:
    """Products of matrices whose rows alone sum to 1: their backward gain, and where it ends.

    Each row of H_l ... H_1 is an average of the rows of H_{l-1} ... H_1, so if the layers mix, all
    rows tend to one and the same distribution pi, and the backward gain to n max(pi).  At every
    depth pi is an average of the rows, so the backward gain is off n max(pi) by at most n times the
    ergodicity coefficient: Dobrushin's, which is at most the product of those of the layers.

    Variables, each (depth): `gain`, the backward gain of the composite; `coefficient`, its
    ergodicity coefficient; `bound`, the product of the layers' coefficients.  Attributes: `pi`, the
    average row of the deepest composite, `end`, n max(pi), and `reached`, 1 if that composite's
    rows are so alike, within `ALIKE`, that this is where products end.

    >>> found = rows_only_laws(Experiment(streams=4), depth=64)
    >>> bool(abs(found["gain"][-1] - found.attrs["end"]) < 1e-12)
    True

    Raises ValueError or TypeError for depth < 1 and member < 0.
    """
    _check(experiment)
    depth, member = whole_number("depth", depth, 1), whole_number("member", member, 0)
    rows = experiment.changed(projection="rows")
    layers = np.ascontiguousarray(_layers_of(rows, range(member, member + 1), depth, 1)[1, 0])
    composite = compose(layers)
    matrices = np.ascontiguousarray(composite.matrices())
    coefficient = METRICS["stream_disagreement"]
    pi = matrices[-1].mean(axis=0)
    return xr.Dataset(
        {
            "gain": ("depth", 10.0 ** composite.log10_gain("backward")),
            "coefficient": ("depth", coefficient(matrices)),
            "bound": ("depth", np.cumprod(coefficient(layers))),
        },
        coords={"depth": np.arange(1, depth + 1)},
        attrs={
            **rows.values_of_experiment(),
            "member": member,
            "pi": pi.tolist(),
            "end": float(len(pi) * pi.max()),
            "reached": int(coefficient(matrices[-1]) < ALIKE),
        },
    )


# ---- drift ---------------------------------------------------------------------------------------

DRIFTS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
"""Spreads at which drift is measured."""


def measured_drift(
    experiment: Experiment, spreads: Sequence[float] = DRIFTS, *, depth: int = MAX_DEPTH
) -> xr.Dataset:
    """How fast signals grow under HC at I + sigma Z, in nats per layer, for each sigma.

    Of the experiment the streams, the seed and the members count; the noise is the same for all
    sigma.  For each network it is the mean over the layers of ln(|H x| / |x|), where x is what all
    layers before have made of ones.  The law of Z is the same in every basis, so the terms are
    independent, and their mean is the exponent of the product.

    Variables, each (spread): `median`, `q05`, `q95` over networks; `mean` over all of them, with
    its standard `error`; `exact`, the exponent (`drift_exponent`), and `law`, to which that tends
    for small sigma, (n - 2) sigma^2 / 2.

    >>> drift = measured_drift(Experiment(streams=4, members=8), [0.2])
    >>> bool(abs(drift["mean"] - drift["exact"]) < 4 * drift["error"])
    True

    Raises ValueError or TypeError for depth < 1, no spreads, and a spread that is not finite and at
    least 0.
    """
    _check(experiment)
    depth = whole_number("depth", depth, 1)
    if not len(spreads):
        raise ValueError("spreads must hold at least one, not none")
    sigma = np.array([nonnegative("spreads", each) for each in spreads])[:, None, None]
    n, members = experiment.streams, experiment.members
    noise = sample_noise(depth, n, members, experiment.seed)
    grown = np.empty((len(sigma), members, depth))
    x = np.full((len(sigma), members, n), 1.0 / math.sqrt(n))
    for layer in range(depth):
        x = x + sigma * np.einsum("mij,smj->smi", noise[:, layer], x)
        length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
        grown[..., layer] = np.log(length[..., 0])
        x = x / length
    each = grown.mean(axis=-1)
    low, median, high = np.quantile(each, (0.05, 0.5, 0.95), axis=-1)
    flat = grown.reshape(len(sigma), -1)
    values = {
        "median": median,
        "q05": low,
        "q95": high,
        "mean": flat.mean(axis=-1),
        "error": flat.std(axis=-1) / math.sqrt(flat.shape[-1]),
        "exact": np.array([drift_exponent(n, each) for each in sigma.ravel()]),
        "law": (n - 2) * sigma[:, 0, 0] ** 2 / 2,
    }
    return xr.Dataset(
        {name: ("spread", found) for name, found in values.items()},
        coords={"spread": sigma[:, 0, 0]},
        attrs={name: getattr(experiment, name) for name in ("streams", "seed", "members")}
        | {"depth": depth},
    )


# ---- four kinds of mixing ------------------------------------------------------------------------


def orthogonal(noise: Array) -> Floats:
    """Orthogonal matrices of normal noise (..., n, n), uniform over all of them (Haar).

    They are the Q of a QR decomposition, with the signs that make the diagonal of R positive
    (Mezzadri, Notices of the AMS 54, 2007).

    >>> q = orthogonal(sample_noise(depth=1, streams=4))[0, 0]
    >>> bool(np.allclose(q @ q.T, np.eye(4)))
    True

    Raises ValueError or TypeError for matrices that are not square or not finite.
    """
    _, given = square_matrices(noise, "noise")
    q, r = np.linalg.qr(np.asarray(given, dtype=np.float64))
    signs = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.asarray(q * signs[..., None, :])


FEW = 16
"""Iterations of Sinkhorn-Knopp before Newton's method, where no rate is wanted."""

KINDS = ("none", "orthogonal", "rows", "doubly-stochastic")
"""HC as it is; orthogonal matrices of the same noise; "rows" of `PROJECTIONS`; Sinkhorn's limit."""


@dataclass(frozen=True)
class Kinds:
    """The same networks with four kinds of mixing matrices, `KINDS`."""

    composite: Composite
    """(kind, members, depth, n, n)."""
    reached: float
    """The share of layers whose limit of Sinkhorn was reached."""

    def at(self, depth: int) -> xr.Dataset:
        """What the composites of `depth` layers do.  Variables, log10, each (kind):

        - `forward`, `backward`: the Amax gain as the paper defines it, the median over networks.
        - `difference`: the largest difference between streams that leaves, if a difference of
          length 1 enters, |(I - J) A (I - J)|_2 with J = 1/n everywhere: the median likewise.

        And not log10, but each as a sign and a log10 (kind, end): `mean_sign`, `mean_log10`: the
        sum over the streams that leaves if 1 enters one stream alone, its 5 and 95 % quantiles over
        networks and streams.  It is a column sum, 1 where the mean is kept.

        Raises ValueError or TypeError for a depth that is not there.
        """
        matrix, power = self.composite.scaled(depth)
        shift = LOG10_2 * np.asarray(power)
        gains = {d: np.median(log10_gain(matrix, d, "paper") + shift, axis=-1) for d in DIRECTIONS}
        n = matrix.shape[-1]
        left = np.full(shift.shape, -math.inf)
        if n > 1:
            basis = differences(n)
            left = log10(np, np.linalg.svdvals(basis.T @ matrix @ basis)[..., 0]) + shift
        sums = matrix.sum(axis=-2)
        sizes = log10(np, np.abs(sums)) + shift[..., None]
        ends = [_quantiles(s, np.sign(v)) for s, v in zip(sizes, sums, strict=True)]
        return xr.Dataset(
            {
                **{name: ("kind", values) for name, values in gains.items()},
                "difference": ("kind", np.median(left, axis=-1)),
                "mean_sign": (("kind", "end"), [[sign for sign, _ in each] for each in ends]),
                "mean_log10": (("kind", "end"), [[size for _, size in each] for each in ends]),
            },
            coords={"kind": list(KINDS), "end": ["q05", "q95"]},
            attrs={"depth": depth, "members": matrix.shape[1]},
        )


def _quantiles(log10_size: Floats, sign: Floats) -> list[tuple[float, float]]:
    """The values at the 5 and 95 % quantiles, as sign and log10; they may be beyond any float."""
    least = log10_size[np.isfinite(log10_size)].min(initial=0.0)
    key = np.where(sign == 0, 0.0, sign * (log10_size - least + 1.0))  # in the order of the values
    order = np.argsort(key, axis=None)
    signs, sizes = sign.ravel()[order], log10_size.ravel()[order]
    places = [round(q * (len(order) - 1)) for q in (0.05, 0.95)]
    return [(float(signs[k]), float(sizes[k])) for k in places]


def four_kinds(experiment: Experiment, *, depth: int = MAX_DEPTH) -> Kinds:
    """The experiment's networks as HC, and with three kinds of matrices that bound the composite.

    The experiment's projection is ignored.  For HC and the two stochastic kinds the noise and the
    init are the experiment's; the orthogonal matrices are made of normal noise of the same seed.

    >>> table = four_kinds(Experiment(members=8), depth=64).at(64)
    >>> bool(table["forward"].sel(kind="orthogonal") < math.log10(2))
    True

    Raises ValueError or TypeError for depth < 1.
    """
    _check(experiment)
    depth = whole_number("depth", depth, 1)
    members = range(experiment.members)
    hc, rows = _layers_of(experiment.changed(projection="rows"), members, depth, 1)
    limits = sinkhorn_limits(_logits_of(experiment, members, depth), FEW)
    noise = sample_noise(depth, experiment.streams, experiment.members, experiment.seed)
    layers = np.stack([hc, orthogonal(noise), rows, limits.matrix])
    return Kinds(compose(batch_innermost(np, layers)), float(limits.reached.mean()))

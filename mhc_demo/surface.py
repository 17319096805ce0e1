"""From an experiment to its gain surface: the one dataset that every figure draws from.

Depth and iterations are axes of the surface, not inputs: whoever moves a slider looks a value
up.  Only what changes the matrices themselves makes a new `Experiment`, and a new surface.

What bounds the speed: 31 x 128 x members products of n x n matrices, some 16 MB at n = 4 and 32
members, each touched a handful of times.  The members are cut into chunks that stay in cache,
and the chunks run on all cores (NumPy lets go of the interpreter lock inside each operation).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import param
import xarray as xr
from numpy.typing import NDArray

from ._arrays import batch_innermost, choice, whole_number
from .gains import DEFINITIONS, DIRECTIONS, METRICS, compose, log10_composite_gains, log10_gain
from .mixing import INITS, MAX_SEED, _noise_of, nonnegative
from .paper import MHC_PAPER
from .projections import PROJECTIONS, iterates

Floats: TypeAlias = NDArray[np.float64]

Measure: TypeAlias = Callable[[Floats, str], Floats]
"""(matrices (t, members, depth, n, n), definition) -> log10 gains (2, t, members, depth)."""

MAX_DEPTH = 128
MAX_ITERATIONS = 30
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
SERIES = ("member", *QUANTILES)
"""member: the first network of the ensemble; then quantiles over the whole of it."""


class Experiment(param.Parameterized):
    """What fixes the matrices: the one declaration of names, defaults and bounds.

    The page's controls, the URL, the command line and the keys of a saved state are derived from
    these parameters.  A value out of range raises ValueError that names it.
    """

    streams = param.Integer(
        4, bounds=(1, 64), label="Streams (n)", doc="Expansion rate n: residual streams."
    )
    seed = param.Integer(42, bounds=(0, MAX_SEED), label="Seed", doc="Seed of the noise.")
    spread = param.Number(
        1.0, bounds=(0.0, 100.0), label="Spread", doc="Standard deviation of the entries."
    )
    init = param.Selector(
        default="gaussian",
        objects={init.title: name for name, init in INITS.items()},
        label="Init",
        doc="How the matrices are drawn.",
    )
    projection = param.Selector(
        default="sinkhorn",
        objects={p.title: name for name, p in PROJECTIONS.items()},
        label="Projection",
        doc="What turns logits into the mixing matrix.",
    )
    members = param.Integer(
        32, bounds=(1, 1_000_000), label="Ensemble members", doc="Networks drawn."
    )
    definition = param.Selector(
        default="paper",
        objects={
            "Paper: largest |row sum|": "paper",
            "Worst case: induced norm": "worst-case",
        },
        label="Gain definition",
        doc="Which of the two quantities that go by the name of Amax gain.",
    )

    def values_of_experiment(self) -> dict[str, Any]:
        """The parameters that fix the matrices, by name."""
        return {name: getattr(self, name) for name in EXPERIMENT_PARAMETERS}


EXPERIMENT_PARAMETERS = tuple(name for name in Experiment.param if name != "name")
assert set(Experiment.param.definition.objects) == set(DEFINITIONS)


def gain_surface(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
) -> xr.Dataset:
    """log10 Amax gains of an experiment at every iteration count and depth.

    Variables of the dataset:

    - `log10_gain` (direction, iterations, depth, series): the composite of a network of that
      depth.  iterations 0 is HC, unprojected.
    - `expected_log10_gain` (depth): the exact mean of HC's `log10_gain` where theory gives it
      (definition "paper"), else NaN.

    direction is "forward" (row sums) or "backward" (column sums); series is "member" (the first
    network) or a quantile over the ensemble.

    >>> surface = gain_surface(Experiment(streams=4, seed=42, members=32))
    >>> dict(surface["log10_gain"].sizes)
    {'direction': 2, 'iterations': 31, 'depth': 128, 'series': 6}

    Raises ValueError or TypeError for depth < 1, iterations < 0 and a projection that does not
    exist for that many streams.
    """
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    gains = _over_ensemble(experiment, depth, iterations, _of_composites)
    depths = np.arange(1, depth + 1)
    expected = INITS[experiment.init].expected_log10_gain(
        depths, experiment.streams, experiment.spread
    )
    if expected is None or experiment.definition != "paper":
        expected = np.full(depth, np.nan)
    return xr.Dataset(
        {
            "log10_gain": (("direction", "iterations", "depth", "series"), gains),
            "expected_log10_gain": ("depth", expected),
        },
        coords=_axes(depth, iterations, "depth"),
        attrs={**experiment.values_of_experiment(), "source": MHC_PAPER},
    )


@cache
def _axes(
    depth: int, iterations: int, along: str, directions: tuple[str, ...] = DIRECTIONS
) -> xr.Coordinates:
    # Making the indexes takes longer than labelling the data with them.
    return xr.Dataset(
        coords={
            "direction": list(directions),
            "iterations": np.arange(iterations + 1),
            along: np.arange(1, depth + 1),
            "series": list(SERIES),
        }
    ).coords


def layer_gains(
    experiment: Experiment, *, depth: int = MAX_DEPTH, iterations: int = MAX_ITERATIONS
) -> xr.DataArray:
    """log10 Amax gains of every single layer, dimensions (direction, iterations, layer, series)."""
    return _along_layers(experiment, depth, iterations, _of_single_layers)


def layer_axis_gains(
    experiment: Experiment,
    *,
    depth: int,
    iterations: int = MAX_ITERATIONS,
    direction: str | None = None,
) -> xr.DataArray:
    """log10 gains on the paper's axes: against the layer l of one network of `depth` layers.

    Forward at l is the composite H_l ... H_1, backward at l is H_L ... H_l, the product from the
    last layer down (Fig. 3b, 7b).  Dimensions (direction, iterations, layer, series); only one
    direction is computed if one is named.
    """
    if direction is None:
        return _along_layers(experiment, depth, iterations, _of_both_ends)
    measure = _of_one_end(choice("direction", direction, DIRECTIONS))
    return _along_layers(experiment, depth, iterations, measure, (direction,))


def _along_layers(
    experiment: Experiment,
    depth: int,
    iterations: int,
    measure: Measure,
    directions: tuple[str, ...] = DIRECTIONS,
) -> xr.DataArray:
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    return xr.DataArray(
        _over_ensemble(experiment, depth, iterations, measure),
        dims=("direction", "iterations", "layer", "series"),
        coords=_axes(depth, iterations, "layer", directions),
        attrs={**experiment.values_of_experiment(), "source": MHC_PAPER},
    )


def member_matrices(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: Iterable[int] = range(MAX_ITERATIONS + 1),
    member: int = 0,
) -> xr.Dataset:
    """The matrices of one network: each layer's own and the composite up to it.

    Variables `layer` and `composite_mantissa` (iterations, depth, row, column) and
    `composite_exponent` (iterations, depth): composite = mantissa * 2**exponent.
    """
    _check(experiment)
    depth = whole_number("depth", depth, 1)
    member = whole_number("member", member, 0)
    if not isinstance(iterations, Iterable):
        raise TypeError(f"iterations must be a collection of whole numbers, not {iterations!r}")
    counts = sorted({whole_number("iterations", t, 0) for t in iterations})
    if not counts:
        raise ValueError("iterations must hold at least one count, not none")
    layers = _layer_matrices(experiment, range(member, member + 1), depth, counts[-1])
    picked = np.stack([layers[min(t, len(layers) - 1), 0] for t in counts])
    composite = compose(picked)
    n = np.arange(1, experiment.streams + 1)
    grid = ("iterations", "depth", "row", "column")
    return xr.Dataset(
        {
            "layer": (grid, picked),
            "composite_mantissa": (grid, np.ascontiguousarray(composite.mantissa)),
            "composite_exponent": (grid[:2], composite.exponent),
        },
        coords={"iterations": counts, "depth": np.arange(1, depth + 1), "row": n, "column": n},
        attrs={**experiment.values_of_experiment(), "member": member},
    )


def mixing_surface(
    experiment: Experiment, *, depth: int = MAX_DEPTH, iterations: int = MAX_ITERATIONS
) -> xr.Dataset:
    """Every mixing metric of the first network's composite, dimensions (iterations, depth).

    NaN at iterations 0 (HC) and for a projection whose products are unbounded: the metrics
    compare with a stochastic matrix.
    """
    _check(experiment)
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    values = {name: np.full((iterations + 1, depth), np.nan) for name in METRICS}
    if PROJECTIONS[experiment.projection].bounded and iterations:
        layers = _layer_matrices(experiment, range(1), depth, iterations)
        composites = np.ascontiguousarray(compose(layers[1:, 0]).matrices())
        for name, metric in METRICS.items():
            values[name][1:] = metric(composites)
    return xr.Dataset(
        {name: (("iterations", "depth"), v) for name, v in values.items()},
        coords={"iterations": np.arange(iterations + 1), "depth": np.arange(1, depth + 1)},
        attrs={**experiment.values_of_experiment(), "member": 0},
    )


def _check(experiment: Any) -> None:
    if not isinstance(experiment, Experiment):
        raise TypeError(f"experiment must be an Experiment, not {experiment!r}")
    for name in ("streams", "seed", "members"):
        whole_number(name, getattr(experiment, name), 0)  # param takes True for a whole number
    nonnegative("spread", experiment.spread)


def _layer_matrices(experiment: Experiment, members: range, depth: int, iterations: int) -> Floats:
    """HC's matrices and the projected ones, shape (t, members, depth, n, n).

    t runs over iterations 0 (HC), 1, 2, ...; a projection that does not iterate ends at 1.
    """
    n = experiment.streams
    init, chosen = INITS[experiment.init], PROJECTIONS[experiment.projection]
    noise = batch_innermost(np, _noise_of(members, depth, n, experiment.seed))
    mapping = init.mapping(noise, experiment.spread)
    logits = init.logits(noise, experiment.spread) if chosen.takes_logits else mapping
    count = min(iterations, iterations if chosen.iterative else 1)
    layers = np.empty((n, n, depth, 1 + count, len(members))).transpose(3, 4, 2, 0, 1)
    layers[0] = mapping
    for t, matrices in enumerate(iterates(logits, chosen.name, count), start=1):
        layers[t] = matrices
    return layers


def _of_composites(matrices: Floats, definition: str) -> Floats:
    return log10_composite_gains(matrices, "forward", definition)


def _of_single_layers(matrices: Floats, definition: str) -> Floats:
    return np.stack([log10_gain(matrices, d, definition) for d in DIRECTIONS])


def _of_both_ends(matrices: Floats, definition: str) -> Floats:
    # Gains of signals along the products from the first layer up, of gradients from the last down.
    return np.concatenate([_of_one_end(d)(matrices, definition) for d in DIRECTIONS])


def _of_one_end(direction: str) -> Measure:
    return lambda matrices, definition: log10_composite_gains(
        matrices, direction, definition, (direction,)
    )


def _over_ensemble(experiment: Experiment, depth: int, iterations: int, measure: Measure) -> Floats:
    """What is measured, over the whole ensemble: (direction, t, depth, series), t = 0, 1, ...."""
    _check(experiment)
    PROJECTIONS[experiment.projection].check(experiment.streams)

    def measure_chunk(members: range) -> Floats:
        layers = _layer_matrices(experiment, members, depth, iterations)
        return measure(layers, experiment.definition)

    chunks = _chunks(experiment, depth, iterations)
    if len(chunks) == 1:
        parts = [measure_chunk(chunks[0])]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(measure_chunk, chunks))
    series = _series(np.concatenate(parts, axis=-2))
    if series.shape[1] < iterations + 1:  # one-shot: the same at every count but 0
        series = series[:, [0] + [1] * iterations]
    return series


def _chunks(experiment: Experiment, depth: int, iterations: int) -> list[range]:
    """Members in pieces of about 8 MB of matrices, and a piece for each core if there are four."""
    each = (iterations + 1) * depth * experiment.streams**2 * 8
    cores = os.cpu_count() or 1
    size = max(1, min(2**23 // each, -(-experiment.members // cores)))
    if experiment.members < 4:
        size = experiment.members
    return [
        range(start, min(start + size, experiment.members))
        for start in range(0, experiment.members, size)
    ]


def _series(values: Floats) -> Floats:
    """Shape (..., members, depth) -> (..., depth, series), series as in `SERIES`."""
    if values.shape[-2] == 1:  # a network of its own is each of its quantiles
        return np.repeat(values[..., 0, :, None], len(SERIES), axis=-1)
    ordered = np.sort(np.moveaxis(values, -2, -1), axis=-1)
    last = ordered.shape[-1] - 1
    columns = [values[..., 0, :]]
    for q in QUANTILES.values():
        low = int(q * last)
        below, above = ordered[..., low], ordered[..., min(low + 1, last)]
        finite = np.where(below == above, 0.0, below)  # where both are -inf there is no step
        step = np.where(below == above, 0.0, above) - finite
        columns.append(below + step * (q * last - low))
    return np.stack(columns, axis=-1)

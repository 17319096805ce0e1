"""All projections on the same networks, and one experiment over a range of one parameter.

Both are loops over what `surface.py` computes.  All projections take the same noise, so that
nothing but the projection differs; in a phase map nothing but the parameter does.  How far the
sums of each layer are from 1 is measured in the same pass as the gains, while its matrices are in
cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import array_namespace

from ._arrays import Array, choice, square_matrices, whole_number, widened
from .gains import DIRECTIONS, Composite, compose, measured_composites
from .metrics import METRICS
from .paper import MHC_PAPER
from .projections import PROJECTIONS
from .surface import (
    MAX_DEPTH,
    MAX_ITERATIONS,
    SERIES,
    Experiment,
    Floats,
    _check,
    _Clock,
    _layers_of,
    _over_ensemble,
    gain_surface,
)

MIXING = {name: metric.compared for name, metric in METRICS.items() if metric.compared}
"""The metrics by which projections are compared, and of what each is: see `Metric.compared`."""

SWEPT = {"spread": tuple(step / 2 for step in range(21)), "streams": tuple(range(1, 17))}
"""The parameters that a phase map can vary, and their default values."""


def distance_from_doubly_stochastic(matrices: Array) -> Array:
    """The largest |row sum - 1| or |column sum - 1| of each matrix, shape (..., n, n) -> (...).

    It is 0 for a doubly stochastic matrix, and at most n - 1 for one that is stochastic in one
    direction.  Only the sums count: negative entries, which HC's matrices have, are allowed.

    >>> distance_from_doubly_stochastic([[0.5, 0.5], [0.25, 0.75]])
    np.float64(0.25)

    Raises ValueError or TypeError for matrices that are not square or not finite.
    """
    xp, matrices = square_matrices(matrices, "matrices")
    return _distance(widened(xp, matrices))


def _distance(matrices: Array) -> Array:
    xp = array_namespace(matrices)
    rows, columns = (
        xp.max(xp.abs(xp.sum(matrices, axis=axis) - 1.0), axis=-1) for axis in (-1, -2)
    )
    return xp.maximum(rows, columns)


def compare(
    experiment: Experiment,
    projections: Iterable[str] | None = None,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
) -> xr.Dataset:
    """The same networks under each projection; the experiment's own projection is ignored.

    `projections` are names of `PROJECTIONS`; by default, all that exist for that many streams.
    Variables, each with a dimension `projection`:

    - `log10_gain` (direction, iterations, depth, series): as in `gain_surface`.
    - `log10_norm` (iterations, depth, series): the larger of the induced infinity and 1 norms of
      the composite: the most that any signal or gradient grows, whatever the signs.
    - `distance` (iterations, depth, series): of the single layer at that depth, see
      `distance_from_doubly_stochastic`.
    - the metrics of `MIXING`, of the first network: those of a layer (iterations) are the median of
      all its layers; those of a composite (iterations, depth) are as in `mixing_surface`, and NaN
      at iterations 0 and for unbounded projections unless they ignore the scale.

    As everywhere, iterations 0 is HC, and a projection that does not iterate is the same at
    every other count.

    >>> comparison = compare(Experiment(members=4), ["sinkhorn", "rows"], depth=64, iterations=20)
    >>> gains = comparison["log10_gain"].sel(depth=64, direction="backward", series="median")
    >>> bool(gains.sel(projection="sinkhorn")[20] < gains.sel(projection="rows")[20])
    True

    Raises ValueError or TypeError for an unknown projection, one that does not exist for that
    many streams, no projections at all, depth < 1 and iterations < 0.
    """
    _check(experiment)
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    if projections is None:
        names = [p.name for p in PROJECTIONS.values() if _exists(p.name, experiment.streams)]
    elif isinstance(projections, str) or not isinstance(projections, Iterable):
        raise TypeError(f"projections must be a collection of names, not {projections!r}")
    else:
        names = [choice("projections", name, PROJECTIONS) for name in projections]
    if not names:
        raise ValueError("projections must hold at least one name, not none")
    experiments = [experiment.changed(projection=name) for name in names]
    measures = np.stack(
        [
            _over_ensemble(each, depth, iterations, _measured, "numpy", _Clock())
            for each in experiments
        ]
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        mixing = list(pool.map(lambda each: _mixing(each, depth, iterations), experiments))
    grid = ("projection", "iterations", "depth")
    return xr.Dataset(
        {
            "log10_gain": (("projection", "direction", *grid[1:], "series"), measures[:, :-2]),
            "log10_norm": ((*grid, "series"), measures[:, -2]),
            "distance": ((*grid, "series"), measures[:, -1]),
            **{
                name: (
                    grid[:2] if of == "layer" else grid,
                    np.stack([each[name] for each in mixing]),
                )
                for name, of in MIXING.items()
            },
        },
        coords={
            "projection": names,
            "direction": list(DIRECTIONS),
            "iterations": np.arange(iterations + 1),
            "depth": np.arange(1, depth + 1),
            "series": list(SERIES),
        },
        attrs=_attributes(experiment, "projection"),
    )


def phase_map(
    experiment: Experiment,
    along: str,
    values: Iterable[Any] | None = None,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
) -> xr.DataArray:
    """Median log10 composite gains of an experiment at every value of one of its parameters.

    `along` is "spread" or "streams"; `values`, by default those of `SWEPT`, replace the
    experiment's own.  Dimensions (along, direction, iterations, depth): an image over any two
    of them is a slice.  NaN where the projection does not exist for that many streams.

    >>> gains = phase_map(Experiment(members=3), "spread", [0.5, 1.0, 2.0], depth=64)
    >>> dict(gains.sizes)
    {'spread': 3, 'direction': 2, 'iterations': 31, 'depth': 64}

    Raises ValueError or TypeError for another parameter, a value out of its range, no values at
    all, depth < 1 and iterations < 0.
    """
    _check(experiment)
    along = choice("along", along, SWEPT)
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    if values is not None and not isinstance(values, Iterable):
        raise TypeError(f"values must be a collection, not {values!r}")
    steps = list(SWEPT[along] if values is None else values)
    if not steps:
        raise ValueError("values must hold at least one, not none")

    def medians(each: Experiment) -> Floats:
        if not _exists(each.projection, each.streams):
            return np.full((len(DIRECTIONS), iterations + 1, depth), np.nan)
        surface = gain_surface(each, depth=depth, iterations=iterations)
        return surface["log10_gain"].sel(series="median").values

    experiments = [experiment.changed(**{along: value}) for value in steps]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The largest networks first, so that none of them runs last while the other cores idle.
        gains = np.stack(list(pool.map(medians, reversed(experiments)))[::-1])
    return xr.DataArray(
        gains,
        dims=(along, "direction", "iterations", "depth"),
        coords={
            along: steps,
            "direction": list(DIRECTIONS),
            "iterations": np.arange(iterations + 1),
            "depth": np.arange(1, depth + 1),
        },
        attrs=_attributes(experiment, along),
    )


def _exists(projection: str, streams: int) -> bool:
    return PROJECTIONS[projection].sizes.hold(streams)


def _attributes(experiment: Experiment, varied: str) -> dict[str, Any]:
    values = experiment.values_of_experiment()
    fixed = {name: value for name, value in values.items() if name != varied}
    return fixed | {"source": MHC_PAPER}


def _measured(matrices: Array, definition: str) -> Array:
    # (t, members, depth, n, n) -> (4, t, members, depth)
    xp = array_namespace(matrices)

    def measure(piece: Composite) -> Array:
        gains = [piece.log10_gain(d, definition) for d in DIRECTIONS]
        return xp.stack([*gains, piece.log10_norm()])

    return xp.concat([measured_composites(matrices, measure), _distance(matrices)[None, ...]])


def _mixing(experiment: Experiment, depth: int, iterations: int) -> dict[str, Floats]:
    """The metrics of `MIXING` for the first network: (t,) of a layer, (t, depth) of a composite."""
    layers = np.ascontiguousarray(_layers_of(experiment, range(1), depth, iterations)[:, 0])
    composites = compose(layers)
    # One-shot: the same at every count but 0.
    counts = np.minimum(np.arange(iterations + 1), len(layers) - 1)
    bounded = PROJECTIONS[experiment.projection].bounded
    found: dict[str, Floats] = {}
    for name, of in MIXING.items():
        metric = METRICS[name]
        if of == "layer":
            found[name] = np.median(metric(layers), axis=-1)[counts]
        elif metric.scale_free:
            found[name] = metric(np.ascontiguousarray(composites.mantissa))[counts]
        else:
            found[name] = np.full((iterations + 1, depth), np.nan)
            if bounded and iterations:
                measured = metric(np.ascontiguousarray(composites.matrices()[1:]))
                found[name][1:] = measured[counts[1:] - 1]
    return found


def layer_under_each(
    experiment: Experiment, layer: int = 1, *, iterations: int = MAX_ITERATIONS
) -> xr.DataArray:
    """One layer of the first network under each projection, (projection, iterations, row, column).

    Every projection that exists for that many streams.  At iterations 0 all are HC's matrix.

    >>> matrices = layer_under_each(Experiment(seed=3), layer=5, iterations=2)
    >>> bool(np.allclose(matrices.sel(projection="rows", iterations=1).sum("column"), 1))
    True

    Raises ValueError or TypeError for layer < 1 and iterations < 0.
    """
    _check(experiment)
    layer = whole_number("layer", layer, 1)
    iterations = whole_number("iterations", iterations, 0)
    names = [p.name for p in PROJECTIONS.values() if _exists(p.name, experiment.streams)]
    found = []
    for name in names:
        layers = _layers_of(experiment.changed(projection=name), range(1), layer, iterations)[
            :, 0, -1
        ]
        found.append(layers[np.minimum(np.arange(iterations + 1), len(layers) - 1)])
    n = np.arange(1, experiment.streams + 1)
    return xr.DataArray(
        np.stack(found),
        dims=("projection", "iterations", "row", "column"),
        coords={
            "projection": names,
            "iterations": np.arange(iterations + 1),
            "row": n,
            "column": n,
        },
        attrs={**_attributes(experiment, "projection"), "member": 0, "layer": layer},
    )

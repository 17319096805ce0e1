"""All projections on the same networks, and one experiment over a range of one parameter.

Both are loops over what `surface.py` computes: the projections differ in nothing but the
projection, since all of them take the same noise; the cells of a phase map differ in nothing but
the parameter.  What a single layer leaves to be desired is measured in the same pass as the
gains, while its matrices are in cache.
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
from .gains import DIRECTIONS, METRICS, compose, log10_composite_gains
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

MIXING = ("second_singular_value", "stream_disagreement")
"""The mixing metrics by which projections are compared, of `METRICS`."""

SWEPT = {"spread": tuple(step / 2 for step in range(21)), "streams": tuple(range(1, 17))}
"""The parameters that a phase map runs over, and the values it takes by itself."""


def distance_from_doubly_stochastic(matrices: Array) -> Array:
    """The largest |row sum - 1| or |column sum - 1| of each matrix, shape (..., n, n) -> (...).

    It is 0 for a doubly stochastic matrix, and n - 1 at most for one that is stochastic in one
    direction.  The signs of the entries are not looked at: HC's matrices have negative ones.

    >>> distance_from_doubly_stochastic([[0.5, 0.5], [0.25, 0.75]])
    np.float64(0.25)

    Raises ValueError or TypeError for matrices that are not square or not finite.
    """
    xp, matrices = square_matrices(matrices, "matrices")
    return _distance(widened(xp, matrices))


def _distance(matrices: Array) -> Array:
    xp = array_namespace(matrices)
    off = [xp.max(xp.abs(xp.sum(matrices, axis=axis) - 1.0), axis=-1) for axis in (-1, -2)]
    return xp.maximum(*off)


def compare(
    experiment: Experiment,
    projections: Iterable[str] | None = None,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
) -> xr.Dataset:
    """What each projection makes of the same networks; the experiment's own one is not looked at.

    `projections` are names of `PROJECTIONS`; by themselves all that exist for that many streams.
    Variables, each with a dimension `projection`:

    - `log10_gain` (direction, iterations, depth, series): as of `gain_surface`.
    - `distance` (iterations, depth, series): of the single layer at that depth, see
      `distance_from_doubly_stochastic`.
    - `second_singular_value`, `stream_disagreement` (iterations, depth): of the first network's
      composite, as of `mixing_surface`; NaN at iterations 0 and where nothing is bounded.

    As everywhere, iterations 0 is HC, and a projection that does not iterate is the same at
    every other count.

    >>> found = compare(Experiment(members=4), ["sinkhorn", "rows"], depth=64, iterations=20)
    >>> gains = found["log10_gain"].sel(depth=64, direction="backward", series="median")
    >>> bool(gains.sel(projection="sinkhorn")[20] < gains.sel(projection="rows")[20])
    True

    Raises ValueError or TypeError for an unknown projection, or one that does not exist for that
    many streams, none at all, depth < 1 and iterations < 0.
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
    each = [_with(experiment, projection=name) for name in names]
    measured = np.stack(
        [
            _over_ensemble(one, depth, iterations, _gains_and_distance, "numpy", _Clock())
            for one in each
        ]
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        mixing = np.stack(list(pool.map(lambda one: _mixing(one, depth, iterations), each)))
    grid = ("projection", "iterations", "depth")
    return xr.Dataset(
        {
            "log10_gain": (("projection", "direction", *grid[1:], "series"), measured[:, :-1]),
            "distance": ((*grid, "series"), measured[:, -1]),
            **{name: (grid, mixing[:, k]) for k, name in enumerate(MIXING)},
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

    `along` is "spread" or "streams"; `values`, by themselves those of `SWEPT`, take the place of
    the experiment's own.  Dimensions (along, direction, iterations, depth): every image over two
    of them is a slice.  NaN where the projection does not exist for that many streams.

    >>> found = phase_map(Experiment(members=3), "spread", [0.5, 1.0, 2.0], depth=64)
    >>> dict(found.sizes)
    {'spread': 3, 'direction': 2, 'iterations': 31, 'depth': 64}

    Raises ValueError or TypeError for another parameter, a value out of its range, none at all,
    depth < 1 and iterations < 0.
    """
    _check(experiment)
    along = choice("along", along, SWEPT)
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    if values is not None and not isinstance(values, Iterable):
        raise TypeError(f"values must be a collection, not {values!r}")
    places = list(SWEPT[along] if values is None else values)
    if not places:
        raise ValueError("values must hold at least one, not none")

    def gains(one: Experiment) -> Floats:
        if not _exists(one.projection, one.streams):
            return np.full((len(DIRECTIONS), iterations + 1, depth), np.nan)
        surface = gain_surface(one, depth=depth, iterations=iterations)
        return surface["log10_gain"].sel(series="median").values

    each = [_with(experiment, **{along: value}) for value in places]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The largest networks first, so that no core ends with one of them alone.
        found = np.stack(list(pool.map(gains, reversed(each)))[::-1])
    return xr.DataArray(
        found,
        dims=(along, "direction", "iterations", "depth"),
        coords={
            along: places,
            "direction": list(DIRECTIONS),
            "iterations": np.arange(iterations + 1),
            "depth": np.arange(1, depth + 1),
        },
        attrs=_attributes(experiment, along),
    )


def _exists(projection: str, streams: int) -> bool:
    most = PROJECTIONS[projection].max_streams
    return most is None or streams <= most


def _with(experiment: Experiment, **changed: Any) -> Experiment:
    one = Experiment(**{**experiment.values_of_experiment(), **changed})
    _check(one)
    return one


def _attributes(experiment: Experiment, without: str) -> dict[str, Any]:
    values = experiment.values_of_experiment()
    return {name: value for name, value in values.items() if name != without} | {
        "source": MHC_PAPER
    }


def _gains_and_distance(matrices: Array, definition: str) -> Array:
    # (matrices (t, members, depth, n, n)) -> (3, t, members, depth)
    xp = array_namespace(matrices)
    gains = log10_composite_gains(matrices, "forward", definition)
    return xp.concat([gains, _distance(matrices)[None, ...]])


def _mixing(experiment: Experiment, depth: int, iterations: int) -> Floats:
    """The metrics of `MIXING` for the first network's composite, (metric, t, depth)."""
    values = np.full((len(MIXING), iterations + 1, depth), np.nan)
    if PROJECTIONS[experiment.projection].bounded and iterations:
        layers = _layers_of(experiment, range(1), depth, iterations)
        composites = np.ascontiguousarray(compose(layers[1:, 0]).matrices())
        for row, name in zip(values, MIXING, strict=True):
            row[1:] = METRICS[name](composites)
    return values

"""Comparisons of projections against the plain calls: project, multiply, measure."""

import math
from functools import cache

import array_api_strict
import numpy as np
import pytest
import torch
import xarray as xr
from naive import PAIRS, products, series_of

import mhc_demo as mhc
from mhc_demo.figures import style
from mhc_demo.figures.compare import (
    GROUPS,
    OF_LAYERS,
    QUANTITIES,
    REST,
    ROUNDING,
    STROKES,
    CompareFigure,
    layer_columns,
    strokes,
)
from mhc_demo.numerics.comparison import MIXING, layer_under_each
from mhc_demo.numerics.gains import DEFINITIONS, DIRECTIONS
from mhc_demo.numerics.metrics import METRICS
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import SERIES, Experiment

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

EVERY = pytest.mark.parametrize("name", PROJECTIONS)
ROUNDED = {"rtol": 1e-10, "atol": 1e-12}
"""The same products and sums, with additions in another order."""


def layers_of(experiment, name, depth, iterations):
    """The layers' matrices, (members, depth, n, n), each projected by itself."""
    takes_logits = iterations > 0 and PROJECTIONS[name].takes_logits
    inputs = mhc.sample_mixing(
        depth,
        experiment.streams,
        experiment.members,
        experiment.init,
        experiment.spread,
        experiment.seed,
        logits=takes_logits,
    )
    return np.stack(
        [[mhc.project(layer, name, iterations) for layer in network] for network in inputs]
    )


# The distance from doubly stochastic


@pytest.mark.parametrize(
    "convert", [np.asarray, torch.asarray, array_api_strict.asarray], ids=["numpy", "torch", "api"]
)
def test_the_distance_is_the_largest_error_of_a_sum(convert):
    matrices = np.array(
        [
            [[1.0, 0.0], [0.0, 1.0]],
            [[0.5, 0.5], [0.25, 0.75]],  # columns: 0.75, 1.25
            [[1.0, 0.0], [1.0, 0.0]],  # columns: 2, 0
            [[2.0, -1.0], [0.5, 0.5]],  # columns: 2.5, -0.5
            [[3.0, 0.0], [0.0, 1.0]],  # row: 3
        ]
    )
    distances = mhc.distance_from_doubly_stochastic(convert(matrices))
    assert np.asarray(distances).tolist() == [0.0, 0.25, 1.0, 1.5, 2.0]


def test_rows_alone_may_miss_a_column_by_n_minus_1():
    n = 5
    one_column = np.zeros((n, n))
    one_column[:, 2] = 1.0
    assert mhc.distance_from_doubly_stochastic(one_column) == n - 1


def test_only_a_matrix_has_a_distance():
    with pytest.raises(ValueError, match="matrices"):
        mhc.distance_from_doubly_stochastic(np.zeros((2, 3)))
    with pytest.raises(TypeError, match="matrices"):
        mhc.distance_from_doubly_stochastic("matrix")
    with pytest.raises(ValueError, match="finite"):
        mhc.distance_from_doubly_stochastic([[np.nan]])


# The comparison


@cache
def compared(init):
    """All projections at once, as the page compares them, by either definition of a gain."""
    experiment = Experiment(streams=4, members=4, seed=5, init=init)
    found = {}
    for definition in DEFINITIONS:
        experiment.definition = definition
        found[definition] = mhc.compare(experiment, depth=5, iterations=3)
    return experiment, found


@PAIRS
def test_every_number_is_that_of_the_plain_calls(name, init):
    chosen = PROJECTIONS[name]
    # Where signed entries add up to 1, that 1 is what rounding leaves of products of 10^3.
    sums = chosen.unit_rows and not chosen.nonnegative
    rounded = {**ROUNDED, "atol": 1e-10} if sums else ROUNDED
    experiment, comparisons = compared(init)
    for t in range(4):
        layers = layers_of(experiment, name, 5, t)
        composites = np.stack([products(network) for network in layers])
        norms = np.maximum(*(mhc.amax_gain(composites, d, "worst-case") for d in DIRECTIONS))
        distances = [
            [max(np.abs(matrix.sum(axis=axis) - 1).max() for axis in (0, 1)) for matrix in network]
            for network in layers
        ]
        for definition, comparison in comparisons.items():
            here = comparison.sel(projection=name, iterations=t)
            for direction in DIRECTIONS:
                gains = np.log10(mhc.amax_gain(composites, direction, definition))
                np.testing.assert_allclose(
                    here["log10_gain"].sel(direction=direction), series_of(gains), **rounded
                )
            np.testing.assert_allclose(here["log10_norm"], series_of(np.log10(norms)), **ROUNDED)
            np.testing.assert_allclose(here["distance"], series_of(np.array(distances)), **ROUNDED)
            for metric, of in MIXING.items():
                if of == "layer":
                    expected = np.median(METRICS[metric](layers[0]))
                elif METRICS[metric].scale_free or (t and chosen.bounded):
                    expected = METRICS[metric](composites[0])
                else:
                    assert here[metric].isnull().all()
                    continue
                np.testing.assert_allclose(here[metric], expected, rtol=1e-9, atol=1e-13)


@EVERY
def test_the_gains_are_those_of_the_gain_surface(name):
    experiment = Experiment(members=5, projection=name, spread=2.0)
    comparison = mhc.compare(experiment, [name], depth=20, iterations=4)
    surface = mhc.gain_surface(experiment, depth=20, iterations=4)
    xr.testing.assert_allclose(
        comparison["log10_gain"].sel(projection=name, drop=True),
        surface["log10_gain"],
        rtol=0,
        atol=1e-12,
    )


def test_a_comparison_is_labelled():
    experiment = Experiment(streams=3, members=2, seed=9, spread=0.5)
    comparison = mhc.compare(experiment, ["rows", "sinkhorn"], depth=7, iterations=2)
    assert comparison["projection"].values.tolist() == ["rows", "sinkhorn"]
    assert comparison["log10_gain"].dims == (
        "projection",
        "direction",
        "iterations",
        "depth",
        "series",
    )
    assert comparison["distance"].dims == ("projection", "iterations", "depth", "series")
    assert comparison["depth"].values.tolist() == list(range(1, 8))
    assert comparison["iterations"].values.tolist() == [0, 1, 2]
    assert comparison["series"].values.tolist() == list(SERIES)
    assert comparison.attrs["seed"] == 9
    assert "projection" not in comparison.attrs
    assert "2512.24880" in comparison.attrs["source"]


def test_every_projection_that_takes_that_many_streams_is_compared():
    few = mhc.compare(Experiment(streams=2, members=1), depth=2, iterations=1)
    assert few["projection"].values.tolist() == list(PROJECTIONS)
    many = mhc.compare(Experiment(streams=7, members=1), depth=2, iterations=1)
    assert many["projection"].values.tolist() == [
        name for name in PROJECTIONS if name not in ("mhc-lite", "kromhc")
    ]
    with pytest.raises(ValueError, match=r"mhc-lite.*6.*7"):
        mhc.compare(Experiment(streams=7), ["mhc-lite"])


def test_at_iteration_0_all_are_hc():
    comparison = mhc.compare(
        Experiment(members=3, init="identity", spread=0.3), depth=9, iterations=1
    )
    for variable in ("log10_gain", "distance"):
        here = comparison[variable].sel(iterations=0)
        xr.testing.assert_allclose(
            here, here.sel(projection="none", drop=True).broadcast_like(here), rtol=0, atol=1e-12
        )


def test_the_projection_of_the_experiment_itself_does_not_matter():
    one, other = (
        mhc.compare(Experiment(members=2, projection=p), depth=4, iterations=1)
        for p in ("rows", "exp")
    )
    xr.testing.assert_equal(one, other)


@pytest.mark.parametrize("spread", [0.5, 2.0, 8.0])
def test_iterations_bring_sinkhorn_nearer_to_doubly_stochastic(spread):
    experiment = Experiment(spread=spread, members=16)
    distance = mhc.compare(experiment, ["sinkhorn"], depth=32, iterations=20)["distance"]
    medians = distance.sel(series="median").median("depth").isel(projection=0)
    falling = medians.sel(iterations=[1, 2, 5, 10, 20]).values
    assert (np.diff(falling)[falling[1:] > ROUNDING] < 0).all()


def test_a_projection_that_promises_both_sums_keeps_both():
    comparison = mhc.compare(Experiment(spread=3.0, members=8), depth=16, iterations=1)
    for name, chosen in PROJECTIONS.items():
        largest = float(comparison["distance"].sel(projection=name, iterations=1).max())
        if chosen.unit_rows and chosen.unit_columns:
            assert largest < ROUNDING
        elif chosen.nonnegative and (chosen.unit_rows or chosen.unit_columns):
            assert ROUNDING < largest <= 3 + ROUNDING  # n - 1
        else:
            assert largest > ROUNDING


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"projections": "sinkhorn"}, TypeError, "projections.*'sinkhorn'"),
        ({"projections": 3}, TypeError, "projections.*3"),
        ({"projections": ["softmax"]}, ValueError, "projections.*'sinkhorn'.*'softmax'"),
        ({"projections": []}, ValueError, "projections"),
        ({"depth": 0}, ValueError, "depth.*0"),
        ({"iterations": -1}, ValueError, "iterations.*-1"),
        ({"iterations": 1.5}, TypeError, "iterations.*1.5"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        mhc.compare(Experiment(members=1), **arguments)
    with pytest.raises(TypeError, match="experiment"):
        mhc.compare("experiment")


@pytest.mark.parametrize("streams", [1, 4])
def test_a_layer_under_each_projection_is_that_of_the_plain_calls(streams):
    experiment = Experiment(streams=streams, seed=3, init="identity", spread=0.7)
    matrices = layer_under_each(experiment, layer=5, iterations=3)
    assert matrices["projection"].values.tolist() == list(PROJECTIONS)
    for name in PROJECTIONS:
        for t in range(4):
            expected = layers_of(experiment, name, 5, t)[0, -1]
            np.testing.assert_allclose(
                matrices.sel(projection=name, iterations=t), expected, **ROUNDED
            )


def test_a_norm_of_10_to_the_357_is_carried_as_its_logarithm():
    comparison = mhc.compare(Experiment(members=1, spread=5.0), ["exp"], iterations=1)
    norm = float(comparison["log10_norm"].sel(iterations=1, depth=128, series="median").squeeze())
    assert 308 < norm < 500  # beyond any float64


# The figure


def test_the_tables_hold_the_medians_and_no_rounding():
    comparison = mhc.compare(Experiment(members=3), depth=12, iterations=4)
    of_layers = layer_columns(comparison)
    assert set(of_layers) == {f"{n}.{q}" for n in PROJECTIONS for q in OF_LAYERS}
    for group in GROUPS:
        columns = group.columns(comparison)
        assert set(columns) == {f"{n}.{q}" for n in group.members for q in QUANTITIES}
        counts = [1] if group.at else range(5)
        for name in group.members:
            here = comparison.sel(projection=name, iterations=counts)
            table = {q: columns[f"{name}.{q}"].reshape(-1, 12) for q in QUANTITIES}
            medians = here.sel(series="median")
            for direction in DIRECTIONS:
                gains = medians["log10_gain"].sel(direction=direction)
                np.testing.assert_allclose(table[direction], gains, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(table["norm"], medians["log10_norm"], rtol=1e-6, atol=1e-7)
            for metric in set(QUANTITIES) & set(MIXING):
                np.testing.assert_allclose(table[metric], here[metric], rtol=1e-6)
    for name in PROJECTIONS:
        here = comparison.sel(projection=name)
        distances = here["distance"].sel(series="median").median("depth").values
        expected = np.where(distances < ROUNDING, 0.0, distances)
        np.testing.assert_allclose(of_layers[f"{name}.distance"], expected, rtol=1e-6)
        for metric in set(OF_LAYERS) & set(MIXING):
            np.testing.assert_allclose(of_layers[f"{name}.{metric}"], here[metric], rtol=1e-6)
    assert (of_layers["identity.distance"][1:] == 0).all()
    assert (of_layers["mhc-lite.distance"][1:] == 0).all()


def test_a_projection_that_does_not_exist_is_nan():
    comparison = mhc.compare(Experiment(streams=7, members=1), depth=3, iterations=1)
    columns = next(group for group in GROUPS if "mhc-lite" in group.members).columns(comparison)
    of_layers = layer_columns(comparison)
    for quantity in QUANTITIES:
        assert np.isnan(columns[f"mhc-lite.{quantity}"]).all()
    assert np.isnan(of_layers["mhc-lite.distance"]).all()
    assert np.isfinite(of_layers["rows.distance"]).all()


@pytest.mark.parametrize("streams", [1, 2, 4, 16])
@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0])
def test_the_fixed_axis_holds_everything_bounded(streams, spread):
    experiment = Experiment(streams=streams, spread=spread, members=2)
    comparison = mhc.compare(experiment, depth=20, iterations=3)
    y_range = CompareFigure(comparison, {"depth": 5, "iterations": 1}).y_range
    low, high = y_range.start, y_range.end
    assert low < 0 < math.log10(streams) + 0.1 < high
    for name in comparison["projection"].values:
        if PROJECTIONS[name].bounded:
            gains = comparison["log10_gain"].sel(projection=name).isel(iterations=slice(1, None))
            assert gains.max() < high
            if name != "spectral":  # which may vanish: nothing bounds it from below
                assert gains.min() > low


def test_where_nothing_is_pinned_every_projection_has_a_stroke_of_its_own():
    assert len({(each.colour, each.dash) for each in STROKES.values()}) == len(PROJECTIONS)
    leading = [name for name, chosen in PROJECTIONS.items() if chosen.leads]
    assert {name: STROKES[name] for name in leading} == {n: strokes(leading)[n] for n in leading}


def test_every_projection_has_its_own_label():
    assert len({each.label for each in PROJECTIONS.values()}) == len(PROJECTIONS)


def test_a_place_gives_what_is_pinned_there_its_stroke_and_the_rest_is_grey():
    pinned = ["rows", "-", "sinkhorn"]
    drawn = strokes(pinned)
    assert drawn.keys() == PROJECTIONS.keys()
    assert drawn["rows"] == style.stroke(0)
    assert drawn["sinkhorn"] == style.stroke(2)
    assert all(drawn[name] is REST for name in PROJECTIONS if name not in pinned)
    # HC has its colour in every plot, whatever its place.
    assert strokes(["rows", "none"])["none"].colour == style.HC
    assert style.HC not in {style.stroke(k).colour for k in range(6)}


def test_what_is_pinned_anew_is_drawn_as_if_it_had_been_pinned_from_the_start():
    comparison = mhc.compare(Experiment(members=2), depth=4, iterations=1)
    position = {"depth": 2, "iterations": 1}

    def looks(figure):
        return {
            renderer.name: (renderer.glyph.line_color, renderer.glyph.line_width)
            for p in figure.figures
            for renderer in p.renderers
            if renderer.name
        }

    pinned = ["exp", "-", "identity"]
    anew = CompareFigure(comparison, position, pinned=["none", "sinkhorn"])
    before = looks(anew)
    anew.pin(pinned)
    assert looks(anew) == looks(CompareFigure(comparison, position, pinned=pinned)) != before
    dots = {
        name: alpha
        for now in anew.now
        for name, alpha in zip(now.data["projection"], now.data["alpha"], strict=True)
    }
    assert {name for name, alpha in dots.items() if alpha} == {"exp", "identity"}


def test_a_family_of_lines_may_grow_to_36():
    assert len({(each.colour, each.dash) for each in map(style.stroke, range(36))}) == 36

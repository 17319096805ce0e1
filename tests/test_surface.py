"""Every number of the gain surface against the naive computation: project, multiply, measure."""

import dataclasses
import itertools
import math
import os

import array_api_strict
import numpy as np
import pytest
import torch
import xarray as xr
from array_api_compat import array_namespace
from naive import PAIRS, products, series_of

import mhc_demo as mhc
from mhc_demo.numerics import surface as surfaces
from mhc_demo.numerics._arrays import batch_innermost
from mhc_demo.numerics.devices import place
from mhc_demo.numerics.gains import DEFINITIONS, DIRECTIONS
from mhc_demo.numerics.growth import gaussian_exponents
from mhc_demo.numerics.metrics import METRICS
from mhc_demo.numerics.mixing import INITS, PARAMETERS
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import (
    EXPERIMENT_PARAMETERS,
    MAX_DEPTH,
    MAX_ITERATIONS,
    QUANTILES,
    SERIES,
    Experiment,
    gain_surface,
    layer_axis_gains,
    layer_gains,
    member_matrices,
    mixing_surface,
)

pytestmark = pytest.mark.filterwarnings("error")

EVERY = pytest.mark.parametrize("name", PROJECTIONS)
ROUNDING = {"rtol": 0, "atol": 1e-12}
"""In decades.  The same products with additions in another order: some 1e-15 each, and some 1e-13
for a sum that cancels to a hundredth."""


def naive_layers(experiment, depth, iterations):
    """The mixing matrices, one network after another: (members, depth, n, n)."""
    inputs = {
        logits: mhc.sample_mixing(
            depth,
            experiment.streams,
            experiment.members,
            experiment.init,
            experiment.spread,
            experiment.seed,
            logits=logits,
        )
        for logits in (False, True)
    }
    if iterations == 0:
        return inputs[False]
    takes_logits = PROJECTIONS[experiment.projection].takes_logits
    return np.stack(
        [
            [mhc.project(layer, experiment.projection, iterations) for layer in network]
            for network in inputs[takes_logits]
        ]
    )


def naive_log10_gain(matrix, direction, definition):
    sums = np.abs(matrix) if definition == "worst-case" else matrix
    return math.log10(np.abs(sums.sum(1 if direction == "forward" else 0)).max())


def products_from_the_last(layers):
    """H_L ... H_l for every l, by plain matrix products."""
    result = [layers[-1]]
    for layer in layers[-2::-1]:
        result.append(result[-1] @ layer)
    return result[::-1]


# The surface


@PAIRS
def test_every_value_is_that_of_plain_matrix_products(name, init):
    depth, iterations = 6, 3
    experiment = Experiment(streams=4, members=5, seed=3, projection=name, init=init)
    layers = [naive_layers(experiment, depth, t) for t in range(iterations + 1)]
    composites = [[products(network) for network in networks] for networks in layers]
    # Sums of signed entries, of up to 10^7 here, are 1 by theorem but not in plain products.
    signed = not PROJECTIONS[name].nonnegative and PROJECTIONS[name].unit_rows
    rounding = {"rtol": 1e-9, "atol": 1e-8} if signed else ROUNDING
    for definition in DEFINITIONS:
        experiment.definition = definition
        surface = gain_surface(experiment, depth=depth, iterations=iterations)["log10_gain"]
        single = layer_gains(experiment, depth=depth, iterations=iterations)
        for t, direction in itertools.product(range(iterations + 1), DIRECTIONS):
            for array, along, matrices in (
                (surface, "depth", composites[t]),
                (single, "layer", layers[t]),
            ):
                gains = [
                    [naive_log10_gain(m, direction, definition) for m in network]
                    for network in matrices
                ]
                ours = array.sel(direction=direction, iterations=t)
                np.testing.assert_allclose(
                    ours.transpose(along, "series"), series_of(np.array(gains)), **rounding
                )


def test_the_surface_is_labelled():
    experiment = Experiment(streams=3, members=2, seed=9, spread=0.5, projection="rows")
    surface = gain_surface(experiment)
    assert dict(surface["log10_gain"].sizes) == {
        "direction": 2,
        "iterations": MAX_ITERATIONS + 1,
        "depth": MAX_DEPTH,
        "series": len(SERIES),
    }
    assert surface["direction"].values.tolist() == ["forward", "backward"]
    assert surface["iterations"].values.tolist() == list(range(31))
    assert surface["depth"].values.tolist() == list(range(1, MAX_DEPTH + 1))
    assert surface["series"].values.tolist() == ["member", "q05", "q25", "median", "q75", "q95"]
    for parameter in EXPERIMENT_PARAMETERS:
        if parameter not in PARAMETERS:  # which only some inits have
            assert surface.attrs[parameter] == getattr(experiment, parameter)
    assert surface.attrs.keys().isdisjoint(PARAMETERS)
    assert "2512.24880" in surface.attrs["source"]


@EVERY
def test_iteration_0_is_hc_whatever_the_projection(name):
    settings = {"streams": 4, "members": 3, "init": "identity", "spread": 0.3}
    hc = gain_surface(Experiment(projection="none", **settings), depth=5, iterations=0)
    for iterations in (0, 1, 4):
        surface = gain_surface(
            Experiment(projection=name, **settings), depth=5, iterations=iterations
        )
        xr.testing.assert_allclose(
            surface["log10_gain"].sel(iterations=0), hc["log10_gain"].sel(iterations=0), **ROUNDING
        )


@EVERY
def test_a_projection_that_does_not_iterate_is_the_same_at_every_count_but_0(name):
    surface = gain_surface(Experiment(projection=name, members=2), depth=5, iterations=4)
    gains = surface["log10_gain"]
    if PROJECTIONS[name].iterative:
        assert (gains.sel(iterations=1) != gains.sel(iterations=4)).any()
    else:
        for t in (2, 3, 4):
            xr.testing.assert_equal(
                gains.sel(iterations=t, drop=True), gains.sel(iterations=1, drop=True)
            )


def test_a_smaller_surface_is_a_corner_of_a_larger_one():
    experiment = Experiment(members=3)
    large = gain_surface(experiment, depth=40, iterations=5)["log10_gain"]
    small = gain_surface(experiment, depth=17, iterations=2)["log10_gain"]
    corner = large.sel(depth=slice(1, 17), iterations=slice(0, 2))
    xr.testing.assert_allclose(small, corner, **ROUNDING)


@pytest.mark.parametrize("name", ["sinkhorn", "mhc-lite", "exp"])
def test_the_first_member_does_not_depend_on_the_ensemble(name):
    alone = gain_surface(Experiment(projection=name, members=1), iterations=3, depth=20)
    for members in (2, 5, 33):
        larger = gain_surface(Experiment(projection=name, members=members), iterations=3, depth=20)
        xr.testing.assert_allclose(
            larger["log10_gain"].sel(series="member"),
            alone["log10_gain"].sel(series="member"),
            **ROUNDING,
        )
    # And every quantile over one member is that member.
    for series in QUANTILES:
        np.testing.assert_array_equal(
            alone["log10_gain"].sel(series=series), alone["log10_gain"].sel(series="member")
        )


@pytest.mark.parametrize("sizes", [(33,), (1,) * 33, (32, 1), (5, 7, 11, 10)], ids=str)
def test_how_the_ensemble_is_divided_changes_nothing(sizes, monkeypatch):
    experiment = Experiment(members=33, seed=8)
    whole = gain_surface(experiment, depth=20, iterations=3)
    starts = np.cumsum((0, *sizes))
    chunks = [range(a, b) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
    monkeypatch.setattr(surfaces, "_chunks", lambda *_: chunks)
    xr.testing.assert_allclose(
        gain_surface(experiment, depth=20, iterations=3), whole, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("cores", [None, 1, 2, 64])
@pytest.mark.parametrize("members", [1, 3, 4, 5, 33, 1_000])
@pytest.mark.parametrize("streams", [1, 4, 64])
def test_the_chunks_are_the_ensemble_in_order(cores, members, streams, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    experiment = Experiment(members=members, streams=streams)
    for target in (place("numpy"), place("cpu"), simulated_gpu()):
        chunks = surfaces._chunks(experiment, 128, 30, target)
        assert [member for chunk in chunks for member in chunk] == list(range(members))
        assert all(len(chunk) > 0 for chunk in chunks)


def simulated_gpu():
    """A CPU that runs the code for a GPU: single precision, in the memory layout of the kernels."""
    return dataclasses.replace(place("cpu"), dtype=torch.float32, gpu=True)


@PAIRS
def test_every_device_gives_the_surface_of_numpy(name, init):
    experiment = Experiment(projection=name, init=init, members=5, streams=4, seed=1)
    expected = gain_surface(experiment, depth=12, iterations=4)
    surface = gain_surface(experiment, depth=12, iterations=4, device="cpu")
    xr.testing.assert_allclose(surface, expected, rtol=0, atol=1e-12)
    assert surface["log10_gain"].dtype == np.float64
    for gains in (layer_gains, layer_axis_gains):
        xr.testing.assert_allclose(
            gains(experiment, depth=7, iterations=3, device="cpu"),
            gains(experiment, depth=7, iterations=3),
            rtol=0,
            atol=1e-12,
        )


@EVERY
def test_the_code_for_a_gpu_gives_the_surface_too(name, monkeypatch):
    experiment = Experiment(projection=name, members=5, streams=4, seed=1)
    expected = gain_surface(experiment, depth=64, iterations=4)
    monkeypatch.setattr(surfaces, "place", lambda device: simulated_gpu())
    monkeypatch.setattr(surfaces, "_SORTED_AT_A_TIME", 1000)
    surface = gain_surface(experiment, depth=64, iterations=4, device="cuda")
    # 64 products of single-precision matrices, one of which may nearly cancel.
    xr.testing.assert_allclose(surface, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_surface_says_what_computed_it_and_how_much(device):
    experiment = Experiment(members=5, streams=3)
    attrs = gain_surface(experiment, depth=12, iterations=4, device=device).attrs
    assert attrs["device"] == place(device).title
    assert attrs["projected"] == 5 * 12
    assert 0 < attrs["projection_seconds"] < 60
    assert gain_surface(experiment, depth=12, iterations=0).attrs["projected"] == 0


@pytest.mark.parametrize("members", [1, 2, 3, 20, 21, 101])
def test_quantiles_are_those_of_numpy(members, monkeypatch):
    values = np.random.default_rng(0).standard_normal((2, 3, members, 4))
    expected = np.stack(
        [values[:, :, 0], *(np.quantile(values, q, axis=2) for q in QUANTILES.values())], axis=-1
    )
    # The same linear interpolation, written in two ways.
    for parts in ([values], np.array_split(values, min(3, members), axis=2)):
        series = surfaces._series(parts, place("numpy"))
        np.testing.assert_allclose(series, expected, rtol=0, atol=1e-15 * 4)
        monkeypatch.setattr(surfaces, "_SORTED_AT_A_TIME", 1)
        np.testing.assert_array_equal(surfaces._series(parts, place("numpy")), series)


def test_quantiles_of_an_ensemble_that_vanished_are_minus_infinity():
    values = np.full((1, 1, 7, 3), -np.inf)
    np.testing.assert_array_equal(
        surfaces._series([values], place("numpy")), np.full((1, 1, 3, 6), -np.inf)
    )


@EVERY
def test_without_spread_nothing_is_random(name):
    gaussian = gain_surface(
        Experiment(projection=name, spread=0, members=3), depth=4, iterations=2
    )["log10_gain"]
    # Zero matrices: HC's gain is 0 from the first layer on, without a warning.
    assert (gaussian.sel(iterations=0) == -np.inf).all()
    identity = gain_surface(
        Experiment(projection=name, init="identity", spread=0, members=3), depth=4, iterations=2
    )["log10_gain"]
    np.testing.assert_array_equal(identity.sel(iterations=0), 0)
    for gains in (gaussian, identity):
        for series in QUANTILES:
            np.testing.assert_array_equal(gains.sel(series=series), gains.sel(series="member"))


def test_the_expected_gain_is_that_of_theory():
    depth = np.arange(1, 11)
    surface = gain_surface(Experiment(spread=2.0, members=1), depth=10, iterations=1)
    theory = INITS["gaussian"].expected_log10_gain(depth, 4, 2.0)
    np.testing.assert_array_equal(surface["expected_log10_gain"], theory)
    slope = np.diff(surface["expected_log10_gain"])
    np.testing.assert_allclose(slope, mhc.gaussian_growth(4, 2.0)[0], rtol=1e-12)


@pytest.mark.parametrize(
    "without", [{"definition": "worst-case"}, {"init": "alike"}, {"spread": 0.0}], ids=str
)
def test_the_expected_gain_is_nan_elsewhere(without):
    surface = gain_surface(Experiment(members=1, **without), depth=5, iterations=1)
    assert surface["expected_log10_gain"].isnull().all()


@pytest.mark.parametrize("spread", [0.1, 1.0, 8.0, 100.0])
def test_one_exact_direction_caps_the_other_at_n(spread):
    n = 4
    for name in PROJECTIONS:
        chosen = PROJECTIONS[name]
        if not (chosen.nonnegative and (chosen.unit_rows or chosen.unit_columns)):
            continue
        experiment = Experiment(projection=name, spread=spread, members=8)
        gains = gain_surface(experiment, iterations=3)["log10_gain"].sel(iterations=slice(1, None))
        for direction, exact in (
            ("forward", chosen.unit_rows),
            ("backward", chosen.unit_columns),
        ):
            here = gains.sel(direction=direction)
            if exact:
                np.testing.assert_allclose(here, 0, atol=1e-13)  # 128 roundings of 2^-52
            else:
                assert here.max() <= math.log10(n) + 1e-13


def test_iterations_after_the_first_bring_the_gain_from_below_n_towards_1():
    gains = gain_surface(Experiment(spread=3.0, members=64), iterations=20)["log10_gain"]
    backward = gains.sel(direction="backward", series="median", depth=64)
    steps = backward.sel(iterations=[1, 2, 5, 10, 20]).values
    assert (np.diff(steps) < 0).all()
    assert steps[0] < math.log10(4)


# The paper's layer axes


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("name", ["sinkhorn", "rows", "exp"])
def test_backward_on_the_layer_axis_runs_from_the_last_layer_down(name, definition):
    depth, iterations = 7, 2
    experiment = Experiment(streams=4, members=5, projection=name, definition=definition)
    by_layer = layer_axis_gains(experiment, depth=depth, iterations=iterations)
    assert by_layer.dims == ("direction", "iterations", "layer", "series")
    assert by_layer["layer"].values.tolist() == list(range(1, depth + 1))
    for t in range(iterations + 1):
        layers = naive_layers(experiment, depth, t)
        for direction, composites in (
            ("forward", products),
            ("backward", products_from_the_last),
        ):
            gains = [
                [naive_log10_gain(m, direction, definition) for m in composites(network)]
                for network in layers
            ]
            np.testing.assert_allclose(
                by_layer.sel(direction=direction, iterations=t),
                series_of(np.array(gains)),
                **ROUNDING,
            )


def test_both_readings_of_depth_meet_at_the_ends_of_the_network():
    experiment = Experiment(members=5)
    by_layer = layer_axis_gains(experiment, depth=20, iterations=2)
    by_depth = gain_surface(experiment, depth=20, iterations=2)["log10_gain"]
    np.testing.assert_allclose(
        by_layer.sel(direction="forward"), by_depth.sel(direction="forward"), **ROUNDING
    )
    # The whole network is the backward composite at layer 1, and the composite of depth 20.
    np.testing.assert_allclose(
        by_layer.sel(direction="backward", layer=1),
        by_depth.sel(direction="backward", depth=20),
        **ROUNDING,
    )


# The matrices of one network


@EVERY
@pytest.mark.parametrize("member", [0, 3])
def test_member_matrices_are_the_layers_and_their_products(name, member):
    experiment = Experiment(streams=4, members=4, projection=name, init="identity")
    matrices = member_matrices(experiment, depth=5, iterations=[4, 0, 1, 1], member=member)
    assert matrices["iterations"].values.tolist() == [0, 1, 4]
    assert matrices["layer"].dims == ("iterations", "depth", "row", "column")
    assert matrices["row"].values.tolist() == matrices["column"].values.tolist() == [1, 2, 3, 4]
    assert matrices.attrs["member"] == member
    for t in (0, 1, 4):
        here = matrices.sel(iterations=t)
        layers = naive_layers(experiment, 5, t)[member]
        np.testing.assert_allclose(here["layer"], layers, rtol=0, atol=1e-14)
        composite = np.ldexp(
            here["composite_mantissa"].values,
            here["composite_exponent"].values[:, None, None],
        )
        np.testing.assert_allclose(composite, products(layers), rtol=1e-12, atol=1e-12)


def test_a_member_is_the_same_whatever_the_size_of_the_ensemble():
    one = member_matrices(Experiment(members=1), depth=4, iterations=[1], member=7)
    many = member_matrices(Experiment(members=100), depth=4, iterations=[1], member=7)
    np.testing.assert_array_equal(one["layer"], many["layer"])


def test_composites_beyond_any_float_are_carried_by_their_exponent():
    matrices = member_matrices(Experiment(projection="exp", spread=5), iterations=[1])
    assert np.isfinite(matrices["composite_mantissa"]).all()
    assert matrices["composite_exponent"].max() > 1_100


# Mixing


@EVERY
def test_mixing_metrics_are_those_of_the_composite(name):
    experiment = Experiment(projection=name, seed=5, members=1)
    mixing = mixing_surface(experiment, depth=6, iterations=3)
    composites = [products(naive_layers(experiment, 6, t)[0]) for t in range(4)]
    assert set(mixing.data_vars) == {*METRICS, "expected_log10_ratio", "deviation_log10_ratio"}
    for metric in METRICS.values():
        values = mixing[metric.name]
        assert values.dims == ("iterations", "depth")
        if not metric.scale_free:  # it compares with a stochastic matrix
            assert values.sel(iterations=0).isnull().all()
            if not (PROJECTIONS[name].bounded and PROJECTIONS[name].nonnegative):
                assert values.isnull().all()
                continue
        for t in range(0 if metric.scale_free else 1, 4):
            expected = [float(metric(m)) for m in composites[t]]
            # Distances of 1e-4 from uniform and singular values, to the rounding of entries of 1.
            np.testing.assert_allclose(values.sel(iterations=t), expected, rtol=1e-9, atol=1e-13)


def test_only_the_metrics_that_are_wanted_are_measured():
    whole = mixing_surface(Experiment(), depth=5, iterations=2)
    few = mixing_surface(Experiment(), depth=5, iterations=2, metrics=["spectral_gap", "one_norm"])
    assert set(few.data_vars) == {"spectral_gap", "one_norm"}
    xr.testing.assert_identical(few["spectral_gap"], whole["spectral_gap"])


def test_the_ratio_of_singular_values_goes_on_below_the_rounding_of_the_product():
    mixing = mixing_surface(Experiment(), iterations=20, metrics=["singular_ratio"])
    ratio = mixing["singular_ratio"].sel(iterations=20)
    assert 0 < ratio[-1] < 1e-40
    assert (np.diff(np.log(ratio)) < 0.1).all()  # no floor, and no noise


def test_the_theory_of_the_ratio_is_that_of_the_exponents():
    exponents, deviations = gaussian_exponents(4)
    mixing = mixing_surface(Experiment(spread=3.0), iterations=0, metrics=["singular_ratio"])
    expected, deviation = mixing["expected_log10_ratio"], mixing["deviation_log10_ratio"]
    np.testing.assert_allclose(
        expected * math.log(10), (exponents[1] - exponents[0]) * mixing["depth"], rtol=1e-13
    )
    assert deviation[63] * math.log(10) == pytest.approx(8 * math.hypot(*deviations[:2]))
    # One network, whose deviation at each depth is smaller than that of theory
    off = np.log10(mixing["singular_ratio"].sel(iterations=0)) - expected
    assert (np.abs(off) < 0.5 + 3.5 * deviation).all()
    for unknown in ({"init": "identity"}, {"streams": 1}, {"spread": 0.0}):
        mixing = mixing_surface(Experiment(**unknown), depth=3, metrics=["singular_ratio"])
        assert mixing["expected_log10_ratio"].isnull().all()


def test_mixing_only_increases():
    mixing = mixing_surface(Experiment(projection="mhc-lite"), iterations=1).sel(iterations=1)
    rounding = 1e-14  # once uniform, only rounding is left
    for name in ("uniform_distance", "second_singular_value", "stream_disagreement"):
        assert (np.diff(mixing[name]) <= rounding).all()
    identity = mixing_surface(Experiment(projection="identity"), iterations=1).sel(iterations=1)
    np.testing.assert_allclose(identity["uniform_distance"], math.sqrt(3), rtol=1e-15)
    np.testing.assert_allclose(identity["effective_streams"], 4, rtol=1e-15)


def test_what_ignores_the_scale_is_known_of_hc_at_any_depth():
    mixing = mixing_surface(Experiment(spread=100.0), iterations=0)  # up to 10^290
    composites = member_matrices(Experiment(spread=100.0), iterations=[0])["composite_mantissa"]
    negative = (composites < 0).any(("row", "column"))
    for name, metric in METRICS.items():
        if metric.signed:
            assert mixing[name].isnull().all() != metric.scale_free
        else:  # known where, by chance, no entry is negative
            assert (mixing[name].isnull() == negative).all()
    left = mixing["effective_streams"].sel(iterations=0)
    assert left.sel(depth=1) > 1.5
    assert left.sel(depth=128) == pytest.approx(1, abs=1e-12)  # of rank one


# The layout in memory


@pytest.mark.parametrize(
    "convert",
    [np.asarray, torch.from_numpy, array_api_strict.asarray],
    ids=["numpy", "torch", "strict"],
)
def test_batch_innermost_moves_nothing_but_the_memory(convert):
    matrices = np.random.default_rng(0).standard_normal((2, 5, 3, 3))
    packed = batch_innermost(array_namespace(convert(matrices)), convert(matrices))
    assert type(packed) is type(convert(matrices))
    np.testing.assert_array_equal(np.asarray(packed), matrices)
    if convert is not array_api_strict.asarray:  # which does not control its memory layout
        assert np.asarray(packed).transpose(2, 3, 0, 1).flags.c_contiguous


# The experiment


def test_the_defaults_are_those_of_the_headline():
    experiment = Experiment()
    assert experiment.values_of_experiment() == {
        "streams": 4,
        "seed": 42,
        "spread": 1.0,
        "init": "gaussian",
        "projection": "sinkhorn",
        "members": 32,
        "definition": "paper",
    }


def test_an_experiment_knows_every_projection_init_and_definition():
    assert list(Experiment.param.projection.objects) == list(PROJECTIONS)
    assert list(Experiment.param.init.objects) == list(INITS)
    assert set(Experiment.param.definition.objects) == set(DEFINITIONS)


@pytest.mark.parametrize("extreme", ["streams", "seed", "spread", "members"])
def test_an_experiment_accepts_its_bounds_and_nothing_beyond(extreme):
    low, high = Experiment.param[extreme].bounds
    for value in (low, high):
        assert getattr(Experiment(**{extreme: value}), extreme) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"{extreme}.*{value}"):
            Experiment(**{extreme: value})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@EVERY
def test_a_gpu_gives_the_surface_of_numpy(name):
    experiment = Experiment(projection=name, members=5, streams=4, seed=1)
    surface = gain_surface(experiment, depth=64, iterations=4, device="cuda")
    expected = gain_surface(experiment, depth=64, iterations=4)
    xr.testing.assert_allclose(surface, expected, rtol=0, atol=2e-3)  # as above


def test_where_sums_of_1_are_kept_the_papers_gain_is_1_and_no_rounding() -> None:
    # At depth 128 the entries are 10^21 and more, of which rounding leaves sums of 10^5.
    for name, directions in (
        ("signed-sums", ["forward", "backward"]),
        ("signed-rows", ["forward"]),
    ):
        gains = mhc.gain_surface(mhc.Experiment(members=3, projection=name), iterations=2)
        projected = gains["log10_gain"].sel(direction=directions, iterations=[1, 2])
        assert (projected == 0).all()
        assert (gains["log10_gain"].sel(iterations=0, depth=128) > 10).all()  # HC is as it was
        worst = mhc.Experiment(members=3, projection=name, definition="worst-case")
        worst_gain = mhc.gain_surface(worst, iterations=2)["log10_gain"]
        assert (worst_gain.sel(iterations=1, depth=128, series="median") > 10).all()
        for direction in (None, "backward"):
            layers = mhc.layer_axis_gains(
                mhc.Experiment(members=3, projection=name), depth=100, direction=direction
            )
            at_once = layers.sel(iterations=1)
            for each in layers["direction"].values:
                assert (at_once.sel(direction=each) == 0).all() == (each in directions)

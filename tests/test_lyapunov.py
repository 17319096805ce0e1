"""Lyapunov exponents against theory, and ratios of singular values against 400 digits."""

import math

import array_api_strict
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.numerics.lyapunov import SCALE_FREE
from mhc_demo.numerics.metrics import METRICS
from mhc_demo.story.formulas import FORMULAS

pytestmark = pytest.mark.filterwarnings("error")

BACKENDS = {
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "array_api_strict": array_api_strict.asarray,
}


def exact_log10_ratio(layers, digits):
    """log10 of s2/s1 of the product, from the eigenvalues of P^T P in so many digits."""
    with mpmath.workdps(digits):
        product = mpmath.eye(layers.shape[-1])
        for layer in layers:
            product = mpmath.matrix(layer.tolist()) * product
        squares = sorted(mpmath.eigsy(product.T * product, eigvals_only=True), reverse=True)
        return float(mpmath.log10(abs(squares[1]) / squares[0]) / 2)


NETWORKS = {
    "HC": lambda Z: Z,
    "HC from the identity": lambda Z: np.eye(Z.shape[-1]) + 0.2 * Z,
    "Sinkhorn": mhc.sinkhorn_knopp,
    "Sinkhorn, one iteration": lambda Z: mhc.sinkhorn_knopp(5 * Z, 1),
    "rows": lambda Z: mhc.project(Z, "rows"),
    "badly scaled": lambda Z: Z * np.array([1e-6, 1, 1e3, 1])[: Z.shape[-1]],
}


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_ratio_is_exact_at_depth_128_however_small(network, n):
    layers = network(mhc.sample_mixing(128, n, seed=n)[0])
    found = mhc.log10_singular_ratio(layers)
    for depth in (1, 128):
        # Twice the digits of the ratio, since it is squared; in decades, 10^-700 at the smallest.
        exact = exact_log10_ratio(layers[:depth], digits=int(60 - 2.2 * min(found[depth - 1], 0)))
        assert found[depth - 1] == pytest.approx(exact, abs=1e-8)
    assert found.shape == (128,)


def test_a_plain_svd_of_the_product_would_not_do():
    layers = mhc.sinkhorn_knopp(mhc.sample_mixing(128, 4)[0])
    plain = METRICS["singular_ratio"](mhc.compose(layers).mantissa)[-1]
    assert mhc.log10_singular_ratio(layers)[-1] < -50
    assert plain > 1e-18


def test_a_product_of_rank_one_has_no_second_singular_value():
    for layer in ([[0.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]):
        np.testing.assert_array_equal(mhc.log10_singular_ratio([layer] * 3), -math.inf)
    np.testing.assert_array_equal(mhc.log10_singular_ratio(np.full((3, 1, 1), 7.0)), -math.inf)
    # Equal rows, to the rounding of each layer
    assert (mhc.log10_singular_ratio(np.full((5, 4, 4), 0.25)) < -15).all()


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_ratio_of_few_layers_is_that_of_the_product(n, seed):
    layers = np.random.default_rng(seed).standard_normal((3, n, n))
    product = layers[2] @ layers[1] @ layers[0]
    expected = METRICS["singular_ratio"](product)
    # The product's rounding, of terms of up to 30, beside its second singular value
    assert 10 ** mhc.log10_singular_ratio(layers)[-1] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("function", [mhc.log10_singular_ratio, mhc.lyapunov_exponents])
def test_every_array_library_finds_the_same_for_any_leading_axes(function):
    layers = mhc.sinkhorn_knopp(mhc.sample_mixing(40, 4, 3))
    expected = function(layers)
    np.testing.assert_allclose(function(layers[1]), expected[1], rtol=1e-9)
    for convert in BACKENDS.values():
        found = function(convert(layers))
        assert type(found) is type(convert(layers))
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9)
    single = np.asarray(function(torch.from_numpy(layers).float()))
    # Decades and nats: 40 layers, each of which is itself rounded to 6e-8 of its second value
    np.testing.assert_allclose(single, expected, rtol=1e-3)


def test_the_exponents_of_repeated_layers_are_the_logarithms_of_its_eigenvalues():
    vectors, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    layer = vectors @ np.diag([2.0, 1.0, 0.25]) @ vectors.T
    found = mhc.lyapunov_exponents(np.tile(layer, (2000, 1, 1)))
    # What the first vectors differ from the eigenvectors by is a number of nats, over 2000 layers.
    np.testing.assert_allclose(found, np.log([2.0, 1.0, 0.25]), atol=2e-3)
    # The sum is the volume's rate: exactly, at any depth.
    assert found.sum() == pytest.approx(math.log(0.5), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_gaussian_layers_have_exactly_the_exponents_of_theory(n):
    members, depth, spread = 200, 50, 0.7
    layers = mhc.sample_mixing(depth, n, members, spread=spread, seed=11)
    found = mhc.lyapunov_exponents(layers)
    exponents, deviations = mhc.gaussian_exponents(n, spread)
    error = deviations / math.sqrt(depth * members)
    # Each is an average of independent numbers with this mean and deviation; of 14 in all, one in
    # a thousand would be further off than 3.8 standard errors.
    assert (np.abs(found.mean(axis=0) - exponents) < 3.8 * error).all()
    scatter = found.std(axis=0, ddof=1) / (deviations / math.sqrt(depth))
    np.testing.assert_allclose(scatter, 1, atol=3.8 / math.sqrt(2 * members))
    decades, per_root = mhc.gaussian_growth(n, spread)
    assert exponents[0] == pytest.approx(decades * math.log(10), abs=1e-14)
    assert deviations[0] == pytest.approx(per_root * math.log(10), abs=1e-14)


def test_hcs_streams_come_near_rank_one_at_ln_2_minus_a_half():
    first, second = mhc.gaussian_exponents(4)[0][:2]
    assert first - second == pytest.approx(math.log(2) - 0.5, abs=1e-14)  # 0.193 nats per layer
    assert f"a factor of {math.exp(second - first):.3f} per layer" in FORMULAS["rank_one"].text
    ratios = mhc.log10_singular_ratio(mhc.sample_mixing(128, 4, 400, seed=5))
    slope = (ratios[:, 127] - ratios[:, 63]).mean() / 64 * math.log(10)
    _, deviations = mhc.gaussian_exponents(4)
    error = math.hypot(*deviations[:2]) / math.sqrt(64 * 400)
    # What the vectors differ from those of theory by is bounded, so that it adds less than 0.1 to
    # the standard error of a slope over 64 layers.
    assert slope == pytest.approx(-(first - second), abs=3.5 * error)


@pytest.mark.parametrize("name", SCALE_FREE)
def test_scale_free_metrics_are_told_of_composites_of_any_size(name):
    layers = 1e4 * mhc.sample_mixing(90, 3, 2, seed=1)  # up to 10^370
    if not METRICS[name].signed:
        layers = np.abs(layers)
    found = mhc.composite_metrics(layers, [name])[name]
    assert found.shape == (2, 90)
    assert np.isfinite(found).all()
    few = mhc.compose(layers).matrices()[:, :5]
    np.testing.assert_allclose(found[:, :5], METRICS[name](few), rtol=1e-9)


def test_composite_metrics_are_those_that_ignore_the_scale():
    found = mhc.composite_metrics(mhc.sample_mixing(4, 3)[0])
    assert set(found) == set(SCALE_FREE) == {m.name for m in METRICS.values() if m.scale_free}
    assert np.isnan(found["row_entropy"]).all()  # entries are negative
    assert found["effective_streams"][-1] > 1

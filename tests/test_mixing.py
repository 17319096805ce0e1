"""What a seed means, and the exact theory of Gaussian products against the experiment."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.numerics.gains import DIRECTIONS, log10_composite_gains
from mhc_demo.numerics.mixing import INITS, MAX_SEED, gaussian_growth, sample_mixing, sample_noise

pytestmark = pytest.mark.filterwarnings("error")

MEMBERS = 4_000


# Seeds


@given(
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, MAX_SEED),
    st.data(),
)
def test_a_layer_is_the_same_whatever_the_depth_and_the_ensemble(depth, n, members, seed, data):
    whole = sample_mixing(depth, n, members, seed=seed)
    assert whole.shape == (members, depth, n, n)
    fewer, shallower = data.draw(st.integers(1, members)), data.draw(st.integers(1, depth))
    part = sample_mixing(shallower, n, fewer, seed=seed)
    np.testing.assert_array_equal(part, whole[:fewer, :shallower])


def test_seeds_members_and_layers_all_differ():
    networks = [sample_noise(8, 2, members=8, seed=seed) for seed in (0, 1, 2, MAX_SEED)]
    matrices = np.stack(networks).reshape(-1, 4)
    assert len(np.unique(matrices, axis=0)) == 4 * 8 * 8
    assert len(np.unique(matrices)) == matrices.size


def test_a_seed_and_a_member_are_not_interchangeable():
    # Member 1 of seed 0 is not member 0 of seed 1: ensembles of neighbouring seeds share nothing.
    first, second = (sample_noise(4, 4, members=4, seed=seed) for seed in (0, 1))
    assert not set(first.ravel()) & set(second.ravel())


def test_the_same_seed_gives_the_same_matrices_for_ever():
    # Links to the page carry seeds.  NumPy does not promise the same normal numbers in all
    # versions: a change would show here.
    noise = sample_noise(2, 2, members=2, seed=42)
    first = [[0.3375714466967798, -0.7821534784435413], [-0.3160252007782352, -2.1012153395949684]]
    other = [[0.866892464921677, 0.9355636054453706], [-0.16055370887380915, -0.14008953355331868]]
    np.testing.assert_array_equal(noise[0, 0], first)
    np.testing.assert_array_equal(noise[1, 0], other)


def test_noise_is_standard_normal_and_independent():
    noise = sample_noise(64, 4, 1_000, seed=1)
    count = noise.size
    # Four standard errors of each moment.
    assert noise.mean() == pytest.approx(0, abs=4 / math.sqrt(count))
    assert noise.var() == pytest.approx(1, abs=4 * math.sqrt(2 / count))
    assert (noise**4).mean() == pytest.approx(3, abs=4 * math.sqrt(96 / count))
    next_layer = (noise[:, 1:] * noise[:, :-1]).mean()
    next_member = (noise[1:] * noise[:-1]).mean()
    assert next_layer == pytest.approx(0, abs=4 / math.sqrt(count))
    assert next_member == pytest.approx(0, abs=4 / math.sqrt(count))


def test_seeds_range_from_0_to_the_last_32_bit_number():
    assert MAX_SEED == 2**32 - 1
    for seed in (0, MAX_SEED, np.uint32(MAX_SEED)):
        assert sample_noise(1, 2, seed=seed).shape == (1, 1, 2, 2)
    for seed in (-1, MAX_SEED + 1):
        with pytest.raises(ValueError, match=f"seed must be between 0 and 4294967295, not {seed}"):
            sample_noise(1, 2, seed=seed)


# Inits


def test_gaussian_scales_the_noise_for_mapping_and_logits_alike():
    noise = sample_noise(3, 4, 2, seed=5)
    for logits in (False, True):
        matrices = sample_mixing(3, 4, 2, "gaussian", 2.5, seed=5, logits=logits)
        np.testing.assert_array_equal(matrices, 2.5 * noise)


def test_identity_is_the_identity_plus_the_same_noise():
    noise = sample_noise(3, 4, 2, seed=5)
    mapping = sample_mixing(3, 4, 2, "identity", 0.1, seed=5)
    logits = sample_mixing(3, 4, 2, "identity", 0.1, seed=5, logits=True)
    np.testing.assert_array_equal(mapping, np.eye(4) + 0.1 * noise)
    np.testing.assert_array_equal(logits, 8 * np.eye(4) + 0.1 * noise)


def test_without_drift_both_networks_start_as_untouched_streams():
    np.testing.assert_array_equal(
        sample_mixing(2, 4, init="identity", spread=0.0), np.broadcast_to(np.eye(4), (1, 2, 4, 4))
    )
    logits = sample_mixing(2, 4, init="identity", spread=0.0, logits=True)
    # Each entry off the diagonal is e^-8 = 0.000335 before scaling; the diagonal lacks three.
    off = math.exp(-8) / (1 + 3 * math.exp(-8))
    expected = np.full((4, 4), off) + (1 - 4 * off) * np.eye(4)
    np.testing.assert_allclose(
        mhc.sinkhorn_knopp(logits, 1), np.broadcast_to(expected, (1, 2, 4, 4)), atol=1e-15
    )


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_drift_is_equal_as_far_as_doubly_stochastic_matrices_reach(n):
    for spread in (0.0, 0.1, 0.2, 5.0):
        hc = sample_mixing(8, n, 16, "equal-drift", spread)
        logits = sample_mixing(8, n, 16, "equal-drift", spread, logits=True)
        mhc_ = mhc.sinkhorn_knopp(logits, 1)
        np.testing.assert_array_equal(hc, sample_mixing(8, n, 16, "identity", spread))
        of_hc, of_mhc = (np.linalg.norm(h - np.eye(n), axis=(-2, -1)) for h in (hc, mhc_))
        # S is doubly stochastic to the columns' error after 20 iterations, some 1e-7.
        assert (of_mhc <= np.minimum(of_hc, np.sqrt(2 * n)) + 1e-6).all()
        if n >= 4 and spread <= 0.2:  # else S may be too near for it
            np.testing.assert_allclose(of_mhc, of_hc, rtol=1e-5, atol=1e-9)


def test_layers_that_are_alike_differ_by_their_own_part():
    layers = sample_mixing(5, 4, 2, "alike", spread=2.0, seed=3)
    noise = sample_noise(5, 4, 2, seed=3)
    np.testing.assert_allclose(
        layers - layers[:, :1], 2.0 * 0.075 * (noise - noise[:, :1]), atol=1e-12
    )


@pytest.mark.parametrize("init", INITS.values(), ids=lambda init: init.name)
def test_every_init_keeps_shape_and_library_and_is_deterministic_at_spread_0(init):
    noise = sample_noise(3, 4, 2)
    for matrices in (init.mapping, init.logits):
        assert matrices(noise, 1.0).shape == noise.shape
        np.testing.assert_array_equal(matrices(noise, 0.0), matrices(-noise, 0.0))
        tensor = matrices(torch.from_numpy(noise).float(), 0.5)
        assert tensor.dtype == torch.float32
        np.testing.assert_allclose(tensor, matrices(noise, 0.5), atol=1e-6)  # float32 of 8 + noise


# Theory


@pytest.mark.parametrize("spread", [0.01, 1.0, 7.0])
def test_gaussian_growth_is_the_top_lyapunov_exponent_of_the_real_ginibre_ensemble(spread):
    for n in range(1, 65):
        growth, deviation = gaussian_growth(n, spread)
        exact = (mpmath.log(2) + mpmath.digamma(mpmath.mpf(n) / 2)) / 2 + mpmath.log(spread)
        exact_deviation = mpmath.sqrt(mpmath.polygamma(1, mpmath.mpf(n) / 2)) / 2
        # A recurrence of up to 32 terms, each rounded to 2^-53 of a number below 4.
        assert growth == pytest.approx(float(exact / mpmath.log(10)), abs=1e-14)
        assert deviation == pytest.approx(float(exact_deviation / mpmath.log(10)), abs=1e-14)


def test_growth_at_4_streams_is_0_2423_decades_per_layer():
    growth, deviation = gaussian_growth(4)
    assert growth == pytest.approx(0.2423, abs=5e-5)  # the printed digits
    assert deviation == pytest.approx(0.174, abs=5e-4)


def test_one_stream_vanishes_two_barely_grow_and_four_explode():
    at_64 = [64 * gaussian_growth(n)[0] for n in (1, 2, 4)]
    np.testing.assert_allclose(at_64, [-17.7, 1.7, 15.5], atol=0.1)


def test_zero_spread_vanishes_at_once():
    assert gaussian_growth(4, 0.0)[0] == -math.inf
    assert INITS["gaussian"].expected_log10_gain(np.arange(1, 3), 4, 0.0) is None


@pytest.mark.parametrize("n", [1, 2, 4, 8, 64])
def test_the_expected_gain_of_one_layer_is_the_mean_of_the_largest_normal(n):
    # E log10(sqrt(n) max |z_i|), by quadrature over the density of the maximum.
    def integrand(t):
        density = n * mpmath.erf(t / mpmath.sqrt(2)) ** (n - 1)
        return mpmath.log10(t) * density * mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-(t**2) / 2)

    exact = mpmath.quad(integrand, [0, 0.01, 0.5, 1, 2, 3, 4, 6, 12]) + mpmath.log10(n) / 2
    expected = INITS["gaussian"].expected_log10_gain(np.array([1]), n, 1.0)
    assert expected[0] == pytest.approx(float(exact), abs=1e-6)  # as its docstring says


def test_the_expected_gain_of_one_stream_is_linear_in_the_depth():
    depth = np.array([1, 2, 64])
    expected = INITS["gaussian"].expected_log10_gain(depth, 1, 3.0)
    np.testing.assert_allclose(expected, depth * gaussian_growth(1, 3.0)[0], atol=1e-6)


def test_only_gaussian_has_a_theory():
    assert INITS["identity"].expected_log10_gain(np.arange(1, 3), 4, 1.0) is None


@pytest.fixture(scope="module", params=[1, 2, 4, 8], ids="n={}".format)
def ensemble(request):
    """(n, spread, log10 gains (direction, member, depth)) of 4,000 networks of 32 layers."""
    n, spread = request.param, 1.5
    matrices = sample_mixing(32, n, MEMBERS, spread=spread, seed=7)
    return n, spread, log10_composite_gains(matrices)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_mean_gain_is_the_expected_one_at_every_depth(ensemble, direction):
    n, spread, gains = ensemble
    gains = gains[DIRECTIONS.index(direction)]
    for depth in (1, 2, 8, 32):
        expected = INITS["gaussian"].expected_log10_gain(np.array([depth]), n, spread)[0]
        sample = gains[:, depth - 1]
        standard_error = sample.std() / math.sqrt(MEMBERS)
        assert abs(sample.mean() - expected) < 4 * standard_error


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_variance_grows_per_layer_by_the_square_of_the_deviation(ensemble, direction):
    # log10 gain = 31 independent log10(chi_n) + the same term as of a single layer.
    n, spread, gains = ensemble
    variance = gains[DIRECTIONS.index(direction)].var(axis=0)
    growth = (variance[31] - variance[0]) / 31
    # Four standard errors of a variance: 4 sqrt(2 / 4000) = 9 %, of the whole at depth 32.
    tolerance = 0.09 * (variance[31] + variance[0]) / 31
    assert growth == pytest.approx(gaussian_growth(n, spread)[1] ** 2, abs=tolerance)


# The headline, from the table that everything draws from


@pytest.fixture(scope="module")
def at_depth_64():
    """(**parameters) -> log10 gains at depth 64 over 2,000 seeds, each computed once."""
    cache = {}

    def gains(**parameters):
        key = tuple(sorted(parameters.items()))
        if key not in cache:
            experiment = mhc.Experiment(members=2_000, seed=42, **parameters)
            surface = mhc.gain_surface(experiment, depth=64, iterations=20)
            cache[key] = surface["log10_gain"].sel(depth=64)
        return cache[key]

    return gains


def test_hyper_connections_explode_to_10_to_the_15_7(at_depth_64):
    hc = at_depth_64().sel(direction="forward", iterations=0)
    assert 15.65 < hc.sel(series="median") < 15.83
    # 5 % to 95 %: four standard errors of such a quantile of 2,000 are 0.26 decades.
    assert hc.sel(series="q05").item() == pytest.approx(13.4, abs=0.26)
    assert hc.sel(series="q95").item() == pytest.approx(17.9, abs=0.26)


def test_one_iteration_fixes_the_forward_gain_at_1_and_the_backward_gain_near_it(at_depth_64):
    one = at_depth_64().sel(iterations=1)
    # Every quantile; 64 products of rows that sum to 1 within 2^-52.
    np.testing.assert_allclose(one.sel(direction="forward"), 0, atol=1e-14)
    backward = 10 ** one.sel(direction="backward", series="median").item()
    assert backward == pytest.approx(1.14, abs=0.01)  # batches of 2,000 give 1.13 to 1.14


def test_twenty_iterations_fix_both(at_depth_64):
    twenty = at_depth_64().sel(iterations=20)
    np.testing.assert_allclose(10**twenty, 1.00, atol=0.005)  # "1.00"


@pytest.mark.parametrize(
    ("spread", "after_1", "after_20"), [(5.0, 1.73, 1.016), (8.0, 1.91, 1.038)]
)
def test_sharp_logits_leave_a_backward_gain_near_2(at_depth_64, spread, after_1, after_20):
    backward = at_depth_64(spread=spread).sel(direction="backward", series="median")
    # Batches of 2,000 differ by this much from one another.
    assert 10 ** backward.sel(iterations=1).item() == pytest.approx(after_1, abs=0.03)
    assert 10 ** backward.sel(iterations=20).item() == pytest.approx(after_20, abs=0.003)


@pytest.mark.parametrize(("spread", "low", "high"), [(1.0, 1.6, 1.9), (5.0, 3.5, 4), (8.0, 3.8, 4)])
def test_the_largest_backward_gain_of_2000_seeds_stays_below_n(spread, low, high):
    logits = sample_mixing(64, 4, 2_000, spread=spread, seed=42)
    backward = log10_composite_gains(mhc.sinkhorn_knopp(logits, 1))[1, :, -1]
    assert low < 10 ** backward.max() < high


def test_one_stream_vanishes_and_two_barely_grow(at_depth_64):
    for n, median, tolerance in ((1, -17.7, 0.5), (2, 1.8, 0.25)):  # 4 standard errors of a median
        hc = at_depth_64(streams=n).sel(iterations=0, series="median")
        np.testing.assert_allclose(hc, median, atol=tolerance)
    np.testing.assert_array_equal(at_depth_64(streams=1).sel(iterations=1), 0)


def test_exp_alone_explodes_far_faster_than_the_raw_matrix(at_depth_64):
    exp = at_depth_64(projection="exp").sel(direction="forward", series="median")
    assert exp.sel(iterations=1).item() == pytest.approx(51, abs=0.5)  # "10^51"
    assert exp.sel(iterations=0).item() < 16

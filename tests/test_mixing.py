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
from mhc_demo.numerics.growth import drift_exponent, gaussian_growth
from mhc_demo.numerics.mixing import (
    INITS,
    MAX_SEED,
    chosen_init,
    sample_mixing,
    sample_noise,
)

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


def distances(matrices):
    """From the identity, of row-stochastic matrices: from what is off the diagonal, so exactly."""
    off = matrices * (1 - np.eye(matrices.shape[-1]))
    return np.sqrt((off.sum(-1) ** 2).sum(-1) + (off**2).sum((-2, -1)))


@pytest.mark.parametrize("n", [2, 3, 4, 8])
@pytest.mark.parametrize("spread", [1e-9, 0.01, 0.1, 0.2, 0.5, 10.0])
def test_drift_is_equal_as_far_as_mhc_can_follow(n, spread):
    hc = sample_mixing(16, n, 16, "equal-drift", spread)
    logits = sample_mixing(16, n, 16, "equal-drift", spread, logits=True)
    np.testing.assert_array_equal(hc, sample_mixing(16, n, 16, "identity", spread))
    moved = spread * np.linalg.norm(sample_noise(16, n, 16), axis=(-2, -1))
    expected = np.minimum(moved, 0.95 * n / math.sqrt(n - 1))
    # As the solver promises.
    np.testing.assert_allclose(distances(mhc.sinkhorn_knopp(logits, 20)), expected, rtol=1e-3)


def test_no_layer_without_a_diagonal_is_nearer_to_the_identity_than_the_limit_of_the_drift():
    # n + |S|^2 >= n + n (n - 1) / (n - 1)^2, by Cauchy and Schwarz for each row.
    for n in (2, 3, 4, 8):
        logits = sample_noise(200, n, seed=1) - 1e3 * np.eye(n)
        far = distances(mhc.sinkhorn_knopp(logits, 50))
        assert far.min() >= n / math.sqrt(n - 1) * (1 - 1e-12)
        furthest = INITS["equal-drift"].furthest(n)
        assert furthest == pytest.approx(0.95 * n / math.sqrt(n - 1))


@given(st.integers(0, 2**20), st.integers(2, 5), st.sampled_from([0.02, 0.2, 0.5]))
def test_equal_drift_of_a_layer_does_not_depend_on_the_others(seed, n, spread):
    noise, init = sample_noise(3, n, 2, seed=seed), INITS["equal-drift"]
    alone = init.logits(noise[1:, 2:], spread)
    # To rounding: NumPy's exp of an entry can differ by its last bit with the entry's place.
    np.testing.assert_allclose(init.logits(noise, spread)[1:, 2:], alone, atol=1e-12)
    # Noise of spread 1 around a strength of the diagonal that is the layer's own.
    base = (alone - noise[1:, 2:])[0, 0]
    np.testing.assert_allclose(base, base[0, 0] * np.eye(n), atol=1e-14)


def test_one_stream_cannot_drift():
    logits = sample_mixing(3, 1, 2, "equal-drift", 0.5, logits=True)
    np.testing.assert_array_equal(mhc.sinkhorn_knopp(logits, 1), 1)


def test_the_drift_that_mhc_cannot_follow_is_told():
    told = [INITS["equal-drift"].remark(128, 4, spread, 42) for spread in (0.2, 5.0)]
    assert "equally far" in told[0]
    assert told[1].startswith("In 128 of the first network’s 128 layers")
    assert "2.19" in told[1]  # 0.95 * 4 / sqrt(3)


def test_layers_that_are_alike_differ_by_their_own_part():
    layers = sample_mixing(5, 4, 2, "alike", spread=2.0, seed=3)
    noise = sample_noise(5, 4, 2, seed=3)
    np.testing.assert_allclose(
        layers - layers[:, :1], 2.0 * 0.075 * (noise - noise[:, :1]), atol=1e-12
    )


AMOUNTS = st.sampled_from([0.0, 0.25, 0.95, 1.0])


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), AMOUNTS, st.data())
def test_a_layer_that_shares_is_the_same_whatever_the_depth_and_the_ensemble(
    depth, n, members, shared, data
):
    given = {"init": "shared", "spread": 2.0, "seed": 11, "shared": shared}
    whole = sample_mixing(depth, n, members, **given)
    fewer, shallower = data.draw(st.integers(1, members)), data.draw(st.integers(1, depth))
    part = sample_mixing(shallower, n, fewer, **given)
    np.testing.assert_array_equal(part, whole[:fewer, :shallower])
    np.testing.assert_array_equal(sample_mixing(depth, n, members, logits=True, **given), whole)


def test_what_is_shared_blends_the_gaussian_layers_with_one_matrix():
    common = sample_mixing(5, 3, 4, "shared", seed=8, shared=1.0)
    own = sample_noise(5, 3, 4, seed=8)
    np.testing.assert_array_equal(common, np.broadcast_to(common[:, :1], common.shape))
    np.testing.assert_array_equal(sample_mixing(5, 3, 4, "shared", seed=8, shared=0.0), own)
    assert not set(common[:, 0].ravel()) & set(own.ravel())  # a stream of its own
    half = sample_mixing(5, 3, 4, "shared", 3.0, 8, shared=0.36)
    np.testing.assert_allclose(half, 3.0 * (0.6 * common + 0.8 * own), atol=1e-14)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.95, 1.0])
def test_layers_have_unit_variance_and_the_correlation_that_they_share(shared):
    members = 2_000
    layers = sample_mixing(3, 4, members, "shared", seed=5, shared=shared)
    # Entries of one matrix are independent: 16 per member.  A product of two standard normals
    # with correlation c has variance 1 + c^2; four standard errors.
    tolerance = 4 * math.sqrt((1 + shared**2) / (16 * members))
    assert (layers[:, 0] * layers[:, 2]).mean() == pytest.approx(shared, abs=tolerance)
    assert (layers[:, 1] ** 2).mean() == pytest.approx(1, abs=4 * math.sqrt(2 / (16 * members)))
    neighbour = (layers[1:, 0] * layers[:-1, 0]).mean()  # of another member
    assert neighbour == pytest.approx(0, abs=4 / math.sqrt(16 * members))


def test_an_init_refuses_what_it_does_not_take():
    with pytest.raises(TypeError, match="init 'gaussian' has no parameter shared; only 'shared'"):
        sample_mixing(2, shared=0.5)
    with pytest.raises(TypeError, match="init 'shared' has no parameter share; no init has"):
        sample_mixing(2, init="shared", share=0.5)
    for value in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"shared must be between 0 and 1, not {value}"):
            sample_mixing(2, init="shared", shared=value)
    with pytest.raises(TypeError, match="shared must be a number, not 'half'"):
        sample_mixing(2, init="shared", shared="half")


def test_sharing_layers_leave_more_for_the_iterations_to_do():
    # What the default is chosen for: at spread 5, 400 networks, 20 iterations, depth 64.
    def unlucky(init, **options):
        logits = sample_mixing(64, 4, 400, init, 5.0, 42, logits=True, **options)
        gains = log10_composite_gains(mhc.sinkhorn_knopp(logits, 20))[1, :, -1]
        return 10 ** np.quantile(gains, 0.95)

    assert unlucky("gaussian") < 1.1
    assert unlucky("shared") > 1.25  # 1.33; a quantile of 400 that differs by 0.05 or so


@pytest.mark.parametrize("init", INITS.values(), ids=lambda init: init.name)
def test_every_init_keeps_shape_and_library_and_is_deterministic_at_spread_0(init):
    noise = sample_noise(3, 4, 2)
    for matrices in (init.mapping, init.logits):
        for some in (noise, noise[..., :1, :1]):
            assert matrices(some, 1.0).shape == matrices(some, 0.0).shape == some.shape
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


def test_layers_that_share_have_a_theory_where_it_is_exact():
    depth = np.arange(1, 4)
    gaussian = INITS["gaussian"]
    alone = chosen_init("shared", shared=0.0)
    np.testing.assert_array_equal(
        alone.expected_log10_gain(depth, 4, 2.0), gaussian.expected_log10_gain(depth, 4, 2.0)
    )
    assert alone.growth(4, 2.0) == gaussian.growth(4, 2.0)
    for shared in (0.3, 1.0):
        init = chosen_init("shared", shared=shared)
        assert init.expected_log10_gain(depth, 2, 2.0) is None
        assert init.growth(2, 2.0) is None
        assert init.expected_log10_ratio(depth, 2, 2.0) is None
        one = init.expected_log10_gain(depth, 1, 2.0)
        np.testing.assert_array_equal(one, gaussian.expected_log10_gain(depth, 1, 2.0))


@pytest.mark.parametrize("shared", [0.5, 1.0])
def test_the_mean_gain_of_one_stream_does_not_depend_on_what_is_shared(shared):
    gains = log10_composite_gains(sample_mixing(8, 1, MEMBERS, "shared", seed=3, shared=shared))
    expected = chosen_init("shared", shared=shared).expected_log10_gain(np.array([8]), 1, 1.0)
    sample = gains[0, :, -1]
    assert abs(sample.mean() - expected[0]) < 4 * sample.std() / math.sqrt(MEMBERS)


@pytest.mark.parametrize("spread", [0.2, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
def test_the_exponent_of_drift_is_half_the_mean_log_of_a_non_central_chi_square(n, spread):
    # A Poisson mixture of central ones, the mean logs of which are digamma functions.
    w = 1 / (2 * mpmath.mpf(spread) ** 2)
    mean = mpmath.nsum(
        lambda k: (
            mpmath.exp(-w) * w**k / mpmath.factorial(k) * mpmath.digamma(k + mpmath.mpf(n) / 2)
        ),
        [0, mpmath.inf],
    )
    exact = (mpmath.log(2 * mpmath.mpf(spread) ** 2) + mean) / 2
    assert drift_exponent(n, spread) == pytest.approx(float(exact), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 64])
def test_small_drift_grows_by_half_of_n_minus_2_times_its_square(n):
    for spread in (1e-3, 0.01, 0.05 / math.sqrt(n)):
        second = (n - 2) / 2 * spread**2 - (n - 2) * (n - 4) / 4 * spread**4
        third = abs((n - 2) * (n - 4) * (n - 6)) / 6 * spread**6
        # What follows is smaller yet; 1e-12 is the quadrature's.
        assert drift_exponent(n, spread) == pytest.approx(second, abs=1.5 * third + 1e-12)
    assert drift_exponent(n, 0.0) == 0
    assert drift_exponent(n, 1e6) == pytest.approx(  # where the identity no longer matters
        gaussian_growth(n, 1e6)[0] * math.log(10), abs=1e-5
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("spread", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_the_mean_gain_of_drift_is_the_expected_one_at_every_depth(n, spread, direction):
    members, depth = 400, 64
    matrices = sample_mixing(depth, n, members, "identity", spread, seed=7)
    gains = log10_composite_gains(matrices)[DIRECTIONS.index(direction)]
    expected = INITS["identity"].expected_log10_gain(np.arange(1, depth + 1), n, spread)
    standard_error = gains.std(axis=0) / math.sqrt(members)
    # 4.5 standard errors, because 64 depths are looked at; 0.004 decades as its docstring says.
    assert (np.abs(gains.mean(axis=0) - expected) < 4.5 * standard_error + 0.004).all()


@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_expected_gain_of_one_layer_of_drift_is_an_integral(n):
    for spread in (0.05, 0.3, 2.0):
        scale = mpmath.mpf(spread) * mpmath.sqrt(n)

        def beyond(x, scale=scale):  # the largest of n |1 + scale z|
            both = mpmath.ncdf((x - 1) / scale) - mpmath.ncdf((-x - 1) / scale)
            return (1 - both**n) / x if x > 1 else -(both**n) / x

        exact = mpmath.quad(beyond, [0, 0.5, 1, 1 + scale, 1 + 3 * scale, 1 + 9 * scale])
        expected = INITS["identity"].expected_log10_gain(np.array([1]), n, spread)[0]
        # Linear interpolation in a table of 80 spreads, here of at most 0.9 nats.
        assert expected == pytest.approx(float(exact / mpmath.log(10)), abs=2e-4)


def test_equal_drift_has_the_theory_of_drift():
    depth = np.arange(1, 65)
    drift, equal = INITS["identity"], INITS["equal-drift"]
    np.testing.assert_array_equal(
        equal.expected_log10_gain(depth, 4, 0.2), drift.expected_log10_gain(depth, 4, 0.2)
    )
    assert equal.growth(4, 0.2) == drift.growth(4, 0.2)
    np.testing.assert_array_equal(drift.expected_log10_gain(depth, 4, 0.0), 0)


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

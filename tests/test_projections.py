"""The projections against 50-digit arithmetic, against plain loops, and against their promises.

What a projection declares in `PROJECTIONS` is tested for every entry of the registry, so that a
new projection is tested as soon as it is registered.
"""

import math
from itertools import permutations

import array_api_strict
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mhc_demo as mhc
from mhc_demo.numerics import projections
from mhc_demo.numerics.projecting import iterates, project, sinkhorn_knopp
from mhc_demo.numerics.projections import PROJECTIONS

pytestmark = pytest.mark.filterwarnings("error")

EPS = {np.float64: 2.0**-52, np.float32: 2.0**-23}
DTYPES = pytest.mark.parametrize("dtype", EPS, ids=lambda dtype: dtype.__name__)
EVERY = pytest.mark.parametrize("chosen", PROJECTIONS.values(), ids=lambda chosen: chosen.name)
BACKENDS = {
    "numpy": np.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "array_api_strict": array_api_strict.asarray,
}


def normal(*shape, spread=1.0, seed=0):
    return spread * np.random.default_rng(seed).standard_normal(shape)


def sizes_of(chosen, most=8):
    return filter(chosen.sizes.hold, range(1, most + 1))


def exact_sinkhorn(logits, counts):
    """Eq. 9 in 50 digits: exp, then columns and rows, `counts` times; (len(counts), n, n)."""
    n = len(logits)
    results = []
    with mpmath.workdps(50):
        matrix = [[mpmath.exp(mpmath.mpf(float(z))) for z in row] for row in logits]
        for t in range(1, max(counts) + 1):
            sums = [mpmath.fsum(row[j] for row in matrix) for j in range(n)]
            matrix = [[x / s for x, s in zip(row, sums, strict=True)] for row in matrix]
            matrix = [[x / mpmath.fsum(row) for x in row] for row in matrix]
            if t in counts:
                results.append(np.array(matrix, dtype=np.float64))
    return np.stack(results)


def tile_kernels_normalize(logits, iterations, eps):
    """TileKernels' `sinkhorn_normalize` of one matrix, in plain loops.

    Row softmax, + eps; divide by (column sum + eps); then (iterations - 1) times: divide by
    (row sum + eps), divide by (column sum + eps).
    """
    n = len(logits)
    matrix = [[math.exp(z - max(row)) for z in row] for row in logits]
    matrix = [[x / sum(row) + eps for x in row] for row in matrix]
    for step in range(iterations):
        if step > 0:
            matrix = [[x / (sum(row) + eps) for x in row] for row in matrix]
        columns = [sum(row[j] for row in matrix) for j in range(n)]
        matrix = [[row[j] / (columns[j] + eps) for j in range(n)] for row in matrix]
    return np.array(matrix)


# Sinkhorn-Knopp (Eq. 9)


@pytest.mark.parametrize("spread", [1, 5, 50, 1000, 10_000])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@DTYPES
def test_sinkhorn_is_eq_9_to_rounding(n, spread, dtype):
    counts = (1, 2, 5, 20)
    # The promised errors; at 1e4 a float32 itself is only known to 1e4 * eps = 1e-3.
    tolerance = {np.float64: 4e-15, np.float32: 3e-6 if spread < 10_000 else 1e4 * 2.0**-23}[dtype]
    for seed in range(3):
        logits = normal(n, n, spread=spread, seed=seed).astype(dtype)
        exact = exact_sinkhorn(logits, counts)
        for count, expected in zip(counts, exact, strict=True):
            result = sinkhorn_knopp(logits, count)
            assert result.dtype == dtype
            np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


@DTYPES
def test_sinkhorn_resolves_ties_between_sharp_logits(dtype):
    # Logits of +-1e4 that differ by little or not at all.  Differences reach 2e4, and are exact
    # to one part in 1/eps.
    counts = (1, 2, 20)
    values = [-10_000, -9_999.5, -5_000.75, 0, 0.25, 777.5, 778, 9_999.5, 10_000]
    generator = np.random.default_rng(0)
    for n in (2, 3, 4, 5) * 5:
        logits = generator.choice(values, size=(n, n)).astype(dtype)
        exact = exact_sinkhorn(logits, counts)
        for count, expected in zip(counts, exact, strict=True):
            result = sinkhorn_knopp(logits, count)
            np.testing.assert_allclose(result, expected, rtol=0, atol=2e4 * EPS[dtype])


def test_columns_are_normalised_first_and_rows_second():
    logits = np.log([[1.0, 3.0], [1.0, 1.0]])
    columns_first = [[2 / 5, 3 / 5], [2 / 3, 1 / 3]]
    rows_first = [[1 / 3, 3 / 5], [2 / 3, 2 / 5]]
    np.testing.assert_allclose(sinkhorn_knopp(logits, 1), columns_first, rtol=1e-15)
    assert np.abs(np.subtract(columns_first, rows_first)).max() > 0.06


@EVERY
def test_iteration_0_is_the_input_itself(chosen):
    logits = normal(3, 4, 4, spread=5)
    assert project(logits, chosen.name, 0) is logits


@st.composite
def hostile_logits(draw):
    """Integers or floats up to +-1e4, any n up to 8."""
    n = draw(st.integers(1, 8))
    dtype = draw(st.sampled_from([np.float64, np.float32, np.int64]))
    if dtype is np.int64:
        elements = st.integers(-10_000, 10_000)
    else:
        width = np.dtype(dtype).itemsize * 8
        elements = st.one_of(
            st.floats(-10_000, 10_000, width=width),
            st.integers(-10_000, 10_000).map(float),
            st.sampled_from([-10_000.0, 0.0, 10_000.0]),
        )
    return draw(hnp.arrays(dtype, (n, n), elements=elements))


@given(hostile_logits(), st.integers(1, 20))
def test_sinkhorn_is_finite_nonnegative_and_row_stochastic(logits, iterations):
    result = sinkhorn_knopp(logits, iterations)
    eps = 2.0**-23 if logits.dtype == np.float32 else 2.0**-52
    assert np.isfinite(result).all()
    assert (result >= 0).all()
    # A softmax of up to 8 entries: each quotient is within a few units in the last place.
    np.testing.assert_allclose(result.sum(-1), 1.0, rtol=0, atol=8 * eps)


@given(hostile_logits(), st.data())
def test_a_constant_added_to_a_column_changes_nothing(logits, data):
    # Whole numbers are added exactly, so the results are the same to the last bit.
    logits = np.trunc(logits.astype(np.float64))
    n = logits.shape[-1]
    shift = data.draw(hnp.arrays(np.int64, n, elements=st.integers(-10_000, 10_000)))
    np.testing.assert_array_equal(sinkhorn_knopp(logits + shift, 3), sinkhorn_knopp(logits, 3))


def test_a_constant_added_to_a_row_does_change_the_iterate():
    # This is why column maxima may be subtracted beforehand, and row maxima may not.
    logits = np.log([[1.0, 3.0], [1.0, 1.0]])
    shifted = logits + np.log([[10.0], [1.0]])
    assert np.abs(sinkhorn_knopp(shifted, 1) - sinkhorn_knopp(logits, 1)).max() > 0.05


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_permuting_rows_and_columns_permutes_the_result(n, iterations, seed):
    generator = np.random.default_rng(seed)
    logits = 3 * generator.standard_normal((n, n))
    rows, columns = generator.permutation(n), generator.permutation(n)
    permuted = sinkhorn_knopp(logits[rows][:, columns], iterations)
    # Only the order of the additions differs: a few units in the last place.
    np.testing.assert_allclose(
        permuted, sinkhorn_knopp(logits, iterations)[rows][:, columns], rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("iterations", [1, 2, 20])
def test_sinkhorn_only_rescales_rows_and_columns(iterations):
    # D1 exp(Z) D2: the cross-ratios m_ij m_kl / (m_il m_kj) stay those of exp(Z).
    logits = normal(50, 4, 4, spread=3)

    def log_cross_ratios(log_matrix):
        first_row, first_column = log_matrix[..., :1, :], log_matrix[..., :, :1]
        return log_matrix + log_matrix[..., :1, :1] - first_row - first_column

    np.testing.assert_allclose(
        log_cross_ratios(np.log(sinkhorn_knopp(logits, iterations))),
        log_cross_ratios(logits),
        atol=1e-13,  # logarithms down to -30, four of them, each to 2**-52 of itself
    )


def test_many_iterations_lead_to_a_doubly_stochastic_matrix():
    result = sinkhorn_knopp(normal(100, 4, 4), 200)
    np.testing.assert_allclose(result.sum(-1), 1.0, atol=1e-15 * 4)
    np.testing.assert_allclose(result.sum(-2), 1.0, atol=1e-14)  # 200 roundings, contracting


def test_a_few_iterations_on_sharp_logits_do_not():
    # "What can be promised at 1e4 is a finite row-stochastic matrix": 47 % of such matrices still
    # have a column error above 0.5 after 20 iterations (the standard error for 2,000 is 1.1 %).
    result = sinkhorn_knopp(normal(2_000, 4, 4, spread=1e4), 20)
    column_error = np.abs(result.sum(-2) - 1).max(-1)
    assert (column_error > 0.5).mean() == pytest.approx(0.47, abs=0.045)


def test_one_column_and_row_leave_a_spectral_norm_above_1():
    # Only exactly doubly stochastic matrices are non-expansive: after one iteration at spread 5
    # single layers reach 1.7, after many all are within rounding of 1.
    layers = normal(2_000, 4, 4, spread=5)
    assert np.linalg.norm(sinkhorn_knopp(layers, 1), 2, axis=(-2, -1)).max() > 1.6
    tame = sinkhorn_knopp(normal(200, 4, 4), 200)
    assert np.linalg.norm(tame, 2, axis=(-2, -1)).max() < 1 + 1e-14


@DTYPES
def test_division_and_logarithms_agree_on_both_sides_of_the_guard(dtype, monkeypatch):
    n = 4
    guard = -math.log(np.finfo(dtype).smallest_normal) / 2 - 2 * math.log(n)
    logits = -np.abs(normal(n, n, spread=guard / 4, seed=3)).clip(0, guard * 0.9).astype(dtype)
    logits[np.arange(n), np.arange(n)] = 0  # every column's maximum is 0
    below, above = logits.copy(), logits.copy()
    below[0, 1] = -guard * 0.999
    above[0, 1] = -guard * 1.001

    paths = []
    by_logarithms = projections.sinkhorn._log_softmax
    monkeypatch.setattr(
        projections.sinkhorn,
        "_log_softmax",
        lambda *args: paths.append("log") or by_logarithms(*args),
    )
    counts = (1, 5, 20)
    for matrix, path in ((below, []), (above, ["log"] * 2 * sum(counts))):
        results = [sinkhorn_knopp(matrix, count) for count in counts]
        assert paths == path
        np.testing.assert_allclose(
            np.stack(results),
            exact_sinkhorn(matrix, counts),
            rtol=0,
            # Logarithms up to the guard are kept to eps / 2 of themselves; division needs less.
            atol=EPS[dtype] * (guard / 2 if path else 8),
        )


def test_a_sharp_neighbour_in_the_batch_changes_a_matrix_by_rounding_only():
    tame, sharp = normal(4, 4), normal(4, 4, spread=1e4)
    for count in (1, 20):
        together = sinkhorn_knopp(np.stack([tame, sharp]), count)
        np.testing.assert_allclose(together[0], sinkhorn_knopp(tame, count), rtol=0, atol=4e-15)


def test_at_n_1_sinkhorn_is_the_plain_residual_connection():
    np.testing.assert_array_equal(sinkhorn_knopp([[[-7.0]], [[1e4]]], 1), [[[1.0]], [[1.0]]])


# DeepSeek's released variant


@pytest.mark.parametrize("spread", [1, 8, 100])
@pytest.mark.parametrize("iterations", [1, 2, 10, 20])
def test_released_is_tile_kernels_applied_transposed(iterations, spread):
    for logits in normal(5, 4, 4, spread=spread):
        expected = tile_kernels_normalize(logits.T.tolist(), iterations, 1e-6).T
        np.testing.assert_allclose(
            project(logits, "released", iterations), expected, rtol=0, atol=1e-14
        )


@pytest.mark.parametrize("iterations", [1, 2, 20])
def test_without_eps_the_release_is_eq_9_on_transposed_logits(iterations):
    for logits in normal(5, 4, 4, spread=3):
        eq_9 = sinkhorn_knopp(logits, iterations)
        released = tile_kernels_normalize(logits.T.tolist(), iterations, 0.0).T
        np.testing.assert_allclose(released, eq_9, rtol=0, atol=1e-14)
        np.testing.assert_allclose(
            project(logits, "released", iterations, eps=0.0), eq_9, rtol=0, atol=1e-14
        )


@pytest.mark.parametrize("make", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("eps", [1e-8, 1e-5, 1e-2])
def test_released_takes_the_eps_of_other_implementations(eps, make):
    for logits in normal(5, 4, 4, spread=8):
        expected = tile_kernels_normalize(logits.T.tolist(), 10, eps).T
        found = np.asarray(project(make(logits), "released", 10, eps=eps))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_eps_is_for_projections_that_have_one():
    with pytest.raises(
        ValueError, match="eps goes with projection 'released', not with 'sinkhorn'"
    ):
        project(normal(4, 4), "sinkhorn", eps=1e-6)
    with pytest.raises(ValueError, match="eps must be finite and at least 0, not -1"):
        project(normal(4, 4), "released", eps=-1)
    with pytest.raises(TypeError, match="eps must be a number, not '1e-6'"):
        project(normal(4, 4), "released", eps="1e-6")


def test_released_forward_gain_at_depth_64_is_0_99994():
    layers = project(normal(64, 4, 4), "released")
    gain = 10 ** mhc.compose(layers).log10_gain("forward")[-1]
    assert gain == pytest.approx(0.99994, abs=5e-6)  # the printed digits
    assert gain == pytest.approx((1 + 1e-6) ** -64, abs=1e-9)  # each row is s / (s + eps)


def test_eps_is_visible_for_sharp_logits_and_not_for_tame_ones():
    def difference(spread):
        logits = normal(200, 4, 4, spread=spread)
        return np.abs(project(logits, "released") - sinkhorn_knopp(logits)).max()

    assert difference(1) < 1e-5
    assert difference(8) > 0.01


# Every projection keeps its promises, and makes every promise that it could


@EVERY
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 8.0, 100.0])
def test_promised_sums_signs_and_norms(chosen, spread):
    for n in sizes_of(chosen):
        layers = normal(20, n, n, spread=spread, seed=n)
        for iterations in (1, 2, 20) if chosen.iterative else (1,):
            result = project(layers, chosen.name, iterations)
            assert result.shape == layers.shape
            assert np.isfinite(result).all()
            # Sums of n! products at most, n! = 720: the rounding of a long sum, 1e-14 at worst.
            # Entries with signs may be much larger than their sums, and are rounded for their size.
            rounding = 1e-14 * np.abs(result).max(initial=1.0)
            if chosen.unit_rows:
                np.testing.assert_allclose(result.sum(-1), 1.0, rtol=0, atol=rounding)
            if chosen.unit_columns:
                np.testing.assert_allclose(result.sum(-2), 1.0, rtol=0, atol=rounding)
            if chosen.nonnegative:
                assert (result >= 0).all()
            if chosen.unit_norm:
                assert np.linalg.norm(result, 2, axis=(-2, -1)).max() <= 1 + 1e-14


@EVERY
@pytest.mark.parametrize("spread", [0.5, 5.0])
def test_what_promises_a_unit_norm_has_a_spectral_norm_of_at_most_1(chosen, spread):
    if chosen.unit_norm:
        for n in sizes_of(chosen, 6):
            norms = np.linalg.norm(
                project(normal(20, n, n, spread=spread), chosen.name), 2, (-2, -1)
            )
            assert norms.max() <= 1 + 20 * n * EPS[np.float64]  # the rounding of n sums


def test_few_projections_lead_a_comparison():
    leading = [chosen for chosen in PROJECTIONS.values() if chosen.leads]
    assert 2 <= len(leading) <= 6
    # What a paper printed is given with its place.
    assert all("arXiv:" in each.published for each in PROJECTIONS.values() if each.published)


@EVERY
def test_what_is_not_promised_does_not_hold(chosen):
    result = project(normal(200, 4, 4, spread=2), chosen.name, 1)
    if not chosen.unit_rows:
        assert np.abs(result.sum(-1) - 1).max() > 1e-7  # "released" falls short by 1e-6
    if not chosen.unit_columns:
        assert np.abs(result.sum(-2) - 1).max() > 1e-7
    if not chosen.nonnegative:
        assert (result < 0).any()
    if not chosen.unit_norm:
        assert np.linalg.norm(result, 2, axis=(-2, -1)).max() > 1 + 1e-3


@EVERY
def test_exact_means_doubly_stochastic_and_that_implies_the_rest(chosen):
    assert chosen.exact == (chosen.unit_rows and chosen.unit_columns and chosen.nonnegative)
    if chosen.exact:
        assert chosen.unit_norm  # sqrt of the largest row sum times the largest column sum
    if chosen.unit_norm:
        assert chosen.bounded


@EVERY
@given(logits=hostile_logits())
def test_what_is_promised_holds_for_hostile_logits(chosen, logits):
    n = logits.shape[-1]
    if not chosen.sizes.hold(n) or chosen.name in ("exp", "none", "signed-rows"):
        return  # the first and the last refuse some of them
    result = project(logits, chosen.name, 3)
    eps = 2.0**-23 if logits.dtype == np.float32 else 2.0**-52
    rounding = 16 * eps * max(1.0, np.abs(result).max())  # sums of up to 8 rounded entries
    assert np.isfinite(result).all()
    if chosen.unit_rows:
        np.testing.assert_allclose(result.sum(-1), 1.0, rtol=0, atol=rounding)
    if chosen.unit_columns:
        np.testing.assert_allclose(result.sum(-2), 1.0, rtol=0, atol=rounding)
    if chosen.nonnegative:
        assert (result >= 0).all()
    if chosen.unit_norm:
        assert np.linalg.norm(result.astype(np.float64), 2) <= 1 + 16 * eps


@EVERY
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_products_stay_below_n_if_and_only_if_bounded_is_declared(chosen, spread):
    n, depth = 4, 512
    for iterations in (1, 20) if chosen.iterative else (1,):
        layers = project(normal(10, depth, n, n, spread=spread), chosen.name, iterations)
        composite = mhc.compose(layers)
        gains = np.stack([composite.log10_gain(d, "worst-case") for d in ("forward", "backward")])
        if chosen.bounded:
            # One exact direction caps the other at n, and a norm of 1 both at sqrt(n).
            # 1e-12 is the rounding of 512 products.
            assert gains.max() <= math.log10(n) + 1e-12
        else:
            assert gains[..., -1].min() > 50


@EVERY
def test_a_projection_takes_the_sizes_that_it_declares(chosen):
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 16):
        if chosen.sizes.hold(n):
            assert project(np.eye(n), chosen.name).shape == (n, n)
        else:
            words = f"{chosen.name}.*takes {chosen.sizes.words} streams.*not {n}"
            with pytest.raises(ValueError, match=words):
                project(np.zeros((n, n)), chosen.name)


def test_a_slider_goes_on_to_the_next_size_that_exists():
    sizes = projections.POWERS_OF_TWO
    assert [sizes.nearest(n, 64) for n in (1, 3, 4, 5, 63, 64)] == [1, 2, 4, 4, 32, 64]
    assert sizes.nearest(5, 64, before=4) == 8
    assert sizes.nearest(7, 64, before=8) == 4
    assert sizes.nearest(33, 60, before=32) == 32  # there is no 64
    assert projections.up_to(6).nearest(7, 64, before=6) == 6


@EVERY
def test_each_matrix_is_projected_by_itself(chosen):
    stack = normal(2, 3, 4, 4)
    result = project(stack, chosen.name, 3)
    for index in np.ndindex(2, 3):
        # Sums of four numbers may be added in another order.
        np.testing.assert_allclose(
            result[index], project(stack[index], chosen.name, 3), rtol=0, atol=4e-15
        )
    assert project(np.zeros((0, 4, 4)), chosen.name, 3).shape == (0, 4, 4)


@EVERY
def test_iterates_are_the_projections_of_every_count(chosen):
    logits = normal(3, 4, 4)
    results = list(iterates(logits, chosen.name, 5))
    assert len(results) == (5 if chosen.iterative else 1)
    for count, matrices in enumerate(results, start=1):
        np.testing.assert_array_equal(matrices, project(logits, chosen.name, count))
    assert list(iterates(logits, chosen.name, 0)) == []


@EVERY
def test_a_projection_does_not_change_its_input(chosen):
    logits = normal(3, 4, 4)
    before = logits.copy()
    project(logits, chosen.name, 5)
    np.testing.assert_array_equal(logits, before)


# The one-shot projections, one by one


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_mhc_lite_is_a_softmax_mixture_of_all_permutation_matrices(n):
    for logits in normal(3, n, n, spread=2):
        score = {p: math.fsum(logits[i, p[i]] for i in range(n)) for p in permutations(range(n))}
        total = math.fsum(math.exp(s) for s in score.values())
        expected = np.zeros((n, n))
        for p, s in score.items():
            for i in range(n):
                expected[i, p[i]] += math.exp(s) / total
        np.testing.assert_allclose(project(logits, "mhc-lite"), expected, rtol=0, atol=1e-14)


def test_mhc_lite_is_not_the_limit_of_sinkhorn():
    logits = normal(4, 4)
    limit = sinkhorn_knopp(logits, 500)
    assert np.abs(project(logits, "mhc-lite") - limit).max() > 0.01


def test_rows_only_and_columns_only_are_the_two_softmaxes():
    logits = normal(4, 4, spread=3)
    weights = np.exp(logits)
    for name, axis in (("rows", 1), ("columns", 0)):
        expected = weights / weights.sum(axis, keepdims=True)
        np.testing.assert_allclose(project(logits, name), expected, rtol=0, atol=2e-15)


def test_columns_then_rows_is_one_iteration():
    logits = normal(4, 4)
    columns = project(logits, "columns")
    both = project(np.log(columns), "rows")
    np.testing.assert_allclose(both, sinkhorn_knopp(logits, 1), rtol=0, atol=2e-15)


def test_identity_and_none_ignore_and_return_the_logits():
    logits = normal(3, 4, 4)
    np.testing.assert_array_equal(
        project(logits, "identity"), np.broadcast_to(np.eye(4), (3, 4, 4))
    )
    np.testing.assert_array_equal(project(logits, "none"), logits)


@DTYPES
def test_exp_only_refuses_what_would_overflow(dtype):
    limit = math.log(np.finfo(dtype).max)
    finite = np.full((2, 2), limit * (1 - 1e-6), dtype)
    assert np.isfinite(project(finite, "exp")).all()
    with pytest.raises(ValueError, match=f"'exp' overflows {np.dtype(dtype)}.*{limit:.1f}.*1000"):
        project(np.array([[0, 1000], [0, 0]], dtype), "exp")


# One implementation for every array library


@EVERY
@DTYPES
@pytest.mark.parametrize("backend", ["torch", "array_api_strict"])
@pytest.mark.parametrize("spread", [1.0, 20.0])
def test_every_array_library_gives_the_numbers_of_numpy(chosen, dtype, backend, spread):
    logits = normal(5, 4, 4, spread=spread).astype(dtype)
    converted = BACKENDS[backend](logits)
    for count in (0, 1, 5):
        expected = project(logits, chosen.name, count)
        result = project(converted, chosen.name, count)
        assert type(result) is type(converted)
        assert result.dtype == converted.dtype
        # exp and log may differ by a unit in the last place, times the size of the logits.
        size = np.abs(logits).max()
        np.testing.assert_allclose(
            np.asarray(result), expected, rtol=8 * EPS[dtype], atol=EPS[dtype] * (8 + size)
        )


@EVERY
@pytest.mark.parametrize("backend", ["torch", "array_api_strict"])
def test_whole_numbers_become_float64_and_an_empty_batch_stays_empty(chosen, backend):
    convert = BACKENDS[backend]
    result = project(convert(np.array([[1, 2], [3, 4]])), chosen.name)
    assert str(result.dtype).endswith("float64")
    empty = project(convert(np.zeros((0, 2, 2))), chosen.name)
    assert tuple(empty.shape) == (0, 2, 2)


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("sharp", [0.0, -400.0], ids=["division", "logarithms"])
def test_sinkhorn_gradients_are_right(n, iterations, sharp):
    logits = normal(2, n, n)
    if n > 1:
        logits[0, 0, 0] += sharp  # beyond the guard, next to entries whose gradients are not 0
    tensor = torch.from_numpy(logits).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sinkhorn_knopp(z, iterations), tensor)


@EVERY
@pytest.mark.parametrize("spread", [1.0, 10_000.0])
def test_gradients_are_finite_for_every_projection(chosen, spread):
    if chosen.name == "exp":
        spread = min(spread, 100.0)  # it refuses sharper logits
    tensor = torch.from_numpy(normal(5, 4, 4, spread=spread)).requires_grad_()
    result = project(tensor, chosen.name, 5)
    if not result.requires_grad:  # allowed only if it does not depend on the logits at all
        assert torch.equal(result, project(tensor + torch.eye(4), chosen.name, 5))
        return
    weights = torch.from_numpy(normal(5, 4, 4, seed=1))
    (gradient,) = torch.autograd.grad((result * weights).sum(), tensor)
    assert torch.isfinite(gradient).all()
    if spread == 1:
        assert gradient.abs().max() > 1e-3


GRADIENTS = [p.name for p in PROJECTIONS.values() if p.name not in ("none", "identity")]


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_those_of_finite_differences(name):
    for n in sizes_of(PROJECTIONS[name], most=4):
        tensor = torch.from_numpy(normal(2, n, n, seed=n)).requires_grad_()
        result = project(tensor, name, 3)
        if result.requires_grad:  # at n = 1 the Kronecker product of no factors is 1
            assert torch.autograd.gradcheck(lambda z: project(z, name, 3), tensor)


# The family, one by one


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 8]))
def test_kromhc_is_a_kronecker_product_and_gives_one_back(seed, n):
    generator = np.random.default_rng(seed)
    product = np.ones((1, 1))
    for a in generator.uniform(0.01, 0.99, n.bit_length() - 1):
        product = np.kron(product, [[a, 1 - a], [1 - a, a]])
    np.testing.assert_allclose(project(np.log(product), "kromhc"), product, rtol=0, atol=1e-14)


def test_kromhc_of_two_streams_is_every_doubly_stochastic_matrix():
    logits = normal(2, 2)
    a = 1 / (1 + math.exp(-(logits[0, 0] + logits[1, 1] - logits[0, 1] - logits[1, 0]) / 2))
    expected = [[a, 1 - a], [1 - a, a]]
    np.testing.assert_allclose(project(logits, "kromhc"), expected, rtol=0, atol=1e-15)
    # which is Sinkhorn's limit too: with two streams there is only one cross-ratio
    np.testing.assert_allclose(mhc.sinkhorn_limit(logits).matrix, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_circulant_is_a_softmax_of_the_shifts_means_and_gives_a_circulant_matrix_back(n):
    logits = normal(n, n, spread=2)
    weights = np.exp([np.mean([logits[i, (i + k) % n] for i in range(n)]) for k in range(n)])
    weights /= weights.sum()
    expected = [[weights[(j - i) % n] for j in range(n)] for i in range(n)]
    found = project(logits, "circulant")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(project(np.log(found), "circulant"), found, rtol=0, atol=1e-15)


@pytest.mark.parametrize("iterations", [1, 20])
def test_blend_is_between_the_identity_and_sinkhorn(iterations):
    for logits in normal(5, 4, 4, spread=3):
        a = 1 / (1 + math.exp(-logits.mean()))
        expected = (1 - a) * np.eye(4) + a * sinkhorn_knopp(logits, iterations)
        found = project(logits, "blend", iterations)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
        # The mean moves a alone, because S ignores it.
        np.testing.assert_allclose(
            project(logits + 40, "blend"), sinkhorn_knopp(logits), atol=1e-14
        )
        np.testing.assert_allclose(project(logits - 40, "blend"), np.eye(4), atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_cayley_is_orthogonal_and_its_squares_are_those_of_its_entries(n):
    for spread in (0.1, 1.0, 1e4):
        logits = normal(20, n, n, spread=spread)
        q = project(logits, "cayley")
        # Newton-Schulz steps leave the rounding of two products.
        np.testing.assert_allclose(q.mT @ q, np.broadcast_to(np.eye(n), q.shape), atol=4e-15)
        np.testing.assert_allclose(project(logits, "cayley-squares"), q * q, rtol=0, atol=0)
    a = (logits - logits.mT) / 2
    tame = np.linalg.solve(np.eye(n) + a, np.eye(n) - a)
    np.testing.assert_allclose(q, tame, rtol=0, atol=1e4 * n * 1e-15)  # the condition of I + A


def test_a_product_of_orthogonal_matrices_parts_the_two_gains():
    # The worst case is at most sqrt(n) = 2 and is near it; the paper's gain is a signed sum.
    composite = mhc.compose(project(normal(200, 64, 4, 4), "cayley"))
    worst = 10 ** composite.log10_gain("forward", "worst-case")[:, -1]
    paper = 10 ** composite.log10_gain("forward", "paper")[:, -1]
    assert worst.max() <= 2 + 1e-12
    # The largest row of a random orthogonal 4 x 4 matrix in the 1-norm, 200 of them.
    assert np.median(worst) == pytest.approx(1.87, abs=0.04)
    assert np.median(paper) == pytest.approx(1.55, abs=0.08)


@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_polar_squares_are_those_of_the_nearest_orthogonal_matrix_whatever_the_size(n):
    logits = normal(200, n, n)
    u, _, vh = np.linalg.svd(logits)
    condition = np.linalg.cond(logits)[:, None, None]
    found = project(logits, "polar-squares")
    assert (np.abs(found - (u @ vh) ** 2) <= 1e-15 * n * condition).all()
    for size in (1e-30, 1e30):
        np.testing.assert_allclose(
            project(size * logits[:5], "polar-squares"), found[:5], rtol=0, atol=1e-12
        )


def test_polar_squares_of_singular_logits_spread_what_is_missing_of_the_sums():
    np.testing.assert_array_equal(project(np.zeros((4, 4)), "polar-squares"), np.full((4, 4), 0.25))
    half = np.diag([1.0, 1.0, 0.0, 0.0])
    expected = np.diag([1.0, 1.0, 0.5, 0.5])
    expected[2, 3] = expected[3, 2] = 0.5
    np.testing.assert_allclose(project(half, "polar-squares"), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_go_mhc_is_the_squares_of_a_unitary_cayley_transform(n):
    for logits in normal(5, n, n):
        skew, symmetric = (logits - logits.T) / 2, (logits + logits.T) / 2
        a = skew + 1j * symmetric
        unitary = np.linalg.solve(np.eye(n) + a, np.eye(n) - a)
        found = project(logits, "go-mhc")
        np.testing.assert_allclose(found, np.abs(unitary) ** 2, rtol=0, atol=1e-14)
        # Antisymmetric logits are the case s = 1.
        np.testing.assert_allclose(
            project(skew, "go-mhc"), project(skew, "cayley-squares"), rtol=0, atol=1e-14
        )


def test_go_mhc_reaches_what_no_orthogonal_matrix_has_as_its_squares():
    # Two rows are orthogonal only if the lengths sqrt(m_1k m_2k) close, with signs: at n = 3 the
    # longest is then the sum of the two others.  With phases it may be less.
    def gap(matrix):
        lengths = np.sort(np.sqrt(matrix[:, 0] * matrix[:, 1]), axis=-1)
        return lengths[:, 2] - lengths[:, 1] - lengths[:, 0]

    logits = normal(500, 3, 3)
    assert np.abs(gap(project(logits, "cayley-squares"))).max() < 1e-7  # sqrt of a rounding error
    found = gap(project(logits, "go-mhc"))
    assert found.max() < 1e-7
    assert np.median(found) < -0.03


def test_spectral_divides_by_a_norm_above_1_and_by_nothing_else():
    small, large = 0.1 * normal(4, 4), 10 * normal(4, 4)
    assert np.linalg.norm(small, 2) < 1
    np.testing.assert_array_equal(project(small, "spectral"), small)
    expected = large / np.linalg.norm(large, 2)
    np.testing.assert_allclose(project(large, "spectral"), expected, rtol=1e-14)


def test_signed_rows_refuse_a_row_that_sums_to_0():
    with pytest.raises(ValueError, match=r"'signed-rows' divides each row by its sum.*not be 0"):
        project(np.array([[1.0, -1.0], [1.0, 1.0]]), "signed-rows")
    np.testing.assert_array_equal(project(np.zeros((4, 4)), "signed-rows"), np.full((4, 4), 0.25))


def test_signed_sums_are_the_nearest_matrix_whose_sums_are_1():
    for matrix in normal(5, 4, 4, spread=3):
        p = np.eye(4) - 1 / 4
        expected = p @ matrix @ p + 1 / 4
        found = project(matrix, "signed-sums")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(project(found, "signed-sums"), found, rtol=0, atol=1e-14)


def test_sums_of_1_bound_nothing_while_entries_may_be_negative():
    # The second audit: 10^10.7 in the worst case where the paper's gain reads 1.000 both ways, and
    # 10^24 backward where only the rows are divided.  Medians of 1,000 networks of 64 layers; their
    # standard errors are 0.06 and 0.15.
    both = mhc.compose(project(normal(1_000, 64, 4, 4), "signed-sums"))
    for direction in ("forward", "backward"):
        paper = np.abs(both.log10_gain(direction, "paper")[:, -1])
        assert np.median(paper) < 1e-4  # rounding, next to entries of 10^10
        worst = both.log10_gain(direction, "worst-case")[:, -1]
        assert np.median(worst) == pytest.approx(10.7, abs=0.25)
    rows = mhc.compose(project(normal(1_000, 64, 4, 4), "signed-rows"))
    assert np.median(rows.log10_gain("backward", "paper")[:, -1]) == pytest.approx(24, abs=0.7)

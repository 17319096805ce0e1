"""Sinkhorn-Knopp and its released variant against 50-digit arithmetic and plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from logits import BACKENDS, DTYPES, EPS, exact_sinkhorn, hostile_logits, normal

import mhc_demo as mhc
from mhc_demo.numerics import projections
from mhc_demo.numerics.projecting import project, sinkhorn_knopp

pytestmark = pytest.mark.filterwarnings("error")


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

"""The other projections, one by one: each against what it is by its definition."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logits import DTYPES, normal

import mhc_demo as mhc
from mhc_demo.numerics.projecting import project, sinkhorn_knopp

pytestmark = pytest.mark.filterwarnings("error")


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

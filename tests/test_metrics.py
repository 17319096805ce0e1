"""Every metric by known matrices, by its definition, in every array library, and by its theorems.

The theorems are what a metric is for: what it bounds, what it does not see, what compounds.
"""

import math
from itertools import permutations

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.numerics.gains import compose
from mhc_demo.numerics.metrics import GROUPS, METRICS

pytestmark = pytest.mark.filterwarnings("error")

BACKENDS = {
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "array_api_strict": array_api_strict.asarray,
}
EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
STREAMS, SEEDS = st.integers(1, 6), st.integers(0, 2**32 - 1)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


KNOWN = {
    "permutation": (np.eye(4)[[2, 0, 3, 1]], (math.sqrt(3), 1, 1, 4)),
    "identity": (np.eye(5), (2, 1, 1, 5)),
    "uniform": (np.full((4, 4), 0.25), (0, 0, 0, 1)),
    "two pairs": (np.kron(np.eye(2), np.full((2, 2), 0.5)), (1, 1, 1, 2)),
    "identical rows": (np.tile([0.7, 0.2, 0.1], (3, 1)), (None, 0, 0, 1)),
    "one stream": (np.eye(1), (0, 0, 0, 1)),
    "zero": (np.zeros((3, 3)), (1, 0, 0, 0)),
}
NAMES = ("uniform_distance", "second_singular_value", "stream_disagreement", "effective_streams")


@pytest.mark.parametrize(("matrix", "values"), KNOWN.values(), ids=KNOWN)
def test_metrics_of_known_matrices(matrix, values):
    assert set(NAMES) <= set(METRICS)
    for name, expected in zip(NAMES, values, strict=True):
        value = METRICS[name](matrix)
        if expected is not None:
            assert value == pytest.approx(expected, abs=1e-15 * 16)  # the rounding of an SVD


@EVERY
def test_metrics_are_finite_for_any_leading_axes_and_array_library(metric):
    for n in (1, 2, 4):
        matrices = mhc.sinkhorn_knopp(normal(2, 3, n, n), 5)
        values = metric(matrices)
        assert values.shape == (2, 3)
        assert np.isfinite(values).all()
        for index in np.ndindex(2, 3):
            assert values[index] == pytest.approx(metric(matrices[index]), rel=1e-13, abs=1e-15)
        for convert in BACKENDS.values():
            given = convert(matrices)
            result = metric(given)
            assert type(result) is type(given)
            np.testing.assert_allclose(np.asarray(result), values, rtol=1e-12, atol=1e-15)


def moduli(matrix):
    return np.sort(np.abs(scipy.linalg.eigvals(matrix)))[::-1]


def singular(matrix):
    return scipy.linalg.svdvals(matrix)


def quadruples(matrix):
    """Ln (a_ij a_km / (a_im a_kj)), the logarithms of all cross-ratios."""
    logs = np.log(matrix)
    return [
        logs[i, j] - logs[i, m] - logs[k, j] + logs[k, m]
        for i, j, k, m in np.ndindex(matrix.shape * 2)
    ]


DEFINED = {
    "second_singular_value": lambda a: singular(a)[1],
    "second_eigenvalue": lambda a: moduli(a)[1],
    "stream_disagreement": lambda a: max(np.abs(p - q).sum() for p in a for q in a) / 2,
    "uniform_distance": lambda a: scipy.linalg.norm(a - 1 / len(a)),
    "effective_streams": lambda a: (singular(a) ** 2).sum() ** 2 / (singular(a) ** 4).sum(),
    "singular_ratio": lambda a: singular(a)[1] / singular(a)[0],
    "spectral_gap": lambda a: 1 - moduli(a)[1] / moduli(a)[0],
    "smallest_row_sum": lambda a: min(abs(sum(row)) for row in a),
    "smallest_column_sum": lambda a: min(abs(sum(column)) for column in a.T),
    "spectral_norm": lambda a: scipy.linalg.norm(a, 2),
    "infinity_norm": lambda a: scipy.linalg.norm(a, np.inf),
    "one_norm": lambda a: scipy.linalg.norm(a, 1),
    "row_entropy": lambda a: np.mean([scipy.stats.entropy(row) for row in a]),
    "logit_range": lambda a: max(quadruples(a)),
    "birkhoff_coefficient": lambda a: math.tanh(max(quadruples(a)) / 4),
}


@EVERY
def test_metrics_equal_their_definitions(metric):
    signed, positive = normal(4, 4, 4), mhc.sinkhorn_knopp(2 * normal(4, 4, 4), 1)
    for matrix in [*positive, *(signed if metric.signed else [])]:
        # 1e-12: LAPACK on a matrix whose condition is below 1000
        assert metric(matrix) == pytest.approx(DEFINED[metric.name](matrix), rel=1e-12)


@EVERY
def test_a_metric_stands_in_one_of_the_groups(metric):
    assert metric.group in GROUPS
    assert not (metric.scale_free and metric.homogeneous)
    assert not metric.plotted or metric.group == "differences"


@EVERY
@given(st.integers(2, 5), SEEDS, st.integers(-900, 900))
def test_what_a_metric_says_of_the_scale_is_so(metric, n, seed, power):
    matrix = normal(n, n, seed=seed)
    if not metric.signed:
        matrix = np.abs(matrix) + 1e-3
    scaled = np.ldexp(matrix, power)  # exactly
    # Eigenvalues of a random matrix may be conditioned as badly as 1e4.
    if metric.scale_free:
        assert metric(scaled) == pytest.approx(metric(matrix), rel=1e-11, abs=1e-11)
    elif metric.homogeneous:
        expected = math.log10(metric(matrix)) + power * math.log10(2)
        assert math.log10(metric(scaled)) == pytest.approx(expected, abs=1e-10)
        assert metric.log10(matrix, np.int64(power)) == pytest.approx(expected, abs=1e-12)


def test_the_log10_of_a_metric_is_known_beyond_any_float():
    layers = 1e3 * normal(120, 4, 4)  # up to 10^400
    composite = compose(layers)
    for convert in BACKENDS.values():
        norm = METRICS["infinity_norm"].log10(
            convert(composite.mantissa), convert(composite.exponent)
        )
        exact = composite.log10_gain("forward", "worst-case")
        np.testing.assert_allclose(np.asarray(norm), exact, rtol=1e-14)
    assert exact[-1] > 350
    assert METRICS["one_norm"].log10(np.zeros((2, 2)), np.int64(5)) == -math.inf
    with pytest.raises(ValueError, match=r"'effective_streams' does not grow.*'one_norm'"):
        METRICS["effective_streams"].log10(np.eye(2), np.int64(0))


@EVERY
def test_metrics_that_ask_for_entries_that_are_not_negative_are_nan_elsewhere(metric):
    signed = np.array([[1.0, -0.5], [0.5, 1.0]])
    assert math.isnan(metric(signed)) is not metric.signed


# What follows from the papers


def test_figure_8s_composites_stand_on_one_scale():
    # To the digits with which the matrices are printed.
    effective = {
        (panel.method, panel.key): float(METRICS["effective_streams"](panel.matrix))
        for panel in mhc.figure8()
    }
    assert effective["hc", "composite_31_60"] == pytest.approx(1.00006, abs=5e-6)
    assert effective["mhc", "composite_31_60"] == pytest.approx(1.70, abs=5e-3)
    assert effective["hc", "composite_1_60"] == pytest.approx(1.0000002, abs=5e-8)
    assert effective["mhc", "composite_1_60"] == pytest.approx(1.004, abs=5e-4)


def test_figure_8s_smallest_column_sum_is_hidden_by_the_largest():
    panels = {panel.key: panel for panel in mhc.figure8() if panel.method == "mhc"}
    whole = panels["composite_31_60"].matrix
    # The paper prints the sums 0.41 and 1.50; those of its printed entries differ by 4 roundings.
    assert METRICS["smallest_column_sum"](whole) == pytest.approx(0.41, abs=0.02)
    assert METRICS["one_norm"](whole) == pytest.approx(1.50, abs=0.02)
    assert METRICS["smallest_row_sum"](whole) == pytest.approx(1.00, abs=0.02)


@given(STREAMS, SEEDS)
def test_a_doubly_stochastic_matrix_has_norms_of_1_and_bounded_differences(n, seed):
    matrix = mhc.project(2 * normal(n, n, seed=seed), "mhc-lite")
    found = {name: float(metric(matrix)) for name, metric in METRICS.items()}
    # 1e-13: n! permutations are added up, and an SVD of the sum
    for name in (
        *("spectral_norm", "infinity_norm", "one_norm"),
        *("smallest_row_sum", "smallest_column_sum"),
    ):
        assert found[name] == pytest.approx(1, abs=1e-13)
    second = found["second_singular_value"]
    assert second <= 1 + 1e-13
    assert found["second_eigenvalue"] <= second + 1e-9  # a double eigenvalue has half the digits
    assert found["singular_ratio"] == pytest.approx(second, abs=1e-13)
    assert found["spectral_gap"] == pytest.approx(1 - found["second_eigenvalue"], abs=1e-9)
    # Dobrushin's coefficient bounds every eigenvalue of a stochastic matrix but the first.
    assert found["second_eigenvalue"] <= found["stream_disagreement"] + 1e-9
    assert found["stream_disagreement"] <= found["birkhoff_coefficient"] + 1e-12


@given(st.integers(2, 6), SEEDS)
def test_norms_are_ordered_and_no_norm_of_a_product_exceeds_the_product(n, seed):
    first, second = normal(2, n, n, seed=seed)
    size = {name: METRICS[name] for name in ("spectral_norm", "infinity_norm", "one_norm")}
    for norm in size.values():
        assert norm(second @ first) <= norm(second) * norm(first) * (1 + 1e-12)
    assert size["spectral_norm"](first) ** 2 <= (
        size["one_norm"](first) * size["infinity_norm"](first) * (1 + 1e-12)
    )


def test_a_matrix_that_is_not_normal_does_more_in_one_step_than_its_eigenvalues_say():
    shear = np.array([[1.0, 0.0, 0.0], [0.0, 0.1, 5.0], [0.0, 0.0, 0.1]])
    assert METRICS["second_eigenvalue"](shear) == pytest.approx(0.1)
    assert METRICS["second_singular_value"](shear) == pytest.approx(1.0)
    assert METRICS["spectral_norm"](shear) > 5
    # Repeated, it is the eigenvalues that count: 40 times 0.1 against 1.
    many = np.linalg.matrix_power(shear, 40)
    assert METRICS["second_singular_value"](many) == pytest.approx(0, abs=1e-36)


def test_the_gap_of_a_permutation_is_0_and_of_equal_rows_1():
    for order in permutations(range(3)):
        assert METRICS["spectral_gap"](np.eye(3)[list(order)]) == pytest.approx(0, abs=1e-15)
    assert METRICS["spectral_gap"](np.tile([0.7, 0.2, 0.1], (3, 1))) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_entropy_of_rows_counts_the_streams_they_read(n):
    entropy = METRICS["row_entropy"]
    assert entropy(np.full((n, n), 1 / n)) == pytest.approx(math.log(n), abs=1e-15 * n)
    assert entropy(np.eye(n)) == 0
    two = (np.eye(n) + np.roll(np.eye(n), 1, axis=0)) / 2
    assert entropy(two) == pytest.approx(math.log(min(n, 2)), abs=1e-15)
    assert math.isnan(entropy(np.zeros((n, n))))  # a row that reads nothing


@given(st.integers(2, 6), SEEDS)
def test_no_scaling_of_rows_and_columns_changes_the_range_of_the_logits(n, seed):
    Z, rows, columns = 3 * normal(n, n, seed=seed), normal(n, 1, seed=1), normal(1, n, seed=2)
    metric = METRICS["logit_range"]
    expected = metric(np.exp(Z))
    assert metric(np.exp(Z + rows + columns)) == pytest.approx(expected, rel=1e-12)
    assert metric(mhc.sinkhorn_knopp(Z)) == pytest.approx(expected, rel=1e-9)
    assert mhc.logit_range(Z) == pytest.approx(expected, rel=1e-12)


def test_the_range_of_the_logits_is_infinite_where_an_entry_is_0():
    assert METRICS["logit_range"](np.eye(3)) == math.inf
    assert METRICS["birkhoff_coefficient"](np.eye(3)) == 1
    assert METRICS["logit_range"](np.ones((3, 3))) == 0


@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_stream_disagreement_of_a_product_is_at_most_the_product(n, seed):
    # Dobrushin: mixing of row-stochastic matrices compounds.
    first, second = mhc.project(2 * normal(2, n, n, seed=seed), "rows")
    metric = METRICS["stream_disagreement"]
    assert 0 <= metric(first) <= 1
    assert metric(second @ first) <= metric(second) * metric(first) * (1 + 1e-13) + 1e-15


def test_products_of_doubly_stochastic_matrices_drift_to_uniform_and_of_rows_to_equal_rows():
    exact = compose(mhc.project(normal(64, 4, 4), "mhc-lite")).matrix(64)
    rows = compose(mhc.project(normal(64, 4, 4), "rows")).matrix(64)
    assert METRICS["uniform_distance"](exact) < 1e-10
    assert METRICS["stream_disagreement"](rows) < 1e-10
    assert METRICS["uniform_distance"](rows) > 0.05

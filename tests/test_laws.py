"""The theorems behind the page: each is held against its definition, or within a standard error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.figures.laws import kinds_html, reach
from mhc_demo.numerics import laws
from mhc_demo.numerics.laws import DONE, FLOOR, KINDS
from mhc_demo.numerics.mixing import sample_noise
from mhc_demo.numerics.projections import PROJECTIONS

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

ROUNDING = 1e-12
"""Relative, of a product of 40 matrices of up to 6 streams, or log10 of it."""

EXPERIMENTS = st.builds(
    mhc.Experiment,
    streams=st.integers(1, 6),
    spread=st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    seed=st.integers(0, 2**32 - 1),
    init=st.sampled_from(list(mhc.INITS)),
    projection=st.sampled_from([n for n, p in PROJECTIONS.items() if p.sizes.hold(6)]),
    members=st.just(2),
)
SOME = settings(max_examples=15, deadline=None)


def normal(*shape: int, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    return spread * np.random.default_rng(seed).standard_normal(shape)


# One number explains two views


@pytest.mark.parametrize("n", [1, 2, 4, 16])
@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0, 10.0, 50.0])
def test_the_limit_is_doubly_stochastic_and_a_scaling_of_the_logits(n: int, spread: float) -> None:
    logits = normal(20, n, n, spread=spread)
    found = laws.sinkhorn_limits(logits)
    assert found.reached.all()
    for axis in (-1, -2):
        np.testing.assert_allclose(found.matrix.sum(axis=axis), 1, atol=2 * n * DONE)
    # ln P - logits is a_i + b_j, where neither has underflowed: differences of differences vanish.
    if spread <= 5:
        scalings = np.log(found.matrix) - logits
        both = np.diff(np.diff(scalings, axis=-1), axis=-2)
        np.testing.assert_allclose(both, 0, atol=1e-9)


def test_the_limit_is_where_many_iterations_end() -> None:
    logits = normal(50, 4, 4, spread=2.0)
    wanted = mhc.sinkhorn_knopp(logits, 2000)
    few = laws.sinkhorn_limits(logits, 3)
    # Sums within DONE leave entries off by no more than DONE / (1 - s2^2), here below 100 DONE.
    np.testing.assert_allclose(few.matrix, wanted, atol=100 * DONE)


def test_near_its_limit_an_iteration_multiplies_the_error_by_the_square_of_s2() -> None:
    """Independently of how the rates are found: the error of the columns, twice."""
    for seed in range(10):
        logits = normal(3, 3, seed=seed)
        found = laws.sinkhorn_limits(logits)
        s = np.linalg.svd(found.matrix, compute_uv=False)
        errors = [np.abs(mhc.sinkhorn_knopp(logits, t).sum(0) - 1).max() for t in range(1, 60)]
        last = max(t for t, error in enumerate(errors) if error > FLOOR)
        assert found.rate == pytest.approx(errors[last] / errors[last - 1], rel=1e-4)
        # What is left of the third singular value after `last` iterations is relative to this; an
        # error of 1e-11 has a relative rounding of 1e-5.
        slow = (s[2] / s[1]) ** (2 * last - 2)
        assert float(found.rate) == pytest.approx(s[1] ** 2, rel=50 * slow + 1e-4)


def test_the_medians_of_s2_squared_are_the_known_ones() -> None:
    """0.254 at spread 1 and 0.890 at spread 5, of 2,000 matrices each iterated 40,000 times."""
    for spread, wanted in ((1.0, 0.254), (5.0, 0.890)):
        found = laws.layer_limits(mhc.Experiment(spread=spread, seed=1), depth=1000)
        values = found["s2_squared"].values
        assert np.isfinite(values).all()
        error = math.hypot(1.2533 * values.std() / math.sqrt(1000), 0.004)
        assert abs(np.median(values) - wanted) < 4 * error


@given(experiment=EXPERIMENTS)
@SOME
def test_a_difference_never_keeps_more_than_s2_and_one_keeps_that(
    experiment: mhc.Experiment,
) -> None:
    found = laws.layer_limits(experiment, depth=10)
    if experiment.streams == 1:
        assert found["s2_squared"].isnull().all()
        return
    # The 2 norm on the complement of ones, against the second of all singular values: the limits'
    # sums are 1 within DONE, unless logits of 1e2 have not let Newton get so far (NEAR).
    np.testing.assert_allclose(found["largest"], found["s2_squared"], atol=1e-5)
    assert (found["random"] <= found["largest"] + ROUNDING).all()


def test_differences_are_a_basis_of_what_has_the_mean_0() -> None:
    for n in (1, 2, 5):
        basis = laws.differences(n)
        np.testing.assert_allclose(basis.T @ basis, np.eye(n - 1), atol=1e-15)
        np.testing.assert_allclose(basis @ basis.T, np.eye(n) - 1 / n, atol=1e-15)


# What is conserved, and the norms


@given(experiment=EXPERIMENTS)
@SOME
def test_what_a_projection_promises_of_its_sums_is_kept_at_every_depth(
    experiment: mhc.Experiment,
) -> None:
    chosen = PROJECTIONS[experiment.projection]
    found = laws.composite_laws(experiment, depth=40, iterations=3).sel(iterations=[1, 2, 3])
    if chosen.unit_columns:
        np.testing.assert_allclose(found["mean"], 0, atol=1e-10)
    if chosen.unit_rows:
        np.testing.assert_allclose(found["shared"], 0, atol=1e-10)


def test_what_is_kept_is_that_of_the_propagated_signal() -> None:
    """By `propagate`, vector after vector, instead of by composites."""
    experiment = mhc.Experiment(streams=3, seed=5)
    found = laws.composite_laws(experiment, depth=12, iterations=2)
    signal = mhc.signal_surface(experiment, entering="random", depth=12, iterations=2, at=12)
    carried = signal["sign"].values * 10.0 ** signal["log10"].values
    mean = np.abs(carried.mean(axis=-1) / carried[:, :1].mean(axis=-1))
    np.testing.assert_allclose(found["mean"], np.log10(mean[:, 1:]), atol=1e-9)
    shared = mhc.signal_surface(experiment, entering="alike", depth=12, iterations=2, at=12)
    size = np.sqrt((10.0 ** (2 * shared["log10"].values)).mean(axis=-1))
    np.testing.assert_allclose(found["shared"], np.log10(size[:, 1:]), atol=1e-9)


def test_with_signs_what_is_kept_by_theorem_shows_no_rounding() -> None:
    """Of composites as large as 10^21 rounding would show 10^5."""
    found = laws.composite_laws(mhc.Experiment(projection="signed-sums"), depth=128, iterations=2)
    for name in laws.KEPT:
        assert (found[name].sel(iterations=[1, 2]) == 0).all()
        assert found[name].sel(iterations=0).max() > 20
    assert found["two"].sel(iterations=1).max() > 18
    rows = laws.composite_laws(mhc.Experiment(projection="signed-rows"), depth=128, iterations=1)
    assert (rows["shared"].sel(iterations=1) == 0).all()
    assert rows["mean"].sel(iterations=1).max() > 20  # its columns do not sum to 1


def test_signed_matrices_with_columns_that_sum_to_1_keep_the_mean_all_the_same() -> None:
    signed = normal(30, 4, 4)
    signed += (1 - signed.sum(axis=-2, keepdims=True)) / 4
    mean, shared = laws.kept(mhc.compose(signed), [3.0, -1.0, 0.5, 2.0])
    composites = mhc.compose(signed).log10_gain("forward", "worst-case")
    # Sums of n entries as large as the composite cancel to 1.
    np.testing.assert_allclose(mean, 0, atol=1e-14 * 10.0 ** composites.max())
    assert np.abs(shared).max() > 1


@given(experiment=EXPERIMENTS)
@SOME
def test_the_2_norm_is_below_the_geometric_mean_of_the_others(experiment: mhc.Experiment) -> None:
    found = laws.composite_laws(experiment, depth=40, iterations=3)
    bound = (found["one"] + found["infinity"]) / 2
    assert (found["two"] <= bound + ROUNDING).all()
    chosen = PROJECTIONS[experiment.projection]
    projected = found.sel(iterations=[1, 2, 3])
    if chosen.nonnegative and chosen.unit_rows:
        most = math.log10(experiment.streams) / 2
        assert (projected["two"] <= most + 1e-10).all()
        if chosen.unit_columns:
            for name in laws.NORMS:
                np.testing.assert_allclose(projected[name], 0, atol=1e-10)


def test_rows_alone_reach_a_norm_of_the_root_of_n() -> None:
    everything_to_one = np.zeros((1, 4, 4))
    everything_to_one[0, :, 2] = 1
    one, infinity, two = 10.0 ** laws.log10_norms(mhc.compose(everything_to_one))[:, 0]
    assert (one, infinity, two) == pytest.approx((4, 1, 2))


def test_one_count_alone_is_that_of_all() -> None:
    experiment = mhc.Experiment(streams=3)
    for projection in ("sinkhorn", "rows"):
        experiment.projection = projection
        all_counts = laws.composite_laws(experiment, depth=9, iterations=5)
        for only in (0, 1, 4):
            one = laws.composite_laws(experiment, depth=9, iterations=5, only=only)
            assert one["iterations"].values.tolist() == sorted({0, only})
            for name in (*laws.KEPT, *laws.NORMS):
                wanted = all_counts[name].sel(iterations=one["iterations"])
                np.testing.assert_allclose(one[name], wanted, atol=ROUNDING)


# Rows only


@given(experiment=EXPERIMENTS)
@SOME
def test_rows_alone_the_backward_gain_stays_where_it_must(experiment: mhc.Experiment) -> None:
    found = laws.rows_only_laws(experiment, depth=40)
    low, high = reach(found)
    assert (found["gain"] >= low - ROUNDING).all()
    assert (found["gain"] <= high + ROUNDING).all()
    assert (found["coefficient"] <= found["bound"] + ROUNDING).all()
    assert sum(found.attrs["pi"]) == pytest.approx(1)
    # Rows are averages of the rows before, so columns' largest entries never grow.
    assert (np.diff(found["coefficient"]) <= ROUNDING).all()


def test_rows_alone_the_gain_ends_at_n_times_the_largest_share() -> None:
    found = laws.rows_only_laws(mhc.Experiment(streams=4, spread=5.0, seed=3))
    logits = mhc.sample_mixing(128, 4, 1, spread=5.0, seed=3, logits=True)[0]
    product = np.eye(4)
    for layer in logits:
        product = mhc.project(layer, "rows") @ product
    np.testing.assert_allclose(product, np.tile(product[0], (4, 1)), atol=1e-10)
    assert found.attrs["reached"]
    weak = laws.rows_only_laws(mhc.Experiment(streams=4, init="identity", spread=0.1))
    assert weak["coefficient"][-1] > 0.5
    assert not weak.attrs["reached"]
    assert found.attrs["end"] == pytest.approx(4 * product[0].max(), abs=1e-9)
    assert float(found["gain"][-1]) == pytest.approx(product.sum(axis=0).max(), abs=1e-9)


# Orthogonal mixing, and four kinds


def test_orthogonal_matrices_are_uniform() -> None:
    """E Q = 0, E Q_ij^2 = 1/n and E tr(Q)^2 = 1 over the orthogonal group (n >= 2)."""
    q = laws.orthogonal(normal(4000, 4, 4))
    np.testing.assert_allclose(np.swapaxes(q, -1, -2) @ q - np.eye(4), 0, atol=1e-14)
    entry_error = 0.5 / math.sqrt(4000)
    assert np.abs(q.mean(axis=0)).max() < 4.5 * entry_error
    traces = np.trace(q, axis1=-2, axis2=-1) ** 2
    assert traces.mean() == pytest.approx(1, abs=4 * traces.std() / math.sqrt(4000))


def test_four_kinds_do_what_is_said_of_them() -> None:
    table = laws.four_kinds(mhc.Experiment(members=300, seed=9), depth=20).at(20)
    here = {name: table.sel(kind=name) for name in KINDS}
    for d in ("forward", "backward"):
        # |Q 1| = 2 in a uniform direction: the median of the largest |entry| is 1.547, from
        # 2 * 10^5 directions.  The density there is about 1.3: 300 networks have an error of 0.022.
        assert 10.0 ** float(here["orthogonal"][d]) == pytest.approx(1.547, abs=4 * 0.022)
        assert float(here["doubly-stochastic"][d]) == pytest.approx(0, abs=1e-9)
        assert float(here["none"][d]) > 3
    assert float(here["rows"]["forward"]) == pytest.approx(0, abs=1e-12)
    assert 0.1 < float(here["rows"]["backward"]) < math.log10(4)
    assert float(here["orthogonal"]["difference"]) == pytest.approx(0, abs=1e-12)
    for name in ("rows", "doubly-stochastic"):
        assert float(here[name]["difference"]) < -3
    means = {n: each["mean_sign"] * 10.0 ** each["mean_log10"] for n, each in here.items()}
    np.testing.assert_allclose(means["doubly-stochastic"], 1, atol=1e-9)
    low, high = means["orthogonal"].values
    assert low < -1 < 1 < high <= 2
    low, high = means["rows"].values
    assert 0 <= low < 0.9 < 1.1 < high <= 4


def test_the_table_of_kinds_is_that_of_plain_numbers() -> None:
    kinds = laws.four_kinds(mhc.Experiment(streams=3, members=5, seed=2), depth=3)
    table = kinds.at(3)
    noise = sample_noise(3, 3, 5, 2)
    layers = {
        "none": noise,
        "rows": mhc.project(noise, "rows"),
        "orthogonal": laws.orthogonal(noise),
    }
    layers["doubly-stochastic"] = mhc.sinkhorn_knopp(noise, 3000)
    away = np.eye(3) - 1 / 3
    for name, matrices in layers.items():
        products = matrices[:, 2] @ matrices[:, 1] @ matrices[:, 0]
        here = table.sel(kind=name)
        for d, axis in (("forward", -1), ("backward", -2)):
            wanted = np.median(np.abs(products.sum(axis=axis)).max(axis=-1))
            assert 10.0 ** float(here[d]) == pytest.approx(wanted)
        left = np.median(np.linalg.norm(away @ products @ away, 2, axis=(-2, -1)))
        assert 10.0 ** float(here["difference"]) == pytest.approx(left, rel=1e-6)
        sums = np.sort(products.sum(axis=-2).ravel())
        ends = here["mean_sign"] * 10.0 ** here["mean_log10"]
        np.testing.assert_allclose(ends, sums[[round(0.05 * 14), round(0.95 * 14)]], rtol=1e-6)
    told = kinds_html(kinds, 3)
    assert told.count("<tr") == 5
    assert f"{10.0 ** float(table.sel(kind='rows')['backward']):.2f}" in told


# Drift


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_small_drift_grows_by_the_law(n: int) -> None:
    # What follows the first term is (n - 2)(n - 4) sigma^4 / 4: 6e-4 at n = 8 and sigma 0.1.
    drift = laws.measured_drift(mhc.Experiment(streams=n, members=64, seed=4), [0.02, 0.05, 0.1])
    off = np.abs(drift["mean"] - drift["law"])
    allowed = 4 * drift["error"] + abs((n - 2) * (n - 4)) * drift["spread"] ** 4 / 2
    assert (off < allowed).all()


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_drift_of_any_size_grows_by_the_exponent(n: int) -> None:
    drift = laws.measured_drift(mhc.Experiment(streams=n, members=64, seed=4))
    # 14 spreads of the same noise: 4 standard errors of 8,192 independent layers.
    assert (np.abs(drift["mean"] - drift["exact"]) < 4 * drift["error"]).all()


def test_drift_is_measured_on_the_products_of_its_matrices() -> None:
    experiment = mhc.Experiment(streams=3, members=2, seed=6)
    drift = laws.measured_drift(experiment, [0.3], depth=25)
    layers = mhc.sample_mixing(25, 3, 2, "identity", 0.3, 6)
    lengths = []
    for network in layers:
        x = np.ones(3)
        for matrix in network:
            x = matrix @ x
        lengths.append(math.log(np.linalg.norm(x) / math.sqrt(3)) / 25)
    assert float(drift["mean"][0]) == pytest.approx(np.mean(lengths))
    assert float(drift["median"][0]) == pytest.approx(np.median(lengths))


# Bad input


def test_bad_input_is_refused_by_name() -> None:
    experiment = mhc.Experiment(members=1)
    for call, name in (
        (lambda: laws.sinkhorn_limits([[1.0, 2.0]]), "logits"),
        (lambda: laws.sinkhorn_limits([[1.0]], 0), "iterations"),
        (lambda: laws.differences(0), "streams"),
        (lambda: laws.layer_limits(experiment, depth=0), "depth"),
        (lambda: laws.composite_laws(experiment, only=-1), "only"),
        (lambda: laws.kept(mhc.compose(np.eye(2)[None]), [1.0, -1.0]), "entering"),
        (lambda: laws.kept(mhc.compose(np.eye(2)[None]), [1.0]), "entering"),
        (lambda: laws.measured_drift(experiment, []), "spreads"),
        (lambda: laws.measured_drift(experiment, [-1.0]), "spreads"),
        (lambda: laws.orthogonal([[math.nan]]), "noise"),
        (lambda: laws.rows_only_laws(experiment, member=-1), "member"),
        (lambda: laws.four_kinds(experiment, depth=2).at(3), "at"),
    ):
        with pytest.raises(ValueError, match=name):
            call()
    with pytest.raises(TypeError, match="experiment"):
        laws.layer_limits("gaussian")  # type: ignore[arg-type]

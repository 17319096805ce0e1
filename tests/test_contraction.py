"""Sinkhorn's iteration converges no slower than Hilbert's metric says, and in the end at s2^2."""

import math

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.numerics.metrics import METRICS
from mhc_demo.numerics.projecting import iterates

pytestmark = pytest.mark.filterwarnings("error")

ROUNDING = 1e-13
"""Of sums of a handful of exponentials, relative."""


def logits(n, seed, spread=1.0):
    return spread * np.random.default_rng(seed).standard_normal((n, n))


def left_after_each(Z, count):
    """Max ln c - min ln c of the column sums c, after 1, ..., count iterations."""
    sums = np.array([each.sum(axis=0) for each in iterates(Z, "sinkhorn", count)])
    return np.log(sums.max(axis=1)) - np.log(sums.min(axis=1))


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.floats(0.1, 4.0))
def test_no_iteration_contracts_less_than_birkhoffs_coefficient_squared(n, seed, spread):
    Z = logits(n, seed, spread)
    left = left_after_each(Z, 12)
    kappa = float(METRICS["birkhoff_coefficient"](np.exp(Z)))
    assert kappa == pytest.approx(math.tanh(mhc.logit_range(Z) / 4), rel=1e-12)
    assert (left[1:] <= kappa**2 * left[:-1] * (1 + ROUNDING) + ROUNDING).all()


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_in_the_end_an_iteration_contracts_by_the_square_of_the_limits_second_value(spread):
    Z = logits(4, 3, spread)
    limit = mhc.sinkhorn_knopp(Z, 3000)
    rate = float(METRICS["second_singular_value"](limit)) ** 2
    left = left_after_each(Z, 60)
    measured = left[1:] / np.where(left[:-1] > 0, left[:-1], 1.0)
    late = (left[1:] > 1e-9) & (left[:-1] < 1e-4)  # linear by then, and not yet rounding
    assert late.any()
    # The next singular value fades against it; and rounding of 1e-15 beside 1e-9
    np.testing.assert_allclose(measured[late][-1], rate, rtol=1e-3)
    assert rate <= math.tanh(mhc.logit_range(Z) / 4) ** 2


@given(
    st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0.0, 2.0), st.sampled_from([0.1, 1e-3])
)
def test_so_many_iterations_as_the_bound_says_are_enough(n, seed, spread, error):
    Z = logits(n, seed, spread)
    bound = float(mhc.iterations_bound(Z, error))
    assert bound >= 1
    assert bound == int(bound)
    projected = mhc.sinkhorn_knopp(Z, int(min(bound, 2000)))
    if bound <= 2000:
        assert mhc.distance_from_doubly_stochastic(projected) <= error * (1 + ROUNDING)


def test_the_bound_is_far_from_what_sharp_logits_need():
    Z = mhc.sample_mixing(200, 4, spread=3.0, seed=0)[0]
    enough = mhc.sinkhorn_knopp(Z, 60)
    assert np.median(mhc.distance_from_doubly_stochastic(enough)) < 0.01
    assert np.median(mhc.iterations_bound(Z)) > 300


def test_range_and_bound_are_the_same_in_every_array_library():
    Z = mhc.sample_mixing(5, 4, 2)
    for function in (mhc.logit_range, mhc.iterations_bound):
        expected = function(Z)
        assert expected.shape == (2, 5)
        for convert in (torch.from_numpy, array_api_strict.asarray):
            found = function(convert(Z))
            assert type(found) is type(convert(Z))
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12)


def test_masked_logits_have_no_bound():
    Z = np.zeros((3, 3))
    Z[0, 1] = Z[0, 2] = Z[1, 0] = Z[2, 0] = -math.inf
    assert mhc.logit_range(Z) == math.inf
    assert mhc.iterations_bound(Z) == 1  # its sums are 1 after one iteration
    Z[0, 1] = 0.0
    assert mhc.iterations_bound(Z) == math.inf


def test_equal_logits_need_one_iteration():
    assert mhc.logit_range(np.full((4, 4), 7.0)) == 0
    assert mhc.iterations_bound(np.full((4, 4), 7.0)) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        ("0.01", TypeError),
        (True, TypeError),
    ],
)
def test_an_error_that_is_none_is_refused(error, kind):
    with pytest.raises(kind, match=r"error must be .*not"):
        mhc.iterations_bound(np.eye(2), error)

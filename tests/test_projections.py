"""The projections against their promises, in every array library.

What a projection declares in `PROJECTIONS` is tested for every entry of the registry, so that a
new projection is tested as soon as it is registered.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from logits import BACKENDS, DTYPES, EPS, EVERY, hostile_logits, normal, sizes_of

import mhc_demo as mhc
from mhc_demo.numerics import projections
from mhc_demo.numerics.projecting import iterates, project, sinkhorn_knopp
from mhc_demo.numerics.projections import PROJECTIONS

pytestmark = pytest.mark.filterwarnings("error")


# Every projection keeps its promises, and makes every promise that it could


@EVERY
def test_iteration_0_is_the_input_itself(chosen):
    logits = normal(3, 4, 4, spread=5)
    assert project(logits, chosen.name, 0) is logits


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
    # Sums of up to 8 rounded entries; where signs are kept, of differences of the logits.
    largest = np.abs(result if chosen.nonnegative else np.stack([result, logits])).max()
    rounding = (16 if chosen.nonnegative else 32) * eps * max(1.0, largest)
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

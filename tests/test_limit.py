"""The limit of Sinkhorn-Knopp: against long iterations and 50 digits, and its derivatives."""

import math

import array_api_strict
import mpmath
import numpy as np
import pytest
import torch

import mhc_demo as mhc
from mhc_demo.numerics import projections

pytestmark = pytest.mark.filterwarnings("error")


def normal(*shape, spread=1.0, seed=0):
    return spread * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 16])
def test_it_is_what_many_iterations_lead_to(n):
    logits = normal(20, n, n)
    found = mhc.sinkhorn_limit(logits)
    expected = mhc.sinkhorn_knopp(logits, 2_000)
    np.testing.assert_allclose(found.matrix, expected, rtol=0, atol=1e-14)  # 2,000 roundings
    assert found.steps.shape == found.error.shape == (20,)


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0, 20.0, 1e3, 1e4])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_sums_are_1_and_cross_ratios_those_of_the_logits_however_sharp(n, spread):
    logits = normal(100, n, n, spread=spread, seed=n)
    found = mhc.sinkhorn_limit(logits)
    assert (found.error <= 1e-14).all()
    np.testing.assert_allclose(found.matrix.sum(-1), 1.0, rtol=0, atol=1e-15 * n)
    np.testing.assert_allclose(found.matrix.sum(-2), 1.0, rtol=0, atol=1e-14)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log(found.matrix) - logits  # u_i + v_j, where no entry underflows
        wanted = scaled[:, :1, :1] + scaled - scaled[:, :1, :] - scaled[:, :, :1]
        sound = found.matrix > 1e-300
    sound &= sound[:, :1, :1] & sound[:, :1, :] & sound[:, :, :1]
    assert np.abs(np.where(sound, wanted, 0.0)).max() < 1e-12 * max(1.0, spread)


@pytest.mark.filterwarnings("ignore")  # of the backends that it looks for
@pytest.mark.parametrize("spread", [1.0, 3.0])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_it_is_the_entropic_transport_plan_of_an_independent_solver(n, spread):
    """The Kullback-Leibler projection of exp(Z) is the plan between uniform weights at cost -Z."""
    import ot

    weights = np.full(n, 1 / n)
    for logits in normal(3, n, n, spread=spread, seed=n):
        plan = ot.sinkhorn(
            weights, weights, -logits, 1.0, "sinkhorn_log", numItermax=100_000, stopThr=1e-15
        )
        # It stops where a step no longer changes the sums by more than rounding.
        np.testing.assert_allclose(mhc.sinkhorn_limit(logits).matrix, n * plan, rtol=0, atol=1e-12)


def test_it_takes_few_steps_and_says_how_many():
    for spread, most in ((0.0, 0), (1.0, 7), (5.0, 14), (1e4, 50)):
        steps = mhc.sinkhorn_limit(normal(500, 4, 4, spread=spread)).steps
        assert steps.max() <= most
    fewer = mhc.sinkhorn_limit(normal(500, 4, 4, spread=5.0), tolerance=1e-3)
    assert fewer.steps.max() < 12
    assert fewer.error.max() < 1e-3


def test_it_is_the_scaling_in_50_digits():
    logits = normal(4, 4, spread=3.0, seed=3)
    with mpmath.workdps(50):
        matrix = [[mpmath.exp(mpmath.mpf(float(z))) for z in row] for row in logits]
        for _ in range(400):
            sums = [mpmath.fsum(row[j] for row in matrix) for j in range(4)]
            matrix = [[x / s for x, s in zip(row, sums, strict=True)] for row in matrix]
            matrix = [[x / mpmath.fsum(row) for x in row] for row in matrix]
        error = max(abs(mpmath.fsum(row[j] for row in matrix) - 1) for j in range(4))
        expected = np.array(matrix, dtype=np.float64)
    assert error < 1e-15
    np.testing.assert_allclose(mhc.sinkhorn_limit(logits).matrix, expected, rtol=1e-13)


def test_limits_with_zeros_are_reached():
    # Without the entry below the diagonal nothing balances the one above: it tends to 0 as 1 / t.
    found = mhc.sinkhorn_limit([[0.0, 0.0], [-math.inf, 0.0]])
    np.testing.assert_allclose(found.matrix, np.eye(2), rtol=0, atol=1e-14)
    nearly = mhc.sinkhorn_limit([[0.0, 0.0], [-80.0, 0.0]]).matrix
    assert nearly[0, 1] == pytest.approx(math.exp(-40), rel=1e-3)
    ties = np.random.default_rng(0).choice([-1e4, -9_999.5, 0, 0.25, 778, 1e4], (500, 5, 5))
    assert mhc.sinkhorn_limit(ties).error.max() <= 1e-14


def test_its_gradient_is_that_of_2000_iterations():
    logits = torch.from_numpy(normal(3, 4, 4)).requires_grad_()
    weights = torch.from_numpy(normal(3, 4, 4, seed=1))
    slopes = [
        torch.autograd.grad((matrix * weights).sum(), logits)[0]
        for matrix in (mhc.sinkhorn_limit(logits).matrix, mhc.sinkhorn_knopp(logits, 2_000))
    ]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-14)


def test_its_gradient_is_the_implicit_function_theorems():
    logits = torch.from_numpy(normal(5, 5, spread=2.0)).requires_grad_()
    weights = normal(5, 5, seed=1)
    matrix = mhc.sinkhorn_limit(logits).matrix
    (found,) = torch.autograd.grad((matrix * torch.from_numpy(weights)).sum(), logits)
    m = matrix.detach().numpy()
    w = m * weights
    # [I M; M^T I] (u; v) = (W 1; W^T 1), one of whose 2n equations follows from the others.
    system = np.block([[np.eye(5), m], [m.T, np.eye(5)]])[:-1, :-1]
    uv = np.linalg.solve(system, np.concatenate([w.sum(1), w.sum(0)])[:-1])
    u, v = uv[:5], np.append(uv[5:], 0.0)
    np.testing.assert_allclose(found, w - m * (u[:, None] + v), rtol=0, atol=1e-13)


def test_second_derivatives_are_right_too():
    logits = torch.from_numpy(normal(2, 3, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: mhc.sinkhorn_limit(z).matrix, logits)
    assert torch.autograd.gradgradcheck(lambda z: mhc.sinkhorn_limit(z).matrix, logits)


@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_what_cannot_be_looked_at_takes_a_fixed_number_of_steps(spread, monkeypatch):
    logits = normal(50, 4, 4, spread=spread)
    expected = mhc.sinkhorn_limit(logits).matrix
    monkeypatch.setattr(projections.limit, "known", lambda xp, x: False)
    np.testing.assert_allclose(mhc.sinkhorn_limit(logits).matrix, expected, rtol=0, atol=1e-14)
    # Beyond that the rows are right all the same, and nothing is NaN.
    sharp = mhc.sinkhorn_limit(normal(50, 4, 4, spread=1e4)).matrix
    np.testing.assert_allclose(sharp.sum(-1), 1.0, rtol=0, atol=1e-14)


def test_torchs_transforms_take_it():
    z = torch.from_numpy(normal(3, 4, 4))
    expected = mhc.sinkhorn_limit(z).matrix
    torch.testing.assert_close(
        torch.func.vmap(lambda x: mhc.sinkhorn_limit(x).matrix)(z), expected, rtol=0, atol=1e-14
    )
    rows = torch.func.jacrev(lambda x: mhc.sinkhorn_limit(x).matrix.sum(-1))(z[0])
    assert rows.abs().max() < 1e-14  # the sums are 1 whatever the logits


@pytest.mark.parametrize("library", [np.asarray, torch.tensor, array_api_strict.asarray])
def test_every_library_gives_the_same_in_its_own_dtype(library):
    z = normal(5, 4, 4, spread=5.0)
    expected = mhc.sinkhorn_limit(z)
    for dtype, close in (("float64", 1e-14), ("float32", 1e-6)):
        found = mhc.sinkhorn_limit(library(z.astype(dtype)))
        assert str(found.matrix.dtype).endswith(dtype)
        np.testing.assert_allclose(np.asarray(found.matrix), expected.matrix, rtol=0, atol=close)


def test_bad_tolerances_are_named():
    for value in (1e-15, 0.0):
        with pytest.raises(ValueError, match=f"tolerance must be at least 1e-14, not {value:g}"):
            mhc.sinkhorn_limit(np.eye(2), tolerance=value)
    with pytest.raises(TypeError, match="tolerance must be a number"):
        mhc.sinkhorn_limit(np.eye(2), tolerance="small")

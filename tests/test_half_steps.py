"""Half steps: at whole iterations they are the projection, and between them what they say."""

from __future__ import annotations

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.figures.sinkhorn import convergence
from mhc_demo.numerics.half_steps import ROUNDING
from mhc_demo.numerics.projections import PROJECTIONS, RELEASED_EPS

ITERATIVE = [name for name, each in PROJECTIONS.items() if each.iterative]


def logits(n: int, spread: float, seed: int = 0) -> np.ndarray:
    return spread * np.random.default_rng(seed).standard_normal((n, n))


@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0, 1e4])
@pytest.mark.parametrize("n", [1, 2, 4, 16])
@pytest.mark.parametrize("name", ITERATIVE)
def test_whole_iterations_are_those_of_the_projection(name: str, n: int, spread: float) -> None:
    Z = logits(n, spread)
    steps = mhc.half_steps(Z, name)
    whole = steps.isel(step=steps["whole"].values)
    assert whole["iteration"].values.tolist() == list(range(1, 31))
    for t, mantissa, power in zip(
        whole["iteration"].values, whole["mantissa"].values, whole["power"].values, strict=True
    ):
        wanted = mhc.project(Z, name, int(t))
        # To the bit where no power of ten was taken out; its rounding and back are two more.
        np.testing.assert_allclose(mantissa * 10.0**power, wanted, rtol=0 if power == 0 else 4e-16)


def test_the_papers_order_is_columns_then_rows() -> None:
    Z = logits(4, 1.0)
    steps = mhc.half_steps(Z, iterations=3)
    assert [str(each) for each in steps["name"].values] == [
        "logits",
        "exp",
        *(3 * ["columns", "rows"]),
    ]
    assert steps["iteration"].values.tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    np.testing.assert_array_equal(steps["mantissa"][0], Z)
    np.testing.assert_allclose(steps["mantissa"][1], np.exp(Z), rtol=1e-15)
    last = mhc.sinkhorn_knopp(Z, 3)
    np.testing.assert_array_equal(steps["mantissa"][-1], last)


@pytest.mark.parametrize("spread", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("name", ITERATIVE)
def test_a_half_step_divides_what_it_says(name: str, spread: float) -> None:
    steps = mhc.half_steps(logits(5, spread), name)
    eps = RELEASED_EPS if name == "released" else 0.0
    sums = {
        what: steps[f"{what}_sum"].values[2:] * 10.0 ** steps["power"].values[2:, None]
        for what in ("column", "row")
    }
    for half, step in enumerate(steps["name"].values[3:], start=1):
        these = sums[str(step).removesuffix("s")]
        before = these[half - 1]  # which may have underflowed to 0 where the division has not
        wanted = before / (before + eps) if eps else 1.0
        np.testing.assert_allclose(these[half], wanted, rtol=0, atol=2e-15)  # ten roundings


def test_the_error_is_that_of_the_column_sums_and_falls_by_the_square_of_s2() -> None:
    for seed in range(5):
        steps = mhc.half_steps(logits(4, 1.0, seed))
        whole = steps.isel(step=steps["whole"].values)
        error = whole["error"].values
        columns = abs(whole["column_sum"].values - 1).max(axis=1)
        np.testing.assert_allclose(error, columns, rtol=0, atol=4e-16)
        s2 = steps.attrs["second_singular_value"]
        assert s2 == pytest.approx(
            np.linalg.svd(mhc.sinkhorn_knopp(logits(4, 1.0, seed), 200))[1][1]
        )
        last = int(np.flatnonzero(error > 1e-11)[-1])  # above it is rounding
        ratio = error[last] / error[last - 1]
        # The next singular value still has a part in it: 5 % is left at 1e-11 at the most here.
        assert ratio == pytest.approx(s2**2, rel=0.05)


def test_a_blend_comes_near_at_the_pace_of_the_matrix_in_it() -> None:
    Z = logits(4, 1.0)
    steps, inside = mhc.half_steps(Z, "blend"), mhc.half_steps(Z)
    for name in ("second_singular_value", "limit_error", "converged"):
        assert steps.attrs[name] == inside.attrs[name]
    share = 1 / (1 + np.exp(-Z.mean()))
    for t in (1, 2, 5):
        errors = [float(each.sel(step=2 * t + 1)["error"]) for each in (steps, inside)]
        assert errors[0] == pytest.approx(share * errors[1], rel=1e-6)
    assert "Sinkhorn's part" in convergence(steps)
    assert "survives" not in convergence(steps)


@pytest.mark.parametrize("name", ITERATIVE)
def test_the_limit_is_one(name: str) -> None:
    found = mhc.half_steps(logits(4, 1.0), name).attrs
    assert found["converged"]
    assert found["limit_error"] < (1e-5 if name == "released" else ROUNDING)
    assert mhc.half_steps(np.zeros((3, 3)), name).attrs["second_singular_value"] < 1e-12
    assert mhc.half_steps([[5.0]], name).attrs["second_singular_value"] == 0


def test_what_is_not_reached_is_said() -> None:
    # [[1, 1], [0, 1]] in the limit of sharp logits: the error falls as 1 / t, so never enough.
    assert not mhc.half_steps([[0.0, 0.0], [-50.0, 0.0]]).attrs["converged"]


def test_numbers_beyond_any_float_are_kept_as_powers_of_ten() -> None:
    steps = mhc.half_steps([[1e4, 0.0], [0.0, -1e4]])
    power, mantissa = steps["power"].values, steps["mantissa"].values
    assert np.isfinite(mantissa).all()
    assert power[0] == 4
    assert mantissa[0].tolist() == [[1.0, 0.0], [0.0, -1.0]]
    log10 = power[1] + np.log10(mantissa[1, 0, 0])
    assert log10 == pytest.approx(1e4 / np.log(10), rel=1e-12)
    assert np.isinf(steps["error"].values[1])
    assert steps["error"].values[-1] < 1
    small = mhc.half_steps(np.full((2, 2), -1e4))
    assert small["error"].values[1] == 1
    np.testing.assert_allclose(small["mantissa"][2], 0.5)


@pytest.mark.parametrize("name", [n for n, each in PROJECTIONS.items() if not each.iterative])
def test_what_does_not_iterate_has_a_before_and_an_after(name: str) -> None:
    Z = logits(4, 1.0)
    steps = mhc.half_steps(Z, name)
    assert [str(each) for each in steps["name"].values] == ["logits", name]
    np.testing.assert_allclose(steps["mantissa"][1], mhc.project(Z, name), rtol=1e-15)
    assert "second_singular_value" not in steps.attrs


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"logits must be one matrix.*\(1, 2, 2\)"):
        mhc.half_steps(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="square"):
        mhc.half_steps(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="finite"):
        mhc.half_steps([[np.nan]])
    with pytest.raises(ValueError, match="at most 6 streams"):
        mhc.half_steps(np.zeros((7, 7)), "mhc-lite")
    with pytest.raises(ValueError, match="projection"):
        mhc.half_steps([[0.0]], "softmax")
    with pytest.raises(ValueError, match="iterations"):
        mhc.half_steps([[0.0]], iterations=0)

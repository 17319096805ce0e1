"""What arrays the numerics take: masks, bfloat16 and JAX; and what looks like numbers and is none.

A logit of -inf masks an entry, in every array library alike.
"""

import math
from itertools import permutations

import array_api_strict
import ml_dtypes
import numpy as np
import pytest
import torch

import mhc_demo as mhc
from mhc_demo import lab
from mhc_demo.numerics.metrics import METRICS
from mhc_demo.numerics.projecting import iterates
from mhc_demo.numerics.projections import PROJECTIONS, RELEASED_EPS

pytestmark = pytest.mark.filterwarnings("error")

LONG = pytest.mark.long
LIBRARIES = {
    "numpy": np.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "strict": array_api_strict.asarray,
}
EVERY_LIBRARY = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
MASKED = [p.name for p in PROJECTIONS.values() if p.masks]
UNMASKED = [p.name for p in PROJECTIONS.values() if p.takes_logits and not p.masks]


def logits(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def masked(n=4, seed=0):
    """Random logits, and which of them are masked; there are permutations that avoid them."""
    z = logits(3, n, n, seed=seed)
    mask = np.zeros((n, n), dtype=bool)
    mask[[0, 0, 2, 3], [1, 2, 0, 0]] = True  # leaves two cyclic shifts
    return np.where(mask, -math.inf, z), mask


# Masks


@EVERY_LIBRARY
@pytest.mark.parametrize("name", [n for n in MASKED if n != "identity"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_masked_entry_is_0_and_the_others_are_those_of_the_lowest_logits(library, name, dtype):
    z, mask = masked()
    projected = np.asarray(mhc.project(library(z.astype(dtype)), name, 3))
    # The release adds eps to every entry, and divides by sums of some tenths.
    assert (projected[:, mask] <= (20 * RELEASED_EPS if name == "released" else 0)).all()
    # exp(-700) is beyond the other entries' last digit, whatever is added to it.
    low = np.where(mask, -700.0, z)
    rounding = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(projected, mhc.project(low, name, 3), rtol=0, atol=rounding)


def test_mhc_lite_mixes_the_permutations_that_are_left():
    z = logits(4, 4)
    z[0, 1] = z[2, 2] = -math.inf
    every = [np.eye(4)[list(p)] for p in permutations(range(4))]
    left = [p for p in every if p[0, 1] == p[2, 2] == 0]
    weights = np.array([np.exp((np.where(p == 1, z, 0)).sum()) for p in left])
    expected = np.tensordot(weights / weights.sum(), left, 1)
    np.testing.assert_allclose(mhc.project(z, "mhc-lite"), expected, atol=1e-15)


@pytest.mark.parametrize("name", [n for n in MASKED if n not in ("identity", "exp")])
def test_masked_logits_have_finite_gradients_and_a_masked_one_gets_none(name):
    z, mask = masked()
    leaf = torch.from_numpy(z).requires_grad_()
    (mhc.project(leaf, name, 3) ** 2).sum().backward()
    assert leaf.grad.isfinite().all()
    assert (leaf.grad[:, mask] == 0).all()
    assert (leaf.grad[:, ~mask] != 0).any()


@EVERY_LIBRARY
@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("line", ["row", "column"])
def test_a_line_that_is_masked_altogether_is_refused(library, name, line):
    z = logits(2, 3, 4, 4)
    z[1, 2][(0, slice(None)) if line == "row" else (slice(None), 0)] = -math.inf
    with pytest.raises(
        ValueError, match=rf"logits.*not masked.*all of {line} 0 of matrix \(1, 2\)"
    ):
        mhc.project(library(z), name)
    for call in (mhc.sinkhorn_knopp, lambda x: list(iterates(x, name, 1))):
        with pytest.raises(ValueError, match=rf"all of {line} 0"):
            call(library(z[1, 2]))


@pytest.mark.parametrize("name", ["mhc-lite", "circulant", "sinkhorn-limit"])
def test_masks_that_leave_no_permutation_are_refused_where_they_leave_no_matrix(name):
    z = np.zeros((3, 3))
    z[:2, :2] = -math.inf
    with pytest.raises(ValueError, match=rf"logits must leave a permutation.*'{name}'"):
        mhc.project(z, name)
    assert mhc.project(torch.from_numpy(z), name).isnan().all()
    assert np.isfinite(mhc.sinkhorn_knopp(z)).all()


@EVERY_LIBRARY
@pytest.mark.parametrize("name", UNMASKED)
def test_a_mask_is_refused_where_it_has_no_meaning(library, name):
    z = library(masked()[0])
    for call in (mhc.project, lambda x, name: list(iterates(x, name, 1))):
        with pytest.raises(
            ValueError, match=rf"finite for projection '{name}'.*masked.*'sinkhorn'"
        ):
            call(z, name)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: mhc.project(x, "none"),
        mhc.compose,
        mhc.amax_gain,
        *METRICS.values(),
        mhc.distance_from_doubly_stochastic,
    ],
)
def test_a_matrix_that_is_no_logits_has_no_masks(call):
    with pytest.raises(ValueError, match="must be finite"):
        call(masked()[0])


# Dtypes and what is no number


def test_bfloat16_of_ml_dtypes_is_for_storage_as_in_pytorch():
    z = logits(5, 4, 4).astype(ml_dtypes.bfloat16)
    wide = z.astype(np.float32)
    as_torch = torch.from_numpy(wide).bfloat16()
    for name in PROJECTIONS:
        found = mhc.project(z, name, 3)
        assert found.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(found, mhc.project(wide, name, 3).astype(found.dtype))
        theirs = mhc.project(as_torch, name, 3).float().numpy()
        np.testing.assert_allclose(found.astype(np.float32), theirs, rtol=2.0**-7, atol=2e-6)
        assert [each.dtype for each in iterates(z, name, 1)] == [found.dtype]
    assert mhc.amax_gain(z).dtype == np.float32
    np.testing.assert_array_equal(mhc.amax_gain(z), mhc.amax_gain(wide))
    np.testing.assert_array_equal(mhc.compose(z).log10_gain(), mhc.compose(wide).log10_gain())
    z[0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="logits must be finite"):
        mhc.sinkhorn_knopp(z)


def test_whole_numbers_of_ml_dtypes_are_no_floating_point():
    with pytest.raises(TypeError, match=r"logits must hold real floating.*int4"):
        mhc.sinkhorn_knopp(np.zeros((4, 4), ml_dtypes.int4))


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="longdouble is float64 here")
@pytest.mark.parametrize("call", [mhc.project, mhc.compose, mhc.amax_gain, *METRICS.values()])
def test_longdouble_is_refused_by_every_function(call):
    with pytest.raises(TypeError, match=r"(logits|matrices) must hold .*64 bits.*not (float|long)"):
        call(np.zeros((2, 4, 4), np.longdouble))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("4", "str of text"),
        (b"4", "bytes of text"),
        ([["1", "2"], ["3", "4"]], "list of text"),
        ([[1, 2], [3, "4"]], "list of text"),
        ([[True, False], [False, True]], "list of bool"),
        ([[1, None], [1, 1]], "list"),
        ([[1, 1j], [1, 1]], "list of complex"),
        (np.array([["1", "2"], ["3", "4"]]), "<U1"),
        (np.zeros((2, 2), "V2"), "V2"),
        (np.zeros((2, 2), "datetime64[s]"), "datetime64"),
    ],
    ids=repr,
)
def test_what_only_looks_like_numbers_is_refused(value, found):
    with pytest.raises(TypeError, match=f"logits must .*not .*{found}"):
        mhc.sinkhorn_knopp(value)


def test_any_whole_number_of_python_is_a_number():
    np.testing.assert_array_equal(mhc.project([[10**30, 0], [0, 10**30]], "rows"), np.eye(2))


@EVERY_LIBRARY
def test_an_array_of_no_axes_is_no_matrix_no_count_and_no_number(library):
    x = library(np.float64(1.0))
    for call in (mhc.sinkhorn_knopp, mhc.amax_gain, mhc.compose):
        with pytest.raises(ValueError, match=r"(logits|matrices) must hold square.*not shape \(\)"):
            call(x)
    count = library(np.int64(3))
    calls = {
        "iterations": lambda: mhc.sinkhorn_knopp(np.eye(2), count),
        "depth": lambda: mhc.sample_mixing(count),
        "spread": lambda: mhc.sample_mixing(2, spread=x),
        "experiment.spread": lambda: mhc.gain_surface(mhc.Experiment(spread=x, members=1)),
    }
    for name, call in calls.items():
        with pytest.raises((TypeError, ValueError), match=name.rpartition(".")[2]):
            call()


@pytest.mark.parametrize("value", [{}, None, "hc", {"depth": 8}], ids=repr)
@pytest.mark.parametrize("call", [lab.train, lab.Record, lab.record_name])
def test_the_lab_takes_its_own_settings_only(call, value):
    with pytest.raises(TypeError, match=r"settings must be lab\.Settings.*not"):
        call(value)


# JAX

CALLS = {
    **{f"project {name}": lambda z, name=name: mhc.project(z, name, 3) for name in PROJECTIONS},
    "rows first": lambda z: mhc.sinkhorn_knopp(z, 3, order="rows"),
    "amax_gain": mhc.amax_gain,
    "log10_gain": lambda z: mhc.compose(z).log10_gain("backward"),
    "matrix": lambda z: mhc.compose(z).matrix(at=2),
    **METRICS,
}


@pytest.mark.parametrize(
    "call",
    [pytest.param(c, id=n, marks=() if n == "amax_gain" else LONG) for n, c in CALLS.items()],
)
def test_jax_compiles_vectorises_and_differentiates(call):
    jax = pytest.importorskip("jax")
    z = logits(3, 3, 3)
    with jax.enable_x64(True):
        given = jax.numpy.asarray(z)
        expected = np.asarray(call(z))
        np.testing.assert_allclose(call(given), expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(jax.jit(call)(given), expected, rtol=1e-12, atol=1e-14)
        both = jax.vmap(call)(jax.numpy.stack([given, given + 1]))
        np.testing.assert_allclose(both[0], expected, rtol=1e-12, atol=1e-14)
        slope = jax.grad(lambda x: call(x).sum())(given)
        step = np.zeros_like(z)
        step[1, 2, 1] = 1e-5
        difference = (np.asarray(call(z + step)) - np.asarray(call(z - step))).sum() / 2e-5
        np.testing.assert_allclose(slope[1, 2, 1], difference, rtol=1e-5, atol=1e-7)

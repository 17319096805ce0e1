"""Gains against plain loops, composites against exact rational arithmetic.

A float is a whole number times a power of two, so a product of matrices can be computed exactly
with Python's unbounded integers, at any depth and for entries of any size.
"""

import math
import warnings
from fractions import Fraction

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mhc_demo as mhc
from mhc_demo.numerics import gains
from mhc_demo.numerics.gains import (
    DEFINITIONS,
    DIRECTIONS,
    amax_gain,
    compose,
    log10_composite_gains,
    multiply,
)

pytestmark = pytest.mark.filterwarnings("error")

LOG10_2 = math.log10(2)
BACKENDS = {
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "array_api_strict": array_api_strict.asarray,
}
DIRECTION = pytest.mark.parametrize("direction", DIRECTIONS)
DEFINITION = pytest.mark.parametrize("definition", DEFINITIONS)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.0, shape)


def naive_gain(matrix, direction, definition):
    n = len(matrix)
    sums = []
    for i in range(n):
        entries = [matrix[i][j] if direction == "forward" else matrix[j][i] for j in range(n)]
        sums.append(abs(sum(entries)) if definition == "paper" else sum(map(abs, entries)))
    return max(sums)


def whole_numbers(layer):
    """A layer as (matrix of Python integers, power of two), exactly."""
    fractions = [[Fraction(float(x)) for x in row] for row in layer]
    denominator = max(x.denominator for row in fractions for x in row)  # a power of two
    integers = [[int(x * denominator) for x in row] for row in fractions]
    common = math.gcd(*(x for row in integers for x in row))
    zeros = (common & -common).bit_length() - 1 if common else 0
    matrix = np.array([[x >> zeros for x in row] for row in integers], dtype=object)
    return matrix, zeros - (denominator.bit_length() - 1)


def exact_composites(layers, direction="forward"):
    """The composites of `compose`, as (matrix of Python integers, power of two), exactly."""
    depth = len(layers)
    order = range(depth) if direction == "forward" else range(depth - 1, -1, -1)
    product, power = np.eye(len(layers[0]), dtype=int).astype(object), 0
    results = [None] * depth
    for at in order:
        matrix, shift = whole_numbers(layers[at])
        product = matrix.dot(product) if direction == "forward" else product.dot(matrix)
        power += shift
        results[at] = (product, power)
    return results


def exact_log10_gains(composites, direction, definition):
    return np.array([log10(naive_gain(m, direction, definition), power) for m, power in composites])


def log10(whole, power):
    """The logarithm of whole * 2**power, rounded only at the end."""
    if whole == 0:
        return -math.inf
    bits = whole.bit_length() - 1
    return math.log10(Fraction(whole, 2**bits)) + (bits + power) * LOG10_2


# Amax gains


def test_amax_gain_is_the_largest_row_or_column_sum():
    matrix = [[1.0, -2.0], [3.0, 4.0]]
    assert amax_gain(matrix) == 7
    assert amax_gain(matrix, "backward") == 4
    assert amax_gain(matrix, "forward", "worst-case") == 7
    assert amax_gain(matrix, "backward", "worst-case") == 6
    assert amax_gain([[1.0, -2.0], [2.0, -2.0]]) == 1  # signs cancel in the paper's definition
    assert amax_gain([[-3.0]]) == 3


@DIRECTION
@DEFINITION
def test_amax_gain_equals_plain_loops_for_any_leading_axes(direction, definition):
    for n in (1, 2, 4, 9):
        matrices = normal(2, 3, n, n)
        result = amax_gain(matrices, direction, definition)
        assert result.shape == (2, 3)
        for index in np.ndindex(2, 3):
            expected = naive_gain(matrices[index].tolist(), direction, definition)
            assert result[index] == pytest.approx(expected, rel=1e-14)  # order of additions


@DIRECTION
def test_the_worst_case_is_the_induced_norm(direction):
    for matrix in normal(20, 5, 5):
        norm = np.linalg.norm(matrix, ord=np.inf if direction == "forward" else 1)
        assert amax_gain(matrix, direction, "worst-case") == pytest.approx(norm, rel=1e-15)


small_matrices = st.integers(1, 5).flatmap(
    lambda n: hnp.arrays(np.float64, (n, n), elements=st.integers(-50, 50).map(float))
)


@given(small_matrices)
def test_the_paper_gain_never_exceeds_the_worst_case_and_equals_it_without_signs(matrix):
    for direction in DIRECTIONS:
        worst = amax_gain(matrix, direction, "worst-case")
        assert amax_gain(matrix, direction) <= worst
        assert amax_gain(np.abs(matrix), direction) == worst  # whole numbers: no rounding


@given(small_matrices)
def test_backward_is_forward_of_the_transpose(matrix):
    for definition in DEFINITIONS:
        assert amax_gain(matrix, "backward", definition) == amax_gain(
            matrix.T, "forward", definition
        )


# Composites


@st.composite
def dyadic_layers(draw):
    """Up to 8 layers of quarters between -3/4 and 3/4 of n <= 4 streams: products are exact."""
    n, depth = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    quarters = hnp.arrays(np.int64, (depth, n, n), elements=st.integers(-3, 3))
    return draw(quarters) / 4


@given(dyadic_layers(), st.sampled_from(DIRECTIONS), st.integers(-900, 900))
def test_composites_of_dyadic_matrices_are_exact(layers, direction, scale):
    # Numerators reach 12**8 < 2**53, so every product is a float; the scale is a power of two.
    scaled = layers * 2.0**scale
    composite = compose(scaled, direction)
    for at, (matrix, power) in enumerate(exact_composites(scaled, direction), start=1):
        mantissa, exponent = composite.scaled(at)
        entries = [
            [Fraction(float(x)) * Fraction(2) ** int(exponent) for x in row] for row in mantissa
        ]
        assert entries == [[x * Fraction(2) ** power for x in row] for row in matrix]


@DIRECTION
@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_composites_of_gaussians_are_as_good_as_rounding_allows(direction, n):
    # The classical bound: |computed - exact| <= depth n eps |H_l| ... |H_1|, entry by entry.
    depth = 20
    layers = normal(depth, n, n)
    composite = compose(layers, direction)
    absolute = exact_composites(np.abs(layers), direction)
    for at, (matrix, power) in enumerate(exact_composites(layers, direction), start=1):
        exact = np.array([[float(x * Fraction(2) ** power) for x in row] for row in matrix])
        size, size_power = absolute[at - 1]
        bound = [[float(x * Fraction(2) ** size_power) for x in row] for row in size]
        error = np.abs(composite.matrix(at) - exact)
        assert (error <= depth * n * 2.0**-52 * np.array(bound)).all()


def test_forward_multiplies_from_the_left_and_backward_from_the_last_layer_down():
    # Permutations of streams do not commute, so the result tells the order of multiplication.
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    cycle = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0.0]])
    layers = np.stack([swap, cycle, cycle])
    forward, backward = compose(layers).matrices(), compose(layers, "backward").matrices()
    np.testing.assert_array_equal(forward, [swap, cycle @ swap, cycle @ cycle @ swap])
    np.testing.assert_array_equal(backward, [cycle @ cycle @ swap, cycle @ cycle, cycle])
    assert (cycle @ swap != swap @ cycle).any()


def test_a_composite_does_not_depend_on_the_layers_that_follow():
    layers = normal(3, 100, 4, 4)
    whole = compose(layers)
    for depth in (1, 31, 32, 33, 64, 99):
        part = compose(layers[:, :depth])
        # The powers of two may be split off elsewhere; the matrices are the same.
        np.testing.assert_array_equal(part.matrix(depth), whole.matrix(depth))


CASES = {
    "1e200": (np.float64, [1e200]),
    "1e-200": (np.float64, [1e-200]),
    "1e200 and 1e-200 in turn": (np.float64, [1e200, 1e-200]),
    "the largest floats": (np.float64, [1.7e308]),
    "the smallest normal floats": (np.float64, [5e-308]),
    "ordinary": (np.float64, [1.0]),
    "1e30": (np.float32, [1e30]),
    "1e-30": (np.float32, [1e-30]),
    "1e30 and 1e-30 in turn": (np.float32, [1e30, 1e-30]),
    "the largest float32": (np.float32, [3.4e38]),
    "the smallest normal float32": (np.float32, [3e-38]),
    "ordinary float32": (np.float32, [1.0]),
}


@pytest.mark.parametrize(("dtype", "scales"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("product", DIRECTIONS)
def test_128_positive_layers_of_any_size_neither_overflow_nor_underflow(dtype, scales, product):
    depth, n = 128, 4
    layers = positive(depth, n, n) * np.resize(scales, depth)[:, None, None]
    layers = layers.astype(dtype)
    composite = compose(layers, product)
    assert np.isfinite(composite.mantissa).all()
    eps = float(np.finfo(dtype).eps)
    composites = exact_composites(layers, product)
    for direction in DIRECTIONS:
        for definition in DEFINITIONS:
            exact = exact_log10_gains(composites, direction, definition)
            ours = composite.log10_gain(direction, definition)
            assert ours.dtype == dtype
            # Positive terms cannot cancel: depth * n roundings, each at most half an eps in
            # decades; and the logarithm itself is rounded, twice.
            tolerance = 0.5 * depth * n * eps + 2 * eps * np.abs(exact).max()
            np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_128_gaussian_layers_have_the_exact_gains(n, scale):
    layers = scale * normal(128, n, n)
    for product in DIRECTIONS:
        composites = exact_composites(layers, product)
        for direction in DIRECTIONS:
            ours = compose(layers, product).log10_gain(direction)
            exact = exact_log10_gains(composites, direction, "paper")
            # Later layers amplify a rounding about as much as the signal: a few thousand units
            # in the last place after 128 of them.  A logarithm near 25,000 is rounded to 4e-12.
            np.testing.assert_allclose(ours, exact, rtol=4e-16, atol=1e-12)


def test_a_network_with_a_zero_layer_does_not_disturb_its_neighbours():
    layers = 1e-200 * positive(3, 128, 4, 4)
    layers[1, 5] = 0
    ours = compose(layers).log10_gain()
    for member in (0, 2):
        np.testing.assert_array_equal(ours[member], compose(layers[member]).log10_gain())
        assert ours[member, -1] == pytest.approx(-200 * 128, rel=0.01)
    assert np.isfinite(ours[1, :5]).all()
    assert (ours[1, 5:] == -np.inf).all()


@pytest.mark.parametrize("sign", [1, -1], ids=["positive", "signed"])
def test_nearly_nilpotent_layers_shrink_far_below_their_entries(sign):
    # Each layer has an entry of 1, and two of them together shrink by 1e-100.
    layer = np.array([[1e-100, 1], [sign * 1e-100, 1e-100]])
    layers = np.broadcast_to(layer, (128, 2, 2))
    ours = compose(layers).log10_gain("forward", "worst-case")
    exact = exact_log10_gains(exact_composites(layers), "forward", "worst-case")
    assert exact[-1] < -6_000
    np.testing.assert_allclose(ours, exact, rtol=1e-13)  # the rounding of a logarithm of 6,000


@pytest.mark.parametrize(
    ("dtype", "delta"),
    [(np.float64, 2.0**-40), (np.float64, 2.0**-52), (np.float32, 2.0**-20)],
    ids=str,
)
def test_cancellation_loses_no_digits(dtype, delta):
    # [[1, -1 + d], [1, -1]] squared is d times the identity: all but the last bits cancel.
    layer = np.array([[1, -1 + delta], [1, -1]], dtype=dtype)
    layers = np.broadcast_to(layer, (128, 2, 2))
    composite = compose(layers)
    ours = composite.log10_gain("forward", "worst-case")
    squares = math.log10(delta) * np.arange(1, 65)
    np.testing.assert_allclose(ours[1::2], squares, rtol=4 * np.finfo(dtype).eps)
    mantissa, exponent = composite.scaled(128)
    assert (mantissa == mantissa[0, 0] * np.eye(2)).all()
    assert math.log2(mantissa[0, 0]) + int(exponent) == 64 * math.log2(delta)


def test_nilpotent_products_vanish_without_a_warning():
    shift = np.diag([1.0, 1.0], 1)  # each of 3 streams moves to the next, and the last is lost
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        composite = compose(np.broadcast_to(shift, (128, 3, 3)))
        for direction in DIRECTIONS:
            for definition in DEFINITIONS:
                ours = composite.log10_gain(direction, definition)
                assert ours[:2].tolist() == [0.0, 0.0]
                assert (ours[2:] == -np.inf).all()
    np.testing.assert_array_equal(composite.matrix(128), np.zeros((3, 3)))
    assert compose(np.zeros((1, 1, 1))).log10_gain() == -np.inf


def test_a_composite_that_vanishes_after_exploding_is_zero():
    layers = 1e200 * np.broadcast_to(np.eye(2), (8, 2, 2)).copy()
    layers[7] = 0
    composite = compose(layers)
    np.testing.assert_array_equal(composite.matrix(8), np.zeros((2, 2)))
    assert composite.log10_gain()[-1] == -np.inf


def test_a_matrix_beyond_the_dtype_is_refused_or_infinite_and_its_zeros_stay():
    layers = np.broadcast_to(np.diag([1e200, 0.0, 1e-200]), (20, 3, 3))
    composite = compose(layers)
    with pytest.raises(OverflowError, match=r"depth 20 .*float64.*scaled\(20\)"):
        composite.matrix(20)
    np.testing.assert_array_equal(composite.matrices()[-1], np.diag([np.inf, 0, 0]))
    mantissa, exponent = composite.scaled(20)
    log10_entry = math.log10(mantissa[0, 0]) + LOG10_2 * int(exponent)
    assert log10_entry == pytest.approx(4_000, abs=1e-10)  # 20 roundings of a logarithm of 4,000


def test_float32_at_32_streams_and_depth_128_is_as_sound_as_float64():
    layers = normal(2, 128, 32, 32).astype(np.float32)
    for product in DIRECTIONS:
        for direction in DIRECTIONS:
            single = compose(layers, product).log10_gain(direction)
            double = compose(layers.astype(np.float64), product).log10_gain(direction)
            assert double.max() > 80  # beyond float32 by far
            # 128 roundings of 2^-24 and sums of 32 terms, a few of which cancel to a tenth.
            np.testing.assert_allclose(single, double, rtol=0, atol=1e-4)


@DEFINITION
@pytest.mark.parametrize("product", DIRECTIONS)
@pytest.mark.parametrize("cache", [1, 2**10, 2**19])
def test_gains_measured_in_pieces_are_those_of_the_whole_composite(
    product, definition, cache, monkeypatch
):
    monkeypatch.setattr(gains, "_CACHE_BYTES", cache)
    layers = normal(3, 2, 70, 4, 4)
    composite = compose(layers, product)
    ours = log10_composite_gains(layers, product, definition)
    assert ours.shape == (2, 3, 2, 70)
    for i, direction in enumerate(DIRECTIONS):
        # The same products; only the four terms of a sum may be added in another order, which
        # matters when they cancel.
        np.testing.assert_allclose(
            ours[i], composite.log10_gain(direction, definition), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("n", [1, 3, 8, 9])
@pytest.mark.parametrize("batch", [(), (1,), (255,), (16, 16), (300,)], ids=str)
def test_multiply_is_the_matrix_product(n, batch):
    left, right = normal(*batch, n, n), normal(*batch, n, n, seed=1)
    size = np.abs(left) @ np.abs(right)
    error = np.abs(multiply(np, left, right) - left @ right)
    assert (error <= n * 2.0**-52 * size).all()  # the order of n additions


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30])
def test_every_array_library_gives_the_gains_of_numpy(backend, dtype, scale):
    layers = (scale * normal(300, 20, 3, 3)).astype(dtype)
    converted = BACKENDS[backend](layers)
    # Additions in another order, worst when a sum cancels, and the rounding of a logarithm.
    tolerance = {"atol": 1e4 * np.finfo(dtype).eps, "rtol": 4 * np.finfo(dtype).eps}
    for product in DIRECTIONS:
        expected, result = compose(layers, product), compose(converted, product)
        assert type(result.mantissa) is type(converted)
        assert result.mantissa.dtype == converted.dtype
        for direction in DIRECTIONS:
            for definition in DEFINITIONS:
                np.testing.assert_allclose(
                    np.asarray(result.log10_gain(direction, definition)),
                    expected.log10_gain(direction, definition),
                    **tolerance,
                )
                np.testing.assert_allclose(
                    np.asarray(amax_gain(converted, direction, definition)),
                    amax_gain(layers, direction, definition),
                    # three terms, which cancel to a thousandth at worst among 12,000 sums
                    rtol=1e3 * np.finfo(dtype).eps,
                )
        np.testing.assert_allclose(
            np.asarray(log10_composite_gains(converted, product)),
            log10_composite_gains(layers, product),
            **tolerance,
        )


def test_log10_gains_are_differentiable_in_torch():
    layers = torch.from_numpy(normal(2, 3, 2, 2)).requires_grad_()
    for direction in DIRECTIONS:
        assert torch.autograd.gradcheck(lambda z, d=direction: compose(z).log10_gain(d), layers)
    big = torch.full((40, 2, 2), 1e200, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(compose(big).log10_gain()[-1], big)
    # d log10(gain) / d entry: each layer's log10 of its sum, 4e200, shared by its four entries.
    np.testing.assert_allclose(gradient, 1 / (4e200 * math.log(10)), rtol=1e-12)


def test_an_empty_ensemble_has_empty_gains():
    empty = np.zeros((0, 5, 3, 3))
    assert compose(empty).log10_gain().shape == (0, 5)
    assert log10_composite_gains(empty, "backward").shape == (2, 0, 5)


@pytest.mark.parametrize("name", ["sinkhorn", "rows", "columns", "released"])
def test_one_exact_direction_caps_the_other_at_n(name):
    layers = mhc.project(4 * normal(20, 256, 5, 5), name, 1)
    by_direction = {d: compose(layers).log10_gain(d) for d in DIRECTIONS}
    exact, capped = ("backward", "forward") if name == "columns" else ("forward", "backward")
    assert by_direction[exact].max() < 1e-13  # 256 roundings of 2^-53, in decades
    assert by_direction[capped].max() < math.log10(5)
    assert by_direction[capped].max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_matrices_in_half_precision_are_multiplied_and_measured_in_float32(dtype):
    matrices = torch.from_numpy(normal(3, 64, 4, 4)).to(dtype)
    composite = mhc.compose(matrices)
    assert composite.mantissa.dtype == torch.float32
    exact = mhc.compose(matrices.double().numpy()).log10_gain()
    # Decades; a sum that nearly cancels in one of 64 products loses a few of seven digits.
    np.testing.assert_allclose(composite.log10_gain(), exact, rtol=0, atol=1e-3)
    gain = mhc.amax_gain(matrices)
    assert gain.dtype == torch.float32
    np.testing.assert_allclose(gain, mhc.amax_gain(matrices.double().numpy()), rtol=1e-6)


@DEFINITION
@DIRECTION
@pytest.mark.parametrize("n", [1, 3, 7])
def test_gains_of_composites_are_differentiable(direction, definition, n):
    matrices = torch.from_numpy(normal(5, n, n)).requires_grad_()

    def gains(m):
        composite = mhc.compose(m, direction)
        return composite.log10_gain(direction, definition), composite.matrix(at=4)

    assert torch.autograd.gradcheck(gains, matrices)

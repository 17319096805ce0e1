"""A signal through the streams: against plain products, the composite, and what it shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.figures.signal import weight_columns
from mhc_demo.numerics.signal import ENTERING, propagate, random_writes, signal_surface


def values(signal):
    return signal.sign * 10.0**signal.log10


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_signal_is_multiplied_by_each_layer_in_turn(direction):
    rng = np.random.default_rng(0)
    matrices, start = rng.standard_normal((3, 7, 4, 4)), rng.standard_normal((3, 4))
    found = values(propagate(matrices, start, direction))
    expected = start
    for layer in range(7):
        if direction == "forward":
            expected = np.einsum("bij,bj->bi", matrices[:, layer], expected)
            at = layer + 1
        else:
            expected = np.einsum("bji,bj->bi", matrices[:, 6 - layer], expected)
            at = 6 - layer
        # Rounding of at most 7 products of 4 x 4 matrices.
        np.testing.assert_allclose(found[:, at], expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found[:, 0 if direction == "forward" else 7], start, rtol=1e-14)


def test_what_layers_write_is_added():
    rng = np.random.default_rng(1)
    matrices, writes = rng.standard_normal((9, 3, 3)), rng.standard_normal((9, 3))
    expected = np.array([1.0, 0.0, 0.0])
    found = values(propagate(matrices, expected, writes=writes))
    for layer in range(9):
        expected = matrices[layer] @ expected + writes[layer]
        np.testing.assert_allclose(found[layer + 1], expected, rtol=1e-11, atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**16), st.sampled_from(["forward", "backward"]))
def test_it_agrees_with_the_composite_at_any_depth(n, seed, direction):
    matrices = np.random.default_rng(seed).standard_normal((128, n, n))
    composite, power = mhc.compose(matrices).scaled(128)
    through = composite if direction == "forward" else composite.T
    signal = propagate(matrices, np.ones(n), direction)
    end = 128 if direction == "forward" else 0
    reached = signal.sign[end] * 10.0 ** (signal.log10[end] - np.log10(2.0) * power)
    # Sums of n entries that may cancel: relative to the largest entry of the composite.
    np.testing.assert_allclose(reached, through.sum(axis=-1), atol=1e-9 * np.abs(composite).max())


def test_it_never_overflows():
    huge = np.full((128, 2, 2), 1e300)
    found = propagate(huge, [1.0, 1.0])
    np.testing.assert_allclose(found.log10[-1], 128 * (300 + np.log10(2)), rtol=1e-12)
    tiny = propagate(np.full((128, 1, 1), 1e-300), [1e-300])
    np.testing.assert_allclose(tiny.log10[-1], [-300 * 129], rtol=1e-12)
    # A signal that has vanished is not in the way of what is written.
    written = propagate(np.full((128, 1, 1), 1e-300), [1.0], writes=np.ones((128, 1)))
    np.testing.assert_allclose(values(written)[1:], 1.0, rtol=1e-12)
    # Nor is one that was never there.
    silent = propagate(huge, [0.0, 0.0], writes=np.ones((128, 2)))
    np.testing.assert_allclose(silent.log10[1], 0.0, atol=1e-12)
    assert np.isneginf(propagate(huge, [0.0, 0.0]).log10).all()


def test_torch_carries_the_same():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    matrices, start = rng.standard_normal((5, 40, 4, 4)), rng.standard_normal(4)
    ours = propagate(matrices, start, writes=rng.standard_normal((40, 4)) * 0)
    theirs = propagate(torch.from_numpy(matrices), torch.from_numpy(start))
    np.testing.assert_array_equal(theirs.sign.numpy(), ours.sign)
    np.testing.assert_allclose(theirs.log10.numpy(), ours.log10, atol=1e-9)
    single = propagate(torch.from_numpy(matrices).float(), start)
    assert single.log10.dtype == torch.float32
    np.testing.assert_allclose(single.log10.numpy().max(-1), ours.log10.max(-1), atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"entering": [1.0]}, "entering must have shape"),
        ({"entering": [1.0, np.nan]}, "entering must be finite"),
        ({"entering": "one"}, "entering must be an array"),
        ({"direction": "up"}, "direction must be one of"),
        ({"writes": np.ones((3, 2)), "direction": "backward"}, "writes must be None"),
        ({"writes": np.ones((4, 2))}, "writes must have shape"),
        ({"matrices": np.ones((2, 2))}, "matrices must have shape"),
    ],
)
def test_bad_input_is_named(wrong, named):
    usual = {"matrices": np.ones((3, 2, 2)), "entering": [1.0, 0.0]}
    with pytest.raises((ValueError, TypeError), match=named):
        propagate(**{**usual, **wrong})


# ---- the table behind the picture ---------------------------------------------------------------


def surface(**options):
    given = {"streams": 4, "seed": 42, "spread": 1.0, "projection": "sinkhorn", "init": "gaussian"}
    chosen = {name: options.pop(name) for name in given if name in options}
    return signal_surface(mhc.Experiment(**{**given, **chosen}), **options)


def at(found, iterations, position):
    cell = found.sel(iterations=iterations, position=position)
    return cell["sign"].values * 10.0 ** cell["log10"].values


def test_what_all_streams_share_leaves_as_the_gain_of_the_paper():
    gains = mhc.gain_surface(mhc.Experiment(streams=4, seed=42, members=1))["log10_gain"]
    forward = surface(entering="alike")["log10"].max("stream")[:, 1:]
    expected = gains.sel(direction="forward", series="member")
    np.testing.assert_allclose(forward, expected, atol=1e-9)
    backward = surface(entering="alike", direction="backward", at=64)["log10"].max("stream")[:, 0]
    expected = gains.sel(direction="backward", series="member", depth=64)
    np.testing.assert_allclose(backward, expected, atol=1e-9)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_what_all_streams_share_stays_itself_although_entries_have_signs(direction):
    """Exactly: rounding, a 10^16th of entries as large as 10^21, would show 10^5 here."""
    signal = signal_surface(
        mhc.Experiment(projection="signed-sums"), direction=direction, at=128, iterations=2
    )
    projected = signal.sel(iterations=[1, 2])
    assert (projected["sign"] == 1).all()
    assert (projected["log10"] == 0).all()
    assert signal["log10"].sel(iterations=0).max() > 20  # HC itself is left as it is


def test_rows_with_signs_that_sum_to_1_leave_a_gradient_as_it_is_computed():
    signal = signal_surface(
        mhc.Experiment(projection="signed-rows"), direction="backward", at=128, iterations=1
    )
    assert signal["log10"].sel(iterations=1).max() > 20


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_worst_case_reaches_the_induced_norm(direction):
    experiment = mhc.Experiment(streams=4, seed=42, members=1, definition="worst-case")
    gains = mhc.gain_surface(experiment)["log10_gain"]
    expected = float(gains.sel(direction=direction, series="member", depth=40, iterations=0))
    found = surface(entering="worst", direction=direction, at=40)
    end = 40 if direction == "forward" else 0
    assert float(found["log10"].sel(iterations=0, position=end).max()) == pytest.approx(expected)
    assert set(np.abs(found["entering"].values)) == {1.0}
    others = [
        float(
            surface(entering=name, direction=direction, at=40)["log10"]
            .sel(iterations=0, position=end)
            .max()
        )
        for name in ("alike", "random")
    ]
    largest = float(np.log10(np.abs(surface(entering="random")["entering"]).max()))
    assert others[0] <= expected + 1e-12
    assert others[1] <= expected + largest


def test_what_the_picture_shows_of_each_projection():
    """HC floods; mHC keeps what is shared and lets differences fade; the identity does nothing."""
    assert surface(entering="one")["log10"].sel(iterations=0, position=64).min() > 12
    shared = at(surface(entering="alike"), 20, 64)
    np.testing.assert_allclose(shared, 1.0, atol=1e-12)  # row sums are 1
    difference = at(surface(entering="difference"), 20, 64)
    assert np.abs(difference).max() < 1e-6
    np.testing.assert_array_equal(
        at(surface(entering="one", projection="identity"), 20, 128), [1.0, 0.0, 0.0, 0.0]
    )
    assert surface(projection="exp")["log10"].sel(iterations=1, position=64).min() > 30
    # Rows only: everything ends at one number that is not the mean of what entered.
    rows = at(surface(entering="one", projection="rows"), 1, 64)
    assert np.ptp(rows) < 1e-6
    assert abs(rows[0] - 0.25) > 0.01
    # Columns only: the mean is kept, and the streams are not alike.
    columns = at(surface(entering="one", projection="columns"), 1, 64)
    assert columns.sum() == pytest.approx(1.0)
    assert np.ptp(columns) > 0.05
    # One stream of HC vanishes (10^-17.7 at depth 64 in the mean).
    assert float(surface(streams=1)["log10"].sel(iterations=0, position=64).max()) < -8


def test_streams_that_are_written_to_do_not_become_alike():
    silent = at(surface(entering="difference"), 20, 128)
    written = at(surface(entering="difference", writes=True), 20, 128)
    assert np.abs(silent).max() < 1e-6
    assert np.std(written) > 0.01
    assert surface(writes=True, direction="backward").attrs["writes"] is False
    # A network's first layers write the same whatever its depth.
    np.testing.assert_array_equal(random_writes(5, 4, 7), random_writes(128, 4, 7)[:5])


def test_a_one_shot_projection_is_the_same_at_every_count():
    found = surface(projection="rows")
    np.testing.assert_array_equal(found["log10"][1], found["log10"][30])
    assert found.sizes == {
        "iterations": 31,
        "position": 129,
        "stream": 4,
        "layer": 128,
        "row": 4,
        "column": 4,
    }


@pytest.mark.parametrize("name", ENTERING)
@pytest.mark.parametrize("streams", [1, 2, 5])
def test_every_kind_enters_any_number_of_streams(name, streams):
    found = surface(entering=name, streams=streams, depth=8, at=8, iterations=2)
    assert found["entering"].shape == (streams,)
    assert np.abs(found["entering"]).max() > 0 or (name, streams) == ("difference", 1)


def test_a_difference_that_cannot_be_is_nothing():
    assert np.isneginf(surface(entering="difference", streams=1)["log10"]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"entering": "two"},
        {"direction": "up"},
        {"at": 0},
        {"at": 129},
        {"iterations": -1},
        {"member": -1},
        {"depth": 0},
    ],
)
def test_a_surface_names_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        surface(**wrong)


@pytest.mark.parametrize(("spread", "dtype"), [(1.0, np.int16), (20.0, np.float32)])
def test_browsers_get_weights_to_three_decimals_in_16_bits_if_they_fit(spread, dtype):
    signal = signal_surface(mhc.Experiment(streams=4, spread=spread), at=5, depth=5, iterations=1)
    column = weight_columns(signal)["weight"]
    assert column.dtype == dtype
    weights = column / 1000 if dtype == np.int16 else column
    largest = float(np.abs(signal["matrix"]).max())
    np.testing.assert_allclose(
        weights, signal["matrix"].values.ravel(), atol=5.01e-4 + 1e-7 * largest
    )

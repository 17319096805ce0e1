"""The histogram of single layers counts what the library computes."""

from __future__ import annotations

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.figures.histogram import BINS, SIDES, histogram_columns

GAINS = mhc.layer_gains(mhc.Experiment(members=2), depth=16, iterations=2)
COLUMNS = {name: values.reshape(3, BINS) for name, values in histogram_columns(GAINS).items()}


@pytest.mark.parametrize("direction", SIDES)
def test_every_layer_is_counted_once_and_the_longest_bar_has_length_one(direction: str) -> None:
    layers, length = COLUMNS[f"{direction}.layers"], COLUMNS[f"{direction}.length"]
    np.testing.assert_array_equal(layers.sum(axis=1), 16)
    np.testing.assert_array_equal((SIDES[direction] * length).max(axis=1), 1)
    np.testing.assert_array_equal(np.sign(length), SIDES[direction] * np.sign(layers))
    gains = GAINS.sel(direction=direction, series="member").values
    low, high = COLUMNS["low"], COLUMNS["high"]
    for t in range(3):
        for bar in range(BINS):
            inside = (gains[t] >= low[t, bar] - 1e-6) & (gains[t] < high[t, bar] + 1e-6)  # float32
            assert layers[t, bar] <= inside.sum()
    medians = COLUMNS[f"{direction}.median"]
    np.testing.assert_allclose(medians, np.median(gains, axis=1)[:, None] + 0 * medians, atol=1e-6)


def test_gain_1_is_in_the_middle_of_a_bar() -> None:
    # The projection's rows sum to 1: one bar has all of its forward gains.
    (bar,) = np.flatnonzero(COLUMNS["forward.layers"][2])
    assert COLUMNS["low"][2, bar] == pytest.approx(-COLUMNS["high"][2, bar], abs=1e-6)

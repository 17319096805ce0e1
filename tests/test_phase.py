"""Phase maps: their cells are those of gain surfaces, and their colours tell gains apart."""

import math

import numpy as np
import pytest
import xarray as xr

import mhc_demo as mhc
from mhc_demo.figures import phase
from mhc_demo.numerics.comparison import SWEPT
from mhc_demo.numerics.gains import DEFINITIONS, DIRECTIONS
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import Experiment

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


# The maps


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("name", PROJECTIONS)
@pytest.mark.parametrize(("along", "values"), [("spread", [0.5, 0.0, 3.0]), ("streams", [1, 5, 2])])
def test_every_cell_is_that_of_the_plain_calls(name, definition, along, values):
    depth, iterations = 4, 2
    settings = {"streams": 4, "members": 3, "seed": 7, "definition": definition}
    phase_map = mhc.phase_map(
        Experiment(**settings, projection=name), along, values, depth=depth, iterations=iterations
    )
    assert phase_map.dims == (along, "direction", "iterations", "depth")
    assert phase_map[along].values.tolist() == values
    for value in values:
        experiment = Experiment(**{**settings, along: value})
        if not PROJECTIONS[name].sizes.hold(experiment.streams):
            assert phase_map.sel({along: value}).isnull().all()
            continue
        inputs = mhc.sample_mixing(
            depth, experiment.streams, 3, "gaussian", experiment.spread, experiment.seed
        )
        for t in range(iterations + 1):
            composite = mhc.compose(mhc.project(inputs, name, t))
            for direction in DIRECTIONS:
                gains = composite.log10_gain(direction, definition)
                median = np.sort(gains, axis=0)[1]  # of three
                here = phase_map.sel({along: value, "direction": direction, "iterations": t})
                np.testing.assert_allclose(here, median, rtol=1e-10, atol=1e-12)


def test_a_map_is_labelled_and_has_default_values():
    experiment = Experiment(members=1, seed=4)
    over_spread = mhc.phase_map(experiment, "spread", depth=2, iterations=1)
    assert over_spread["spread"].values.tolist() == [k / 2 for k in range(21)]
    assert over_spread.attrs["streams"] == 4
    assert "spread" not in over_spread.attrs
    assert "2512.24880" in over_spread.attrs["source"]
    over_streams = mhc.phase_map(experiment, "streams", depth=2, iterations=1)
    assert over_streams["streams"].values.tolist() == list(range(1, 17))


def test_a_projection_for_few_streams_leaves_the_rest_empty():
    phase_map = mhc.phase_map(
        Experiment(members=1, projection="mhc-lite"), "streams", depth=2, iterations=1
    )
    assert phase_map.sel(streams=slice(7, None)).isnull().all()
    assert phase_map.sel(streams=slice(1, 6)).notnull().all()


def test_spread_multiplies_every_layer_of_hc():
    # A product of depth matrices, each times s: s^depth, exactly.
    spreads = [0.5, 1.0, 2.0, 7.5]
    phase_map = mhc.phase_map(Experiment(members=3), "spread", spreads, depth=30, iterations=0)
    at_one = phase_map.sel(spread=1.0, drop=True)
    for spread in spreads:
        xr.testing.assert_allclose(
            phase_map.sel(spread=spread, drop=True),
            at_one + phase_map["depth"] * math.log10(spread),
            rtol=0,
            atol=1e-11,
        )


def test_more_iterations_and_less_spread_both_lower_the_gain():
    phase_map = mhc.phase_map(Experiment(members=3), "spread", [1.0, 4.0, 9.0], depth=64)
    gains = phase.larger_gain(phase_map).sel(depth=64)
    assert (gains.sel(iterations=0) > 10).all()
    assert (gains.sel(iterations=slice(1, None)) < math.log10(4) + 1e-12).all()
    assert (gains.sel(iterations=1) > gains.sel(iterations=20)).all()
    assert (np.diff(gains.sel(iterations=20)) > 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("seed",), ValueError, "along.*'spread', 'streams'.*'seed'"),
        (("spread", 3), TypeError, "values.*3"),
        (("spread", []), ValueError, "values"),
        (("spread", [-1.0]), ValueError, "spread.*-1"),
        (("streams", [0]), ValueError, "streams.*0"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        mhc.phase_map(Experiment(members=1), *arguments)
    with pytest.raises(ValueError, match="depth"):
        mhc.phase_map(Experiment(members=1), "spread", depth=0)
    with pytest.raises(TypeError, match="experiment"):
        mhc.phase_map({}, "spread")


# The columns that the browser holds


def test_the_columns_are_in_the_order_of_their_tables():
    experiment = Experiment(members=1)
    over_spread = mhc.phase_map(experiment, "spread", depth=5, iterations=2)
    table = phase.spread_column(over_spread).reshape(5, len(SWEPT["spread"]), 3)
    over_streams = mhc.phase_map(experiment, "streams", depth=5, iterations=2)
    other = phase.streams_column(over_streams).reshape(3, 5, len(SWEPT["streams"]))
    for depth in (1, 5):
        for t in (0, 2):
            here = {"depth": depth, "iterations": t}
            larger = over_spread.sel(**here, spread=2.5).max()
            assert gain_of(table[depth - 1, 5, t]) == pytest.approx(float(larger), abs=1e-5)
            larger = over_streams.sel(**here, streams=9).max()
            assert gain_of(other[t, depth - 1, 8]) == pytest.approx(float(larger), abs=1e-5)


def gain_of(shade):
    """The log10 gain of a shade, as the browser computes it on hover."""
    return phase.LINEAR * math.sinh(shade)


# The colours


def test_a_shade_is_odd_and_monotonic_and_gives_back_its_gain():
    gains = np.array([-1000.0, -100, -1, -1e-3, 0, 1e-16, 1e-3, 0.05, 0.6, 16.2, 357, 1000])
    shades = phase.shade(gains)
    assert (np.diff(shades) >= 0).all()
    np.testing.assert_array_equal(phase.shade(-gains), -shades)
    assert abs(shades[5]) < 1e-13  # rounding is gain 1
    for gain, shade in zip(gains, shades, strict=True):
        assert gain_of(shade) == pytest.approx(gain, rel=1e-5, abs=1e-15)
    assert phase.shade(np.array([-np.inf]))[0] == -np.inf  # a network that has vanished
    assert np.isnan(phase.shade(np.array([np.nan]))[0])


def test_gains_of_2_and_of_10_to_the_16_can_both_be_told_from_1():
    steps = len(phase.palette(False))
    end = math.asinh(phase.MOST / phase.LINEAR)

    def colour(gain):
        fraction = (phase.shade(np.array([math.log10(gain)]))[0] + end) / (2 * end)
        return int(fraction * (steps - 1))

    middle = colour(1.0)
    assert colour(1.13) > middle + 3
    assert colour(2.0) > colour(1.13) + 3
    assert colour(1e16) > colour(4.0) + 10
    assert colour(1e100) > colour(1e16) + 5


LINEAR_RGB = np.array(
    [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
)
OKLAB = np.array([[0.2104, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])


def oklab(colours, blindness=None):
    """(colours, 3): OKLab of "#rrggbb", as seen with a colour blindness if one is given."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if blindness is not None:
        linear = np.clip(linear @ np.array(blindness).T, 0, 1)
    return np.cbrt(linear @ LINEAR_RGB.T) @ OKLAB.T


@pytest.mark.parametrize("dark", [False, True])
def test_the_palette_is_even_and_the_same_on_both_sides(dark):
    lightness = oklab(phase.palette(dark))[:, 0]
    middle = len(lightness) // 2
    steps = np.diff(lightness)
    # Eight bits per channel are steps of 0.004, which limits how even the lightness can be.
    even = {"rtol": 0, "atol": 0.004}
    np.testing.assert_allclose(steps[:middle], -steps[middle:][::-1].mean(), **even)
    np.testing.assert_allclose(steps[middle:], steps[middle:].mean(), **even)
    np.testing.assert_allclose(lightness, lightness[::-1], **even)
    # Gain 1 lies next to the page's own colour.
    assert (lightness[middle] > 0.9) != dark
    assert np.abs(oklab(phase.palette(dark))[middle, 1:]).max() < 0.005


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
# deficiency" (2009), severity 1.
BLIND = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


@pytest.mark.parametrize("blindness", [None, *BLIND])
@pytest.mark.parametrize("dark", [False, True])
def test_exploding_and_vanishing_can_be_told_apart_by_every_eye(dark, blindness):
    colours = oklab(phase.palette(dark), BLIND.get(blindness))
    quarter = len(colours) // 4
    for distance in range(quarter, 2 * quarter):
        middle = len(colours) // 2
        difference = np.linalg.norm(colours[middle - distance] - colours[middle + distance])
        assert difference > 0.08  # four times the just noticeable difference


@pytest.mark.parametrize("blindness", [None, *BLIND])
@pytest.mark.parametrize("dark", [False, True])
def test_gains_of_1_and_1_5_and_10_and_10_to_the_16_are_four_colours(dark, blindness):
    colours = oklab(phase.palette(dark), BLIND.get(blindness))
    end = math.asinh(phase.MOST / phase.LINEAR)
    shades = phase.shade(np.log10([1, 1.5, 10, 1e16]))
    found = colours[((shades + end) / (2 * end) * (len(colours) - 1)).astype(int)]
    steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    assert (steps > 0.06).all()  # three times the just noticeable difference


# Clicks


def test_a_click_goes_to_the_cell_and_one_beside_the_map_nowhere():
    axes = ("iterations", phase.ITERATIONS), ("spread", phase.SPREADS)

    def clicked(x, y):
        return phase._cell_at({"x": [x], "y": [y]}, *axes)

    assert clicked(4.6, 7.3) == {"iterations": 5, "spread": 7.5}
    assert clicked(-0.4, 0.2) == {"iterations": 0, "spread": 0.0}
    assert clicked(30.4, 10.2) == {"iterations": 30, "spread": 10.0}
    for beside in ((-0.6, 3), (30.6, 3), (3, -0.3), (3, 10.3), (None, 3), ("1", 3), (math.nan, 3)):
        assert clicked(*beside) == {}
    for sent in ({}, {"x": [1]}, {"x": [1, 2], "y": [3, 4]}, {"x": [], "y": []}):
        assert phase._cell_at(sent, *axes) == {}


def test_the_state_follows_a_click_unless_the_projection_does_not_exist_there():
    explorer = mhc.Explorer(view="phase", projection="mhc-lite", members=1)
    view = explorer.stage.views["phase"]
    view._go(streams=5, depth=20)
    assert (explorer.state.streams, explorer.state.depth) == (5, 20)
    view._go(streams=7, depth=30)
    assert (explorer.state.streams, explorer.state.depth) == (5, 20)
    view._go(spread=2.5, iterations=0)
    assert (explorer.state.spread, explorer.state.iterations) == (2.5, 0)
    assert view.key == explorer.state.key()

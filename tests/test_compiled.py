"""The compiled gains of composites against those of the code that specifies them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mhc_demo.numerics import surface
from mhc_demo.numerics.gains import DEFINITIONS
from mhc_demo.numerics.mixing import INITS
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import Experiment, gain_surface

SCALED = [name for name, each in PROJECTIONS.items() if each.fused is not None]
ROUNDING = {"rtol": 0, "atol": 1e-11}
"""In decades, over 128 layers: some 1e-13, and more for a sum that cancels to a thousandth."""


@pytest.fixture(autouse=True)
def compiled() -> Iterator[None]:
    """The kernel in use in these tests, and in no other."""
    pytest.importorskip("numba")
    assert surface.compile_kernels()
    yield
    surface._compiled = None


def both(monkeypatch: pytest.MonkeyPatch, experiment: Experiment, **sizes: int):
    """The surface compiled and by NumPy."""
    ours = gain_surface(experiment, **sizes)
    with monkeypatch.context() as without:
        without.setattr(surface, "_compiled", None)
        return ours, gain_surface(experiment, **sizes)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("streams", [1, 2, 3, 4, 5, 8, 13])
def test_the_gains_are_numpy_s(name, init, definition, streams, monkeypatch):
    experiment = Experiment(
        streams=streams, members=9, seed=5, projection=name, init=init, definition=definition
    )
    ours, theirs = both(monkeypatch, experiment, iterations=5)
    assert "Numba" in ours.attrs["device"]
    assert "Numba" not in theirs.attrs["device"]
    np.testing.assert_allclose(ours["log10_gain"], theirs["log10_gain"], **ROUNDING)


@pytest.mark.parametrize("members", [1, 7, 8, 9, 32, 33, 300])
def test_how_many_networks_lie_side_by_side_changes_nothing(members, monkeypatch):
    experiment = Experiment(streams=4, members=members, seed=members)
    ours, theirs = both(monkeypatch, experiment, depth=3, iterations=2)
    np.testing.assert_allclose(ours["log10_gain"], theirs["log10_gain"], **ROUNDING)
    assert ours.attrs["projected"] == theirs.attrs["projected"] == 3 * members


@pytest.mark.parametrize(("depth", "iterations"), [(1, 0), (1, 1), (65, 0), (128, 30)])
def test_a_surface_of_any_size_is_numpy_s(depth, iterations, monkeypatch):
    experiment = Experiment(streams=3, members=2, spread=3.0)
    ours, theirs = both(monkeypatch, experiment, depth=depth, iterations=iterations)
    np.testing.assert_allclose(ours["log10_gain"], theirs["log10_gain"], **ROUNDING)


@pytest.mark.parametrize("spread", [1e-3, 10.0, 100.0])
def test_gains_beyond_any_float_are_numpy_s(spread, monkeypatch):
    ours, theirs = both(monkeypatch, Experiment(streams=4, members=3, spread=spread))
    np.testing.assert_allclose(ours["log10_gain"], theirs["log10_gain"], **ROUNDING)


@pytest.mark.parametrize(
    "declined",
    [
        {"projection": "mhc-lite"},
        {"projection": "none"},
        {"spread": 100.0},  # too sharp for linear scaling
        {"spread": 0.0},  # products that vanish
        {"spread": 1e-9},  # products that shrink without limit
    ],
)
def test_what_it_declines_is_numpy_s_to_the_last_bit(declined, monkeypatch):
    experiment = Experiment(streams=4, members=3, **declined)
    ours, theirs = both(monkeypatch, experiment)
    assert "Numba" not in ours.attrs["device"]
    np.testing.assert_array_equal(ours["log10_gain"], theirs["log10_gain"])


def test_without_numba_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(surface, "_compiled", None)
    monkeypatch.setattr(surface, "find_spec", lambda name: None)
    assert not surface.compile_kernels()
    assert gain_surface(Experiment(members=1), depth=2).attrs["device"].startswith("NumPy")


def test_a_network_that_vanishes_does_not_disturb_its_neighbours():
    """The kernel declines the whole, and NumPy computes it."""
    from mhc_demo.numerics.kernels import gains_numba

    mapping = np.ones((3, 4, 2, 2))
    mapping[1, 2] = 0.0
    found = gains_numba.log10_gains(mapping, mapping, PROJECTIONS["sinkhorn"], 1, "paper")
    assert found is None

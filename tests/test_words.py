"""What the words around the plots promise of a band."""

from __future__ import annotations

import numpy as np
import pytest

from mhc_demo.figures import words


@pytest.mark.parametrize("members", [20, 32, 128])
def test_a_band_holds_another_network_as_often_as_is_said(members: int) -> None:
    rng = np.random.default_rng(1)
    drawn, another = rng.normal(size=(20_000, members)), rng.normal(size=20_000)
    low, high = np.quantile(drawn, [0.05, 0.95], axis=1)
    found = ((low < another) & (another < high)).mean()
    # Exact for a uniform law alone, for quantiles lie between two networks; rounded to a per cent.
    said = float(words.holds(members).split(" in about ")[1].split()[0]) / 100
    assert said == pytest.approx(found, abs=0.02)


def test_of_few_networks_only_the_networks_themselves_are_spoken_of() -> None:
    assert words.band(3) == "median and 5–95 % of these 3 networks"
    assert words.holds(3) == ""
    assert words.band(1) == "one network"

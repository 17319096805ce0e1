"""The picture of a signal: what it draws is what the library computes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.figures import style
from mhc_demo.figures.signal import LOOK, lane_height

from .conftest import Explorer
from .test_plots import said

pytestmark = pytest.mark.browser

HALVES = ("signal-hc", "signal-projected")


def drawn(explorer: Explorer, half: str, shape: str) -> dict[str, list[Any]]:
    """The columns of a shape of one half."""
    return explorer.model(
        half,
        f"""(() => {{
          const of = (r) => mhc.get(r.data_source.tags[0] ?? {{}}, "shape")
          const {{data}} = m.renderers.find((r) => of(r) === "{shape}").data_source
          const all = data instanceof Map ? [...data] : Object.entries(data)
          return Object.fromEntries(all.map(([name, values]) => [name, [...values]]))
        }})()""",
    )


def test_lanes_ribbons_and_numbers_are_the_library_s(shared: Explorer) -> None:
    page = shared.visit("?view=signal&members=2&depth=6&zoom=8").page
    # As high as the legend says, in both languages.
    powers = [-400, -30, -16, -8.5, -1, -0.01, 0, 0.01, 1, 4, 15.9, 16, 30, 357]
    heights = page.evaluate(
        "([powers, look]) => powers.map((power) => mhc.lane_height(power, look))", [powers, LOOK]
    )
    np.testing.assert_allclose(heights, [lane_height(power) for power in powers], rtol=1e-12)

    def is_right(
        depth: int, iterations: int, first: int, *, streams: int = 4, **options: Any
    ) -> None:
        signal = mhc.signal_surface(mhc.Experiment(streams=streams), at=depth, **options)
        for half, t in zip(HALVES, (0, iterations), strict=True):
            wanted = signal.sel(iterations=t, position=slice(first, depth))
            lanes = drawn(shared, half, "lanes")
            np.testing.assert_allclose(lanes["log10"], wanted["log10"].values.ravel(), atol=6e-6)
            assert lanes["sign"] == wanted["sign"].values.ravel().tolist()
            high = np.subtract(lanes["bottom"], lanes["top"])
            expected = [lane_height(power) or np.nan for power in lanes["log10"]]
            np.testing.assert_allclose(np.array(high, float), expected, rtol=1e-9)
            ribbons = drawn(shared, half, "ribbons")
            matrices = signal["matrix"].sel(iterations=t).values[first:depth]
            found = np.zeros_like(matrices)
            where = [np.subtract(ribbons[axis], 1) for axis in ("to", "from")]
            found[np.subtract(ribbons["layer"], first + 1), *where] = ribbons["weight"]
            np.testing.assert_allclose(found, matrices, atol=6e-4)
            assert all(
                (dash == "solid") == (weight > 0)
                for dash, weight in zip(ribbons["dash"], ribbons["weight"], strict=True)
            )

    shared.eventually(lambda: is_right(6, 1, 0))
    shared.set("Sinkhorn iterations", 0)
    shared.eventually(lambda: is_right(6, 0, 0))  # when it has grown into HC
    assert drawn(shared, HALVES[1], "heading")["colour"] == [style.HC]  # which it is
    shared.set("Sinkhorn iterations", 2)
    shared.set("Depth (layers)", 11)
    shared.eventually(lambda: is_right(11, 2, 3))  # eight layers are seen
    assert drawn(shared, HALVES[1], "heading")["colour"] == [style.PROJECTED]
    page.get_by_label("What enters").select_option("difference")
    page.get_by_label("Layers write").check()
    shared.eventually(lambda: is_right(11, 2, 3, entering="difference", writes=True))
    expect(page).to_have_url(re.compile("enters=difference&writes=1&zoom=8"))
    assert drawn(shared, HALVES[0], "taps")["text"].count("F") == 8

    # The whole way at once: no ribbons, and all lanes.
    page.get_by_role("button", name="128", exact=True).click()
    expect(page).to_have_url(re.compile("zoom=128"))
    assert drawn(shared, HALVES[0], "ribbons")["weight"] == []
    assert len(drawn(shared, HALVES[0], "lanes")["log10"]) == 12 * 4

    # A gradient comes from the other end, and ends before the first layer.
    page.get_by_role("button", name="16", exact=True).click()
    page.get_by_label("Direction").select_option("backward")
    expect(page.get_by_label("Layers write")).to_be_disabled()
    options = {"entering": "difference", "direction": "backward"}
    shared.eventually(lambda: is_right(11, 2, 0, **options))
    wanted = mhc.signal_surface(mhc.Experiment(), at=11, **options).sel(iterations=2, position=0)
    says = re.compile("Before the first layer: stream 1 carries .*, stream 2 carries")
    expect(page.get_by_role("img", name=says)).to_have_count(2)
    numbers = drawn(shared, HALVES[1], "front")["said"]
    each = zip(wanted["sign"].values, wanted["log10"].values, strict=True)
    assert numbers == [("−" if sign < 0 else "") + said(power) for sign, power in each]

    # Another number of streams is drawn in the same place.
    shared.slider("Streams (n)").press("ArrowLeft")
    shared.eventually(lambda: is_right(11, 2, 0, streams=3, **options))
    assert shared.model(HALVES[0], "m.left[0].ticker.ticks.length") == 3


def test_many_streams_have_ribbons_where_there_is_room(shared: Explorer) -> None:
    shared.visit("?view=signal&members=1&streams=16&zoom=4&depth=20")
    shared.eventually(lambda: has_ribbons(shared, 17, 20))
    shared.set("Depth (layers)", 22)  # the weights come from the server
    shared.eventually(lambda: has_ribbons(shared, 19, 22))


@pytest.mark.long
def test_ribbons_of_narrow_layers_are_no_wider_than_these(new_explorer: Any, address: str) -> None:
    explorer = new_explorer(3840, 2160).open(address, "?view=signal&members=1")
    layer = explorer.model(HALVES[0], "m.inner_width / (m.x_range.end - m.x_range.start)")
    widths = drawn(explorer, HALVES[0], "ribbons")["width"]
    assert len(widths) == 64 * 16
    assert max(widths) < layer


def has_ribbons(explorer: Explorer, first: int, last: int) -> None:
    layers = drawn(explorer, HALVES[0], "ribbons")["layer"]
    assert set(layers) == set(range(first, last + 1))
    assert len(layers) == 4 * 256

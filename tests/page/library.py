"""The numbers of the library that a plot in the browser is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.figures import phase
from mhc_demo.numerics.comparison import MIXING
from mhc_demo.numerics.numbers import exact, fate
from mhc_demo.numerics.projections import PROJECTIONS

from .conftest import Explorer

# The browser holds float32 numbers: seven digits of a log10 gain.
CLOSE = {"rtol": 3e-7, "atol": 1e-7}


def alike(found: np.ndarray, wanted: np.ndarray, packed: bool) -> None:
    """log10 gains are the library's, as float32 or as packed, which keeps what hover shows."""
    if packed:
        assert [exact(v) for v in found] == [exact(v) for v in wanted]
    else:
        np.testing.assert_allclose(found, wanted, **CLOSE)


def expected(values: dict[str, Any], direction: str, **where: Any) -> np.ndarray:
    """Python's own numbers for what a plot shows."""
    surface = mhc.gain_surface(mhc.Experiment(**values))
    return surface["log10_gain"].sel(direction=direction, series="median", **where).values


def compared(explorer: Explorer, direction: str) -> dict[str, np.ndarray]:
    """What the comparison's plot of a direction draws, by the projection's name."""
    drawn = explorer.plotted(f"compare-{direction}")
    assert len(drawn) == len(PROJECTIONS)
    return {name: drawn[f"{PROJECTIONS[name].label}, {direction}"] for name in PROJECTIONS}


def comparison_is_of(
    explorer: Explorer,
    found: Any,
    depth: int,
    iterations: int,
    absent: tuple[str, ...] = (),
    packed: bool = False,
) -> None:
    """The comparison's lines and table are those of `mhc.compare`."""
    drawn = {direction: compared(explorer, direction) for direction in ("forward", "backward")}
    rows = explorer.page.locator(".mhc-compare tbody tr")
    expect(rows).to_have_count(len(PROJECTIONS))
    table = written_table(explorer)
    for name, chosen in PROJECTIONS.items():
        t = iterations if chosen.iterative else 1
        cells = table[chosen.label]
        if name in absent:
            assert {cells[n] for n in ("gain", "norm", "distance", "share")} == {"—"}
            continue
        here = found.sel(projection=name, iterations=t)
        medians = here.sel(series="median")
        gains = medians["log10_gain"]
        for direction, cell in zip(("forward", "backward"), cells["gains"], strict=True):
            wanted = gains.sel(direction=direction).values
            alike(drawn[direction][name], wanted, packed)
            assert cell == rounded(float(gains.sel(direction=direction, depth=depth)))
        norm = float(medians["log10_norm"].sel(depth=depth))
        assert cells["norm"] == rounded(norm)
        words = ["vanishes", "shrinks", "stays near 1", "grows", "explodes"][fate(norm) + 2]
        assert words in cells["fate"] or cells["fate"].endswith(f"within {found.attrs['streams']}")
        distance = float(medians["distance"].median())
        if distance < 1e-13:
            assert cells["distance"] == "0"
        elif 1e-3 <= distance < 1e3:
            assert float(cells["distance"]) == pytest.approx(distance, rel=0.006)
        for (metric, of), cell in zip(MIXING.items(), cells["shares"], strict=True):
            value = float(here[metric] if of == "layer" else here[metric].sel(depth=depth))
            assert cell == "—" if np.isnan(value) else float(cell) == pytest.approx(value, abs=6e-4)


def rounded(log10: float) -> str:
    """A gain as a cell writes it, without the markup."""
    if abs(log10) < 2.999:
        return f"{10**log10:#.3g}".rstrip(".")
    return f"10{log10:.1f}".replace("-", "−")


def written_table(explorer: Explorer) -> dict[str, dict[str, Any]]:
    """The texts of the comparison's table by the projections' labels, in the order of its rows."""
    rows = explorer.page.locator(".mhc-compare tbody tr").evaluate_all(
        """(rows) => rows.map((row) => [
            row.querySelector(".short").textContent,
            [...row.querySelectorAll("td")].map((cell) =>
                [cell.classList[0], cell.textContent]),
        ])"""
    )
    found: dict[str, dict[str, Any]] = {}
    for label, cells in rows:
        every: dict[str, list[str]] = {}
        for manner, text in cells:
            every.setdefault(manner, []).append(text)
        found[label] = {manner: texts[0] for manner, texts in every.items()}
        found[label] |= {"gains": every["gain"], "shares": every["share"]}
    return found


def shades(explorer: Explorer, figure: str) -> np.ndarray:
    """What the cells of a phase map are coloured by."""
    return np.array(
        explorer.model(figure, 'column(m.renderers[0].data_source.data, "shade")'), dtype=float
    )


def marked(explorer: Explorer, figure: str) -> list[float]:
    """Where the ring of a phase map is."""
    return explorer.model(
        figure,
        """["x", "y"].map((axis) => column(
            m.renderers.find((r) => r.glyph.type === "Scatter").data_source.data, axis)[0])""",
    )


def phase_is_of(
    explorer: Explorer,
    values: dict[str, Any],
    depth: int,
    iterations: int,
    packed: bool = False,
) -> None:
    """Both phase maps are those of `mhc.phase_map`, and the present state is marked."""
    experiment = mhc.Experiment(**{"members": 3, **values})
    over_spread = phase.larger_gain(mhc.phase_map(experiment, "spread")).sel(depth=depth)
    over_streams = phase.larger_gain(mhc.phase_map(experiment, "streams"))
    over_streams = over_streams.sel(iterations=iterations)
    for name, gains in (
        ("phase-spread", over_spread.values.ravel()),
        ("phase-streams", over_streams.transpose("depth", "streams").values.ravel()),
    ):
        if packed:
            alike(phase.LINEAR * np.sinh(shades(explorer, name)), gains, packed)
        else:
            wanted = phase.shade(gains).astype(np.float32)
            np.testing.assert_array_equal(shades(explorer, name), wanted)
    assert marked(explorer, "phase-spread") == [iterations, experiment.spread]
    assert marked(explorer, "phase-streams") == [depth, experiment.streams]
    titles = [explorer.model(name, "m.title.text") for name in ("phase-spread", "phase-streams")]
    assert titles == [
        f"Composite gain (depth {depth}, n = {experiment.streams})",
        f"Composite gain (iterations {iterations}, spread {experiment.spread:g})",
    ]

"""A model's mappings as the page's figures: gains against the layer, matrices, mixing, sums.

The figures are those of random networks (`figures/`), drawn from tables with one row for each
definition of the gain.  The browser moves through the layers by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..figures import LayersFigure, MatricesFigure, MixingFigure, style, words
from ..figures.figure8 import Panel, figure8_html
from ..figures.matrices import LEGIBLE, blocks
from ..figures.mixing import mixing_columns, ratio_columns
from ..figures.model import ALONG, CALLED, NETWORKS, PANELS, NeededFigure, SumsFigure, told
from ..figures.slices import Position, gain_columns, table
from ..numerics.gains import DEFINITIONS
from ..numerics.half_steps import scaled
from .logits import ENOUGH, PATIENCE, USUAL
from .measuring import LOG10_2

PLOTTED = ("mean", "median", "q05", "q95")
MODEL = "model"
"""What the network is called in legends and texts; its own name may be long, or hostile."""
WITHIN = f"{100 * ENOUGH:.0f} %"


class ModelFigure:
    """All figures of what `measured` returns.

    `single` and `composite` hold the gains in both directions and definitions; `matrices` the
    heatmaps of the layer that the slider `ALONG` names; `mixing` what fades, three plots; `sums`
    the rows and columns over the tokens; `needed` the iterations that the logits need.
    """

    def __init__(self, data: xr.Dataset, state: Position, *, dark: bool = False) -> None:
        self.data = data
        layers = data["layer"].values
        state = {**state, ALONG: min(state.get(ALONG, len(layers)), len(layers))}
        self.position = state
        gains = {name: _by_definition(data[f"{name}_gain"]) for name in ("layer", "composite")}
        self.tables = {
            name: table(gain_columns(each, PLOTTED), range(len(DEFINITIONS)), layers)
            for name, each in gains.items()
        }
        for each in self.tables.values():
            _along(each)
        self.single = LayersFigure(
            *(gains["layer"], self.tables["layer"], state, NETWORKS),
            told("own-layers", "Amax gain of one layer", "Amax gain of each single layer"),
        ).figure
        self.composite = LayersFigure(
            *(gains["composite"], self.tables["composite"], state, NETWORKS),
            told(
                "own-composites",
                "Composite Amax gain",
                "Composite Amax gain, forward 1 to l, backward l to the last",
            ),
        ).figure
        n = data.sizes["row"]
        self._blocks = table(_blocks(data), [0], layers, (n + 1) ** 2)
        _along(self._blocks)
        self._heatmaps = MatricesFigure(n, self._blocks, state, dark, PANELS, CALLED)
        self.matrices = self._heatmaps.figures
        mixing = data.rename(layer="depth")
        self._mixing = table(mixing_columns(mixing), [0], layers)
        _along(self._mixing)
        self._ratios = table(ratio_columns(mixing), [0], layers)
        _along(self._ratios)
        own = style.Stroke(style.OWN)
        self.mixing = MixingFigure(
            mixing, self._mixing, self._ratios, state, own, name=MODEL, along=ALONG
        ).figures
        self.sums = SumsFigure(data["sum"], state).figure
        self.needed = NeededFigure(
            data["iterations_needed"].values, USUAL, PATIENCE, WITHIN, state
        ).figure

    def figures(self) -> list[figure]:
        """All of them, in the order in which they are shown."""
        return [
            *(self.composite, self.single),
            *self.matrices,
            *(self.sums, self.needed, *self.mixing),
        ]

    def sources(self) -> list[ColumnDataSource]:
        """The tables that the browser holds to move through the layers."""
        return [*self.tables.values(), self._blocks, self._mixing, self._ratios]

    def colour(self, dark: bool) -> None:
        """Set the colours for a light or a dark page."""
        self._heatmaps.colour(dark)

    def legend(self) -> list[words.Entry]:
        """What the lines of gains are."""
        tokens = self.data.attrs["tokens"]
        band = "one matrix for each layer" if tokens == 1 else f"5–95 % of {tokens:,} tokens"
        return [
            (style.Stroke(style.OWN), "largest |sum| (the paper’s gain)"),
            (style.Stroke(style.THEORY), "induced norm (the worst case)"),
            ("identity", "identity: gain 1"),
            ("forward", "forward"),
            ("backward", "backward"),
            ("band", f"{band}; dots: the mean, as in the paper"),
        ]

    def sums_legend(self) -> list[words.Entry]:
        """What the lines of sums and iterations are."""
        return [
            ("plus", "row sums (forward): mean, smallest and largest"),
            ("minus", "column sums (backward)"),
            ("identity", f"1; {USUAL} iterations, as are usual"),
        ]

    def mixing_legend(self) -> list[words.Entry]:
        """What the lines of mixing are."""
        return words.differences()


def _by_definition(gains: xr.DataArray) -> xr.DataArray:
    """Gains as a table has them, with the definitions in the place of iterations."""
    rows = gains.assign_coords(definition=np.arange(gains.sizes["definition"]))
    return rows.rename(definition="iterations").transpose(
        "direction", "iterations", "layer", "series"
    )


def _along(source: ColumnDataSource) -> None:
    source.tags = [{**source.tags[0], "along": ALONG}]


def _blocks(data: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    exponent = data["composite_exponent"].values * LOG10_2
    return {
        "layer": blocks(*scaled(data["h_res"].values, np.zeros(len(exponent)))),
        "composite": blocks(*scaled(data["composite_mantissa"].values, exponent)),
    }


def beside_figure8(data: xr.Dataset, name: str) -> str:
    """Figure 8 of the paper as HTML, and above it the same panels of this model.

    Of more than `LEGIBLE` streams there are none: such tables would be as wide as several pages.
    """
    if data.sizes["row"] > LEGIBLE:
        return figure8_html()
    return figure8_html(panels(data), name)


def panels(data: xr.Dataset) -> Sequence[Panel]:
    """The first, the middle and the last layer, and the composites of both halves and of all."""
    last = data.sizes["layer"]
    half = max(1, last // 2)
    found = [
        Panel(f"Layer {layer}", data["h_res"].sel(layer=layer).values)
        for layer in sorted({1, half, last})
    ]
    composites = [(1, half, _product(data, "composite", half))]
    if last > half:
        composites.append((half + 1, last, _product(data, "upper", None)))
        composites.append((1, last, _product(data, "composite", last)))
    for first, end, (matrix, power) in composites if last > 1 else []:
        factor = f", × 10^{power:.0f}" if power else ""
        found.append(Panel(f"Composite {first}–{end}{factor}", matrix))
    return found


def _product(data: xr.Dataset, name: str, layer: int | None) -> tuple[NDArray[np.float64], float]:
    """A composite as a matrix that can be printed and a power of ten."""
    mantissa, exponent = data[f"{name}_mantissa"], data[f"{name}_exponent"]
    if layer is not None:
        mantissa, exponent = mantissa.sel(layer=layer), exponent.sel(layer=layer)
    matrix, power = scaled(mantissa.values[None], np.array([float(exponent) * LOG10_2]))
    return matrix[0], float(power[0]) if math.isfinite(power[0]) else 0.0

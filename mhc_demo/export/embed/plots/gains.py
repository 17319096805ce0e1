"""The plots of gains: against depth, iterations and layer, of composites and of single layers."""

from __future__ import annotations

from ....figures import (
    CompositeFigure,
    HistogramFigure,
    IterationsFigure,
    LayerAxisFigure,
    LayersFigure,
    words,
)
from ....figures.composite import gain_range, theory_columns
from ....figures.histogram import BINS, histogram_columns
from ....figures.layers import layer_range
from ....figures.packed import PLAIN
from ....figures.scale import gain_range as scaled
from ....figures.scale import set_full
from ....figures.slices import PLOTTED, gain_columns, table
from ....numerics.surface import layer_axis_gains
from .base import PackedSource, Plot, together


class Composite(Plot):
    """Composite gain against depth."""

    name = "composite"
    view = "composite"
    title = "Composite gain"
    group = "Gain"
    share = 2
    of_gains = True

    def build(self) -> None:
        surfaces = self.shared.surfaces
        plot = CompositeFigure(surfaces[0], self.shared.table, self.request.position)
        set_full(plot.y_range, gain_range(together(surfaces)))
        expected = [{"expected": theory_columns(surface)["expected"]} for surface in surfaces]
        self.packed.append(PackedSource(plot.theory, expected))
        self.figures = [plot.figure]

    def legend(self) -> list[words.Entry]:
        return super().legend() + words.theory(self.shared.surfaces[0])

    def note(self, i: int) -> str:
        return words.composite(self.request.experiments[i])


class Iterations(Plot):
    """Composite gain against iterations, at the chosen depth."""

    name = "iterations"
    view = "composite"
    of_gains = True

    def build(self) -> None:
        surfaces = self.shared.surfaces
        y_range = scaled(gain_range(together(surfaces)))
        plot = IterationsFigure(surfaces[0], self.shared.table, self.request.position, y_range)
        self.figures = [plot.figure]


class Layers(Plot):
    """Gains of the single layers."""

    name = "layers"
    view = "layers"
    title = "Single layers"
    group = "Gain"
    share = 2
    of_gains = True

    def build(self) -> None:
        self.gains = self.shared.layers
        first = self.gains[0]
        columns = [gain_columns(each, ("member", *PLOTTED), dtype=float) for each in self.gains]
        source = table({}, first["iterations"].values, first["layer"].values)
        plot = LayersFigure(first, self.pack(source, columns), self.request.position)
        plot.update(together(self.gains))
        self.figures = [plot.figure]

    def note(self, i: int) -> str:
        return words.layers(self.gains[i])


class Histogram(Plot):
    """How often each gain of a single layer occurs."""

    name = "histogram"
    view = "layers"
    of_gains = True

    def build(self) -> None:
        gains = self.shared.layers
        full = layer_range(together(gains))
        columns = [histogram_columns(each, full) for each in gains]
        source = table({}, gains[0]["iterations"].values, range(1, BINS + 1))
        packed = self.pack(source, columns, *PLAIN)
        self.figures = [HistogramFigure(packed, self.request.position, scaled(full)).figure]


class LayerAxis(Plot):
    """The paper's axes: gain against the layer of one network of fixed depth."""

    name = "layer-axis"
    view = "layer-axis"
    title = "Paper’s axes"
    group = "Gain"
    fixed = "depth"
    of_gains = True

    def build(self) -> None:
        shared, position = self.shared, self.request.position
        depth = position["depth"]
        gains = shared.measure(layer_axis_gains, direction="backward", depth=depth)
        columns = [gain_columns(each, dtype=float) for each in gains]
        source = table({}, gains[0]["iterations"].values, gains[0]["layer"].values)
        backward = self.pack(source, columns)
        plot = LayerAxisFigure(shared.surfaces[0], shared.table, backward, position)
        plot.update(together(shared.surfaces))
        plot.figure.x_range.end = depth + 1
        self.figures = [plot.figure]

    def note(self, i: int) -> str:
        return words.LAYER_AXIS

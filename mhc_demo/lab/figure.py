"""Runs of the training lab, side by side: live while they train, and from their records afterwards.

Axes are Bokeh's own logarithmic ones, of values and not of their logarithms: ranges follow the
data as it arrives, and a notebook needs no script of ours to draw them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh import layouts
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    Legend,
    LegendItem,
    Line,
    Scatter,
)
from bokeh.plotting import figure

from ..figures import style
from ..figures.contents import Column, Series, described
from ..figures.matrices import Heatmap
from ..numerics._arrays import whole_number
from ..numerics.gains import DIRECTIONS
from ..numerics.numbers import entry, exact_entry
from .colours import WIDTHS, colour_of
from .connections import CONNECTIONS
from .records import Record, Step
from .routing import (
    VIOLATION,
    Routed,
    entropy_figure,
    entropy_range,
    load_figure,
    load_range,
    places,
)
from .settings import SETTINGS

MOST_DECADES = 300
"""Gains beyond are drawn at 10^300, about the most that a browser's numbers can hold."""


class LabFigure:
    """Loss, gradient norm, composite gain, mixing, and the gains against the layer.

    `figures` holds them by name: "loss", "gradient_norm", "gain" and "mixing" against the step,
    and two against the layer, as of the latest step: "layer", the gain of that layer alone (Fig.
    3a, 7a), and "layers", the composite gain (Fig. 3b, 7b).  If a run has mixtures of experts there
    are "load_violation" against the step, and "load" and "entropy" against the layer.  `matrices`
    holds H_res of one layer for each run that mixes; `show_layer` chooses the layer.  `update`
    draws the steps added to the records.  Without `legends` the caller must explain the lines.
    """

    def __init__(self, records: Sequence[Record], *, legends: bool = True) -> None:
        if not records:
            raise ValueError("records must hold at least one run, not none")
        self.records = list(records)
        self._legends = legends
        self._steps_drawn = [0] * len(self.records)
        self._steps = [ColumnDataSource(_columns([])) for _ in self.records]
        self._layer = [ColumnDataSource(_along_layers()) for _ in self.records]
        self._layers = [ColumnDataSource(_along_layers()) for _ in self.records]
        last = max(record.settings.steps for record in self.records)
        deepest = max(record.settings.depth for record in self.records)
        log = {"y_axis_type": "log"}
        self.figures: dict[str, figure] = {
            "loss": self._against_steps("loss", "Loss of the batch (nats)", last, **log),
            "gradient_norm": self._against_steps("gradient_norm", "Gradient norm", last, **log),
            "gain": self._plot(
                "gain", "Step", "Composite Amax gain", last, self._steps, DIRECTIONS, **log
            ),
            "mixing": self._against_steps("mixing", "Off the diagonal of H_res", last),
            "layer": self._plot(
                "layer", "Layer l", "Amax gain of layer l", deepest, self._layer, DIRECTIONS, **log
            ),
            "layers": self._plot(
                "layers", "Layer l", "Composite Amax gain", deepest, self._layers, DIRECTIONS, **log
            ),
        }
        named = titles(self.records)
        self._routed = [
            (record, Routed(title, record.settings.connection, _no_loads(), _no_entropies()))
            for title, record in zip(named, self.records, strict=True)
            if record.settings.computes.experts
        ]
        if self._routed:
            self._add_routing(last, deepest)
        self.matrices = [
            MappingFigure(title, record)
            for title, record in zip(named, self.records, strict=True)
            if record.settings.mixes
        ]
        self.layer = min(2, deepest)  # no gradient reaches the first layer's mixing
        self.update()

    def show_layer(self, layer: int) -> None:
        """Show H_res of layer `layer`, from 1 to the depth of the deepest run."""
        deepest = max(record.settings.depth for record in self.records)
        self.layer = whole_number("layer", layer, 1, deepest)
        for each in self.matrices:
            each.show(self.layer)

    def colour(self, dark: bool) -> None:
        """Set the colours for a light or a dark page."""
        for each in self.matrices:
            each.colour(dark)

    def update(self) -> None:
        """Draw the steps added to the records since the last update."""
        for index, record in enumerate(self.records):
            new = record.steps[self._steps_drawn[index] :]
            if new:
                self._steps[index].stream(_columns(new))
                self._layer[index].data = _along_layers(new[-1].layer_gains)
                self._layers[index].data = _along_layers(new[-1].composite_gains)
                self._steps_drawn[index] += len(new)
        self.show_layer(self.layer)
        self._update_routing()

    def layout(self) -> Any:
        """All figures in a grid, for a notebook or a separate page."""
        plots = list(self.figures.values())
        matrices = [each.figure for each in self.matrices]
        for each in plots:
            each.update(sizing_mode="fixed", width=520, height=320)
        for each in matrices:
            each.update(sizing_mode="fixed", width=300, height=300)
        grid = layouts.gridplot(plots, ncols=2, toolbar_location=None)
        return layouts.column(grid, layouts.row(matrices))

    def _add_routing(self, last: int, deepest: int) -> None:
        drawn = [each for _, each in self._routed]
        self._experts = max(record.settings.computes.experts for record, _ in self._routed)
        self.figures |= {
            "load": load_figure("lab-load", drawn, deepest, self._experts),
            "load_violation": self._against_steps("load_violation", VIOLATION, last),
            "entropy": entropy_figure("lab-entropy", drawn, deepest, self._experts),
        }

    def _update_routing(self) -> None:
        """Draw what the latest steps say of the experts."""
        latest = [record.steps[-1] for record, _ in self._routed if record.steps]
        if not latest:
            return
        for index, (record, drawn) in enumerate(self._routed):
            if not record.steps:
                continue
            step = record.steps[-1]
            known = [(layer, load) for layer, load in enumerate(step.expert_load, 1) if load]
            if not known:
                continue
            layers, loads = zip(*known, strict=True)
            drawn.loads.data = {
                **places(layers, len(loads[0]), index, len(self._routed)),
                "load": np.concatenate(loads),
            }
            drawn.entropies.data = {
                "layer": list(layers),
                "entropy": [step.routing_entropy[layer - 1] for layer in layers],
            }
        shares = [value for step in latest for load in step.expert_load for value in load]
        entropies = [value for step in latest for value in step.routing_entropy]
        for name, (low, high) in (
            ("load", load_range(shares, self._experts)),
            ("entropy", entropy_range(entropies, self._experts)),
        ):
            self.figures[name].y_range.update(start=low, end=high)

    def _against_steps(self, name: str, label: str, last: int, **options: Any) -> figure:
        return self._plot(name, "Step", label, last, self._steps, [name], **options)

    def _plot(
        self,
        name: str,
        x_label: str,
        y_label: str,
        last: int,
        sources: list[ColumnDataSource],
        columns: Sequence[str],
        **options: Any,
    ) -> figure:
        """A line for every run and column; `options` are those of the figure."""
        y_range = DataRange1d(default_span=2, range_padding=0.05)
        p = style.plot(f"lab-{name}", x_label, y_label, (0, last + 1), y_range=y_range, **options)
        if options.get("y_axis_type") == "log":
            style.live_ticks(p)
        else:  # a range that follows its data is no range while there are none
            ends = ColumnDataSource({"x": [0, 0], "y": [0, 0.1]})
            style.draw(p, ends, Scatter(x="x", y="y", size=0))
        along = x_label.split()[0].lower()
        items, series, lines = [], [], []
        for title, record, source in zip(titles(self.records), self.records, sources, strict=True):
            colour = colour_of(record.settings.connection)
            width = WIDTHS.get(record.settings.connection, 2.5)
            for column in columns:
                dash = style.DASH.get(column, "solid")
                line = Line(x=along, y=column, line_color=colour, line_width=width, line_dash=dash)
                renderer = style.draw(p, source, line)
                renderer.name = f"{title}, {column}" if len(columns) > 1 else title
                lines.append(renderer)
                items.append(LegendItem(label=renderer.name, renderers=[renderer]))
                series.append(
                    Series(
                        renderer.name,
                        source,
                        Column(along, along),
                        [Column(y_label, column)],
                        colour=colour,
                        dash=dash,
                    )
                )
                p.add_tools(
                    HoverTool(
                        renderers=[renderer],
                        tooltips=[
                            ("", renderer.name),
                            (along, f"@{along}"),
                            ("", f"@{column}{{%.4g}}"),
                        ],
                        formatters={f"@{column}": "printf"},
                        mode="mouse",
                    )
                )
        if self._legends:
            legend = Legend(
                items=items,
                orientation="horizontal",
                ncols=3,
                border_line_color=None,
                background_fill_alpha=0,
                padding=0,
            )
            p.add_layout(legend, "above")
        return described(p, f"{y_label} against the {along}", *series)


def titles(records: Sequence[Record]) -> list[str]:
    """What distinguishes the runs: their connections, and the other settings that differ."""
    differ = [
        name
        for name in SETTINGS
        if name != "connection" and len({getattr(record.settings, name) for record in records}) > 1
    ]
    return [
        ", ".join(
            [CONNECTIONS[record.settings.connection]]
            + [f"{name} {getattr(record.settings, name)}" for name in differ]
        )
        for record in records
    ]


def _columns(steps: Sequence[Step]) -> dict[str, list[float]]:
    return {
        "step": [each.step for each in steps],
        "loss": [each.loss for each in steps],
        "gradient_norm": [each.gradient_norm for each in steps],
        "mixing": [each.mean_mixing for each in steps],
        "load_violation": [each.load_violation for each in steps],
        **{d: [_gain(each.gain[d]) for each in steps] for d in DIRECTIONS},
    }


def _no_loads() -> ColumnDataSource:
    return ColumnDataSource({"layer": [], "expert": [], "load": []})


def _no_entropies() -> ColumnDataSource:
    return ColumnDataSource({"layer": [], "entropy": []})


def _along_layers(log10_gains: Mapping[str, Sequence[float]] | None = None) -> dict[str, Any]:
    gains = {d: [_gain(g) for g in (log10_gains or {}).get(d, ())] for d in DIRECTIONS}
    return {"layer": list(range(1, len(gains["forward"]) + 1)), **gains}


def _gain(log10: float) -> float:
    return 10.0 ** min(log10, MOST_DECADES)


class MappingFigure:
    """The learned H_res of one layer, averaged over the tokens, with its sums."""

    def __init__(self, title: str, record: Record) -> None:
        self.title, self.record = title, record
        n = record.settings.streams
        self.source = ColumnDataSource({"value": np.zeros((n + 1) ** 2)})
        name = f"lab-h-res-{record.settings.connection}"
        self._heatmap = Heatmap(name, self.title, n, self.source)
        self.figure = described(
            self._heatmap.figure, f"H_res of {self.title}", self._heatmap.block, kind="matrix"
        )
        self.colour(dark=False)

    def colour(self, dark: bool) -> None:
        """Set the colours for a light or a dark page."""
        self._heatmap.colour(dark)

    def show(self, layer: int) -> None:
        """Show the matrix of a layer (1-based) after the latest step, if it is known."""
        self.figure.title.text = f"{self.title}: H_res of layer {layer}"
        latest = self.record.summary or (self.record.steps[-1] if self.record.steps else None)
        if latest is None or layer > len(latest.h_res):
            return
        h = np.array(latest.h_res[layer - 1])
        n = len(h)
        block = np.zeros((n + 1, n + 1))
        block[:n, :n], block[:n, n], block[n, :n] = h, h.sum(1), h.sum(0)
        largest = max(1.0, float(np.nanmax(np.abs(h), initial=0.0)))
        values = block.ravel()
        self.source.data = {
            **self.source.data,
            "value": values,
            "shade": values / largest,
            "text": [entry(value) for value in values[:-1]] + [""],
            "exact": [exact_entry(value) for value in values[:-1]] + [""],
        }

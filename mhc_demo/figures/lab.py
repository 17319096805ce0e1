"""Runs of the training lab, side by side: what streams in while they train, and the record after.

Axes are Bokeh's own logarithmic ones, of values and not of their logarithms: ranges follow the
data while it arrives, and a notebook needs no script of ours to draw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh import layouts
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    Legend,
    LegendItem,
    Line,
    LinearColorMapper,
    Range1d,
    Rect,
    Text,
)
from bokeh.plotting import figure

from .._arrays import whole_number
from ..gains import DIRECTIONS
from ..lab.records import Record, Step
from ..lab.settings import CONNECTIONS, SETTINGS
from . import style
from .contents import Column, Series, described
from .matrices import LEGIBLE, PALETTE

COLOURS = {"residual": style.IDENTITY, "hc": style.HC, "mhc": style.PROJECTED}
MOST_DECADES = 300
"""Gains beyond are drawn at 10^300: what a browser can hold."""


class LabFigure:
    """Loss, gradient norm, composite gain, mixing, and the gain against the layer.

    `figures` has them by name: "loss", "gradient_norm", "gain" and "mixing" against the step, and
    "layers", the composite gain against the layer after the latest step (Fig. 3b, 7b).  `matrices`
    has H_res of one layer for each run, its mean over the tokens; `show_layer` chooses which.
    `update` draws what the records have got since.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        if not records:
            raise ValueError("records must hold at least one run, not none")
        self.records = list(records)
        self._drawn = [0] * len(self.records)
        self._steps = [ColumnDataSource(_columns([])) for _ in self.records]
        self._layers = [ColumnDataSource(_along_layers(None)) for _ in self.records]
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
            "layers": self._plot(
                "layers", "Layer l", "Composite Amax gain", deepest, self._layers, DIRECTIONS, **log
            ),
        }
        self.layer = 1
        self._cells = [ColumnDataSource(_cells(None)) for _ in self.records]
        self.matrices = [
            _heatmap(title, record, source)
            for title, record, source in zip(
                _titles(self.records), self.records, self._cells, strict=True
            )
        ]
        self.show_layer(min(2, deepest))  # no gradient reaches the first one's mixing
        self.update()

    def show_layer(self, layer: int) -> None:
        """Show H_res of that layer, 1 to the depth of the deepest run."""
        deepest = max(record.settings.depth for record in self.records)
        self.layer = whole_number("layer", layer, 1, deepest)
        for record, source, p in zip(self.records, self._cells, self.matrices, strict=True):
            last = record.summary or (record.steps[-1] if record.steps else None)
            shown = last.h_res[self.layer - 1 : self.layer] if last else []
            source.data = _cells(shown[0] if shown else None)
            p.title.text = f"{p.title.tags[0]}: H_res of layer {self.layer}"

    def update(self) -> None:
        """Draw the steps that were added to the records since."""
        for index, record in enumerate(self.records):
            new = record.steps[self._drawn[index] :]
            if new:
                self._steps[index].stream(_columns(new))
                self._layers[index].data = _along_layers(new[-1])
                self._drawn[index] += len(new)
        self.show_layer(self.layer)

    def layout(self) -> Any:
        """All figures in a grid, for a notebook or a page of their own."""
        plots = list(self.figures.values())
        for each in plots:
            each.update(sizing_mode="fixed", width=520, height=320)
        for each in self.matrices:
            each.update(sizing_mode="fixed", width=260, height=260)
        grid = layouts.gridplot(plots, ncols=2, toolbar_location=None)
        return layouts.column(grid, layouts.row(self.matrices))

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
        y_range = DataRange1d(default_span=2, range_padding=0.05)
        p = style.plot(f"lab-{name}", x_label, y_label, (0, last + 1), y_range=y_range, **options)
        along = x_label.split()[0].lower()
        items, shown, lines = [], [], []
        for title, record, source in zip(_titles(self.records), self.records, sources, strict=True):
            colour = COLOURS[record.settings.connection]
            for column in columns:
                dash = style.DASH.get(column, "solid")
                line = Line(x=along, y=column, line_color=colour, line_width=2.5, line_dash=dash)
                drawn = style.draw(p, source, line)
                drawn.name = f"{title}, {column}" if len(columns) > 1 else title
                lines.append(drawn)
                items.append(LegendItem(label=drawn.name, renderers=[drawn]))
                shown.append(
                    Series(
                        drawn.name,
                        source,
                        Column(along, along),
                        [Column(y_label, column)],
                        colour=colour,
                        dash=dash,
                    )
                )
                p.add_tools(
                    HoverTool(
                        renderers=[drawn],
                        tooltips=[
                            ("", drawn.name),
                            (along, f"@{along}"),
                            ("", f"@{column}{{%.4g}}"),
                        ],
                        formatters={f"@{column}": "printf"},
                        mode="mouse",
                    )
                )
        p.add_layout(
            Legend(
                items=items,
                orientation="horizontal",
                ncols=3,
                border_line_color=None,
                background_fill_alpha=0,
                padding=0,
            ),
            "above",
        )
        return described(p, f"{y_label} against the {along}", *shown)


def _titles(records: Sequence[Record]) -> list[str]:
    """What tells the runs apart: their connections, and what else differs."""
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
        **{d: [_gain(each.gain[d]) for each in steps] for d in DIRECTIONS},
    }


def _along_layers(step: Step | None) -> dict[str, list[float]]:
    gains = step.composite_gains if step else {direction: [] for direction in DIRECTIONS}
    drawn: dict[str, list[float]] = {d: [_gain(gain) for gain in gains[d]] for d in DIRECTIONS}
    return {"layer": list(range(1, len(drawn["forward"]) + 1)), **drawn}


def _gain(log10: float) -> float:
    return 10.0 ** min(log10, MOST_DECADES)


def _heatmap(title: str, record: Record, source: ColumnDataSource) -> figure:
    n = record.settings.streams if record.settings.connection != "residual" else 1
    p = style.plot(
        f"lab-matrix-{record.settings.connection}",
        "",
        "",
        (0.5, n + 0.5),
        y_range=Range1d(n + 0.5, 0.5),
        title=title,
    )
    p.title.tags = [title]
    p.grid.grid_line_color = None
    p.axis.axis_line_color = None
    p.axis.ticker = list(range(1, n + 1))
    p.min_border_left = 28
    fill = {"field": "value", "transform": LinearColorMapper(palette=PALETTE, low=-1, high=1)}
    square = Rect(x="column", y="row", width=0.97, height=0.97, line_color=None, fill_color=fill)
    drawn = style.draw(p, source, square)
    if n <= LEGIBLE:
        size = "14px" if n <= 4 else "10px"
        middle = {"text_align": "center", "text_baseline": "middle", "text_color": "#16191d"}
        style.draw(p, source, Text(x="column", y="row", text="text", text_font_size=size, **middle))
    p.add_tools(
        HoverTool(
            renderers=[drawn],
            tooltips=[("row, column", "@row, @column"), ("value", "@value{0.0000}")],
        )
    )
    cells = Series(
        "matrix",
        source,
        Column("row", "row"),
        [Column("column", "column"), Column("value", "value")],
    )
    return described(p, f"H_res of a layer, {title}", cells)


def _cells(matrix: list[list[float]] | None) -> dict[str, list]:
    """One row a cell; row and column count from 1, as the streams do."""
    cells = [
        (i, j, value) for i, row in enumerate(matrix or [], 1) for j, value in enumerate(row, 1)
    ]
    return {
        "row": [i for i, _, _ in cells],
        "column": [j for _, j, _ in cells],
        "value": [value for _, _, value in cells],
        "text": [f"{value:.2f}" for _, _, value in cells],
    }

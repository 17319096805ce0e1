"""Recorded runs as a figure: every seed as a line, one of them replayed step by step.

The browser holds the tables of the replayed seed and moves through its steps by itself
(`figures/slices.py`); the lines of all seeds stand still.  Values are log10, as in the figures of
the other views, so that a gain of 10^30 has a place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    HoverTool,
    Line,
    MultiLine,
    Range1d,
    Scatter,
    Span,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..figures import style
from ..figures.contents import Column, Series, described, log10
from ..figures.matrices import Heatmap, blocks
from ..figures.slices import Position, follows, label, sliced, table
from ..numerics.gains import DIRECTIONS
from .colours import COLOURS, MARKERS, WIDTHS
from .connections import COMPARED, CONNECTIONS, KINDS
from .evidence import Replay, Runs
from .routing import (
    VIOLATION,
    Routed,
    entropy_figure,
    entropy_range,
    load_figure,
    load_range,
    places,
)

ALONG = "replay"
"""The slider: the step of training that is shown."""

PLOTS = {
    "gain": "Composite Amax gain",
    "loss": "Loss of the batch (nats)",
    "gradient_norm": "Gradient norm",
}
"""Against the step, log10."""
OF_EXPERTS = ("load", "load_violation", "entropy")
"""The figures of networks with experts."""


class ReplayFigure:
    """All runs of a preset, and the one replayed.

    `figures` by name: "gain", "loss" and "gradient_norm" against the step, a thin line for each
    seed; "score", the final accuracy of every run; "layers", the composite gain against the layer
    at the step that the slider names.  `matrices` are the heatmaps of H_res of one layer there.
    Where the networks have experts there are `OF_EXPERTS` besides: each expert's load and the
    routing entropy against the layer at that step, and the load violation against the step.
    """

    def __init__(self, runs: Runs, replay: Replay, state: Position, layer: int) -> None:
        self.runs = runs
        self.mixing = [name for name in runs.connections if KINDS[name].mixes]
        last = runs.curves["loss"].shape[-1]
        self.steps = range(1, last + 1)
        self._others = {name: ColumnDataSource({"xs": [], "ys": []}) for name in runs.connections}
        self._chosen = {name: ColumnDataSource() for name in runs.connections}
        self._scores = Scores("runs-score", runs, replay.seed)
        self._layers, self._matrices = table({}, [0], [1]), table({}, [0], [1])
        self._loads, self._entropies = table({}, [0], [1]), table({}, [0], [1])
        self._curves = [*PLOTS, *(["load_violation"] if runs.routed else [])]
        self._replay, self._layer = replay, layer
        self._fill()
        self.figures: dict[str, figure] = {
            name: self._against_steps(name, title, state) for name, title in PLOTS.items()
        }
        self.figures["score"] = self._scores.figure
        self.figures["layers"] = self._against_layers(state)
        self.matrices = [self._heatmap(name, state) for name in self.mixing]
        if runs.routed:
            self._add_routing(state)
        self._set_ranges()
        self._entitle()

    def show(self, replay: Replay, layer: int) -> None:
        """Replay another seed, or show another layer's matrices."""
        self._replay, self._layer = replay, layer
        self._fill()
        self._set_ranges()
        self._entitle()

    @property
    def tables(self) -> list[ColumnDataSource]:
        """What the browser holds to move through the steps."""
        routing = [self._loads, self._entropies] if self.runs.routed else []
        return [self._layers, self._matrices, *routing]

    def colour(self, dark: bool) -> None:
        """Set the colours for a light or a dark page."""
        for heatmap in self.matrices:
            heatmap.colour(dark)

    # ---- the tables ----------------------------------------------------------------------------

    def _fill(self) -> None:
        runs, replay = self.runs, self._replay
        at = runs.seed_index(replay.seed)
        self._scores.mark(replay.seed)
        for c, name in enumerate(runs.connections):
            curves = {plot: _shown(plot, runs.curves[plot][c]) for plot in self._curves}
            steps = np.arange(1, len(self.steps) + 1)
            self._others[name].data = {
                "seed": [seed for s, seed in enumerate(runs.seeds) if s != at],
                "steps": [steps] * (len(runs.seeds) - 1),
                **{
                    plot: [values for s, values in enumerate(curves[plot]) if s != at]
                    for plot in self._curves
                },
            }
            self._chosen[name].data = {
                "step": steps,
                **{plot: curves[plot][at] for plot in self._curves},
            }
        layers = replay.gains.shape[-1]
        label(self._layers, [0], self.steps, layers, along=ALONG)
        self._layers.data = {
            f"{name}.{d}": np.ascontiguousarray(replay.gains[c, :, k], np.float32).ravel()
            for c, name in enumerate(self.mixing)
            for k, d in enumerate(DIRECTIONS)
        }
        n = replay.h_res.shape[-1]
        label(self._matrices, [0], self.steps, (n + 1) ** 2, along=ALONG)
        frame = np.searchsorted(replay.steps, self.steps, side="right") - 1
        self._matrices.data = {
            name: blocks(replay.h_res[c, frame, self._layer - 1], np.zeros(len(self.steps)))
            for c, name in enumerate(self.mixing)
        }
        if replay.loads is not None and replay.entropies is not None:
            for source, values in (
                (self._loads, replay.loads),
                (self._entropies, replay.entropies),
            ):
                label(source, [0], self.steps, values[0, 0].size, along=ALONG)
                source.data = {
                    name: np.ascontiguousarray(values[c, frame], np.float32).ravel()
                    for c, name in enumerate(runs.connections)
                }

    def _set_ranges(self) -> None:
        for name in self._curves:
            low, high = _range_of(_shown(name, self.runs.curves[name]))
            self.figures[name].y_range.update(start=low, end=high)
        low, high = _range_of(self._replay.gains)
        self.figures["layers"].y_range.update(start=low, end=high)
        self.figures["layers"].x_range.update(end=self._replay.gains.shape[-1] + 1)
        if self._replay.loads is not None:
            loads, entropies = self._replay.loads, self._replay.entropies
            experts = loads.shape[-1]
            for name, (low, high) in (
                ("load", load_range(loads, experts)),
                ("entropy", entropy_range(entropies, experts)),
            ):
                self.figures[name].y_range.update(start=low, end=high)
            self.figures["load_violation"].y_range.update(start=0.0)

    def _entitle(self) -> None:
        for heatmap, name in zip(self.matrices, self.mixing, strict=True):
            heatmap.figure.title.text = f"{CONNECTIONS[name]}: H_res of layer {self._layer}"

    # ---- the plots -----------------------------------------------------------------------------

    def _against_steps(self, name: str, title: str, state: Position) -> figure:
        p = style.plot(
            f"runs-{name}", "Step", title, (0, len(self.steps) + 1), y_range=Range1d(-1, 1)
        )
        if name in PLOTS:
            style.powers_of_ten(p)
        now = Span(
            location=state[ALONG],
            dimension="height",
            line_color=style.SHADE,
            line_width=2,
            level=style.MOVING,
        )
        p.add_layout(follows(now, "location", f"@{ALONG}"))
        series, lines = [], []
        for connection in self.runs.connections:
            colour = COLOURS[connection]
            others = MultiLine(
                xs="steps", ys=name, line_color=colour, line_alpha=0.35, line_width=1
            )
            thin = style.draw(p, self._others[connection], others)
            thin.name = f"{CONNECTIONS[connection]}, other seeds"
            curve = Line(x="step", y=name, line_color=colour, line_width=WIDTHS[connection] + 1)
            lines.append(style.draw(p, self._chosen[connection], curve))
            lines[-1].name = CONNECTIONS[connection]
            series.append(
                Series(
                    CONNECTIONS[connection],
                    self._chosen[connection],
                    Column("step", "step"),
                    [log10(title.lower(), name) if name in PLOTS else Column(title.lower(), name)],
                    colour=colour,
                )
            )
            p.add_tools(
                HoverTool(
                    renderers=[thin],
                    tooltips=[("", thin.name), ("seed", "@seed")],
                    line_policy="interp",
                )
            )
        return described(p, f"{title} against the step", *series, along=ALONG)

    def _against_layers(self, state: Position) -> figure:
        p = style.plot("runs-layers", "Layer l", PLOTS["gain"], (0, 2), y_range=Range1d(-1, 1))
        style.powers_of_ten(p)
        p.add_layout(style.identity_line())
        series = []
        layers = np.arange(1, self._replay.gains.shape[-1] + 1)
        for connection in self.mixing:
            columns = {d: f"{connection}.{d}" for d in DIRECTIONS}
            source = sliced(self._layers, "block", columns, state, at=0)
            source.data["layer"] = layers
            for direction in DIRECTIONS:
                line = Line(
                    x="layer",
                    y=direction,
                    line_color=COLOURS[connection],
                    line_width=3,
                    line_dash=style.DASH[direction],
                )
                drawn = style.draw(p, source, line, style.MOVING)
                drawn.name = f"{CONNECTIONS[connection]}, {direction}"
                series.append(
                    Series(
                        drawn.name,
                        source,
                        Column("layer", "layer"),
                        [log10("gain", direction)],
                        colour=COLOURS[connection],
                        dash=style.DASH[direction],
                    )
                )
        return described(p, "Composite Amax gain against the layer", *series)

    def _add_routing(self, state: Position) -> None:
        routers, loads = self._replay.routers, self._replay.loads
        assert routers is not None
        assert loads is not None
        experts, depth = loads.shape[-1], self._replay.gains.shape[-1]
        drawn = []
        for c, name in enumerate(self.runs.connections):
            dots = sliced(self._loads, "block", {"load": name}, state, at=0)
            standing = places(routers.tolist(), experts, c, len(self.runs.connections))
            dots.data = {**dots.data, **standing}
            line = sliced(self._entropies, "block", {"entropy": name}, state, at=0)
            line.data["layer"] = routers
            drawn.append(Routed(CONNECTIONS[name], name, dots, line))
        self.figures["load"] = load_figure("runs-load", drawn, depth, experts)
        self.figures["load_violation"] = self._against_steps("load_violation", VIOLATION, state)
        self.figures["entropy"] = entropy_figure("runs-entropy", drawn, depth, experts)

    def _heatmap(self, connection: str, state: Position) -> Heatmap:
        n = self._replay.h_res.shape[-1]
        source = sliced(
            self._matrices, "block", {"value": connection}, state, at=0, heatmap=True, late=True
        )
        shown = Heatmap(f"runs-h-res-{connection}", "", n, source)
        described(shown.figure, f"H_res of {CONNECTIONS[connection]}", shown.block, kind="matrix")
        # The first layout of a newly opened view has the script write texts and shades.
        shown.figure.js_on_change(
            "inner_width", CustomJS(args={"source": source}, code="mhc.cut(source)")
        )
        return shown


class Scores:
    """The final score of every run, a dot for each seed; those of one seed are larger.

    The dots of a connection stand in the order of their score, so that they show how it is
    distributed.
    """

    def __init__(
        self,
        name: str,
        runs: Runs,
        seed: int | None = None,
        ends: tuple[float, float] | None = None,
        of: str = "every run",
    ) -> None:
        self.runs = runs
        self._sources = {each: ColumnDataSource() for each in runs.connections}
        count = len(runs.connections)
        score, digits = ("accuracy", "0.0 %") if runs.is_accuracy else ("bits", "0.000")
        what = "accuracy" if runs.is_accuracy else "bits per character"
        p = self.figure = style.plot(
            name,
            "A dot for each seed; validation data",
            f"Final {what}",
            (-0.5, count - 0.5),
            y_range=Range1d(*(ends or score_range(runs))),
        )
        p.xaxis.ticker = list(range(count))
        p.xaxis.major_label_overrides = {
            c: CONNECTIONS[each] for c, each in enumerate(runs.connections)
        }
        if count > len(COMPARED):
            p.xaxis.major_label_orientation = 0.5
        chance = Span(
            location=runs.chance,
            dimension="width",
            line_color=style.THEORY,
            line_dash=[2, 4],
            line_width=2,
            level="underlay",
        )
        p.add_layout(chance)
        series = []
        for each, source in self._sources.items():
            family = each.partition("-")[0]
            colour, title = COLOURS[family], CONNECTIONS[each]
            dots = Scatter(
                x="x",
                y="score",
                size="size",
                marker=MARKERS[family],
                fill_color=colour,
                fill_alpha=0.6,
                line_color=colour,
            )
            drawn = style.draw(p, source, dots)
            drawn.name = title
            tips = [("", title), ("seed", "@seed"), (score, f"@score{{{digits}}}")]
            p.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
            scores = [Column(score, "score")]
            series.append(Series(title, source, Column("seed", "seed"), scores, colour=colour))
        described(p, f"Final {what} of {of}", *series)
        self.mark(seed)

    def mark(self, seed: int | None) -> None:
        """Make the dots of a seed the larger ones."""
        seeds = np.array(self.runs.seeds)
        for c, (name, source) in enumerate(self._sources.items()):
            scores = self.runs.scores(name)
            rank = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
            source.data = {
                "x": c + 0.7 * ((rank + 0.5) / len(scores) - 0.5),
                "score": scores,
                "seed": seeds,
                "size": np.where(seeds == seed, 17, 9),
            }


def _shown(name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """A curve as log10, but for what is drawn as it is; gains are log10 already."""
    if name == "gain" or name not in PLOTS:
        return np.asarray(values, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(np.asarray(values, np.float32))


def score_range(*several: Runs) -> tuple[float, float]:
    """From nothing to perfect for accuracies; for bits what there is, with guessing in it."""
    if several[0].is_accuracy:
        return 0.0, 1.0
    found = [runs.scores(name) for runs in several for name in runs.connections]
    return _range_of(np.array([several[0].chance, *np.concatenate(found)]))


def _range_of(log10_values: NDArray[Any]) -> tuple[float, float]:
    finite = log10_values[np.isfinite(log10_values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = max(0.05, 0.05 * (high - low))
    return low - margin, high + margin

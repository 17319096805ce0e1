"""The plots that a standalone file can hold, each with its legend and its note.

A plot is built once, and holds its columns for every number of streams; the reader's choice fills
its sources with other columns.  To add a plot, write a subclass of `Plot`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from ...figures import (
    CompositeFigure,
    HistogramFigure,
    IterationsFigure,
    LayerAxisFigure,
    LayersFigure,
    MatricesFigure,
    MixingFigure,
    SignalFigure,
    SinkhornFigure,
    figure8_html,
    polytope,
    sinkhorn,
    words,
)
from ...figures.benchmarks import NOTE as BENCHMARKS_NOTE
from ...figures.benchmarks import benchmarks_figure
from ...figures.composite import gain_range, theory_columns
from ...figures.cost import activations_html, overhead_html, traffic_html
from ...figures.histogram import BINS, histogram_columns
from ...figures.layers import layer_range
from ...figures.matrices import CALLED, matrix_columns
from ...figures.mixing import DRAWN, EFFECTIVE, ratio_columns, ratio_theory
from ...figures.mixing import STROKES as METRIC_STROKES
from ...figures.packed import ENTRIES, GAINS, PLAIN, Cells
from ...figures.polytope import Network, PolytopeFigure
from ...figures.scale import gain_range as scaled
from ...figures.scale import set_full
from ...figures.signal import at_depth, carried_columns, layers_shipped
from ...figures.slices import PLOTTED, Position, gain_columns, table
from ...lab.evidence import has_runs, recorded_runs, told
from ...lab.jacobian import recorded_jacobians
from ...lab.replay import ALONG, ReplayFigure
from ...lab.settings import PRESETS
from ...lab.verdict import rates, swatches, verdict
from ...lab.whole import jacobian_figures, jacobian_legend, jacobian_note
from ...numerics.half_steps import half_steps
from ...numerics.mixing import sample_mixing
from ...numerics.paper import TABLE_5
from ...numerics.projections import PROJECTIONS
from ...numerics.signal import ENTERING, signal_surface
from ...numerics.surface import (
    gain_surface,
    layer_axis_gains,
    layer_gains,
    member_matrices,
    mixing_surface,
)
from ...story.claims import TITLE, claims_html
from ...story.formulas import formulas_html

if TYPE_CHECKING:
    from .request import EmbedRequest


@dataclass(frozen=True)
class Choice:
    """What the reader of a site chooses for one view alone."""

    name: str
    """In links."""
    label: str
    titles: Mapping[str, Any]
    """The values by their titles, the usual one first."""


@dataclass(frozen=True)
class PackedSource:
    """A source whose columns the file holds packed, one set of them for each number of streams."""

    source: ColumnDataSource
    columns: Sequence[Mapping[str, Any]]
    cells: Sequence[Cells] = GAINS


class Shared:
    """The gain surfaces of a request, and the table of them that plots and headline read."""

    def __init__(self, request: EmbedRequest, surfaces: Sequence[xr.Dataset] = ()) -> None:
        self.request = request
        self.surfaces = list(surfaces) or self.measure(gain_surface)
        first = self.surfaces[0]
        columns = [gain_columns(each["log10_gain"], dtype=float) for each in self.surfaces]
        self.table = table(
            columns[0],
            first["iterations"].values,
            first["depth"].values,
            position={**request.position, "scale": request.scale},
        )
        self.packed = PackedSource(self.table, columns)

    @cached_property
    def layers(self) -> list[xr.DataArray]:
        """The gains of single layers."""
        return self.measure(layer_gains)

    def measure(self, compute: Callable[..., Any], **options: Any) -> list[Any]:
        """What a function of `surface.py` returns, for each number of streams."""
        request = self.request
        options = {**request.limits, "device": request.device, **options}
        return [compute(experiment, **options) for experiment in request.experiments]


PLOTS: dict[str, type[Plot]] = {}
"""Every plot that a file can hold, by its name."""


def plots_of(view: str) -> list[str]:
    """The plots of a view of the page.

    Raises ValueError for a view that needs the server, or has no plot.
    """
    found = [name for name, plot in PLOTS.items() if plot.view == view]
    if not found:
        views = ", ".join(dict.fromkeys(plot.view for plot in PLOTS.values()))
        raise ValueError(f"the view {view!r} cannot be exported; these can: {views}")
    return found


class Plot:
    """A plot, or a few that belong together, and the words around them."""

    name: ClassVar[str]
    view: ClassVar[str]
    """The page's view that has it; the plots of one view stand side by side."""
    title: ClassVar[str] = ""
    """That of the view, by which a site has a door to it; of its plots the first has it."""
    group: ClassVar[str] = ""
    """The group of the view, in `story.doors.QUESTIONS`."""
    fixed: ClassVar[str] = ""
    """The part of the position that no slider may move, as the file holds one value of it."""
    share: ClassVar[int] = 1
    """Its part of the width beside other plots."""
    square: ClassVar[bool] = False
    """Whether it shows matrices, whose file grows with n^2 at every layer."""
    of_experiment: ClassVar[bool] = True
    """Whether it shows the experiment, so that the caption says which."""
    of_gains: ClassVar[bool] = False
    """Whether its axis of gains has two scales: see `figures.scale`."""
    choices: ClassVar[Sequence[Choice]] = ()
    """What a site lets its reader choose beside the experiment."""

    def __init_subclass__(cls) -> None:
        PLOTS[cls.name] = cls

    def __init__(self, shared: Shared) -> None:
        self.shared, self.request = shared, shared.request
        self.packed: list[PackedSource] = []
        self.sliders: dict[str, Any] = {}
        """Those of the plot's own, beside depth and iterations."""
        self.figures: list[figure] = []
        self.build()
        self.figures = [each for each in self.figures if each.name not in self.request.hidden]

    def build(self) -> None:
        """Make the figures, and `pack` the sources that they draw from."""

    def pack(
        self, source: ColumnDataSource, columns: Sequence[Any], *cells: Cells
    ) -> ColumnDataSource:
        """Let the file hold all these columns for a source, which gets the first of them."""
        self.packed.append(PackedSource(source, columns, cells or GAINS))
        source.data = dict(columns[0])
        return source

    def legend(self) -> list[words.Entry]:
        """What its lines mean."""
        return words.lines(self.request.experiments[0], self.request.position["iterations"])

    def note(self, i: int) -> str:
        """The words below it, at the i-th number of streams."""
        return ""

    @classmethod
    def takes(cls, chosen: Mapping[str, Any]) -> bool:
        """Whether these `choices` can be made together."""
        return True

    def common(self) -> dict[str, str]:
        """What other views or choices show as well: the ids of tables, by a name for each."""
        return {}

    def html(self) -> str:
        """The elements that its figures are put into."""
        return f'<div class="plot" style="--share:{self.share}"></div>' * len(self.figures)


WAYS = {"Forward": "forward", "Backward: a gradient": "backward"}


class Signal(Plot):
    """A signal on its way through the streams, HC above, the projection below."""

    name = "signal"
    view = "signal"
    title = "Signal"
    group = "Signal"
    choices = (
        Choice("enters", "What enters", {kind.title: name for name, kind in ENTERING.items()}),
        Choice(
            "direction", "Direction", {"Forward": "forward", "Backward: a gradient": "backward"}
        ),
        Choice("writes", "Layers write", {"No": False, "Yes": True}),
    )

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: signal can be shown for one number of streams only")
        chosen, experiment = request.signal, request.experiments[0]
        depth = request.limits["depth"]
        found = self._through(chosen)
        if not request.of_site:  # where the weights of all layers are a file of their own
            position = {**request.position, **chosen}
            shipped = layers_shipped(experiment.streams, position)
            found = found.sel(layer=[layer for layer in shipped if layer <= depth])
        self.picture = SignalFigure(found, request.position, min(chosen["zoom"], depth))
        self.pack(self.picture.carried, [carried_columns(found)])
        weights = {"weight": found["matrix"].values.round(3) + 0.0}
        self.pack(self.picture.weights, [weights], *PLAIN)
        self.figures = self.picture.figures

    @classmethod
    def takes(cls, chosen: Mapping[str, Any]) -> bool:
        return not (chosen["writes"] and chosen["direction"] == "backward")

    def _through(self, chosen: Position) -> xr.Dataset:
        request = self.request
        return signal_surface(
            request.experiments[0],
            entering=chosen["enters"],
            direction=chosen["direction"],
            writes=chosen["writes"],
            at=request.position["depth"],
            **request.limits,
        )

    def common(self) -> dict[str, str]:
        return {"weights": self.picture.weights.id, "carried": self.picture.carried.id}

    def another(self, signal: Position) -> tuple[Mapping[str, Any], list[Any], str]:
        """Another signal in the same picture: its columns, what is said of them, and the note."""
        found = self._through(signal)
        columns = carried_columns(found)
        self.picture.update(found, columns, {})
        return columns, self.picture.carried.tags, self._note(signal)

    def legend(self) -> list[words.Entry]:
        return words.signal()

    def note(self, i: int) -> str:
        return self._note(self.request.signal)

    def _note(self, signal: Position) -> str:
        request = self.request
        chosen = (signal["enters"], signal["direction"], signal["writes"])
        members = request.experiments[0].members
        said = words.entering(*chosen, members, switch=request.switches)
        if at_depth(signal):
            layers = request.position["depth"]
            said += f" Depth does not move here: this is held for {layers} layers alone."
        return said

    def html(self) -> str:
        plots = '<div class="plot"></div>' * len(self.figures)
        return f'<div class="halves">{plots}<div class="signal"></div></div>'


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
        set_full(plot.y_range, gain_range(_together(surfaces)))
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
        y_range = scaled(gain_range(_together(surfaces)))
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
        plot.update(_together(self.gains))
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
        full = layer_range(_together(gains))
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
        plot.update(_together(shared.surfaces))
        plot.figure.x_range.end = depth + 1
        self.figures = [plot.figure]

    def note(self, i: int) -> str:
        return words.LAYER_AXIS


class Matrices(Plot):
    """The matrices themselves, as far as the sliders reach."""

    name = "matrices"
    view = "matrices"
    title = "Matrices"
    group = "Matrices"
    square = True

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: matrices can be shown for one number of streams only")
        counts = {0, request.position["iterations"]}
        if "iterations" in request.controls:
            counts = set(range(request.limits["iterations"] + 1))
        moving = "depth" in request.controls
        depth = (request.limits if moving else request.position)["depth"]
        found = member_matrices(request.experiments[0], depth=depth, iterations=counts)
        found = found.isel(depth=slice(None) if moving else [-1])
        n = found.sizes["row"]
        source = table({}, found["iterations"].values, found["depth"].values, (n + 1) ** 2)
        columns = {name: np.asarray(c, float) for name, c in matrix_columns(found).items()}
        self.pack(source, [columns], *ENTRIES)
        self.figures = MatricesFigure(n, source, request.position).figures

    def legend(self) -> list[words.Entry]:
        return []

    def note(self, i: int) -> str:
        return words.MATRICES

    def html(self) -> str:
        # At 0 iterations HC alone: the projected heatmaps would be HC's again.
        of_hc = [each.name.endswith(f"-{CALLED[0]}") for each in self.figures]
        marks = ("plot" if hc else "plot of-projected" for hc in of_hc)
        return "".join(f'<div class="{mark}"></div>' for mark in marks)


class Sinkhorn(Plot):
    """One layer's matrix, half step by half step, with buttons and a slider of its own."""

    name = "sinkhorn"
    view = "sinkhorn"
    title = "Sinkhorn at work"
    group = "Matrices"

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: sinkhorn can be shown for one number of streams only")
        experiment = request.experiments[0]
        chosen = PROJECTIONS[experiment.projection]
        layers = sample_mixing(request.layer, **experiment.drawing(), logits=chosen.takes_logits)
        self.steps = half_steps(layers[0, -1], chosen.name)
        position = {**request.position, "step": 0}
        self.figures = SinkhornFigure(self.steps, f"Layer {request.layer}", position).figures

    def legend(self) -> list[words.Entry]:
        if not self.steps.attrs["iterative"]:
            return []
        return sinkhorn.legend(self.steps)

    def note(self, i: int) -> str:
        if not self.steps.attrs["iterative"]:
            return PROJECTIONS[self.steps.attrs["projection"]].account
        return f"{sinkhorn.convergence(self.steps)} {sinkhorn.SUMS}"

    def html(self) -> str:
        steps = '<div class="steps"></div>' if self.steps.attrs["iterative"] else ""
        return steps + super().html()


class Polytope(Plot):
    """The doubly stochastic 3 x 3 matrices as a set, and the ways into it.

    The logits cannot be dragged in a file: it has nothing that projects them.
    """

    name = "polytope"
    view = "polytope"
    title = "Birkhoff polytope"
    group = "Why it holds"
    share = 2

    def build(self) -> None:
        request = self.request
        experiment = request.experiments[0]
        drawn = {name: getattr(experiment, name) for name in ("init", "spread", "seed")}
        limits = {**request.limits, "depth": max(request.limits["depth"], request.layer)}
        network = Network(experiment.projection, **limits, **drawn)
        given = network.layer(request.layer)
        self.picture = PolytopeFigure(given, experiment.projection, request.position)
        walk = {name: np.asarray(c, float) for name, c in given["composites"].items()}
        self.pack(self.picture.composites, [walk] * len(request.experiments), *PLAIN)
        self.figures = [self.picture.figure]

    def legend(self) -> list[words.Entry]:
        return []

    def note(self, i: int) -> str:
        whose = f"Layer {self.request.layer} of the first network, drawn with three streams"
        return "<br>".join((polytope.HOW, *polytope.note_of(whose)))

    def html(self) -> str:
        controls, rows = '<div class="turning"></div>', '<div class="rows"></div>'
        return f"{controls}{super().html()}{rows}"


class Mixing(Plot):
    """How alike the streams become."""

    name = "mixing"
    view = "mixing"
    title = "Mixing"
    group = "Mixing"

    def build(self) -> None:
        request = self.request
        limits = request.limits
        self.found = [mixing_surface(each, **limits, metrics=DRAWN) for each in request.experiments]
        first = self.found[0]
        axes = first["iterations"].values, first["depth"].values
        names = (*METRIC_STROKES, EFFECTIVE)
        columns = [{name: each[name].values.ravel() for name in names} for each in self.found]
        source = self.pack(table({}, *axes), columns, *PLAIN)
        ratios = self.pack(table({}, *axes), [ratio_columns(each, float) for each in self.found])
        plot = MixingFigure(first, source, ratios, request.position)
        plot.fit(_together(self.found))
        theory = [
            {k: v for k, v in ratio_theory(each).items() if k != "depth"} for each in self.found
        ]
        self.packed.append(PackedSource(plot.theory, theory))
        self.figures = plot.figures

    def legend(self) -> list[words.Entry]:
        return words.metrics(_together(self.found))

    def note(self, i: int) -> str:
        return words.mixing(self.request.experiments[i], switch=self.request.switches)


class Figure8(Plot):
    """The matrices of a 27B model that the paper printed."""

    name = "figure8"
    view = "figure8"
    title = "27B model"
    group = "Real models"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        return figure8_html()


class Benchmarks(Plot):
    """What widening the stream bought a 27B model."""

    name = "benchmarks"
    view = "benchmarks"
    title = "What it bought"
    group = "Real models"
    of_experiment = False

    def build(self) -> None:
        self.figures = [benchmarks_figure()]

    def legend(self) -> list[words.Entry]:
        return [("identity", "residual network"), ("hc", "HC"), ("projected", "mHC")]

    def note(self, i: int) -> str:
        return BENCHMARKS_NOTE


class Jacobian(Plot):
    """The derivative of the lab's networks, branches included, beside H_res alone."""

    name = "jacobian"
    view = "jacobian"
    title = "Whole network"
    group = "Training"
    of_experiment = False

    def build(self) -> None:
        self.found = recorded_jacobians()
        self.figures = list(jacobian_figures(self.found).values())

    def legend(self) -> list[words.Entry]:
        return jacobian_legend()

    def note(self, i: int) -> str:
        return jacobian_note(self.found)


class Cost(Plot):
    """The paper's counts of what a layer moves and stores, for its 27B model.

    The page also measures the projection on its server; a file has no machine to speak of.
    """

    name = "cost"
    view = "cost"
    title = "Cost"
    group = "Cost"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        model = TABLE_5["27B"]
        sizes = model.streams, model.width
        tables = traffic_html(*sizes) + activations_html(*sizes, model.residual_layers, 2)
        return f'<div class="counts">{tables}</div>{overhead_html(timed=False)}'


class Formulas(Plot):
    """The mathematics in one place, every symbol explained."""

    name = "formulas"
    view = "formulas"
    title = "Formulas"
    group = "Formulas"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        return formulas_html()


class Replay(Plot):
    """Recorded runs of the lab, one of which a slider of its own replays."""

    name = "replay"
    view = "lab"
    title = "Lab"
    group = "Training"
    of_experiment = False
    choices = (
        Choice(
            "preset",
            "Preset",
            {PRESETS["fails"].title: "fails"}  # that of the story
            | {each.title: name for name, each in PRESETS.items() if has_runs(name)},
        ),
        Choice(
            "replayed",
            "Seed replayed",
            {"typical": "typical", "most unlike the others": "odd"},
        ),
    )

    def build(self) -> None:
        self.runs = recorded_runs(self.request.preset)
        self.replay = next(r for r in self.runs.replays if r.why == self.request.replayed)
        position = {**self.request.position, ALONG: 1}
        shown = ReplayFigure(self.runs, self.replay, position, layer=2)
        for source, cells in zip(shown.tables, (GAINS, PLAIN), strict=True):
            columns = {name: np.asarray(c, float) for name, c in source.data.items()}
            self.pack(source, [columns], *cells)
        names = ("gain", "loss", "score", "gradient_norm", "layers")
        self.figures = [shown.figures[each] for each in names]
        self.figures += [each.figure for each in shown.matrices]
        last = len(shown.steps)
        marks = [1, *(last * k // 5 for k in range(1, 6))]
        self.sliders = {
            ALONG: {
                "label": "Step of training",
                "start": 1,
                "end": last,
                "marks": marks,
                "of_view": True,
            }
        }

    def legend(self) -> list[words.Entry]:
        entries = swatches(self.runs.connections)
        return [*entries, ("forward", "forward"), ("backward", "backward")]

    def note(self, i: int) -> str:
        return f"{told(self.request.preset)} {rates(self.runs)}"

    def html(self) -> str:
        slider = f'<div class="range" data-name="{ALONG}"></div>'
        # A lecture has room for three.
        plots = '<div class="plot"></div>' * 3 + '<div class="plot beside"></div>' * 4
        return f'<div class="replay">{verdict(self.runs, self.replay)}{slider}</div>{plots}'


class Claims(Plot):
    """What has been written about mHC, and what is true of it."""

    name = "claims"
    view = "claims"
    title = TITLE
    group = "Take home"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        scenes = self.request.scenes
        return claims_html((lambda name: f"{scenes}{name}") if scenes else None)


class Link(Claims):
    """In place of the page's link, which a file does not have: what its reader may have read."""

    name = "link"
    view = "link"
    title = ""  # no door of its own


def _together(surfaces: Sequence[Any]) -> Any:
    """The surfaces of all numbers of streams as one, for an axis that must hold them all."""
    return xr.concat(surfaces, "streams", combine_attrs="drop")

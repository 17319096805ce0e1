"""The views below the dial, one class each; the page finds them in `VIEWS`.

A view is built when it is first opened and follows the experiment only while it is open.  It is
given the explorer, reads its state and surface, and returns what Panel can show.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ..figures import (
    CompositeFigure,
    IterationsFigure,
    LayerAxisFigure,
    LayersFigure,
    MatricesFigure,
    MixingFigure,
    figure8_html,
)
from ..figures.matrices import matrix_columns
from ..figures.mixing import mixing_columns
from ..figures.slices import DRAWN, State, gain_columns, label, recut, table
from ..gains import METRICS
from ..mixing import gaussian_growth
from ..projections import PROJECTIONS
from ..surface import (
    Experiment,
    gain_surface,
    layer_axis_gains,
    layer_gains,
    member_matrices,
    mixing_surface,
)
from .static import CSS

if TYPE_CHECKING:
    from .explorer import Explorer

VIEWS: dict[str, type[View]] = {}
"""Every view by its name, in the order of the tabs."""

TALL = "clamp(300px, calc(100vh - 500px), 1200px)"
"""Height of a plot: what headline, dial and tabs leave of the window, so that nothing scrolls."""

SHIPPED_WHOLE = 4
"""Up to this n all matrices travel to the browser (0.8 MB); above, those at hand."""


Key: TypeAlias = tuple[tuple[str, Any], ...]
"""An experiment's values and the device that computes it, as something to look results up by."""


@lru_cache(maxsize=64)
def surface_of(key: Key) -> xr.Dataset:
    """The gain surface of an experiment, shared by all visitors who look at the same one."""
    return gain_surface(experiment_of(key), device=device_of(key))


@lru_cache(maxsize=64)
def mixing_of(key: Key) -> xr.Dataset:
    """The mixing metrics of an experiment's first network, shared in the same way."""
    return mixing_surface(experiment_of(key))


def experiment_of(key: Key) -> Experiment:
    """The experiment of a key."""
    return Experiment(**{name: value for name, value in key if name != "device"})


def device_of(key: Key) -> str:
    """The device of a key."""
    return dict(key)["device"]


class View:
    """One tab."""

    name: ClassVar[str]
    title: ClassVar[str]
    key: Any = None
    """The experiment that the view shows."""

    def __init_subclass__(cls) -> None:
        VIEWS[cls.name] = cls

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        state = explorer.state
        self.content = self.build(self.compute(state.key(), state.seen()))

    def compute(self, key: Key, seen: State) -> Any:
        """What the view shows beside the gain surface; runs on a thread, and touches no model."""

    def build(self, data: Any) -> Any:
        """The view, for what `compute` gave."""
        raise NotImplementedError

    def complete(self) -> None:
        """Add what can wait until the first picture stands."""

    def update(self, data: Any) -> None:
        """Follow a new experiment."""

    def moved(self) -> None:
        """Depth or iterations have moved; the browser has already drawn what it holds."""

    def figures(self) -> list[figure]:
        """The Bokeh figures of the view."""
        return []

    def cut_anew(self) -> None:
        """Cut the sources that the browser has cut since, for it is about to get ours again."""
        for each in self.figures():
            recut(each, self.explorer.state.seen())


def html(text: str, *css_classes: str) -> pn.pane.HTML:
    """A pane of our own markup; nothing that a visitor typed goes in here."""
    return pn.pane.HTML(
        text,
        stylesheets=[CSS],
        css_classes=list(css_classes),
        sizing_mode="stretch_width",
        margin=0,
    )


def plots(*figures: Any, shares: tuple[int, ...] = (1,), height: str = TALL) -> pn.Row:
    """Figures side by side where there is room, below one another where there is not.

    None keeps the place of one that is to come.
    """
    return pn.Row(
        *(
            pn.Column(
                *([] if figure is None else [plot(figure)]),
                margin=0,
                styles={"flex": f"{share} 1 {260 + 120 * (share > 1)}px", "height": height},
            )
            for figure, share in zip(figures, shares * len(figures), strict=False)
        ),
        stylesheets=[":host { flex-wrap: wrap; }"],
        sizing_mode="stretch_width",
        margin=0,
    )


def plot(figure: Any) -> pn.pane.Bokeh:
    """A figure that fills its place."""
    return pn.pane.Bokeh(figure, sizing_mode="stretch_both", margin=0)


def legend(entries: list[tuple[str, str]]) -> str:
    """(class of the swatch, text) -> a legend that wraps on a phone."""
    return (
        '<ul class="legend">'
        + "".join(f'<li><span class="swatch {mark}"></span>{text}</li>' for mark, text in entries)
        + "</ul>"
    )


def _lines(explorer: Explorer) -> list[tuple[str, str]]:
    return [
        ("hc", "HC, unconstrained"),
        ("projected", PROJECTIONS[explorer.state.projection].title),
        ("identity", "identity: gain 1"),
        ("forward", "forward"),
        ("backward", "backward"),
    ]


def _ensemble(explorer: Explorer) -> str:
    members = explorer.state.members
    return "one network" if members == 1 else f"median and 5–95 % of {members} networks"


class CompositeView(View):
    """Composite gain against depth, and against iterations at the chosen depth."""

    name = "composite"
    title = "Composite gain"

    def build(self, data: Any) -> Any:
        explorer = self.explorer
        self.cliff: IterationsFigure | None = None
        self.main = CompositeFigure(explorer.surface, explorer.table, explorer.state.seen())
        self.plots = plots(self.main.figure, None, shares=(2, 1))
        self.legend = html("")
        self.note = html("", "note")
        self._describe()
        return pn.Column(
            self.legend,
            self.plots,
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def complete(self) -> None:
        explorer = self.explorer
        self.cliff = IterationsFigure(
            explorer.surface, explorer.table, explorer.state.seen(), self.main.y_range
        )
        self.plots[1].append(plot(self.cliff.figure))

    def figures(self) -> list[figure]:
        return [each.figure for each in (self.main, self.cliff) if each is not None]

    def update(self, data: Any) -> None:
        self.main.update(self.explorer.surface)
        self._describe()

    def _describe(self) -> None:
        entries = [*_lines(self.explorer), ("band", _ensemble(self.explorer))]
        has_theory = bool(self.explorer.surface["expected_log10_gain"].notnull().any())
        if has_theory:
            entries.append(("theory", "theory of HC (exact mean)"))
        self.legend.object = legend(entries)
        self.note.object = f"<p>{_growth_sentence(self.explorer)} {_note(self.explorer)}</p>"


def _growth_sentence(explorer: Explorer) -> str:
    """What theory says of the unconstrained line, for the init that has a theory."""
    state = explorer.state
    if state.init != "gaussian" or state.spread == 0:
        return ""
    rate, deviation = gaussian_growth(state.streams, state.spread)
    pace = abs(rate)
    what = (
        "barely moves"
        if pace < 0.04
        else (
            ("explodes" if rate > 0 else "vanishes")
            if pace > 0.1
            else ("grows" if rate > 0 else "shrinks")
        )
    )
    return (
        f"<b>At n = {state.streams} and spread {state.spread:g} unconstrained mixing {what}</b>: "
        f"{rate:+.3f} decades per layer, ± {deviation:.3f} per √layer over seeds "
        "(top Lyapunov exponent of Gaussian products; Newman 1986).".replace("-", "−")
    )


def _note(explorer: Explorer) -> str:
    chosen = PROJECTIONS[explorer.state.projection]
    return f"<b>{chosen.title}</b>: {chosen.note}"


class LayersView(View):
    """Gains of the single layers."""

    name = "layers"
    title = "Single layers"

    def compute(self, key: Key, seen: State) -> xr.DataArray:
        return layer_gains(experiment_of(key), device=device_of(key))

    def build(self, data: xr.DataArray) -> Any:
        self.table = table(
            gain_columns(data, ("member", *DRAWN)), data["iterations"].values, data["layer"].values
        )
        self.plot = LayersFigure(data, self.table, self.explorer.state.seen())
        self.legend = html("")
        self.note = html("", "note")
        self._describe(data)
        return pn.Column(
            self.legend, plots(self.plot.figure), self.note, sizing_mode="stretch_width", margin=0
        )

    def _describe(self, data: xr.DataArray) -> None:
        self.legend.object = legend([*_lines(self.explorer), ("band", _ensemble(self.explorer))])
        typical = 10 ** float(data.sel(iterations=0, series="median").mean())
        self.note.object = (
            f"<p>The gain of one layer of HC is typically {typical:.3g}: it is the product of all "
            "layers that counts. Dots are the layers of the first network, lines the ensemble’s "
            "median of each layer.</p>"
        )

    def figures(self) -> list[figure]:
        return [self.plot.figure]

    def update(self, data: xr.DataArray) -> None:
        self.table.data = gain_columns(data, ("member", *DRAWN))
        self.plot.update(data)
        self._describe(data)


class LayerAxisView(View):
    """The paper's axes: gain against the layer of one network."""

    name = "layer-axis"
    title = "Paper’s axes"

    def compute(self, key: Key, seen: State) -> xr.DataArray:
        return layer_axis_gains(
            experiment_of(key), depth=seen["depth"], direction="backward", device=device_of(key)
        )

    def build(self, data: xr.DataArray) -> Any:
        explorer = self.explorer
        self.backward = table({}, [0], [1])
        self._hold(data)
        self.plot = LayerAxisFigure(
            explorer.surface, explorer.table, self.backward, explorer.state.seen()
        )
        self.legend = html("")
        self._describe()
        note = html(
            "<p>As in the paper’s Figures 3b and 7b: one network of L layers (the Depth slider). "
            "Forward at layer l is the product of layers 1 … l; backward at layer l is the product "
            "from the last layer L down to l, the gain of a gradient on its way back.</p>",
            "note",
        )
        return pn.Column(
            self.legend, plots(self.plot.figure), note, sizing_mode="stretch_width", margin=0
        )

    def _hold(self, data: xr.DataArray) -> None:
        label(self.backward, data["iterations"].values, data["layer"].values)
        self.backward.data = gain_columns(data)
        self.depth = data.sizes["layer"]

    def _describe(self) -> None:
        self.legend.object = legend([*_lines(self.explorer), ("band", _ensemble(self.explorer))])

    def figures(self) -> list[figure]:
        return [self.plot.figure]

    def update(self, data: xr.DataArray) -> None:
        self._hold(data)
        self.plot.update(self.explorer.surface)
        self._describe()
        self.moved()  # the depth may have moved since

    def moved(self) -> None:
        state = self.explorer.state
        if self.depth != state.depth:
            self._hold(self.compute(state.key(), state.seen()))


class MatricesView(View):
    """The matrices themselves."""

    name = "matrices"
    title = "Matrices"

    def compute(self, key: Key, seen: State) -> tuple[xr.Dataset, xr.Dataset]:
        experiment = experiment_of(key)
        if experiment.streams <= SHIPPED_WHOLE:
            matrices = member_matrices(experiment)
        else:
            iterations = {0, seen["iterations"]}
            matrices = member_matrices(experiment, depth=seen["depth"], iterations=iterations)
            matrices = matrices.isel(depth=[-1])
        return matrices, mixing_of(key)

    def build(self, data: tuple[xr.Dataset, xr.Dataset]) -> Any:
        self.streams = 0
        self.heatmaps: list[figure] = []
        self.table = table({}, [0], [1])
        self.plots = pn.Column(sizing_mode="stretch_width", margin=0)
        self.metrics = html("", "note")
        self.update(data)
        note = html(
            "<p>The first network of the ensemble: the layer at the chosen depth, and the product "
            "of all layers up to it. Σ at the right is the row sum (forward gain of that row), Σ "
            "below the column sum (backward gain). A factor such as 10¹⁵ in the corner applies to "
            "the whole matrix. Colour is relative to the largest entry, but at least to 4/n "
            "(1 up to n = 4).</p>",
            "note",
        )
        return pn.Column(self.metrics, self.plots, note, sizing_mode="stretch_width", margin=0)

    def _hold(self, matrices: xr.Dataset) -> None:
        width = (matrices.sizes["row"] + 1) ** 2
        label(self.table, matrices["iterations"].values, matrices["depth"].values, width)
        self.table.data = matrix_columns(matrices)

    def _describe(self) -> None:
        state = self.explorer.state
        here = self.mixing.sel(iterations=state.iterations, depth=state.depth)
        if not PROJECTIONS[state.projection].bounded:
            text = "Nothing bounds this composite, so there is no mixing to measure."
        elif state.iterations == 0:
            text = "Mixing is measured on projected composites: turn the dial to 1 or more."
        else:
            # Three decimals: the rounding that is left at 1e-16 reads as zero.
            text = "Projected composite: " + " · ".join(
                f'<span title="{metric.note}">{metric.title.lower()} '
                f"<b>{float(here[name]):.3f}</b></span>"
                for name, metric in METRICS.items()
            )
        self.metrics.object = f"<p>{text}</p>"

    def figures(self) -> list[figure]:
        return self.heatmaps

    def update(self, data: tuple[xr.Dataset, xr.Dataset]) -> None:
        matrices, self.mixing = data
        self._hold(matrices)
        self._describe()
        if self.streams != matrices.sizes["row"]:
            self.streams = matrices.sizes["row"]
            drawn = MatricesFigure(self.streams, self.table, self.explorer.state.seen())
            self.heatmaps = drawn.figures
            self.plots[:] = [plots(*self.heatmaps, height="clamp(300px, 26vw, 460px)")]

    def moved(self) -> None:
        state = self.explorer.state
        if state.streams > SHIPPED_WHOLE:
            self._hold(self.compute(state.key(), state.seen())[0])
        self._describe()


class MixingView(View):
    """The price of stability."""

    name = "mixing"
    title = "Mixing"

    def compute(self, key: Key, seen: State) -> xr.Dataset:
        return mixing_of(key)

    def build(self, data: xr.Dataset) -> Any:
        self.table = table(mixing_columns(data), data["iterations"].values, data["depth"].values)
        self.plot = MixingFigure(data, self.table, self.explorer.state.seen())
        note = html(
            "<p>The price of stability (the paper calls it mixing). A product of doubly "
            "stochastic matrices drifts towards the uniform matrix 1/n; a product that is "
            "stochastic in one direction only, towards equal rows or equal columns: the streams "
            "become alike. Shown for the projected composite of the first network; at 0 "
            "iterations, and for projections that bound nothing, there is nothing to show.</p>",
            "note",
        )
        marks = legend(
            [
                ("projected", METRICS["second_singular_value"].title),
                ("uniform", METRICS["uniform_distance"].title),
                ("disagreement", METRICS["stream_disagreement"].title),
            ]
        )
        return pn.Column(
            html(marks),
            plots(self.plot.figure),
            note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        return [self.plot.figure]

    def update(self, data: xr.Dataset) -> None:
        self.table.data = mixing_columns(data)
        self.plot.update(data)


class Figure8View(View):
    """The 27B model's own matrices."""

    name = "figure8"
    title = "27B model (Figure 8)"

    def build(self, data: Any) -> Any:
        return html(figure8_html())

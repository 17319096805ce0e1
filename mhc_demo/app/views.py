"""The views below the dial, one class each; the page finds them in `VIEWS`.

A view is built when it is first opened and follows the experiment only while it is open.  It is
given the explorer, reads its state and surface, and returns what Panel can show.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import panel as pn
import xarray as xr

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
from ..figures.slices import DRAWN, gain_columns, label, table
from ..gains import METRICS
from ..mixing import gaussian_growth
from ..projections import PROJECTIONS
from ..surface import (
    MAX_DEPTH,
    MAX_ITERATIONS,
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


@lru_cache(maxsize=64)
def surface_of(values: tuple[tuple[str, Any], ...]) -> xr.Dataset:
    """The gain surface of an experiment, shared by all visitors who look at the same one."""
    return gain_surface(Experiment(**dict(values)))


class View:
    """One tab."""

    name: ClassVar[str]
    title: ClassVar[str]
    shown: Any = None
    """The experiment that the view shows."""

    def __init_subclass__(cls) -> None:
        VIEWS[cls.name] = cls

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.content = self.build()

    def build(self) -> Any:
        """The view, for the present experiment."""
        raise NotImplementedError

    def complete(self) -> None:
        """Add what can wait until the first picture stands."""

    def update(self) -> None:
        """Follow a new experiment."""

    def moved(self) -> None:
        """Depth or iterations have moved; the browser has already drawn what it holds."""


def html(text: str, name: str, **params: Any) -> pn.pane.HTML:
    """A pane of our own markup; nothing that a visitor typed goes in here."""
    return pn.pane.HTML(
        text, stylesheets=[CSS], css_classes=[name], sizing_mode="stretch_width", margin=0, **params
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

    def build(self) -> Any:
        explorer = self.explorer
        self.main = CompositeFigure(explorer.surface, explorer.table, explorer.state.seen())
        self.plots = plots(self.main.figure, None, shares=(2, 1))
        self.legend = html("", "legend-pane")
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
        cliff = IterationsFigure(
            explorer.surface, explorer.table, explorer.state.seen(), self.main.y_range
        )
        self.plots[1].append(plot(cliff.figure))

    def update(self) -> None:
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
    over = rate * MAX_DEPTH
    what = "explodes" if over > 6 else "vanishes" if over < -6 else "barely moves"
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

    def build(self) -> Any:
        explorer = self.explorer
        gains = layer_gains(explorer.state.experiment())
        self.table = table(
            gain_columns(gains, ("member", *DRAWN)),
            gains["iterations"].values,
            gains["layer"].values,
        )
        self.figure = LayersFigure(gains, self.table, explorer.state.seen())
        self.legend = html("", "legend-pane")
        self._describe()
        note = html(
            "<p>One layer at a time nothing looks wrong: the dots are the layers of the first "
            "network, the lines the ensemble’s median. What counts is the product of all of "
            "them.</p>",
            "note",
        )
        return pn.Column(
            self.legend, plots(self.figure.figure), note, sizing_mode="stretch_width", margin=0
        )

    def _describe(self) -> None:
        self.legend.object = legend([*_lines(self.explorer), ("band", _ensemble(self.explorer))])

    def update(self) -> None:
        gains = layer_gains(self.explorer.state.experiment())
        self.table.data = gain_columns(gains, ("member", *DRAWN))
        self.figure.update(gains)
        self._describe()


class LayerAxisView(View):
    """The paper's axes: gain against the layer of one network."""

    name = "layer-axis"
    title = "Paper’s axes"

    def build(self) -> Any:
        explorer = self.explorer
        self.depth = 0
        self.backward = table({}, [0], [1])
        self._fetch()
        self.figure = LayerAxisFigure(
            explorer.surface, explorer.table, self.backward, explorer.state.seen()
        )
        self.legend = html("", "legend-pane")
        self._describe()
        note = html(
            "<p>As in the paper’s Figures 3b and 7b: one network of L layers (the Depth slider). "
            "Forward at layer l is the product of layers 1 … l; backward at layer l is the product "
            "from the last layer L down to l, the gain of a gradient on its way back.</p>",
            "note",
        )
        return pn.Column(
            self.legend, plots(self.figure.figure), note, sizing_mode="stretch_width", margin=0
        )

    def _fetch(self) -> None:
        state = self.explorer.state
        gains = layer_axis_gains(state.experiment(), depth=state.depth).sel(direction=["backward"])
        label(self.backward, gains["iterations"].values, gains["layer"].values)
        self.backward.data = gain_columns(gains)
        self.depth = state.depth

    def _describe(self) -> None:
        self.legend.object = legend([*_lines(self.explorer), ("band", _ensemble(self.explorer))])

    def update(self) -> None:
        self._fetch()
        self.figure.update(self.explorer.surface)
        self._describe()

    def moved(self) -> None:
        if self.depth != self.explorer.state.depth:
            self._fetch()


class MatricesView(View):
    """The matrices themselves."""

    name = "matrices"
    title = "Matrices"

    def build(self) -> Any:
        self.table = table({}, [0], [1])
        self.plots = pn.Column(sizing_mode="stretch_width", margin=0)
        self.metrics = html("", "note")
        self.update()
        note = html(
            "<p>The first network of the ensemble: the layer at the chosen depth, and the product "
            "of all layers up to it. Σ at the right is the row sum (forward gain of that row), Σ "
            "below the column sum (backward gain). A factor such as 10¹⁵ in the corner applies to "
            "the whole matrix. Colour is relative to the largest entry, or to 4/n if that is "
            "smaller.</p>",
            "note",
        )
        return pn.Column(self.metrics, self.plots, note, sizing_mode="stretch_width", margin=0)

    def _fetch(self) -> None:
        state = self.explorer.state
        iterations: Iterable[int]
        if state.streams <= SHIPPED_WHOLE:
            iterations, depths = range(MAX_ITERATIONS + 1), slice(None)
        else:
            iterations, depths = {0, state.iterations}, slice(state.depth - 1, state.depth)
        matrices = member_matrices(state.experiment(), depth=MAX_DEPTH, iterations=iterations).isel(
            depth=depths
        )
        label(
            self.table,
            matrices["iterations"].values,
            matrices["depth"].values,
            (state.streams + 1) ** 2,
        )
        self.table.data = matrix_columns(matrices)

    def _measure(self) -> None:
        state = self.explorer.state
        self.mixing = mixing_surface(state.experiment())
        self._describe()

    def _describe(self) -> None:
        state = self.explorer.state
        here = self.mixing.sel(iterations=state.iterations, depth=state.depth)
        if bool(here["uniform_distance"].isnull()):
            text = "Mixing is measured on projected composites: turn the dial to 1 or more."
            if not PROJECTIONS[state.projection].bounded:
                text = "Nothing bounds this composite, so there is no mixing to measure."
        else:
            # Below a millionth what is left is rounding, and reads as zero.
            text = " · ".join(
                f"{METRICS[name].title.lower()} <b>{float(here[name]):.3f}</b>" for name in METRICS
            )
            text = f"Projected composite: {text}"
        self.metrics.object = f"<p>{text}</p>"

    def update(self) -> None:
        state = self.explorer.state
        self._fetch()
        self._measure()
        if getattr(self, "streams", None) != state.streams:
            self.streams = state.streams
            figures = MatricesFigure(state.streams, self.table, state.seen()).figures
            self.plots[:] = [plots(*figures, height="clamp(300px, 26vw, 460px)")]

    def moved(self) -> None:
        if self.explorer.state.streams > SHIPPED_WHOLE:
            self._fetch()
        self._describe()


class MixingView(View):
    """The price of stability."""

    name = "mixing"
    title = "Mixing"

    def build(self) -> Any:
        mixing = mixing_surface(self.explorer.state.experiment())
        self.table = table(
            mixing_columns(mixing), mixing["iterations"].values, mixing["depth"].values
        )
        self.figure = MixingFigure(mixing, self.table, self.explorer.state.seen())
        note = html(
            "<p>The price of stability (the paper calls it mixing): a product of doubly "
            "stochastic matrices drifts towards the uniform matrix 1/n, and the streams become "
            "alike. Shown for the projected composite of the first network; at 0 iterations, and "
            "for projections that bound nothing, there is nothing to show.</p>",
            "note",
        )
        marks = legend(
            [
                ("projected", METRICS["second_singular_value"].title),
                ("hc-dashed", METRICS["uniform_distance"].title),
                ("disagreement", METRICS["stream_disagreement"].title),
            ]
        )
        return pn.Column(
            html(marks, "legend-pane"),
            plots(self.figure.figure),
            note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def update(self) -> None:
        mixing = mixing_surface(self.explorer.state.experiment())
        self.table.data = mixing_columns(mixing)
        self.figure.update(mixing)


class Figure8View(View):
    """The 27B model's own matrices."""

    name = "figure8"
    title = "27B model (Figure 8)"

    def build(self) -> Any:
        return html(figure8_html(), "figure8")

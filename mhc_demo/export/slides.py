"""The paper's figures as pictures for a slide: the page's plots, standing still.

The words around a plot are part of the picture, in type for the last row.  A picture is drawn for
one depth and one count of iterations, and holds no other numbers.  To add one, write a function
under `@slide(...)`: the command line finds it in `SLIDES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    GridBox,
    Line,
    Range1d,
    Text,
)
from bokeh.plotting import figure
from bokeh.themes import Theme

from ..figures import style, words
from ..figures.composite import CompositeFigure, IterationsFigure
from ..figures.curves import NETWORKS, Network
from ..figures.figure8 import figure8_plots
from ..figures.layers import LayerAxisFigure, LayersFigure
from ..figures.slices import PLOTTED, gain_columns, table
from ..numerics.gains import DIRECTIONS
from ..numerics.numbers import in_label
from ..numerics.paper import FIGURE_8_TITLES, figure8_source
from ..numerics.projections import PAPER_ITERATIONS, PROJECTIONS
from ..numerics.surface import Experiment, Progress, gain_surface, layer_axis_gains, layer_gains

PAPER_LAYERS = 60
"""Residual layers of the paper's 27B model (section 3.1)."""

Swatch = tuple[str, str, str | list[int]]
"""A line of a legend: text, colour, dash."""


@dataclass(frozen=True)
class SlideRequest:
    """What a picture is to show, and on which device it is computed."""

    experiment: Experiment
    depth: int
    iterations: int
    device: str = "numpy"
    progress: Progress | None = None
    dark: bool = False

    def position(self) -> dict[str, int]:
        """Where the sliders would be."""
        return {"depth": self.depth, "iterations": self.iterations}


@dataclass(frozen=True)
class Picture:
    """Plots in rows, below a title and a legend."""

    title: str
    subtitle: Sequence[str]
    """Lines below the title."""
    plots: Sequence[Sequence[figure]]
    """In rows."""
    legend: Sequence[Swatch] = ()
    shares: Sequence[int] = ()
    """Widths of the columns to one another; equal if empty."""


@dataclass(frozen=True)
class Slide:
    """A figure of the registry."""

    draw: Callable[[SlideRequest], Picture]
    summary: str
    depth: int
    iterations: int
    """The default."""
    passes: int
    """How many times the ensemble is measured, for a progress bar."""


SLIDES: dict[str, Slide] = {}
"""Every figure by its name."""


def slide(
    depth: int, iterations: int, passes: int
) -> Callable[[Callable[[SlideRequest], Picture]], Callable[[SlideRequest], Picture]]:
    """Register a figure under its function's name; its docstring is the command line's help."""

    def register(draw: Callable[[SlideRequest], Picture]) -> Callable[[SlideRequest], Picture]:
        SLIDES[draw.__name__] = Slide(draw, draw.__doc__ or "", depth, iterations, passes)
        return draw

    return register


@slide(depth=64, iterations=1, passes=1)
def dial(request: SlideRequest) -> Picture:
    """The composite gain against depth, and against iterations at that depth"""
    experiment, position = request.experiment, request.position()
    surface = gain_surface(experiment, device=request.device, progress=request.progress)
    gains = surface["log10_gain"]
    source = table(gain_columns(gains), gains["iterations"].values, gains["depth"].values)
    composite = CompositeFigure(surface, source, position)
    iterations = IterationsFigure(surface, source, position, composite.y_range)
    here = gains.sel(depth=request.depth, series="median").max("direction")
    hc, projected = (float(here.sel(iterations=t)) for t in (0, request.iterations))
    entries = [*words.lines(experiment, request.iterations), *words.theory(surface)]
    title = f"Composite gain of {_counted(request.depth, 'layer')}: {in_label(hc)}"
    which = "HC"
    if request.iterations:
        title += f" → {in_label(projected)}"
        which += f" → {_projection(request)}"
    iterations.figure.xaxis.ticker = [0, 10, 20, 30]
    iterations.figure.yaxis.axis_label = f"Gain of {_counted(request.depth, 'layer')}"
    legend = [(text, *LINES[mark]) for mark, text in entries if mark in LINES]
    return Picture(
        title,
        [
            f"{which}, random matrices; the larger of the forward and backward medians",
            _matrices(experiment),
        ],
        [[composite.figure, iterations.figure]],
        legend,
        (2, 1),
    )


@slide(depth=PAPER_LAYERS, iterations=0, passes=2)
def fig3(request: SlideRequest) -> Picture:
    """HC's gains against the layer, of single layers and of composites, as in Figure 3"""
    return _along_layers(request, 0, NETWORKS[0], "HC", "Figure 3")


@slide(depth=PAPER_LAYERS, iterations=PAPER_ITERATIONS, passes=2)
def fig7(request: SlideRequest) -> Picture:
    """The same gains of the projected matrices, as in Figure 7 (mHC)"""
    return _along_layers(request, request.iterations, NETWORKS[1], _projection(request), "Figure 7")


@slide(depth=PAPER_LAYERS, iterations=PAPER_ITERATIONS, passes=0)
def fig8(request: SlideRequest) -> Picture:
    """Matrices of the paper's 27B model with their sums, as in Figure 8; no experiment"""
    plots = figure8_plots(request.dark)
    names = list(FIGURE_8_TITLES)  # three layers, three composites
    return Picture(
        "Mixing matrices of a trained 27B model",
        ["In bold the row sums (forward gain) and column sums (backward gain)", _source()],
        [
            [plots[method, key] for method in ("hc", "mhc") for key in (layer, composite)]
            for layer, composite in zip(names[:3], names[3:], strict=True)
        ],
    )


def _along_layers(
    request: SlideRequest, iterations: int, network: Network, name: str, where: str
) -> Picture:
    experiment = request.experiment
    position = {"depth": request.depth, "iterations": iterations}
    single, composite = (
        measure(
            experiment,
            depth=request.depth,
            iterations=iterations,
            device=request.device,
            progress=request.progress,
        ).sel(iterations=[iterations])
        for measure in (layer_gains, layer_axis_gains)
    )
    source = _table(single, ("member", *PLOTTED))
    first = LayersFigure(single, source, position, [network]).figure
    source = _table(composite)
    surface = composite.rename(layer="depth").to_dataset(name="log10_gain")
    second = LayerAxisFigure(surface, source, source, position, [network]).figure
    second.y_range.update(**dict(zip(("start", "end"), _range(composite), strict=True)))
    step = next(step for step in (1, 2, 5, 10, 20) if request.depth <= 7 * step)
    for p, title in ((first, "(a) Single layer (dots: one network)"), (second, "(b) Composite")):
        p.title.text = title
        p.x_range.end = request.depth + 0.5
        p.center = [each for each in p.center if not isinstance(each, BoxAnnotation)]
        p.xaxis.ticker = [1, *range(step, request.depth + 1, step)]
        p.xaxis.axis_label = "Layer index l"
        p.yaxis.axis_label = "Amax gain magnitude"
    legend = [
        (text, network.colour, style.DASH[direction])
        for direction, text in zip(DIRECTIONS, ("forward signal", "backward gradient"), strict=True)
    ]
    return Picture(
        f"{name}: gains of {_counted(request.depth, 'layer')}",
        [
            f"In the manner of {where} of the mHC paper, but not its 27B model: random matrices",
            _matrices(experiment),
        ],
        [[first, second]],
        legend,
    )


def _table(gains: xr.DataArray, series: Iterable[str] = PLOTTED) -> ColumnDataSource:
    return table(gain_columns(gains, series), gains["iterations"].values, gains["layer"].values)


def _range(gains: xr.DataArray) -> tuple[float, float]:
    return style.span_of(gains.sel(series=["q05", "q95"]).values, least=0.35)


LINES: dict[str, tuple[str, str | list[int]]] = {
    "hc": (style.HC, "solid"),
    "projected": (style.PROJECTED, "solid"),
    "forward": (style.SHADE, style.DASH["forward"]),
    "backward": (style.SHADE, style.DASH["backward"]),
    "theory": (style.THEORY, [3, 3]),
}


def _matrices(experiment: Experiment) -> str:
    """How the matrices are sampled, and of how many networks."""
    band = next(text for mark, text in words.lines(experiment, 1) if mark == "band")
    norm = "" if experiment.definition == "paper" else ", induced norm"
    return (
        f"{experiment.streams} streams, {words.drawn(experiment)}, seed {experiment.seed}; "
        f"{band}{norm}"
    )


def _projection(request: SlideRequest) -> str:
    chosen = PROJECTIONS[request.experiment.projection]
    if not chosen.iterative:
        return chosen.title
    return f"{_counted(request.iterations, 'iteration')} of {chosen.title}"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _source() -> str:
    return figure8_source().partition(" (")[0]


# ---- the page of a picture -----------------------------------------------------------------

WIDTH, HEIGHT = 1280, 720
"""The size that the type is made for; a picture of other proportions is wider or higher."""


def laid_out(picture: Picture, width: int, height: int, dark: bool) -> GridBox:
    """One picture of `width` x `height` pixels, at least `WIDTH` x `HEIGHT`."""
    columns = max(map(len, picture.plots))
    head = _heading(picture, width, dark)
    cells = [(head, 0, 0, 1, columns)]
    for row, plots in enumerate(picture.plots, 1):
        cells += [(p, row, column, 1, 1) for column, p in enumerate(plots)]
        for p in plots:
            p.min_height = 0
            if columns < 3:
                style.set_type(p, 1)
    layout = GridBox(
        children=cells,
        rows=[f"{head.height}px"] + ["1fr"] * len(picture.plots),
        cols=[f"{share}fr" for share in picture.shares or [1] * columns],
        width=width,
        height=height,
        sizing_mode="fixed",
        styles={"background-color": background(dark)},
    )
    for model in layout.references():  # rules for sliders, which hold whole tables
        model.tags = []
    return layout


TITLE, SUBTITLE, LEGEND = 34, 22, 20
"""Pixels of type."""

SWATCH = 32
"""Pixels of a line in the legend."""


def _heading(picture: Picture, width: int, dark: bool) -> figure:
    edge = 24
    lines = [picture.title, *picture.subtitle]
    sizes = [TITLE] + [SUBTITLE] * len(picture.subtitle)
    baselines = np.cumsum([1.4 * size for size in sizes])
    legend = 40 if picture.legend else 0
    height = round(baselines[-1]) + 14 + legend
    p = figure(
        width=width,
        height=height,
        sizing_mode="fixed",
        x_range=Range1d(0, width),
        y_range=Range1d(height, 0),
        toolbar_location=None,
        tools="",
        min_border=0,
        frame_align=False,
        outline_line_color=None,
        background_fill_alpha=0,
    )
    p.axis.visible = False
    p.grid.visible = False
    source = ColumnDataSource(
        {
            "x": [edge] * len(lines),
            "y": baselines,
            "text": lines,
            "size": [f"{size}px" for size in sizes],
            "style": ["bold"] + ["normal"] * len(picture.subtitle),
        }
    )
    text = Text(
        x="x",
        y="y",
        text="text",
        text_font_size={"field": "size"},
        text_font_style={"field": "style"},
        text_color=style.ink(dark),
    )
    style.draw(p, source, text)
    x = float(edge)  # not Bokeh's Legend, whose lines are pixels even in an SVG
    for name, colour, dash in picture.legend:
        y = height - 0.7 * LEGEND
        line = ColumnDataSource({"x": [x, x + SWATCH], "y": [y, y]})
        style.draw(p, line, Line(line_color=colour, line_dash=dash, line_width=4))
        word = ColumnDataSource({"x": [x + SWATCH + 6], "y": [y], "text": [name]})
        look = {"text_font_size": f"{LEGEND}px", "text_color": style.ink(dark)}
        style.draw(p, word, Text(text_baseline="middle", **look))
        x += SWATCH + 26 + 0.53 * LEGEND * len(name)  # about the width of the words
    return p


def background(dark: bool) -> str:
    """The colour behind a picture."""
    return style.INK["light"] if dark else "#ffffff"


def theme(dark: bool) -> Theme:
    """The colours of axes, grids and titles."""
    ink = style.ink(dark)
    return Theme(
        json={
            "attrs": {
                "Axis": {
                    "axis_line_color": style.SHADE,
                    "axis_label_text_color": ink,
                    "axis_label_text_font_style": "normal",
                    "major_label_text_color": ink,
                },
                "Grid": {"grid_line_color": style.SHADE, "grid_line_alpha": 0.25},
                "Title": {"text_color": ink},
            }
        }
    )

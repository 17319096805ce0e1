"""The paper-style figures as pictures for a slide: the same plots, standing still.

What the page says around its plots stands inside the picture here, in type for the last row.  A
figure is drawn for one depth and one count of iterations, and holds no more than what it shows.
To add one, write a function under `@slide(...)`: the command line finds it in `SLIDES`.
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
from ..figures.slices import DRAWN, gain_columns, table
from ..numerics.gains import DIRECTIONS
from ..numerics.paper import FIGURE_8_TITLES, figure8_source
from ..numerics.projections import PAPER_ITERATIONS, PROJECTIONS
from ..numerics.surface import Experiment, Progress, gain_surface, layer_axis_gains, layer_gains

PAPER_LAYERS = 60
"""Residual layers of the paper's 27B model (section 3.1)."""

Swatch = tuple[str, str, str | list[int]]
"""Of a legend: text, colour, dash."""


@dataclass(frozen=True)
class Asked:
    """What a picture is to show, and what computes it."""

    experiment: Experiment
    depth: int
    iterations: int
    device: str = "numpy"
    progress: Progress | None = None
    dark: bool = False

    def seen(self) -> dict[str, int]:
        """The state that the plots show."""
        return {"depth": self.depth, "iterations": self.iterations}


@dataclass(frozen=True)
class Picture:
    """Plots in rows below what is said of them."""

    title: str
    said: Sequence[str]
    """Lines below the title."""
    plots: Sequence[Sequence[figure]]
    """In rows."""
    legend: Sequence[Swatch] = ()
    shares: Sequence[int] = ()
    """Widths of the columns to one another; equal if empty."""


@dataclass(frozen=True)
class Slide:
    """A figure of the registry."""

    draw: Callable[[Asked], Picture]
    summary: str
    depth: int
    iterations: int
    """What it shows if nothing else is asked for."""
    passes: int
    """How often it measures the ensemble."""


SLIDES: dict[str, Slide] = {}
"""Every figure by its name."""


def slide(
    depth: int, iterations: int, passes: int
) -> Callable[[Callable[[Asked], Picture]], Callable[[Asked], Picture]]:
    """Register a figure under its function's name; its docstring is what the help says."""

    def register(draw: Callable[[Asked], Picture]) -> Callable[[Asked], Picture]:
        SLIDES[draw.__name__] = Slide(draw, draw.__doc__ or "", depth, iterations, passes)
        return draw

    return register


@slide(depth=64, iterations=1, passes=1)
def dial(asked: Asked) -> Picture:
    """The composite gain against depth, and against iterations at that depth"""
    experiment, seen = asked.experiment, asked.seen()
    surface = gain_surface(experiment, device=asked.device, progress=asked.progress)
    gains = surface["log10_gain"]
    held = table(gain_columns(gains), gains["iterations"].values, gains["depth"].values)
    composite = CompositeFigure(surface, held, seen)
    iterations = IterationsFigure(surface, held, seen, composite.y_range)
    here = gains.sel(depth=asked.depth, series="median").max("direction")
    entries = [*words.lines(experiment, asked.iterations), *words.theory(surface)]
    title = f"Composite gain of {_counted(asked.depth, 'layer')}: {_gain(here.sel(iterations=0))}"
    which = "HC"
    if asked.iterations:
        title += f" → {_gain(here.sel(iterations=asked.iterations))}"
        which += f" → {_projection(asked)}"
    iterations.figure.xaxis.ticker = [0, 10, 20, 30]
    iterations.figure.yaxis.axis_label = f"Gain of {_counted(asked.depth, 'layer')}"
    legend = [(text, *LINES[mark]) for mark, text in entries if mark in LINES]
    return Picture(
        title,
        [
            f"{which}, random matrices; the larger of the forward and backward medians",
            _drawn(experiment),
        ],
        [[composite.figure, iterations.figure]],
        legend,
        (2, 1),
    )


@slide(depth=PAPER_LAYERS, iterations=0, passes=2)
def fig3(asked: Asked) -> Picture:
    """HC's gains against the layer, of single layers and of composites, as in Figure 3"""
    return _along_layers(asked, 0, NETWORKS[0], "HC", "Figure 3")


@slide(depth=PAPER_LAYERS, iterations=PAPER_ITERATIONS, passes=2)
def fig7(asked: Asked) -> Picture:
    """The same of what is projected, as in Figure 7 (mHC)"""
    return _along_layers(asked, asked.iterations, NETWORKS[1], _projection(asked), "Figure 7")


@slide(depth=PAPER_LAYERS, iterations=PAPER_ITERATIONS, passes=0)
def fig8(asked: Asked) -> Picture:
    """Matrices of the paper's 27B model with their sums, as in Figure 8; no experiment's"""
    plots = figure8_plots(style.ink(asked.dark))
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
    asked: Asked, iterations: int, network: Network, name: str, where: str
) -> Picture:
    experiment = asked.experiment
    seen = {"depth": asked.depth, "iterations": iterations}
    single, composite = (
        measure(
            experiment,
            depth=asked.depth,
            iterations=iterations,
            device=asked.device,
            progress=asked.progress,
        ).sel(iterations=[iterations])
        for measure in (layer_gains, layer_axis_gains)
    )
    first = LayersFigure(single, _held(single, ("member", *DRAWN)), seen, [network]).figure
    held, surface = _held(composite), composite.rename(layer="depth").to_dataset(name="log10_gain")
    second = LayerAxisFigure(surface, held, held, seen, [network]).figure
    second.y_range.update(**dict(zip(("start", "end"), _range(composite), strict=True)))
    style.fit_ticks(second)
    step = next(step for step in (1, 2, 5, 10, 20) if asked.depth <= 7 * step)
    for p, title in ((first, "(a) Single layer (dots: one network)"), (second, "(b) Composite")):
        p.title.text = title
        p.x_range.end = asked.depth + 0.5
        p.center = [each for each in p.center if not isinstance(each, BoxAnnotation)]
        p.xaxis.ticker = [1, *range(step, asked.depth + 1, step)]
        p.xaxis.axis_label = "Layer index l"
        p.yaxis.axis_label = "Amax gain magnitude"
    legend = [
        (text, network.colour, style.DASH[direction])
        for direction, text in zip(DIRECTIONS, ("forward signal", "backward gradient"), strict=True)
    ]
    return Picture(
        f"{name}: gains of {_counted(asked.depth, 'layer')}",
        [
            f"In the manner of {where} of the mHC paper, but not its 27B model: random matrices",
            _drawn(experiment),
        ],
        [[first, second]],
        legend,
    )


def _held(gains: xr.DataArray, series: Iterable[str] = DRAWN) -> ColumnDataSource:
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


def _drawn(experiment: Experiment) -> str:
    """How the matrices are drawn, and how many networks of them."""
    band = next(text for mark, text in words.lines(experiment, 1) if mark == "band")
    init = experiment.param.init.names or {}
    title = next((t for t, name in init.items() if name == experiment.init), experiment.init)
    norm = "" if experiment.definition == "paper" else ", induced norm"
    return (
        f"{experiment.streams} streams, {title}, spread {experiment.spread:g}, "
        f"seed {experiment.seed}; {band}{norm}"
    )


def _projection(asked: Asked) -> str:
    chosen = PROJECTIONS[asked.experiment.projection]
    if not chosen.iterative:
        return chosen.title
    return f"{_counted(asked.iterations, 'iteration')} of {chosen.title}"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _gain(log10: xr.DataArray) -> str:
    """A gain to three digits, or as the nearest power of ten."""
    value = float(log10)
    if not np.isfinite(value) or abs(value) < 2.9995:
        return f"{10**value:.3g}"
    return "10" + f"{value:.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _source() -> str:
    return figure8_source().partition(" (")[0]


# ---- the page of a picture -----------------------------------------------------------------

WIDTH, HEIGHT = 1280, 720
"""The room that the type is made for; a picture of other proportions has more of one."""


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
    for model in layout.references():  # the rules by which a slider moves it, and their tables
        model.tags = []
    return layout


TITLE, SAID, NAMED = 34, 22, 20
"""Pixels of type: of the title, what is said below it, and the legend."""

SWATCH = 32
"""Pixels of a line in the legend."""


def _heading(picture: Picture, width: int, dark: bool) -> figure:
    edge = 24
    lines = [picture.title, *picture.said]
    sizes = [TITLE] + [SAID] * len(picture.said)
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
            "style": ["bold"] + ["normal"] * len(picture.said),
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
    x = float(edge)  # not a Legend, whose lines are pixels even in an SVG
    for name, colour, dash in picture.legend:
        y = height - 0.7 * NAMED
        line = ColumnDataSource({"x": [x, x + SWATCH], "y": [y, y]})
        style.draw(p, line, Line(line_color=colour, line_dash=dash, line_width=4))
        word = ColumnDataSource({"x": [x + SWATCH + 6], "y": [y], "text": [name]})
        look = {"text_font_size": f"{NAMED}px", "text_color": style.ink(dark)}
        style.draw(p, word, Text(text_baseline="middle", **look))
        x += SWATCH + 26 + 0.53 * NAMED * len(name)  # about as wide as the words are
    return p


def background(dark: bool) -> str:
    """The colour behind a picture."""
    return "#16191d" if dark else "#ffffff"


def theme(dark: bool) -> Theme:
    """The colours of what stands around the lines."""
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

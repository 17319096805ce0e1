"""One HTML file that holds an experiment and can be dragged: for a blog post, a talk, a mail.

It asks nothing of any host, so it works from a disk and in a frame without a network.  BokehJS
draws, the scripts of the page (`static/`) move and format, and what they read is packed
(`figures/packed.py`); there is no Panel in it, nor behind it.

To add a plot to choose from, write a subclass of `Plot`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import bokeh
import xarray as xr
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure
from bokeh.util.paths import bokehjs_path

from ..figures import (
    CompositeFigure,
    IterationsFigure,
    LayerAxisFigure,
    LayersFigure,
    MatricesFigure,
    MixingFigure,
    figure8_html,
    style,
    words,
)
from ..figures.composite import gain_range, theory_columns
from ..figures.matrices import PANELS, matrix_columns
from ..figures.mixing import STROKES as METRIC_STROKES
from ..figures.packed import GAINS, PLAIN, Cells, pack
from ..figures.slices import DRAWN, SLIDERS, State, gain_columns, table
from ..numerics._arrays import choice, whole_number
from ..numerics.paper import MHC_PAPER
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import (
    MAX_DEPTH,
    MAX_ITERATIONS,
    Experiment,
    gain_surface,
    layer_axis_gains,
    layer_gains,
    member_matrices,
    mixing_surface,
)
from ..scripts import text_of
from ..version import version

if TYPE_CHECKING:
    from ..story.scenes import Scene

TITLE = "mHC: why stacked mixing explodes, and what stops it"
BEGINS = {"depth": 64, "iterations": 1}
"""Where it opens, as the page does, if nothing else is asked for."""
THEMES = ("auto", "light", "dark")
HEIGHTS = (300, 4000)
"""Pixels that a file can be given."""

SCRIPTS = ("mhc.js", "plots.js", "embed.js")
STYLES = ("mhc.css", "embed.css")
FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Held:
    """A source whose columns come packed, one set of them for each number of streams."""

    source: ColumnDataSource
    columns: Sequence[Mapping[str, Any]]
    cells: Sequence[Cells] = GAINS


class Asked:
    """What a file is to show, and the surfaces that its plots share."""

    def __init__(
        self,
        experiments: Sequence[Experiment],
        state: State,
        controls: Sequence[str],
        most: State,
        device: str,
    ) -> None:
        self.experiments = experiments
        self.state = state
        self.controls = controls
        self.most = most
        """The last depth and iteration count that the file holds."""
        self.device = device
        self.surfaces = self.each(gain_surface)
        iterations, depths = (self.surfaces[0][name].values for name in ("iterations", "depth"))
        self.table = table({}, iterations, depths, state=state)
        columns = [gain_columns(each["log10_gain"], dtype=float) for each in self.surfaces]
        self.held = Held(self.table, columns)
        self.table.data = dict(columns[0])

    def each(self, compute: Callable[..., Any], **options: Any) -> list[Any]:
        """What a function of `surface.py` gives, for each number of streams."""
        return [
            compute(experiment, **{**self.most, "device": self.device, **options})
            for experiment in self.experiments
        ]


def _together(found: Sequence[Any]) -> Any:
    """Of all numbers of streams, for an axis that holds all of them."""
    return xr.concat(found, "streams", combine_attrs="drop")


PLOTS: dict[str, type[Plot]] = {}
"""Every plot that a file can hold, by its name."""


class Plot:
    """A plot, or a few that belong together, with what is said of them."""

    name: ClassVar[str]
    view: ClassVar[str]
    """The page's view that has it; the plots of one view stand side by side."""
    still: ClassVar[str] = ""
    """The part of the state that no slider may move: it would take more than the file holds."""
    share: ClassVar[int] = 1
    """Of the width that it has beside others."""
    square: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        PLOTS[cls.name] = cls

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.held: list[Held] = []
        self.figures: list[figure] = []
        self.build()

    def build(self) -> None:
        """Make the figures, and name the sources that hold what they draw."""

    def hold(
        self, source: ColumnDataSource, columns: Sequence[Any], *cells: Cells
    ) -> ColumnDataSource:
        """The source with the first of its columns, all of which are to be packed."""
        self.held.append(Held(source, columns, cells or GAINS))
        source.data = dict(columns[0])
        return source

    def legend(self) -> list[words.Entry]:
        """What its lines mean."""
        return words.lines(self.asked.experiments[0], self.asked.state["iterations"])

    def note(self, i: int) -> str:
        """What is said below it, at the i-th number of streams."""
        return ""

    def html(self) -> str:
        """Where it stands in the file."""
        return f'<div class="plot" style="--share:{self.share}"></div>' * len(self.figures)


class Composite(Plot):
    """Composite gain against depth."""

    name = "composite"
    view = "composite"
    share = 2

    def build(self) -> None:
        surfaces = self.asked.surfaces
        drawn = CompositeFigure(surfaces[0], self.asked.table, self.asked.state)
        drawn.y_range.start, drawn.y_range.end = gain_range(_together(surfaces))
        expected = [{"expected": theory_columns(surface)["expected"]} for surface in surfaces]
        self.held.append(Held(drawn.theory, expected))
        self.figures = [drawn.figure]

    def legend(self) -> list[words.Entry]:
        return super().legend() + words.theory(self.asked.surfaces[0])

    def note(self, i: int) -> str:
        return words.composite(self.asked.experiments[i])


class Iterations(Plot):
    """Composite gain against iterations, at the chosen depth."""

    name = "iterations"
    view = "composite"

    def build(self) -> None:
        surfaces = self.asked.surfaces
        y_range = Range1d(*gain_range(_together(surfaces)))
        drawn = IterationsFigure(surfaces[0], self.asked.table, self.asked.state, y_range)
        self.figures = [drawn.figure]


class Layers(Plot):
    """Gains of the single layers."""

    name = "layers"
    view = "layers"

    def build(self) -> None:
        self.gains = self.asked.each(layer_gains)
        first = self.gains[0]
        columns = [gain_columns(each, ("member", *DRAWN), dtype=float) for each in self.gains]
        source = table({}, first["iterations"].values, first["layer"].values)
        drawn = LayersFigure(first, self.hold(source, columns), self.asked.state)
        drawn.update(_together(self.gains))
        self.figures = [drawn.figure]

    def note(self, i: int) -> str:
        return words.layers(self.gains[i])


class LayerAxis(Plot):
    """The paper's axes: gain against the layer of one network, of a depth that is fixed."""

    name = "layer-axis"
    view = "layer-axis"
    still = "depth"

    def build(self) -> None:
        asked = self.asked
        gains = asked.each(layer_axis_gains, direction="backward", depth=asked.state["depth"])
        columns = [gain_columns(each, dtype=float) for each in gains]
        source = table({}, gains[0]["iterations"].values, gains[0]["layer"].values)
        backward = self.hold(source, columns)
        drawn = LayerAxisFigure(asked.surfaces[0], asked.table, backward, asked.state)
        drawn.update(_together(asked.surfaces))
        drawn.figure.x_range.end = asked.state["depth"] + 1
        self.figures = [drawn.figure]

    def note(self, i: int) -> str:
        return words.LAYER_AXIS


class Matrices(Plot):
    """The matrices themselves; only those travel that the sliders reach."""

    name = "matrices"
    view = "matrices"
    square = True

    def build(self) -> None:
        asked = self.asked
        if len(asked.experiments) > 1:
            raise ValueError("plots: matrices can be shown for one number of streams only")
        counts = {0, asked.state["iterations"]}
        if "iterations" in asked.controls:
            counts = set(range(asked.most["iterations"] + 1))
        moving = "depth" in asked.controls
        depth = asked.most["depth"] if moving else asked.state["depth"]
        found = member_matrices(asked.experiments[0], depth=depth, iterations=counts)
        found = found.isel(depth=slice(None) if moving else [-1])
        n = found.sizes["row"]
        source = table(
            matrix_columns(found), found["iterations"].values, found["depth"].values, (n + 1) ** 2
        )
        self.figures = MatricesFigure(n, source, asked.state).figures

    def legend(self) -> list[words.Entry]:
        return []

    def note(self, i: int) -> str:
        return words.MATRICES

    def html(self) -> str:
        # At 0 iterations HC alone: the projected heatmaps would be HC's again.
        marks = ("plot" if at == 0 else "plot of-projected" for _, at, _ in PANELS)
        return "".join(f'<div class="{mark}"></div>' for mark in marks)


class Mixing(Plot):
    """How alike the streams become."""

    name = "mixing"
    view = "mixing"

    def build(self) -> None:
        found = [mixing_surface(each, **self.asked.most) for each in self.asked.experiments]
        first = found[0]
        columns = [{name: each[name].values.ravel() for name in METRIC_STROKES} for each in found]
        source = table({}, first["iterations"].values, first["depth"].values)
        drawn = MixingFigure(first, self.hold(source, columns, *PLAIN), self.asked.state)
        drawn.update(_together(found))
        self.figures = [drawn.figure]

    def legend(self) -> list[words.Entry]:
        return words.metrics()

    def note(self, i: int) -> str:
        return words.MIXING


class Figure8(Plot):
    """The matrices that the paper printed of a 27B model."""

    name = "figure8"
    view = "figure8"

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        return figure8_html()


@dataclass(frozen=True)
class Export:
    """A file: what it shows, and how it looks.  Made and checked by `export_html`."""

    asked: Asked
    plots: Sequence[Plot]
    first: int
    """Which number of streams it opens with."""
    headline: bool
    lead: str
    title: str
    theme: str
    height: int | None
    fragment: bool

    def html(self) -> str:
        """The whole of it."""
        attributes = f' style="height:{self.height}px"' if self.height else ""
        styles = "\n".join(text_of(name) for name in STYLES)
        part = (
            f'<div class="mhc-demo" data-theme="{self.theme}"{attributes}>'
            f'<template shadowrootmode="open"><style>{styles}</style>'
            f"<article>{''.join(self._body())}</article></template></div>\n"
        )
        scripts = "\n".join(text_of(name) for name in SCRIPTS)
        # Several on a page share the scripts, and with them what is kept of each document.
        shared = f"window.mhc?.embed || (() => {{\n{scripts}\n}})();"
        if self.fragment:
            shared = f"const host = document.currentScript.previousElementSibling;\n{shared}"
        else:
            shared = f'const host = document.querySelector(".mhc-demo");\n{shared}'
        start = _in_script(f"{{\n{shared}\nmhc.embed(host, {self._data()});\n}}")
        if self.fragment:
            return f"{part}<script>{start}</script>\n"
        return PAGE.format(
            title=escape(self.title or TITLE),
            scheme={"auto": "light dark"}.get(self.theme, self.theme),
            part=part,
            bokeh=_in_script(_bokehjs()),
            start=start,
        )

    def _body(self) -> Iterator[str]:
        asked = self.asked
        head = "h2" if self.fragment else "h1"
        if self.title:
            yield f"<{head}>{escape(self.title)}</{head}>"
        yield self.lead
        if self.headline:
            yield '<div class="headline"></div>'
        controls = [f'<div class="range" data-name="{name}"></div>' for name in asked.controls]
        if len(asked.experiments) > 1:
            controls.append(self._choice())
        if controls:
            yield f'<div class="controls">{"".join(controls)}</div>'
        for plots in self._groups:
            drawn = " drawn" if plots[0].figures else ""
            square = " square" if plots[0].square else ""
            entries = dict.fromkeys(entry for plot in plots for entry in plot.legend())
            yield f'<section class="group{drawn}">'
            yield words.legend(entries) if entries else ""
            inside = "".join(plot.html() for plot in plots)
            yield f'<div class="plots{square}">{inside}</div>' if drawn else inside
            yield "</section>"
        yield from (f'<p class="words">{text}</p>' for text in self._words(self.first)[:-1])
        yield f'<p class="words caption">{self._words(self.first)[-1]}</p>'

    @cached_property
    def _groups(self) -> list[list[Plot]]:
        return [list(plots) for _, plots in groupby(self.plots, key=lambda plot: plot.view)]

    def _choice(self) -> str:
        options = "".join(
            f'<label><input type="radio" name="streams" value="{i}"'
            f"{' checked' * (i == self.first)}><span>{each.streams}</span></label>"
            for i, each in enumerate(self.asked.experiments)
        )
        label = Experiment.param["streams"].label
        return f'<fieldset class="choice"><legend>{label}</legend><div>{options}</div></fieldset>'

    def _words(self, i: int) -> list[str]:
        """The notes at the i-th number of streams, and below them what all of it is."""
        notes = [note for plot in self.plots if (note := plot.note(i))]
        return [*notes, self._caption(self.asked.experiments[i])]

    def _caption(self, experiment: Experiment) -> str:
        made = f"Source: {MHC_PAPER}. Made with mhc-demo {version()}."
        if all(not plot.figures for plot in self.plots):
            return made
        networks = "1 network" if experiment.members == 1 else f"{experiment.members:,} networks"
        named = {
            parameter: next(
                title
                for title, name in Experiment.param[parameter].objects.items()
                if name == getattr(experiment, parameter)
            )
            for parameter in ("init", "definition", "projection")
        }
        return escape(
            f"Shown: n = {experiment.streams} streams, init {named['init']}, spread "
            f"{experiment.spread:g}, seed {experiment.seed}, {networks}; projection: "
            f"{named['projection']}; gain: {named['definition']}. {made}"
        )

    def _data(self) -> str:
        """What `mhc.embed` is given, as JavaScript."""
        asked = self.asked
        chosen = PROJECTIONS[asked.experiments[0].projection]
        held = [asked.held, *(held for plot in self.plots for held in plot.held)]
        document = Document()
        for each in (p for plot in self.plots for p in plot.figures):
            _dress(each)
            document.add_root(each)
        document.add_root(asked.table)
        packed = [
            {
                each.source.id: {
                    name: pack(values, _row_of(each), each.cells)
                    for name, values in each.columns[i].items()
                }
                for each in held
            }
            for i in range(len(asked.experiments))
        ]
        for each in held:
            for name in each.columns[0]:
                del each.source.data[name]
        for model in document.select({"type": ColumnDataSource}):
            _emptied(model)
        sliders = {
            name: {
                "label": SLIDERS[name].label,
                "start": SLIDERS[name].start,
                "end": asked.most[name],
                "marks": [m for m in SLIDERS[name].marks if m < asked.most[name]]
                + [asked.most[name]],
            }
            for name in asked.controls
        }
        written = document.to_json(deferred=False)
        written.pop("defs", None)  # of models that another library, such as Panel, has declared
        data = {
            "bokeh": bokeh.__version__,
            "whole": not self.fragment,
            "projected": {"projection": chosen.title, "iterative": chosen.iterative},
            "sliders": sliders,
            "first": self.first,
            "variants": [
                {"tables": tables, "words": self._words(i)} for i, tables in enumerate(packed)
            ],
            "doc": written,
        }
        # In a script no "<" is to be read as a tag.
        return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _row_of(held: Held) -> int:
    where = held.source.tags[0] if held.source.tags else {}
    return len(where["depths"]) if "depths" in where else len(next(iter(held.columns[0].values())))


def _emptied(source: ColumnDataSource) -> None:
    """Without what the browser is about to cut."""
    rule = source.tags[0] if source.tags else {}
    for name in rule.get("columns", ()):
        del source.data[name]


def _dress(p: figure) -> None:
    """In the type of the page."""
    style.set_type(p, 0)
    p.min_height = 150
    for axis in p.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_alpha = 0.25
    p.grid.grid_line_alpha = 0.12
    if p.title is not None:
        p.title.text_font = FONT


def _bokehjs() -> str:
    return (bokehjs_path() / "js" / "bokeh.min.js").read_text("utf-8")


def _in_script(text: str) -> str:
    return text.replace("</script", "<\\/script")


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{scheme}">
<title>{title}</title>
<style>body {{ margin: 0; }}</style>
</head>
<body>
{part}<script>{bokeh}</script>
<script>{start}</script>
</body>
</html>
"""


def export_html(
    experiment: Experiment | None = None,
    *,
    scene: str | None = None,
    depth: int | None = None,
    iterations: int | None = None,
    streams: Sequence[int] = (),
    plots: Sequence[str] | None = None,
    controls: Sequence[str] | None = None,
    max_depth: int = MAX_DEPTH,
    max_iterations: int = MAX_ITERATIONS,
    title: str | None = None,
    theme: str = "auto",
    height: int | None = None,
    fragment: bool = False,
    device: str = "numpy",
) -> str:
    """An experiment as one HTML file that asks nothing of any host.

    What can be said of it:

    - `experiment`: what is shown (default: the scene's, or the page's own), opening at `depth`
      and `iterations`.
    - `scene`: one of the story's, by name: its state, title, text and question.  What is given
      beside it has precedence; its words are left out where they would not be true.
    - `streams`: several numbers of streams to choose from; it opens with the experiment's own if
      that is among them, else with the first.
    - `plots`: of `mhc_demo.export.embed.PLOTS`; default "composite", "iterations".
    - `controls`: which sliders there are, of "iterations" and "depth"; default both, or the
      scene's.
    - `max_depth`, `max_iterations`: where they end.  Less makes a smaller file.
    - `title`: heading; "" for none.
    - `theme`: "light", "dark", or "auto", which follows the reader's system.
    - `height`: pixels of the whole, for a frame that cannot follow; default as high as it needs.
    - `fragment`: not a page but a part of one, which loads BokehJS by itself.
    - `device`: what computes it, of `mhc_demo.DEVICES`.

    >>> html = export_html(Experiment(streams=4, seed=42, members=32), depth=64, iterations=1)
    >>> html.startswith("<!DOCTYPE html>")
    True

    Raises ValueError or TypeError that names the argument for what cannot be shown.
    """
    told = _scene(scene)
    opened = dict(told.state) if told else {}
    begins = Experiment(**{name: opened[name] for name in Experiment.param if name in opened})
    if experiment is None:
        experiment = begins
    elif not isinstance(experiment, Experiment):
        raise TypeError(f"experiment must be an Experiment, not {experiment!r}")
    most = {
        "depth": whole_number("max_depth", max_depth, 1, MAX_DEPTH),
        "iterations": whole_number("max_iterations", max_iterations, 0, MAX_ITERATIONS),
    }
    state = {}
    for name, value in (("depth", depth), ("iterations", iterations)):
        if value is None:
            value = min(opened.get(name, BEGINS[name]), most[name])
        state[name] = whole_number(name, value, SLIDERS[name].start, most[name])
    if plots is None:
        plots = plots_of(opened.get("view", "composite"))
    _names("plots", plots, PLOTS)
    if not plots:
        raise ValueError(f"plots must name at least one of {', '.join(PLOTS)}")
    still = {PLOTS[name].still: name for name in plots}
    if controls is None:
        moved = told.controls if told else SLIDERS if list(plots) != ["figure8"] else ()
        controls = [name for name in SLIDERS if name in moved and name not in still]
    _names("controls", controls, SLIDERS)
    for name in still.keys() & set(controls):
        raise ValueError(f"controls must not hold {name!r}, of which {still[name]} holds one only")
    choice("theme", theme, THEMES)
    if height is not None:
        height = whole_number("height", height, *HEIGHTS)
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title must be a text, not {title!r}")
    experiments = [experiment]
    if not isinstance(streams, Sequence):
        raise TypeError(f"streams must be a list of whole numbers, not {streams!r}")
    if streams:
        bounds = Experiment.param["streams"].bounds
        counts = [whole_number("streams", n, *bounds) for n in dict.fromkeys(streams)]
        values = experiment.values_of_experiment()
        experiments = [Experiment(**{**values, "streams": n}) for n in counts]
    for each in experiments:
        PROJECTIONS[each.projection].check(each.streams)
    # A scene's words are about what it shows: of anything else they would not be true.
    shown = next((e for e in experiments if e.streams == experiment.streams), experiments[0])
    still_true = shown.values_of_experiment() == begins.values_of_experiment() and all(
        state[name] == opened.get(name, usual) for name, usual in BEGINS.items()
    )
    words_of = told if still_true else None
    asked = Asked(experiments, state, controls, most, device)
    return Export(
        asked=asked,
        plots=[PLOTS[name](asked) for name in plots],
        first=experiments.index(shown),
        headline=told.headline if told else list(plots) != ["figure8"],
        lead=_lead(words_of) if words_of else "",
        title=title if title is not None else words_of.title if words_of else TITLE,
        theme=theme,
        height=height,
        fragment=fragment,
    ).html()


def plots_of(view: str) -> list[str]:
    """The plots of a view of the page.

    Raises ValueError for a view that lives from the server, or is no plot.
    """
    found = [name for name, plot in PLOTS.items() if plot.view == view]
    if not found:
        views = ", ".join(dict.fromkeys(plot.view for plot in PLOTS.values()))
        raise ValueError(f"the view {view!r} cannot be exported; these can: {views}")
    return found


def _names(name: str, given: Any, allowed: Any) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{name} must be a list of names, not {given!r}")
    for each in given:
        choice(name, each, allowed)
    if len(set(given)) < len(given):
        raise ValueError(f"{name} must name each once, not {given!r}")


def _scene(name: str | None) -> Scene | None:
    if not name:
        return None
    from ..story.scenes import SCENES

    return SCENES[choice("scene", name, SCENES)]


def _lead(scene: Scene) -> str:
    from ..story.scenes import markup

    return (
        f'<p class="lead">{markup(scene.text)}</p>'
        f'<p class="lead question">{markup(scene.question)}</p>'
    )

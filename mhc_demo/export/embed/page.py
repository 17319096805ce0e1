"""The standalone file as text: markup, styles, scripts, and the packed numbers that they read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Any

import bokeh
import xarray as xr
from bokeh.document import Document
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from bokeh.util.paths import bokehjs_path

from ...figures import style, words
from ...figures.packed import PER_UNIT, pack
from ...figures.signal import ZOOMS
from ...figures.slices import SLIDERS
from ...figures.still import still
from ...numerics.paper import MHC_PAPER
from ...numerics.projections import PROJECTIONS
from ...numerics.surface import Experiment
from ...scripts import FILE, STATIC, text_of
from ...story import TITLE
from ...version import version
from .plots import PLOTS, PackedSource, Plot, Shared
from .request import EmbedRequest

STYLES = ("mhc.css", "polytope.css", "embed.css")


class Content:
    """What a file shows, whatever its markup: plots, their words, and the numbers that they read.

    The live page's first picture is made of it too (`app/first.py`).
    """

    def __init__(self, request: EmbedRequest, surfaces: Sequence[xr.Dataset] = ()) -> None:
        """`surfaces`: the experiments' gain surfaces, if somebody has measured them already."""
        self.request = request
        self._shared = Shared(request, surfaces)
        self.plots = [PLOTS[name](self._shared) for name in request.plots]
        self.notes = [_notes(request, self.plots, i) for i in range(len(request.experiments))]
        """For each number of streams the plots' notes, and last the caption."""

    @property
    def common(self) -> dict[str, str]:
        """The ids of tables that other views show as well, by a name for each."""
        found = {"gains": self._shared.table.id}
        for plot in self.plots:
            found |= plot.common()
        return found

    def still(self) -> str:
        """What stands there without scripts: nothing of an experiment that the file hides."""
        if not any(plot.of_experiment for plot in self.plots):
            return ""
        return still(self._shared.surfaces[self.request.first], self.request.position)

    def data(self, dress_up: Callable[[figure], None] | None = None) -> str:
        """The argument of `mhc.embed`, as JSON that may stand in a script.

        `dress_up` gives each figure the look of the page around it, by default the file's own.
        """
        return _data(self.request, self._shared, self.plots, self.notes, dress_up or dress)


def html(request: EmbedRequest) -> str:
    """The whole file."""
    content = Content(request)
    body = "".join(_body(request, content.plots, content.notes[request.first]))
    data = content.data()
    height = f' style="height:{request.height}px"' if request.height else ""
    styles = style.css() + text_of(*STYLES)
    font = f"<style>{font_face(own_font())}</style>" if "<math" in body else ""
    part = (
        f'{font}<div class="mhc-demo" data-theme="{request.theme}"{height}>{content.still()}'
        f'<template shadowrootmode="open"><style>{styles}</style>'
        f"<article>{body}</article></template></div>\n"
    )
    # Several fragments on a page share the scripts, and with them each document's state.
    # Theirs is a name of its own for BokehJS, of which a host may have another version.
    explained = 'class="term"' in body or r"class=\"term\"" in data
    explains = ["terms.js"] if explained else []
    more = dict.fromkeys(name for plot in content.plots for name in plot.scripts)
    own = f"let Bokeh = window.Bokeh;\n{text_of(*FILE, *explains)}"
    scripts = f"window.mhc?.embed || (() => {{\n{own}\n}})();\n{text_of(*more)}"
    host = 'document.querySelector(".mhc-demo")'
    if request.fragment:
        # Within a shadow root no script is the current one.
        host = "document.currentScript?.previousElementSibling ?? mhc.embed.next()"
    start = in_script(f"{{\n{scripts}\nconst host = {host};\nmhc.embed(host, {data});\n}}")
    if request.fragment:
        # In Markdown a blank line ends a block of HTML.
        return re.sub(r"\n\s*\n", "\n", f"{part}<script>{start}</script>\n")
    return page(request.title or TITLE, request.theme, part, inlined(bokehjs(), start))


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{scheme}">
<title>{title}</title>
{head}<style>body {{ margin: 0; }}</style>
</head>
<body>
{part}{scripts}
</body>
</html>
"""


def page(title: str, theme: str, part: str, scripts: str, head: str = "") -> str:
    """A whole page: a part of one, and the scripts that it needs, `inlined` or `linked`."""
    return PAGE.format(
        title=escape(title),
        scheme={"auto": "light dark"}.get(theme, theme),
        part=part,
        scripts=scripts,
        head=head,
    )


def inlined(*scripts: str) -> str:
    """Scripts as a file holds them that is alone."""
    return "\n".join(f"<script>{in_script(each)}</script>" for each in scripts)


def linked(*addresses: str) -> str:
    """Scripts that lie beside the page, and that other pages use too."""
    return "\n".join(f'<script src="{escape(each)}" defer></script>' for each in addresses)


def bokehjs() -> str:
    """BokehJS itself."""
    return (bokehjs_path() / "js" / "bokeh.min.js").read_text("utf-8")


def font_face(address: str) -> str:
    """The font of formulas (`static/terms.js`), which not every system has."""
    return f'@font-face {{ font-family: "mhc math"; src: url("{address}") format("woff2"); }}'


def own_font() -> str:
    """The address of that font for a file that holds it itself."""
    font = base64.b64encode((STATIC / "math.woff2").read_bytes()).decode()
    return f"data:font/woff2;base64,{font}"


def in_script(text: str) -> str:
    """A script's text such that nothing in it ends the script."""
    return text.replace("</script", "<\\/script")


# ---- markup --------------------------------------------------------------------------------


def _body(request: EmbedRequest, plots: list[Plot], notes: list[str]) -> Iterator[str]:
    heading = "h2" if request.fragment else "h1"
    if request.title:
        yield f"<{heading}>{escape(request.title)}</{heading}>"
    yield request.lead
    yield "<slot></slot>"  # what stands there without scripts
    yield from stage(request, plots, notes)


def stage(request: EmbedRequest, plots: list[Plot], notes: list[str]) -> Iterator[str]:
    """The markup of what is drawn, and of the words about it."""
    styles = dict.fromkeys(name for plot in plots for name in plot.styles)
    if styles:
        yield f"<style>{text_of(*styles)}</style>"
    if request.headline:
        yield '<div class="headline"></div>'
    controls = [f'<div class="range" data-name="{name}"></div>' for name in request.controls]
    if len(request.experiments) > 1:
        controls.append(_choice(request))
    if controls:
        yield f'<div class="controls">{"".join(controls)}</div>'
    for _, group in groupby(plots, key=lambda plot: plot.view):
        yield _group(list(group))
    yield from (f'<p class="words">{text}</p>' for text in notes[:-1])
    yield f'<p class="words caption">{notes[-1]}</p>'


def _group(plots: list[Plot]) -> str:
    legend = legend_of(plots)
    inside = "".join(plot.html() for plot in plots)
    if not plots[0].figures:
        return f'<section class="group">{legend}{inside}</section>'
    square = " square" if plots[0].square else ""
    return (
        f'<section class="group drawn">{legend}<div class="plots{square}">{inside}</div></section>'
    )


def legend_of(plots: Sequence[Plot], mark_up: Callable[[str], str] = str) -> str:
    """The legend of plots that stand together, and the switch of their scale."""
    entries = dict.fromkeys(entry for plot in plots for entry in plot.legend())
    legend = words.legend(entries, mark_up) if entries else ""
    if not any(plot.of_gains for plot in plots):
        return legend
    return f'<div class="lines">{legend}<div class="scale"></div></div>'


def _choice(request: EmbedRequest) -> str:
    options = "".join(
        f'<label><input type="radio" name="streams" value="{i}"'
        f"{' checked' * (i == request.first)}><span>{each.streams}</span></label>"
        for i, each in enumerate(request.experiments)
    )
    label = Experiment.param["streams"].label
    return f'<fieldset class="choice"><legend>{label}</legend><div>{options}</div></fieldset>'


def _notes(request: EmbedRequest, plots: list[Plot], i: int) -> list[str]:
    """The plots' notes at the i-th number of streams, and last the caption of all."""
    notes = [note for plot in plots if (note := plot.note(i))]
    shown = any(plot.of_experiment for plot in plots)
    one = any(plot.of_projection for plot in plots)
    return [*notes, _caption(request.experiments[i], shown, one)]


def _caption(experiment: Experiment, shown: bool, one: bool) -> str:
    """What is shown, if it is of an experiment, and of `one` projection or of all."""
    source = f"Source: {MHC_PAPER}. Made with mhc-demo {version()}."
    if not shown:
        return source
    networks = "1 network" if experiment.members == 1 else f"{experiment.members:,} networks"
    titles = {
        parameter: next(
            title
            for title, name in Experiment.param[parameter].objects.items()
            if name == getattr(experiment, parameter)
        )
        for parameter in ("definition", "projection")
    }
    return escape(
        f"Shown: n = {experiment.streams} streams, init {words.drawn(experiment)}, "
        f"seed {experiment.seed}, {networks}; "
        f"projection: {titles['projection'] if one else 'all of them'}; "
        f"gain: {titles['definition']}. {source}"
    )


# ---- numbers -------------------------------------------------------------------------------


def _data(
    request: EmbedRequest,
    shared: Shared,
    plots: list[Plot],
    notes: list[list[str]],
    dress_up: Callable[[figure], None],
) -> str:
    document = Document()
    for each in (p for plot in plots for p in plot.figures):
        dress_up(each)
        document.add_root(each)
    document.add_root(shared.table)
    sources = [shared.packed, *(each for plot in plots for each in plot.packed)]
    variants = [
        {
            "tables": _tables(sources, i),
            "words": words_of_plots,
            **{name: each for plot in plots for name, each in plot.said(i).items()},
        }
        for i, words_of_plots in enumerate(notes)
    ]
    for each in sources:
        _empty(each.source, each.columns[0])
    for model in document.select({"type": ColumnDataSource}):
        rule = model.tags[0] if model.tags else {}
        _empty(model, rule.get("columns", ()))  # the browser cuts them
    written = document.to_json(deferred=False)
    written.pop("defs", None)  # of models that another library, such as Panel, has declared
    data = {
        "bokeh": bokeh.__version__,
        "whole": not request.fragment,
        "projected": told_of(request.experiments[0].projection),
        "sliders": {
            **{name: _slider(name, request.limits[name]) for name in request.controls},
            **{name: each for plot in plots for name, each in plot.sliders.items()},
        },
        "first": request.first,
        "signal": {"chosen": dict(request.signal), "offered": {"zooms": list(ZOOMS)}},
        "per_unit": PER_UNIT,
        "variants": variants,
        "doc": written,
    }
    # No "<" in a script may be read as a tag.
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def told_of(projection: str) -> dict[str, Any]:
    """What the headline says of a projection beside its gains."""
    chosen = PROJECTIONS[projection]
    return {
        "projection": chosen.title,
        "iterative": chosen.iterative,
        "sums_alone": chosen.sums_alone,
    }


def _tables(sources: Sequence[PackedSource], i: int) -> dict[str, dict[str, Any]]:
    """The packed columns at the i-th number of streams, by the ids of their sources."""
    found: dict[str, dict[str, Any]] = {}
    for each in sources:
        found.setdefault(each.source.id, {}).update(_packed(each, i))
    return found


def _packed(packed: PackedSource, i: int) -> dict[str, Any]:
    columns = packed.columns[i]
    tag = packed.source.tags[0] if packed.source.tags else {}
    row = len(next(iter(columns.values())))
    if packed.row:
        row = packed.row
    elif "depths" in tag:
        row = len(tag["depths"]) * tag["width"]
    return {name: pack(values, row, packed.cells) for name, values in columns.items()}


def _empty(source: ColumnDataSource, columns: Any) -> None:
    for name in columns:
        source.data.pop(name, None)


def _slider(name: str, end: int) -> dict[str, Any]:
    slider = SLIDERS[name]
    marks = [*(mark for mark in slider.marks if mark < end), end]
    return {"label": slider.label, "start": slider.start, "end": end, "marks": marks}


def dress(p: figure) -> None:
    """Give a figure the page's type."""
    style.set_type(p, 0)
    p.min_height = 150
    for axis in p.axis:
        axis.axis_label_text_font = axis.major_label_text_font = style.FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_alpha = 0.25
    p.grid.grid_line_alpha = 0.12
    if p.title is not None:
        p.title.text_font = style.FONT

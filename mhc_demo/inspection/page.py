"""A report as a page of its own: words, a slider for the layer, the figures, and Figure 8 below.

It is made as the standalone file is (`export/embed/`), with the same scripts and styles, and asks
no host for anything.  Whatever comes from a file is text in it: names are escaped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import bokeh
import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.plotting import figure

from ..export.embed.page import STYLES, bokehjs, dress, in_script, inlined, page
from ..export.framed import framed, still_figure
from ..figures import style, words
from ..figures.curves import layer_ticks
from ..figures.model import ALONG
from ..figures.packed import PER_UNIT
from ..figures.still import FILE, GROUND, Curve, curves_svg
from ..numerics.gains import DIRECTIONS
from ..numerics.paper import MHC_PAPER
from ..numerics.replacing import replacing
from ..scripts import FILE as SCRIPTS
from ..scripts import text_of
from ..version import version
from .figure import MODEL, ModelFigure, beside_figure8
from .words import heading, table, verdicts

HEIGHT = 900
"""Pixels of a frame until the page has told its own."""


class ModelPage:
    """The figures of one report.  A notebook shows them; `save` writes them as a page.

    `figures` are Bokeh's, by name; they move with the slider in the page alone.
    """

    def __init__(self, data: xr.Dataset) -> None:
        self._data = data
        self._drawn = ModelFigure(data, {"depth": 1, "iterations": 0})
        self.figures: dict[str, figure] = {p.name: p for p in self._drawn.figures()}

    def html(self, theme: str = "auto") -> str:
        """The page, whole, with everything that it needs in it.

        `theme` is "auto", as dark as the reader's system, "light" or "dark".
        """
        # Models belong to one document: each page has its own.
        return _html(self._data, ModelFigure(self._data, {"depth": 1, "iterations": 0}), theme)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page.

        Raises ValueError unless `path` ends in .html, and what `replacing` does.
        """
        if Path(path).suffix.lower() != ".html":
            raise ValueError(f"path must end in .html, not {str(path)!r}")
        with replacing(path) as part:
            part.write_text(self.html(), "utf-8")

    def framed(self) -> str:
        """The page as the output of a notebook's cell, with a picture where no frame is shown."""
        title = f"Report of {self._data.attrs['name']}"
        said = escape(" ".join(verdicts(self._data)))
        instead = still_figure(_still(self._data), said, title)
        return framed(self.html(), title=title, height=HEIGHT, instead=instead)

    def __repr__(self) -> str:
        return f"<figures of {self._data.attrs['name']!r}: {', '.join(self.figures)}>"

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> Mapping[str, str]:
        """What a notebook displays."""
        return {"text/plain": repr(self), "text/html": self.framed()}


def _html(data: xr.Dataset, drawn: ModelFigure, theme: str) -> str:
    title = f"{data.attrs['name']}: mappings"
    part = (
        f'<div class="mhc-demo" data-theme="{escape(theme)}">'
        f'<template shadowrootmode="open"><style>{style.css()}{text_of(*STYLES)}</style>'
        f"<article>{''.join(_body(data, drawn))}</article></template></div>\n"
    )
    scripts = f"let Bokeh = window.Bokeh;\n{text_of(*SCRIPTS)}"
    start = (
        f"(() => {{\n{scripts}\n}})();\n"
        f'mhc.embed(document.querySelector(".mhc-demo"), {_packed(data, drawn)});'
    )
    return page(title, theme, part, inlined(bokehjs(), in_script(start)))


def _body(data: xr.Dataset, drawn: ModelFigure) -> Iterator[str]:
    yield f"<h1>{escape(heading(data))}</h1>"
    yield from verdicts_html(data)
    if data.sizes["layer"] > 1:
        yield f'<div class="controls"><div class="range" data-name="{ALONG}"></div></div>'
    yield _group(words.legend(drawn.legend()), 2, scale=True)
    yield _group("", len(drawn.matrices), square=True)
    yield _group(words.legend(drawn.sums_legend()), 2)
    yield _group(words.legend(drawn.mixing_legend()), len(drawn.mixing))
    yield table_html(data)
    name = escape(str(data.attrs["name"]))
    yield f'<section class="group">{beside_figure8(data, str(data.attrs["name"]))}</section>'
    yield (
        f'<p class="words caption">{name} beside Figure 8 of {escape(MHC_PAPER)}. '
        f"Made with mhc-demo {version()}.</p>"
    )


def verdicts_html(data: xr.Dataset) -> Iterator[str]:
    """The verdicts, and what a reader must know, as paragraphs."""
    for each in (*verdicts(data), *data.attrs["remarks"]):
        text = re.sub(r"10\^(-?[\d.]+)", r"10<sup>\1</sup>", escape(each))
        yield f'<p class="words">{text}</p>'


def _group(legend: str, count: int, *, square: bool = False, scale: bool = False) -> str:
    places = '<div class="plot" style="--share:1"></div>' * count
    if scale:
        legend = f'<div class="lines">{legend}<div class="scale"></div></div>'
    return (
        f'<section class="group drawn">{legend}'
        f'<div class="plots{" square" * square}">{places}</div></section>'
    )


def table_html(data: xr.Dataset, rows: int | None = None) -> str:
    """The table of the layers as HTML."""
    head, *lines = table(data, rows)
    heads = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in line) + "</tr>" for line in lines
    )
    return (
        '<div class="lab-results"><table class="cost-table"><caption>Layers of the model: gains '
        "(mean over tokens), sums (over tokens and streams), mass off the diagonal, Sinkhorn "
        f"iterations that the logits need</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _packed(data: xr.Dataset, drawn: ModelFigure) -> str:
    """The argument of `mhc.embed`."""
    last = int(data["layer"].values[-1])
    position = {"depth": 1, "iterations": 0, "scale": "full", ALONG: last}
    surface = drawn.tables["composite"]
    surface.name, surface.tags = "surface", [{**surface.tags[0], "state": position}]
    document = Document()
    for each in drawn.figures():
        dress(each)
        document.add_root(each)
    document.add_root(surface)
    written = document.to_json(deferred=False)
    written.pop("defs", None)  # of models that another library, such as Panel, has declared
    slider = {
        "label": "Layer",
        "start": 1,
        "end": last,
        "marks": sorted({*layer_ticks(last), last}),
    }
    found = {
        "bokeh": bokeh.__version__,
        "whole": True,
        "projected": {"projection": "", "iterative": False},
        "sliders": {ALONG: slider},
        "first": 0,
        "signal": {"chosen": {}, "offered": {}},
        "per_unit": PER_UNIT,
        "variants": [{"tables": {}, "words": []}],
        "doc": written,
    }
    # No "<" in a script may be read as a tag.
    return json.dumps(found, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _still(data: xr.Dataset) -> str:
    """The composite gains as an SVG file."""
    gains = data["composite_gain"].sel(definition="paper", series="mean")
    curves = [
        Curve(
            gains.sel(direction=direction).values,
            style.OWN,
            direction,
            MODEL if direction == DIRECTIONS[0] else "",
            float(gains.sel(direction=direction)[-1]),
        )
        for direction in DIRECTIONS
    ]
    layers = np.asarray(data["layer"].values)
    return curves_svg(curves, layers, int(layers[-1]), "Layer", FILE, GROUND)

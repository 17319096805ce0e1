"""A model of the visitor's own: its mappings, from a file, above those of the paper's 27B model.

The file is read in the memory of the visit, within limits, and is let go of when it was measured:
what stays are the figures.  Nothing of it is in the page's link, and its name is text.
"""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import panel as pn
import param
import xarray as xr
from bokeh.plotting import figure

from ...figures import figure8_html
from ...figures.curves import layer_ticks
from ...figures.model import ALONG
from ...inspection.figure import ModelFigure, beside_figure8
from ...inspection.limits import PAGE, UnreadableError
from ...inspection.measuring import measured
from ...inspection.page import table_html, verdicts_html
from ...inspection.reading import FORMATS, read_bytes
from ...inspection.words import heading
from .._panel import hold
from ..components import Slider
from ..computing import Position, in_line
from ..dropping import BYTES_PIECE, FileDrop, Incoming, RefusedError, too_large
from .base import UNLIMITED, View, html, legend, note, plots, with_scale
from .lab import beside

if TYPE_CHECKING:
    from ..state import State

HEIGHT = "clamp(260px, 34vh, 520px)"
FIRST = f"var(--mhc-heatmap, {HEIGHT})"
"""The height of the first row: in a lecture, what the rest leaves of the window."""
MOST = int(PAGE.bytes) + 2**20
"""Bytes of a file: those of the largest arrays, and what a format adds."""

SNIPPET = """\
import mhc_demo as mhc

H = mhc.sample_mixing(depth=60, streams=4, init="identity", spread=0.1)[0]  # your H_res here
report = mhc.inspect(H)  # or the path of a file, or a PyTorch model with its inputs
print(report.summary())
report.save("mappings.npz")  # for the page
"""

INTRODUCTION = (
    "Is your own model exploding, collapsing, or not mixing at all? Drop its H_res, first layer "
    "first: an array (layers, n, n), or (tokens, layers, n, n) with a matrix for each token, as "
    '<b>.npz</b> or <b>.safetensors</b>. <code>mhc.inspect(model, inputs).save("mappings.npz")'
    "</code> writes one. A record of the lab and the static mappings of a DeepSeek-V4 checkpoint "
    f"are read too. At most {int(PAGE.bytes) // 2**20} MiB, {PAGE.layers:.0f} layers and "
    f"n = {PAGE.streams:.0f}; nothing is stored."
)


class MyModelView(View):
    """The mappings of a model that the visitor brings."""

    name = "my-model"
    title = "My model"
    group = "Real models"
    of_experiment = False

    @staticmethod
    def snippet(state: State) -> str:
        return SNIPPET

    def build(self, data: None) -> Any:
        self.drawn: ModelFigure | None = None
        self.slider: Slider | None = None
        self._visit_over = False
        self._incoming = Incoming(MOST)
        self.drop = FileDrop(
            words="A model of your own: drop a .npz or .safetensors file here, or ",
            button="choose it",
            accept=",".join(FORMATS),
            most=MOST,
            large=too_large(int(PAGE.bytes)),
            size=BYTES_PIECE,
            sizing_mode="stretch_width",
            margin=(2, 14),
        )
        self.drop.param.watch(self._take_piece, "piece")
        self.status = html("", "lab-status")
        self.pictures = pn.Column(styles=UNLIMITED, sizing_mode="stretch_width", margin=0)
        self.figure8 = html(figure8_html())
        if pn.state.curdoc is not None and pn.state.curdoc.session_context is not None:
            pn.state.on_session_destroyed(self._visit_ended)
        self.set_type()
        return pn.Column(
            note(INTRODUCTION),
            self.drop,
            self.status,
            self.pictures,
            self.figure8,
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        return [] if self.drawn is None else self.drawn.figures()

    def recolour(self, dark: bool) -> None:
        if self.drawn is not None:
            self.drawn.colour(dark)

    def recut(self) -> None:
        self._recut(self._position())

    def set_type(self) -> None:
        super().set_type()
        self.figure8.css_classes = ["large"] if self.context.state.present else []

    def _position(self) -> Position:
        layer = self.slider.value if self.slider is not None else 1
        return {**self.context.state.position(), ALONG: layer}

    # ---- the file ----------------------------------------------------------------------------

    def _visit_ended(self, _: Any) -> None:
        self._visit_over = True  # there is no page left to show it on
        self._incoming.forget()

    def _take_piece(self, event: param.parameterized.Event) -> None:
        problem, whole = "", None
        try:
            whole = self._incoming.add(event.new)
        except RefusedError as error:
            problem = str(error)
        self.drop.param.update(taken=self.drop.taken + 1, problem=problem)
        if whole is not None:
            self._tell("Reading …")
            pn.state.execute(partial(self._open, *whole))

    async def _open(self, name: str, data: bytearray) -> None:
        found, problem = None, ""
        try:
            found = await in_line(_read, data, name)
        except UnreadableError as error:
            problem = str(error)
        finally:
            self._incoming.done()
        pn.state.execute(partial(self._opened, name, found, problem), schedule=True)

    def _opened(self, name: str, found: xr.Dataset | None, problem: str) -> None:
        if self._visit_over:
            return
        if found is None:  # what was drawn stays
            self.drop.problem = f"{name} was not loaded. {problem}"
            self._tell("" if self.drawn is None else heading(self.drawn.data))
            return
        with hold():
            self._draw(found)
            self._tell(heading(found))

    def _tell(self, words: str) -> None:
        self.status.object = f'<p role="status"><b>{escape(words)}</b></p>' if words else ""

    # ---- what is drawn -----------------------------------------------------------------------

    def _draw(self, data: xr.Dataset) -> None:
        state = self.context.state
        last = data.sizes["layer"]
        self.drawn = shown = ModelFigure(data, {**state.position(), ALONG: last}, dark=state.dark)
        self.slider = Slider(
            state_name=ALONG,
            leads=True,
            label="Layer",
            value=last,
            start=1,
            end=max(2, last),
            marks=sorted({*layer_ticks(last), last}),
            visible=last > 1,
            sizing_mode="stretch_width",
            margin=(2, 16),
        )
        first, *others = verdicts_html(data)
        self.pictures[:] = [
            html(first, "verdicts"),
            beside(html("".join(others), "verdicts")),
            self.slider,
            with_scale(state, html(legend(shown.legend()))),
            plots(shown.composite, shown.single, *shown.matrices, height=FIRST),
            beside(html(legend(shown.sums_legend()))),
            beside(plots(shown.sums, shown.needed, height=HEIGHT)),
            beside(html(legend(shown.mixing_legend()))),
            beside(plots(*shown.mixing, height=HEIGHT)),
            beside(html(table_html(data))),
        ]
        beside(self.figure8)  # in a lecture there is room for one of the two
        self.figure8.object = beside_figure8(data, data.attrs["name"])
        self.large = 0.0  # that of figures which are new
        self.set_type()


def _read(data: bytearray, name: str) -> xr.Dataset:
    """What is measured of a file; runs on a thread, and may touch no model."""
    return measured(read_bytes(data, name, limits=PAGE))

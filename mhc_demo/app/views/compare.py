"""All projections on the same networks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import panel as pn
import param
import xarray as xr
from bokeh.plotting import figure
from panel.custom import JSComponent

from ...figures import CompareFigure
from ...figures.compare import STROKES
from ...numerics.comparison import MIXING, compare
from ...numerics.metrics import METRICS
from ...numerics.projections import PROJECTIONS
from ...story.glossary import explained, term
from ..computing import Key, Position, experiment_of
from ..static import CSS
from .base import UNLIMITED, View, html, note, paragraph, plots, with_scale

MOST_NUMBERS = 2**9
"""Limit of members times n^2: a comparison takes longer than two iterative surfaces."""


class ComparisonTable(JSComponent):
    """The numbers of every projection at the present depth and iterations; see `mhc.comparison`.

    The browser fills it while a slider moves, so it is a component of our own.
    """

    rows = param.List(item_type=dict, doc="name, title, short, colour, dash of each.")
    columns = param.List(item_type=dict, doc="quantity and heading of each.")
    chosen = param.String(doc="The projection of the page.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const {rows, columns} = model
      const table = mhc.comparison(host, view.model.document, {rows, columns})
      const choose = () => table.choose(model.chosen)
      choose()
      model.on("chosen", choose)
      model.on("remove", table.stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


class CompareView(View):
    """All projections on the same networks."""

    name = "compare"
    title = "Projections"
    group = "Compare"

    @staticmethod
    def compute(key: Key, position: Position) -> xr.Dataset:
        return _comparison_of(_own(key))

    def build(self, data: xr.Dataset) -> Any:
        state = self.context.state
        self.shown = data.attrs
        self.plots = CompareFigure(data, state.position(), state.dark)
        self.table = ComparisonTable(
            rows=[
                {
                    "name": name,
                    "title": term(chosen.title, chosen.title, chosen.note),
                    "short": term(chosen.label, chosen.title, chosen.note),
                    "colour": STROKES[name].colour,
                    "dash": " ".join(map(str, STROKES[name].dash)),
                }
                for name, chosen in PROJECTIONS.items()
            ],
            columns=COLUMNS,
            chosen=state.param.projection,
            sizing_mode="stretch_width",
            styles={"flex": "2 1 480px", "min-width": "0"},
            margin=0,
        )
        self.note = note()
        both = plots(*self.plots.figures)
        both.styles = {**UNLIMITED, "flex": "4 1 680px", "min-width": "0"}
        return pn.Column(
            with_scale(state, html("")),
            pn.Row(
                both,
                self.table,
                stylesheets=[":host { flex-wrap: wrap; align-items: flex-start; }"],
                styles=UNLIMITED,
                sizing_mode="stretch_width",
                margin=0,
            ),
            self.note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def describe(self) -> None:
        members, n = self.shown["members"], self.shown["streams"]
        networks = "one network" if members == 1 else f"the median of {members} networks"
        fewer = members < self.context.state.members
        absent = [p for p in PROJECTIONS.values() if not p.sizes.hold(n)]
        self.note.object = paragraph(
            "Every projection of the same logits. What iterates follows the dial, where 0 is HC "
            f"itself; the rest is drawn as it is. Gains are those of {networks}"
            + (", fewer than in the other views to be quick" if fewer else "")
            + f". The plots stand still and end a little above the dotted line at n = {n}; an "
            "arrow at a label stands for a line that has left them, with its gain at the chosen "
            "depth. <b>Off doubly stochastic</b>: the largest |row sum − 1| or |column sum − 1| "
            "of a single layer, the median over the networks, then over the layers. <b>Mixing</b> "
            "is that of the first network’s composite; where nothing bounds the composite, there "
            "is none to measure."
            + "".join(f" {p.title} takes {p.sizes.words} streams." for p in absent)
        )

    def figures(self) -> list[figure]:
        return self.plots.figures

    def update(self, data: xr.Dataset) -> None:
        self.shown = data.attrs
        self.plots.update(data)

    def recolour(self, dark: bool) -> None:
        self.plots.colour(dark)


HYPHENATED = {
    name: METRICS[name].title.replace("disagreement", "dis\N{SOFT HYPHEN}agreement")
    for name in MIXING
}
"""Titles with a place where a phone can break them."""

COLUMNS = [
    {"quantity": "forward", "heading": explained("Forward gain")},
    {"quantity": "backward", "heading": explained("Backward gain")},
    {
        "quantity": "distance",
        "heading": term(
            "Off doubly stochastic",
            "Off doubly stochastic",
            "Largest |row sum − 1| or |column sum − 1| of a single layer.",
        ),
    },
    *(
        {
            "quantity": name,
            "heading": term(HYPHENATED[name], METRICS[name].title, METRICS[name].note),
        }
        for name in MIXING
    ),
]


def _own(key: Key) -> Key:
    """The key of a comparison, which depends neither on the projection nor on the device."""
    values = {k: v for k, v in key if k not in ("projection", "device")}
    most = max(1, MOST_NUMBERS // values["streams"] ** 2)
    return tuple({**values, "members": min(values["members"], most)}.items())


@lru_cache(maxsize=16)
def _comparison_of(key: Key) -> xr.Dataset:
    return compare(experiment_of(key))

"""Why it holds: the theorems behind the page, each with a plot of both of its sides.

All of it is computed from the experiment that the page shows.  The browser moves the marks with the
depth and the iterations; the numbers in the sentences follow from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import panel as pn
import xarray as xr
from bokeh.plotting import figure

from ...figures import laws as figures
from ...figures import style, words
from ...numerics import laws
from ...numerics.numbers import in_html, minus
from ...numerics.projections import PROJECTIONS
from ...story.formulas import FORMULAS
from ...story.glossary import explained
from ..computing import Key, Position, experiment_of
from ..snippet import laws_snippet
from ..static import CSS
from .base import UNLIMITED, View, legend, plot

if TYPE_CHECKING:
    from ..state import State as PageState

MOST_NUMBERS = 2**9
"""Limit of members times n^2 in the table of four kinds: 32 networks of 4 streams, 2 of 16."""

SHIPPED_WHOLE = 8
"""Up to this n the norms of all iterations are computed at once; above, the present ones'."""

HEIGHT = "clamp(200px, 17vw, 330px)"

CARDS = """
:host { font-size: 14px; line-height: 1.45; padding: 0 12px; }
h3 { margin: 10px 0 0; font-size: 17px; line-height: 1.25; }
.drawn { overflow-x: auto; overflow-y: hidden; padding: 4px 0 2px; min-height: 30px; }
.drawn math { width: fit-content; margin: 0; font-size: 15px; }
p { margin: 4px 0 6px; max-width: 75ch; }
.now { min-height: 3em; }
.legend { margin: 2px 0 0; font-size: 13px; gap: 2px 14px; }
.mhc-kinds { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.mhc-kinds :is(th, td) { padding: 7px 0 7px 8px; text-align: right; border-bottom: 1px solid var(--line); }
.mhc-kinds th[scope="row"] { text-align: left; padding-left: 0; }
.mhc-kinds thead th { font-weight: 400; opacity: 0.8; vertical-align: bottom; }
.mhc-kinds sup { font-size: 0.75em; line-height: 0; }
.none th { color: var(--hc); } .doubly-stochastic th { color: var(--projected); }
"""
"""Styles of the cards, which no other view has."""


@dataclass(frozen=True)
class Shown:
    """What the view shows of an experiment."""

    limits: xr.Dataset
    composites: xr.Dataset
    rows: xr.Dataset
    kinds: laws.Kinds


IRRELEVANT = ("definition", "device")


def _of(key: Key, *names: str) -> Key:
    return tuple(item for item in key if item[0] not in (*IRRELEVANT, *names))


@lru_cache(maxsize=16)
def _of_layers(key: Key) -> tuple[xr.Dataset, xr.Dataset]:
    experiment = experiment_of(key)
    return laws.layer_limits(experiment), laws.rows_only_laws(experiment)


@lru_cache(maxsize=64)
def _composites(key: Key, only: int | None) -> xr.Dataset:
    return laws.composite_laws(experiment_of(key), only=only)


@lru_cache(maxsize=8)
def _kinds(key: Key) -> laws.Kinds:
    return laws.four_kinds(experiment_of(key))


class LawsView(View):
    """Why it holds: six statements, each with a plot."""

    name = "why"
    title = "Why it holds"
    group = "Why it holds"

    @staticmethod
    def compute(key: Key, position: Position) -> Shown:
        values = dict(key)
        streams = values["streams"]
        only = position["iterations"] if streams > SHIPPED_WHOLE else None
        limits, rows = _of_layers(_of(key, "members", "projection"))
        members = min(values["members"], max(1, MOST_NUMBERS // streams**2))
        kinds = {**dict(_of(key, "projection")), "members": members}
        return Shown(
            limits, _composites(_of(key, "members"), only), rows, _kinds(tuple(kinds.items()))
        )

    @staticmethod
    def told(state: PageState) -> str:
        return "".join(
            f"<h3>{card.title}</h3>{FORMULAS[card.formula].markup()}<p>{card.text}</p>"
            for card in CARDS_OF_LAWS
        )

    @staticmethod
    def snippet(state: PageState) -> str:
        return laws_snippet({**dict(state.key()), **state.position()})

    def build(self, data: Shown) -> Any:
        state = self.context.state
        self.data = data
        position = state.position()
        self.limits = figures.LimitsFigure(data.limits, position)
        self.composites = figures.CompositeLawsFigure(data.composites, position)
        self.rows = figures.RowsFigure(data.rows, position)
        self.table = _pane("")
        kept, norms = self.composites.figures
        shown = {
            "limits": self.limits.figure,
            "kept": kept,
            "norms": norms,
            "kinds": self.table,
            "rows": self.rows.figure,
        }
        self.legends = {card.name: _pane("") for card in CARDS_OF_LAWS}
        self.now = {card.name: _pane("") for card in CARDS_OF_LAWS}
        return pn.Row(
            *(self._card(card, shown[card.name]) for card in CARDS_OF_LAWS),
            stylesheets=[":host { flex-wrap: wrap; align-items: flex-start; }"],
            styles=UNLIMITED,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _card(self, card: Card, shown: Any) -> pn.Column:
        if isinstance(shown, figure):
            shown = pn.Column(plot(shown), styles={"height": HEIGHT}, margin=0)
        head = f'<h3>{card.title}</h3><div class="drawn">{FORMULAS[card.formula].markup()}</div>'
        return pn.Column(
            _pane(head),
            self.legends[card.name],
            shown,
            _pane(f"<p>{explained(card.text)}</p>"),
            self.now[card.name],
            styles={**UNLIMITED, "flex": "1 1 min(430px, 100%)", "min-width": "0"},
            margin=0,
        )

    def figures(self) -> list[figure]:
        return [self.limits.figure, *self.composites.figures, self.rows.figure]

    def update(self, data: Shown) -> None:
        self.data = data
        self.limits.update(data.limits)
        self.composites.update(data.composites)
        self.rows.update(data.rows)

    def holds(self, position: Position) -> bool:
        return position["iterations"] in self.composites.table.tags[0]["iterations"]

    def describe(self) -> None:
        position = self.context.state.position()
        if not self.holds(position):
            return  # it is updated in a moment
        self.table.object = figures.kinds_html(self.data.kinds, position["depth"])
        chosen = PROJECTIONS[self.context.state.projection].title
        for name, text in words_of(self.data, chosen, **_place(position)).items():
            self.now[name].object = f'<p class="now">{explained(text)}</p>'
        for name, entries in legends(chosen, position["iterations"] > 0).items():
            self.legends[name].object = legend(entries)


def _place(position: Position) -> dict[str, int]:
    return {"depth": position["depth"], "iterations": position["iterations"]}


def _pane(text: str) -> pn.pane.HTML:
    return pn.pane.HTML(
        text, stylesheets=[CSS, CARDS], styles=UNLIMITED, sizing_mode="stretch_width", margin=0
    )


# ---- words ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """One statement."""

    name: str
    title: str
    formula: str
    """A name in `FORMULAS`."""
    text: str
    """What the plot shows, whatever the experiment."""


CARDS_OF_LAWS = (
    Card(
        "limits",
        "Weak mixers are slow to normalise",
        "pace",
        "Each layer is a dot. In the end an iteration multiplies Sinkhorn’s error by s₂², an "
        "equality in the limit; of a difference between streams at most s₂² of the square is left, "
        "a bound that one difference attains (rings) and a random one does not.",
    ),
    Card(
        "kept",
        "Columns keep the mean, rows keep what all share",
        "kept",
        "A random signal enters the first network. If all columns sum to 1, its mean over the "
        "streams stays; if all rows do, so does a signal that all streams share. HC keeps neither.",
    ),
    Card(
        "norms",
        "Row and column sums bound every input",
        "spectral",
        "The largest column sum and the largest row sum of |entries|, and the most by which any "
        "input grows: it lies below the geometric mean of the two, for every matrix.",
    ),
    Card(
        "kinds",
        "Orthogonal mixing keeps every difference, but not the mean",
        "orthogonal",
        "Its gain is at most √n at any depth, and nothing fades; but entries have signs, so streams "
        "can cancel, and 1 that enters one stream leaves as some other sum. Doubly stochastic "
        "mixing is the other choice: the sum stays 1, and differences fade.",
    ),
    Card(
        "rows",
        "Rows alone: gradients end at one distribution over the streams",
        "ergodic",
        "Every row of the composite is an average of the rows before, so all rows tend to one π, "
        "and the backward gain to n max π, 1 only if π is uniform. It cannot leave the band, n "
        "times the ergodicity coefficient, which is the stream disagreement of this page.",
    ),
)


def legends(projection: str, projected: bool) -> dict[str, list[words.Entry]]:
    """The legend of each plot."""
    ours = "projected" if projected else "projected off"
    shared = style.Stroke(style.SHADE, (7, 4))
    mean = style.Stroke(style.SHADE)
    norms = figures.NORM_STROKES
    return {
        "limits": [
            *(
                (style.Stroke(figures.DOT_COLOURS[name], (0.1, 8), 6), figures.DOT_TITLES[name])
                for name in reversed(figures.DOTS)
            ),
            (style.Stroke(style.THEORY, (7, 5)), "s₂²"),
        ],
        "kept": [
            ("hc", "HC"),
            (ours, projection),
            (mean, figures.KEPT_TITLES["mean"]),
            (shared, figures.KEPT_TITLES["shared"]),
        ],
        "norms": [
            *((norms[name], figures.NORM_TITLES[name]) for name in ("two", "one", "infinity")),
            (norms["bound"], figures.NORM_TITLES["bound"]),
            ("hc", "HC, ‖A‖₂"),
        ],
        "rows": [
            ("projected", "rows only"),
            (style.Stroke(style.THEORY, (2, 4)), "n max π"),
            ("band", "where it must be"),
        ],
    }


def words_of(shown: Shown, projection: str, *, depth: int, iterations: int) -> dict[str, str]:
    """What each card says of the present experiment, by the card's name."""
    n = shown.rows.attrs["streams"]
    layers = f"{depth} layer{'s' * (depth != 1)}"
    return {
        "limits": _limits_words(shown.limits.isel(layer=slice(depth)), depth),
        "kept": _kept_words(shown.composites, projection, depth, iterations, layers),
        "norms": _norms_words(shown.composites, projection, depth, iterations, n),
        "kinds": _kinds_words(shown.kinds, layers, n),
        "rows": _rows_words(shown.rows, depth, layers),
    }


def _limits_words(limits: xr.Dataset, depth: int) -> str:
    if not bool(limits["s2_squared"].notnull().any()):
        return "With one stream every projection gives 1, and there is nothing to normalise."
    medians = {name: float(limits[name].median()) for name in ("s2_squared", "rate", "random")}
    pace = medians["s2_squared"]
    needed = math.log(0.01) / math.log(pace) if 0 < pace < 1 else math.inf
    takes = f"about {needed:,.0f}" if needed < 10_000 else "very many"
    whose = "layer 1" if depth == 1 else f"the median of {depth} layers"
    return (
        f"For {whose} s₂² is <b>{pace:.2f}</b>, and the measured factor {medians['rate']:.2f}: a "
        f"hundredth of the error takes {takes} iterations. Of a random difference the layer leaves "
        f"{medians['random']:.2f} of the square."
    )


def _kept_words(
    laws_: xr.Dataset, projection: str, depth: int, iterations: int, layers: str
) -> str:
    def size(name: str, t: int) -> str:
        return f"<b>{in_html(float(laws_[name].sel(iterations=t, depth=depth)))}</b>"

    hc = f"HC’s mean is {size('mean', 0)} times what it was, what all share {size('shared', 0)}"
    if iterations == 0:
        return f"After {layers} {hc}."
    return (
        f"After {layers} the mean is {size('mean', iterations)} times what it was and what all "
        f"share {size('shared', iterations)} times, under {projection}; {hc}."
    )


def _norms_words(
    laws_: xr.Dataset, projection: str, depth: int, iterations: int, n: int
) -> str:
    here = laws_.sel(iterations=iterations, depth=depth)
    two = float(here["two"])
    bound = float(here["one"] + here["infinity"]) / 2
    name = projection if iterations else "HC"
    most = (
        "Doubly stochastic: all of them are 1, at every depth."
        if abs(float(here["one"])) + abs(float(here["infinity"])) < 1e-3
        else f"Rows that sum to 1 alone allow √n = {math.sqrt(n):.2f}."
    )
    return (
        f"{name}: the composite can make an input <b>{in_html(two)}</b> times as large, and the "
        f"bound allows {in_html(bound)}. {most}"
    )


def _kinds_words(kinds: laws.Kinds, layers: str, n: int) -> str:
    members = kinds.composite.exponent.shape[1]
    networks = "one network" if members == 1 else f"medians of {members} networks"
    return (
        f"{layers[0].upper()}{layers[1:]}, {networks}; for the mean 5 to 95 % of what leaves if 1 "
        f"enters one stream. √n is {math.sqrt(n):.2f}. “Doubly stochastic” is Sinkhorn’s limit, "
        "whatever the dial says."
    )


def _rows_words(rows: xr.Dataset, depth: int, layers: str) -> str:
    here = rows.sel(depth=depth)
    coefficient = rows["coefficient"].values
    clear = int((coefficient > 1e-10).sum())  # what follows is rounding
    pace = f"{coefficient[clear - 1] ** (1 / clear):.2f}" if clear else "0"
    largest = max(rows.attrs["pi"])
    return (
        f"After {layers} the backward gain is <b>{float(here['gain']):.3f}</b>; it ends at n max π "
        f"= {rows.attrs['end']:.3f}, where one stream has {100 * largest:.0f} % of every gradient. "
        f"Each layer multiplies the coefficient by about {pace}."
    )

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
from ...numerics.projections import PROJECTIONS, Projection
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

HEIGHT = "var(--mhc-heatmap, clamp(200px, 17vw, 330px))"
"""Of a plot; in a lecture what is left of the screen."""

FIRST = 2
"""Cards that a lecture shows, which has no scroll bar."""

CARDS = """
:host { font-size: calc(14px * var(--mhc-type, 1)); line-height: 1.45; padding: 0 12px; }
h3 { margin: 10px 0 0; font-size: 1.2em; line-height: 1.25; }
.drawn { overflow-x: auto; overflow-y: hidden; padding: 4px 0 2px; min-height: 2.7em; }
.drawn math { width: fit-content; margin: 0; font-size: 1em; }
p { margin: 4px 0 6px; max-width: 75ch; display: var(--mhc-small, block); }
.now { min-height: 3em; }
.legend { margin: 0 0 4px; font-size: 0.93em; gap: 2px 14px; }
.swatch.dot { width: 9px; height: 9px; border: 0; border-radius: 50%; }
.rate .swatch.dot { background: var(--projected); }
.random .swatch.dot { width: 6px; height: 6px; background: var(--identity); }
.largest .swatch.dot { background: none; box-shadow: inset 0 0 0 2px RING; }
.mhc-kinds { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.mhc-kinds :is(th, td) {
  padding: 7px 0 7px 8px; text-align: right; border-bottom: 1px solid var(--line);
}
.mhc-kinds th[scope="row"] { text-align: left; padding-left: 0; }
.mhc-kinds td { white-space: nowrap; }
@media (max-width: 480px) {
  .mhc-kinds td { white-space: normal; }
  .mhc-kinds :is(th, td) { padding-left: 4px; }
}
.mhc-kinds thead th { font-weight: 400; opacity: 0.8; vertical-align: bottom; }
.mhc-kinds sup { font-size: 0.75em; line-height: 0; }
.none th { color: var(--hc); } .doubly-stochastic th { color: var(--projected); }
""".replace("RING", figures.RING)
"""Styles of the cards, which no other view has."""


@dataclass(frozen=True)
class Shown:
    """What the view shows of an experiment."""

    limits: xr.Dataset
    composites: xr.Dataset
    rows: xr.Dataset
    kinds: laws.Kinds
    drift: xr.Dataset


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


OF_NOISE = ("streams", "seed", "members")
"""The parameters that drift depends on: HC at I + sigma Z, for every sigma."""


MOST_DRIFTING = 32
"""Networks of which drift is measured, at every n: to follow one signal is quick."""


@lru_cache(maxsize=16)
def _drift(key: Key) -> xr.Dataset:
    return laws.measured_drift(experiment_of(key))


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
        few = tuple({**dict(_of(key, "projection")), "members": members}.items())
        composites = _composites(_of(key, "members"), only)
        noise = {name: values[name] for name in OF_NOISE}
        drift = _drift(tuple({**noise, "members": min(values["members"], MOST_DRIFTING)}.items()))
        return Shown(limits, composites, rows, _kinds(few), drift)

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
        self.drift = figures.DriftFigure(data.drift)
        self.table = _pane("")
        kept, norms = self.composites.figures
        shown = {
            "limits": self.limits.figure,
            "kept": kept,
            "norms": norms,
            "kinds": self.table,
            "drift": self.drift.figure,
            "rows": self.rows.figure,
        }
        self.below = {card.name: _pane("") for card in CARDS_OF_LAWS}
        return pn.Row(
            *(self._card(k, card, shown[card.name]) for k, card in enumerate(CARDS_OF_LAWS)),
            stylesheets=[":host { flex-wrap: wrap; align-items: flex-start; }"],
            styles=UNLIMITED,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _card(self, k: int, card: Card, shown: Any) -> pn.Column:
        if isinstance(shown, figure):
            shown = pn.Column(
                plot(shown), styles={"height": HEIGHT, "flex": "none"}, margin=(0, 8, 0, 0)
            )
        head = f'<h3>{card.title}</h3><div class="drawn">{FORMULAS[card.formula].markup()}</div>'
        return pn.Column(
            _pane(head),
            shown,
            self.below[card.name],
            styles={
                **UNLIMITED,
                "flex": "1 1 min(100%, max(430px, 30%))",
                "min-width": "0",
                **({"display": "var(--mhc-more, flex)"} if k >= FIRST else {}),
            },
            margin=0,
        )

    def figures(self) -> list[figure]:
        kept, norms = self.composites.figures
        return [self.limits.figure, kept, norms, self.drift.figure, self.rows.figure]

    def update(self, data: Shown) -> None:
        self.data = data
        self.limits.update(data.limits)
        self.composites.update(data.composites)
        self.rows.update(data.rows)
        self.drift.update(data.drift)

    def holds(self, position: Position) -> bool:
        return position["iterations"] in self.composites.table.tags[0]["iterations"]

    def describe(self) -> None:
        state = self.context.state
        position = state.position()
        if not self.holds(position):
            return  # it is updated in a moment
        self.table.object = figures.kinds_html(self.data.kinds, position["depth"])
        chosen = PROJECTIONS[state.projection]
        depth, iterations = position["depth"], position["iterations"]
        entries = legends(chosen.label, iterations > 0)
        said = words_of(self.data, chosen, depth=depth, iterations=iterations)
        for card in CARDS_OF_LAWS:
            above = legend(entries[card.name]) if card.name in entries else ""
            text = explained(f'<p>{card.text}</p><p class="now">{said[card.name]}</p>')
            self.below[card.name].object = above + text


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


FIXED = "The projection and its iterations change nothing here."
"""What is said of a card that the dial does not move."""

CARDS_OF_LAWS = (
    Card(
        "limits",
        "Weak mixers are slow to normalise",
        "pace",
        "A dot is the factor by which one iteration shrinks Sinkhorn’s error, late in the "
        "iteration: it tends to s₂². After one layer the square of a difference between streams "
        "is at most s₂² times what it was: a ring is where most is left, a grey dot a random "
        "difference. " + FIXED,
    ),
    Card(
        "kept",
        "Columns keep the mean, rows what is shared",
        "kept",
        "Column sums of 1 keep the mean over the streams, row sums of 1 what all streams share, "
        "whatever the signs of the entries.",
    ),
    Card(
        "norms",
        "Row and column sums bound every input",
        "spectral",
        "‖A‖₂, the most by which any input grows, is at most the geometric mean of the largest "
        "column sum and the largest row sum of |entries|: 1 for a doubly stochastic matrix.",
    ),
    Card(
        "drift",
        "Growth rises with the square of a small drift",
        "drift",
        "Started at the identity, each layer lengthens a signal by a factor, and the growth is "
        "the mean of its logarithm; while σ is small it is (n − 2) σ² / 2, so two streams hardly "
        "grow. " + FIXED,
    ),
    Card(
        "kinds",
        "Orthogonal mixing keeps lengths, not the mean",
        "orthogonal",
        "Orthogonal products keep every signal’s length: nothing fades, and the gain is at most "
        "√n. But signs cancel, and nothing keeps the sum over the streams. " + FIXED,
    ),
    Card(
        "rows",
        "Rows alone: streams get unequal shares of the gradient",
        "ergodic",
        "Each row of the product is an average of the rows before it, so all tend to one π. The "
        "gain stays within n times the ergodicity coefficient of n max π: the band. " + FIXED,
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
            *((f"dot {name}", figures.DOT_TITLES[name]) for name in reversed(figures.DOTS)),
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
        "drift": [
            ("hc", "HC at I + σZ, measured"),
            ("band", "5–95 % of networks"),
            (style.Stroke(style.THEORY, (2, 4)), "exact exponent"),
            (style.Stroke(style.THEORY, (7, 5)), "(n − 2) σ² / 2"),
        ],
        "rows": [
            ("projected", "rows only"),
            (style.Stroke(style.THEORY, (2, 4)), "n max π"),
            ("band", "where it must be"),
        ],
    }


def words_of(shown: Shown, chosen: Projection, *, depth: int, iterations: int) -> dict[str, str]:
    """What each card says of the present experiment, by the card's name."""
    after = f"After {depth} layer{'s' * (depth != 1)}"
    here = shown.composites.sel(depth=depth)
    return {
        "limits": _limits_words(shown.limits.isel(layer=slice(depth)), depth),
        "kept": _kept_words(here, chosen, iterations, after),
        "norms": _norms_words(here, chosen, iterations, after),
        "drift": _drift_words(shown.drift, depth),
        "kinds": _kinds_words(shown.kinds, after),
        "rows": _rows_words(shown.rows, depth, after),
    }


def _limits_words(limits: xr.Dataset, depth: int) -> str:
    if not bool(limits["s2_squared"].notnull().any()):
        return "One stream has no differences, and there is nothing to normalise."
    pace, rate = (float(limits[name].median()) for name in ("s2_squared", "rate"))
    needed = math.log(0.01) / math.log(pace) if 0 < pace < 1 else math.inf
    takes = f"about {needed:,.0f}" if needed < 10_000 else "very many"
    whose = "Layer 1" if depth == 1 else f"Median of {depth} layers"
    measured = f", measured {rate:.2f}" if math.isfinite(rate) else ""
    return (
        f"{whose}: s₂² = <b>{pace:.2f}</b>{measured}. To bring the error down to a hundredth "
        f"takes {takes} iteration{'s' * (takes != 'about 1')}."
    )


def _kept_words(here: xr.Dataset, chosen: Projection, iterations: int, after: str) -> str:
    def times(t: int) -> tuple[str, str]:
        mean, shared = (in_html(float(here[name].sel(iterations=t))) for name in laws.KEPT)
        return mean, shared

    mean, shared = times(0)
    if iterations == 0:
        return f"{after} HC has multiplied the mean by {mean} and what all share by {shared}."
    hc = f"HC by {mean} and {shared}"
    mean, shared = times(iterations)
    more = _sums_words(chosen)
    if not chosen.unit_rows and abs(float(here["shared"].sel(iterations=iterations))) < EXACT:
        more += " Of what all share only the size stays: the streams are no longer alike."
    return (
        f"{after} {chosen.label} has multiplied the mean by <b>{mean}</b> and what all share by "
        f"{shared}; {hc}.{more}"
    )


def _sums_words(chosen: Projection) -> str:
    """Which sums are exactly 1, if not both are."""
    if chosen.unit_rows and chosen.unit_columns:
        return ""
    if chosen.unit_rows or chosen.unit_columns:
        return f" Only its {'rows' if chosen.unit_rows else 'columns'} sum to exactly 1."
    return " Neither its rows nor its columns sum to exactly 1."


def _norms_words(here: xr.Dataset, chosen: Projection, iterations: int, after: str) -> str:
    found = here.sel(iterations=iterations)
    one, infinity, two = (float(found[name]) for name in laws.NORMS)
    name = chosen.label if iterations else PROJECTIONS["none"].label
    most = ""
    if not iterations or not chosen.bounded:
        most = " Nothing bounds the sums of |entries|, so nothing bounds it."
    elif chosen.unit_norm and not chosen.nonnegative:
        most = " Not its sums, but ‖A‖₂ ≤ 1 of every layer keeps it at most 1."
    elif chosen.nonnegative and max(one, infinity) < EXACT:
        most = " Doubly stochastic: no norm ever exceeds 1."
    elif chosen.nonnegative and (chosen.unit_rows or chosen.unit_columns):
        root = math.sqrt(here.attrs["streams"])
        most = f" Sums of 1 in one direction alone allow √n = {root:.2f}."
    bound = in_html((one + infinity) / 2)
    return f"{after} of {name} it is <b>{in_html(two)}</b>, the bound {bound}.{most}"


EXACT = 1e-6
"""The log10 of sums that are told as 1 at every depth."""


def _kinds_words(kinds: laws.Kinds, after: str) -> str:
    members, n = kinds.composite.exponent.shape[1], kinds.composite.mantissa.shape[-1]
    networks = "one network" if members == 1 else f"medians of {members} networks"
    return (
        f"{after}, {networks}. Last column: if 1 enters one stream, the sum that leaves, 5 to "
        f"95 % of cases. √n = {math.sqrt(n):.2f}. Doubly stochastic is Sinkhorn’s limit."
    )


def _drift_words(drift: xr.Dataset, depth: int) -> str:
    here = drift.sel(spread=TOLD, method="nearest")
    mean, exact, law, off = (float(here[name]) for name in ("mean", "exact", "law", "error"))
    most = math.exp(depth * exact)
    return (
        f"At σ = {float(here['spread']):g} and n = {drift.attrs['streams']} the mean is "
        f"<b>{minus(f'{mean:.3f}')}</b> ± {off:.3f} nats per layer, the exponent "
        f"{minus(f'{exact:.3f}')}, the law {minus(f'{law:.3f}')}. Over {depth} "
        f"layer{'s' * (depth != 1)} the exponent makes a factor of {in_html(math.log10(most))}."
    )


TOLD = 0.2
"""The drift of which the sentence speaks."""


def _rows_words(rows: xr.Dataset, depth: int, after: str) -> str:
    gain = float(rows["gain"].sel(depth=depth))
    if not rows.attrs["reached"]:
        left = float(rows["coefficient"][-1])
        return (
            f"{after} the gain is <b>{gain:.2f}</b>. These layers mix so little that after "
            f"{rows.sizes['depth']} the coefficient is still {left:.2g}, and no π is in sight."
        )
    return (
        f"{after} the gain is <b>{gain:.2f}</b>, in the end n max π = {rows.attrs['end']:.2f}: one "
        f"stream gets {100 * max(rows.attrs['pi']):.0f}\u00a0% of the gradient, whatever enters."
    )

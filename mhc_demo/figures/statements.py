"""The six statements of the view "Why it holds": what they are measured of, and their words.

A sentence names the numbers of the present depth and iterations.  Those of one depth are written
here; of those that follow the iterations too this writes the sentence with places for its gains,
for a browser that holds the table of them all (`static/laws.js`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import xarray as xr

from ..numerics import laws
from ..numerics.numbers import in_html, minus
from ..numerics.projections import PROJECTIONS, Projection
from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS, Experiment
from . import laws as figures
from . import style, words

# ---- what is measured ----------------------------------------------------------------------------

MOST_NUMBERS = 2**9
"""Limit of members times n^2 in the table of four kinds: 32 networks of 4 streams, 2 of 16."""

MOST_DRIFTING = 32
"""Networks of which drift is measured, at every n: to follow one signal is quick."""

OF_NOISE = ("streams", "seed", "members")
"""The parameters that drift depends on: HC at I + sigma Z, for every sigma."""


@dataclass(frozen=True)
class Measured:
    """Both sides of each statement, for one experiment."""

    limits: xr.Dataset
    composites: xr.Dataset
    rows: xr.Dataset
    kinds: laws.Kinds
    drift: xr.Dataset


Key: TypeAlias = tuple[tuple[str, Any], ...]


def measured(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
    only: int | None = None,
) -> Measured:
    """What the statements say of an experiment, up to a depth and a count of iterations.

    Only the composites depend on its projection, and the rest is computed once for all of them.
    `only` is that of `composite_laws`.
    """
    members = experiment.members
    few = min(members, max(1, MOST_NUMBERS // experiment.streams**2))
    noise = {name: getattr(experiment, name) for name in OF_NOISE}
    noise["members"] = min(members, MOST_DRIFTING)
    limits, rows = _of_layers(_key(experiment, "members", "projection"), depth)
    return Measured(
        limits,
        _composites(_key(experiment, "members"), depth, iterations, only),
        rows,
        _kinds(_key(experiment, "projection", members=few), depth),
        _drift(tuple(noise.items()), depth),
    )


def _key(experiment: Experiment, *without: str, **changed: Any) -> Key:
    values = {**experiment.values_of_experiment(), **changed}
    return tuple((k, v) for k, v in values.items() if k not in ("definition", *without))


@lru_cache(maxsize=16)
def _of_layers(key: Key, depth: int) -> tuple[xr.Dataset, xr.Dataset]:
    experiment = Experiment(**dict(key))
    return laws.layer_limits(experiment, depth=depth), laws.rows_only_laws(experiment, depth=depth)


@lru_cache(maxsize=64)
def _composites(key: Key, depth: int, iterations: int, only: int | None) -> xr.Dataset:
    of = Experiment(**dict(key))
    return laws.composite_laws(of, depth=depth, iterations=iterations, only=only)


@lru_cache(maxsize=8)
def _kinds(key: Key, depth: int) -> laws.Kinds:
    return laws.four_kinds(Experiment(**dict(key)), depth=depth)


@lru_cache(maxsize=16)
def _drift(key: Key, depth: int) -> xr.Dataset:
    return laws.measured_drift(Experiment(**dict(key)), depth=depth)


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


FIRST = 2
"""Cards that a lecture shows, which has no scroll bar."""

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


def in_card(markup: str, name: str = "", classes: str = "") -> str:
    """The element that `static/laws.css` is about, with what a card shows."""
    of = f' data-card="{name}"' if name else ""
    return f'<div class="mhc-law{classes}"{of} style="--ring: {figures.RING}">{markup}</div>'


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


def words_of(shown: Measured, chosen: Projection, *, depth: int, iterations: int) -> dict[str, str]:
    """What each card says of the present experiment, by the card's name."""
    here = shown.composites.sel(depth=depth)
    gains = {name: float(here[name].sel(iterations=iterations)) for name in OF_COMPOSITES}
    written = {
        "after": after(depth),
        "bound": in_html((gains["one"] + gains["infinity"]) / 2),
        **{name: in_html(gain) for name, gain in gains.items()},
        **{f"hc {name}": in_html(float(here[name].sel(iterations=0))) for name in laws.KEPT},
    }
    said = places_of(gains, chosen, here.attrs["streams"], iterations)
    return words_at(shown, depth) | {n: each.format_map(written) for n, each in said.items()}


OF_COMPOSITES = (*laws.KEPT, *laws.NORMS)


@dataclass(frozen=True)
class OfDepth:
    """What all projections have in common at each depth, from 1 on."""

    said: dict[str, list[str]]
    """The sentences of `words_at`."""
    kinds: list[str]
    """The table of the four kinds, as HTML."""


def at_every_depth(experiment: Experiment, depth: int) -> OfDepth:
    """What cards say of an experiment, whatever its projection, at each depth up to this one."""
    return _at_every_depth(_key(experiment, "projection"), depth)


@lru_cache(maxsize=32)
def _at_every_depth(key: Key, depth: int) -> OfDepth:
    found = measured(Experiment(**dict(key)), depth=depth, iterations=0)
    depths = range(1, depth + 1)
    at = [words_at(found, each) for each in depths]
    said = {name: [each[name] for each in at] for name in at[0]}
    return OfDepth(said, [figures.kinds_html(found.kinds, each) for each in depths])


def words_at(shown: Measured, depth: int) -> dict[str, str]:
    """What those cards say that the iterations do not move."""
    return {
        "limits": _limits_words(shown.limits.isel(layer=slice(depth)), depth),
        "drift": _drift_words(shown.drift, depth),
        "kinds": _kinds_words(shown.kinds, after(depth)),
        "rows": _rows_words(shown.rows, depth, after(depth)),
    }


def places_of(
    gains: Mapping[str, float], chosen: Projection, streams: int, iterations: int
) -> dict[str, str]:
    """What the other cards say, by name, with names in braces where gains are to be written.

    `gains` are the log10 of `OF_COMPOSITES` at one position.  Their names mean these, and after
    "hc " those at 0 iterations; "bound" means that of the norm, and "after" what `after` says.
    """
    return {
        "kept": _kept_words(gains, chosen, iterations),
        "norms": _norms_words(gains, chosen, streams, iterations),
    }


def after(depth: int) -> str:
    """How those sentences begin."""
    return f"After {depth} layer{'s' * (depth != 1)}"


def all_places(composites: xr.Dataset, chosen: Projection) -> dict[str, dict[str, list[Any]]]:
    """Those sentences for every position that the composites hold, by the card's name.

    Each once in "said"; "at" says which, flat over (iterations, depth).
    """
    found: dict[str, dict[str, list[Any]]] = {}
    numbers = {name: composites[name].values for name in OF_COMPOSITES}
    for row, iterations in enumerate(composites["iterations"].values.tolist()):
        for column in range(composites.sizes["depth"]):
            gains = {name: float(values[row, column]) for name, values in numbers.items()}
            said = places_of(gains, chosen, composites.attrs["streams"], iterations)
            for name, each in said.items():
                card = found.setdefault(name, {"said": [], "at": []})
                if each not in card["said"]:
                    card["said"].append(each)
                card["at"].append(card["said"].index(each))
    return found


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


def _kept_words(gains: Mapping[str, float], chosen: Projection, iterations: int) -> str:
    if iterations == 0:
        return "{after} HC has multiplied the mean by {hc mean} and what all share by {hc shared}."
    more = _sums_words(chosen)
    if not chosen.unit_rows and abs(gains["shared"]) < EXACT:
        more += " Of what all share only the size stays: the streams are no longer alike."
    return (
        f"{{after}} {chosen.label} has multiplied the mean by <b>{{mean}}</b> and what all share "
        f"by {{shared}}; HC by {{hc mean}} and {{hc shared}}.{more}"
    )


def _sums_words(chosen: Projection) -> str:
    """Which sums are exactly 1, if not both are."""
    if chosen.unit_rows and chosen.unit_columns:
        return ""
    if chosen.unit_rows or chosen.unit_columns:
        return f" Only its {'rows' if chosen.unit_rows else 'columns'} sum to exactly 1."
    return " Neither its rows nor its columns sum to exactly 1."


def _norms_words(
    gains: Mapping[str, float], chosen: Projection, streams: int, iterations: int
) -> str:
    name = chosen.label if iterations else PROJECTIONS["none"].label
    most = ""
    if not iterations or not chosen.bounded:
        most = " Nothing bounds the sums of |entries|, so nothing bounds it."
    elif chosen.unit_norm and not chosen.nonnegative:
        most = " Not its sums, but ‖A‖₂ ≤ 1 of every layer keeps it at most 1."
    elif chosen.nonnegative and max(gains["one"], gains["infinity"]) < EXACT:
        most = " Doubly stochastic: no norm ever exceeds 1."
    elif chosen.nonnegative and (chosen.unit_rows or chosen.unit_columns):
        root = math.sqrt(streams)
        most = f" Sums of 1 in one direction alone allow √n = {root:.2f}."
    return f"{{after}} of {name} it is <b>{{two}}</b>, the bound {{bound}}.{most}"


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

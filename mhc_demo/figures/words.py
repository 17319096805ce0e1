"""The words around the plots, on the page and in the standalone file: legends and notes.

They are HTML without the explanations of terms, which the page adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr

from ..numerics.growth import LN10, gaussian_exponents
from ..numerics.metrics import METRICS
from ..numerics.mixing import INITS
from ..numerics.numbers import in_html, minus
from ..numerics.projections import PROJECTIONS
from ..numerics.signal import ENTERING
from ..numerics.surface import MAX_DEPTH, Experiment, init_of
from .mixing import STROKES, THEORY, ratio_theory
from .signal import lane_height
from .style import Fill, Stroke

MEAN_THEORY = "theory of HC (mean)"
"""What the line of theory is, in a legend."""

Entry = tuple[str | Stroke | Fill, str]
"""An entry of a legend: the swatch, a class of `static/mhc.css`, the line's stroke or the area's
fill; text."""

LAYER_AXIS = (
    "As in the paper’s Figures 3b and 7b: one network of L layers (the chosen depth). "
    "Backward at layer l is the product from the last layer L down to l, the gain of a gradient on "
    "its way back. Forward at layer l is the product of layers 1 … l: that is our reading, for the "
    "paper defines its composite from the last layer down alone."
)
MATRICES = (
    "The first network of the ensemble: the layer at the chosen depth, and the product "
    "of all layers up to it. Σ at the right is the row sum (forward gain of that row), Σ "
    "below the column sum (backward gain). A factor such as × 10¹⁵ above a matrix "
    "applies to all of it. Colour is relative to the largest entry, but at least to 4/n "
    "(1 up to n = 4)."
)
MIXING = (
    "{what} HC’s streams become alike{too}: its product comes near rank one{rate}. This is of the "
    "mixing alone: every layer also writes to the streams anew, which keeps them apart{seen}. "
    "Shown for the composite of the first network. The differences in the first plot compare with "
    "a stochastic matrix: at 0 iterations, and for projections that bound nothing or allow "
    "negative entries, there is none. What the other two show ignores the scale, and so stands for "
    "HC as well."
)
MIXES = (
    "Where rows sum to 1, what all streams share is kept; where layers mix, what tells them apart "
    "fades (the paper calls it mixing). "
    "A product of doubly stochastic matrices drifts towards the uniform matrix 1/n, one that is "
    "stochastic in one direction only towards equal rows or equal columns."
)
MIXES_ELSEWHERE = (
    "Products of stochastic matrices make streams alike where layers mix (the paper calls it "
    "mixing). <b>{title}</b> makes no stochastic matrices: what becomes of the streams here, the "
    "second and third plots show."
)
MEASURES = (
    "Of the first network: the layer at the chosen depth, and the composite up to it. A dash: the "
    "distance from uniform says nothing of a product that nothing bounds, and entropy and range "
    "are of matrices without negative entries. 0 stands for what is below rounding. Eigenvalues "
    "describe one matrix repeated; layers differ, and what a product of them keeps, its singular "
    "values tell."
)


def mixing(experiment: Experiment, *, switch: bool = True) -> str:
    """What becomes of what the streams share; `switch`: whether a control has layers write."""
    seen = " (“Layers write”, in the view Signal)" if switch else ""
    chosen = PROJECTIONS[experiment.projection]
    what, too = MIXES, " too"
    if not (chosen.bounded and chosen.nonnegative):
        what, too = MIXES_ELSEWHERE.format(title=chosen.title), ""
    return MIXING.format(what=what, too=too, rate=_pace(experiment), seen=seen)


def _pace(experiment: Experiment) -> str:
    """How fast HC's product comes near rank one, where theory says it."""
    if init_of(experiment).expected_log10_ratio(ONE, experiment.streams, experiment.spread):
        first, second = gaussian_exponents(experiment.streams)[0][:2]
        return (
            f", s₂/s₁ falling by λ₁ − λ₂ = {first - second:.3f} nats "
            f"({(first - second) / LN10:.3f} decades) per layer whatever the spread (Lyapunov "
            "exponents of Gaussian products; Newman 1986)"
        )
    return ""


ONE = np.array([1])


def legend(entries: Iterable[Entry], mark_up: Callable[[str], str] = str) -> str:
    """A legend that wraps on a phone; `mark_up` turns its texts into HTML."""
    return (
        '<ul class="legend">'
        + "".join(f"{_item(swatch)}<span>{mark_up(text)}</span></li>" for swatch, text in entries)
        + "</ul>"
    )


def _item(swatch: str | Stroke | Fill) -> str:
    if isinstance(swatch, str):
        return f'<li class="{swatch}"><span class="swatch {swatch.split()[0]}"></span>'
    if isinstance(swatch, Fill):
        return (
            '<li><svg class="stroke" width="26" height="12" aria-hidden="true">'
            f'<path d="M0 0H26V12H0Z" fill="{swatch.colour}"/>'
            f'<path d="{HATCHES[swatch.hatch]}" stroke="{swatch.ink}" stroke-width="1.5"/></svg>'
        )
    dash = " ".join(map(str, swatch.dash))
    return (
        '<li><svg class="stroke" width="26" height="6" aria-hidden="true"><path d="M0 3H26" '
        f'stroke="{swatch.colour}" stroke-width="3" stroke-dasharray="{dash}"/></svg>'
    )


HATCHES = {
    "": "",
    "lines": "M-2 12L8 2M3 14L15 2M11 14L23 2M19 14L29 4",
    "dots": "M4 3h1.5M12 3h1.5M20 3h1.5M8 8h1.5M16 8h1.5",
}
"""The hatches of `Fill`, as in a swatch of 26 by 12."""


def lines(experiment: Experiment, iterations: int) -> list[Entry]:
    """HC and the projection, forward and backward, with the ensemble's band.

    At 0 iterations, where no projection is drawn, its entry stays so that the plot does not jump.
    """
    return [
        ("hc", "HC, unconstrained"),
        ("projected" if iterations else "projected off", PROJECTIONS[experiment.projection].title),
        ("identity", "identity: gain 1"),
        ("forward", "forward"),
        ("backward", "backward"),
        ("band", band(experiment.members)),
    ]


def band(members: int) -> str:
    """What a line and the band around it are: of these networks, and of no others."""
    return "one network" if members == 1 else f"median and 5–95 % of these {members:,} networks"


ENOUGH = 20
"""Networks from which something can be said about others."""


def holds(members: int) -> str:
    """How often a band of that many networks holds another one."""
    if members < ENOUGH:
        return ""
    # Ranks are uniform: between the quantiles p and 1 - p of m lie (1 - 2p)(m - 1)/(m + 1) of all.
    share = 0.9 * (members - 1) / (members + 1)
    return f"The band holds another network in about {100 * share:.0f} % of cases."


def theory(surface: xr.Dataset) -> list[Entry]:
    """The line of theory, where there is one."""
    known = not np.isnan(surface["expected_log10_gain"].values).all()
    return [("theory", MEAN_THEORY)] if known else []


def differences() -> list[Entry]:
    """The lines of the differences left between streams."""
    return [(stroke, METRICS[name].title) for name, stroke in STROKES.items()]


def metrics(mixing: xr.Dataset) -> list[Entry]:
    """The lines of the mixing metrics, those that HC has too, and of theory where there is one."""
    known = bool(np.isfinite(ratio_theory(mixing)["expected"]).any())
    return [
        *differences(),
        ("hc", "HC, unconstrained"),
        ("projected", "the projection"),
        *([("theory", f"{THEORY}; band: 5–95 % of networks")] if known else []),
    ]


def signal() -> list[Entry]:
    """What lanes and ribbons mean."""
    sizes = "".join(
        f'<span class="size"><span class="sample" style="--tall:{lane_height(power):.2f}"></span>'
        f"{size}</span>"
        for power, size in (
            (-8, "10<sup>−8</sup>"),
            (0, "1"),
            (4, "10<sup>4</sup>"),
            (16, "10<sup>16</sup>"),
        )
    )
    return [
        ("plus", "positive"),
        ("minus", "negative"),
        ("lane", f"height: how much a stream carries {sizes}"),
        ("ribbon", "ribbons, when few layers are seen: the weights that mix"),
    ]


def entering(
    enters: str, direction: str, writes: bool, members: int, *, switch: bool = True
) -> str:
    """What enters, and what the layers do to it; `switch`: whether a control has them write."""
    kind = ENTERING[enters]
    said = [f"<b>{kind.title}</b>: {kind.note}"]
    if direction == "backward":
        said.append(
            "Here it is a gradient: it enters after the last layer, the chosen depth, and flows "
            "back through the transposed matrices, past the branches, to the input."
        )
    elif writes:
        said.append(
            "Every layer’s branch F writes to the streams through H<sub>post</sub>: here a fresh "
            "random number, the same above and below, whatever F reads through H<sub>pre</sub>."
        )
    else:
        more = "; switch on “Layers write” to see streams that are written to" if switch else ""
        said.append(
            "The layers’ branches F write nothing here, so this is what H<sub>res</sub> alone "
            f"does{more}."
        )
    if members > 1:
        said.append(
            f"This is the first of {members:,} networks; the two large numbers are medians over "
            "all of them, of the larger of both directions."
        )
    return " ".join(said)


def composite(experiment: Experiment) -> str:
    """What theory says about the unconstrained line, and what the projection is."""
    chosen = PROJECTIONS[experiment.projection]
    parts = (
        _growth(experiment),
        _remark(experiment),
        f"<b>{chosen.title}</b>: {chosen.account}",
        holds(experiment.members),
    )
    return " ".join(part for part in parts if part)


def drawn(experiment: Experiment) -> str:
    """How the matrices are drawn: the init, its spread and what else it takes.

    >>> drawn(Experiment(init="shared", spread=5.0, shared=0.5))
    'Layers share a part, spread 5, shared by all layers 0.5'
    """
    init = INITS[experiment.init]
    more = [
        f"{parameter.label.lower()} {getattr(experiment, name):g}"
        for name, parameter in init.parameters.items()
    ]
    return ", ".join([init.title, f"spread {experiment.spread:g}", *more])


def _remark(experiment: Experiment) -> str:
    return init_of(experiment).remark(
        MAX_DEPTH, experiment.streams, experiment.spread, experiment.seed
    )


def _growth(experiment: Experiment) -> str:
    growth = init_of(experiment).growth(experiment.streams, experiment.spread)
    if growth is None:
        return ""
    rate, deviation, law = growth
    pace = abs(rate)
    what = (
        "barely moves"
        if pace < (0.0005 if deviation is None else 0.04)
        else (
            ("explodes" if rate > 0 else "vanishes")
            if pace > 0.1
            else ("grows" if rate > 0 else "shrinks")
        )
    )
    return (
        f"<b>At n = {experiment.streams} and spread {experiment.spread:g} unconstrained mixing "
        f"{what}</b>: {minus(f'{rate:+.3f}')} decades per layer"
        + ("" if deviation is None else f", ± {deviation:.3f} per √layer over seeds")
        + f" ({law})."
    )


def layers(gains: xr.DataArray) -> str:
    """How much a single layer of HC amplifies."""
    typical = in_html(float(gains.sel(iterations=0, series="median").mean()))
    return (
        f"The gain of one layer of HC is typically {typical}: it is the product of all "
        "layers that counts. Dots are the layers of the first network, lines the ensemble’s "
        "median of each layer. Beside them: how often each gain occurs in that network, backward "
        "to the left and forward to the right, each to its own maximum; the lines are medians."
    )

"""The story, scene by scene: each is a state of the page, a few sentences and a question.

No number in a text is merely asserted.  `{10^16.2|hc}` is a number as the reader sees it, with the
name of the function in `NUMBERS` that computes it with the library for the scene's state; the tests
compare the two.  A number that a paper printed is given with its place, `[3000|Fig. 3b]`.  Any
other number in a text is part of the scene's own state.

To add a scene, add an entry to `SCENES`, at its place in the story.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import xarray as xr

from ..numerics.costs import hyper_connection_traffic, residual_traffic
from ..numerics.gains import amax_gain
from ..numerics.mixing import gaussian_growth
from ..numerics.numbers import in_text
from ..numerics.paper import TABLE_5, figure8
from ..numerics.surface import (
    EXPERIMENT_PARAMETERS,
    Experiment,
    gain_surface,
    layer_gains,
    mixing_surface,
)
from .formulas import FORMULAS
from .glossary import explained

NUMBER = re.compile(r"\{([^|{}]+)\|(\w+)\}")
"""A number as the reader sees it, and the function that computes it."""
CITED = re.compile(r"\[([^|\[\]]+)\|([^|\[\]]+)\]")
"""A number that a paper printed, and where."""


@dataclass(frozen=True)
class Scene:
    """One step of the story."""

    title: str
    text: str
    question: str
    """For the audience."""
    notes: str
    """For the speaker, on a second screen."""
    formula: str = ""
    """The name of the formula that the scene is about."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the page's defaults."""
    controls: tuple[str, ...] = ("iterations", "depth")
    """What the presenter's view keeps at hand."""
    headline: bool = True
    """Whether to show the two huge numbers, which would give away the point of "harmless"."""


SCENES: dict[str, Scene] = {
    "stream": Scene(
        title="A residual stream carries a signal through any depth",
        text="A layer adds to the stream and takes nothing away: x + F(x). What was in it stays "
        "in it. Through 64 layers the identity path has a gain of {1.00|hc}: nothing grows, "
        "nothing fades.",
        formula="residual",
        question="What becomes of the signal if a layer learns nothing at all?",
        notes="This is why deep networks train at all. Drag Depth: the line does not move. "
        "Everything that follows is about keeping this line flat while allowing more than one "
        "stream.",
        state={"view": "composite", "init": "identity", "spread": 0.0, "projection": "identity"},
        controls=("depth",),
    ),
    "widen": Scene(
        title="Hyper-Connections: n streams, and a matrix that mixes them",
        text="HC keeps n = 4 streams side by side. In every layer a learned n × n matrix mixes "
        "them, and nothing bounds it. This is one such matrix, drawn at random.",
        formula="layer",
        question="What do the sums at its edges say about a signal that enters?",
        notes="Row sums: what comes out of a stream if all streams carry 1, so the forward gain. "
        "Column sums: the same for gradients on their way back. HC learns these matrices; it was "
        "a real gain in quality, so the question is how to keep it.",
        state={"view": "matrices", "iterations": 0, "depth": 1},
        controls=("depth",),
        headline=False,
    ),
    "harmless": Scene(
        title="One layer looks harmless",
        text="The Amax gain of a matrix is its largest absolute row sum: how much it amplifies a "
        "signal that all streams share. These layers amplify by {2.83|typical}, typically. Who "
        "would worry?",
        formula="forward",
        question="64 of them in a row: do gains add up, or multiply?",
        notes="Let the audience guess a number before the next scene. Dots are the layers of one "
        "network, the line is the median of 32 networks.",
        state={"view": "layers", "iterations": 0},
        controls=(),
        headline=False,
    ),
    "explosion": Scene(
        title="Stack 64, and it is ten to the sixteen",
        text="They multiply. The composite of 64 layers amplifies by {10^16.2|hc}. Every layer "
        "adds {0.242|rate} decades, and theory says exactly that.",
        formula="composite",
        question="And a gradient, on its way back through the same layers?",
        notes="Drag Depth from 1 to 128 and back. Dashed is the backward direction: the same. The "
        "dotted line is the exact mean for products of Gaussian matrices (Newman 1986), no fit. "
        "At n = 1 it vanishes instead, at n = 2 it barely moves: try Streams.",
        state={"view": "composite", "iterations": 0},
        controls=("depth", "streams"),
    ),
    "dial": Scene(
        title="Turn the dial to 1",
        text="mHC takes the exponential of every entry, divides each column by its sum, then each "
        "row by its sum: one iteration of Sinkhorn and Knopp. The gain falls from {10^16.2|hc} to "
        "{1.13|projected}.",
        formula="sinkhorn",
        question="One iteration does not make a matrix doubly stochastic. Why is it enough?",
        notes="Start at 0 and turn slowly. The cliff is between 0 and 1; after that hardly "
        "anything happens. Do not explain yet: the next scene does.",
        state={"view": "composite", "iterations": 1},
        controls=("iterations", "depth"),
    ),
    "why": Scene(
        title="One exact direction caps the other",
        text="Here only rows are divided. Each sums to 1, and so do the rows of every product: "
        "the forward gain is {1.00|member_forward} at any depth. All entries of the composite "
        "then sum to n = 4, so no column can hold more: the backward gain is "
        "{1.74|member_backward}, and can never pass 4.",
        formula="closed",
        question="What happens if columns are divided instead of rows?",
        notes="Point at the row sums of the composite: all 1.00. Then at the column sums: they "
        "add up to 4, so the largest is at most 4. Closed under multiplication is all it takes. "
        "Drag Depth: the sums stay. Choose 'Columns only' to answer the question.",
        state={"projection": "rows", "view": "matrices"},
        controls=("depth", "projection"),
        headline=False,
    ),
    "others": Scene(
        title="What the other nineteen iterations buy",
        text="The paper runs 20. One iteration leaves {1.13|after_1}, 20 leave {1.00|projected}: "
        "the others close the gap between the two directions, they do not stop the explosion.",
        question="Would you pay for all of them?",
        notes="The right-hand plot is the dial: everything of note happens before 1. How much is "
        "left to buy depends on the logits, which is the next scene.",
        state={"view": "composite", "iterations": 20},
        controls=("iterations", "depth"),
    ),
    "sharp": Scene(
        title="When one is not enough",
        text="Sharper logits are harder. At spread 5, one iteration leaves a backward gain of "
        "{1.80|projected}, and 20 still leave {1.02|after_20}. Far below n = 4, but not 1.",
        formula="gaussian",
        question="Where would you find such logits in a trained network?",
        notes="Turn the dial: it now takes many iterations to come down. That is mHC-lite's "
        "point, and perhaps the paper's own 1.6. Try spread 8.",
        state={"view": "composite", "spread": 5.0},
        controls=("iterations", "spread"),
    ),
    "exp": Scene(
        title="It was the normalisation, not the exponential",
        text="The first iteration does two things: it makes every entry positive, and it bounds "
        "the sums. Do only the first, and the gain is {10^50.8|projected}, where no projection at "
        "all gave {10^16.2|hc}.",
        question="So which of the two tames the product?",
        notes="Positive entries cannot cancel, so they explode faster. A control that most "
        "demonstrations leave out.",
        state={"view": "composite", "projection": "exp"},
        controls=("depth", "projection"),
    ),
    "drift": Scene(
        title="Training starts at the identity, and drifts",
        text="Nobody trains with random mixing. HC starts at the identity, and drifts while it "
        "learns. Let every entry drift by 0.5: 64 layers of HC are at {10^7.0|hc}, and mHC, from "
        "the same drift, at {1.01|projected}.",
        formula="identity",
        question="How little drift is safe?",
        notes="Drag Spread from 0: HC leaves gain 1 slowly, then all at once. The explosion is "
        "something that training does, not something that is there at the start.",
        state={"view": "composite", "init": "identity", "spread": 0.5, "iterations": 20},
        controls=("iterations", "spread"),
    ),
    "real": Scene(
        title="The real matrices of a 27B model",
        text="DeepSeek trained both. HC's composite gain peaks near [3000|mHC paper, Fig. 3b], "
        "mHC's near [1.6|Fig. 7b]. These are the matrices that the paper printed, averaged over "
        "tokens: the largest row sum of an HC composite is {509|printed_hc}, of an mHC composite "
        "{1.01|printed_mhc}.",
        question="Why is the largest sum of averages not the average of the largest sums?",
        notes="The paper's Figure 3 averages gains over tokens, Figure 8 averages matrices, so "
        "3000 and 509 are not the same quantity. mHC's rows are at 1, its columns are not: "
        "columns are normalised first.",
        state={"view": "figure8"},
        controls=(),
        headline=False,
    ),
    "price": Scene(
        title="The price: streams become alike",
        text="A product of doubly stochastic matrices drifts to the one with 1/n everywhere, in "
        "which every stream carries the same average. One layer is {0.49|distance_1} away from "
        "it, 5 layers are {0.02|distance} away.",
        formula="uniform",
        question="If the streams end alike, what were they for?",
        notes="Random matrices mix fast. Trained ones mix less per layer, but Figure 8's "
        "composite of 60 layers is near 0.25 everywhere too. A network that does not mix is "
        "stable as well, and proves nothing: always ask for both numbers.",
        state={"view": "mixing", "iterations": 20, "depth": 5},
        controls=("iterations", "depth"),
        headline=False,
    ),
    "cost": Scene(
        title="And the price in memory traffic and time",
        text="In the 27B model, a layer of HC reads {10.5|reads} times as many numbers as a plain "
        "residual connection, and writes {13.0|writes} times as many. Kernels that fuse, "
        "recompute and overlap bring it down: the paper measured [6.7 %|section 4.3] more "
        "training time.",
        formula="traffic",
        question="What would you pay for a gain of 1 at any depth?",
        notes="The counts are Table 2's, for n = 4, the layer's own work left out. 6.7 % is the "
        "paper's measurement in its own large-scale training. The plots are the projection alone, "
        "measured on this machine now: the slope is what one iteration costs.",
        state={"view": "cost", "iterations": 20},
        controls=("iterations",),
        headline=False,
    ),
}
"""Every scene by its name, in the order of the story."""


class Results:
    """What the library computes for a state of the page."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.experiment = Experiment(**{name: values[name] for name in EXPERIMENT_PARAMETERS})

    @cached_property
    def surface(self) -> xr.DataArray:
        return gain_surface(self.experiment)["log10_gain"]

    def gain(self, iterations: int | None = None, series: str = "median", **where: Any) -> float:
        """log10 of the composite gain at the state's depth; the larger if no direction is given."""
        t = self.values["iterations"] if iterations is None else iterations
        gains = self.surface.sel(iterations=t, depth=self.values["depth"], series=series, **where)
        return float(gains.max())

    def mixing(self, metric: str, depth: int | None = None) -> float:
        """A mixing metric of the first network's composite, at the state's iterations."""
        return float(
            mixing_surface(self.experiment)[metric].sel(
                iterations=self.values["iterations"],
                depth=self.values["depth"] if depth is None else depth,
            )
        )


NUMBERS: dict[str, Callable[[Results], str]] = {
    "hc": lambda results: in_text(results.gain(0)),
    "projected": lambda results: in_text(results.gain()),
    "after_1": lambda results: in_text(results.gain(1)),
    "after_20": lambda results: in_text(results.gain(20)),
    "member_forward": lambda results: in_text(results.gain(series="member", direction="forward")),
    "member_backward": lambda results: in_text(results.gain(series="member", direction="backward")),
    "typical": lambda results: in_text(
        float(layer_gains(results.experiment).sel(iterations=0, series="median").mean())
    ),
    "rate": lambda results: f"{gaussian_growth(results.experiment.streams)[0]:.3f}",
    "printed_hc": lambda results: _largest_printed("hc"),
    "printed_mhc": lambda results: _largest_printed("mhc"),
    "reads": lambda results: f"{_traffic_of_27b('read'):.1f}",
    "writes": lambda results: f"{_traffic_of_27b('written'):.1f}",
    "distance": lambda results: f"{results.mixing('uniform_distance'):.2f}",
    "distance_1": lambda results: f"{results.mixing('uniform_distance', depth=1):.2f}",
}
"""The functions that compute the numbers in the texts, formatted as there."""


def _largest_printed(method: str) -> str:
    gains = [
        float(amax_gain(panel.matrix))
        for panel in figure8()
        if panel.method == method and panel.key.startswith("composite")
    ]
    return f"{max(gains):.0f}" if max(gains) >= 100 else f"{max(gains):.2f}"


def _traffic_of_27b(kind: str) -> float:
    """HC's memory traffic, "read" or "written", relative to a plain residual connection's."""
    model = TABLE_5["27B"]
    traffic = hyper_connection_traffic(model.streams, model.width)
    return getattr(traffic, kind) / getattr(residual_traffic(model.width), kind)


@cache
def scenes_for_browser() -> list[dict[str, str]]:
    """All scenes as the browser gets them: what the audience reads as HTML, the rest as text."""
    return [
        {
            "name": name,
            "title": scene.title,
            "text": explained(markup(scene.text)),
            "formula": FORMULAS[scene.formula].markup() if scene.formula else "",
            "question": explained(markup(scene.question)),
            "notes": scene.notes,
        }
        for name, scene in SCENES.items()
    ]


def markup(text: str) -> str:
    """A scene's text as HTML: numbers in bold, those of a paper with their place."""
    text = html.escape(text, quote=False)
    text = NUMBER.sub(lambda m: f"<b>{_raised(m[1])}</b>", text)
    return CITED.sub(lambda m: f"<b>{_raised(m[1])}</b> <cite>({m[2]})</cite>", text)


def _raised(number: str) -> str:
    base, caret, power = number.partition("^")
    return f"{base}<sup>{power}</sup>" if caret else base

"""The streams start equal and nothing tells them apart, so no H_res can ever learn anything.

While all streams are equal, any row-stochastic H_res leaves them equal, so that its gradient is
zero (measured: 1e-17 with static mappings, 1e-12 to 1e-6 with small dynamic ones).
"""

from __future__ import annotations

import torch

from ..examination import Examination
from ..registry import CannotTellError, Check, Found, check, mixing_layers, plain

EQUAL = 1e-5
"""Streams are equal if they differ by less than this part of them: float32 rounds by 6e-8 in each
operation, so that a hundred layers add up to less than this; five layers came to 2e-7.  Two steps
of AdamW at a learning rate of 0.001 made 1.5e-4 or more of it in sound networks."""
EVEN = 1e-4
"""A mapping or a gradient treats the streams alike if its entries differ by less, relative to the
largest.  In a sound start one stream is read nine times as much as the others, or alone."""


@check(
    "identical",
    "Streams identical",
    "Break the symmetry: let layer l start by reading mainly from stream l mod n (layer= of our "
    "layers, layer_index= of hyper-connections).",
)
def identical(examination: Examination, check: Check) -> Found:
    """Measures: how much the streams that each layer is given differ, how evenly H_pre reads them
    and H_post writes them, and whether the gradient is the same for all of them.

    Threshold: all streams of all layers equal within `EQUAL`, *and* every known H_pre and H_post
    even within `EVEN`, *and* the derivative of the loss by H_res the same in every row, within
    `EVEN`: then forward and backward pass treat all streams alike, and so does every step of an
    optimiser.  Equal streams alone are no finding: HC and mHC start with them, and their first
    step tells them apart, because each layer reads another stream.  Without H_pre and gradient
    there is only the look of it.
    """
    layers = [
        each for each in mixing_layers(examination) if each.learns or each.sensitivity is None
    ]
    if len(layers) < 2:
        raise CannotTellError("there are fewer than two layers whose H_res can learn")
    if any(each.spread is None for each in layers):
        raise CannotTellError("the streams that the layers are given are not known")
    differ = max(each.spread or 0.0 for each in layers)
    if differ > EQUAL or any(_uneven(each.H_pre) or _uneven(each.H_post) for each in layers):
        return
    slopes = [each.slope for each in layers if each.slope is not None and each.slope.any()]
    if any(_uneven(slope.sum(-1)) for slope in slopes):
        return
    known = slopes and all(each.H_pre is not None for each in layers)
    parts = [f"The streams of all {len(layers)} layers differ by {plain(differ)} of them at most"]
    if known:
        parts.append("H_pre and H_post treat them alike, and so does the gradient")
    reached = [each.gradient for each in layers if each.gradient is not None]
    if reached:
        parts.append(
            f"the largest gradient that reaches H_res's parameters is {plain(max(reached))}"
        )
    evidence = "; ".join(parts) + "."
    yield (check.mistake if known else check.look)(layers, evidence, differ=differ)


def _uneven(weights: torch.Tensor | None) -> bool:
    """Whether the entries of any row of (tokens, n) differ."""
    if weights is None:
        return False
    difference = weights.amax(-1) - weights.amin(-1)
    return bool((difference > EVEN * weights.abs().amax(-1)).any())

"""H_res is not doubly stochastic: three mistakes that show in its sums, told apart.

What one looks at is the same for all three, so they share this file: how far the sums are from 1,
and how much one more Sinkhorn-Knopp iteration would help.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..examination import Examination, Layer
from ..measures import iterated, iterations_to, sums
from ..registry import CannotTellError, Check, Found, check, mixing_layers, plain

EXACT = 1e-3
"""Sums within this of 1 are 1: 64 layers of 1.001 come to 1.07.  eps = 1e-6 in DeepSeek's iteration
moves them by 1.1e-6, and 20 iterations of 2,000 matrices of normal logits left 5e-4 at most."""
ROUGH = 0.01
"""Sums within this of 1 are near enough if one axis is exact: 60 layers that are all off by it in
the same direction come to 1.8, and the paper's own model, which works, comes to 1.6 (Fig. 7b).
Sound layers that were trained for 40 steps were off by 0.0025.  Rounding a doubly stochastic matrix
to bfloat16 moves its sums by 0.003, and then neither axis is exact."""
FAR = 0.1
"""A sum this far from 1 is a gain of 1.1 in one layer."""
SHARE = 0.01
"""The share of matrices that must be `FAR` off for sharp logits to be a mistake.  After 20
iterations of normal logits none of 2,000 are at a standard deviation of 5, 0.5 % at 8 and 3 % at
12."""
SOME = 10.0
"""The estimated count of iterations below which there were too few.  For normal 4 x 4 logits with
standard deviations of 0.1 to 12 it is 0 to 0.5 where a softmax over one axis was all, 0.9 to 1.1,
2.1 to 2.8 and 3.5 to 5 after 1, 2 and 3 iterations, and 31 to 60 after 20.  Only on a diagonal of 4
with a standard deviation of 1 or less does it come to 6 to 37 whatever was done: there an iteration
helps so little that few and many look alike, and what `sharp` says of them is true of both."""
HALF = 0.8
"""The estimate below which a single softmax was all there was."""
SAME = 0.999
"""A cosine between derivatives that are the same: in float32 it is 1 to within 1e-6.  For matrices
after 1 to 20 Sinkhorn iterations it was 0.972 at most, in 23,520 comparisons with n = 2 to 8,
spreads of 0 to 12 and diagonals of 0 to 8."""
SLOW = 0.9
"""An iteration that leaves this much of the error is slow: more of them would help, but many."""
MOST = 10_000


@dataclass(frozen=True)
class Defect:
    """What is wrong with the sums of one layer."""

    kind: str
    """"negative", "both", "rounding", "one axis" or "sharp"."""
    layer: Layer
    rows: float
    columns: float
    """The largest |row sum - 1| and |column sum - 1| over tokens."""
    estimate: float = 0.0
    """About how many iterations seem to have been made."""
    far: float = 0.0
    """The share of matrices that are more than `FAR` off."""


def defect(layer: Layer) -> Defect | None:
    """The defect of a layer whose H_res is meant to be doubly stochastic, if it has one.

    If one axis is exact and the other is not, it stopped too early, and the question is why.  Let E
    be the error now and q the part of it that one more iteration leaves.  Had all iterations been
    like the next one, ln(1 / E) / ln(1 / q) of them would have been made: `estimate`, the median
    over the matrices that are off.  Few iterations of any logits have a small one, because the
    next would still help much; sharp logits a large one.
    """
    H = layer.H_res
    rows, columns = sums(H)
    row, column = float(rows.max()), float(columns.max())
    least = float(H.min())
    if least < -EXACT:
        return Defect("negative", layer, row, column)
    if max(row, column) <= EXACT:
        return None
    if min(row, column) > EXACT:
        kind = "rounding" if max(row, column) <= ROUGH else "both"
        return Defect(kind, layer, row, column)
    error = torch.maximum(rows, columns)
    if float(error.max()) <= ROUGH:
        return None
    off = error > EXACT
    left = torch.maximum(*sums(iterated(H[off]))) / error[off]
    bounded = left.clamp(1e-12, 1.0 - 1e-12)
    estimate = float((error[off].clamp(max=1.0).log() / bounded.log()).median())
    slow = float(left.median()) > SLOW or estimate >= SOME
    far = float((error > FAR).double().mean())
    return Defect("sharp" if slow else "one axis", layer, row, column, estimate, far)


def defects(examination: Examination) -> list[Defect]:
    """Of all layers that are meant to be doubly stochastic; CannotTellError if none is."""
    layers = meant(examination)
    if not layers:
        raise CannotTellError("no layer's H_res is meant to be doubly stochastic")
    found = (defect(layer) for layer in layers)
    return [each for each in found if each is not None]


def meant(examination: Examination) -> list[Layer]:
    """The layers whose H_res is doubly stochastic by their family, or by the look of it.

    Where no family says so, an H_res counts that is non-negative in all layers, with the sums of
    one axis 1 for all tokens of all layers, and that is not the identity: chance does not do that.
    """
    mixing = mixing_layers(examination)
    layers = [each for each in mixing if each.doubly_stochastic]
    unknown = [each for each in mixing if each.doubly_stochastic is None]
    if unknown and all(float(each.H_res.min()) >= 0.0 for each in unknown):
        errors = [sums(each.H_res) for each in unknown]
        for axis in (0, 1):
            if all(float(each[axis].max()) <= EXACT for each in errors):
                return layers + unknown
    return layers


def _range(found: list[Defect]) -> str:
    rows, columns = max(each.rows for each in found), max(each.columns for each in found)
    return f"row sums are off by up to {plain(rows)}, column sums by up to {plain(columns)}"


@check(
    "not_doubly_stochastic",
    "Not doubly stochastic",
    "Project the logits with Sinkhorn-Knopp (exp, then columns and rows in turn), in float32, as "
    "the last thing before H_res is applied.",
)
def not_doubly_stochastic(examination: Examination, check: Check) -> Found:
    """Measures: the smallest entry of H_res, and the errors of its row and column sums.

    Threshold: an entry below -`EXACT`, or sums of which neither rows nor columns are 1 within
    `EXACT`: every Sinkhorn iteration ends on one axis and leaves it exact.  Errors up to `ROUGH`
    are worth a look only: half precision does that.
    """
    found = defects(examination)
    for kind in ("negative", "both"):
        some = [each for each in found if each.kind == kind]
        if some:
            least = min(float(each.layer.H_res.min()) for each in some)
            text = f"{_range(some)}; the smallest entry is {plain(least)}."
            yield check.mistake([each.layer for each in some], text.capitalize(), smallest=least)
    rough = [each for each in found if each.kind == "rounding"]
    if rough:
        text = f"{_range(rough)}, as if computed in half precision.".capitalize()
        yield check.look([each.layer for each in rough], text)


@check(
    "one_axis",
    "Normalised along one axis only",
    "Normalise columns and rows in turn, 20 times; and check the axes: a sum over dim=-2 is that "
    "of a column, over dim=-1 that of a row.",
)
def one_axis(examination: Examination, check: Check) -> Found:
    """Measures: which sums are 1, and how many iterations seem to have been made (see `defect`).

    Threshold: (a) where H_res has static logits, its derivative by them is that of a softmax over
    one axis, with a cosine above `SAME`.  This holds at every start, also where the sums happen to
    be 1: H_res determines that derivative, and Sinkhorn-Knopp's is another.
    (b) otherwise: one axis exact, the other off by more than `ROUGH`, and an estimate below `SOME`.
    The estimate is of all matrices of a layer together, since single ones scatter.
    """
    proved = [each for each in meant(examination) if softmax_axis(each)]
    for axis in ("rows", "columns"):
        alike = [each for each in proved if softmax_axis(each) == axis]
        if alike:
            yield check.mistake(alike, _softmax(axis, alike), error=_error(alike))
    found = [
        each
        for each in defects(examination)
        if each.kind == "one axis" and each.layer not in proved
    ]
    for exact in ("rows", "columns"):
        some = [each for each in found if (each.rows <= each.columns) == (exact == "rows")]
        if not some:
            continue
        other = "columns" if exact == "rows" else "rows"
        error = max(max(each.rows, each.columns) for each in some)
        guess = sorted(each.estimate for each in some)[len(some) // 2]
        alone = f"a softmax over the {exact} alone" if guess < HALF else "a few iterations"
        direction = "backward" if exact == "rows" else "forward"
        yield check.mistake(
            [each.layer for each in some],
            f"The {exact} of H_res sum to 1, its {other} are off by up to {plain(error)}, as "
            f"after {alone}: nothing holds the {direction} gain at 1.",
            error=error,
            estimate=guess,
        )


def softmax_axis(layer: Layer) -> str:
    """Whether H_res is a softmax over "rows" or "columns" of its static logits; else empty."""
    for axis, cosine in zip(("rows", "columns"), layer.softmax or (0.0, 0.0), strict=True):
        if cosine > SAME:
            return axis
    return ""


def _softmax(axis: str, layers: list[Layer]) -> str:
    other = "column" if axis == "rows" else "row"
    cosine = min(max(each.softmax or (0.0,)) for each in layers)
    return (
        f"H_res moves with its logits as a softmax over its {axis} alone does (cosine "
        f"{cosine:.6f}); its {other} sums are off by up to {plain(_error(layers))}, and nothing "
        "brings them to 1."
    )


def _error(layers: list[Layer]) -> float:
    return max(float(torch.maximum(*sums(each.H_res)).max()) for each in layers)


@check(
    "sharp",
    "Logits too sharp for the iterations",
    "Make the iterations as many as it takes, keep the logits smaller (a smaller alpha, no "
    "temperature), or take a projection that is exact, such as mHC-lite.",
)
def sharp(examination: Examination, check: Check) -> Found:
    """Measures: the error that is left, and how many more iterations take it below `EXACT`.

    Iterating is continued from H_res itself, so the logits need not be known.

    Threshold: one axis exact, the other off by more than `ROUGH`, and an estimate of `SOME` or more
    (see `defect`): the iterations were made, but converge slowly.  A mistake if `SHARE` of a
    layer's matrices are `FAR` off; else worth a look.
    """
    found = [
        each
        for each in defects(examination)
        if each.kind == "sharp" and not softmax_axis(each.layer)
    ]
    if not found:
        return
    layers = [each.layer for each in found]
    text = _range(found).capitalize()
    far = max(each.far for each in found)
    if far:
        text += f", by more than {FAR} in up to {100 * far:.3g} % of a layer's matrices"
    spans = [each.logits for each in layers if each.logits is not None]
    if spans:
        text += f" (logits of one matrix differ by up to {plain(max(spans))})"
    finding = check.mistake if far >= SHARE else check.look
    yield finding(layers, f"{text}. {'; '.join(_needed(layers))}.", error=_error(layers), far=far)


def _needed(layers: list[Layer]) -> Iterator[str]:
    """How many iterations would be enough, in words."""
    made = {each.iterations for each in layers}
    after = f"after {made.pop()} iterations" if len(made) == 1 and None not in made else ""
    matrices = torch.cat([each.H_res for each in layers if each.streams == layers[0].streams])
    for share, of in ((0.5, "half of the matrices"), (1.0, "all")):
        more = iterations_to(_easiest(matrices, share), EXACT, MOST)
        count = f"over {MOST:,}" if more is None else f"{more:,}"
        yield f"{count} more {after} bring {of} within {EXACT:g}".replace("  ", " ")
        after = ""


def _easiest(matrices: Tensor, share: float) -> Tensor:
    """The share of the matrices with the smallest errors after some more iterations."""
    trial = matrices
    for _ in range(20):
        trial = iterated(trial)
    order = torch.maximum(*sums(trial)).argsort()
    return matrices[order[: max(1, round(share * len(order)))]]

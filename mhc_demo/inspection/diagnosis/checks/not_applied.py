"""H_res is computed and never applied: the unmixed streams go on.

Reported of `lucidrains/hyper-connections` (number 8) and
`tokenbender/mHC-manifold-constrained-hyper-connections` (number 3).
"""

from __future__ import annotations

from ..examination import Examination, Layer
from ..registry import CannotTellError, Check, Found, check, mixing_layers, plain

EFFECT = 1e-4
"""Of the change that H_res + D must make to the next streams.  If it is applied, the change is all
of D x (1); if it is not, nothing (0, exactly where the model computes the same twice).  Rounding
of bfloat16 streams is 0.004 of x in single numbers, but the same in both runs if they are equal."""
NOISE = 10.0
"""A change of the output below this many times its change between two equal runs is none."""


@check(
    "not_applied",
    "H_res computed, not applied",
    "Add what the branch returns to the mixed streams, H_res x, and not to x itself: the layer is "
    "H_res x + H_post^T F(H_pre x).",
)
def not_applied(examination: Examination, check: Check) -> Found:
    """Measures: what changes if H_res of one layer is replaced by H_res + D, D random.

    Threshold: a layer does not apply H_res if neither the streams of the next layer change (by more
    than `EFFECT` of D x) nor the output of the model (by more than `NOISE` times its noise).  An
    intervention, so it holds whatever the streams are, equal ones included, unless they are zero.
    Of a last layer only the output tells: what it does must show there in some other way, which the
    gradient of its other parameters proves (not so before a head that starts at zero), and if it
    alone is concerned it is only worth a look, for its streams may be read in part.
    """
    asked = [x for x in mixing_layers(examination) if x.response is not None]
    if not asked:
        raise CannotTellError("no H_res could be replaced by another")
    found = [layer for layer in asked if idle(layer)]
    if not found:
        return
    worst = max(_effect(each) for each in found)
    text = (
        f"With a random matrix added to H_res the model's output is the same (relative change "
        f"{plain(worst)}), in {len(found)} of {len(asked)} layers"
    )
    applied = [each for each in asked if each not in found]
    if applied:
        text += f"; in the others it changes by up to {plain(max(map(_effect, applied)))}"
    if found == asked[-1:] and len(asked) > 1:
        yield check.look(found, f"{text}. It is the last layer only.", change=worst)
    else:
        yield check.mistake(found, f"{text}.", change=worst)


def idle(layer: Layer) -> bool:
    """Whether another H_res in its place changes nothing."""
    response = layer.response
    if response is None or layer.energy == ():  # streams that are zero show nothing
        return False
    if response.size is None:
        return layer.felt and response.output <= NOISE * response.noise
    return response.output <= NOISE * response.noise and response.size < EFFECT


def _effect(layer: Layer) -> float:
    return layer.response.output if layer.response else 0.0

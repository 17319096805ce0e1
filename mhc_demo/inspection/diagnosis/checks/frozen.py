"""H_res is the identity and cannot leave it: its logits are so far out that exp underflows.

Reported of `tokenbender/mHC-manifold-constrained-hyper-connections` (number 2): logits of 0 on the
diagonal and -8 off it, divided by a temperature of 0.05.
"""

from __future__ import annotations

from ..examination import Examination, Layer
from ..registry import CannotTellError, Check, Found, check, mixing_layers, plain

STIFF = 1e-6
"""H_res cannot move if no parameter that moves by 1 moves it by more.  The derivative of a softmax
or Sinkhorn matrix is about its mass off the diagonal, so a start with 5 % off it has 0.05, HC's
static part 1, and the case above 0.  Adam moves logits by about the learning rate each step, so 1
takes hundreds of steps; at 1e-6 they all end within rounding of where H_res was."""
NEAR = 1e-3
"""It is the identity if no entry is further from it; else it is frozen at something else."""


@check(
    "frozen",
    "H_res frozen",
    "Start the logits nearer together (ln(0.95 (n - 1) / 0.05) on the diagonal, 4.04 for n = 4, "
    "leaves 5 % of each row off it), and divide them by no small temperature.",
)
def frozen(examination: Examination, check: Check) -> Found:
    """Measures: the largest derivative of H_res (a random combination of entries) by a parameter.

    Threshold: `STIFF`, in layers whose H_res does depend on parameters.  That H_res is the identity
    is no finding as such: HC starts there, and its derivative is 1.
    """
    if not examination.trainable:
        raise CannotTellError("no parameter of the model requires a gradient")
    found = [layer for layer in mixing_layers(examination) if is_frozen(layer)]
    if not found:
        return
    stiffest = max(_sensitivity(each) for each in found)
    away = max(each.from_identity for each in found)
    where = "at the identity" if away < NEAR else "where it is"
    evidence = (
        f"H_res stays {where}: a parameter that moves by 1 moves it by {plain(stiffest)} at most. "
        f"Its largest distance from the identity is {plain(away)}, the most off the diagonal of a "
        f"row {plain(max(each.off_diagonal for each in found))}."
    )
    yield check.mistake(found, evidence, derivative=stiffest, from_identity=away)


def is_frozen(layer: Layer) -> bool:
    """Whether no parameter can move H_res."""
    return layer.learns and _sensitivity(layer) < STIFF


def _sensitivity(layer: Layer) -> float:
    return max((layer.sensitivity or {}).values(), default=0.0)

"""Weight decay on the static mappings pulls HC's H_res from the identity to zero, mHC's to 1/n."""

from __future__ import annotations

import math

from ..examination import Decay, Examination
from ..registry import CannotTellError, Check, Found, check, plain

MOVED = 0.05
"""How far decay must be able to move an entry of H_res to be a mistake: a change of as much as mHC
starts with off the diagonal.  What starts at 0 (DeepSeek's `base`) loses nothing yet."""


@check(
    "decayed",
    "Static mappings decayed",
    "Put the static parts and gates of the mappings into a parameter group with weight_decay=0 "
    "(parameter_groups does it for our layers).",
)
def decayed(examination: Examination, check: Check) -> Found:
    """Measures: H_res with all decayed static parameters set to 0, where decay leads.

    A parameter counts as static if H_res depends on it and it has at most n (n + 2) numbers, as
    many as there are mappings: a weight that is multiplied with the streams has more.

    Threshold: an entry of H_res (averaged over tokens) that moves by more than `MOVED` is a
    mistake; less is worth a look, for training moves the parameter and decay pulls it back.
    """
    if not examination.optimiser:
        raise CannotTellError("no optimiser was given")
    layers = [each for each in examination.layers if each.decay is not None]
    worst = max((each.decay.change for each in layers if each.decay), default=0.0)
    if not layers:
        return
    decays = [each.decay for each in layers if each.decay]
    names = ", ".join(sorted({name for each in decays for name in each.parameters}))
    strongest = max(decays, key=lambda each: each.weight_decay)
    rows = [each.rows for each in decays]
    text = (
        f"The optimiser decays {names} with weight_decay={plain(strongest.weight_decay)}. At 0 "
        f"they change H_res by up to {plain(worst)}; its rows then sum to {plain(min(rows))}"
    )
    text += f" on average{_halved(strongest)}."
    moved = worst > MOVED
    yield (check.mistake if moved else check.look)(
        layers, text, change=worst, weight_decay=strongest.weight_decay
    )


def _halved(decay: Decay) -> str:
    """After how many steps the decay alone has halved them: (1 - lr wd)^t = 1/2."""
    rate = decay.learning_rate * decay.weight_decay
    if not 0.0 < rate < 1.0:
        return ""
    return f", and decay alone halves them in {math.log(2) / -math.log1p(-rate):,.0f} steps"

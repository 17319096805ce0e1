"""H_pre and H_post exchanged: the mappings unpacked in the wrong order (pre, post, res)."""

from __future__ import annotations

from ..examination import Examination
from ..registry import CannotTellError, Check, Found, check, plain
from .sums import meant

OVER = 1e-3
"""By how much H_pre must exceed 1.  A sigmoid does not reach it; DeepSeek adds 1e-6, bfloat16
rounds by up to 0.004 but never from below 1 to above it."""


@check(
    "order",
    "H_pre and H_post exchanged",
    "Unpack the mappings in the order in which they were made: pre, post, res (in DeepSeek-V4's "
    "module the order of the result is post, comb, what is read).",
)
def order(examination: Examination, check: Check) -> Found:
    """Measures: the largest entries of H_pre and H_post in layers whose H_res is doubly stochastic.

    Threshold: in mHC H_pre is a sigmoid, below 1, and H_post twice a sigmoid, below 2 (Eq. 8).  An
    H_pre of more than 1 + `OVER` whose H_post stays below 1 in all layers is most likely the other:
    a mistake.  If H_post exceeds 1 too, H_pre is only not what the paper has: worth a look.
    """
    layers = [each for each in meant(examination) if each.H_pre is not None]
    if not layers:
        raise CannotTellError(
            "no layer has an H_pre that is known and an H_res that is meant to be doubly stochastic"
        )
    high = [
        each for each in layers if each.H_pre is not None and float(each.H_pre.max()) > 1 + OVER
    ]
    if not high:
        return
    most = max(float(each.H_pre.max()) for each in high if each.H_pre is not None)
    writes = [float(each.H_post.max()) for each in layers if each.H_post is not None]
    text = f"H_pre is a sigmoid, but reaches {plain(most)}"
    if writes and max(writes) <= 1.0:
        text += f"; H_post, which may reach 2, stays below {plain(max(writes))}."
        yield check.mistake(high, text, H_pre=most, H_post=max(writes))
    else:
        yield check.look(high, f"{text}.", H_pre=most)

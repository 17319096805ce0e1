"""One stream carries everything: the others hold nothing, and the model pays for n streams."""

from __future__ import annotations

from ..examination import Examination
from ..registry import CannotTellError, Check, Found, check

NOTHING = 1e-3
"""What the other streams hold together, as a share of the sum of squares: 0.1 % is 3 % of the
size, and in every layer, the first included, nobody has expanded or written to them."""
LITTLE = 0.1
"""Their share where it is worth a look: all of them together have then a third of the size of the
one that leads."""


@check(
    "carrying",
    "One stream carries everything",
    "Start with x in every stream (expand_streams) and with an H_post that writes to all of them.",
)
def carrying(examination: Examination, check: Check) -> Found:
    """Measures: each stream's share of the sum of squares of what a layer is given.

    Threshold: the same stream leads in every layer, and the others have less than `NOTHING`
    together: a mistake.  Less than `LITTLE` in every layer of the second half of the model is
    worth a look: HC learns such things, and they may be meant.
    """
    layers = [each for each in examination.layers if each.energy]
    if not layers:
        raise CannotTellError("the streams that the layers are given are not known")
    leaders = [_leader(each.energy or ()) for each in layers]
    shares = [max(each.energy or ()) for each in layers]
    later = range(len(layers) // 2, len(layers))
    one = len(set(leaders)) == 1
    if one and min(shares) > 1.0 - NOTHING:
        yield check.mistake(
            layers,
            f"In every layer stream {leaders[0]} holds at least {100 * min(shares):.4g} % of the "
            f"sum of squares of all {examination.streams} streams.",
            share=min(shares),
        )
    elif len({leaders[i] for i in later}) == 1 and min(shares[i] for i in later) > 1.0 - LITTLE:
        some = [layers[i] for i in later]
        least = min(shares[i] for i in later)
        yield check.look(
            some,
            f"In the second half of the model stream {leaders[-1]} holds at least "
            f"{100 * least:.3g} % of the sum of squares of all {examination.streams} streams.",
            share=least,
        )


def _leader(energy: tuple[float, ...]) -> int:
    return energy.index(max(energy))

"""The streams are collapsed and expanded again in every block: no composite ever forms."""

from __future__ import annotations

from ..examination import Examination, Layer
from ..registry import CannotTellError, Check, Found, check, mixing_layers, plain
from .not_applied import EFFECT

ALIKE = 1e-3
"""A change of the streams is the same in all of them if it differs by less than this part of
itself.  Copies are equal to the last bit; D x differs between streams by 0.56 of itself or
more, for n = 2 to 32, equal streams included."""


@check(
    "collapsed",
    "Streams collapsed between layers",
    "Expand the streams once, before the first layer, and reduce them once, after the last: pass "
    "(..., n, C) from block to block.",
)
def collapsed(examination: Examination, check: Check) -> Found:
    """Measures: how a random change of H_res in one layer reaches the streams of the next.

    Threshold: it reaches them, but as the same change in every stream (to within `ALIKE` of it):
    the streams were made one in between.  Statistics of the streams cannot tell, for at the start
    the streams of a sound model are equal too.  It is a mistake if no layer passes its streams on,
    or blocks of a few do; where a small part of the transitions collapses, the model may have
    several stacks, each with its own streams, and that is only worth a look.
    """
    asked = [x for x in mixing_layers(examination) if x.response and x.response.size is not None]
    if not asked:
        raise CannotTellError("the streams between two layers are not known, or cannot be changed")
    found = [each for each in asked if _collapses(each)]
    if not found:
        return
    alike = max((each.response.unlike or 0.0) if each.response else 0.0 for each in found)
    text = (
        f"After {len(found)} of {len(asked)} layers a change of one stream reaches all streams of "
        f"the next layer alike (they differ by {plain(alike)} of it)."
    )
    often = 4 * len(found) >= len(asked)
    yield (check.mistake if often else check.look)(found, text, differs=alike)


def _collapses(layer: Layer) -> bool:
    response = layer.response
    if response is None or response.size is None or response.unlike is None:
        return False
    return response.size > EFFECT and response.unlike < ALIKE

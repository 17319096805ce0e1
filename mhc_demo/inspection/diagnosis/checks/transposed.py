"""H_res acts transposed: still doubly stochastic, silently another network.

DeepSeek's kernels and transformers apply `comb` transposed, by convention; whoever loads such
weights and forgets it makes this mistake, and so does whoever transposes twice.
"""

from __future__ import annotations

from ..examination import Examination, Layer
from ..registry import CannotTellError, Check, Found, check, mixing_layers, plain

FITS = 0.05
"""The change of the streams fits D x or D^T x if it is this near.  In float32 the error is 1e-6; in
bfloat16 the streams before and after are rounded by 0.002 each, and D x is about as large as x."""
MISFITS = 0.2
"""It does not fit if it is this far away.  D x and D^T x themselves differ by 0.98 to 2.8,
for n = 2 to 32 and streams that are equal, alike or unlike."""


@check(
    "transposed",
    "H_res transposed",
    "Apply the matrix that the family means: transpose where the model does not, or drop one "
    "transpose of two (of a model given by `where`, `transposed` may have been said wrongly).",
)
def transposed(examination: Examination, check: Check) -> Found:
    """Measures: the change of the next layer's streams if H_res becomes H_res + D, D random.

    Threshold: it fits D^T x within `FITS` and differs from D x by more than `MISFITS`.  H_res is
    what the family's convention says acts.  The sums tell nothing here: the transpose of a doubly
    stochastic matrix is one too.  A change that fits neither is no finding: something stands
    between the layers that scales or normalises the streams.
    """
    asked = [x for x in mixing_layers(examination) if x.response and x.response.size is not None]
    if not asked:
        raise CannotTellError("the streams between two layers are not known, or cannot be changed")
    found = [each for each in asked if _is_transposed(each)]
    if found:
        answers = [each.response for each in found if each.response]
        near = max(each.transposed or 0.0 for each in answers)
        far = min(each.as_recorded or 0.0 for each in answers)
        yield check.mistake(
            found,
            f"With H_res + D in place of H_res, the next streams change by D^T x (to within "
            f"{plain(near)} of it) and not by D x ({plain(far)} away).",
            from_transposed=near,
            from_recorded=far,
        )


def _is_transposed(layer: Layer) -> bool:
    response = layer.response
    if response is None or response.transposed is None or response.as_recorded is None:
        return False
    return response.transposed < FITS and response.as_recorded > MISFITS

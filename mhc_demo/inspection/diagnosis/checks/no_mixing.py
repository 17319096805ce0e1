"""The streams are never mixed: stable, and no proof of anything."""

from __future__ import annotations

from ..examination import Examination, Layer
from ..registry import Check, Found, check
from .no_gradient import IDENTITY


@check(
    "no_mixing",
    "Streams never mixed",
    "If streams shall be mixed, use a layer with an H_res that learns; if not, take the stability "
    "for what it is, that of a residual network.",
)
def no_mixing(examination: Examination, check: Check) -> Found:
    """Measures: the distance of H_res from the identity, and whether it can learn.

    Threshold: `IDENTITY` in every layer, for every token, and no parameter that H_res depends on,
    or a family of models that has no H_res.  Always worth a look only, because it may be meant
    (identity mapping, hy_v4, qwen4_exp).  HC that starts at the identity can learn and is no such
    case; one that cannot is the check `frozen`.
    """
    layers = [each for each in examination.layers if never_mixes(each)]
    if layers and len(layers) == len(examination.layers):
        yield check.look(
            layers,
            f"H_res is the identity in all {len(layers)} layers and depends on no parameter.",
            from_identity=max(each.from_identity for each in layers),
        )


def never_mixes(layer: Layer) -> bool:
    """Whether H_res is the identity and stays it."""
    fixed = not layer.mixes or (layer.sensitivity is not None and not layer.sensitivity)
    return fixed and layer.from_identity <= IDENTITY

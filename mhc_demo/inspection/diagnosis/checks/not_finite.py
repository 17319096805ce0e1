"""A matrix with NaN or infinity in it: nothing else can be said of such a model."""

from __future__ import annotations

from ..examination import Examination
from ..registry import Check, Found, check


@check(
    "not_finite",
    "Not finite",
    "Go back to the last checkpoint before this; then diagnose that one, and watch the gains.",
)
def not_finite(examination: Examination, check: Check) -> Found:
    """Measures: the share of entries of H_res, H_pre and H_post that are NaN or infinite.

    Threshold: none at all.
    """
    sick, share = [], 0.0
    for layer in examination.layers:
        parts = [x for x in (layer.H_res, layer.H_pre, layer.H_post) if x is not None]
        worst = max(float((~x.isfinite()).double().mean()) for x in parts)
        if worst:
            sick.append(layer)
            share = max(share, worst)
    if sick:
        yield check.mistake(
            sick,
            f"Up to {100 * share:.3g} % of the entries of a mapping are NaN or infinite, first in "
            f"{sick[0].name!r}.",
            share=share,
        )

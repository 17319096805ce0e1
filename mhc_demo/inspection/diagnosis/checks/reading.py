"""Every layer reads the same stream, mostly stream 0: `layer=` was forgotten.

HC and mHC let layer l start by reading stream l mod n.  A layer that is not told its index takes 0.
"""

from __future__ import annotations

import torch

from ..examination import Examination
from ..registry import CannotTellError, Check, Found, check

MARGIN = 0.1
"""How much more of what is read must come from one stream than from the next, as a share.  Starts
that favour a stream give it 0.9 against 0.03 (mHC here), 1 against 0 (HC), 0.33 against 0.22
(hyper-connections' mHC); random small weights make differences of a few hundredths."""
SAME = 0.01
"""Layers read alike if no share differs by more between them: such a likeness was never learned."""
ENOUGH = 4
"""Layers that must agree for certainty: by chance (a stream drawn for each layer, as
hyper-connections does without layer_index), L layers agree with probability n^(1 - L)."""


@check(
    "reading",
    "Every layer reads the same stream",
    "Give each layer its index (layer=l, or layer_index=l), so that layer l starts by reading "
    "stream l mod n.",
)
def reading(examination: Examination, check: Check) -> Found:
    """Measures: each stream's share of what H_pre reads, |H_pre| averaged over tokens.

    Threshold: one stream leads by `MARGIN` or more, the same one in every layer.  It is a mistake
    if there are `ENOUGH` layers and they read alike to within `SAME`, as only a start does; else
    worth a look, for it may be chance or learned.
    """
    layers = [each for each in examination.layers if each.H_pre is not None]
    if len(layers) < 2:
        raise CannotTellError("H_pre is known of fewer than two layers")
    shares = torch.stack([_shares(each.H_pre) for each in layers if each.H_pre is not None])
    leading = shares.topk(2, dim=-1)
    stream = int(leading.indices[0, 0])
    margin = float((leading.values[:, 0] - leading.values[:, 1]).min())
    if margin < MARGIN or not bool((leading.indices[:, 0] == stream).all()):
        return
    likeness = float((shares.amax(0) - shares.amin(0)).max())
    low, high = float(leading.values[:, 0].min()), float(leading.values[:, 0].max())
    share = f"{100 * low:.0f} %" if high - low < SAME else f"{100 * low:.0f} to {100 * high:.0f} %"
    evidence = f"All {len(layers)} layers read mainly stream {stream}: {share} of what they read"
    evidence += f", and {100 * float(leading.values[:, 1].max()):.0f} % at most from another."
    certain = len(layers) >= ENOUGH and likeness < SAME
    finding = check.mistake if certain else check.look
    yield finding(layers, evidence, stream=float(stream), share=low, likeness=likeness)


def _shares(H_pre: torch.Tensor) -> torch.Tensor:
    mean = H_pre.abs().mean(0)
    total = mean.sum()
    return mean / total if float(total) > 0.0 else mean

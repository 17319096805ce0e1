"""Weight decay: which parameters of a model get it, and which must not."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn

from ..numerics._arrays import nonnegative
from .crossed import _Half
from .heads import StreamHead
from .layers import modules_of
from .mappings import _LearnedMappings


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: b and alpha of our layers without weight decay, the rest with.

    Weight decay on the static mappings would pull HC's H_res from the identity to zero.  theta and
    phi are ordinary weights: at zero they leave the static mappings as they are.  Each trainable
    parameter is in exactly one group.

    >>> import torch
    >>> from mhc_demo import nn as mnn
    >>> model = mnn.HyperConnection(nn.Identity(), 8)
    >>> optimiser = torch.optim.AdamW(mnn.parameter_groups(model, weight_decay=0.1))
    """
    weight_decay = nonnegative("weight_decay", weight_decay)
    spared = {
        id(parameter)
        for module in modules_of(model)
        if isinstance(module, (_LearnedMappings, _Half, StreamHead))
        for parameter in module.undecayed()
    }
    groups = defaultdict[bool, list[nn.Parameter]](list)
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[id(parameter) in spared].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]

"""What an optimiser's weight decay does to H_res: its static parameters are set to 0, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...nn.adapters import Seen
from .examination import Decay, Layer
from .running import Call, Runs

Groups = torch.optim.Optimizer | Iterable[Mapping[str, Any]]


def decays(
    runs: Runs, seen: Mapping[Call, Seen], layers: Mapping[Call, Layer], optimiser: Groups
) -> dict[Call, Decay]:
    """What H_res becomes when the static parameters that are decayed are 0, by layer."""
    groups = _groups(optimiser)
    names = {id(parameter): name for name, parameter in runs.model.named_parameters()}
    chosen: dict[Call, dict[str, tuple[nn.Parameter, float, float]]] = {}
    for call, layer in layers.items():
        static = _static(runs.sites[call[0]].module, layer)
        hit = {
            name: (each, *groups[id(each)])
            for name, each in static.items()
            if groups.get(id(each), (0.0, 0.0))[0] > 0.0
        }
        if hit:
            chosen[call] = hit
    if not chosen:
        return {}
    zeros = {
        names[id(each)]: torch.zeros_like(each)
        for hit in chosen.values()
        for each, *_ in hit.values()
        if id(each) in names
    }
    after: dict[Call, Tensor] = {}
    runs.plain(lambda call, each: after.update({call: _mean(each.res)}), zeros)
    found = {}
    for call, hit in chosen.items():
        _, decay, rate = max(hit.values(), key=lambda each: each[1])
        change = float((after[call] - _mean(seen[call].res)).abs().max())
        rows = float(after[call].sum(-1).mean())
        found[call] = Decay(tuple(hit), decay, rate, change, rows)
    return found


def _groups(optimiser: Groups) -> dict[int, tuple[float, float]]:
    """Weight decay and learning rate of each parameter, by its identity."""
    groups: Any = getattr(optimiser, "param_groups", optimiser)
    defaults = getattr(optimiser, "defaults", {})
    found = {}
    try:
        for group in groups:
            decay = float(group.get("weight_decay", defaults.get("weight_decay", 0.0)) or 0.0)
            rate = float(group.get("lr", defaults.get("lr", 0.0)) or 0.0)
            found.update({id(each): (decay, rate) for each in group["params"]})
    except (AttributeError, KeyError, TypeError):
        raise TypeError(
            "optimiser must be a torch.optim.Optimizer or its parameter groups, mappings with "
            f"'params' and 'weight_decay', not {type(optimiser).__name__}"
        ) from None
    return found


def _static(module: nn.Module, layer: Layer) -> dict[str, nn.Parameter]:
    """Parameters that H_res depends on and that have no more numbers than there are mappings."""
    n = layer.streams
    return {
        name: each
        for name, each in module.named_parameters()
        if name in (layer.sensitivity or {}) and each.numel() <= n * (n + 2)
    }


def _mean(H: Tensor) -> Tensor:
    return H.detach().double().reshape(-1, *H.shape[-2:]).mean(0)

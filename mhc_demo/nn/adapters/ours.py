"""The layers of this package: their `mappings` return all three."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from ..crossed import CrossedMappings, FreeMixing
from ..layers import Residual, StreamLayer
from ..mappings import _UnconstrainedMappings
from .site import Seen, Site, altered_output, family, on_output


@family("mhc_demo", "StreamLayer")
def find(path: str, module: nn.Module) -> Site | None:
    """`Residual`, `HyperConnection`, `ManifoldHyperConnection`, `CrossedConnection`."""
    if not isinstance(module, StreamLayer):
        return None
    mappings = module.mappings
    read = partial(_read, mappings)
    return Site(
        path,
        "mhc_demo",
        module,
        on_output(mappings, read),
        mixes=not isinstance(module, Residual),  # it adds, and multiplies with no identity
        alter=altered_output(mappings, read),
        doubly_stochastic=_doubly_stochastic(mappings),
        iterations=getattr(_mixing(mappings), "iterations", None),
    )


def _mixing(mappings: Any) -> Any:
    """The module that computes H_res: a CrossedConnection mixes with one half of its mappings."""
    return mappings.mixing if isinstance(mappings, CrossedMappings) else mappings


def _doubly_stochastic(mappings: nn.Module) -> bool | None:
    """Whether H_res is; None for mappings of somebody else's making."""
    mixing = _mixing(mappings)
    projection = getattr(mixing, "projection", None)
    if projection is not None:
        return projection not in ("rows", "columns")
    return False if isinstance(mixing, (_UnconstrainedMappings, FreeMixing)) else None


def _read(mappings: Any, h: Any, output: Any) -> Seen:
    pre, post, res = output
    half = _mixing(mappings)
    logits = partial(half.logits, h) if hasattr(half, "logits") else None
    return Seen(res=res, pre=pre, post=post, streams=h, logits=logits)

"""The layers of this package: their `mappings` return all three."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from ..crossed import CrossedMappings
from ..layers import StreamLayer
from .site import Seen, Site, family, on_output


@family("mhc_demo")
def find(path: str, module: nn.Module) -> Site | None:
    """`Residual`, `HyperConnection`, `ManifoldHyperConnection`, `CrossedConnection`."""
    if not isinstance(module, StreamLayer):
        return None
    read = partial(_read, module.mappings)
    return Site(path, "mhc_demo", module, on_output(module.mappings, read))


def _read(mappings: Any, h: Any, output: Any) -> Seen:
    pre, post, res = output
    # A CrossedConnection mixes with one half of its mappings.
    half: Any = mappings.mixing if isinstance(mappings, CrossedMappings) else mappings
    logits = partial(half.logits, h) if hasattr(half, "logits") else None
    return Seen(res=res, pre=pre, post=post, streams=h, logits=logits)

"""The layers of this package: their `mappings` return all three."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..layers import StreamLayer
from .site import Seen, Site, family, on_output


@family("mhc_demo")
def find(path: str, module: nn.Module) -> Site | None:
    """`Residual`, `HyperConnection`, `ManifoldHyperConnection`, `CrossedConnection`."""
    if not isinstance(module, StreamLayer):
        return None
    return Site(path, "mhc_demo", module, on_output(module.mappings, _read))


def _read(h: Any, output: Any) -> Seen:
    pre, post, res = output
    return Seen(res=res, pre=pre, post=post, streams=h)

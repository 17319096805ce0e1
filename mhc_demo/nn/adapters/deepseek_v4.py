"""DeepSeek-V4 in transformers, and models whose layers are the same, such as glm5_next.

The modules `attn_hc` and `ffn_hc` return (post, comb, what the branch reads).  The decoder layer
applies comb transposed, so what is recorded is its transpose.  H_pre is not returned; it is
computed again, which takes two small calls.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .site import Seen, Site, family, has, is_named, on_output


@family("deepseek_v4")
def find(path: str, module: nn.Module) -> Site | None:
    """A class whose name ends in HyperConnection and that has a count of Sinkhorn iterations."""
    if not is_deepseek(module):
        return None

    def read(streams: Any, output: Any) -> Seen:
        post, comb, _ = output
        return Seen(
            res=comb.mT,
            pre=_reading(module, streams),
            post=post,
            streams=streams,
            logits=partial(_logits, module, streams),
        )

    return Site(path, "deepseek_v4", module, on_output(module, read))


def is_deepseek(module: nn.Module) -> bool:
    """Whether `module` computes the mappings of a layer of DeepSeek-V4."""
    parts = ("hc_mult", "hc_eps", "hc_sinkhorn_iters", "input_norm", "fn", "base", "scale")
    return is_named(module, "HyperConnection") and has(module, *parts)


def _reading(module: Any, streams: Tensor) -> Tensor:
    """H_pre, (..., n), as the module computes it."""
    part = slice(module.hc_mult)
    return torch.sigmoid(_gated(module, streams, part, 0)) + module.hc_eps


def _logits(module: Any, streams: Tensor) -> Tensor:
    """What comb is normalised from, (..., n, n), transposed like it."""
    n = module.hc_mult
    return _gated(module, streams, slice(2 * n, None), 2).unflatten(-1, (n, n)).mT


def _gated(module: Any, streams: Tensor, part: slice, gate: int) -> Tensor:
    x = module.input_norm(streams.flatten(-2).float())
    return linear(x, module.fn[part].float()) * module.scale[gate] + module.base[part]

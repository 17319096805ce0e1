"""Models with streams that they do not mix: hy_v4 and qwen4_exp in transformers.

Each layer reads from all streams and writes to all of them, but the residual mapping is the
identity.  It is recorded as that, with a remark: a model that does not mix cannot explode through
its mappings, and that is no merit of theirs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .site import Seen, Site, family, has, is_named, on_output


@family("no mixing", "HyperConnection", "GatedResidual")
def find(path: str, module: Any) -> Site | None:
    """hy_v4's HyperConnection, which has no comb; qwen4_exp's gated residual."""
    if (
        is_named(module, "HyperConnection")
        and has(module, "hc_mult", "hc_eps", "input_norm", "fn", "base", "scale")
        and not hasattr(module, "hc_sinkhorn_iters")
        and module.scale.numel() == 2
    ):
        return _site(path, module, lambda h, output: _read_hy(module, h, output))
    if (
        is_named(module, "GatedResidual")
        and has(module, "hc_count", "hidden_size", "block_inject_weight")
        and module.block_inject_weight is not None  # else it is the head, which writes nothing
    ):
        return _site(path, module, lambda h, output: _read_qwen(module, output))
    return None


def _site(path: str, module: nn.Module, read: Any) -> Site:
    name = type(module).__name__
    remark = (
        f"{name} does not mix its streams: each layer adds to them what its branch returns, and "
        "H_res is the identity."
    )
    return Site(path, "no mixing", module, on_output(module, read), mixes=False, remark=remark)


def _read_hy(module: Any, streams: Tensor, output: Any) -> Seen:
    post, _ = output
    n = module.hc_mult
    flat = streams.flatten(-2).float()
    products = linear(flat, module.fn[:n].float()) * module.input_norm(flat)
    pre = torch.sigmoid(products * module.scale[0] + module.base[:n]) + module.hc_eps
    return Seen(res=_identity(post), pre=pre, post=post, streams=streams)


def _read_qwen(module: Any, output: Any) -> Seen:
    # A gate for each stream and feature says what is read, so there is no H_pre of n numbers.
    _, streams, post = output
    streams = streams.unflatten(-1, (module.hc_count, module.hidden_size))
    return Seen(res=_identity(post), post=post, streams=streams)


def _identity(post: Tensor) -> Tensor:
    return torch.eye(post.shape[-1], dtype=torch.float32, device=post.device)

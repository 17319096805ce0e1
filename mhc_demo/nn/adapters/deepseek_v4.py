"""DeepSeek-V4 in transformers, and models whose layers are the same, such as glm5_next.

The modules `attn_hc` and `ffn_hc` return (post, comb, what the branch reads).  The decoder layer
applies comb transposed, so what is recorded is its transpose.  H_pre is not returned; it is
computed again from the normalised streams, as soon as they are there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...numerics._torch import in_backward
from .site import Handle, Keep, Seen, Site, altered_output, family, has, is_named, on_output


@family("deepseek_v4", "HyperConnection")
def find(path: str, module: Any) -> Site | None:
    """A class whose name ends in HyperConnection and that has a count of Sinkhorn iterations."""
    if not is_deepseek(module):
        return None

    reading: list[Tensor] = []

    def read(streams: Any, output: Any) -> Seen:
        post, comb, _ = output
        pre = reading.pop() if reading else _reading(module, _normed(module, streams))
        reading.clear()
        return Seen(
            res=comb.mT,
            pre=pre,
            post=post,
            streams=streams,
            logits=partial(_logits, module, streams),
        )

    def hold(norm: Any, args: Any, x: Tensor) -> None:
        if not in_backward():
            with torch.no_grad():
                reading.append(_reading(module, x))

    def attach(keep: Keep) -> list[Handle]:
        # The norm of all streams is most of what H_pre costs, and the module computes it anyway;
        # to keep it until the module returns would cost memory.
        return [module.input_norm.register_forward_hook(hold), *on_output(module, read)(keep)]

    return Site(
        path,
        "deepseek_v4",
        module,
        attach,
        alter=altered_output(module, read),
        doubly_stochastic=True,
        iterations=module.hc_sinkhorn_iters,
    )


def is_deepseek(module: Any) -> bool:
    """Whether `module` computes the mappings of a layer of DeepSeek-V4."""
    parts = ("hc_mult", "hc_eps", "hc_sinkhorn_iters", "input_norm", "fn", "base", "scale")
    return is_named(module, "HyperConnection") and has(module, *parts)


def _reading(module: Any, x: Tensor) -> Tensor:
    """H_pre, (..., n), from the normalised streams, (..., nC), as the module computes it."""
    part = slice(module.hc_mult)
    return _gated(module, x, part, 0).sigmoid_().add_(module.hc_eps)


def _logits(module: Any, streams: Tensor) -> Tensor:
    """What comb is normalised from, (..., n, n), transposed like it."""
    n = module.hc_mult
    return _gated(module, _normed(module, streams), slice(2 * n, None), 2).unflatten(-1, (n, n)).mT


def _normed(module: Any, streams: Tensor) -> Tensor:
    return module.input_norm(streams.flatten(-2).float())


def _gated(module: Any, x: Tensor, part: slice, gate: int) -> Tensor:
    # This way round a product with few rows takes two thirds of the time of `linear`.
    products = (module.fn[part].float() @ x.flatten(0, -2).mT).mT.unflatten(0, x.shape[:-1])
    return torch.addcmul(module.base[part], products, module.scale[gate])

"""Other packages' weights in our layers: the same function, within the rounding of float32.

Implementations differ in where an epsilon stands, in what they transpose and in whether their norm
has a weight.  Each of these is silent when it is overlooked, so each is settled here.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from .adapters.deepseek_v4 import is_deepseek
from .adapters.hyper_connections import check_layout
from .adapters.site import has, is_named
from .heads import StreamHead
from .layers import Branch, HyperConnection, ManifoldHyperConnection

NORMALISED = 1e-24
"""`torch.nn.functional.normalize` divides by the norm, or by 1e-12 if that is larger."""


def from_deepseek_v4(
    module: nn.Module, branch: Branch | None = None
) -> ManifoldHyperConnection | StreamHead | ConvertedBlock:
    """Our layer with the weights of a module of DeepSeek-V4 in transformers, or of its kin.

    - Of `attn_hc` or `ffn_hc`, with the `branch` that it surrounds: a `ManifoldHyperConnection`
      whose projection is "released".
    - Of a decoder layer: a module with the same call that holds two of those and takes its place.
    - Of the head at the end: a `StreamHead`.

    Mappings and head are copied; attention and feed-forward network are the same modules as before.
    comb is applied transposed there, so phi and b hold the transposed rows.  In bfloat16 the
    mixing is more exact than there, where it is computed in bfloat16; ours is in float32.

    Raises TypeError for any other module, or if a branch is missing or has no place.
    """
    if is_deepseek(module):
        if branch is None:
            raise TypeError(
                "branch must be given with the mappings of a layer: what is computed between "
                "reading the streams and writing to them, such as attention after its norm"
            )
        return _deepseek_layer(module, branch)
    if branch is not None:
        raise TypeError(f"branch goes with a layer's mappings alone, not {type(module).__name__}")
    if is_named(module, "HyperHead") and has(module, "hc_fn", "hc_base", "hc_scale"):
        return _deepseek_head(module)
    if _is_block(module) and is_named(module, "V4DecoderLayer"):
        return ConvertedBlock(module)
    if _is_block(module):
        raise TypeError(
            f"module is a {type(module).__name__}, whose call differs from DeepSeek-V4's: convert "
            "its attn_hc and ffn_hc, with branches of your own"
        )
    raise TypeError(
        "module must be a decoder layer, a HyperConnection or a HyperHead of DeepSeek-V4, not "
        f"{type(module).__name__}; of a whole model convert each of `model.model.layers` and put "
        "it back"
    )


def _is_block(module: Any) -> bool:
    parts = ("attn_hc", "ffn_hc", "self_attn", "mlp", "input_layernorm", "post_attention_layernorm")
    return has(module, *parts) and is_deepseek(module.attn_hc)


class ConvertedBlock(nn.Module):
    """A decoder layer of DeepSeek-V4 with our layers, called as before: streams (B, T, n, C)."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.attention = _deepseek_layer(
            block.attn_hc, _Normed(block.input_layernorm, block.self_attn)
        )
        self.feed_forward = _deepseek_layer(
            block.ffn_hc, _Normed(block.post_attention_layernorm, block.mlp)
        )

    def forward(
        self, hidden_states: Tensor, input_ids: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """The next streams."""
        h = self.attention(hidden_states, **kwargs)
        return self.feed_forward(h, input_ids=input_ids)


class _Normed(nn.Module):
    """A norm, and the module that gets its output."""

    def __init__(self, norm: nn.Module, module: nn.Module) -> None:
        super().__init__()
        self.norm, self.module = norm, module

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        y = self.module(self.norm(x), **kwargs)
        return y[0] if isinstance(y, tuple) else y  # attention returns its weights too


def _deepseek_layer(module: Any, branch: Branch) -> ManifoldHyperConnection:
    n, width = module.hc_mult, module.fn.shape[1] // module.hc_mult
    layer = ManifoldHyperConnection(
        branch,
        width,
        n,
        projection="released",
        iterations=module.hc_sinkhorn_iters,
        eps=module.hc_eps,
        read_eps=module.hc_eps,
        rms_eps=module.input_norm.eps,
    )
    pre, post, comb = module.fn.detach().split((n, n, n * n))
    comb = comb.unflatten(0, (n, n)).transpose(0, 1).flatten(0, 1)
    to_pre, to_post, to_comb = module.base.detach().split((n, n, n * n))
    _set(
        layer.mappings,
        module,
        phi=torch.cat((pre, post, comb)),
        alpha=module.scale,
        b_pre=to_pre,
        b_post=to_post,
        b_res=to_comb.view(n, n).T,
    )
    return layer


def _deepseek_head(module: Any) -> StreamHead:
    n = module.hc_mult
    width = module.hc_fn.shape[1] // n
    head = StreamHead(width, n, eps=module.eps, rms_eps=module.input_norm.eps)
    _set(head, module, phi=module.hc_fn, alpha=module.hc_scale, b=module.hc_base)
    return head


def from_hyper_connections(module: nn.Module, branch: Branch | None = None) -> HyperConnection:
    """Our `HyperConnection` with the weights of an HC layer of the package hyper-connections.

    `branch` is the layer's own unless another is given.  The weight of the norm becomes a part of
    theta; H_res and H_pre, which share a gate there, get one each with the same value.  The
    streams are in the batch there, (b n, ..., C), and next to last here, (b, ..., n, C):
    `h.unflatten(0, (-1, n)).movedim(1, -2)`.

    Raises TypeError for any other module, and ValueError for a layer of theirs that ours cannot
    compute: mHC and mHCv2, which normalise each stream by itself; several views or fractions;
    without tanh; with dropout, or another way to add the branch's output; channels first.
    """
    layer: Any = module
    if not (is_named(layer, "HyperConnections") and has(layer, "static_alpha", "norm")):
        raise TypeError(
            f"module must be a HyperConnections of hyper-connections, not {type(module).__name__}"
        )
    _check_convertible(layer)
    branch = layer.branch if branch is None else branch
    if branch is None:
        raise TypeError("branch must be given, for the layer has none of its own")
    n, width = layer.num_residual_streams, layer.dynamic_alpha_fn.shape[0]
    ours = HyperConnection(branch, width, n, rms_eps=NORMALISED / width)
    gamma = layer.norm.gamma.detach() + 1
    alpha = layer.dynamic_alpha_fn.detach().T
    _set(
        ours.mappings,
        layer,
        theta=torch.cat((alpha[:1], layer.dynamic_beta_fn.detach()[None], alpha[1:])) * gamma,
        alpha=torch.stack(
            (layer.dynamic_alpha_scale, layer.dynamic_beta_scale, layer.dynamic_alpha_scale)
        ),
        b_pre=layer.static_alpha[:, 0],
        b_post=layer.static_beta,
        b_res=layer.static_alpha[:, 1:].T,
    )
    return ours


def _check_convertible(layer: Any) -> None:
    check_layout("", layer)
    if hasattr(layer, "residual_mix_constraint_fn"):
        raise ValueError(
            "mHC of hyper-connections cannot be converted: it normalises each stream by itself, "
            "and ManifoldHyperConnection all of them together (Eq. 7)"
        )
    add = signature(type(layer).__init__).parameters["depth_residual_fn"].default
    for refused, words in (
        (layer.num_input_views != 1, f"has num_input_views={layer.num_input_views}"),
        (not isinstance(layer.act, nn.Tanh), "was made with tanh=False"),
        (layer.dropout.p > 0, f"has dropout={layer.dropout.p:g}"),
        (layer.channel_first, "was made with channel_first=True"),
        (not layer.add_branch_out_to_residual, "was made with add_branch_out_to_residual=False"),
        (layer.depth_residual_fn is not add, "has a depth_residual_fn of its own"),
    ):
        if refused:
            raise ValueError(f"the layer cannot be converted, for it {words}")


def _set(target: Any, source: nn.Module, **values: Tensor) -> None:
    """Give `target` copies of these parameters, in the dtype and on the device of `source`'s."""
    learns = any(each.requires_grad for each in source.parameters(recurse=False))
    for name, value in values.items():
        copy = value.detach().clone(memory_format=torch.contiguous_format)
        assert copy.shape == getattr(target, name).shape
        setattr(target, name, nn.Parameter(copy, requires_grad=learns))

"""Small random models of other packages, of which nothing is downloaded."""

import pytest
import torch
from torch import nn

VOCABULARY = 64


def deepseek_v4(layers=2, width=32, streams=4, **settings):
    """A `DeepseekV4ForCausalLM` in evaluation mode."""
    kinds = pytest.importorskip("transformers.models.deepseek_v4")
    config = kinds.DeepseekV4Config(
        vocab_size=VOCABULARY, hidden_size=width, moe_intermediate_size=width // 2,
        num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        qk_rope_head_dim=8, q_lora_rank=16, o_groups=1, o_lora_rank=8, n_routed_experts=4,
        num_experts_per_tok=2, index_n_heads=2, index_head_dim=16, index_topk=4, sliding_window=8,
        hc_mult=streams, **settings,
    )  # fmt: skip
    return livened(kinds.DeepseekV4ForCausalLM(config).eval())


def glm5_next(layers=2, width=32, streams=4):
    """A `Glm5NextTextModel` in evaluation mode."""
    model = pytest.importorskip("transformers.models.glm5_next.modeling_glm5_next")
    config = pytest.importorskip("transformers.models.glm5_next.configuration_glm5_next")
    settings = config.Glm5NextTextConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=width,
        moe_intermediate_size=width // 2, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=2, n_routed_experts=4, num_experts_per_tok=2, kv_lora_rank=8,
        q_lora_rank=8, qk_nope_head_dim=8, v_head_dim=8, linear_head_dim=8, linear_num_heads=2,
        index_n_heads=2, index_head_dim=8, index_topk=4, index_kpool=4,
        pad_token_id=0, use_cache=False, hc_mult=streams,
    )  # fmt: skip
    return livened(model.Glm5NextTextModel(settings).eval())


def hy_v4(layers=2, width=32):
    """An `HYV4Model` in evaluation mode."""
    model = pytest.importorskip("transformers.models.hy_v4.modeling_hy_v4")
    config = pytest.importorskip("transformers.models.hy_v4.configuration_hy_v4")
    settings = config.HYV4Config(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=width,
        moe_intermediate_size=width // 2, num_hidden_layers=layers, num_attention_heads=2,
        head_dim=16, n_routed_experts=4, num_experts_per_tok=2, q_lora_rank=8, kv_lora_rank=8,
        qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, index_topk=4, index_head_dim=16,
        index_n_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return livened(model.HYV4Model(settings).eval())


def qwen4_exp(layers=2, width=32):
    """A `Qwen4ExpTextModel` in evaluation mode."""
    model = pytest.importorskip("transformers.models.qwen4_exp.modeling_qwen4_exp")
    config = pytest.importorskip("transformers.models.qwen4_exp.configuration_qwen4_exp")
    settings = config.Qwen4ExpTextConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, linear_key_head_dim=8, linear_value_head_dim=8,
        linear_num_key_heads=2, linear_num_value_heads=2, moe_intermediate_size=16,
        shared_expert_intermediate_size=16, num_experts=4, num_experts_per_tok=2, hc_lowrank=8,
        use_cache=False,
    )  # fmt: skip
    return livened(model.Qwen4ExpTextModel(settings).eval())


def livened(model, size=0.5):
    """The same model with mappings that differ from token to token and from layer to layer."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "_hc" in name or "hc_head" in name or "hyper_connection" in name:
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
            elif "embed" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def silenced(model):
    """The same model, whose attention and feed-forward networks return zero."""
    for module in model.modules():
        for name in ("self_attn", "linear_attn", "mlp"):
            branch = getattr(module, name, None)
            if isinstance(branch, nn.Module):
                branch.register_forward_hook(_zero)
    return model


def _zero(module, args, output):
    if isinstance(output, tuple):
        return (torch.zeros_like(output[0]), *output[1:])
    return torch.zeros_like(output)


def tokens(batch=2, length=6):
    """Token ids, (batch, length)."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(1, VOCABULARY, (batch, length), generator=generator)


KINDS = ("HC", "mHC", "mHCv2")
"""The layers of the package hyper-connections."""


def hyper_connections(kind="HC", depth=3, width=8, streams=4, branch=None, **settings):
    """Layers of the package hyper-connections as a list, random."""
    package = pytest.importorskip("hyper_connections")
    if kind == "mHCv2":
        kinds = pytest.importorskip("hyper_connections.mHCv2").ManifoldConstrainedHyperConnections
    else:
        kinds = package.HyperConnections if kind == "HC" else package.mHC
    layers = nn.ModuleList(
        kinds(
            streams, dim=width, layer_index=index, **settings,
            branch=nn.Linear(width, width) if branch is None else branch,
        )
        for index in range(depth)
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layers


def to_batch(h):
    """Streams (b, ..., n, C) as hyper-connections has them, in the batch: (b n, ..., C)."""
    return h.movedim(-2, 1).flatten(0, 1)


def from_batch(h, streams):
    """The reverse of `to_batch`."""
    return h.unflatten(0, (-1, streams)).movedim(1, -2)

"""The mappings against two public implementations of mHC from PyPI.

`hyper-connections` is a package of such layers; `transformers` has DeepSeek-V4, a model made of
them.  Their projections are compared with ours, and their whole layers with Eq. 3 and our matrices:
a transposed matrix is doubly stochastic too, but gives another network.

Every run tests a choice of sizes; only long ones test them all.  `transformers` takes seconds to
import, so only the tests that need it import it.
"""

import numpy as np
import pytest
import torch
from hyper_connections import mHC
from hyper_connections.manifold_constrained_hyper_connections import (
    log_domain_sinkhorn_knopps,
    sinkhorn_knopps,
)
from torch import nn
from torch.func import functional_call

import mhc_demo as mhc
from mhc_demo.numerics.projections import RELEASED_EPS

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}
DTYPES = pytest.mark.parametrize("dtype", EPS, ids=str)
# Whole layers in float32: sums of up to 200 products, entries up to 50.
LAYER_ATOL = LAYER_RTOL = 32 * EPS[torch.float32]


def some(name, values, rest):
    """`values` in every run of the tests, and the `rest` in long ones."""
    return pytest.mark.parametrize(
        name, [*values, *(pytest.param(value, marks=pytest.mark.long) for value in rest)]
    )


ITERATIONS = some("iterations", [1, 20], [2])


def normal(*shape, spread=1.0, seed=0, dtype=torch.float32):
    """Numbers that float32 holds exactly, in either dtype."""
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(shape, generator=generator)).to(dtype)


def value_and_gradients(function, x, parameters=()):
    """The value, and the gradients of a random weighting of it for x and the parameters."""
    x = x.clone().requires_grad_()
    value = function(x)
    weights = normal(*value.shape, seed=1, dtype=value.dtype)
    return value.detach(), *torch.autograd.grad((value * weights).sum(), [x, *parameters])


def assert_same(theirs, ours, atol, rtol=0.0):
    for a, b in zip(theirs, ours, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def eq_3(x, pre, res, post, branch):
    """One layer: streams (..., n, C), mappings (..., n), (..., n, n), (..., n)."""
    y = branch((pre[..., None] * x).sum(-2))
    return res @ x + post[..., None] * y[..., None, :]


def randomise(module, std):
    """Draw every parameter from N(0, std^2): at the start nothing is dynamic and little mixes."""
    with torch.no_grad():
        for seed, parameter in enumerate(module.parameters()):
            parameter.copy_(normal(*parameter.shape, spread=std, seed=seed))


# hyper-connections


@pytest.mark.parametrize(
    ("theirs", "spread"),
    [
        (sinkhorn_knopps, 1),
        (sinkhorn_knopps, 5),
        # At higher spreads a row underflows: theirs does not normalise sums below 1e-12.
        (log_domain_sinkhorn_knopps, 1),
        (log_domain_sinkhorn_knopps, 50),
        (log_domain_sinkhorn_knopps, 1000),
    ],
)
@some("n", [1, 4], [2, 3, 5, 8])
@ITERATIONS
@DTYPES
def test_sinkhorn_is_that_of_hyper_connections(theirs, spread, n, iterations, dtype):
    logits = normal(100, n, n, spread=spread, seed=n, dtype=dtype)
    # Up to 40 roundings, whose effect shrinks.  Theirs computes float64 in float32 too, where a
    # logarithm has a relative error of half an eps; float32 logits are the same in both.
    atol = 16 * EPS[torch.float32]
    if dtype == torch.float64:
        atol += float(logits.abs().max()) * EPS[torch.float32] / 2
    assert_same(
        value_and_gradients(lambda z: theirs(z, iterations), logits),
        value_and_gradients(lambda z: mhc.sinkhorn_knopp(z, iterations), logits),
        atol,
    )


def hyper_connections_mappings(layer, x, iterations):
    """(H_pre, H_res, H_post) from that layer's parameters, oriented as they are applied.

    It projects as we do, columns first and rows second, but then sums over the first index, so it
    applies the transpose.  That ends on columns: its backward gain is 1 and its forward gain only
    nearly so, the reverse of the paper.
    """
    normed = layer.norm(x)
    scale = torch.cat((layer.pre_branch_scale, layer.residual_scale.expand(x.shape[-2])))
    alpha = normed @ layer.dynamic_alpha_fn[0] * scale + layer.static_alpha
    beta = normed @ layer.dynamic_beta_fn * layer.h_post_scale + layer.static_beta
    res = mhc.sinkhorn_knopp(alpha[..., 1:], iterations).mT
    return alpha[..., 0].sigmoid(), res, 2 * beta.sigmoid()


@some("n", [4], [1, 2, 5])
@ITERATIONS
def test_a_layer_of_hyper_connections_is_eq_3_with_the_transposed_matrix(n, iterations):
    batch, tokens, width = 2, 3, 8
    layer = mHC(n, dim=width, branch=nn.Tanh(), layer_index=0, sinkhorn_iters=iterations)
    randomise(layer, std=0.5)
    streams = normal(batch, tokens, n, width)

    def theirs(x):  # their streams are folded into the batch
        folded = x.movedim(-2, 1).flatten(0, 1)
        return layer(folded).unflatten(0, (batch, n)).movedim(1, -2)

    def ours(x):
        return eq_3(x, *hyper_connections_mappings(layer, x, iterations), torch.tanh)

    parameters = list(layer.parameters())
    assert_same(
        value_and_gradients(theirs, streams, parameters),
        value_and_gradients(ours, streams, parameters),
        LAYER_ATOL,
        LAYER_RTOL,
    )


# transformers: DeepSeek-V4


@pytest.fixture(scope="module")
def deepseek():
    """The module of that model; a layer with random parameters needs no download."""
    from transformers.models.deepseek_v4 import modeling_deepseek_v4

    return modeling_deepseek_v4


def tiny_config(deepseek, streams, iterations):
    small = dict.fromkeys(["hidden_size", "q_lora_rank", "o_lora_rank", "moe_intermediate_size"], 8)
    few = dict.fromkeys(["num_hidden_layers", "num_attention_heads", "o_groups"], 1)
    return deepseek.DeepseekV4Config(
        hc_mult=streams, hc_sinkhorn_iters=iterations, head_dim=16, n_routed_experts=2,
        vocab_size=8, index_n_heads=1, index_head_dim=16, **small, **few,
    )  # fmt: skip


def test_the_static_mappings_of_a_checkpoint_are_those_of_the_model(deepseek, tmp_path):
    module = deepseek.DeepseekV4HyperConnection(tiny_config(deepseek, 4, 20))
    base = torch.randn(24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module.base.copy_(base)
        module.fn.zero_()
        module.scale.zero_()
        _, comb, _ = module(torch.zeros(1, 1, 4, 8))
    np.savez(tmp_path / "model.npz", **{"layers.0.attn_hc.base": base.numpy()})
    found = mhc.inspect(tmp_path / "model.npz").matrices
    np.testing.assert_allclose(found[0, 0], comb[0, 0].T, rtol=0, atol=8 * EPS[torch.float32])


@some("spread", [1, 1000], [5, 50])
@some("n", [4], [1, 2, 3, 6])
@ITERATIONS
@DTYPES
def test_the_mappings_of_deepseek_v4_are_ours(deepseek, n, spread, iterations, dtype):
    module = deepseek.DeepseekV4HyperConnection(tiny_config(deepseek, n, iterations)).to(dtype)
    nn.init.zeros_(module.fn)  # theirs computes the dynamic part in float32; it is tested below
    nn.init.ones_(module.scale)
    streams = normal(1, 1, n, 8, dtype=dtype)

    def theirs(logits):
        post, comb, collapsed = functional_call(module, {"base": logits}, streams)
        return torch.cat((post.flatten(), comb.mT.flatten(), collapsed.flatten()))

    def ours(logits):
        pre, post, res = logits.split([n, n, n * n])
        res = mhc.project(res.view(n, n).mT, "released", iterations)
        collapsed = (pre.sigmoid() + RELEASED_EPS) @ streams
        return torch.cat((2 * post.sigmoid(), res.flatten(), collapsed.flatten()))

    for seed in range(3):
        logits = normal(n * (n + 2), spread=spread, seed=seed, dtype=dtype)
        # The same steps in the same order; only sums may be taken in a different one.
        assert_same(
            value_and_gradients(theirs, logits), value_and_gradients(ours, logits), 16 * EPS[dtype]
        )


def deepseek_mappings(module, x, iterations):
    """(H_pre, H_res, H_post) from that module's parameters, oriented as they are applied."""
    n = x.shape[-2]
    flat = x.flatten(-2)
    logits = nn.functional.rms_norm(flat, flat.shape[-1:], eps=1e-6) @ module.fn.mT
    pre, post, res = (
        part * scale + base
        for part, scale, base in zip(
            logits.split([n, n, n * n], -1),
            module.scale,
            module.base.split([n, n, n * n]),
            strict=True,
        )
    )
    res = mhc.project(res.unflatten(-1, (n, n)).mT, "released", iterations)
    return pre.sigmoid() + RELEASED_EPS, res, 2 * post.sigmoid()


@some("n", [4], [1, 2, 5])
@ITERATIONS
def test_a_block_of_deepseek_v4_is_eq_3_twice(deepseek, n, iterations):
    class Attention(nn.Tanh):
        def forward(self, x, **_):
            return super().forward(x), None

    class Experts(nn.Softplus):
        def forward(self, x, input_ids=None):
            return super().forward(x)

    block = deepseek.DeepseekV4DecoderLayer(tiny_config(deepseek, n, iterations), 0)
    block.self_attn, block.mlp = Attention(), Experts()  # any branches will do
    block.input_layernorm = block.post_attention_layernorm = nn.Identity()
    randomise(block, std=0.5)
    streams = normal(2, 3, n, 8)

    def ours(x):
        x = eq_3(x, *deepseek_mappings(block.attn_hc, x, iterations), torch.tanh)
        return eq_3(x, *deepseek_mappings(block.ffn_hc, x, iterations), nn.functional.softplus)

    parameters = [*block.attn_hc.parameters(), *block.ffn_hc.parameters()]
    assert_same(
        value_and_gradients(block, streams, parameters),
        value_and_gradients(ours, streams, parameters),
        LAYER_ATOL,
        LAYER_RTOL,
    )

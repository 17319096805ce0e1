"""Weights of other packages in our layers: the same function to the rounding of float32."""

import copy

import pytest
import torch
from torch import nn

from mhc_demo import nn as mnn

from . import foreign
from .networks import FLOAT32, mlp

# A layer adds up nC = 128 products and normalises 4 x 4 matrices 20 times.  In another order of
# adding, relative to the largest number, that is some 30 roundings.
LAYER = 32 * FLOAT32


def differs(found, expected):
    """The largest difference relative to the largest number."""
    return float((found - expected).abs().max() / expected.abs().max())


def streams(batch=2, length=6, width=32, size=1.0):
    return size * torch.randn(batch, length, 4, width)


@pytest.mark.parametrize("sharpness", [0.5, 5.0])
@pytest.mark.parametrize("part", ["attn_hc", "ffn_hc"])
@torch.no_grad()
def test_a_layer_of_deepseek_v4_is_the_same_function(part, sharpness):
    model = foreign.livened(foreign.deepseek_v4(layers=1, hc_eps=1e-3), sharpness)
    theirs, branch = getattr(model.model.layers[0], part), mlp(32)
    ours = mnn.from_deepseek_v4(theirs, branch)
    h = streams()
    post, comb, read = theirs(h)
    expected = post.unsqueeze(-1) * branch(read).unsqueeze(-2) + comb.mT @ h
    assert differs(ours(h), expected) < LAYER
    pre, our_post, res = ours.mappings(h)
    assert differs(res, comb.mT) < LAYER
    assert differs(our_post, post) < LAYER
    assert differs((pre.unsqueeze(-2) @ h).squeeze(-2), read) < LAYER
    ours.mappings.read_eps = 0.0  # the epsilon of H_pre would not pass unnoticed
    assert differs(ours(h), expected) > 10 * LAYER
    assert ours.mappings.b_res.data_ptr() != theirs.base.data_ptr()


@torch.no_grad()
def test_a_layer_of_glm5_next_is_the_same_function():
    model = foreign.glm5_next(layers=1)
    theirs = model.layers[0].ffn_hc
    ours = mnn.from_deepseek_v4(theirs, nn.Identity())
    h = streams()
    post, comb, read = theirs(h)
    expected = post.unsqueeze(-1) * read.unsqueeze(-2) + comb.mT @ h
    assert differs(ours(h), expected) < LAYER
    with pytest.raises(TypeError, match="Glm5NextTextDecoderLayer, whose call differs"):
        mnn.from_deepseek_v4(model.layers[0])


@torch.no_grad()
def test_a_whole_model_of_deepseek_v4_is_the_same_function():
    model = foreign.deepseek_v4(layers=2)
    ids = foreign.tokens()
    expected = model(ids).logits
    converted = copy.deepcopy(model)
    inner = converted.model
    for index, layer in enumerate(inner.layers):
        inner.layers[index] = mnn.from_deepseek_v4(layer)
    inner.hc_head = mnn.from_deepseek_v4(inner.hc_head)
    found = converted(ids).logits
    assert differs(found, expected) < 4 * LAYER
    with mnn.record_mappings(model) as theirs:
        model(ids)
    with mnn.record_mappings(converted) as ours:
        converted(ids)
    assert ours.names[:2] == ["model.layers.0.attention", "model.layers.0.feed_forward"]
    assert ours.family == "mhc_demo"
    assert differs(ours.stack(), theirs.stack()) < 4 * LAYER


@torch.no_grad()
def test_the_head_of_deepseek_v4_is_the_same_function():
    theirs = foreign.deepseek_v4(layers=1, hc_eps=1e-3).model.hc_head
    ours, h = mnn.from_deepseek_v4(theirs), streams()
    assert differs(ours(h), theirs(h)) < LAYER
    half = h.bfloat16()
    assert ours(half).dtype == torch.bfloat16
    assert differs(ours(half).float(), theirs(half).float()) < 2.0**-7


def test_what_is_converted_learns_as_before():
    theirs = foreign.deepseek_v4(layers=1).model.layers[0].attn_hc
    h = streams().requires_grad_()
    ours = mnn.from_deepseek_v4(theirs, nn.Identity())
    post, comb, read = theirs(h)
    weights = torch.randn_like(h)
    ((post.unsqueeze(-1) * read.unsqueeze(-2) + comb.mT @ h) * weights).sum().backward()
    expected, h.grad = h.grad, None
    (ours(h) * weights).sum().backward()
    assert differs(h.grad, expected) < 4 * LAYER
    assert differs(ours.mappings.phi.grad[:8], theirs.fn.grad[:8]) < 4 * LAYER
    res = ours.mappings.phi.grad[8:].unflatten(0, (4, 4)).transpose(0, 1).flatten(0, 1)
    assert differs(res, theirs.fn.grad[8:]) < 4 * LAYER
    assert differs(ours.mappings.alpha.grad, theirs.scale.grad) < 4 * LAYER
    assert len(mnn.parameter_groups(ours, 0.1)[1]["params"]) == 4
    theirs.requires_grad_(False)
    frozen = mnn.from_deepseek_v4(theirs, nn.Identity())
    assert not any(each.requires_grad for each in frozen.parameters())


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
@torch.no_grad()
def test_hc_of_hyper_connections_is_the_same_function(size):
    for theirs in foreign.hyper_connections("HC", depth=2, width=32):
        ours, h = mnn.from_hyper_connections(theirs), streams(size=size)
        expected = foreign.from_batch(theirs(foreign.to_batch(h)), 4)
        assert ours.branch is theirs.branch
        assert differs(ours(h), expected) < LAYER
    zero = torch.zeros(1, 4, 32)
    assert torch.isfinite(ours(zero)).all()
    other = mnn.from_hyper_connections(theirs, nn.Identity())
    assert isinstance(other.branch, nn.Identity)


def test_what_cannot_be_converted_says_why():
    (mhc,) = foreign.hyper_connections("mHC", depth=1)
    with pytest.raises(ValueError, match=r"normalises each stream by itself"):
        mnn.from_hyper_connections(mhc)
    for settings, words in (
        ({"num_input_views": 2}, "num_input_views=2"),
        ({"num_fracs": 2}, "num_fracs=2"),
        ({"tanh": False}, "tanh=False"),
        ({"dropout": 0.1}, r"dropout=0\.1"),
        ({"channel_first": True}, "channel_first=True"),
        ({"add_branch_out_to_residual": False}, "add_branch_out_to_residual=False"),
        ({"depth_residual_fn": torch.sub}, "depth_residual_fn"),
    ):
        (layer,) = foreign.hyper_connections("HC", depth=1, **settings)
        with pytest.raises(ValueError, match=words):
            mnn.from_hyper_connections(layer)
    (bare,) = foreign.hyper_connections("HC", depth=1)
    bare.branch = None
    with pytest.raises(TypeError, match="branch must be given"):
        mnn.from_hyper_connections(bare)
    with pytest.raises(TypeError, match=r"HyperConnections of hyper-connections, not Linear"):
        mnn.from_hyper_connections(nn.Linear(2, 2))
    model = foreign.deepseek_v4(layers=1)
    with pytest.raises(TypeError, match=r"each of `model\.model\.layers`"):
        mnn.from_deepseek_v4(model)
    with pytest.raises(TypeError, match="branch must be given"):
        mnn.from_deepseek_v4(model.model.layers[0].attn_hc)
    with pytest.raises(TypeError, match="branch goes with"):
        mnn.from_deepseek_v4(model.model.hc_head, nn.Identity())

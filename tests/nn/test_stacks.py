"""A whole stream in one module, and the learned end of the streams."""

import pytest
import torch
from torch import nn

from mhc_demo import nn as mnn

from .networks import FLOAT32, mlp, randomised


def branches(depth=5, width=8):
    return [mlp(width) for _ in range(depth)]


@pytest.mark.parametrize("connection", ["mhc", "hc", "residual", mnn.CrossedConnection])
@pytest.mark.parametrize("recompute", [False, True, 2])
def test_a_stack_is_its_layers_between_expansion_and_reduction(connection, recompute):
    stack = mnn.StreamStack(
        branches(), 8, 3, connection=connection, recompute=recompute, reduce="mean"
    )
    x = torch.randn(2, 6, 8)
    h = mnn.expand_streams(x, 3)
    for layer in stack.layers:
        h = layer(h)
    torch.testing.assert_close(stack(x), mnn.reduce_streams(h))
    assert isinstance(stack.layers, mnn.Recomputed) == bool(recompute)
    if recompute == 2:
        assert stack.layers.block == 2


@pytest.mark.parametrize("connection", ["mhc", "hc"])
def test_each_layer_of_a_stack_starts_by_reading_another_stream(connection):
    stack = mnn.StreamStack(branches(), 8, 3, connection=connection)
    with mnn.record_mappings(stack) as maps:
        stack(torch.randn(2, 8))
    assert [int(each.flatten(0, -2)[0].argmax()) for each in maps.H_pre] == [0, 1, 2, 0, 1]
    assert maps.names == [f"layers.{index}" for index in range(5)]


def test_a_stack_passes_settings_to_its_layers_and_arguments_to_its_branches():
    class Scaled(nn.Module):
        def forward(self, x, factor, *, shift=0.0):
            return factor * x + shift

    stack = mnn.StreamStack([Scaled()] * 3, 8, projection="rows", mixing=0.2, dynamic=False)
    assert {each.mappings.projection for each in stack.layers} == {"rows"}
    x = torch.randn(2, 8)
    assert not torch.equal(stack(x, 1.0), stack(x, 2.0))
    assert not torch.equal(stack(x, 1.0), stack(x, 1.0, shift=1.0))
    with pytest.raises(ValueError, match=r"connection must be one of 'mhc', 'hc', 'residual'"):
        mnn.StreamStack([], 8, connection="dense")
    with pytest.raises(ValueError, match=r"reduce must be one of 'mean', 'learned', not 'sum'"):
        mnn.StreamStack([], 8, reduce="sum")
    with pytest.raises(ValueError, match="recompute must be at least 1"):
        mnn.StreamStack([], 8, recompute=-1)


@pytest.mark.parametrize("streams", [1, 4])
def test_a_learned_head_starts_as_the_mean(streams):
    head, h = mnn.StreamHead(8, streams), torch.randn(2, 6, streams, 8)
    mean = mnn.reduce_streams(h)
    torch.testing.assert_close(head(h), mean, rtol=2e-6, atol=4 * FLOAT32)
    assert head(h.bfloat16()).dtype == torch.bfloat16
    stack = mnn.StreamStack(branches(), 8, reduce="learned")
    assert isinstance(stack.head, mnn.StreamHead)
    x = torch.randn(3, 8)
    torch.testing.assert_close(stack(x), mnn.StreamStack.forward(_meant(stack), x), **TIGHT)
    assert {id(stack.head.alpha), id(stack.head.b)} <= {
        id(each) for each in mnn.parameter_groups(stack, 0.1)[1]["params"]
    }


TIGHT = {"rtol": 1e-5, "atol": 1e-6}


def _meant(stack):
    twin = mnn.StreamStack(branches(), 8)
    twin.layers.load_state_dict(stack.layers.state_dict())
    return twin


def test_a_head_weighs_every_token_by_its_streams():
    head = randomised(mnn.StreamHead(8, 4, eps=0.25, rms_eps=1e-6))
    h = torch.randn(2, 6, 4, 8, dtype=torch.float64)
    x = h.flatten(-2) * torch.rsqrt(h.flatten(-2).square().mean(-1, keepdim=True) + 1e-6)
    weights = torch.sigmoid(head.alpha * (x @ head.phi.double().T) + head.b) + 0.25
    torch.testing.assert_close(head(h), torch.einsum("...n,...nc->...c", weights, h))
    (gradient,) = torch.autograd.grad(head(h).square().sum(), head.phi)
    assert gradient.abs().min() > 0
    with pytest.raises(ValueError, match=r"\(\.\.\., 4, 8\)"):
        head(torch.zeros(2, 3, 8))
    with pytest.raises(ValueError, match="eps must be finite and at least 0"):
        mnn.StreamHead(8, 4, eps=-1.0)

"""Recording the matrices H_res that a model applies."""

import functools

import pytest
import torch
from torch import nn

import mhc_demo as mhc
from mhc_demo import nn as mnn

from .networks import compiling, mlp, network, randomised

pytestmark = pytest.mark.filterwarnings("error")


def test_a_record_holds_the_latest_call_and_its_hooks_are_removed():
    layers = randomised(network("mhc", depth=3))
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in layers.modules()]
    a, b = torch.randn(2, 4, 8), torch.randn(7, 4, 8)
    with mnn.record_mappings(layers) as maps:
        assert len(maps) == 0
        layers(a)
        first = maps.stack()
        with mnn.record_mappings(layers[1]) as inner:
            layers(b)
        assert len(inner) == 1
        assert torch.equal(inner[0], maps[1])
        assert maps.stack().shape == (7, 3, 4, 4)
        layers(a)
        assert len(inner) == 1
        assert inner[0].shape == (7, 4, 4)  # its context is closed, so it has not changed
    assert torch.equal(maps.stack(), first)
    assert len(maps) == len(list(maps)) == 3
    assert [each.shape for each in maps[1:]] == [(2, 4, 4)] * 2
    assert not any(each.requires_grad for each in maps)
    layers(b)
    assert torch.equal(maps.stack(), first)
    with pytest.raises(KeyError), mnn.record_mappings(layers):
        raise KeyError
    after = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in layers.modules()]
    assert after == hooks


def test_layers_are_recorded_in_the_order_of_their_first_call():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = randomised(network("hc-static", depth=3))

        def forward(self, h):
            for index in (2, 0, 2, 1):
                h = self.layers[index](h)
            return h

    model = Backwards()
    with mnn.record_mappings(model) as maps:
        model(torch.randn(4, 8))
    for found, index in zip(maps, (2, 0, 1), strict=True):
        assert torch.equal(found, model.layers[index].mappings.b_res)


def test_a_record_does_not_change_with_the_parameters():
    layers = network("hc-static", depth=1)
    with mnn.record_mappings(layers) as maps:
        layers(torch.randn(4, 8))
    with torch.no_grad():
        layers[0].mappings.b_res.zero_()
    assert torch.equal(maps[0], torch.eye(4))


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_in_the_backward_pass_does_not_touch_the_record(reentrant):
    layers = randomised(network("mhc", depth=3))
    a, b = (torch.randn(2, 4, 8, requires_grad=True) for _ in range(2))
    run = functools.partial(torch.utils.checkpoint.checkpoint, layers, use_reentrant=reentrant)
    for forward in (run, mnn.Recomputed(list(layers), 2)):
        with mnn.record_mappings(layers) as maps:
            first = forward(a)
            layers(b)
            latest = maps.stack()
            first.sum().backward()
            assert torch.equal(maps.stack(), latest)


def test_stack_mean_and_mixing():
    static, dynamic = mnn.HyperConnection(nn.Identity(), 8, dynamic=False), network("mhc", 1)[0]
    model = randomised(nn.Sequential(static, dynamic, mnn.Residual(nn.Identity(), 8)))
    with mnn.record_mappings(model) as maps:
        model(torch.randn(2, 3, 4, 8))
    assert [each.shape for each in maps] == [(4, 4), (2, 3, 4, 4), (4, 4)]
    stacked = maps.stack()
    assert stacked.shape == (2, 3, 3, 4, 4)
    torch.testing.assert_close(maps.mean(), stacked.mean((0, 1)))
    off = stacked.abs() * (1 - torch.eye(4))
    torch.testing.assert_close(maps.mixing(), off.sum((-2, -1)).mean((0, 1)) / 4)
    assert maps.mixing()[2] == 0
    gain = mhc.compose(stacked).log10_gain("forward")
    assert gain.shape == (2, 3, 3)


def test_errors_say_what_cannot_be_recorded_or_stacked():
    with (
        pytest.raises(ValueError, match=r"model has no .*Linear"),
        mnn.record_mappings(nn.Linear(2, 2)),
    ):
        pass
    with (
        pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, not function"),
        mnn.record_mappings(mlp),
    ):
        pass
    with mnn.record_mappings(network("hc")) as maps:
        pass
    for method in (maps.stack, maps.mean, maps.mixing):
        with pytest.raises(ValueError, match="no mappings were recorded"):
            method()

    class Both(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.first, self.second = (
                network("hc", 1, streams=first),
                network("hc", 1, streams=second),
            )

        def forward(self, a, b):
            return self.first(a), self.second(b)

    model = Both(2, 3)
    with mnn.record_mappings(model) as maps:
        model(torch.zeros(5, 2, 8), torch.zeros(5, 3, 8))
    for method in (maps.stack, maps.mean):
        with pytest.raises(ValueError, match=r"same number of streams.*\[2, 3\]"):
            method()
    assert maps.mixing().shape == (2,)
    model = Both(2, 2)
    with mnn.record_mappings(model) as maps:
        model(torch.zeros(5, 2, 8), torch.zeros(6, 2, 8))
    with pytest.raises(ValueError, match=r"token axes.*\(5,\), \(6,\).*mean\(\)"):
        maps.stack()
    assert maps.mean().shape == (2, 2, 2)


def test_a_model_compiled_while_recording_is_recorded():
    layers = randomised(network("hc", depth=2))
    h = torch.randn(3, 4, 8)
    with mnn.record_mappings(layers) as expected:
        layers(h)
    with compiling(), mnn.record_mappings(layers) as maps:
        torch.compile(layers, backend="eager")(h)
        torch.testing.assert_close(maps.stack(), expected.stack())

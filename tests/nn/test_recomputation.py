"""Recomputation (section 4.3.2, Eq. 20): the same numbers with less memory."""

import functools
import gc
import math
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.profiler import ProfilerActivity, profile

from mhc_demo import nn as mnn
from mhc_demo.numerics.costs import best_recompute_block

from .networks import EVERY, compiling, gradients, mlp, network, randomised

pytestmark = pytest.mark.filterwarnings("error")


def forward_and_backward(model, layers, h, backwards=1, seed=3):
    """The output and all gradients; the dropout of the branches starts from `seed`."""
    layers.zero_grad()
    h.grad = None
    torch.manual_seed(seed)
    output = model(h)
    for last in reversed(range(backwards)):
        layers.zero_grad()
        h.grad = None
        output.square().mean().backward(retain_graph=last > 0)
    return [output.detach(), *gradients(layers, h)]


@EVERY
@pytest.mark.parametrize("block", [None, 1, 100])
def test_recomputed_layers_give_the_same_output_and_gradients_to_the_bit(kind, block):
    layers = network(kind, depth=5, branch=functools.partial(mlp, dropout=0.3))
    randomised(layers, 0.3)
    h = torch.randn(2, 3, 4, 8, requires_grad=True)
    expected = forward_and_backward(layers, layers, h)
    model = mnn.Recomputed(list(layers), block)
    assert set(model.state_dict()) == set(layers.state_dict())
    for backwards in (1, 2):
        found = forward_and_backward(model, layers, h, backwards)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert torch.equal(a, b)
    with torch.no_grad():
        assert torch.equal(model.eval()(h), layers.eval()(h))


@EVERY
def test_recomputed_under_autocast(kind):
    layers = randomised(network(kind, depth=5), 0.3)
    h = torch.randn(3, 4, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = forward_and_backward(layers, layers, h)
        found = forward_and_backward(mnn.Recomputed(list(layers)), layers, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_a_branch_runs_once_per_forward_pass_and_its_arguments_get_their_gradient():
    calls = []

    class Shifted(nn.Module):
        def forward(self, x, shift):
            calls.append(1)
            return torch.tanh(x + shift)

    layers = randomised(network("mhc", depth=5, branch=lambda _: Shifted()))
    h, shift = torch.randn(2, 4, 8), torch.randn(8, requires_grad=True)
    plain = h
    for layer in layers:
        plain = layer(plain, shift)
    (expected,) = torch.autograd.grad(plain.sum(), shift)
    calls.clear()
    output = mnn.Recomputed(list(layers), 2)(h, shift)
    for _ in range(2):
        (found,) = torch.autograd.grad(output.sum(), shift, retain_graph=True)
        assert torch.equal(found, expected)
    assert len(calls) == 5


def test_layers_recomputed_or_not_within_a_branch_of_recomputed_layers():
    def inner(width):
        return nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.Unflatten(-1, (2, width)),
            mnn.Recomputed(network("hc", 3, width, 2), 2),
            network("mhc", 2, width, 2),
            nn.Flatten(-2),
            nn.Linear(2 * width, width),
        )

    layers = randomised(network("mhc", depth=3, branch=inner), 0.3)
    h = torch.randn(5, 4, 8, requires_grad=True)
    found = forward_and_backward(mnn.Recomputed(list(layers), 2), layers, h)
    for module in layers.modules():
        if isinstance(module, mnn.Recomputed):
            module.forward = functools.partial(nn.Sequential.forward, list(module))
    expected = forward_and_backward(layers, layers, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_a_layer_may_occur_several_times_in_a_block():
    layer = randomised(network("mhc", depth=1), 0.3)[0]
    shared = nn.Sequential(layer, layer, layer)
    h = torch.randn(5, 4, 8, requires_grad=True)
    found = forward_and_backward(mnn.Recomputed([layer] * 3), shared, h)
    expected = forward_and_backward(shared, shared, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_frozen_branches_and_an_input_without_gradient():
    layers = randomised(network("mhc", depth=4), 0.3)
    layers[0].requires_grad_(False)
    for layer in layers:
        layer.branch.requires_grad_(False)
    h = torch.randn(5, 4, 8)
    found = forward_and_backward(mnn.Recomputed(list(layers), 3), layers, h)
    expected = forward_and_backward(layers, layers, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_recomputed_gradients_are_right_twice():
    layers = randomised(network("mhc", depth=2, width=2, streams=2, branch=lambda _: nn.Tanh()))
    for layer in layers:
        layer.mappings.iterations = 2
    model = mnn.Recomputed(list(layers), 2).double()
    h = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(model, h)
    assert gradgradcheck(model, h)


@pytest.mark.parametrize("returned", [False, True])
def test_changing_a_kept_tensor_in_place_raises(returned):
    held = []

    def branch(x):
        held.append(torch.exp(x))  # exp keeps its result
        return held[-1] if returned else 2 * held[-1]

    model = mnn.Recomputed(network("mhc", 1, branch=lambda _: branch))
    h = torch.randn(2, 4, 8, requires_grad=True)
    model(h).sum().backward()
    output = model(h)
    held[-1].detach().add_(1.0)
    with pytest.raises(RuntimeError, match=r"\(2, 8\).*modified in place"):
        output.sum().backward()


def test_nothing_outlives_its_graph():
    layers = network("mhc", depth=4)
    alive = []
    for layer in layers:
        layer.branch.register_forward_hook(
            lambda module, args, output: alive.extend(map(weakref.ref, (args[0], output)))
        )
    model = mnn.Recomputed(list(layers), 2)
    gc.collect()
    gc.disable()
    try:
        model(torch.randn(2, 4, 8))  # never used for a backward pass
        model(torch.randn(2, 4, 8)).sum().backward()
        assert len(alive) == 16
        assert not any(reference() is not None for reference in alive)
    finally:
        gc.enable()


def bytes_held_and_peak(step):
    """(bytes in use when `step` returns, the peak)."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        held = step()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    del held
    return sum(changes), max(np.cumsum(changes))


def test_recomputation_saves_the_memory_that_eq_20_says():
    n, width, tokens, depth = 4, 64, 128, 16
    # A branch that keeps nothing, so that only the memory of the streams is counted.
    layers = network(
        "mhc-static", depth, width, n, branch=lambda _: functools.partial(torch.mul, 0.5)
    )
    h = torch.randn(tokens, n, width, requires_grad=True)
    stream = 4 * tokens * width  # one stream in float32
    best = best_recompute_block(depth, n)
    forward, peak = {}, {}
    for block in (1, best, None):
        model = mnn.Recomputed(list(layers), block) if block else layers
        model(h).sum().backward()
        forward[block], _ = bytes_held_and_peak(functools.partial(model, h))
        _, peak[block] = bytes_held_and_peak(lambda model=model: model(h).sum().backward())
    for block in (1, best):
        blocks = math.ceil(depth / block)
        # n streams per block (not the input of the first, which is h itself, but the output of
        # the last), and the output of each branch.  `checkpoint` also stores the random state for
        # each block, 5056 bytes.  The mappings of static layers are the rest.
        expected = (n * blocks + depth) * stream + 5056 * blocks
        assert forward[block] == pytest.approx(expected, rel=0.01)
    assert forward[None] == pytest.approx((n + 1) * depth * stream, rel=0.01)
    # The peak also has the streams of one block, and a few temporary tensors.
    assert peak[best] < (n * math.ceil(depth / best) + (n + 2) * best + depth + 12) * stream
    assert peak[best] < 0.65 * peak[None]
    assert peak[best] < 0.7 * peak[1]


def test_recomputed_layers_compile():
    layers = randomised(network("mhc", depth=2, branch=lambda _: nn.Tanh()), 0.3)
    h = torch.randn(3, 4, 8, requires_grad=True)
    expected = forward_and_backward(layers, layers, h)
    model = torch.compile(mnn.Recomputed(layers, 1), backend="aot_eager", fullgraph=True)
    with compiling():
        found = forward_and_backward(model, layers, h)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", ["branch", "layer"])
def test_compiled_parts_within_recomputed_layers(part):
    # A compiled layer runs its branch again in the backward pass; dropout must be the same.
    layers = randomised(network("hc", depth=3, branch=functools.partial(mlp, dropout=0.3)), 0.3)
    h = torch.randn(3, 4, 8, requires_grad=True)
    expected = forward_and_backward(layers, layers, h)
    for layer in layers:
        if part == "branch":
            layer.branch = torch.compile(layer.branch, backend="eager")
        else:
            layer.compile(backend="eager")
    with compiling():
        found = forward_and_backward(mnn.Recomputed(list(layers), 2), layers, h)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_can_be_extended_and_sliced_like_a_list_of_layers():
    layers = network("mhc", depth=4)
    model = mnn.Recomputed()
    h = torch.randn(2, 4, 8)
    assert model(h) is h
    model.extend(layers)
    torch.testing.assert_close(model[1:3](h), layers[1:3](h))

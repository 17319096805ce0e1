"""Silent mistakes of public implementations, which these layers do not make.

With each of them the loss curve still looks fine.  A sixth, weight decay on the static mappings, is
tested in test_decay.py.
"""

import copy
import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

import mhc_demo as mhc
from mhc_demo import nn as mnn

from .networks import (
    EVERY,
    EVERY_LEARNED,
    FLOAT32,
    KINDS,
    LEARNED,
    Zero,
    mlp,
    network,
    randomised,
    through,
)

pytestmark = pytest.mark.filterwarnings("error")


# Mistake 1: H_res is computed and never applied


@EVERY
def test_the_recorded_mapping_is_the_one_that_is_applied(kind):
    layers = randomised(network(kind, depth=1, streams=3))
    h = torch.randn(2, 5, 3, 8)
    without_branch = copy.deepcopy(layers)
    without_branch[0].branch = Zero()
    with mnn.record_mappings(without_branch) as maps:
        mixed = without_branch(h)
    torch.testing.assert_close(mixed, torch.einsum("...ij,...jc->...ic", maps[0], h))

    with mnn.record_mappings(layers) as maps:
        output = layers(h)
    pre, post, _ = layers[0].mappings(h)
    y = layers[0].branch(torch.einsum("...j,...jc->...c", pre, h))
    by_hand = maps[0] @ h + post[..., :, None] * y[..., None, :]
    torch.testing.assert_close(output, by_hand)


@EVERY_LEARNED
def test_altering_h_res_alters_the_output_accordingly(kind):
    layers = randomised(network(kind, depth=1))
    h = torch.randn(5, 4, 8)
    before = layers(h)

    def zeroed(module, args, output):
        return output[0], output[1], torch.zeros_like(output[2])

    with mnn.record_mappings(layers) as maps:
        layers(h)
    handle = layers[0].mappings.register_forward_hook(zeroed)
    torch.testing.assert_close(before - layers(h), maps[0] @ h)
    handle.remove()
    with torch.no_grad():
        layers[0].mappings.b_res[0, 1] += 0.5
    assert (layers(h) - before).abs().max() > 0.05


# Mistakes 2 and 3: H_res never learns, or the streams never differ


def trained(kind, steps=40, **arguments):
    """(layers, x, losses, mixing before and after, each layer's largest gradient of b_res)."""
    width, streams, depth = 8, 4, 6
    make = functools.partial(KINDS[kind], **arguments)
    layers = nn.Sequential(
        *(make(mlp(width), width, streams, layer=index) for index in range(depth))
    )
    x = torch.randn(64, width)
    target = torch.sin(2 * x @ torch.randn(width, width)) * x.flip(-1)
    optimiser = torch.optim.AdamW(mnn.parameter_groups(layers, 0.01), lr=0.01)
    with mnn.record_mappings(layers) as maps:
        losses, mixing, slopes = [], [], []
        for _ in range(steps):
            loss = (through(layers, x, streams) - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            mixing.append(maps.mixing())
            slopes.append([layer.mappings.b_res.grad.abs().max().item() for layer in layers])
    return layers, x, losses, (mixing[0], mixing[-1]), np.max(slopes, axis=0)


@EVERY_LEARNED
def test_h_res_gets_a_gradient_and_moves_when_trained(kind):
    layers, x, losses, (before, after), slopes = trained(kind)
    assert losses[-1] < 0.7 * losses[0]
    start = 0.0 if kind.startswith("hc") else 0.05
    torch.testing.assert_close(before, torch.full_like(before, start), rtol=0, atol=1e-5)
    # Parameters move by up to 0.4 in 40 steps of 0.01, those without a gradient by nothing.
    # The first layer is left out: its streams are still equal, and no row-stochastic H_res can
    # change that.
    assert ((after - before).abs()[1:] > 5e-4).all()
    assert (after - before).abs()[1:].mean() > 0.01
    assert slopes[1:].min() > 1e-6
    if kind.startswith("mhc"):
        assert slopes[0] < 2e-7  # rounding

    h = mnn.expand_streams(x, 4)
    for layer in layers:
        h = layer(h)
    spread = h.std(dim=-2).mean() / h.std()
    assert spread > 0.02  # the streams have become different: the symmetry is broken


def test_a_start_that_is_all_but_the_identity_hardly_learns():
    # Mistake 2 itself, made with `mixing`: the gradient is proportional to it.
    *_, learned = trained("mhc-static", steps=10)
    *_, stuck = trained("mhc-static", steps=10, mixing=1e-9)
    assert stuck[1:].max() < 1e-5 * learned[1:].min()


def test_reading_all_streams_alike_would_leave_them_equal():
    # Mistake 3 itself: with a uniform H_pre the gradient of b_res is zero but for rounding.
    def gradient(uniform):
        layers = network("mhc-static").double()
        with torch.no_grad():
            for layer in layers if uniform else []:
                layer.mappings.b_pre.fill_(0.0)
        for _ in range(3):
            x = torch.randn(32, 8, dtype=torch.float64)
            layers.zero_grad()
            (through(layers, x, 4) - x.flip(-1)).square().mean().backward()
            with torch.no_grad():
                for p in layers.parameters():
                    p -= 0.1 * p.grad
        return max(layer.mappings.b_res.grad.abs().max().item() for layer in layers)

    assert gradient(uniform=True) < 1e-15 < 1e-7 < gradient(uniform=False)


# Mistake 4: streams that do not persist


@EVERY
def test_the_streams_persist_and_their_composite_is_the_product_of_the_layers(kind):
    layers = randomised(network(kind, depth=12, streams=3), size=0.3)
    for layer in layers:
        layer.branch = Zero()
    h = torch.randn(2, 5, 3, 8)
    with mnn.record_mappings(layers) as maps:
        output = layers(h)
    product = torch.eye(3)
    for matrices in maps:
        product = matrices @ product
    torch.testing.assert_close(output, product @ h, rtol=1e-4, atol=1e-5)

    stacked = maps.stack()
    dynamic = kind in ("hc", "mhc")
    assert stacked.shape == ((2, 5, 12, 3, 3) if dynamic else (12, 3, 3))
    composite = mhc.compose(stacked)
    torch.testing.assert_close(composite.matrix(12) @ h, output, rtol=1e-4, atol=1e-5)


def test_nothing_bounds_hc_and_mhc_stays_bounded_whatever_its_parameters():
    gains = {}
    for kind in LEARNED:
        layers = network(kind, depth=64, branch=lambda _: nn.Identity())
        for layer in layers:
            with torch.no_grad():
                for parameter in layer.mappings.parameters():
                    parameter += torch.randn_like(parameter)
        # The gain of the matrices, because HC's signal overflows float32 in this many layers.
        h = torch.randn(4, 8).expand(3, 4, 8)
        matrices = torch.stack([layer.mappings(h)[2].detach() for layer in layers], dim=-3)
        composite = mhc.compose(matrices.double())
        gains[kind] = [
            composite.log10_gain(direction, "worst-case")[..., -1].max().item()
            for direction in ("forward", "backward")
        ]
    for kind in ("hc", "hc-static"):
        assert min(gains[kind]) > 10
    for kind in ("mhc", "mhc-static"):
        assert gains[kind][0] == pytest.approx(0, abs=64 * FLOAT32)  # rows sum to 1
        assert gains[kind][1] <= math.log10(4)


# Mistake 5: a mapping transposed, or its parts in the wrong order (see also test_equations.py)


def test_row_i_of_h_res_is_written_and_column_j_is_read():
    layer = mnn.HyperConnection(torch.zeros_like, 2, 3, dynamic=False)
    with torch.no_grad():
        layer.mappings.b_res.zero_()[0, 2] = 1.0
    h = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert layer(h).tolist() == [[5.0, 6.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(("kind", "weight"), [("hc", "theta"), ("mhc", "phi")])
def test_the_parts_are_in_the_order_pre_post_res(kind, weight):
    layer = KINDS[kind](nn.Identity(), 5, 3)
    h = torch.randn(2, 3, 5)
    start = layer.mappings(h)
    noise = torch.randn_like(getattr(layer.mappings, weight))
    sizes = [1, 1, 3] if kind == "hc" else [3, 3, 9]
    for part, rows in enumerate(torch.arange(sum(sizes)).split(sizes)):
        with torch.no_grad():
            getattr(layer.mappings, weight).zero_()[rows] = noise[rows]
        changed = [
            not torch.equal(now, then) for now, then in zip(layer.mappings(h), start, strict=True)
        ]
        assert changed == [index == part for index in range(3)]

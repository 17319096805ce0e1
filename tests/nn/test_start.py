"""Where the layers start: every network is the plain residual network."""

import math

import pytest
import torch
from torch import nn

import mhc_demo as mhc
from mhc_demo import nn as mnn
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.projections.registry import SQUARES

from .networks import ALL_STARTS, BOUNDED, KINDS, LEARNED, mlp, network, through

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("kind", ALL_STARTS)
@pytest.mark.parametrize("streams", [1, 2, 4])
def test_at_the_start_every_network_is_the_plain_residual_network(kind, streams):
    depth, width = 16, 8
    branches = [mlp(width) for _ in range(depth)]
    x = torch.randn(3, 5, width)
    expected = x
    for branch in branches:
        expected = expected + branch(expected)
    order = iter(branches)
    layers = network(kind, depth, width, streams, branch=lambda _: next(order))
    # float32 through 16 layers; at n = 1 mHC reads a millionth too little, and eps of the released
    # variant takes away a millionth per layer.
    torch.testing.assert_close(through(layers, x, streams), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["residual", "hc", "mhc"])
def test_at_depth_64_too_they_start_as_the_plain_residual_network(kind):
    def mild(width):
        return nn.Sequential(nn.RMSNorm(width), nn.Linear(width, width))

    layers = network(kind, 64, 8, 4, branch=mild)
    x = torch.randn(7, 8)
    expected = x
    for layer in layers:
        expected = expected + layer.branch(expected)
    torch.testing.assert_close(through(layers, x, 4), expected, rtol=1e-4, atol=1e-4)


def test_hc_starts_as_its_paper_says():
    for index in range(6):
        layer = mnn.HyperConnection(nn.Identity(), 3, 4, layer=index)
        pre, post, res = layer.mappings(torch.randn(2, 4, 3))
        assert torch.equal(pre, torch.eye(4)[index % 4].expand(2, 4))
        assert torch.equal(post, torch.ones(2, 4))
        assert torch.equal(res, torch.eye(4).expand(2, 4, 4))
        assert torch.equal(layer.mappings.alpha, torch.full((3,), 0.01))


@pytest.mark.parametrize("projection", [n for n in BOUNDED if n not in ("identity", "cayley")])
@pytest.mark.parametrize("mixing", [0.01, 0.05, 0.3])
def test_mhc_starts_with_the_given_mixing(projection, mixing):
    for n in (2, 4):
        for index in range(n + 1):
            layer = mnn.ManifoldHyperConnection(
                nn.Identity(), 3, n, layer=index, projection=projection, mixing=mixing
            )
            pre, post, res = layer.mappings(torch.randn(2, n, 3))
            assert pre[0, index % n].item() == pytest.approx(0.9, abs=1e-6)
            torch.testing.assert_close(pre.sum(-1), torch.ones(2))
            assert torch.equal(post, torch.ones(2, n))
            off = res.sum(-1) - res.diagonal(dim1=-2, dim2=-1)
            if PROJECTIONS[projection].kind == SQUARES:  # whose rows differ
                off = off.mean(-1, keepdim=True).expand(2, n)
            # float32, and eps = 1e-6 of DeepSeek's variant times n.
            torch.testing.assert_close(off, torch.full((2, n), mixing), rtol=0, atol=1e-5)


@pytest.mark.parametrize("projection", BOUNDED)
@pytest.mark.parametrize("streams", [2, 4, 8])
def test_every_projection_starts_near_the_identity_and_one_step_moves_it(projection, streams):
    if not PROJECTIONS[projection].sizes.hold(streams):
        pytest.skip("it does not exist for that many streams")
    layer = mnn.ManifoldHyperConnection(mlp(8), 8, streams, projection=projection)
    h, weights = torch.randn(2, 5, streams, 8)  # streams that differ already
    before = layer.mappings(h)[2].detach()
    assert (before - torch.eye(streams)).abs().max() < 0.1
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    (layer(h) * weights).sum().backward()
    slope = layer.mappings.b_res.grad
    if projection == "identity":
        assert slope is None
        return
    assert slope.isfinite().all()
    assert slope.abs().max() > 1e-3
    optimiser.step()
    assert (layer.mappings(h)[2] - before).abs().max() > 1e-4


def test_orthogonal_squares_start_where_every_logit_above_the_diagonal_has_a_gradient():
    for projection in ("cayley-squares", "polar-squares", "go-mhc"):
        layer = mnn.ManifoldHyperConnection(nn.Identity(), 3, 4, projection=projection)
        logits = layer.mappings.b_res.detach().double().requires_grad_()
        weights = torch.randn(4, 4, dtype=torch.float64)
        (slope,) = torch.autograd.grad((mhc.project(logits, projection) * weights).sum(), logits)
        above = torch.ones(4, 4).triu(1).bool()
        assert (slope[above].abs() > 1e-3).all()
    at_identity = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    squares = mhc.project(at_identity, "cayley-squares")
    (slope,) = torch.autograd.grad((squares * weights).sum(), at_identity)
    assert slope.abs().max() == 0


def test_for_sinkhorn_the_diagonal_logit_has_a_formula():
    for n, m in ((2, 0.05), (4, 0.05), (8, 0.2)):
        layer = mnn.ManifoldHyperConnection(nn.Identity(), 3, n, mixing=m)
        expected = math.log((1 - m) * (n - 1) / m) * torch.eye(n)
        torch.testing.assert_close(layer.mappings.b_res.detach(), expected)
    for single in ("sinkhorn", "mhc-lite"):
        layer = mnn.ManifoldHyperConnection(nn.Identity(), 3, 1, projection=single)
        assert layer.mappings.b_res.item() == 0


def test_reset_parameters_initialises_parameters_made_on_meta():
    for kind in LEARNED:
        expected = KINDS[kind](nn.Identity(), 3, 4, layer=1)
        with torch.device("meta"):
            layer = KINDS[kind](nn.Identity(), 3, 4, layer=1)
        assert layer(torch.empty(2, 4, 3, device="meta")).shape == (2, 4, 3)
        layer.to_empty(device="cpu").mappings.reset_parameters()
        for name, value in expected.state_dict().items():
            assert torch.equal(layer.state_dict()[name], value)

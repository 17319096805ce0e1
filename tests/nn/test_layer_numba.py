"""mHC's bounds as compiled by Numba, against the code that specifies them."""

from __future__ import annotations

from functools import partial
from unittest import mock

import numba
import pytest
import torch
from torch import Tensor

from mhc_demo import nn as mnn
from mhc_demo.nn import layer_numba, layer_torch
from mhc_demo.numerics.kernels._numba import compiled
from mhc_demo.numerics.projections import tame_range


def specified(logits: Tensor, streams: int, iterations: int) -> tuple[Tensor, ...]:
    """Eq. 8."""
    layer = mnn.ManifoldHyperConnection(torch.nn.Identity(), 4, streams, iterations=iterations)
    pre, post, res = logits.split((streams, streams, streams**2), -1)
    return layer.mappings._bounded(pre, post, res.unflatten(-1, (streams, streams)))


def logits_of(tokens: int, n: int, spread: float = 2.0, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(tokens + 100 * n)
    return spread * torch.randn(tokens, 2 * n + n * n, generator=generator, dtype=dtype)


@pytest.mark.parametrize("n", [1, 3, 4, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 8))])
@pytest.mark.parametrize("tokens", [1, layer_numba.LANES, 2 * layer_numba.LANES + 3])
@pytest.mark.parametrize("iterations", [1, pytest.param(2, marks=pytest.mark.long), 20])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_both_passes_are_the_specified_ones(n, tokens, iterations, dtype, within):
    logits = logits_of(tokens, n, dtype=dtype)
    theirs = specified(logits.double(), n, iterations)
    ours = layer_numba.bounded(logits, n, iterations)
    close = partial(torch.testing.assert_close, rtol=within, atol=within)
    for our, their in zip(ours, theirs, strict=True):
        assert our.dtype == dtype
        close(our.double(), their)
    grads = [torch.randn_like(out) for out in ours]
    leaf = logits.double().clone().requires_grad_()
    (theirs,) = torch.autograd.grad(
        specified(leaf, n, iterations), leaf, [grad.double() for grad in grads]
    )
    close(layer_numba.back(logits, iterations, *grads).double(), theirs)


def test_logits_too_sharp_for_scaling_give_none():
    logits = logits_of(3, 4)
    below = tame_range(torch.float64, 4)
    logits[1, 8] = logits[1, 8::4].max() - 0.99 * below
    assert layer_numba.bounded(logits, 4, 20) is not None
    logits[1, 8] = logits[1, 12::4].max() - 1.01 * below
    assert layer_numba.bounded(logits, 4, 20) is None


def test_nan_stays_in_its_token():
    logits = logits_of(5, 4)
    good = layer_numba.bounded(logits, 4, 20)
    logits[2, 9] = torch.nan
    *_, res = layer_numba.bounded(logits, 4, 20)
    assert res[2].isnan().any()
    others = [0, 1, 3, 4]
    torch.testing.assert_close(res[others], good[2][others], rtol=0, atol=0)


def a_step(layer: torch.nn.Module, h: Tensor) -> list[Tensor]:
    out = layer(h)
    return [out, *torch.autograd.grad(out.square().sum(), [h, *layer.parameters()])]


@pytest.mark.parametrize("spread", [1.0, 2000.0])  # the second is too sharp for linear scaling
def test_a_layer_is_the_same_without_numba(spread):
    torch.manual_seed(0)
    layer = mnn.ManifoldHyperConnection(torch.nn.Linear(8, 8), 8, 4).double()
    with torch.no_grad():
        layer.mappings.phi.normal_()
        layer.mappings.alpha.fill_(spread)
    h = torch.randn(2, 9, 4, 8, dtype=torch.float64, requires_grad=True)
    with mock.patch.object(layer_numba, "bounded", wraps=layer_numba.bounded) as compiled:
        ours = a_step(layer, h)
    assert compiled.called
    with mock.patch.object(layer_torch, "_compiled", return_value=None):
        theirs = a_step(layer, h)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)


def test_many_tokens_are_left_to_pytorch():
    layer = mnn.ManifoldHyperConnection(torch.nn.Identity(), 2, 4)
    few = layer_torch.FEW // 16
    with mock.patch.object(layer_numba, "bounded", wraps=layer_numba.bounded) as compiled:
        layer(torch.randn(few + 1, 4, 2))
        assert not compiled.called
        layer(torch.randn(few, 4, 2))
        assert compiled.called


def test_without_a_folder_for_the_cache_it_is_compiled_all_the_same():
    njit = numba.njit

    def nowhere(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    with mock.patch.object(numba, "njit", nowhere):
        double = compiled()(lambda x: 2 * x)
    assert double(21) == 42

"""Networks of every kind of layer for the tests, and functions that alter or run them."""

import functools
import warnings
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from mhc_demo import nn as mnn
from mhc_demo.numerics.projections import PROJECTIONS

BOUNDED = [p.name for p in PROJECTIONS.values() if p.bounded]
KINDS = {
    "residual": lambda *args, layer=0: mnn.Residual(*args),
    "hc": mnn.HyperConnection,
    "hc-static": functools.partial(mnn.HyperConnection, dynamic=False),
    "mhc": mnn.ManifoldHyperConnection,
    "mhc-static": functools.partial(mnn.ManifoldHyperConnection, dynamic=False),
}
LEARNED = [kind for kind in KINDS if kind != "residual"]
EVERY = pytest.mark.parametrize("kind", KINDS)
EVERY_LEARNED = pytest.mark.parametrize("kind", LEARNED)
ALL_STARTS = {
    **KINDS,
    **{
        f"{reads}-with-{mixing}": functools.partial(
            mnn.CrossedConnection, read_write=reads, mixing=mixing
        )
        for reads in ("hc", "mhc")
        for mixing in ("free", "identity", "sinkhorn", "rows")
    },
    **{
        f"mhc-{name}": functools.partial(mnn.ManifoldHyperConnection, projection=name)
        for name in BOUNDED
    },
}
FLOAT32 = 2.0**-23


def mlp(width, dropout=0.0):
    """An ordinary pre-norm branch."""
    return nn.Sequential(
        nn.RMSNorm(width),
        nn.Linear(width, 2 * width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * width, width),
    )


def network(kind, depth=6, width=8, streams=4, branch=mlp):
    make = ALL_STARTS[kind]
    return nn.Sequential(
        *(make(branch(width), width, streams, layer=index) for index in range(depth))
    )


class Zero(nn.Module):
    """A branch that returns zero, so that a layer only applies its H_res."""

    def forward(self, x):
        return torch.zeros_like(x)


def randomised(module, size=0.5):
    """The same module with random parameters, so that none has a special value."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * torch.randn_like(parameter))
    return module


@contextmanager
def compiling():
    """Resets the compiler, and ignores its warnings about lru_cache and the like."""
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def through(layers, x, streams):
    return mnn.reduce_streams(layers(mnn.expand_streams(x, streams)))


def gradients(module, *inputs):
    return [p.grad.clone() for p in (*module.parameters(), *inputs) if p.grad is not None]

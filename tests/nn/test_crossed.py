"""Between HC and mHC: each half is that of one, and the pure crossings are the whole layers."""

import pytest
import torch
from torch import nn

from mhc_demo import nn as mnn
from mhc_demo.numerics.projections import PROJECTIONS

from .networks import BOUNDED, Zero, mlp, randomised

WIDTH, STREAMS = 8, 4
CROSSINGS = [(reads, mixing) for reads in ("hc", "mhc") for mixing in ("free", *BOUNDED)]


def crossed(reads, mixing, branch=None, layer=1):
    return mnn.CrossedConnection(
        branch or mlp(WIDTH), WIDTH, STREAMS, layer=layer, read_write=reads, mixing=mixing
    )


def whole(reads):
    make = {"hc": mnn.HyperConnection, "mhc": mnn.ManifoldHyperConnection}[reads]
    return make(mlp(WIDTH), WIDTH, STREAMS, layer=1)


def give(whole, half):
    """Copy the parameters of HC or mHC to the crossing that is the same."""
    theirs, reads, mixes = whole.mappings, half.mappings.read_write, half.mappings.mixing
    weight = "theta" if hasattr(theirs, "theta") else "phi"
    rows = 2 if weight == "theta" else 2 * STREAMS
    with torch.no_grad():
        getattr(reads, weight).copy_(getattr(theirs, weight)[:rows])
        getattr(mixes, weight).copy_(getattr(theirs, weight)[rows:])
        reads.alpha.copy_(theirs.alpha[:2])
        mixes.alpha.copy_(theirs.alpha[2])
        for name, ours in (("b_pre", reads), ("b_post", reads), ("b_res", mixes)):
            getattr(ours, name).copy_(getattr(theirs, name))
    half.branch.load_state_dict(whole.branch.state_dict())


@pytest.mark.parametrize(("reads", "mixing"), [("hc", "free"), ("mhc", "sinkhorn")])
def test_the_pure_crossings_are_hc_and_mhc(reads, mixing):
    theirs, ours = randomised(whole(reads)), crossed(reads, mixing)
    give(theirs, ours)
    x = torch.randn(5, STREAMS, WIDTH)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize(("reads", "mixing"), CROSSINGS)
def test_a_crossing_reads_and_writes_as_the_one_and_mixes_as_the_other(reads, mixing):
    layer = randomised(crossed(reads, mixing))
    h = torch.randn(5, STREAMS, WIDTH)
    pre, post, res = layer.mappings(h)
    assert pre.shape == post.shape == (5, STREAMS)
    assert ((pre > 0) & (pre < 1)).all() == (reads == "mhc")
    assert ((post > 0) & (post < 2)).all() == (reads == "mhc")
    if mixing == "identity":
        assert torch.equal(res, torch.eye(STREAMS))
    elif mixing != "free" and PROJECTIONS[mixing].unit_rows:
        torch.testing.assert_close(res.sum(-1), torch.ones(5, STREAMS))
    signed = mixing == "free" or not PROJECTIONS[mixing].nonnegative
    assert (res < 0).any() == signed


@pytest.mark.parametrize(("reads", "mixing"), CROSSINGS)
def test_every_parameter_of_a_crossing_learns(reads, mixing):
    layer = randomised(crossed(reads, mixing))
    layer(torch.randn(5, STREAMS, WIDTH)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(("reads", "mixing"), CROSSINGS)
def test_static_parts_and_gates_of_a_crossing_get_no_weight_decay(reads, mixing):
    layer = crossed(reads, mixing, branch=nn.Identity())
    decayed, spared = mnn.parameter_groups(layer, 0.1)
    assert len(decayed["params"]) == (1 if mixing == "identity" else 2)  # theta or phi
    assert len(spared["params"]) == (3 if mixing == "identity" else 5)


def test_the_recorded_matrix_of_a_crossing_is_the_one_applied():
    layer = randomised(crossed("hc", "sinkhorn", branch=Zero()))
    h = torch.randn(3, STREAMS, WIDTH)
    with mnn.record_mappings(layer) as maps:
        torch.testing.assert_close(layer(h), maps[0] @ h)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"read_write": "lstm"}, "read_write must be one of 'hc', 'mhc', not 'lstm'"),
        ({"mixing": "none"}, "mixing must be one of 'free', 'sinkhorn'"),
        ({"layer": -1}, "layer must be at least 0"),
    ],
)
def test_impossible_crossings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        mnn.CrossedConnection(nn.Identity(), WIDTH, STREAMS, **values)

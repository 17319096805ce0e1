"""Weight decay, which must not pull the static mappings to zero."""

import pytest
import torch
from torch import nn

from mhc_demo import nn as mnn

from .networks import EVERY, network

pytestmark = pytest.mark.filterwarnings("error")


@EVERY
def test_parameter_groups_spare_the_static_mappings_and_the_gates(kind):
    layers = network(kind, depth=2)
    model = nn.ModuleList([layers, nn.Linear(8, 8), layers[0]])
    model[1].weight.requires_grad_(False)
    decayed, spared = mnn.parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ours = {names[id(p)].rsplit(".", 1)[-1] for p in spared["params"]}
    expected = {"b_pre", "b_post", "b_res"} | (set() if kind.endswith("static") else {"alpha"})
    assert ours == (expected if kind != "residual" else set())

    both = [id(p) for p in decayed["params"] + spared["params"]]
    assert len(both) == len(set(both))
    assert set(both) == {id(p) for p in model.parameters() if p.requires_grad}
    assert id(model[1].weight) not in both


def test_shared_parameters_are_in_one_group_once():
    first, second = network("mhc", depth=2)
    second.mappings.b_res = first.mappings.b_res
    second.branch[1].weight = first.branch[1].weight
    decayed, spared = mnn.parameter_groups(nn.Sequential(first, second), 0.1)
    for group, shared in (
        (spared, first.mappings.b_res),
        (decayed, first.branch[1].weight),
    ):
        assert sum(p is shared for p in group["params"]) == 1


def test_under_strong_decay_without_gradients_the_identity_stays():
    layers = network("hc", depth=1)
    optimiser = torch.optim.AdamW(mnn.parameter_groups(layers, 10.0), lr=0.01)
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(20):
        optimiser.step()
    assert torch.equal(layers[0].mappings.b_res, torch.eye(4))
    assert layers[0].branch[1].weight.abs().max() < 0.1

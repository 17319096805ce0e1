"""Recording a model that DDP or FSDP2 has wrapped: one process, gloo."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mhc_demo import nn as mnn

from . import foreign
from .networks import network, randomised

pytestmark = [
    pytest.mark.skipif(not dist.is_available(), reason="this PyTorch has no torch.distributed"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True, scope="module")
def _one_process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def ours():
    return randomised(network("mhc", depth=2)), torch.randn(3, 4, 8)


def deepseek():
    return foreign.deepseek_v4(layers=2), foreign.tokens()


def hyper_connections():
    return nn.Sequential(*foreign.hyper_connections("mHC", depth=2)), torch.randn(8, 5, 8)


def hyper_connections_hc():
    return nn.Sequential(*foreign.hyper_connections("HC", depth=2)), torch.randn(8, 5, 8)


EVERY = pytest.mark.parametrize(
    "make",
    [ours, deepseek, hyper_connections, hyper_connections_hc],
    ids=lambda make: make.__name__,
)


def recorded(model, inputs):
    with mnn.record_mappings(model, streams=True, logits=True) as maps:
        out = model(inputs)
    out = out if isinstance(out, torch.Tensor) else out.logits
    out.float().sum().backward()
    return maps


def same(found, expected):
    assert found.names == expected.names
    torch.testing.assert_close(found.stack(), expected.stack())
    torch.testing.assert_close(found.H_pre, expected.H_pre)
    assert not hasattr(found[0], "full_tensor")
    assert found.calls == [1] * len(expected)


@EVERY
def test_a_model_in_ddp_is_recorded_under_its_own_names(make):
    model, inputs = make()
    expected = recorded(model, inputs)
    same(recorded(nn.parallel.DistributedDataParallel(model), inputs), expected)


# (FSDP2 refuses hyper-connections, which have parameters without axes.)
@pytest.mark.parametrize("make", [ours, deepseek], ids=lambda make: make.__name__)
def test_a_model_that_fsdp_shards_is_recorded(make):
    model, inputs = make()
    expected = recorded(model, inputs)
    mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
    # Each module of mappings by itself too: its parameters are whole only while it runs.
    for site in list(mnn.adapters.sites_of(model)):
        inner = getattr(site.module, "mappings", None)
        for each in (inner, site.module):
            if each is not None:
                dist.fsdp.fully_shard(each, mesh=mesh)
    dist.fsdp.fully_shard(model, mesh=mesh)
    same(recorded(model, inputs), expected)

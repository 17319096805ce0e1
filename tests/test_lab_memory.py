"""The memory that a training run takes: the counts against real networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from mhc_demo import lab
from mhc_demo.lab import memory, tasks
from mhc_demo.lab.connections import KINDS
from mhc_demo.lab.networks import Network
from mhc_demo.numerics.projections import PROJECTIONS

SHAPES = (
    {"depth": 4, "width": 32},
    {"depth": 5, "width": 12, "streams": 3},
    {"depth": 2, "width": 16, "streams": 16},
    {"depth": 3, "width": 20, "streams": 1},
    {"depth": 3, "width": 16, "branch": "moe"},
)


def one_of_each(**values: Any) -> list[lab.Settings]:
    return [lab.Settings(connection=name, **values) for name in lab.CONNECTIONS]


def network_and_data(settings: lab.Settings) -> tuple[Network, Any]:
    data = lab.TASKS[settings.task].load(0)
    return Network(settings, data), data


@pytest.mark.parametrize("task", lab.TASKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_count_of_parameters_is_that_of_the_network(shape: dict, task: str) -> None:
    for settings in one_of_each(task=task, **shape):
        network, _ = network_and_data(settings)
        of_layers = sum(each.numel() for each in network.layers.parameters())
        assert memory.layer_parameters(settings) == of_layers
        assert memory.parameters(settings) >= sum(each.numel() for each in network.parameters())


@pytest.mark.parametrize("task", lab.TASKS)
def test_no_task_has_a_larger_entry_or_head_than_the_count_assumes(task: str) -> None:
    data = lab.TASKS[task].load(0)
    size = data.train.inputs.shape[-1]
    assert data.classes <= memory.CLASSES
    assert size <= (tasks.CONTEXT if data.train.targets.ndim > 1 else memory.CLASSES)
    assert (data.train.targets.ndim > 1) == (lab.TASKS[task].unit == "tokens")


def kept_for_the_backward_pass(settings: lab.Settings) -> int:
    """Numbers in the tensors that autograd keeps, without the parameters."""
    network, data = network_and_data(settings)
    parameters = {each.untyped_storage().data_ptr() for each in network.parameters()}
    storages = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage  # kept alive, so that its address is not reused
        return tensor

    inputs, targets = (
        torch.tensor(each[: settings.batch]) for each in (data.train.inputs, data.train.targets)
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        cross_entropy(network(inputs).flatten(0, -2), targets.flatten())
    return sum(s.nbytes() for address, s in storages.items() if address not in parameters) // 4


@pytest.mark.parametrize("task", lab.TASKS)
@pytest.mark.parametrize("projection", lab.Settings.param.projection.objects)
def test_the_count_of_what_a_step_keeps_is_an_upper_bound(
    projection: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "FRAGMENTATION", 1.0)
    batch = 128 if task == "digits" else 2
    streams = 6 if PROJECTIONS[projection].sizes.hold(6) else 8
    usual = projection == lab.Settings.param.projection.default
    for values in ({"width": 64}, {"width": 4, "streams": streams}):
        for settings in one_of_each(
            task=task, projection=projection, depth=8, batch=batch, **values
        ):
            if not usual and KINDS[settings.connection].projects != "settings":
                continue  # it projects by none of them
            kept = kept_for_the_backward_pass(settings)
            assert kept <= memory.activations(settings) < 6 * kept

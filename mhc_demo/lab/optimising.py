"""How the networks are optimised: the optimiser, and what becomes of the learning rate.

To add one, write a function under `@optimiser(...)` or `@schedule(...)`, in any module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .registry import Registry

if TYPE_CHECKING:
    import torch

Build = Callable[[list[dict[str, Any]], float], "torch.optim.Optimizer"]
"""(groups of parameters with their weight decay, learning rate) -> the optimiser."""
Factor = Callable[[int, int], float]
"""(step from 1 to steps, steps) -> what the learning rate is multiplied by in that step."""


@dataclass(frozen=True)
class Optimiser:
    """What turns gradients into steps."""

    name: str
    title: str
    build: Build


@dataclass(frozen=True)
class Schedule:
    """The course of the learning rate."""

    name: str
    title: str
    factor: Factor


OPTIMISERS: Registry[Optimiser] = Registry("optimiser")
"""Every optimiser by its name."""
SCHEDULES: Registry[Schedule] = Registry("schedule")
"""Every schedule by its name."""


def optimiser(name: str, title: str) -> Callable[[Build], Build]:
    """Register a function (groups, learning rate) that returns a PyTorch optimiser.

    The groups are `mhc_demo.nn.parameter_groups`: a list of {"params": ..., "weight_decay": ...}.
    """

    def register(build: Build) -> Build:
        OPTIMISERS[name] = Optimiser(name, title, build)
        return build

    return register


def schedule(name: str, title: str) -> Callable[[Factor], Factor]:
    """Register a function (step, steps) that returns the factor of the learning rate."""

    def register(factor: Factor) -> Factor:
        SCHEDULES[name] = Schedule(name, title, factor)
        return factor

    return register


@optimiser("adamw", "AdamW")
def _adamw(groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


@optimiser("sgd", "SGD with momentum 0.9")
def _sgd(groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
    import torch

    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, fused=True)


WARM_UP = 0.1
"""The share of the steps in which the learning rate rises."""


@schedule("constant", "Constant")
def _constant(step: int, steps: int) -> float:
    return 1.0


@schedule("warm-up", "Warm-up over a tenth of the steps")
def _warm_up(step: int, steps: int) -> float:
    return min(1.0, step / max(1.0, WARM_UP * steps))


@schedule("cosine", "Warm-up, then a cosine to zero")
def _cosine(step: int, steps: int) -> float:
    rising = max(1.0, WARM_UP * steps)
    if step <= rising:
        return step / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / (steps + 1 - rising)))

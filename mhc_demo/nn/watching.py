"""The lab's readings in anybody's training loop: gains, mixing and gradient norm as it goes.

The loop is not touched.  A step is one of the optimiser that holds the model's parameters: PyTorch
tells of every optimiser's steps.  What is read is the last forward pass with gradients before the
step, so validation in between, gradient accumulation and clipping are as they are, and between the
steps that are read nothing is attached to the model.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ..numerics._arrays import whole_number
from ..numerics._torch import in_backward
from ..numerics.readings import Measured
from .adapters import Seen
from .readings import measured
from .recorded import RecordedMappings
from .recording import attached, sites_to_record


@dataclass(frozen=True)
class Reading(Measured):
    """What is known of one step of training: log10 gains and mixing of the batch's tokens."""

    step: int
    """1, 2, ...: the optimiser's steps since the context was opened."""
    gradient_norm: float
    """The 2-norm over all the model's parameters as the optimiser finds them, after clipping if
    there is any; NaN if there are no gradients."""
    layer_gains: dict[str, list[float]]
    """"forward" and "backward": of each layer by itself."""
    composite_gains: dict[str, list[float]]
    """On the paper's axes: "forward" at l is of H_l ... H_1, "backward" of H_L ... H_l."""
    mixing: list[float]
    """Each layer's mean sum of |entries| of H_res off the diagonal of a row."""
    names: list[str] = field(repr=False)
    """The layers' module paths."""
    h_res: list[list[list[float]]] = field(repr=False)
    """H_res of each layer, averaged over the tokens, (L, n, n)."""


@contextmanager
def watch(
    model: nn.Module, every: int = 1, *, tokens: int = 4096, **settings: Any
) -> Iterator[list[Reading]]:
    """Read gains, mixing and gradient norm off `model` while it is trained in this context.

    >>> from mhc_demo import nn as mnn
    >>> model = mnn.StreamStack([nn.Linear(8, 8) for _ in range(4)], 8)
    >>> optimiser = torch.optim.AdamW(mnn.parameter_groups(model, 0.1))
    >>> with mnn.watch(model, every=10) as readings:
    ...     for step in range(20):
    ...         loss = model(torch.randn(16, 8)).square().mean()
    ...         loss.backward()
    ...         optimiser.step()
    ...         optimiser.zero_grad()
    >>> [each.step for each in readings]
    [1, 11]

    The list grows by a `Reading` at the optimiser's steps 1, 1 + every, ...; what it says of the
    mappings is of the forward pass before that step, of at most about `tokens` tokens, evenly
    spaced.  Of several optimisers that share the model, the steps are those of the one that holds
    its first trainable parameter.  For a model that `record_mappings` does not know, `where`,
    `read` and `transposed` are given as there.  Code that torch.compile has compiled runs
    uncompiled in the steps that are read.

    Raises TypeError or ValueError as `record_mappings` does, and if no parameter is trainable;
    warns at the end if no optimiser of the model has made a step.
    """
    every, tokens = whole_number("every", every, 1), whole_number("tokens", tokens, 1)
    watcher = _Watcher(model, every, tokens, settings)
    handles = [
        register_optimizer_step_pre_hook(watcher.before_step),
        register_optimizer_step_post_hook(watcher.after_step),
    ]
    try:
        watcher.attach()
        yield watcher.readings
    finally:
        watcher.detach()
        for handle in handles:
            handle.remove()
    if not watcher.steps and watcher.passes:
        warnings.warn(
            "nothing was read: no optimiser that holds the model's first trainable parameter has "
            "made a step while the model was watched",
            stacklevel=3,
        )


class _Watcher:
    """Attached to a model from the end of one step to the next, if that is to be read."""

    def __init__(self, model: nn.Module, every: int, tokens: int, settings: dict[str, Any]) -> None:
        self.model, self.every, self.tokens = model, every, tokens
        self.sites = sites_to_record(model, **settings)
        self.first = next((each for each in model.parameters() if each.requires_grad), None)
        if self.first is None:
            raise ValueError("model has no trainable parameter, so it makes no steps to read")
        self.readings: list[Reading] = []
        self.steps = self.passes = 0
        self.attachment = ExitStack()
        self.record: RecordedMappings | None = None
        self.training = False

    def attach(self) -> None:
        self.record = RecordedMappings(self.sites, every_call=True, accumulate=False)
        self.attachment.enter_context(attached(self.model, self.sites, self.start, self.keep))

    def detach(self) -> None:
        self.record = None
        self.attachment.close()

    def start(self, module: nn.Module, args: Any) -> None:
        if self.record is not None and not in_backward():
            # Layers cannot ask: checkpointing may run them without gradients at first.
            self.training = torch.is_grad_enabled()
            if self.training:
                self.passes += 1
                self.record._begin()

    def keep(self, index: int, seen: Seen) -> None:
        if self.record is not None and self.training:
            self.record._keep(index, seen, statistics=False, logits=False)

    def before_step(self, optimiser: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._is_ours(optimiser):
            return
        self.steps += 1
        if self.record is None:
            return
        record = self.record
        self.detach()
        if len(record):
            self.readings.append(
                Reading(
                    step=self.steps,
                    gradient_norm=_gradient_norm(self.model),
                    names=record.names,
                    **measured(_some(record.stack(), self.tokens)),
                )
            )

    def after_step(self, optimiser: Optimizer, args: Any, kwargs: Any) -> None:
        if self._is_ours(optimiser) and self.steps % self.every == 0 and self.record is None:
            self.attach()

    def _is_ours(self, optimiser: Optimizer) -> bool:
        return any(
            each is self.first for group in optimiser.param_groups for each in group["params"]
        )


def _gradient_norm(model: nn.Module) -> float:
    grads = [each.grad for each in model.parameters() if each.grad is not None]
    if not grads:
        return math.nan
    norm: Any = get_total_norm(grads)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # a DTensor


def _some(matrices: Tensor, tokens: int) -> Tensor:
    """At most about `tokens` of the tokens of matrices (..., L, n, n), evenly spaced."""
    if matrices.ndim == 3:
        return matrices
    flat = matrices.flatten(0, -4)
    return flat[:: -(-len(flat) // tokens)]

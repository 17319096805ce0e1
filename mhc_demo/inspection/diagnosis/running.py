"""Runs of a model that leave no trace in it and repeat to the last bit.

Every run starts from the same random numbers, so dropout takes the same units away; buffers are
put back, and gradients are never written to the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...nn.adapters import Seen, Site
from ...nn.recording import uncompiled

SEED = 0

Call = tuple[int, int]
"""Which layer, by the index of its site, and which of its calls in one run."""


class Runs:
    """A model with its inputs, as often as it is wanted."""

    def __init__(self, model: nn.Module, inputs: Any, sites: Sequence[Site]) -> None:
        self.model, self.sites = model, sites
        self.args, self.kwargs = _arguments(inputs)

    def plain(
        self, keep: Callable[[Call, Seen], None], weights: Mapping[str, Tensor] | None = None
    ) -> Any:
        """The model's output; every call of a layer is passed to `keep`.

        `weights` stand in for parameters of these names.
        """
        with self._unmoved(), self._attached(keep), torch.no_grad():
            return self._output(weights)

    def altered(
        self, change: Callable[[Call, Seen], Tensor | None], keep: Callable[[Call, Seen], None]
    ) -> Any:
        """The same with other matrices in place of H_res."""
        with self._unmoved(), self._attached(keep), self._changing(change), torch.no_grad():
            return self._output(None)

    @contextmanager
    def changing(self, change: Callable[[Call, Seen], Tensor | None]) -> Iterator[Any]:
        """One run with a graph; recomputation within the context changes H_res alike."""
        with self._unmoved(), self._changing(change), torch.enable_grad():
            yield self._output(None)

    def _attached(self, keep: Callable[[Call, Seen], None]) -> AbstractContextManager[None]:
        return self._hooked(lambda index, site: site.attach(_counted(index, keep)))

    def _changing(
        self, change: Callable[[Call, Seen], Tensor | None]
    ) -> AbstractContextManager[None]:
        def hook(index: int, site: Site) -> list[Any]:
            if site.alter is None or not site.mixes:
                return []
            return site.alter(_counted(index, change))

        return self._hooked(hook)

    @contextmanager
    def _hooked(self, hook: Callable[[int, Site], list[Any]]) -> Iterator[None]:
        """With what `hook` attaches to each site, which is then taken off again."""
        handles: list[Any] = []
        try:
            for index, site in enumerate(self.sites):
                handles += hook(index, site)
            yield
        finally:
            for handle in reversed(handles):
                handle.remove()

    @contextmanager
    def _unmoved(self) -> Iterator[None]:
        """The buffers are put back at the end, when no graph needs what the run left in them."""
        buffers = [(each, each.detach().clone()) for each in self.model.buffers()]
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)

    def _output(self, weights: Mapping[str, Tensor] | None) -> Any:
        devices = {each.device for each in self.model.parameters() if each.device.type == "cuda"}
        with torch.random.fork_rng(devices=sorted(devices, key=str)), uncompiled():
            torch.manual_seed(SEED)
            if weights is None:
                return self.model(*self.args, **self.kwargs)
            return functional_call(self.model, dict(weights), self.args, self.kwargs)


def _counted(index: int, function: Callable[[Call, Seen], Any]) -> Callable[[Seen], Any]:
    calls = 0

    def counting(seen: Seen) -> Any:
        nonlocal calls
        calls += 1
        return function((index, calls - 1), seen)

    return counting


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), {str(name): value for name, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(inputs), {}
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    raise TypeError(
        "inputs must be a tensor, a tuple of the model's arguments or a mapping of its keyword "
        f"arguments, not {type(inputs).__name__}"
    )


def floating(output: Any) -> list[Tensor]:
    """The floating-point tensors of an output: of tuples, lists and mappings too."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for each in output for tensor in floating(each)]
    return []


def default_loss(output: Any) -> Tensor:
    """The output's own `loss`, as models of transformers return it for labels; else a distance.

    That is the mean square of the outputs minus fixed random numbers.  Without those the mean
    square would be a constant, with no gradient, for every model that ends with an RMSNorm.
    """
    own = getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    total: Any = 0.0
    for each in floating(output):
        target = torch.randn(each.shape, generator=torch.Generator().manual_seed(SEED))
        total = total + (each.float() - target.to(each.device)).square().mean()
    if not isinstance(total, Tensor):
        raise ValueError(
            f"the model's output, a {type(output).__name__}, has no floating-point tensor to take "
            "a loss of; say loss=lambda output: ..."
        )
    return total

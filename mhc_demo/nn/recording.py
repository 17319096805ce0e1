"""Records the matrices H_res that a model applies, with a hook on the mappings of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import Tensor, nn

from ..numerics._torch import in_backward
from .layers import StreamLayer, modules_of
from .mappings import Mappings


class RecordedMappings(Sequence[Tensor]):
    """H_res of each layer in the latest forward pass, in the order of the layers' first calls.

    Item l has shape (..., n, n), without token axes if it is static.  The items are detached
    copies, on the device where they were computed and in the dtype in which they were applied
    (float32 or float64).  See `record_mappings`.
    """

    def __init__(self) -> None:
        self._latest: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._latest)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        return list(self._latest.values())[index]

    def stack(self) -> Tensor:
        """All layers, shape (..., L, n, n), token axes broadcast, on the first layer's device.

        `mhc_demo.compose` turns them into composites for each token; Figure 3 averages the gains
        of those.  Raises ValueError if nothing was recorded, if the layers differ in n, or if
        their token axes do not broadcast.
        """
        layers = self._recorded()
        try:
            tokens = torch.broadcast_shapes(*(each.shape[:-2] for each in layers))
        except RuntimeError:
            shapes = sorted({tuple(each.shape[:-2]) for each in layers})
            raise ValueError(
                f"the layers' token axes must broadcast to be stacked, not {shapes}; "
                "mean() averages over them first"
            ) from None
        return _stacked([each.expand(*tokens, *each.shape[-2:]) for each in layers])

    def mean(self) -> Tensor:
        """Each layer's mean over its tokens, shape (L, n, n), as in Figure 8.

        A product of these is not the mean of the products.  Raises ValueError as `stack` does.
        """
        return _stacked([_over_tokens(each) for each in self._recorded()])

    def mixing(self) -> Tensor:
        """For each layer, the mean over rows of the sum of |entries| off the diagonal, shape (L,).

        It says whether a layer mixes at all: a network that does not mix proves nothing by being
        stable.
        """
        layers = [_over_tokens(each.abs()) for each in self._recorded()]
        masses = [(each.sum() - each.trace()) / each.shape[-1] for each in layers]
        return torch.stack([each.to(masses[0].device) for each in masses])

    def _recorded(self) -> list[Tensor]:
        if not self._latest:
            raise ValueError(
                "no mappings were recorded: call the model within `with record_mappings(model)`. "
                "(A model that torch.compile has compiled before does not notice.)"
            )
        return list(self._latest.values())


def _over_tokens(matrices: Tensor) -> Tensor:
    return matrices.flatten(0, -3).mean(dim=0) if matrices.ndim > 2 else matrices


def _stacked(layers: list[Tensor]) -> Tensor:
    sizes = sorted({each.shape[-1] for each in layers})
    if len(sizes) > 1:
        raise ValueError(f"the layers must have the same number of streams to stack, not {sizes}")
    return torch.stack([each.to(layers[0].device) for each in layers], dim=-3)


@contextmanager
def record_mappings(model: nn.Module) -> Iterator[RecordedMappings]:
    """Record the H_res that every layer of `model` applies, while the context is open.

    >>> from mhc_demo import nn as mnn
    >>> model = nn.Sequential(*(mnn.Residual(nn.Identity(), 8) for _ in range(3)))
    >>> with mnn.record_mappings(model) as maps:
    ...     h = model(torch.ones(2, 4, 8))
    >>> maps.stack().shape
    torch.Size([3, 4, 4])

    Each call of `model` replaces the record; if a layer is called several times, the latest call
    counts.  Recomputation during a backward pass is not recorded.  Contexts may be nested.

    Raises TypeError or ValueError if `model` is not a module or has none of our layers.
    """
    layers = [module for module in modules_of(model) if isinstance(module, StreamLayer)]
    if not layers:
        raise ValueError(
            f"model has no Residual, HyperConnection or ManifoldHyperConnection layer to record: "
            f"{type(model).__name__}"
        )
    record = RecordedMappings()
    latest = record._latest

    def start(module: nn.Module, args: Any) -> None:
        if not in_backward():
            latest.clear()

    def keep(mappings: nn.Module, args: Any, output: Mappings) -> None:
        if not in_backward():
            # A copy, because a static H_res is the parameter, which the optimiser overwrites.
            latest[id(mappings)] = output[2].detach().clone()

    handles = [model.register_forward_pre_hook(start)]
    try:
        handles += [layer.mappings.register_forward_hook(keep) for layer in layers]
        yield record
    finally:
        for handle in handles:
            handle.remove()

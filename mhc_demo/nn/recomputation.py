"""Recomputation: layers that store one block's input instead of every layer's (section 4.3.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..numerics._arrays import whole_number
from ..numerics.costs import best_recompute_block
from .blocks import Block
from .layers import StreamLayer


class Recomputed(nn.ModuleList):
    """A sequence of our layers that stores one block's input instead of every layer's.

    The forward pass keeps the input of each block, nC numbers per token, and the output of each
    branch, C (section 4.3.2, Table 3).  The backward pass recomputes mappings and mixing, block by
    block, but no branch: a branch runs once, and what it saves for its own backward pass, its
    input included, is kept.  So dropout is sampled once.

    `block` is the number of layers in a block, by default `best_recompute_block`.  Further
    arguments of the call are passed to each layer and so to its branch.  The parameters have the
    same names as in an `nn.Sequential` of the same layers.

    torch.compile does not allow this: there, a block is checkpointed as a whole, and its branches
    run again.
    """

    def __init__(self, layers: Iterable[nn.Module] = (), block: int | None = None) -> None:
        layers = list(layers)
        for index, layer in enumerate(layers):
            if not isinstance(layer, StreamLayer):
                raise TypeError(
                    f"layers must be Residual, HyperConnection or ManifoldHyperConnection, but "
                    f"number {index} is {type(layer).__name__}"
                )
        super().__init__(layers)
        self.block = None if block is None else whole_number("block", block, 1)

    def forward(self, h: Tensor, /, *args: Any, **kwargs: Any) -> Tensor:
        """All layers one after the other, shape (..., n, C) -> (..., n, C)."""
        layers: list[Any] = list(self)
        if not layers:
            return h
        size = self.block or best_recompute_block(len(layers), layers[0].streams)
        for start in range(0, len(layers), size):
            block = Block(layers[start : start + size], args, kwargs)
            if not torch.is_grad_enabled():
                h = block.plain(h)
            elif torch.compiler.is_compiling():
                h = checkpoint(block.plain, h, use_reentrant=False)
            else:
                h = checkpoint(block, h, use_reentrant=False)
        return h

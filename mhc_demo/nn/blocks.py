"""A block of recomputed layers: it keeps the outputs of their branches for the second run.

The layers import this file, because each call checks whether it runs in a block; `recomputation`
imports both and makes the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from ..numerics._torch import version


class Block:
    """One block in one forward pass.

    The first run calls the branches and keeps their outputs.  `checkpoint` runs the block again in
    each backward pass, which takes the kept outputs instead of calling the branches.  Layers are
    called as modules, so that their hooks run, and find the block in `RUNNING_BLOCK`.
    """

    def __init__(self, layers: list[Any], args: tuple, kwargs: dict[str, Any]) -> None:
        self.layers, self.args, self.kwargs = layers, args, kwargs
        self.kept: list[tuple[_Packed, bool]] = []
        self.again: Iterator[tuple[_Packed, bool]] | None = None

    def plain(self, h: Tensor) -> Tensor:
        for layer in self.layers:
            h = layer(h, *self.args, **self.kwargs)
            if isinstance(h, tuple):
                _none_left(h)
        return h

    def __call__(self, h: Tensor) -> Tensor:
        with _running(self):
            try:
                return self.plain(h)
            finally:
                self.again = iter(self.kept)

    def branch_output(
        self,
        branch: Callable[..., tuple[Tensor, Any]],
        x: Tensor,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        if self.again is not None:
            packed, differentiable = next(self.again)
            return _unpack(packed).detach().requires_grad_(differentiable)
        # Tensors that the branch saves are kept, and layers inside it do not belong to this block.
        with _running(None), torch.autograd.graph.saved_tensors_hooks(_pack, _unpack):
            y, rest = branch(x, *args, **kwargs)
        _none_left(rest)
        # Detached, by _pack: a kept tensor that refers to the graph would never be freed.
        self.kept.append((_pack(y), y.requires_grad))
        return y


def _none_left(rest: tuple | None) -> None:
    if rest is not None:
        raise TypeError(
            "a branch in Recomputed must return a tensor alone, not a tuple, whose rest would be "
            "lost between the layers; wrap it in a function that returns the first element"
        )


RUNNING_BLOCK: ContextVar[Block | None] = ContextVar("running block", default=None)


@contextmanager
def _running(block: Block | None) -> Iterator[None]:
    token = RUNNING_BLOCK.set(block)
    try:
        yield
    finally:
        RUNNING_BLOCK.reset(token)


_Packed = tuple[Tensor, int | None]
"""A tensor kept for the backward pass, and its version at that time."""


def _pack(saved: Tensor) -> _Packed:
    # A compiled branch has this hook compiled into it, with the version as a constant.
    return saved.detach(), None if torch.compiler.is_compiling() else version(saved)


def _unpack(packed: _Packed) -> Tensor:
    # Autograd makes this check itself, but not for tensors that went through hooks.
    kept, before = packed
    if before is not None and version(kept) != before:
        raise RuntimeError(
            f"a tensor of shape {tuple(kept.shape)} that a branch saved or returned, and that the "
            "backward pass needs, was modified in place since"
        )
    return kept

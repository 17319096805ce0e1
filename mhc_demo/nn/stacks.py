"""A whole residual stream in one module: expanded once, through every layer, and reduced once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from ..numerics._arrays import choice, whole_number
from .heads import StreamHead
from .layers import (
    Branch,
    HyperConnection,
    ManifoldHyperConnection,
    Residual,
    StreamLayer,
    expand_streams,
    reduce_streams,
)
from .recomputation import Recomputed

CONNECTIONS: dict[str, Callable[..., StreamLayer]] = {
    "mhc": ManifoldHyperConnection,
    "hc": HyperConnection,
    "residual": Residual,
}
"""The connections of a `StreamStack` by name."""


class StreamStack(nn.Module):
    """Branches, one after the other, between `streams` residual streams: (..., C) -> (..., C).

    >>> import torch
    >>> stack = StreamStack([nn.Linear(8, 8) for _ in range(6)], width=8, streams=4)
    >>> stack(torch.ones(2, 8)).shape
    torch.Size([2, 8])

    Each branch gets a layer that knows its index, so that layer l starts by reading stream l mod n.
    Without that all layers read stream 0, or all streams alike, and mixing never learns.

    `connection` is "mhc", "hc" or "residual", or a function of (branch, width, streams, layer=...)
    that returns a layer, such as the class `CrossedConnection`; it gets `settings` too.  `reduce`
    is "mean", or "learned" for a `StreamHead`.  With `recompute` the layers are `Recomputed`, in
    blocks of that many layers, or of the best size if it is True.  Further arguments of the call
    are passed to every branch; what a branch returns beside its output is left out.
    """

    def __init__(
        self,
        branches: Iterable[Branch],
        width: int,
        streams: int = 4,
        *,
        connection: str | Callable[..., StreamLayer] = "mhc",
        reduce: str = "mean",
        recompute: bool | int = False,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.width = whole_number("width", width, 1)
        self.streams = whole_number("streams", streams, 1)
        if not callable(connection):
            connection = CONNECTIONS[choice("connection", connection, CONNECTIONS)]
        layers = [
            connection(branch, width, streams, **_layer(connection, index), **settings)
            for index, branch in enumerate(branches)
        ]
        self.head = (
            StreamHead(width, streams)
            if choice("reduce", reduce, ("mean", "learned")) == "learned"
            else None
        )
        block = None if isinstance(recompute, bool) else whole_number("recompute", recompute, 1)
        self.layers = Recomputed(layers, block) if recompute else nn.ModuleList(layers)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The output, (..., C), of the input x, (..., C)."""
        h = expand_streams(x, self.streams)
        for layer in [self.layers] if isinstance(self.layers, Recomputed) else self.layers:
            given = layer(h, *args, **kwargs)
            h = given[0] if isinstance(given, tuple) else given  # what else a branch returned
        return reduce_streams(h) if self.head is None else self.head(h)

    def extra_repr(self) -> str:
        """Width and streams."""
        return f"width={self.width}, streams={self.streams}"


def _layer(connection: Callable[..., StreamLayer], index: int) -> dict[str, int]:
    return {} if connection is Residual else {"layer": index}  # which reads all streams alike

"""The lab's networks: an entry, residual layers around small branches, a head.

Everything but the residual connection is the same, and starts from the same weights, whatever the
connection: vectors go through perceptrons, sequences through attention and perceptrons in turn, or
either through what the settings put in the perceptrons' place.  Weights come from our own
generator, because other threads share PyTorch's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import nn as mnn
from .connections import KINDS
from .experts import Mixture, mixture_in
from .settings import Settings
from .tasks import Data


class Symbols(nn.Module):
    """Embeddings of symbols and their positions: whole numbers (..., positions) -> (..., C)."""

    def __init__(self, symbols: int, positions: int, width: int) -> None:
        super().__init__()
        self.symbol, self.position = nn.Embedding(symbols, width), nn.Embedding(positions, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.symbol(x) + self.position.weight


class Network(nn.Module):
    """Inputs (examples, ...) -> logits of the classes, (examples, ..., classes)."""

    def __init__(self, settings: Settings, data: Data) -> None:
        super().__init__()
        width, size = settings.width, data.train.inputs.shape[-1]
        sequences = data.train.targets.ndim > 1
        self.streams = settings.streams if settings.mixes else 1
        connect = KINDS[settings.connection].layer
        make = settings.computes.make
        self.entry = Symbols(data.classes, size, width) if sequences else nn.Linear(size, width)
        self.layers = nn.ModuleList()
        for index in range(settings.depth):
            branch = make(width, index, sequences)
            self.layers.append(connect(branch, settings, index))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, data.classes)
        _initialise(self, settings.seed)

    def forward(self, x: Tensor) -> Tensor:
        h = mnn.expand_streams(self.entry(x), self.streams)
        for layer in self.layers:
            h = layer(h)
        return self.head(self.norm(mnn.reduce_streams(h)))

    @property
    def mixtures(self) -> list[Mixture | None]:
        """Each layer's mixture of experts, None where it has none."""
        return [mixture_in(layer) for layer in self.layers]


@torch.no_grad()
def _initialise(network: nn.Module, seed: int) -> None:
    """Set weights of deviation 1 / sqrt(inputs), biases 0, embeddings of deviation 0.1."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0.0, module.in_features**-0.5, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, 0.1, generator=generator)

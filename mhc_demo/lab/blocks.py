"""The branches that the lab's own networks are made of: a perceptron, and causal attention."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

EXPANSION = 4
"""Width of the perceptron's hidden layer in units of C, as in most transformers."""
MOST_HEADS = 4


class Perceptron(nn.Module):
    """Norm, a hidden layer of `EXPANSION` C, GELU, back: (..., C) -> (..., C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.up = nn.Linear(width, EXPANSION * width)
        self.down = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(gelu(self.up(self.norm(x))))


class Attention(nn.Module):
    """Norm and causal attention, (..., positions, C) -> (..., positions, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = math.gcd(width, MOST_HEADS)
        self.norm = nn.RMSNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.project(self.norm(x)).unflatten(-1, (3 * self.heads, -1))
        q, k, v = parts.transpose(-2, -3).chunk(3, dim=-3)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(-2, -3).flatten(-2))

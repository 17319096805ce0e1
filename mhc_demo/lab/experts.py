"""A sparse mixture of experts in the place of the perceptron, as DeepSeek-V3 has it.

A router sends each token to a few of many small perceptrons, and one more sees every token
(DeepSeek-V3, arXiv:2412.19437, section 2.1.2).  What keeps the routing even is no loss but a bias
for each expert, which counts in the choice alone and moves against the load after every step (Wang
et al., arXiv:2408.15664).  DeepSeek-V3's small balance loss within a sequence is left out.

As many hidden units work on a token as in the dense `Perceptron`: of its 4 C each routed expert has
a third, rounded down, and the shared one the rest.  So a dense network of the same settings is one
of equal active size; what the mixture has besides is the router's `EXPERTS` C weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, one_hot

from .blocks import EXPANSION
from .sparsity import CHOSEN, EXPERTS, hidden_units

SPEED = 0.01
"""By how much a bias moves in a step: gamma of DeepSeek-V3, u in arXiv:2408.15664.  Both have 0.001
(DeepSeek-V3's section 4.2) for training of many thousands of steps; our runs have hundreds."""
LEAST = 1e-20
"""Added to the sum that gates are divided by, as in DeepSeek's code: it may round to 0."""


class Mixture(nn.Module):
    """Norm, a shared expert, and for each token `CHOSEN` of `EXPERTS`: (..., C) -> (..., C).

    With u the normed input and e_i the router's rows, the affinities are s_i = sigmoid(u e_i).  The
    chosen have the largest s_i + b_i; their gates are their s_i, divided by their sum (Eq. 12 to 16
    there).  In training `load` and `entropy` are those of the latest forward pass.
    """

    bias: Tensor
    """b, (E,): no gradient reaches it, and `balance` moves it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = hidden_units(EXPANSION * width)
        rest = EXPANSION * width - CHOSEN * hidden
        self.norm = nn.RMSNorm(width)
        self.router = nn.Linear(width, EXPERTS, bias=False)
        self.up = nn.ModuleList(nn.Linear(width, hidden) for _ in range(EXPERTS))
        self.down = nn.ModuleList(nn.Linear(hidden, width, bias=False) for _ in range(EXPERTS))
        self.shared_up, self.shared_down = nn.Linear(width, rest), nn.Linear(rest, width)
        self.register_buffer("bias", torch.zeros(EXPERTS))
        self.load: Tensor | None = None
        """(E,): the share of the tokens' choices that fell on each expert; the sum is 1."""
        self.entropy: Tensor | None = None
        """(): the entropy of s_i / sum of s, in bits, averaged over the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        u = self.norm(x)
        tokens = u.flatten(0, -2)
        affinities = self.router(tokens).sigmoid()
        chosen = (affinities.detach() + self.bias).topk(CHOSEN).indices
        if self.training:
            self._take_note(affinities.detach(), chosen)
        gates = affinities.gather(-1, chosen)
        gates = gates / (gates.sum(-1, keepdim=True) + LEAST)
        routed = (gates.unsqueeze(-1) * self._experts(tokens, chosen)).sum(-2)
        return self.shared_down(gelu(self.shared_up(u))) + routed.view_as(u)

    def _experts(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """What each token's chosen experts make of it, (tokens, k, C); no other is computed."""
        choices = chosen.flatten()
        # Experts one after the other, so that each sees its tokens as one matrix.  No index occurs
        # twice, so no sum depends on an order: a GPU, too, computes the same every time.
        order = choices.argsort(stable=True)
        counts = choices.bincount(minlength=EXPERTS).tolist()
        copies = tokens.unsqueeze(-2).expand(-1, CHOSEN, -1).flatten(0, -2)
        parts = copies.index_select(0, order).split(counts)
        made = [
            down(gelu(up(part))) for up, down, part in zip(self.up, self.down, parts, strict=True)
        ]
        back = order.argsort()
        return torch.cat(made).index_select(0, back).unflatten(0, (-1, CHOSEN))

    @torch.no_grad()
    def _take_note(self, affinities: Tensor, chosen: Tensor) -> None:
        self.load = one_hot(chosen, EXPERTS).flatten(0, -2).float().mean(0)
        shares = affinities / (affinities.sum(-1, keepdim=True) + LEAST)
        self.entropy = torch.special.entr(shares).sum(-1).mean() / math.log(2.0)

    @torch.no_grad()
    def balance(self) -> None:
        """Move the bias against the load of the latest step, by `SPEED` whatever the excess."""
        if self.load is not None:
            self.bias += SPEED * (1.0 / EXPERTS - self.load).sign()


def mixture_in(layer: nn.Module) -> Mixture | None:
    """The mixture that a layer computes, the first if there are several."""
    return next((each for each in layer.modules() if isinstance(each, Mixture)), None)

"""Between HC and mHC: what mixes the streams, and how a layer reads and writes, chosen separately.

HC and mHC differ in both.  An ablation that crosses them says which of the two a result comes from.
Each half is a small module that computes what `mappings` specifies for HC or mHC as a whole, with
that half's parameters alone, so that a count of parameters is of those that act.
"""

from __future__ import annotations

from collections.abc import Iterator

import array_api_compat.torch as array_torch
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..numerics._arrays import choice, whole_number
from ..numerics.projecting import projected
from ..numerics.projections import PAPER_ITERATIONS, PROJECTIONS
from .layers import Branch, StreamLayer
from .mappings import (
    START_GATE,
    Mappings,
    _start_reading,
    reciprocal_rms,
    start_logits,
)

START_MIXING = 0.05
"""The share of each row off the diagonal of a projected H_res at the start, as in mHC."""


class CrossedConnection(StreamLayer):
    """HC's or mHC's way to read and write, with any way to mix: shape (..., n, C).

    `read_write` is "hc" (H_pre and H_post of Eq. 5, unbounded) or "mhc" (those of Eq. 7 and 8,
    sigmoids).  `mixing` is "free" (HC's H_res, Eq. 5), "identity" (H_res = I, nothing to learn), or
    the name of a projection that is bounded: "sinkhorn" is mHC's H_res, "rows"
    stops at rows that sum to 1.  "hc" with "free" is `HyperConnection`, "mhc" with "sinkhorn" is
    `ManifoldHyperConnection`, except that those two are faster on a CPU.

    `layer` is the layer's index, as there.  Each half starts as it does there.
    """

    def __init__(
        self,
        branch: Branch,
        width: int,
        streams: int = 4,
        *,
        layer: int = 0,
        read_write: str = "mhc",
        mixing: str = "free",
        iterations: int = PAPER_ITERATIONS,
    ) -> None:
        width, streams = whole_number("width", width, 1), whole_number("streams", streams, 1)
        reads = READ_WRITE[choice("read_write", read_write, READ_WRITE)]
        projections = [p.name for p in PROJECTIONS.values() if p.bounded]
        allowed = ["free", *projections]
        choice("mixing", mixing, allowed)
        if mixing == "free":
            mixes: nn.Module = FreeMixing(width, streams)
        elif mixing == "identity":
            mixes = NoMixing(streams)
        else:
            mixes = ProjectedMixing(width, streams, mixing, iterations)
        mappings = CrossedMappings(reads(width, streams, whole_number("layer", layer, 0)), mixes)
        super().__init__(branch, width, streams, mappings)


class CrossedMappings(nn.Module):
    """H_pre and H_post of one module, H_res of another."""

    def __init__(self, read_write: nn.Module, mixing: nn.Module) -> None:
        super().__init__()
        self.read_write, self.mixing = read_write, mixing

    def forward(self, h: Tensor) -> Mappings:
        pre, post = self.read_write(h)
        return pre, post, self.mixing(h)


class _Half(nn.Module):
    """A half of the mappings: static parts and gates, which get no weight decay, and a weight."""

    def undecayed(self) -> Iterator[nn.Parameter]:
        """Parameters that get no weight decay, which would pull H_res away from its start."""
        return (each for name, each in self.named_parameters() if name not in ("theta", "phi"))


class UnboundedReadWrite(_Half):
    """H_pre and H_post of Eq. 5."""

    def __init__(self, width: int, streams: int, layer: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2, width))
        self.alpha = nn.Parameter(torch.full((2,), START_GATE))
        self.b_pre = nn.Parameter(torch.zeros(streams))
        self.b_post = nn.Parameter(torch.ones(streams))
        with torch.no_grad():
            self.b_pre[layer % streams] = 1.0

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        pre, post = torch.tanh(_over_streams(h, self.theta)).mT.unbind(-2)
        return _gated(pre, self.alpha[0], self.b_pre), _gated(post, self.alpha[1], self.b_post)


class BoundedReadWrite(_Half):
    """H_pre and H_post of Eq. 7 and 8."""

    def __init__(self, width: int, streams: int, layer: int) -> None:
        super().__init__()
        self.streams = streams
        self.phi = nn.Parameter(torch.zeros(2 * streams, streams * width))
        self.alpha = nn.Parameter(torch.full((2,), START_GATE))
        self.b_pre = nn.Parameter(torch.empty(streams))
        self.b_post = nn.Parameter(torch.zeros(streams))
        with torch.no_grad():
            _start_reading(self.b_pre, layer)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        pre, post = _over_streams(h.flatten(-2), self.phi).split(self.streams, -1)
        return (
            torch.sigmoid(_gated(pre, self.alpha[0], self.b_pre)),
            2.0 * torch.sigmoid(_gated(post, self.alpha[1], self.b_post)),
        )


READ_WRITE = {"hc": UnboundedReadWrite, "mhc": BoundedReadWrite}
"""How a layer reads and writes, by name."""


class FreeMixing(_Half):
    """H_res of Eq. 5."""

    def __init__(self, width: int, streams: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(streams, width))
        self.alpha = nn.Parameter(torch.tensor(START_GATE))
        self.b_res = nn.Parameter(torch.eye(streams))

    def forward(self, h: Tensor) -> Tensor:
        return _gated(torch.tanh(_over_streams(h, self.theta)).mT, self.alpha, self.b_res)


class NoMixing(_Half):
    """H_res = I."""

    def __init__(self, streams: int) -> None:
        super().__init__()
        self.streams = streams

    def forward(self, h: Tensor) -> Tensor:
        return torch.diag(h.new_ones(self.streams))


class ProjectedMixing(_Half):
    """H_res of Eq. 7 and 8, by any projection."""

    def __init__(self, width: int, streams: int, projection: str, iterations: int) -> None:
        super().__init__()
        PROJECTIONS[projection].check(streams)
        self.streams, self.projection = streams, projection
        self.iterations = whole_number("iterations", iterations, 1)
        self.phi = nn.Parameter(torch.zeros(streams**2, streams * width))
        self.alpha = nn.Parameter(torch.tensor(START_GATE))
        start = start_logits(projection, iterations, streams, START_MIXING)
        self.b_res = nn.Parameter(torch.tensor(start, dtype=torch.get_default_dtype()))

    def forward(self, h: Tensor) -> Tensor:
        chosen = PROJECTIONS[self.projection]
        return projected(array_torch, chosen, self.logits(h), self.iterations)

    def logits(self, h: Tensor) -> Tensor:
        """What H_res is the projection of, (..., n, C) -> (..., n, n)."""
        products = _over_streams(h.flatten(-2), self.phi).unflatten(-1, (self.streams,) * 2)
        return _gated(products, self.alpha, self.b_res)


def _over_streams(x: Tensor, weight: Tensor) -> Tensor:
    """Weight x~, x~ being x over its RMS: (..., d), (rows, d) -> (..., rows)."""
    return linear(x, weight.to(x.dtype)) * reciprocal_rms(x)


def _gated(dynamic: Tensor, alpha: Tensor, static: Tensor) -> Tensor:
    """Alpha * dynamic + b, in the dtype of the dynamic part."""
    return torch.addcmul(static.to(dynamic.dtype), alpha.to(dynamic.dtype), dynamic)

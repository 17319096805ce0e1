"""H_pre, H_post and H_res, one module for each kind of layer; `layers` applies them.

The code here is the specification.  On a CPU `layer_torch` computes the same in fewer calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

import array_api_compat.numpy as array_numpy
import array_api_compat.torch as array_torch
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..numerics._arrays import choice, nonnegative, whole_number
from ..numerics.projecting import checked_eps, projected
from ..numerics.projections import PROJECTIONS
from ..numerics.projections.starts import Matrix
from . import layer_torch

START_GATE = 0.01
"""The initial value of every alpha: the dynamic part starts small (both papers)."""
START_READ = 0.9
"""In mHC, the weight of stream l mod n in the initial H_pre of layer l."""
RMS_EPS = 1e-6

Mappings = tuple[Tensor, Tensor, Tensor]
"""H_pre (..., n), H_post (..., n), H_res (..., n, n); static ones have no token axes."""


class _PlainMappings(nn.Module):
    """The constant mappings of the plain residual connection."""

    def __init__(self, streams: int) -> None:
        super().__init__()
        self.streams = streams

    def forward(self, h: Tensor) -> Mappings:
        ones = h.new_ones(self.streams)
        return ones / self.streams, ones, torch.diag(ones)


class _LearnedMappings(nn.Module):
    """Static parts b and gates alpha, in the order pre, post, res, for the subclasses."""

    rms_eps = RMS_EPS  # of layers that were pickled before they had their own

    def __init__(self, streams: int, layer: int, dynamic: bool, rms_eps: float = RMS_EPS) -> None:
        super().__init__()
        self.rms_eps = nonnegative("rms_eps", rms_eps)
        self.streams = streams
        self.layer = whole_number("layer", layer, 0)
        if not isinstance(dynamic, bool):
            raise TypeError(f"dynamic must be True or False, not {dynamic!r}")
        self.dynamic = dynamic
        self.b_pre = nn.Parameter(torch.empty(streams))
        self.b_post = nn.Parameter(torch.empty(streams))
        self.b_res = nn.Parameter(torch.empty(streams, streams))
        if dynamic:
            self.alpha = nn.Parameter(torch.empty(3))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the initial values (needed after `to_empty`, if parameters were on "meta")."""
        if self.dynamic:
            self.alpha.fill_(START_GATE)

    def static_parts(self) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
        """The b of each mapping."""
        return self.b_pre, self.b_post, self.b_res

    def undecayed(self) -> Iterator[nn.Parameter]:
        """Parameters that get no weight decay, which would pull H_res away from its start."""
        yield from self.static_parts()
        if self.dynamic:
            yield self.alpha

    def extra_repr(self) -> str:
        norm = "" if self.rms_eps == RMS_EPS else f", rms_eps={self.rms_eps:g}"
        return f"layer={self.layer}, dynamic={self.dynamic}{norm}"


class _UnconstrainedMappings(_LearnedMappings):
    """Eq. 5.  theta has shape (2 + n, C): a row for pre, one for post, n for res."""

    def __init__(
        self, width: int, streams: int, layer: int, dynamic: bool, rms_eps: float = RMS_EPS
    ) -> None:
        super().__init__(streams, layer, dynamic, rms_eps)
        if dynamic:
            self.theta = nn.Parameter(torch.empty(2 + streams, width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.dynamic:
            self.theta.zero_()
        self.b_pre.zero_()[self.layer % self.streams] = 1.0
        self.b_post.fill_(1.0)
        nn.init.eye_(self.b_res)

    def forward(self, h: Tensor) -> Mappings:
        static = self.static_parts()
        if not self.dynamic:
            pre, post, res = (b.to(h.dtype) for b in static)
            return pre, post, res
        inputs = (h, self.theta, self.alpha, *static)
        if layer_torch.fits(*inputs):
            return layer_torch.Unconstrained.apply(self._specified, (self.rms_eps,), *inputs)
        return self._specified(*inputs)

    def _specified(self, h: Tensor, theta: Tensor, alpha: Tensor, *static: Tensor) -> Mappings:
        """Eq. 5."""
        # Entry (k, j) is theta_k . x~_j: H_res writes to stream k what it reads from stream j.
        products = linear(h, theta.to(h.dtype)) * reciprocal_rms(h, self.rms_eps)
        dynamic = torch.tanh(products).mT
        return _gated((dynamic[..., 0, :], dynamic[..., 1, :], dynamic[..., 2:, :]), alpha, static)


class _ManifoldMappings(_LearnedMappings):
    """Eq. 7, 8.  phi is stored transposed, (n + n + n^2, nC): rows for pre, for post, for res."""

    eps: float | None = None  # of layers that were pickled before they had these two
    read_eps = 0.0

    def __init__(
        self, width: int, streams: int, layer: int, dynamic: bool,
        projection: str, iterations: int, mixing: float,
        eps: float | None = None, read_eps: float = 0.0, rms_eps: float = RMS_EPS,
    ) -> None:  # fmt: skip
        super().__init__(streams, layer, dynamic, rms_eps)
        allowed = [p.name for p in PROJECTIONS.values() if p.bounded]
        if projection == "none":
            raise ValueError(
                f"projection must be one of {', '.join(map(repr, allowed))}, not 'none'; "
                "HyperConnection is the layer with an unbounded H_res"
            )
        self.projection = choice("projection", projection, allowed)
        PROJECTIONS[self.projection].check(streams)
        self.iterations = whole_number("iterations", iterations, 1)
        self.eps = checked_eps(PROJECTIONS[self.projection], eps)
        self.read_eps = nonnegative("read_eps", read_eps)
        self.mixing = nonnegative("mixing", mixing)
        if not 0.0 < self.mixing < 1.0:
            raise ValueError(f"mixing must be between 0 and 1, both excluded, not {mixing}")
        if dynamic:
            self.phi = nn.Parameter(torch.empty(streams * (2 + streams), streams * width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.dynamic:
            self.phi.zero_()
        _start_reading(self.b_pre, self.layer)
        self.b_post.zero_()
        start = start_logits(self.projection, self.iterations, self.streams, self.mixing)
        self.b_res.copy_(torch.from_numpy(start))

    def forward(self, h: Tensor) -> Mappings:
        static = self.static_parts()
        if not self.dynamic:
            pre, post, res = self._bounded(*(b.to(h.dtype) for b in static))
            return self._lifted(pre), post, res
        inputs = (h, self.phi, self.alpha, *static)
        if self.projection == "sinkhorn" and layer_torch.fits(*inputs):
            settings = self.rms_eps, self.iterations
            pre, post, res = layer_torch.Manifold.apply(self._specified, settings, *inputs)
            return self._lifted(pre), post, res
        pre, post, res = self._specified(*inputs)
        return self._lifted(pre), post, res

    def _lifted(self, pre: Tensor) -> Tensor:
        return pre + self.read_eps if self.read_eps else pre

    def _specified(self, h: Tensor, phi: Tensor, alpha: Tensor, *static: Tensor) -> Mappings:
        """Eq. 7 and 8."""
        return self._bounded(*self._before_bounds(h, phi, alpha, *static))

    def _before_bounds(self, h: Tensor, phi: Tensor, alpha: Tensor, *static: Tensor) -> Mappings:
        """Eq. 7."""
        n = self.streams
        x = h.flatten(-2)
        products = linear(x, phi.to(h.dtype)) * reciprocal_rms(x, self.rms_eps)
        to_pre, to_post, to_res = products.split((n, n, n * n), dim=-1)
        dynamic = (to_pre, to_post, to_res.unflatten(-1, (n, n)))
        return _gated(dynamic, alpha, static)

    def logits(self, h: Tensor) -> Tensor:
        """What H_res is the projection of, (..., n, C) -> (..., n, n), or (n, n) if static."""
        if not self.dynamic:
            return self.b_res.to(h.dtype)
        return self._before_bounds(h, self.phi, self.alpha, *self.static_parts())[2]

    def _bounded(self, pre: Tensor, post: Tensor, res: Tensor) -> Mappings:
        """Eq. 8."""
        res = projected(array_torch, PROJECTIONS[self.projection], res, self.iterations, self.eps)
        return torch.sigmoid(pre), 2.0 * torch.sigmoid(post), res

    def extra_repr(self) -> str:
        eps = "" if self.eps is None else f", eps={self.eps:g}"
        read_eps = f", read_eps={self.read_eps:g}" if self.read_eps else ""
        return (
            f"{super().extra_repr()}, projection={self.projection!r}, "
            f"iterations={self.iterations}, mixing={self.mixing:g}{eps}{read_eps}"
        )


def _gated(dynamic: Mappings, alpha: Tensor, static: Sequence[Tensor]) -> Mappings:
    """Each mapping before its bounds: alpha * dynamic + b, in the dtype of the dynamic part."""
    gates = alpha.to(dynamic[0].dtype).unbind()
    pre, post, res = (
        torch.addcmul(b.to(part.dtype), gate, part)
        for part, gate, b in zip(dynamic, gates, static, strict=True)
    )
    return pre, post, res


def reciprocal_rms(x: Tensor, eps: float = RMS_EPS) -> Tensor:
    """1 / RMS of the last axis, shape (..., d) -> (..., 1).

    It multiplies the product with theta or phi instead of x (as in section 4.3.1).  The result is
    the same, and no normalised copy of the streams is kept for the backward pass.  The norm has no
    weight of its own, because theta or phi would absorb it.
    """
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.rsqrt(length * length / x.shape[-1] + eps)


def _start_reading(b_pre: Tensor, layer: int) -> None:
    """Set the logits of mHC's H_pre, shape (n,): `START_READ` comes from stream `layer` mod n."""
    n = len(b_pre)
    # A sigmoid is never 1, so at n = 1 H_pre is a millionth less.
    read = START_READ if n > 1 else 1.0 - 1e-6
    b_pre.fill_(logit((1.0 - read) / max(n - 1, 1)))
    b_pre[layer % n] = logit(read)


def logit(share: float) -> float:
    return math.log(share / (1.0 - share))


@cache
def start_logits(projection: str, iterations: int, streams: int, mixing: float) -> Matrix:
    """Logits (n, n) of which the projection has `mixing` off the diagonal of each row, on average.

    They are NumPy's and must not be changed: PyTorch's default device may be "meta", and a tensor
    that is kept may have been made without numbers.
    """
    chosen = PROJECTIONS[projection]

    def project(logits: Matrix) -> Matrix:
        matrix: Matrix = projected(array_numpy, chosen, logits, iterations)
        return matrix

    return chosen.start(project, streams, mixing)

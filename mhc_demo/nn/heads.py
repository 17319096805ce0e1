"""The end of the streams, learned: which of them the output takes, for each token."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..numerics._arrays import nonnegative, whole_number
from .layers import check_streams, outside_autocast
from .mappings import RMS_EPS, START_GATE, logit, reciprocal_rms


class StreamHead(nn.Module):
    """A weighted sum of the streams, (..., n, C) -> (..., C), in the place of `reduce_streams`.

    The weights are read off the streams as H_pre is (Eq. 7, 8): sigmoid(alpha * phi x~ + b), where
    x~ are all streams over their RMS, and `eps` is added.  DeepSeek-V4 ends so, with eps = 1e-6.

    Start: phi = 0 and b so that each weight is 1/n, which is the mean.  (The weights are sigmoids;
    at n = 1 the only one starts a millionth below 1.)
    """

    def __init__(
        self, width: int, streams: int = 4, *, eps: float = 0.0, rms_eps: float = RMS_EPS
    ) -> None:
        super().__init__()
        self.width, self.streams = (
            whole_number("width", width, 1),
            whole_number("streams", streams, 1),
        )
        self.eps, self.rms_eps = nonnegative("eps", eps), nonnegative("rms_eps", rms_eps)
        self.phi = nn.Parameter(torch.empty(streams, streams * width))
        self.alpha = nn.Parameter(torch.empty(1))
        self.b = nn.Parameter(torch.empty(streams))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the initial values (needed after `to_empty`, if parameters were on "meta")."""
        self.phi.zero_()
        self.alpha.fill_(START_GATE)
        self.b.fill_(logit(min(1.0 / self.streams, 1.0 - 1e-6)))

    def undecayed(self) -> Iterator[nn.Parameter]:
        """Parameters that get no weight decay, as in the layers."""
        yield from (self.alpha, self.b)

    def forward(self, h: Tensor) -> Tensor:
        """The output, in the dtype of `h`; the weights are computed in float32 at least.

        Raises TypeError or ValueError as the layers do.
        """
        check_streams(h, self.streams, self.width)
        with outside_autocast(h):
            x = h.flatten(-2).to(torch.promote_types(h.dtype, torch.float32))
            products = linear(x, self.phi.to(x.dtype)) * reciprocal_rms(x, self.rms_eps)
            weights = torch.sigmoid(torch.addcmul(self.b.to(x.dtype), self.alpha, products))
            weights = weights + self.eps
            return (weights.unsqueeze(-1) * h).sum(-2).to(h.dtype)

    def extra_repr(self) -> str:
        """Width and streams."""
        return f"width={self.width}, streams={self.streams}"

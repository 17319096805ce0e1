"""Arithmetic that several checks and the examination share."""

from __future__ import annotations

import torch
from torch import Tensor


def rms(x: Tensor) -> float:
    """The root mean square of all numbers of x; 0 if there are none."""
    return float(x.double().square().mean().sqrt()) if x.numel() else 0.0


def relative(difference: Tensor, to: Tensor) -> float:
    """RMS of `difference` over that of `to`; 0 / 0 is 0."""
    size, scale = rms(difference), rms(to)
    if scale == 0.0:
        return 0.0 if size == 0.0 else float("inf")
    return size / scale


def spread(streams: Tensor) -> float:
    """How much streams (..., n, C) differ: 0 if all are equal, at most 1.

    The RMS of the deviation from the mean over the streams, over the RMS of all of them.
    """
    return relative(streams - streams.mean(-2, keepdim=True), streams)


def energy(streams: Tensor) -> tuple[float, ...]:
    """Each stream's share of the sum of squares of (..., n, C); nothing if that is 0."""
    squares = streams.double().square().sum(-1).reshape(-1, streams.shape[-2]).sum(0)
    total = float(squares.sum())
    return tuple((squares / total).tolist()) if total > 0.0 else ()


def sums(H: Tensor) -> tuple[Tensor, Tensor]:
    """The largest |row sum - 1| and |column sum - 1| of each matrix, (..., n, n) -> 2 x (...)."""
    return (H.sum(-1) - 1.0).abs().amax(-1), (H.sum(-2) - 1.0).abs().amax(-1)


def iterated(H: Tensor) -> Tensor:
    """One more Sinkhorn-Knopp iteration of non-negative matrices (..., n, n): columns, then rows.

    It goes on where the model stopped, for the logits are not needed: M(t) follows from M(t - 1)
    alone (Eq. 9).  A column or row of zeros stays one.
    """
    for axis in (-2, -1):
        total = H.sum(axis, keepdim=True)
        H = H / torch.where(total > 0.0, total, 1.0)
    return H


def iterations_to(H: Tensor, tolerance: float, most: int) -> int | None:
    """How many more iterations until all sums are within `tolerance` of 1; None if over `most`."""
    for count in range(most + 1):
        if bool((torch.maximum(*sums(H)) <= tolerance).all()):
            return count
        H = iterated(H)
    return None

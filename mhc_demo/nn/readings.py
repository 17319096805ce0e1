"""Gains and mixing of recorded mappings as plain numbers, as the lab keeps them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..numerics.gains import DIRECTIONS


def measured(matrices: Tensor) -> dict[str, Any]:
    """The gains and mixing of layers (..., L, n, n), whose leading axes are tokens.

    - `layer_gains`: for "forward" and "backward" the log10 of each layer's Amax gain (the paper's,
      signed sums), of the mean over the tokens, as in Figures 3 and 7.
    - `composite_gains`: those of the composites: "forward" at l of H_l ... H_1, "backward" of
      H_L ... H_l.
    - `mixing`: each layer's mean sum of |entries| off the diagonal of a row.
    - `h_res`: each layer's mean over the tokens.

    Lists of numbers, rounded to six decimals, which keeps records short.
    """
    tokens = _layers_first(matrices)
    off_diagonal = tokens.abs().sum((-2, -1)) - tokens.diagonal(dim1=-2, dim2=-1).abs().sum(-1)
    return {
        "layer_gains": {
            direction: _rounded(_log10_mean(tokens.sum(axis).abs().amax(-1).log10()))
            for direction, axis in zip(DIRECTIONS, (-1, -2), strict=True)
        },
        "composite_gains": dict(zip(DIRECTIONS, _rounded(log10_composites(tokens)), strict=True)),
        "mixing": _rounded(off_diagonal.mean(1) / tokens.shape[-1]),
        "h_res": _rounded(tokens.mean(1)),
    }


def _layers_first(matrices: Tensor) -> Tensor:
    """(..., L, n, n) -> (L, tokens, n, n), in float64."""
    return matrices.double().reshape(-1, *matrices.shape[-3:]).movedim(1, 0)


def log10_composites(layers: Tensor) -> Tensor:
    """log10 of the mean gains of the composites, (L, tokens, n, n) -> (2, L), as in `Step`.

    The row sums of a product are its image of a vector of ones, so no product is formed; the column
    sums of a product from the last layer down are the row sums of the transposed matrices' product.
    The vectors are rescaled in every layer, so that nothing overflows at any depth.
    """
    both = torch.stack([layers, layers.mT.flip(0)], dim=1)  # (L, 2, tokens, n, n)
    sums = torch.ones_like(both[0, ..., :1])
    growth = []
    for layer in both.unbind(0):
        sums = layer @ sums
        growth.append(torch.linalg.vector_norm(sums, math.inf, dim=(-2, -1), keepdim=True))
        sums = sums / growth[-1].clamp_min(_TINY)
    log10 = torch.stack(growth, dim=1)[..., 0, 0].log10().cumsum(1)  # (2, L, tokens)
    forward, backward = _log10_mean(log10)
    return torch.stack([forward, backward.flip(0)])


_TINY = torch.finfo(torch.float64).tiny


def _log10_mean(log10: Tensor) -> Tensor:
    """log10 of the mean over the tokens of 10^x, (..., tokens) -> (...)."""
    ten = math.log(10.0)
    return (torch.logsumexp(log10 * ten, -1) - math.log(log10.shape[-1])) / ten


def _rounded(x: Tensor) -> list:
    return x.cpu().numpy().round(6).tolist()

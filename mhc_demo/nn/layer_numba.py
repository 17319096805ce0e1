"""mHC's bounds (Eq. 8) for a few tokens on a CPU, compiled by Numba: one call for each pass.

In PyTorch the 20 iterations are 80 calls per layer, and at 64 tokens most of the time is the
overhead of the calls.  A training step of 32 such mHC layers took 14 ms longer than one of HC;
compiled, it takes 3 ms longer.  With many tokens PyTorch's forward pass is faster, and is used.
`mappings` specifies what is computed.

Every innermost loop runs over `LANES` tokens, which fill a processor's vector registers.  All is
computed in float64, where linear scaling suits every logit that a network produces; if one is too
sharp even so, `bounded` returns None.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..numerics.kernels._numba import compiled
from ..numerics.projections import tame_range

LANES = 16


def bounded(logits: Tensor, streams: int, iterations: int) -> tuple[Tensor, ...] | None:
    """(pre, post, res) of logits (tokens, 2 n + n^2), or None if the logits are too sharp.

    Shapes (tokens, n), (tokens, n) and (tokens, n, n); `iterations` >= 1, columns first.
    """
    tokens, n = len(logits), streams
    pre, post = logits.new_empty(tokens, n), logits.new_empty(tokens, n)
    res = logits.new_empty(tokens, n, n)
    lowest = _bounded(logits.numpy(), iterations, pre.numpy(), post.numpy(), res.numpy())
    return (pre, post, res) if lowest > -tame_range(torch.float64, n) else None


def back(
    logits: Tensor, iterations: int, to_pre: Tensor, to_post: Tensor, to_res: Tensor
) -> Tensor:
    """dL/d logits from the gradients of the three results of `bounded`."""
    to_logits = torch.empty_like(logits)
    grads = (grad.contiguous().numpy() for grad in (to_pre, to_post, to_res))
    _back(logits.numpy(), iterations, *grads, to_logits.numpy())
    return to_logits


@compiled(inline="always")
def _sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


@compiled(inline="always")
def _base(logits, start, count, k):
    """Fill k with exp(logit - its column's maximum); returns the lowest of these differences."""
    n = k.shape[0]
    lowest = 0.0
    for w in range(count):
        z = logits[start + w, 2 * n :]
        for j in range(n):
            top = np.float64(z[j])
            for i in range(1, n):
                top = max(top, np.float64(z[i * n + j]))
            for i in range(n):
                x = z[i * n + j] - top
                lowest = min(lowest, x)
                k[i, j, w] = math.exp(x)
    return lowest


@compiled(inline="always")
def _column_step(k, u, v, sums):
    n = k.shape[0]
    for j in range(n):
        for w in range(LANES):
            sums[w] = 0.0
        for i in range(n):
            for w in range(LANES):
                sums[w] += k[i, j, w] * u[i, w]
        for w in range(LANES):
            v[j, w] = 1.0 / sums[w]


@compiled(inline="always")
def _row_step(k, u, v, sums):
    n = k.shape[0]
    for i in range(n):
        for w in range(LANES):
            sums[w] = 0.0
        for j in range(n):
            for w in range(LANES):
                sums[w] += k[i, j, w] * v[j, w]
        for w in range(LANES):
            u[i, w] = 1.0 / sums[w]


@compiled()
def _bounded(logits, iterations, pre, post, res):
    tokens, n = pre.shape
    k, u, v = np.ones((n, n, LANES)), np.ones((n, LANES)), np.ones((n, LANES))
    sums = np.empty(LANES)
    lowest = 0.0
    for start in range(0, tokens, LANES):
        count = min(LANES, tokens - start)
        lowest = min(lowest, _base(logits, start, count, k))
        u[:] = 1.0
        for _ in range(iterations):
            _column_step(k, u, v, sums)
            _row_step(k, u, v, sums)
        for w in range(count):
            for i in range(n):
                pre[start + w, i] = _sigmoid(logits[start + w, i])
                post[start + w, i] = 2.0 * _sigmoid(logits[start + w, n + i])
                for j in range(n):
                    res[start + w, i, j] = u[i, w] * k[i, j, w] * v[j, w]
    return lowest


@compiled()
def _back(logits, iterations, to_pre, to_post, to_res, to_logits):
    """The formulas of `sinkhorn_torch.backward`, which explains the letters."""
    tokens, n = to_pre.shape
    k, s = np.ones((n, n, LANES)), np.zeros((n, n, LANES))
    us, vs = np.ones((iterations + 1, n, LANES)), np.ones((iterations + 1, n, LANES))
    a, b, sums = np.empty((n, LANES)), np.empty((n, LANES)), np.empty(LANES)
    for start in range(0, tokens, LANES):
        count = min(LANES, tokens - start)
        _base(logits, start, count, k)
        for step in range(iterations):
            _column_step(k, us[step], vs[step + 1], sums)
            _row_step(k, us[step + 1], vs[step + 1], sums)
        a[:] = 0.0
        b[:] = 0.0
        for i in range(n):
            for j in range(n):
                for w in range(count):
                    scale = us[iterations, i, w] * vs[iterations, j, w]
                    s[i, j, w] = to_res[start + w, i, j] * scale
                for w in range(LANES):
                    p = s[i, j, w] * k[i, j, w]
                    a[i, w] += p
                    b[j, w] += p
        for step in range(iterations, 0, -1):
            u, v, old_u = us[step], vs[step], us[step - 1]
            for i in range(n):
                for w in range(LANES):
                    a[i, w] *= u[i, w]
            for j in range(n):
                for w in range(LANES):
                    sums[w] = 0.0
                for i in range(n):
                    for w in range(LANES):
                        s[i, j, w] -= a[i, w] * v[j, w]
                    for w in range(LANES):
                        sums[w] += k[i, j, w] * a[i, w]
                for w in range(LANES):
                    b[j, w] = (b[j, w] - v[j, w] * sums[w]) * v[j, w]
            for i in range(n):
                for w in range(LANES):
                    sums[w] = 0.0
                for j in range(n):
                    for w in range(LANES):
                        s[i, j, w] -= old_u[i, w] * b[j, w]
                    for w in range(LANES):
                        sums[w] += k[i, j, w] * b[j, w]
                for w in range(LANES):
                    a[i, w] = -old_u[i, w] * sums[w]
            b[:] = 0.0  # a step's new scaling does not depend on the old one
        for w in range(count):
            row = start + w
            for i in range(n):
                share = _sigmoid(logits[row, i])
                to_logits[row, i] = to_pre[row, i] * share * (1.0 - share)
                share = _sigmoid(logits[row, n + i])
                to_logits[row, n + i] = 2.0 * to_post[row, i] * share * (1.0 - share)
                for j in range(n):
                    to_logits[row, 2 * n + i * n + j] = s[i, j, w] * k[i, j, w]

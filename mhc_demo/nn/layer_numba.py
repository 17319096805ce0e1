"""mHC's bounds (Eq. 8) of a few tokens on a CPU, compiled by Numba: both passes in a call each.

In PyTorch the 20 iterations are 80 calls a layer, and for 64 tokens most of a call's time is the
call.  Compiled, a step of mHC with 32 such layers takes 3 ms more than one of HC, where it took
14 ms more.  Many tokens are left to PyTorch, whose forward pass is then faster.  `mhc_demo.nn`
specifies what is computed.

Tokens go side by side through a processor's vector registers, so every innermost loop is over
`LANES` of them.  Computed in float64, whatever the logits are: no logit of a network is too
sharp for linear scaling there, and where one is, the caller is told so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ..numerics.projections import tame_range

LANES = 16


def _compiled(**options: Any) -> Callable[[Callable], Any]:
    def compiled(function: Callable) -> Any:
        # A zero divisor is a NaN of that token, as in PyTorch, and a multiply-add one rounding.
        options.update(error_model="numpy", fastmath={"contract"}, nogil=True)
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # there is no folder to keep what was compiled in
            return numba.njit(**options)(function)

    return compiled


def bounded(logits: Tensor, streams: int, iterations: int) -> tuple[Tensor, ...] | None:
    """(pre, post, res) of logits (tokens, 2 n + n^2), or None if they are too sharp for it.

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
    """dL/d logits, given those of what `bounded` returns."""
    to_logits = torch.empty_like(logits)
    grads = (grad.contiguous().numpy() for grad in (to_pre, to_post, to_res))
    _back(logits.numpy(), iterations, *grads, to_logits.numpy())
    return to_logits


@_compiled(inline="always")
def _sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


@_compiled(inline="always")
def _base(logits, start, count, k):
    """Fill k with exp(logits less their column's maximum); returns the lowest of these logits."""
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


@_compiled(inline="always")
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


@_compiled(inline="always")
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


@_compiled()
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


@_compiled()
def _back(logits, iterations, to_pre, to_post, to_res, to_logits):
    """The formulas of `sinkhorn_torch.backward`, where the letters are explained."""
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
            b[:] = 0.0  # a scaling forgets what it was before the step
        for w in range(count):
            row = start + w
            for i in range(n):
                share = _sigmoid(logits[row, i])
                to_logits[row, i] = to_pre[row, i] * share * (1.0 - share)
                share = _sigmoid(logits[row, n + i])
                to_logits[row, n + i] = 2.0 * to_post[row, i] * share * (1.0 - share)
                for j in range(n):
                    to_logits[row, 2 * n + i * n + j] = s[i, j, w] * k[i, j, w]

"""Sinkhorn-Knopp in plain PyTorch, for a CPU, and for a GPU without Triton.

The formulas are those of `sinkhorn_triton`, one operation at a time.  They are bound by memory
traffic: to divide the whole batch by its sums 40 times would stream it through the cache 160
times.  So the batch is processed in pieces that stay in a core's cache, batch innermost (a sum over
four columns is then three additions of long vectors), and only the scaling vectors are iterated:
P = diag(u) K diag(v).  Two kinds of pieces stay in the log domain, where a half step is one call of
PyTorch: small ones, for which calls cost more than arithmetic, and those whose logits are too
sharp to divide.

`composed` has none of this.  It neither looks at its numbers nor overwrites any, so every tool that
transforms or records PyTorch's operations can take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .._torch import log_softmax_backward
from ..projections import tame_range

SCALED_FROM = 2**15
"""In pieces of at least this many numbers, iterating the scalings is faster."""


def forward(z: Tensor, iterations: int, eps: float) -> Tensor:
    """P of logits minus their column maxima, `z` of shape (n, n, matrices); overwrites `z`."""
    if _is_sharp(z, eps) or z.numel() < SCALED_FROM:
        if not eps:
            for half in _half_steps(z, iterations):
                z = half
            return z.exp_()
        *_, p = _released_half_steps(z, iterations, eps)
        return p
    k = _base(z, eps)
    *_, (u, v) = _scalings(k, iterations, eps)
    return k.mul_(u[:, None]).mul_(v)


def backward(z: Tensor, grad: Tensor, iterations: int, eps: float) -> Tensor:
    """dL/d logits for `grad` = dL/dP, both (n, n, matrices); overwrites both arguments.

    The gradient of the truncated iteration.  Let a = dL/d log u, b = dL/d log v, and Q the matrix
    after a half step.  Going back over a row step, dL/d log K -= a Q and b -= Q^T a; over a column
    step, the same with rows and columns exchanged.
    """
    if _is_sharp(z, eps) or z.numel() < SCALED_FROM:
        if not eps:
            return _back_over_half_steps(list(_half_steps(z, iterations)), grad)
        return _back_over_released(z, grad, iterations, eps)
    k = _base(z, eps)
    rows, columns = k.unbind(0), k.unbind(1)
    scalings = list(_scalings(k, iterations, eps))
    u, v = scalings.pop()
    s = grad.mul_(u[:, None]).mul_(v)  # dL/dK
    p = s * k
    a, b = p.sum(1), p.sum(0)
    for old_u, old_v in reversed(scalings):
        au = a * u
        s = _less_outer(s, au, v)
        bv = b.sub_(v * _weighted(rows, au)) * v
        s = _less_outer(s, old_u, bv)
        # Without eps, a step's new scaling does not depend on the old one.
        a = (a.mul_(u).div_(old_u).mul_(eps)).sub_(old_u * _weighted(columns, bv))
        b = b.mul_(v).div_(old_v).mul_(eps)
        u, v = old_u, old_v
    if not eps:
        return s.mul_(k)
    # The released variant starts with a softmax, + eps, and a row step.
    return _back_over_softmax(_less_outer(s, a * u, v), k.sub_(eps))


def composed(logits: Tensor, iterations: int, rows_first: bool, eps: float) -> Tensor:
    """P of logits (..., n, n) in differentiable operations, in the dtype of the logits."""
    real = torch.float64 if logits.dtype == torch.float64 else torch.float32
    axes = (-1, -2) if rows_first else (-2, -1)
    z = logits.to(real)
    if eps:
        p = torch.softmax(z, axes[0]) + eps
        for step in range(1, 2 * iterations):
            p = p / (p.sum(axes[step % 2], keepdim=True) + eps)
        return p.to(logits.dtype)
    for step in range(2 * iterations):
        z = torch.log_softmax(z, axes[step % 2])
    return z.exp().to(logits.dtype)


def _is_sharp(z: Tensor, eps: float) -> bool:
    # The released variant adds eps first, so no sum is too small to divide by.
    return not eps and not -float(z.min()) < tame_range(z.dtype, z.shape[0])


def _half_steps(z: Tensor, iterations: int) -> Iterator[Tensor]:
    """The logarithm of the matrix after every half step, one call each, for any logits."""
    for step in range(2 * iterations):
        z = torch.log_softmax(z, step % 2)
        yield z


def _back_over_half_steps(halves: Sequence[Tensor], grad: Tensor) -> Tensor:
    g = grad.mul_(halves[-1].exp())  # dL/d log of the matrix
    for step in reversed(range(len(halves))):
        g = log_softmax_backward(g, halves[step], step % 2)
    return g


def _released_half_steps(z: Tensor, iterations: int, eps: float) -> Iterator[Tensor]:
    """The matrix after every half step of the released variant, divided without scalings."""
    p = _base(z, eps)
    yield p
    for step in range(1, 2 * iterations):
        p = p / p.sum(step % 2, keepdim=True).add_(eps)
        yield p


def _back_over_released(z: Tensor, grad: Tensor, iterations: int, eps: float) -> Tensor:
    halves = list(_released_half_steps(z, iterations, eps))
    g = grad.mul_(halves[-1])  # dL/d log of the matrix
    for step in reversed(range(1, len(halves))):
        g = torch.addcmul(g, halves[step], g.sum(step % 2, keepdim=True), value=-1)
    return _back_over_softmax(g.div_(halves[0]), halves[0] - eps)


def _back_over_softmax(grad: Tensor, softmax: Tensor) -> Tensor:
    g = grad.mul_(softmax)
    return g.sub_(softmax.mul_(g.sum(0)))


def _base(k: Tensor, eps: float) -> Tensor:
    k = k.exp_()
    return k.div_(k.sum(0)).add_(eps) if eps else k


def _scalings(k: Tensor, iterations: int, eps: float) -> Iterator[tuple[Tensor, Tensor]]:
    """(u, v), each (n, matrices): before the first whole iteration, and after each."""
    rows, columns = k.unbind(0), k.unbind(1)
    u, v = torch.ones_like(k[0]), torch.ones_like(k[0])
    if eps:
        u = _rescaled(u, k.sum(1), eps)
    yield u, v
    for _ in range(iterations - bool(eps)):
        v = _rescaled(v, _weighted(rows, u), eps)
        u = _rescaled(u, _weighted(columns, v), eps)
        yield u, v


def _rescaled(x: Tensor, sums: Tensor, eps: float) -> Tensor:
    return x / (x * sums).add_(eps) if eps else sums.reciprocal_()


def _weighted(lines: Sequence[Tensor], x: Tensor) -> Tensor:
    """sum_i x_i K_i, where K_i are rows or columns."""
    weights = x.unbind(0)
    total = lines[0] * weights[0]
    for line, weight in zip(lines[1:], weights[1:], strict=True):
        total.addcmul_(line, weight)
    return total


def _less_outer(s: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """s_ij - u_i v_j."""
    return s.addcmul_(u[:, None], v[None], value=-1)

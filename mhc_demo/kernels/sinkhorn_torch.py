"""Sinkhorn-Knopp in plain PyTorch: what runs on a CPU, and on a GPU without Triton.

The formulas are those of `sinkhorn_triton`, an operation at a time.  What bounds it is memory
traffic: dividing the whole batch by its sums, 40 times over, streams all of it through the cache
160 times.  So the batch goes in pieces that stay in a core's cache, batch innermost (a sum over
four columns is then three additions of long vectors), and only the scaling vectors are iterated:
P = diag(u) K diag(v).  A piece with logits too sharp for that is worked on in the log domain.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..projections import tame_range


def forward(z: Tensor, iterations: int, eps: float) -> Tensor:
    """P of a piece of logits less their column maxima, shape (n, n, matrices); `z` is used up."""
    if not eps and not _is_tame(z):
        *_, p = _matrices_in_log_domain(z, iterations)
        return p
    k = _base(z, eps)
    u, v = _scalings(k, iterations, eps)[-1]
    return k.mul_(u[:, None]).mul_(v)


def backward(z: Tensor, grad: Tensor, iterations: int, eps: float) -> Tensor:
    """dL/d logits for `grad` = dL/dP, both (n, n, matrices); both are used up.

    The gradient of the truncated iteration.  With a = dL/d log u, b = dL/d log v and Q the matrix
    after a half step: back over a row step dL/d log K -= a Q and b -= Q^T a, over a column step
    the same with rows and columns exchanged.
    """
    if not eps and not _is_tame(z):
        return _backward_in_log_domain(z, grad, iterations)
    k = _base(z, eps)
    scalings = _scalings(k, iterations, eps)
    u, v = scalings.pop()
    s = grad.mul_(u[:, None]).mul_(v)  # dL/dK
    p = s * k
    a, b = p.sum(1), p.sum(0)
    while scalings:
        old_u, old_v = scalings.pop()
        au = a * u
        s = _less_outer(s, au, v)
        b -= v * _along_columns(k, au)
        bv = b * v
        s = _less_outer(s, old_u, bv)
        onward = old_u * _along_rows(k, bv)
        # eps keeps a scaling from forgetting what it was before the step.
        a = eps * a * u / old_u - onward if eps else -onward
        b = eps * b * v / old_v if eps else torch.zeros_like(b)
        u, v = old_u, old_v
    if not eps:
        return s.mul_(k)
    # The released variant began with a softmax, + eps, and a row step.
    s = _less_outer(s, a * u, v)
    softmax = k.sub_(eps)
    s = s.mul_(softmax)
    return s.sub_(softmax.mul_(s.sum(0)))


def _is_tame(z: Tensor) -> bool:
    return -float(z.min()) < tame_range(z.dtype, z.shape[0])


def _matrices_in_log_domain(z: Tensor, iterations: int) -> Iterator[Tensor]:
    """The matrix after every half step."""
    for _ in range(iterations):
        for axis in (0, 1):
            z = z - z.amax(axis, keepdim=True)  # apart from the logarithm, or it would drown that
            z = z - z.exp().sum(axis, keepdim=True).log()
            yield z.exp()


def _backward_in_log_domain(z: Tensor, grad: Tensor, iterations: int) -> Tensor:
    halves = list(_matrices_in_log_domain(z, iterations))
    g = grad * halves[-1]
    for step, p in reversed(list(enumerate(halves))):
        g -= p * g.sum(step % 2, keepdim=True)
    return g


def _base(k: Tensor, eps: float) -> Tensor:
    k = k.exp_()
    return k.div_(k.sum(0)).add_(eps) if eps else k


def _scalings(k: Tensor, iterations: int, eps: float) -> list[tuple[Tensor, Tensor]]:
    """Every (u, v), each (n, matrices): before the first whole iteration, and after each."""
    u, v = torch.ones_like(k[0]), torch.ones_like(k[0])
    if eps:
        u = _rescaled(u, k.sum(1), eps)
    scalings = [(u, v)]
    for _ in range(iterations - bool(eps)):
        v = _rescaled(v, _along_columns(k, u), eps)
        u = _rescaled(u, _along_rows(k, v), eps)
        scalings.append((u, v))
    return scalings


def _rescaled(x: Tensor, sums: Tensor, eps: float) -> Tensor:
    return x / (x * sums).add_(eps) if eps else sums.reciprocal_()


def _along_columns(k: Tensor, u: Tensor) -> Tensor:
    """sum_i K_ij u_i."""
    sums = k[0] * u[0]
    for row, x in zip(k[1:], u[1:], strict=True):
        sums.addcmul_(row, x)
    return sums


def _along_rows(k: Tensor, v: Tensor) -> Tensor:
    """sum_j K_ij v_j."""
    return _along_columns(k.transpose(0, 1), v)


def _less_outer(s: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """s_ij - u_i v_j."""
    return s.addcmul_(u[:, None], v[None], value=-1)

"""A layer's mappings and mixing on a CPU in few calls, with both passes written by hand.

A small layer is bound by the number of calls: for a few thousand numbers autograd makes some 300
calls of several microseconds each, most of them in Sinkhorn-Knopp, which `layer_numba` computes if
Numba is installed.  A large layer is bound by memory: each call streams all nC numbers of every
token.  So every operation here is one node of the graph and makes as few calls as possible.

`mappings` and `layers` specify the mathematics, in code that runs on other devices and under all
of PyTorch's tools.  It is passed to each operation as `specified`, for second derivatives, and for
a tool that follows the backward pass alone.  A dispatch mode sees every operation here too, because
`layer_numba` then stands back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..numerics._torch import plain, unseen
from ..numerics.kernels import sinkhorn as operator

FEW = 2**13
"""Up to this many entries, the H_res of all tokens are computed by `layer_numba`."""

Tensors = tuple[Tensor, ...]


def fits(*inputs: Tensor) -> bool:
    """Whether the operations here take these inputs: on a CPU, in one dtype, plain.

    A dispatch mode may be active.  Then every operation goes through PyTorch's dispatcher, but the
    same tensors are saved as without, because a checkpoint may be left by one and not the other.
    """
    return (
        inputs[0].is_cpu
        and not torch.compiler.is_compiling()
        and plain(*inputs)
        and len({x.dtype for x in inputs}) == 1
        and inputs[0].numel() > 0
    )


class _Operation(torch.autograd.Function):
    """A function of several tensors.  Subclasses compute it and its first derivative."""

    compute: ClassVar[Callable[..., tuple[Any, Tensors, tuple]]]
    """(settings, *inputs) -> the outputs, the tensors to keep for the backward pass, and further
    settings for it."""
    derive: ClassVar[Callable[..., Tensors]]
    """(settings, inputs, kept, *grads) -> the inputs' gradients."""

    @classmethod
    def forward(cls, ctx: Any, specified: Callable, settings: tuple, *inputs: Tensor) -> Any:
        outputs, kept, further = cls.compute(settings, *inputs)
        ctx.save_for_backward(*inputs, *kept)
        ctx.specified, ctx.settings, ctx.count = specified, settings + further, len(inputs)
        return outputs

    @classmethod
    def backward(cls, ctx: Any, *grads: Tensor) -> tuple:
        saved = ctx.saved_tensors
        inputs, kept = saved[: ctx.count], saved[ctx.count :]
        again = torch.is_grad_enabled()  # this gradient will itself be differentiated
        if again or not plain(*inputs, *grads):
            with torch.enable_grad():
                # Views, because one input may depend on another: the gradients are partial.
                views = [x.view_as(x) for x in inputs]
                outputs = ctx.specified(*views)
            wanted = [x for x in views if x.requires_grad]
            found = iter(
                torch.autograd.grad(outputs, wanted, grads, create_graph=again, allow_unused=True)
            )
            return None, None, *(next(found) if x.requires_grad else None for x in inputs)
        return None, None, *cls.derive(ctx.settings, inputs, kept, *grads)


class Merge(_Operation):
    """H_res x + H_post^T y: (..., n), (..., n, n), (..., n, C), (..., C) -> (..., n, C).

    One product: H_res and H_post side by side, times the streams with y below them.
    """

    @staticmethod
    def compute(
        settings: tuple, post: Tensor, res: Tensor, h: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensors, tuple]:
        merged = torch.bmm(_beside(res, post), _below(h, y))
        return merged.view(h.shape), (), ()

    @staticmethod
    def derive(settings: tuple, inputs: Tensors, kept: Tensors, *grads: Tensor) -> Tensors:
        post, res, h, y = inputs
        n, grad = post.shape[-1], grads[0].reshape(-1, *h.shape[-2:])
        to_mappings = torch.bmm(grad, _below(h, y).mT)
        to_streams = torch.bmm(_beside(res, post).mT, grad)
        to_res, to_post = to_mappings.split((n, 1), -1)
        to_h, to_y = to_streams.split((n, 1), -2)
        grads = to_post, to_res, to_h, to_y
        return tuple(grad.reshape(x.shape) for grad, x in zip(grads, inputs, strict=True))


def _beside(res: Tensor, post: Tensor) -> Tensor:
    return torch.cat((res, post.unsqueeze(-1)), -1).flatten(0, -3)


def _below(h: Tensor, y: Tensor) -> Tensor:
    return torch.cat((h, y.unsqueeze(-2)), -2).flatten(0, -3)


class Unconstrained(_Operation):
    """The mappings of Eq. 5 from h, theta, alpha, b_pre, b_post, b_res.

    settings: (eps of the norm,).
    """

    @staticmethod
    def compute(settings: tuple, h: Tensor, *parameters: Tensor) -> tuple[Tensors, Tensors, tuple]:
        theta, alpha, b_pre, b_post, b_res = parameters
        n, tokens = h.shape[-2], h.shape[:-2]
        x = h.reshape(-1, h.shape[-1])
        products, rms = torch.mm(x, theta.t()), _reciprocal_rms(x, *settings)
        turned = (products * rms).tanh_().view(-1, n, 2 + n).mT.contiguous()
        static = torch.cat((b_pre, b_post, b_res.view(-1))).view(2 + n, n)
        gates = torch.mv(_one_hot(_rows, n, x.dtype), alpha).unsqueeze(-1)
        mappings = torch.addcmul(static, turned, gates).view(*tokens, 2 + n, n)
        outputs = mappings[..., 0, :], mappings[..., 1, :], mappings[..., 2:, :]
        return outputs, (products, rms, turned, gates, theta.detach()), ()

    @staticmethod
    def derive(settings: tuple, inputs: Tensors, kept: Tensors, *grads: Tensor) -> Tensors:
        h, *_ = inputs
        products, rms, turned, gates, theta = kept
        n = h.shape[-2]
        x = h.reshape(-1, h.shape[-1])
        to_pre, to_post, to_res = grads
        grad = torch.cat((to_pre.unsqueeze(-2), to_post.unsqueeze(-2), to_res), -2).view(
            turned.shape
        )
        to_static = grad.sum(0)
        to_alpha = torch.mv(_one_hot(_rows, n, x.dtype).t(), (grad * turned).sum((0, 2)))
        grad = torch.ops.aten.tanh_backward(grad.mul_(gates), turned).mT.reshape(products.shape)
        grad.mul_(rms)
        to_rms = (grad * products).sum(-1, keepdim=True)
        to_x, to_theta = _back_over_norm(grad, to_rms, rms, x, theta)
        return to_x.view(h.shape), to_theta, to_alpha, to_static[0], to_static[1], to_static[2:]


class Manifold(_Operation):
    """The mappings of Eq. 7, 8 by Sinkhorn-Knopp from h, phi, alpha, b_pre, b_post, b_res.

    settings: (eps of the norm, iterations), and in the backward pass whether `layer_numba` has
    computed the forward pass, and so can compute this one.
    """

    @staticmethod
    def compute(settings: tuple, h: Tensor, *parameters: Tensor) -> tuple[Tensors, Tensors, tuple]:
        eps, iterations = settings
        phi, alpha, b_pre, b_post, b_res = parameters
        n, tokens = h.shape[-2], h.shape[:-2]
        x = h.reshape(-1, n * h.shape[-1])
        products, rms = torch.mm(x, phi.t()), _reciprocal_rms(x, eps)
        static = torch.cat((b_pre, b_post, b_res.view(-1)))
        gates = torch.mv(_one_hot(_parts, n, x.dtype), alpha)
        logits = torch.addcmul(static, products * rms, gates)
        compiled = _compiled() if len(x) * n * n <= FEW and unseen() else None
        bounded = compiled and compiled.bounded(logits, n, iterations)
        if bounded:
            pre, post, res = bounded
        else:
            to_share, to_project = logits.split((2 * n, n * n), 1)
            pre, post = torch.sigmoid(to_share).split(n, 1)
            post = 2.0 * post
            res = operator.sinkhorn(to_project.view(-1, n, n), iterations)
        outputs = pre.view(*tokens, n), post.view(*tokens, n), res.view(*tokens, n, n)
        return outputs, (products, rms, logits, gates, phi.detach()), (bool(bounded),)

    @staticmethod
    def derive(settings: tuple, inputs: Tensors, kept: Tensors, *grads: Tensor) -> Tensors:
        h, *_ = inputs
        products, rms, logits, gates, phi = kept
        _, iterations, bounded = settings
        n = h.shape[-2]
        x = h.reshape(-1, n * h.shape[-1])
        to_pre, to_post, to_res = (
            each.reshape(len(x), *each.shape[h.ndim - 2 :]) for each in grads
        )
        if bounded and unseen():
            grad = _compiled().back(logits, iterations, to_pre, to_post, to_res)
        else:
            to_shares = torch.cat((to_pre, 2.0 * to_post), 1)
            to_project = operator.sinkhorn_backward(
                logits[:, 2 * n :].reshape(-1, n, n), to_res, iterations
            )
            shares = torch.sigmoid(logits[:, : 2 * n])
            to_logits = torch.ops.aten.sigmoid_backward(to_shares, shares)
            grad = torch.cat((to_logits, to_project.view(-1, n * n)), 1)
        to_static = grad.sum(0)
        to_pre, to_post, to_b = to_static.split((n, n, n * n))
        weighted = (grad * products).mul_(rms)
        to_alpha = torch.mv(_one_hot(_parts, n, x.dtype).t(), weighted.sum(0))
        to_rms = torch.mv(weighted, gates).unsqueeze(-1)
        to_x, to_phi = _back_over_norm(grad.mul_(gates).mul_(rms), to_rms, rms, x, phi)
        return to_x.view(h.shape), to_phi, to_alpha, to_pre, to_post, to_b.view(n, n)


@cache
def _compiled() -> Any:
    """`layer_numba`, or None if Numba is missing or must not compile."""
    try:
        import numba
    except ImportError:
        return None
    if numba.config.DISABLE_JIT:
        return None
    from . import layer_numba

    return layer_numba


def _reciprocal_rms(x: Tensor, eps: float) -> Tensor:
    """1 / RMS of every row, (rows, d) -> (rows, 1)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def _back_over_norm(
    grad: Tensor, to_rms: Tensor, rms: Tensor, x: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of x and the weight in (x weight^T) / RMS(x).

    `grad` is the gradient of x weight^T, and `to_rms` that of 1 / RMS times 1 / RMS, which is
    overwritten.
    """
    to_x = torch.mm(grad, weight)  # to which is added: d(1 / RMS) / dx = -x / (d RMS^3)
    to_x.addcmul_(x, to_rms.mul_(rms).mul_(rms), value=-1.0 / x.shape[-1])
    return to_x, torch.mm(grad.t(), x)


def _one_hot(make: Any, n: int, dtype: torch.dtype) -> Tensor:
    """What `make` keeps; made anew under a dispatch mode, whose tensors may have no numbers."""
    return (make if unseen() else make.__wrapped__)(n, dtype)


@cache
def _parts(n: int, dtype: torch.dtype) -> Tensor:
    """For each of mHC's logits, its alpha as one-hot: pre, post or res."""
    return torch.eye(3, dtype=dtype, device="cpu")[[0] * n + [1] * n + [2] * n * n]


@cache
def _rows(n: int, dtype: torch.dtype) -> Tensor:
    """For each row of HC's mappings, its alpha as one-hot: pre, post or res."""
    return torch.eye(3, dtype=dtype, device="cpu")[[0, 1] + [2] * n]

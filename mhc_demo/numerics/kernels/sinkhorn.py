"""Sinkhorn-Knopp for PyTorch tensors: one operator with an implementation for each device.

`sinkhorn_triton` computes on a GPU, `sinkhorn_torch` elsewhere.  PyTorch sees one custom operator,
with its own gradient, so `torch.compile` neither traces into it nor breaks the graph where the
code looks at the range of the logits.  There is no mathematics in this file.  Second derivatives
are taken of the specification, in `mhc_demo.numerics.projections`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from typing import Any

import array_api_compat.torch as xp
import torch
from torch import Tensor

from ..projections import released_iterates, sinkhorn_iterates, tame_range
from . import sinkhorn_torch

PIECE_BYTES = 2**20
"""Bytes of logits that plain PyTorch processes at a time on a CPU: they fit a core's cache."""

MAX_STREAMS = 32
"""A larger matrix does not fit into the registers of a block; plain PyTorch computes it."""


def sinkhorn(
    logits: Tensor, iterations: int, *, rows_first: bool = False, eps: float = 0
) -> Tensor:
    """Sinkhorn-Knopp of logits (..., n, n), like `mhc_demo.sinkhorn_knopp` but without checks.

    Columns first, as in Eq. 9, or rows first.  `eps` > 0 gives the released variant, oriented as
    it is applied.  float16 and bfloat16 are computed in float32.  `iterations` >= 1.  Twice
    differentiable.
    """
    if torch.compiler.is_compiling() and not (torch.is_grad_enabled() and logits.requires_grad):
        return _forward(logits, iterations, rows_first, eps)  # the compiler fails on the Function
    return _SinkhornKnopp.apply(logits, iterations, rows_first, eps)


def sinkhorn_backward(logits: Tensor, grad: Tensor, iterations: int) -> Tensor:
    """dL/d logits for `grad` = dL/dP, both (..., n, n), columns first; not differentiable."""
    return _backward(logits, grad, iterations, False, 0.0)


class _SinkhornKnopp(torch.autograd.Function):
    """P, and its first derivative."""

    @staticmethod
    def forward(logits: Tensor, *settings: Any) -> Tensor:
        return _forward(logits, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.settings = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        # The compiler cannot trace the second derivative, and differentiates only once.
        derivative = _backward if torch.compiler.is_compiling() else _Derivative.apply
        return derivative(*ctx.saved_tensors, *grads, *ctx.settings), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple, logits: Tensor, *settings: Any) -> tuple[Tensor, int]:
        return _SinkhornKnopp.apply(logits.movedim(in_dims[0], 0), *settings), 0


class _Derivative(torch.autograd.Function):
    """dL/d logits; its own derivatives, which are rare, are those of the specification."""

    @staticmethod
    def forward(logits: Tensor, grad: Tensor, *settings: Any) -> Tensor:
        return _backward(logits, grad, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.settings = inputs[2:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        with torch.enable_grad():
            logits, grad = (t.detach().requires_grad_() for t in ctx.saved_tensors)
            p = _specified(logits, *ctx.settings)
            (first,) = torch.autograd.grad(p, logits, grad, create_graph=True)
            return (*torch.autograd.grad(first, (logits, grad), grads), None, None, None)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple, logits: Tensor, grad: Tensor, *settings: Any
    ) -> tuple[Tensor, int]:
        logits, grad = (
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip((logits, grad), in_dims[:2], strict=True)
        )
        return _Derivative.apply(logits, grad, *settings), 0


def _specified(logits: Tensor, iterations: int, rows_first: bool, eps: float) -> Tensor:
    """P by the specification, `mhc_demo.numerics.projections`."""
    z = logits.mT if rows_first else logits
    steps = released_iterates(xp, z, eps) if eps else sinkhorn_iterates(xp, z)
    p = next(islice(steps, iterations - 1, None))
    return p.mT if rows_first else p


@torch.library.custom_op("mhc_demo::sinkhorn", mutates_args=())
def _forward(logits: Tensor, iterations: int, rows_first: bool, eps: float) -> Tensor:
    if not logits.numel():
        return torch.empty_like(logits, memory_format=torch.contiguous_format)
    if has_kernel(logits):
        return launch(logits, None, iterations, rows_first, eps)
    result = torch.empty_like(logits, memory_format=torch.contiguous_format)
    for z, out in _pieces(rows_first, logits, result):
        out.copy_(sinkhorn_torch.forward(z, iterations, eps))
    return result


@torch.library.custom_op("mhc_demo::sinkhorn_backward", mutates_args=())
def _backward(
    logits: Tensor, grad: Tensor, iterations: int, rows_first: bool, eps: float
) -> Tensor:
    if not logits.numel():
        return torch.empty_like(logits, memory_format=torch.contiguous_format)
    if has_kernel(logits):
        return launch(logits, grad, iterations, rows_first, eps)
    result = torch.empty_like(logits, memory_format=torch.contiguous_format)
    for z, g, out in _pieces(rows_first, logits, grad, result):
        out.copy_(sinkhorn_torch.backward(z, g, iterations, eps))
    return result


@_forward.register_fake
def _(logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


@_backward.register_fake
def _(logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _real(t: Tensor) -> torch.dtype:
    """The dtype of the computation."""
    return torch.float64 if t.dtype == torch.float64 else torch.float32


def _pieces(rows_first: bool, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """For each piece, copies of the inputs, (n, n, matrices), and a view of the result.

    `tensors` are the logits, further inputs, and the result.  The copy of the logits has its
    column maxima subtracted.
    """
    n = tensors[0].shape[-1]
    real = _real(tensors[0])
    size = max(1, PIECE_BYTES // (n * n * real.itemsize))
    if tensors[0].device.type != "cpu":
        size = tensors[0].numel()
    order = (2, 1, 0) if rows_first else (1, 2, 0)
    for piece in zip(*(t.reshape(-1, n, n).split(size) for t in tensors), strict=True):
        *inputs, out = (t.permute(order) for t in piece)
        z, *rest = (t.to(real, copy=True, memory_format=torch.contiguous_format) for t in inputs)
        yield z.sub_(z.amax(0)), *rest, out


@cache
def kernels_run_on(device: torch.device) -> bool:
    """Whether Triton is installed and its kernels run on that device.

    Tried once, on one matrix, because Triton must also be new enough, find a C compiler and
    support the GPU.
    """
    if find_spec("triton") is None:
        return False
    try:
        with torch.no_grad():
            one = launch(torch.zeros(1, 4, 4, device=device), None, 1, False, 0.0)
            return bool((one == 0.25).all())
    except Exception as error:
        warnings.warn(f"plain PyTorch replaces the Triton kernels: {error}", stacklevel=2)
        return False


def has_kernel(logits: Tensor) -> bool:
    """Whether a Triton kernel computes these logits."""
    return logits.is_cuda and logits.shape[-1] <= MAX_STREAMS and kernels_run_on(logits.device)


def launch(
    logits: Tensor, grad: Tensor | None, iterations: int, rows_first: bool, eps: float
) -> Tensor:
    """Run a Triton kernel: P, or dL/d logits if `grad` = dL/dP is given."""
    import triton
    import triton.language as tl

    from . import sinkhorn_triton as kernels

    n = logits.shape[-1]
    block, warps = kernels.block_size(n, backward=grad is not None)
    count = logits.numel() // n**2
    result = torch.empty_like(logits, memory_format=torch.contiguous_format)
    real = _real(logits)
    approximate = logits.is_cuda and torch.version.hip is None and real == torch.float32
    settings = {
        "n": n,
        "N": triton.next_power_of_2(n),
        "EPS": eps,
        "TAME": tame_range(real, n),
        "SWAPPED": rows_first,
        "BLOCK": block,
        "REAL": tl.float64 if real == torch.float64 else tl.float32,
        "APPROXIMATE": approximate,
        "num_warps": warps,
        "enable_fp_fusion": True,  # half of all operations are multiply-adds
    }
    grid = (triton.cdiv(count, block),)
    z = logits.contiguous()
    with torch.cuda.device(logits.device) if logits.is_cuda else contextlib.nullcontext():
        if grad is None:
            kernels.sinkhorn_forward[grid](z, result, count, iterations, **settings)
        else:
            g = grad.contiguous()
            kernels.sinkhorn_backward[grid](z, g, result, count, iterations, **settings)
    return result

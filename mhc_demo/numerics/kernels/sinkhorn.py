"""Sinkhorn-Knopp for PyTorch tensors: one operator with an implementation for each device.

`sinkhorn_triton` computes on a GPU, `sinkhorn_torch` elsewhere.  PyTorch sees one custom operator,
with its own gradient, so `torch.compile` neither traces into it nor breaks the graph where the
code looks at the range of the logits.  There is no mathematics in this file.

`sinkhorn_torch.composed` is made of PyTorch's own operations.  What the operator has no rule for is
left to it: second derivatives, forward mode, and the file formats of ONNX and `torch.jit`.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from .._torch import PLAIN, decomposed_by, forward_mode, functionalised, transformed
from ..projections import tame_range
from . import sinkhorn_torch
from .sinkhorn_torch import composed

PIECE_BYTES = 2**20
"""Bytes of logits that plain PyTorch processes at a time on a CPU: they fit a core's cache."""

MAX_STREAMS = 32
"""A larger matrix does not fit into the registers of a block; plain PyTorch computes it."""


def sinkhorn(
    logits: Tensor, iterations: int, *, rows_first: bool = False, eps: float = 0
) -> Tensor:
    """Sinkhorn-Knopp of logits (..., n, n), like `mhc_demo.sinkhorn_knopp` but without checks.

    Columns first, as in Eq. 9, or rows first.  `eps` > 0 gives the released variant, oriented as
    it is applied.  float16 and bfloat16 are computed in float32.  `iterations` >= 1.  It can be
    differentiated any number of times, in reverse and in forward mode.
    """
    settings = iterations, rows_first, eps
    plain = type(logits) in PLAIN
    if torch.compiler.is_compiling():
        # An autograd.Function would be traced anew for each layer, which fails for dynamic shapes.
        if plain and not transformed():
            return _forward(logits, *settings)
        return composed(logits, *settings)
    if forward_mode() or functionalised() or torch.jit.is_tracing():
        return composed(logits, *settings)
    if not plain and "torch.distributed.tensor" in sys.modules:
        _teach_dtensor()
    return _SinkhornKnopp.apply(logits, *settings)


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
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        derivative = _derivative if forward_mode() else _Derivative.apply
        return derivative(*ctx.saved_tensors, *grads, *ctx.settings), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple, logits: Tensor, *settings: Any) -> tuple[Tensor, int]:
        return _SinkhornKnopp.apply(logits.movedim(in_dims[0], 0), *settings), 0


class _Derivative(torch.autograd.Function):
    """dL/d logits; its own derivatives, which are rare, are those of `composed`."""

    @staticmethod
    def forward(logits: Tensor, grad: Tensor, *settings: Any) -> Tensor:
        return _backward(logits, grad, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.settings = inputs[2:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        def derivative(logits: Tensor, grad: Tensor) -> Tensor:
            return _derivative(logits, grad, *ctx.settings)

        pullback = torch.func.vjp(derivative, *ctx.saved_tensors)[1]
        return (*pullback(*grads), None, None, None)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple, logits: Tensor, grad: Tensor, *settings: Any
    ) -> tuple[Tensor, int]:
        logits, grad = (
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip((logits, grad), in_dims[:2], strict=True)
        )
        return _Derivative.apply(logits, grad, *settings), 0


def _derivative(logits: Tensor, grad: Tensor, *settings: Any) -> Tensor:
    """dL/d logits in PyTorch's own operations."""
    pullback = torch.func.vjp(lambda z: composed(z, *settings), logits)[1]
    return pullback(grad)[0]


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


def _traced_backward(ctx: Any, grad: Tensor) -> tuple:
    return _backward(*ctx.saved_tensors, grad, *ctx.settings), None, None, None


# For graphs, which hold the operator itself; other calls come through `_SinkhornKnopp`.
_forward.register_autograd(_traced_backward, setup_context=_SinkhornKnopp.setup_context)
_backward.register_autograd(_Derivative.backward, setup_context=_Derivative.setup_context)


@decomposed_by(torch.ops.mhc_demo.sinkhorn.default)
def _decomposed(logits: Tensor, *settings: Any) -> Tensor:
    # FakeTensorMode takes this for the operator where sizes are symbols: in the same layout, then.
    return composed(logits, *settings).contiguous()


@cache
def _teach_dtensor() -> None:
    """Tell DTensor that each matrix stands alone: batch axes may be sharded, the last two not."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.experimental import register_sharding

    def rule(tensors: int) -> Any:
        def placements(logits: Any, *_: Any) -> list:
            allowed = [Replicate(), *(Shard(axis) for axis in range(logits.ndim - 2))]
            return [([each], [each] * tensors + [None] * 3) for each in allowed]

        return placements

    register_sharding(torch.ops.mhc_demo.sinkhorn.default)(rule(1))
    register_sharding(torch.ops.mhc_demo.sinkhorn_backward.default)(rule(2))


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

"""Every private part of PyTorch that we use, and why no public one will do.

Each works as described in PyTorch 2.13.0.  If another version changes one, a test in
`tests/test_private_torch.py` fails and names it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def in_backward() -> bool:
    """Whether this thread runs a backward pass: `torch._C._current_graph_task_id`.

    A layer that is called during a backward pass is being recomputed.  `torch.utils.checkpoint`
    uses the same function; there is no public one.
    """
    # The compiler traces only forward passes.
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def transformed() -> bool:
    """Whether a `torch.func` transform is active: `torch._C._are_functorch_transforms_active`.

    There, an `autograd.Function` without `setup_context` and `vmap` raises RuntimeError.  One that
    has them binds its arguments to a signature in every call, which a small layer would notice.
    """
    return torch._C._are_functorch_transforms_active()


def version(tensor: Tensor) -> int:
    """A count of in-place changes to a tensor and its views: `Tensor._version`.

    The public `torch.autograd.graph.increment_version` raises it; no public function reads it.
    """
    return tensor._version


def log_softmax_backward(grad: Tensor, result: Tensor, dim: int) -> Tensor:
    """dL/dx of result = log_softmax(x, dim): `torch._log_softmax_backward_data`.

    The public way is three calls.  On a CPU they take five times as long for one 4 x 4 matrix and
    1.7 times as long for 1,024; larger pieces are computed in another way.
    """
    return torch._log_softmax_backward_data(grad, result, dim, grad.dtype)

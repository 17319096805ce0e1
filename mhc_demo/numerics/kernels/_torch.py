"""All that we use of PyTorch without its promise to keep it, and why nothing public will do.

Last seen to hold in PyTorch 2.13.0.  `tests/test_private_torch.py` fails, and says which of these
it was, when another version changes one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def in_backward() -> bool:
    """Whether this thread is in a backward pass: `torch._C._current_graph_task_id`.

    A forward pass there is a recomputation, whoever started it: `torch.utils.checkpoint`, which
    asks the same way, or code of the user's.  Publicly it can be asked of no one.
    """
    # The compiler traces forward passes only.
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def transformed() -> bool:
    """Whether a transform of `torch.func` is at work: `torch._C._are_functorch_transforms_active`.

    An `autograd.Function` for which all that is known is how to compute it raises RuntimeError
    there.  One that suits them all costs a signature to bind in every call.
    """
    return torch._C._are_functorch_transforms_active()


def version(tensor: Tensor) -> int:
    """How often it was changed in place, itself or by a view of it: `Tensor._version`.

    `torch.autograd.graph.increment_version` is public, but nothing public reads it.
    """
    return tensor._version


def log_softmax_backward(grad: Tensor, result: Tensor, dim: int) -> Tensor:
    """dL/dx of result = log_softmax(x, dim): `torch._log_softmax_backward_data`.

    One call.  In public operations it is three, and takes 1.5 to 4 times as long where it is
    used: 4.7 instead of 1.0 us for one 4 x 4 matrix, 15 instead of 9 for 1,024 of them.
    """
    return torch._log_softmax_backward_data(grad, result, dim, grad.dtype)

"""Every private part of PyTorch that we use, and why no public one will do.

Each works as described in PyTorch 2.13.0.  If another version changes one, a test in
`tests/test_private_torch.py` fails and names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

PLAIN = (Tensor, torch.nn.Parameter)


def ordinary(*tensors: Tensor) -> bool:
    """Whether nothing but these tensors' numbers is at stake: `plain` and `unseen`."""
    return unseen() and plain(*tensors)


def plain(*tensors: Tensor) -> bool:
    """Whether autograd alone follows what is done with these tensors.

    It does not if one is of a subclass, which may hold anything, or while a transform of
    `torch.func`, forward mode or `torch.jit.trace` is active.
    """
    return (
        not transformed()
        and not forward_mode()
        and not torch.jit.is_tracing()
        and all(type(each) in PLAIN for each in tensors)
    )


def unseen() -> bool:
    """Whether no dispatch mode sees every operation, so that some may bypass the dispatcher.

    Such modes are make_fx, FakeTensorMode and FlopCounterMode: what they do not see is missing
    from what they record, and what is kept under one may have no numbers.
    `torch._C._len_torch_dispatch_stack` counts them; before autograd, as for `torch.export`,
    `torch._ops._len_torch_dispatch_stack_pre_dispatch`.  PyTorch's public function tells whether
    one of a given class is active, and needs the class.
    """
    return (
        torch._C._len_torch_dispatch_stack() == 0
        and torch._ops._len_torch_dispatch_stack_pre_dispatch() == 0
    )


def known(tensor: Tensor) -> bool:
    """Whether code may decide by the numbers of a tensor, which no tool traces."""
    return not torch.compiler.is_compiling() and ordinary(tensor)


def forward_mode() -> bool:
    """Whether derivatives are taken in forward mode: `torch.autograd.forward_ad._current_level`.

    `unpack_dual` tells it of one tensor, but not under `torch.func.jvp`.
    """
    return forward_ad._current_level >= 0


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


def functionalised() -> bool:
    """Whether a `torch.func.functionalize` is active, for which no autograd.Function has a rule.

    `torch._C._functorch.get_interpreter_stack`; no public function lists the transforms.
    """
    kind = torch._C._functorch.TransformType.Functionalize
    return transformed() and any(
        each.key() == kind for each in torch._C._functorch.get_interpreter_stack()
    )


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


def decomposed_by(operator: Any) -> Callable[[Callable], Callable]:
    """Register what `torch.onnx.export` replaces an operator by: `torch._decomp`.

    The exporter's public argument, `custom_translation_table`, is for those who call it.
    """
    return torch._decomp.register_decomposition(operator)

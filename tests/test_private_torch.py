"""The private parts of PyTorch that we use: in one file, and working as described there.

A test that fails here after an upgrade names the part that PyTorch changed;
`numerics/_torch.py` says what it is for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import mhc_demo
from mhc_demo.numerics import _torch

PACKAGE = Path(mhc_demo.__file__).parent
THE_FILE = PACKAGE / "numerics" / "_torch.py"
OF_TENSORS = {"_version", "_base", "_is_view", "_grad", "_backward_hooks"}


def _dotted(node: ast.expr) -> str:
    """A dotted name such as `torch._C.f`, from its syntax tree; empty parts are no names."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def private_uses(source: str) -> Iterator[str]:
    from_torch = {"torch"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            from_torch |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("torch")]
        elif isinstance(node, ast.Attribute):
            first, *rest = _dotted(node).split(".")
            ours = first in from_torch or rest[-1] in OF_TENSORS
            names = [".".join((first, *rest))] if ours else []
        else:
            continue
        yield from (name for name in names if "._" in name.replace(".__", "."))


def test_private_uses_are_found() -> None:
    assert set(private_uses("import torch._C\nfrom torch.autograd import _functions, graph")) == {
        "torch._C",
        "torch.autograd._functions",
    }
    assert list(private_uses("from torch.autograd import forward_ad\nforward_ad._level")) == [
        "forward_ad._level"
    ]
    assert list(private_uses("x.detach()._version\nself._kept\ntorch.__version__")) == ["._version"]


def test_only_one_file_uses_what_is_private_of_pytorch() -> None:
    uses = {file: set(private_uses(file.read_text("utf-8"))) for file in PACKAGE.rglob("*.py")}
    assert {file: names for file, names in uses.items() if names and file != THE_FILE} == {}
    assert uses[THE_FILE] - {"torch._C", "torch._C._functorch", "torch._ops", "torch._decomp"} == {
        # each has its test below
        "forward_ad._current_level",
        "torch._C._functorch.TransformType",
        "torch._C._functorch.TransformType.Functionalize",
        "torch._C._functorch.get_interpreter_stack",
        "torch._C._len_torch_dispatch_stack",
        "torch._decomp.register_decomposition",
        "torch._ops._len_torch_dispatch_stack_pre_dispatch",
        "torch._C._are_functorch_transforms_active",
        "torch._C._current_graph_task_id",
        "tensor._version",
        "torch._log_softmax_backward_data",
    }


def changed(name: str) -> str:
    return f"PyTorch {torch.__version__} has changed {name}: see {THE_FILE.name}"


def called_in_backward() -> bool:
    answers = []

    def hook(grad: torch.Tensor) -> None:
        answers.append(_torch.in_backward())

    x = torch.ones(2, requires_grad=True)
    x.register_hook(hook)
    x.sum().backward()
    return answers == [True]


def test_the_backward_pass_is_noticed() -> None:
    message = changed("torch._C._current_graph_task_id")
    assert hasattr(torch._C, "_current_graph_task_id"), message
    assert not _torch.in_backward(), message
    assert called_in_backward(), message
    assert not _torch.in_backward(), message


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # jvp's own
@pytest.mark.parametrize("transform", ["grad", "vmap", "jvp"])
def test_transforms_are_noticed(transform: str) -> None:
    message = changed("torch._C._are_functorch_transforms_active")
    assert hasattr(torch._C, "_are_functorch_transforms_active"), message
    answers = []

    def function(x: torch.Tensor) -> torch.Tensor:
        answers.append(_torch.transformed())
        return x.sum()

    x = torch.ones(3)
    if transform == "jvp":
        torch.func.jvp(function, (x,), (x,))
    else:
        getattr(torch.func, transform)(function)(x)
    assert answers == [True], message
    assert not _torch.transformed(), message


def test_changes_in_place_are_counted() -> None:
    message = changed("torch.Tensor._version")
    x = torch.zeros(3)
    assert hasattr(x, "_version"), message
    before = _torch.version(x)
    assert _torch.version(x) == _torch.version(x.detach()) == before, message
    (x + 1).sum()
    assert _torch.version(x) == before, message
    x.detach().add_(1)
    assert _torch.version(x) > before, message


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_softmax_is_differentiated(dim: int, dtype: torch.dtype) -> None:
    message = changed("torch._log_softmax_backward_data")
    assert hasattr(torch, "_log_softmax_backward_data"), message
    x, grad = torch.randn(2, 4, 4, 5, dtype=dtype)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(torch.log_softmax(leaf, dim), leaf, grad)
    try:
        found = _torch.log_softmax_backward(grad, torch.log_softmax(x, dim), dim)
    except TypeError as error:
        pytest.fail(f"{message}: {error}")
    torch.testing.assert_close(found, expected, msg=lambda text: f"{message}: {text}")


def answers_within(context: AbstractContextManager) -> list[bool]:
    """`ordinary` of a plain tensor before, within and after."""
    x = torch.ones(2)
    before = _torch.ordinary(x)
    with context:
        within = _torch.ordinary(x)
    return [before, within, _torch.ordinary(x)]


class Idle(TorchDispatchMode):
    """A mode that changes nothing."""


def test_modes_that_see_every_operation_are_noticed() -> None:
    message = changed("torch._C._len_torch_dispatch_stack")
    assert answers_within(Idle()) == [True, False, True], message
    assert answers_within(FakeTensorMode()) == [True, False, True], message
    assert answers_within(nullcontext()) == [True, True, True]


def test_modes_before_autograd_are_noticed() -> None:
    answers = []

    def function(x: torch.Tensor) -> torch.Tensor:
        answers.append(_torch.ordinary(torch.ones(2)))
        return x + 1

    make_fx(function, pre_dispatch=True)(torch.ones(3))
    assert answers[-1] is False, changed("torch._ops._len_torch_dispatch_stack_pre_dispatch")


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_forward_mode_is_noticed() -> None:
    message = changed("torch.autograd.forward_ad._current_level")
    assert not _torch.forward_mode(), message
    with forward_ad.dual_level():
        assert _torch.forward_mode(), message
    answers = []

    def function(x: torch.Tensor) -> torch.Tensor:
        answers.append(_torch.forward_mode())
        return x.sum()

    torch.func.jacfwd(torch.func.grad(function))(torch.ones(3))
    torch.func.grad(function)(torch.ones(3))
    assert answers == [True, False], message


def test_functionalisation_is_noticed() -> None:
    answers = []

    def function(x: torch.Tensor) -> torch.Tensor:
        answers.append(_torch.functionalised())
        return x.sum()

    function(torch.ones(3))
    torch.func.functionalize(function)(torch.ones(3))
    torch.func.vmap(torch.func.functionalize(function))(torch.ones(3, 2))
    torch.func.vmap(function)(torch.ones(3, 2))
    message = changed("torch._C._functorch.get_interpreter_stack")
    assert answers == [False, True, True, False], message


def test_a_decomposition_is_found_by_exporters() -> None:
    from mhc_demo.numerics.kernels import sinkhorn

    operator = torch.ops.mhc_demo.sinkhorn.default
    message = changed("torch._decomp.register_decomposition")
    assert torch._decomp.get_decompositions([operator]), message
    assert sinkhorn._decomposed(torch.zeros(4, 4), 1, False, 0.0)[0, 0] == 0.25, message

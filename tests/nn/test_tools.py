"""The layers and the operator under PyTorch's tools: each gives what plain PyTorch gives.

On a CPU a plain layer computes behind PyTorch's dispatcher, and the operator has rules of its own.
A tool that follows every operation must see them all, and must leave nothing behind.
"""

import contextlib
import functools
import io

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as fw
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

import mhc_demo as mhc
from mhc_demo import nn as mnn

from .networks import EVERY, KINDS, compiling, network, randomised

LONG = pytest.mark.long


def layers(kind="mhc", depth=2):
    return randomised(network(kind, depth, branch=lambda _: nn.Tanh()), 0.3).double()


def streams_of(*shape):
    return torch.randn(*shape, 4, 8, dtype=torch.float64)


# Derivatives of any kind


@EVERY
def test_a_gradient_is_the_same_when_it_will_itself_be_differentiated(kind):
    """The mappings depend on the streams, so a path through both could be counted twice."""
    model = layers(kind)
    h = streams_of(3).requires_grad_()
    inputs = [h, *(p for p in model.parameters() if p.requires_grad)]
    loss = model(h).square().sum()
    once = torch.autograd.grad(loss, inputs, retain_graph=True)
    again = torch.autograd.grad(loss, inputs, create_graph=True)
    assert_close(again, once)


def cubes(name):
    return lambda z: (mhc.project(z, name, 3) ** 3).sum()


@pytest.mark.parametrize("name", ["sinkhorn", "released"])
@pytest.mark.parametrize(
    "hessian",
    [
        torch.func.hessian,
        lambda f: torch.func.jacrev(torch.func.grad(f)),
        lambda f: torch.func.jacfwd(torch.func.grad(f)),
        lambda f: torch.func.jacrev(torch.func.jacfwd(f)),
        lambda f: torch.func.vmap(torch.func.jacrev(torch.func.grad(f))),
        lambda f: functools.partial(torch.autograd.functional.hessian, f),
    ],
    ids=["hessian", "jacrev grad", "jacfwd grad", "jacrev jacfwd", "vmap", "autograd"],
)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # forward mode's own
def test_second_derivatives_are_differences_of_first_ones(name, hessian, request):
    z, step = torch.randn(3, 3, dtype=torch.float64), 1e-5
    batched = "vmap" in request.node.name
    found = hessian(cubes(name))(z[None] if batched else z).reshape(9, 9)
    for i, unit in enumerate(torch.eye(9, dtype=torch.float64).reshape(9, 3, 3)):
        ends = [torch.func.grad(cubes(name))(z + s * step * unit) for s in (1, -1)]
        # Central differences are exact to step^2, and to a rounding of 1e-16 / step.
        assert_close(found[:, i].reshape(3, 3), (ends[0] - ends[1]) / (2 * step), rtol=0, atol=1e-8)


def test_a_gradient_of_a_gradient_of_a_gradient():
    z = torch.randn(3, 3, dtype=torch.float64)
    loss, ones = cubes("sinkhorn"), torch.ones(3, 3, dtype=torch.float64)

    def along(f):
        return lambda x: (torch.func.grad(f)(x) * ones).sum()

    expected = torch.func.grad(along(along(loss)))(z)
    x = z.clone().requires_grad_()
    value = loss(x)
    for _ in range(2):
        value = torch.autograd.grad(value, x, create_graph=True)[0].sum()
    assert_close(torch.autograd.grad(value, x)[0], expected)


@EVERY
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_forward_mode_and_hessians_of_whole_layers(kind):
    model, (h, tangent) = layers(kind), streams_of(2, 2)

    def loss(x):
        return model(x).square().sum()

    _, pushed = torch.func.jvp(model, (h,), (tangent,))
    expected = torch.autograd.functional.jvp(model, h, tangent)[1]  # by reverse mode, twice
    assert_close(pushed, expected)
    hessian = torch.func.hessian(loss)(h).flatten(3).flatten(0, 2)
    expected = torch.autograd.functional.hvp(loss, h, tangent)[1]
    assert_close(hessian @ tangent.flatten(), expected.flatten())


@pytest.mark.parametrize("what", ["layers", "operator"])
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_backward_pass_within_forward_mode(what):
    function = layers() if what == "layers" else mhc.sinkhorn_knopp
    x = (streams_of(2) if what == "layers" else torch.randn(2, 4, 4).double()).requires_grad_()
    y = function(x)
    grad, tangent = torch.randn(2, *y.shape, dtype=torch.float64)
    (expected,) = torch.autograd.grad(y, x, tangent, retain_graph=True)
    with fw.dual_level():
        (found,) = torch.autograd.grad(y, x, fw.make_dual(grad, tangent))
        assert_close(fw.unpack_dual(found).tangent, expected)


def test_functionalised():
    model, h = layers(), streams_of(3)
    assert_close(torch.func.functionalize(model)(h), model(h))


# What follows every operation


@EVERY
@pytest.mark.parametrize("pre_dispatch", [False, True])
def test_make_fx_records_what_is_computed(kind, pre_dispatch):
    model = layers(kind)
    graph = make_fx(model, pre_dispatch=pre_dispatch)(streams_of(3))
    h = streams_of(3)
    assert_close(graph(h), model(h))


def test_make_fx_records_a_backward_pass():
    model = layers()

    def gradient(h):
        return torch.autograd.grad(model(h).square().sum(), h)[0]

    graph = make_fx(gradient)(streams_of(3).requires_grad_())
    h = streams_of(3).requires_grad_()
    assert_close(graph(h), gradient(h))


def test_make_fx_records_a_backward_pass_whose_forward_pass_was_plain():
    model, h = layers(), streams_of(3).requires_grad_()
    y = model(h)

    def backward(grad):
        return torch.autograd.grad(y, h, grad, retain_graph=True)[0]

    graph = make_fx(backward)(torch.randn_like(y))
    grad = torch.randn_like(y)
    assert_close(graph(grad), backward(grad))


@EVERY
def test_a_forward_pass_without_numbers_leaves_nothing_behind(kind):
    """What is kept for a number of streams is first asked for by a tensor without numbers."""
    with FakeTensorMode():
        model = network(kind, 2, 8, 5, lambda _: nn.Tanh())
        output = model(torch.randn(3, 5, 8).requires_grad_())
        assert output.shape == (3, 5, 8)
        output.sum().backward()
    model = randomised(network(kind, 2, 8, 5, lambda _: nn.Tanh()))
    h = torch.randn(3, 5, 8).requires_grad_()
    output = model(h)
    output.sum().backward()
    assert output.isfinite().all()
    assert h.grad.isfinite().all()


class Watched(TorchDispatchMode):
    """Counts operations, as profilers of memory do."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def test_a_dispatch_mode_sees_the_projection_and_its_derivative():
    model, h = layers(), streams_of(3).requires_grad_()
    expected = model(h)
    with Watched() as mode:
        output = model(h)
        output.sum().backward()
    assert_close(output, expected)
    assert mode.seen.count("mhc_demo.sinkhorn.default") == 2
    assert mode.seen.count("mhc_demo.sinkhorn_backward.default") == 2


def test_operations_are_counted_and_the_result_is_the_same():
    model, h = layers(), streams_of(3)
    with FlopCounterMode(display=False) as counter:
        output = model(h)
    assert_close(output, model(h))
    # Per layer and token: phi takes 2 * 24 * 32, H_pre 2 * 4 * 8, H_res and H_post 2 * 20 * 8.
    assert counter.get_total_flops() == 2 * 3 * (2 * 24 * 32 + 2 * 4 * 8 + 2 * 20 * 8)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("kept", ["Recomputed", "checkpoint"])
@pytest.mark.parametrize("tokens", [3, 600])
def test_a_mode_may_see_one_pass_of_a_checkpoint_alone(forward, kept, tokens):
    """A checkpoint is refused if its second run saves other tensors than the first."""
    model, h = layers(), streams_of(tokens).requires_grad_()
    expected = torch.autograd.grad(model(h).square().sum(), h)
    again = mnn.Recomputed(model) if kept == "Recomputed" else model
    modes = [Watched(), contextlib.nullcontext()]
    first, second = modes if forward else reversed(modes)
    with first:
        output = again(h) if kept == "Recomputed" else checkpoint(model, h, use_reentrant=False)
    with second:
        found = torch.autograd.grad(output.square().sum(), h)
    assert_close(found, expected)


def test_selective_checkpoints():
    model, h = layers(), streams_of(3).requires_grad_()
    contexts = functools.partial(
        create_selective_checkpoint_contexts, [torch.ops.mhc_demo.sinkhorn.default]
    )
    output = checkpoint(model, h, use_reentrant=False, context_fn=contexts)
    found = torch.autograd.grad(output.square().sum(), h)
    assert_close(found, torch.autograd.grad(model(h).square().sum(), h))


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and warns of every if
def test_torch_jit_trace_records_what_is_computed():
    model = layers()
    traced = torch.jit.trace(model, (streams_of(3),))
    kept = io.BytesIO()
    torch.jit.save(traced, kept)
    kept.seek(0)
    h = streams_of(3)
    assert_close(torch.jit.load(kept)(h), model(h))


# Tensors that are more than their numbers


class Named(torch.Tensor):
    """A subclass without a rule of its own."""


class Pair(torch.Tensor):
    """Two tensors in one, each operated on."""

    @staticmethod
    def __new__(cls, first, second):
        return torch.Tensor._make_wrapper_subclass(cls, first.shape, dtype=first.dtype)

    def __init__(self, first, second):
        self.both = first, second

    def __repr__(self):
        return f"Pair{self.both}"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        def part(k):
            inner = tree_map_only(Pair, lambda pair: pair.both[k], (args, kwargs or {}))
            return function(*inner[0], **inner[1])

        seconds = iter(tree_leaves(part(1)))
        return tree_map_only(torch.Tensor, lambda first: Pair(first, next(seconds)), part(0))


@EVERY
def test_a_subclass_stays_one(kind):
    model, h = layers(kind), streams_of(3)
    output = model(h.as_subclass(Named))
    assert type(output) is Named
    assert_close(output.as_subclass(torch.Tensor), model(h))


@pytest.mark.parametrize("kind", ["residual", "mhc-static", "mhc"])
def test_a_tensor_of_two_gives_two_results(kind):
    model, first, second = layers(kind), streams_of(3), streams_of(3)
    output = model(Pair(first, second))
    for part, h in zip(output.both, (first, second), strict=True):
        assert_close(part, model(h))


@pytest.fixture
def mesh():
    """Two processes, of which this is the first; nothing is sent to the other."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_a_sharded_batch_is_projected_where_it_is(mesh):
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module

    logits = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    here = logits[:2].clone().requires_grad_()
    projected = mhc.sinkhorn_knopp(DTensor.from_local(here, mesh, [Shard(0)]))
    assert projected.placements == (Shard(0),)
    wanted = mhc.sinkhorn_knopp(logits)[:2]
    assert_close(projected.to_local(), wanted)
    projected.square().sum().backward()
    leaf = logits[:2].clone().requires_grad_()
    mhc.sinkhorn_knopp(leaf).square().sum().backward()
    assert_close(here.grad, leaf.grad)
    torn = DTensor.from_local(logits[..., :2], mesh, [Shard(3)])
    assert mhc.sinkhorn_knopp(torn).placements == (Replicate(),)

    model, h = layers(), streams_of(4)
    expected = model(h)[:2]
    distribute_module(model, mesh)
    output = model(DTensor.from_local(h[:2], mesh, [Shard(0)]))
    assert output.placements == (Shard(0),)
    assert_close(output.to_local(), expected)


# Compiled and exported


def test_layers_compile_for_any_number_of_tokens():
    """A function of autograd in each of two layers would fail here in the compiler's front end."""
    model = layers()
    with compiling():
        compiled = torch.compile(model, backend="eager", dynamic=True, fullgraph=True)
        for tokens in (3, 5):
            h = streams_of(tokens).requires_grad_()
            assert_close(compiled(h), model(h))
            grads = [torch.autograd.grad(f(h).square().sum(), h) for f in (compiled, model)]
            assert_close(*grads)


@LONG
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_layers_compile_for_any_number_of_tokens_to_the_end(backend):
    model = layers(depth=3)
    with compiling():
        compiled = torch.compile(model, backend=backend, dynamic=True, fullgraph=True)
        for tokens in (3, 5):
            h = streams_of(tokens).requires_grad_()
            inputs = [h, *model.parameters()]
            grads = [torch.autograd.grad(f(h).square().sum(), inputs) for f in (compiled, model)]
            assert_close(*grads)


@LONG
def test_a_transposed_batch_of_any_size_keeps_its_layout():
    def function(z):
        return mhc.sinkhorn_knopp(z.mT, 3).mT * 2

    with compiling():
        compiled = torch.compile(function, dynamic=True, fullgraph=True)
        for count in (3, 5):
            z = torch.randn(count, 4, 4)
            assert_close(compiled(z), function(z))
            assert compiled(z).stride() == function(z).stride()


@LONG
@pytest.mark.parametrize(
    "transformed",
    [
        lambda f, h: torch.func.vmap(torch.func.grad(lambda one: f(one).square().sum()))(h),
        lambda f, h: torch.func.jvp(f, (h,), (h,))[1],
    ],
    ids=["vmap grad", "jvp"],
)
def test_compiled_transforms(transformed):
    model, h = layers(), streams_of(3)
    with compiling():
        compiled = torch.compile(lambda x: transformed(model, x), backend="aot_eager")
        assert_close(compiled(h), transformed(model, h))


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=LONG)])
@pytest.mark.filterwarnings("ignore")
def test_an_exported_program_takes_any_number_of_tokens_and_learns(strict):
    model = layers()
    sizes = ({0: torch.export.Dim("tokens")},)
    program = torch.export.export(model, (streams_of(3),), dynamic_shapes=sizes, strict=strict)
    h = streams_of(6).requires_grad_()
    grads = [torch.autograd.grad(f(h).square().sum(), h) for f in (program.module(), model)]
    assert_close(*grads)


@pytest.mark.filterwarnings("ignore")
def test_an_exported_program_decomposes_into_pytorchs_own_operations():
    model, h = layers(), streams_of(3)
    table = {
        torch.ops.mhc_demo.sinkhorn.default: torch._decomp.decomposition_table[
            torch.ops.mhc_demo.sinkhorn.default
        ]
    }
    program = torch.export.export(model, (h,)).run_decompositions(table)
    assert not [node for node in program.graph.nodes if "mhc_demo" in str(node.target)]
    assert_close(program.module()(h), model(h))


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exporter", ["dynamo", "export", "script"])
def test_onnx_computes_the_same(exporter):
    import onnx
    from onnx.reference import ReferenceEvaluator

    model, h = layers().float(), streams_of(3).float()
    if exporter == "script":
        kept = io.BytesIO()
        torch.onnx.export(model, (h,), kept, dynamo=False)
        proto = onnx.load_from_string(kept.getvalue())
    else:
        given = torch.export.export(model, (h,)) if exporter == "export" else model
        proto = torch.onnx.export(given, (h,), dynamo=True, verbose=False).model_proto
    (found,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: h.numpy()})
    assert_close(torch.from_numpy(np.array(found)), model(h).detach(), rtol=1e-4, atol=1e-5)


# Branches as other packages have them


@EVERY
def test_what_else_a_branch_returns_is_passed_through(kind):
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    layer = randomised(KINDS[kind](lambda x, **options: attention(x, x, x, **options), 8))
    alone = KINDS[kind](lambda x: attention(x, x, x)[0], 8)
    alone.load_state_dict(layer.state_dict())
    h = torch.randn(2, 5, 4, 8)
    output, weights = layer(h, average_attn_weights=False)
    assert_close(output, alone(h))
    assert weights.shape == (2, 2, 5, 5)
    output, weights = layer(h, need_weights=False)
    assert weights is None
    assert_close(output, alone(h))


@EVERY
def test_any_name_of_an_argument_is_the_branchs(kind):
    given = {"h": 1, "x": 2, "block": 3, "branch": 4}

    class Branch(nn.Module):
        def forward(self, hidden_states, **options):
            assert options == given
            return (hidden_states,)

    layer = KINDS[kind](Branch(), 8)
    output = layer(torch.randn(2, 4, 8), **given)
    assert isinstance(output, tuple)
    assert len(output) == 1


@pytest.mark.parametrize("grad", [True, False])
def test_recomputed_layers_have_nowhere_to_put_the_rest(grad):
    model = mnn.Recomputed([mnn.HyperConnection(lambda x: (x, None), 8)])
    with torch.set_grad_enabled(grad), pytest.raises(TypeError, match=r"Recomputed.*tensor alone"):
        model(torch.randn(2, 4, 8))

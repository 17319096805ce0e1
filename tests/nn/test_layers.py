"""The layers as PyTorch modules: gradients, dtypes, pickles, compiling, bad input."""

import copy
import doctest
import pickle
import re
import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual

import mhc_demo as mhc
from mhc_demo import nn as mnn

from .networks import EVERY, KINDS, compiling, gradients, network, randomised

pytestmark = pytest.mark.filterwarnings("error")


# Gradients and dtypes


@EVERY
@pytest.mark.parametrize("n", [1, 3])
def test_gradients_are_right(kind, n):
    layer = KINDS[kind](nn.Tanh(), 2, n, layer=1)
    randomised(layer).double()
    names = [name for name, _ in layer.named_parameters()]

    def function(h, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, given, (h,))

    inputs = [torch.randn(2, n, 2, dtype=torch.float64)]
    inputs += [p.detach().clone() for p in layer.parameters()]
    assert gradcheck(function, [x.requires_grad_() for x in inputs])


@EVERY
def test_forward_mode_gives_the_same_derivative(kind):
    layer = randomised(KINDS[kind](nn.Tanh(), 2, 3)).double()
    h, tangent = torch.randn(2, 2, 3, 2, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(layer, h).flatten(3).flatten(0, 2)
    expected = (expected @ tangent.flatten()).view(h.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's forward mode uses its deprecated torch.jit
        with dual_level():
            found = unpack_dual(layer(make_dual(h, tangent))).tangent
        _, by_jvp = torch.func.jvp(layer, (h,), (tangent,))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(by_jvp, expected)


@EVERY
def test_layers_work_under_transforms_of_torch_func(kind):
    layer = randomised(KINDS[kind](nn.Tanh(), 2, 3)).double()
    h = torch.randn(4, 5, 3, 2, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(layer(h).square().sum(), h)
    each = torch.func.vmap(torch.func.grad(lambda one: layer(one).square().sum()))
    torch.testing.assert_close(each(h.detach()), expected)


def test_second_derivatives_are_right():
    layer = randomised(mnn.ManifoldHyperConnection(nn.Tanh(), 2, 2, iterations=2)).double()
    h = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(layer, h)


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("whole_model", [True, False])
def test_low_precision_streams_are_mixed_by_float32_mappings(kind, dtype, whole_model):
    layers = randomised(network(kind, branch=lambda _: nn.Tanh()), 0.2)
    h = torch.randn(2, 5, 4, 8)
    if whole_model:
        layers.to(dtype)
    with mnn.record_mappings(layers) as maps:
        output = layers(h.to(dtype))
    assert output.dtype == dtype
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert all(each.dtype == wide for each in maps)
    if kind.startswith("mhc"):
        # Rounded to bfloat16 the rows would be off by up to 2**-9.
        torch.testing.assert_close(
            maps.stack().sum(-1), torch.ones(()).expand(maps.stack().shape[:-1]).to(wide)
        )
    # The streams are rounded to dtype six times, the parameters once.
    bound = 0.05 if dtype == torch.bfloat16 else 0.006
    assert (output - layers.float()(h)).abs().max() < bound * output.abs().max()
    if kind != "residual":
        output.float().square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layers.parameters())


@EVERY
def test_autocast_reaches_the_branch_and_not_the_mappings(kind):
    dtypes = []

    class Linear(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            dtypes.append(y.dtype)
            return y

    layers = randomised(network(kind, branch=lambda width: Linear(width, width)), 0.2)
    h = torch.randn(2, 5, 4, 8)
    expected = layers(h)
    with torch.autocast("cpu", torch.bfloat16), mnn.record_mappings(layers) as maps:
        output = layers(h)
    output.sum().backward()
    assert dtypes == [torch.float32] * 6 + [torch.bfloat16] * 6
    assert output.dtype == torch.float32
    assert all(each.dtype == torch.float32 for each in maps)
    assert (output - expected).abs().max() < 0.03 * expected.abs().max()
    # The first layer's mapping depends on no branch, so it is the very same.
    with mnn.record_mappings(layers) as plain:
        layers(h)
    assert torch.equal(maps[0], plain[0])


@pytest.mark.parametrize("file", ["decay", "layers", "recording"])
def test_the_examples_in_docstrings_are_true(file):
    results = doctest.testmod(import_module(f"mhc_demo.nn.{file}"))
    assert results.attempted
    assert not results.failed


# As modules


@EVERY
def test_state_copies_and_pickles(kind):
    layers = randomised(network(kind, depth=2))
    h = torch.randn(3, 4, 8)
    expected = layers(h)
    fresh = network(kind, depth=2)
    fresh.load_state_dict(layers.state_dict())
    for other in (fresh, copy.deepcopy(layers), pickle.loads(pickle.dumps(layers))):
        assert torch.equal(other(h), expected)


def test_pickles_from_when_the_package_was_one_file_load():
    layers = randomised(nn.Sequential(*(make(nn.Identity(), 8) for make in KINDS.values())))
    h = torch.randn(3, 4, 8)
    pickled = pickle.dumps(layers, protocol=0)
    old = re.sub(rb"cmhc_demo\.nn\.\w+\n", b"cmhc_demo.nn\n", pickled)
    assert old != pickled
    assert torch.equal(pickle.loads(old)(h), layers(h))


def test_the_parameters_have_the_papers_names():
    def names(kind):
        return [name for name, _ in KINDS[kind](nn.Identity(), 3, 2).mappings.named_parameters()]

    assert names("hc") == ["b_pre", "b_post", "b_res", "alpha", "theta"]
    assert names("mhc") == ["b_pre", "b_post", "b_res", "alpha", "phi"]
    assert names("hc-static") == names("mhc-static") == ["b_pre", "b_post", "b_res"]


def test_the_repr_of_a_layer_shows_its_settings():
    shown = repr(mnn.ManifoldHyperConnection(nn.Identity(), 8, 4, layer=3, mixing=0.1))
    for part in ("width=8", "streams=4", "layer=3", "dynamic=True", "'sinkhorn'", "mixing=0.1"):
        assert part in shown


@EVERY
def test_further_arguments_are_passed_to_the_branch(kind):
    calls = []

    def branch(x, *args, **kwargs):
        calls.append((args, kwargs))
        return x

    layer = KINDS[kind](branch, 8, 4)
    layer(torch.randn(2, 4, 8), 1, mask="m")
    mnn.Recomputed([layer, layer])(torch.randn(2, 4, 8), 1, mask="m")
    assert calls == [((1,), {"mask": "m"})] * 3


@EVERY
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3)])
def test_any_number_of_token_axes_and_no_tokens_at_all(kind, shape):
    layers = network(kind)
    h = torch.randn(*shape, 4, 8)
    assert layers(h).shape == h.shape
    if h.numel():
        flat = layers(h.reshape(-1, 4, 8)).reshape(h.shape)
        torch.testing.assert_close(layers(h), flat)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind == "mhc" else pytest.mark.long)
        for kind in ("residual", "hc", "mhc", "mhc-static", "mhc-mhc-lite")
    ],
)
def test_a_network_compiles_without_a_graph_break(kind):
    layers = randomised(network(kind, depth=1, branch=lambda _: nn.Tanh()), 0.3)
    h = torch.randn(2, 3, 4, 8, requires_grad=True)
    expected = layers(h)
    expected.square().sum().backward()
    wanted = gradients(layers, h)
    layers.zero_grad()
    h.grad = None
    with compiling():
        output = torch.compile(layers, backend="aot_eager", fullgraph=True)(h)
        output.square().sum().backward()
    torch.testing.assert_close(output, expected)
    # Gradients of a whole network in float32, summed in a different order.
    torch.testing.assert_close(gradients(layers, h), wanted, rtol=1e-4, atol=1e-4)


# Bad input


@EVERY
@pytest.mark.parametrize(
    ("h", "error", "message"),
    [
        (torch.zeros(3, 8, 4), ValueError, r"h must have shape \(\.\.\., 4, 8\).*not \(3, 8, 4\)"),
        (torch.zeros(3, 8), ValueError, r"expand_streams"),
        (torch.zeros(8), ValueError, r"not \(8,\)"),
        (torch.zeros(4, 8, dtype=torch.int64), TypeError, r"h must be a real floating.*int64"),
        (torch.zeros(4, 8, dtype=torch.complex64), TypeError, r"complex64 \(4, 8\)"),
        (np.zeros((4, 8)), TypeError, r"h must be.*'ndarray'"),
    ],
)
def test_streams_of_a_wrong_shape_or_dtype_raise(kind, h, error, message):
    with pytest.raises(error, match=message):
        KINDS[kind](nn.Identity(), 8, 4)(h)


@EVERY
@pytest.mark.parametrize(
    ("branch", "error", "message"),
    [
        (lambda x: None, TypeError, "branch must return a tensor.*, not NoneType"),
        (lambda x: {"y": x}, TypeError, "branch must return a tensor.*, not dict"),
        (lambda x: (), TypeError, "branch must return a tensor.*, not tuple"),
        (lambda x: (None, x), TypeError, "not a tuple that begins with NoneType"),
        (lambda x: x[..., :4], ValueError, r"branch must return.*\(2, 8\), not \(2, 4\)"),
        (lambda x: x.sum(), ValueError, r"not \(\)"),
    ],
)
@pytest.mark.parametrize("recomputed", [False, True])
def test_branches_that_return_a_wrong_type_or_shape_raise(kind, branch, error, message, recomputed):
    layer = KINDS[kind](branch, 8, 4)
    model = mnn.Recomputed([layer]) if recomputed else layer
    with pytest.raises(error, match=message):
        model(torch.zeros(2, 4, 8))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: mnn.Residual(None, 8), TypeError, "branch must be.*not None"),
        (lambda: mnn.Residual(abs, 0), ValueError, "width must be at least 1, not 0"),
        (lambda: mnn.HyperConnection(abs, 8.0), TypeError, "width must be a whole number"),
        (lambda: mnn.HyperConnection(abs, 8, 0), ValueError, "streams must be at least 1"),
        (lambda: mnn.HyperConnection(abs, 8, layer=-1), ValueError, "layer must be at least 0"),
        (lambda: mnn.HyperConnection(abs, 8, dynamic=1), TypeError, "dynamic must be.*not 1"),
        (
            lambda: mnn.ManifoldHyperConnection(abs, 8, projection="none"),
            ValueError,
            "projection must be one of 'sinkhorn'.*not 'none'.*HyperConnection",
        ),
        (
            lambda: mnn.ManifoldHyperConnection(abs, 8, projection="exp"),
            ValueError,
            "projection must be one of 'sinkhorn'.*not 'exp'",
        ),
        (
            lambda: mnn.ManifoldHyperConnection(abs, 8, 7, projection="mhc-lite"),
            ValueError,
            "'mhc-lite' takes at most 6 streams.*not 7",
        ),
        (
            lambda: mnn.ManifoldHyperConnection(abs, 8, iterations=0),
            ValueError,
            "iterations must be at least 1, not 0",
        ),
        (lambda: mnn.ManifoldHyperConnection(abs, 8, mixing=0), ValueError, "mixing must be"),
        (lambda: mnn.ManifoldHyperConnection(abs, 8, mixing=1), ValueError, "mixing must be"),
        (lambda: mnn.ManifoldHyperConnection(abs, 8, mixing="a"), TypeError, "mixing must be"),
        (lambda: mnn.expand_streams(torch.ones(3), 0), ValueError, "streams must be at least 1"),
        (lambda: mnn.expand_streams(torch.tensor(1.0), 2), TypeError, "x must be a tensor"),
        (lambda: mnn.reduce_streams(torch.ones(3)), TypeError, "h must be a tensor"),
        (lambda: mnn.parameter_groups(abs, 0.1), TypeError, "model must be"),
        (lambda: mnn.parameter_groups(nn.Identity(), -1), ValueError, "weight_decay must be"),
        (lambda: mnn.Recomputed([nn.Linear(8, 8)]), TypeError, "layers must be.*0 is Linear"),
        (lambda: mnn.Recomputed([], block=0), ValueError, "block must be at least 1"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", [mnn.HyperConnection, mnn.ManifoldHyperConnection])
def test_on_a_gpu_everything_works_as_on_the_cpu(kind):
    layers = [kind(nn.Linear(8, 8), 8, 4, layer=index) for index in range(6)]
    model = mnn.Recomputed(layers)
    h = mnn.expand_streams(torch.randn(3, 8), 4)
    wanted = model(h)
    on_gpu = model.cuda()
    with mnn.record_mappings(on_gpu) as maps:
        result = on_gpu(h.cuda())
        # The user may have set a low precision of matrix products.
        torch.testing.assert_close(result.cpu(), wanted, rtol=1e-3, atol=1e-3)
        with torch.autocast("cuda", torch.bfloat16):
            on_gpu(h.cuda()).sum().backward()
    assert maps.stack().is_cuda
    assert mhc.compose(maps.stack()).log10_gain().is_cuda
    assert all(p.grad is not None for p in model.parameters())

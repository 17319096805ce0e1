"""The layers against plain loops, and against six silent mistakes of public implementations.

Each of those mistakes leaves the loss curve looking fine: a mapping that is never applied or
never learns, streams that stay equal, streams that do not persist, a transposed or misread
mapping, weight decay on what holds the identity.  They have sections of their own below.
"""

import copy
import functools
import gc
import math
import pickle
import warnings
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.profiler import ProfilerActivity, profile

import mhc_demo as mhc
from mhc_demo import nn as mnn
from mhc_demo.numerics.costs import best_recompute_block
from mhc_demo.numerics.projections import PROJECTIONS

BOUNDED = [p.name for p in PROJECTIONS.values() if p.bounded and p.takes_logits]
KINDS = {
    "residual": lambda *args, layer=0: mnn.Residual(*args),
    "hc": mnn.HyperConnection,
    "hc-static": functools.partial(mnn.HyperConnection, dynamic=False),
    "mhc": mnn.ManifoldHyperConnection,
    "mhc-static": functools.partial(mnn.ManifoldHyperConnection, dynamic=False),
}
pytestmark = pytest.mark.filterwarnings("error")

LEARNED = [kind for kind in KINDS if kind != "residual"]
EVERY = pytest.mark.parametrize("kind", KINDS)
EVERY_LEARNED = pytest.mark.parametrize("kind", LEARNED)
ALL_STARTS = {
    **KINDS,
    **{
        f"mhc-{name}": functools.partial(mnn.ManifoldHyperConnection, projection=name)
        for name in BOUNDED
    },
}
FLOAT32 = 2.0**-23


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def mlp(width, dropout=0.0):
    """An ordinary pre-norm branch."""
    return nn.Sequential(
        nn.RMSNorm(width),
        nn.Linear(width, 2 * width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * width, width),
    )


def network(kind, depth=6, width=8, streams=4, branch=mlp):
    make = ALL_STARTS[kind]
    return nn.Sequential(
        *(make(branch(width), width, streams, layer=index) for index in range(depth))
    )


class Zero(nn.Module):
    """A branch that writes nothing, so that what a layer does is its H_res alone."""

    def forward(self, x):
        return torch.zeros_like(x)


def randomised(module, size=0.5):
    """The same module with all of its parameters random, so that none is at a special value."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * torch.randn_like(parameter))
    return module


@contextmanager
def compiling():
    """A compiler without a past; it warns of what it meets on its way, lru_cache and the like."""
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def through(layers, x, streams):
    return mnn.reduce_streams(layers(mnn.expand_streams(x, streams)))


def gradients(module, *inputs):
    return [p.grad.clone() for p in (*module.parameters(), *inputs) if p.grad is not None]


# The layers against plain loops over single numbers (Eq. 3, 5, 7, 8)


def rms_norm(vector):
    mean = sum(v * v for v in vector) / len(vector)
    return [v / math.sqrt(mean + 1e-6) for v in vector]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def hc_mappings(x, p, n):
    """Eq. 5: alpha * tanh(theta x~^T) + b, theta's rows as pre, post, res."""
    pre, post, res = p["b_pre"].copy(), p["b_post"].copy(), p["b_res"].copy()
    if "theta" in p:
        for j in range(n):
            normed = rms_norm(x[j])
            pre[j] += p["alpha"][0] * math.tanh(dot(p["theta"][0], normed))
            post[j] += p["alpha"][1] * math.tanh(dot(p["theta"][1], normed))
            for i in range(n):
                res[i, j] += p["alpha"][2] * math.tanh(dot(p["theta"][2 + i], normed))
    return pre, post, res


def mhc_mappings(x, p, n, iterations):
    """Eq. 7, 8, 9: one norm and one projection of all streams, then columns before rows."""
    pre, post, res = p["b_pre"].copy(), p["b_post"].copy(), p["b_res"].copy()
    if "phi" in p:
        normed = rms_norm([v for row in x for v in row])
        products = [dot(row, normed) for row in p["phi"]]
        for i in range(n):
            pre[i] += p["alpha"][0] * products[i]
            post[i] += p["alpha"][1] * products[n + i]
            for j in range(n):
                res[i, j] += p["alpha"][2] * products[2 * n + i * n + j]
    matrix = [[math.exp(v) for v in row] for row in res]
    for _ in range(iterations):
        sums = [sum(matrix[i][j] for i in range(n)) for j in range(n)]
        matrix = [[matrix[i][j] / sums[j] for j in range(n)] for i in range(n)]
        matrix = [[v / sum(row) for v in row] for row in matrix]
    return [sigmoid(z) for z in pre], [2 * sigmoid(z) for z in post], np.array(matrix)


def one_token(x, pre, post, res, branch, n, width):
    """Eq. 3 for one token, x of shape (n, C)."""
    read = [sum(pre[j] * x[j][c] for j in range(n)) for c in range(width)]
    y = branch(read)
    return [
        [sum(res[i][j] * x[j][c] for j in range(n)) + post[i] * y[c] for c in range(width)]
        for i in range(n)
    ]


@EVERY_LEARNED
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("iterations", [1, 20])
def test_a_layer_is_its_equations(kind, n, iterations):
    width = 5
    weight = torch.randn(width, width, dtype=torch.float64)
    arguments = {"iterations": iterations} if kind.startswith("mhc") else {}
    layer = randomised(KINDS[kind](lambda x: torch.tanh(x @ weight.T), width, n, **arguments))
    layer.double()
    h = torch.randn(2, 3, n, width, dtype=torch.float64)
    result = layer(h).detach().numpy()

    p = {name: value.detach().numpy() for name, value in layer.mappings.named_parameters()}
    assert all((value != 0).all() for value in p.values())
    for token in np.ndindex(2, 3):
        x = h[token].tolist()
        if kind.startswith("mhc"):
            pre, post, res = mhc_mappings(x, p, n, iterations)
        else:
            pre, post, res = hc_mappings(x, p, n)
        if n > 2:  # a doubly stochastic 2 x 2 matrix is always symmetric
            assert np.abs(res - res.T).max() > 1e-3  # a transposed mapping would be seen
        expected = one_token(
            x, pre, post, res, lambda v: [math.tanh(dot(row, v)) for row in weight.tolist()],
            n, width,
        )  # fmt: skip
        # Sums of at most 20 numbers of size 1 to 10 in float64.
        np.testing.assert_allclose(result[token], expected, rtol=0, atol=1e-13)


def test_the_plain_residual_is_x_plus_f_of_the_mean():
    layer = mnn.Residual(nn.Tanh(), 5, 3)
    h = torch.randn(2, 3, 5)
    assert torch.equal(layer(h), h + torch.tanh(h.mean(-2, keepdim=True)))
    assert list(layer.parameters()) == []
    assert layer.state_dict() == {}


@pytest.mark.parametrize("projection", BOUNDED)
def test_h_res_is_the_projection_by_name(projection):
    layer = mnn.ManifoldHyperConnection(
        nn.Identity(), 3, 4, dynamic=False, projection=projection, iterations=3
    )
    randomised(layer)
    pre, post, res = layer.mappings(torch.zeros(4, 3))
    expected = mhc.project(layer.mappings.b_res.detach(), projection, 3)
    # The layer may take another path to the same numbers.
    torch.testing.assert_close(res.detach(), expected, rtol=0, atol=8 * FLOAT32)
    assert ((pre > 0) & (pre < 1)).all()
    assert ((post > 0) & (post < 2)).all()


def test_expanding_and_reducing():
    x = torch.randn(2, 3, 5)
    h = mnn.expand_streams(x, 4)
    assert h.shape == (2, 3, 4, 5)
    for stream in range(4):
        assert torch.equal(h[:, :, stream], x)
    assert torch.equal(mnn.reduce_streams(h), x)  # four equal numbers: exact
    h[:, :, 0] = 0  # copies, not views
    assert (h[:, :, 1] == x).all()
    assert mnn.expand_streams(torch.ones(5), 1).shape == (1, 5)


# Where they start: every network is the plain residual network


@pytest.mark.parametrize("kind", ALL_STARTS)
@pytest.mark.parametrize("streams", [1, 2, 4])
def test_at_the_start_every_network_is_the_plain_residual_network(kind, streams):
    depth, width = 16, 8
    branches = [mlp(width) for _ in range(depth)]
    x = torch.randn(3, 5, width)
    expected = x
    for branch in branches:
        expected = expected + branch(expected)
    order = iter(branches)
    layers = network(kind, depth, width, streams, branch=lambda _: next(order))
    # float32 through 16 layers; at n = 1 mHC reads a millionth too little, and DeepSeek's eps
    # takes a millionth per layer.
    torch.testing.assert_close(through(layers, x, streams), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["residual", "hc", "mhc"])
def test_that_holds_at_depth_64_too(kind):
    def mild(width):
        return nn.Sequential(nn.RMSNorm(width), nn.Linear(width, width))

    layers = network(kind, 64, 8, 4, branch=mild)
    x = torch.randn(7, 8)
    expected = x
    for layer in layers:
        expected = expected + layer.branch(expected)
    torch.testing.assert_close(through(layers, x, 4), expected, rtol=1e-4, atol=1e-4)


def test_hc_starts_as_its_paper_says():
    for index in range(6):
        layer = mnn.HyperConnection(nn.Identity(), 3, 4, layer=index)
        pre, post, res = layer.mappings(torch.randn(2, 4, 3))
        assert torch.equal(pre, torch.eye(4)[index % 4].expand(2, 4))
        assert torch.equal(post, torch.ones(2, 4))
        assert torch.equal(res, torch.eye(4).expand(2, 4, 4))
        assert torch.equal(layer.mappings.alpha, torch.full((3,), 0.01))


@pytest.mark.parametrize("projection", [name for name in BOUNDED if name != "identity"])
@pytest.mark.parametrize("mixing", [0.01, 0.05, 0.3])
def test_mhc_starts_with_the_mixing_that_is_asked_for(projection, mixing):
    for n in (2, 4):
        for index in range(n + 1):
            layer = mnn.ManifoldHyperConnection(
                nn.Identity(), 3, n, layer=index, projection=projection, mixing=mixing
            )
            pre, post, res = layer.mappings(torch.randn(2, n, 3))
            assert pre[0, index % n].item() == pytest.approx(0.9, abs=1e-6)
            torch.testing.assert_close(pre.sum(-1), torch.ones(2))
            assert torch.equal(post, torch.ones(2, n))
            off = res.sum(-1) - res.diagonal(dim1=-2, dim2=-1)
            # float32, and eps = 1e-6 of DeepSeek's variant times n.
            torch.testing.assert_close(off, torch.full((2, n), mixing), rtol=0, atol=1e-5)


def test_for_sinkhorn_the_diagonal_logit_has_a_formula():
    for n, m in ((2, 0.05), (4, 0.05), (8, 0.2)):
        layer = mnn.ManifoldHyperConnection(nn.Identity(), 3, n, mixing=m)
        expected = math.log((1 - m) * (n - 1) / m) * torch.eye(n)
        torch.testing.assert_close(layer.mappings.b_res.detach(), expected)
    for single in ("sinkhorn", "mhc-lite"):
        layer = mnn.ManifoldHyperConnection(nn.Identity(), 3, 1, projection=single)
        assert layer.mappings.b_res.item() == 0


def test_parameters_made_on_meta_come_to_life_by_reset_parameters():
    for kind in LEARNED:
        expected = KINDS[kind](nn.Identity(), 3, 4, layer=1)
        with torch.device("meta"):
            layer = KINDS[kind](nn.Identity(), 3, 4, layer=1)
        assert layer(torch.empty(2, 4, 3, device="meta")).shape == (2, 4, 3)
        layer.to_empty(device="cpu").mappings.reset_parameters()
        for name, value in expected.state_dict().items():
            assert torch.equal(layer.state_dict()[name], value)


# Mistake 1: H_res is computed and never applied


@EVERY
def test_the_recorded_mapping_is_the_one_that_is_applied(kind):
    layers = randomised(network(kind, depth=1, streams=3))
    h = torch.randn(2, 5, 3, 8)
    without_branch = copy.deepcopy(layers)
    without_branch[0].branch = Zero()
    with mnn.record_mappings(without_branch) as maps:
        mixed = without_branch(h)
    torch.testing.assert_close(mixed, torch.einsum("...ij,...jc->...ic", maps[0], h))

    with mnn.record_mappings(layers) as maps:
        output = layers(h)
    pre, post, _ = layers[0].mappings(h)
    y = layers[0].branch(torch.einsum("...j,...jc->...c", pre, h))
    by_hand = maps[0] @ h + post[..., :, None] * y[..., None, :]
    torch.testing.assert_close(output, by_hand)


@EVERY_LEARNED
def test_altering_h_res_alters_the_output_accordingly(kind):
    layers = randomised(network(kind, depth=1))
    h = torch.randn(5, 4, 8)
    before = layers(h)

    def zeroed(module, args, output):
        return output[0], output[1], torch.zeros_like(output[2])

    with mnn.record_mappings(layers) as maps:
        layers(h)
    handle = layers[0].mappings.register_forward_hook(zeroed)
    torch.testing.assert_close(before - layers(h), maps[0] @ h)
    handle.remove()
    with torch.no_grad():
        layers[0].mappings.b_res[0, 1] += 0.5
    assert (layers(h) - before).abs().max() > 0.05


# Mistakes 2 and 3: H_res never learns, or the streams never differ


def trained(kind, steps=40, **arguments):
    """(layers, x, mixing before and after, each layer's largest gradient of b_res)."""
    width, streams, depth = 8, 4, 6
    make = functools.partial(KINDS[kind], **arguments)
    layers = nn.Sequential(
        *(make(mlp(width), width, streams, layer=index) for index in range(depth))
    )
    x = torch.randn(64, width)
    target = torch.sin(2 * x @ torch.randn(width, width)) * x.flip(-1)
    optimiser = torch.optim.AdamW(mnn.parameter_groups(layers, 0.01), lr=0.01)
    with mnn.record_mappings(layers) as maps:
        losses, mixing, slopes = [], [], []
        for _ in range(steps):
            loss = (through(layers, x, streams) - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            mixing.append(maps.mixing())
            slopes.append([layer.mappings.b_res.grad.abs().max().item() for layer in layers])
    return layers, x, losses, (mixing[0], mixing[-1]), np.max(slopes, axis=0)


@EVERY_LEARNED
def test_h_res_gets_a_gradient_and_moves_when_trained(kind):
    layers, x, losses, (before, after), slopes = trained(kind)
    assert losses[-1] < 0.7 * losses[0]
    start = 0.0 if kind.startswith("hc") else 0.05
    torch.testing.assert_close(before, torch.full_like(before, start), rtol=0, atol=1e-5)
    # Parameters move by up to 0.4 in 40 steps of 0.01, those without a gradient by nothing.
    # The first layer is left out: its streams are the equal ones of expand_streams, which no
    # row-stochastic H_res can alter.
    assert ((after - before).abs()[1:] > 5e-4).all()
    assert (after - before).abs()[1:].mean() > 0.01
    assert slopes[1:].min() > 1e-6
    if kind.startswith("mhc"):
        assert slopes[0] < 2e-7  # rounding

    h = mnn.expand_streams(x, 4)
    for layer in layers:
        h = layer(h)
    spread = h.std(dim=-2).mean() / h.std()
    assert spread > 0.02  # the streams have become different: the symmetry is broken


def test_a_start_that_is_all_but_the_identity_hardly_learns():
    # Mistake 2 itself, by way of `mixing`: the gradient is in proportion to it.
    *_, learned = trained("mhc-static", steps=10)
    *_, stuck = trained("mhc-static", steps=10, mixing=1e-9)
    assert stuck[1:].max() < 1e-5 * learned[1:].min()


def test_reading_all_streams_alike_would_leave_them_equal():
    # Mistake 3 itself: with a uniform H_pre the gradient of b_res is zero but for rounding.
    def gradient(uniform):
        layers = network("mhc-static").double()
        with torch.no_grad():
            for layer in layers if uniform else []:
                layer.mappings.b_pre.fill_(0.0)
        for _ in range(3):
            x = torch.randn(32, 8, dtype=torch.float64)
            layers.zero_grad()
            (through(layers, x, 4) - x.flip(-1)).square().mean().backward()
            with torch.no_grad():
                for p in layers.parameters():
                    p -= 0.1 * p.grad
        return max(layer.mappings.b_res.grad.abs().max().item() for layer in layers)

    assert gradient(uniform=True) < 1e-15 < 1e-7 < gradient(uniform=False)


# Mistake 4: streams that do not persist


@EVERY
def test_the_streams_persist_and_their_composite_is_the_product_of_the_layers(kind):
    layers = randomised(network(kind, depth=12, streams=3), size=0.3)
    for layer in layers:
        layer.branch = Zero()
    h = torch.randn(2, 5, 3, 8)
    with mnn.record_mappings(layers) as maps:
        output = layers(h)
    product = torch.eye(3)
    for matrices in maps:
        product = matrices @ product
    torch.testing.assert_close(output, product @ h, rtol=1e-4, atol=1e-5)

    stacked = maps.stack()
    dynamic = kind in ("hc", "mhc")
    assert stacked.shape == ((2, 5, 12, 3, 3) if dynamic else (12, 3, 3))
    composite = mhc.compose(stacked)
    torch.testing.assert_close(composite.matrix(12) @ h, output, rtol=1e-4, atol=1e-5)


def test_nothing_bounds_hc_and_mhc_stays_bounded_whatever_its_parameters():
    gains = {}
    for kind in LEARNED:
        layers = network(kind, depth=64, branch=lambda _: nn.Identity())
        for layer in layers:
            with torch.no_grad():
                for parameter in layer.mappings.parameters():
                    parameter += torch.randn_like(parameter)
        # HC's signal overflows float32 by itself after enough layers: measured on the matrices.
        h = torch.randn(4, 8).expand(3, 4, 8)
        matrices = torch.stack([layer.mappings(h)[2].detach() for layer in layers], dim=-3)
        composite = mhc.compose(matrices.double())
        gains[kind] = [
            composite.log10_gain(direction, "worst-case")[..., -1].max().item()
            for direction in ("forward", "backward")
        ]
    for kind in ("hc", "hc-static"):
        assert min(gains[kind]) > 10
    for kind in ("mhc", "mhc-static"):
        assert gains[kind][0] == pytest.approx(0, abs=64 * FLOAT32)  # rows sum to 1
        assert gains[kind][1] <= math.log10(4)


# Mistake 5: what is transposed, or unpacked in the wrong order (see also the plain loops above)


def test_row_i_of_h_res_is_written_and_column_j_is_read():
    layer = mnn.HyperConnection(torch.zeros_like, 2, 3, dynamic=False)
    with torch.no_grad():
        layer.mappings.b_res.zero_()[0, 2] = 1.0
    h = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert layer(h).tolist() == [[5.0, 6.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(("kind", "weight"), [("hc", "theta"), ("mhc", "phi")])
def test_the_parts_are_in_the_order_pre_post_res(kind, weight):
    layer = KINDS[kind](nn.Identity(), 5, 3)
    h = torch.randn(2, 3, 5)
    start = layer.mappings(h)
    noise = torch.randn_like(getattr(layer.mappings, weight))
    sizes = [1, 1, 3] if kind == "hc" else [3, 3, 9]
    for part, rows in enumerate(torch.arange(sum(sizes)).split(sizes)):
        with torch.no_grad():
            getattr(layer.mappings, weight).zero_()[rows] = noise[rows]
        changed = [
            not torch.equal(now, then) for now, then in zip(layer.mappings(h), start, strict=True)
        ]
        assert changed == [index == part for index in range(3)]


# Mistake 6: weight decay on the static mappings


@EVERY
def test_parameter_groups_spare_the_static_mappings_and_the_gates(kind):
    layers = network(kind, depth=2)
    model = nn.ModuleList([layers, nn.Linear(8, 8), layers[0]])
    model[1].weight.requires_grad_(False)
    decayed, spared = mnn.parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ours = {names[id(p)].rsplit(".", 1)[-1] for p in spared["params"]}
    expected = {"b_pre", "b_post", "b_res"} | (set() if kind.endswith("static") else {"alpha"})
    assert ours == (expected if kind != "residual" else set())

    both = [id(p) for p in decayed["params"] + spared["params"]]
    assert len(both) == len(set(both))
    assert set(both) == {id(p) for p in model.parameters() if p.requires_grad}
    assert id(model[1].weight) not in both


def test_shared_parameters_are_in_one_group_once():
    first, second = network("mhc", depth=2)
    second.mappings.b_res = first.mappings.b_res
    second.branch[1].weight = first.branch[1].weight
    decayed, spared = mnn.parameter_groups(nn.Sequential(first, second), 0.1)
    for group, shared in (
        (spared, first.mappings.b_res),
        (decayed, first.branch[1].weight),
    ):
        assert sum(p is shared for p in group["params"]) == 1


def test_under_strong_decay_without_gradients_the_identity_stays():
    layers = network("hc", depth=1)
    optimiser = torch.optim.AdamW(mnn.parameter_groups(layers, 10.0), lr=0.01)
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(20):
        optimiser.step()
    assert torch.equal(layers[0].mappings.b_res, torch.eye(4))
    assert layers[0].branch[1].weight.abs().max() < 0.1


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
    seen = []

    class Linear(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    layers = randomised(network(kind, branch=lambda width: Linear(width, width)), 0.2)
    h = torch.randn(2, 5, 4, 8)
    expected = layers(h)
    with torch.autocast("cpu", torch.bfloat16), mnn.record_mappings(layers) as maps:
        output = layers(h)
    output.sum().backward()
    assert seen == [torch.float32] * 6 + [torch.bfloat16] * 6
    assert output.dtype == torch.float32
    assert all(each.dtype == torch.float32 for each in maps)
    assert (output - expected).abs().max() < 0.03 * expected.abs().max()
    # The first layer's mapping depends on no branch, so it is the very same.
    with mnn.record_mappings(layers) as plain:
        layers(h)
    assert torch.equal(maps[0], plain[0])


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


def test_the_parameters_have_the_papers_names():
    def names(kind):
        return [name for name, _ in KINDS[kind](nn.Identity(), 3, 2).mappings.named_parameters()]

    assert names("hc") == ["b_pre", "b_post", "b_res", "alpha", "theta"]
    assert names("mhc") == ["b_pre", "b_post", "b_res", "alpha", "phi"]
    assert names("hc-static") == names("mhc-static") == ["b_pre", "b_post", "b_res"]


def test_a_layer_shows_what_it_is():
    shown = repr(mnn.ManifoldHyperConnection(nn.Identity(), 8, 4, layer=3, mixing=0.1))
    for part in ("width=8", "streams=4", "layer=3", "dynamic=True", "'sinkhorn'", "mixing=0.1"):
        assert part in shown


@EVERY
def test_further_arguments_go_on_to_the_branch(kind):
    seen = []

    def branch(x, *args, **kwargs):
        seen.append((args, kwargs))
        return x

    layer = KINDS[kind](branch, 8, 4)
    layer(torch.randn(2, 4, 8), 1, mask="m")
    mnn.Recomputed([layer, layer])(torch.randn(2, 4, 8), 1, mask="m")
    assert seen == [((1,), {"mask": "m"})] * 3


@EVERY
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3)])
def test_any_number_of_token_axes_and_no_tokens_at_all(kind, shape):
    layers = network(kind)
    h = torch.randn(*shape, 4, 8)
    assert layers(h).shape == h.shape
    if h.numel():
        flat = layers(h.reshape(-1, 4, 8)).reshape(h.shape)
        torch.testing.assert_close(layers(h), flat)


@pytest.mark.parametrize("kind", ["residual", "hc", "mhc", "mhc-static", "mhc-mhc-lite"])
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
    # Gradients of a whole network in float32, summed in another order.
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
def test_streams_of_the_wrong_kind_are_refused(kind, h, error, message):
    with pytest.raises(error, match=message):
        KINDS[kind](nn.Identity(), 8, 4)(h)


@EVERY
@pytest.mark.parametrize(
    ("branch", "error", "message"),
    [
        (lambda x: (x, None), TypeError, "branch must return a tensor, not tuple"),
        (lambda x: x[..., :4], ValueError, r"branch must return.*\(2, 8\), not \(2, 4\)"),
        (lambda x: x.sum(), ValueError, r"not \(\)"),
    ],
)
@pytest.mark.parametrize("recomputed", [False, True])
def test_branches_that_return_something_else_are_refused(kind, branch, error, message, recomputed):
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
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Recording


def test_recording_holds_the_latest_pass_and_restores_everything():
    layers = randomised(network("mhc", depth=3))
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in layers.modules()]
    a, b = torch.randn(2, 4, 8), torch.randn(7, 4, 8)
    with mnn.record_mappings(layers) as maps:
        assert len(maps) == 0
        layers(a)
        first = maps.stack()
        with mnn.record_mappings(layers[1]) as inner:
            layers(b)
        assert len(inner) == 1
        assert torch.equal(inner[0], maps[1])
        assert maps.stack().shape == (7, 3, 4, 4)
        layers(a)
        assert len(inner) == 1
        assert inner[0].shape == (7, 4, 4)  # closed, and left as it was
    assert torch.equal(maps.stack(), first)
    assert len(maps) == len(list(maps)) == 3
    assert [each.shape for each in maps[1:]] == [(2, 4, 4)] * 2
    assert not any(each.requires_grad for each in maps)
    layers(b)
    assert torch.equal(maps.stack(), first)
    with pytest.raises(KeyError), mnn.record_mappings(layers):
        raise KeyError
    after = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in layers.modules()]
    assert after == hooks


def test_layers_are_recorded_in_the_order_of_their_first_call():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = randomised(network("hc-static", depth=3))

        def forward(self, h):
            for index in (2, 0, 2, 1):
                h = self.layers[index](h)
            return h

    model = Backwards()
    with mnn.record_mappings(model) as maps:
        model(torch.randn(4, 8))
    for found, index in zip(maps, (2, 0, 1), strict=True):
        assert torch.equal(found, model.layers[index].mappings.b_res)


def test_what_was_recorded_does_not_change_with_the_parameters():
    layers = network("hc-static", depth=1)
    with mnn.record_mappings(layers) as maps:
        layers(torch.randn(4, 8))
    with torch.no_grad():
        layers[0].mappings.b_res.zero_()
    assert torch.equal(maps[0], torch.eye(4))


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_in_the_backward_pass_does_not_touch_the_record(reentrant):
    layers = randomised(network("mhc", depth=3))
    a, b = (torch.randn(2, 4, 8, requires_grad=True) for _ in range(2))
    run = functools.partial(torch.utils.checkpoint.checkpoint, layers, use_reentrant=reentrant)
    for forward in (run, mnn.Recomputed(list(layers), 2)):
        with mnn.record_mappings(layers) as maps:
            first = forward(a)
            layers(b)
            latest = maps.stack()
            first.sum().backward()
            assert torch.equal(maps.stack(), latest)


def test_stack_mean_and_mixing():
    static, dynamic = mnn.HyperConnection(nn.Identity(), 8, dynamic=False), network("mhc", 1)[0]
    model = randomised(nn.Sequential(static, dynamic, mnn.Residual(nn.Identity(), 8)))
    with mnn.record_mappings(model) as maps:
        model(torch.randn(2, 3, 4, 8))
    assert [each.shape for each in maps] == [(4, 4), (2, 3, 4, 4), (4, 4)]
    stacked = maps.stack()
    assert stacked.shape == (2, 3, 3, 4, 4)
    torch.testing.assert_close(maps.mean(), stacked.mean((0, 1)))
    off = stacked.abs() * (1 - torch.eye(4))
    torch.testing.assert_close(maps.mixing(), off.sum((-2, -1)).mean((0, 1)) / 4)
    assert maps.mixing()[2] == 0
    gain = mhc.compose(stacked).log10_gain("forward")
    assert gain.shape == (2, 3, 3)


def test_what_cannot_be_recorded_or_stacked_is_said():
    with (
        pytest.raises(ValueError, match=r"model has no .*Linear"),
        mnn.record_mappings(nn.Linear(2, 2)),
    ):
        pass
    with (
        pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, not function"),
        mnn.record_mappings(mlp),
    ):
        pass
    with mnn.record_mappings(network("hc")) as maps:
        pass
    for method in (maps.stack, maps.mean, maps.mixing):
        with pytest.raises(ValueError, match="no mappings were recorded"):
            method()

    class Both(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.first, self.second = (
                network("hc", 1, streams=first),
                network("hc", 1, streams=second),
            )

        def forward(self, a, b):
            return self.first(a), self.second(b)

    model = Both(2, 3)
    with mnn.record_mappings(model) as maps:
        model(torch.zeros(5, 2, 8), torch.zeros(5, 3, 8))
    for method in (maps.stack, maps.mean):
        with pytest.raises(ValueError, match=r"same number of streams.*\[2, 3\]"):
            method()
    assert maps.mixing().shape == (2,)
    model = Both(2, 2)
    with mnn.record_mappings(model) as maps:
        model(torch.zeros(5, 2, 8), torch.zeros(6, 2, 8))
    with pytest.raises(ValueError, match=r"token axes.*\(5,\), \(6,\).*mean\(\)"):
        maps.stack()
    assert maps.mean().shape == (2, 2, 2)


def test_a_model_compiled_while_recording_is_recorded():
    layers = randomised(network("hc", depth=2))
    h = torch.randn(3, 4, 8)
    with mnn.record_mappings(layers) as expected:
        layers(h)
    with compiling(), mnn.record_mappings(layers) as maps:
        torch.compile(layers, backend="eager")(h)
        torch.testing.assert_close(maps.stack(), expected.stack())


# Recomputation (section 4.3.2, Eq. 20)


def forward_and_backward(model, layers, h, backwards=1, seed=3):
    """Output and all gradients; the branches' dropout starts from the same seed."""
    layers.zero_grad()
    h.grad = None
    torch.manual_seed(seed)
    output = model(h)
    for last in reversed(range(backwards)):
        layers.zero_grad()
        h.grad = None
        output.square().mean().backward(retain_graph=last > 0)
    return [output.detach(), *gradients(layers, h)]


@EVERY
@pytest.mark.parametrize("block", [None, 1, 100])
def test_recomputed_layers_give_the_same_output_and_gradients_to_the_bit(kind, block):
    layers = network(kind, depth=5, branch=functools.partial(mlp, dropout=0.3))
    randomised(layers, 0.3)
    h = torch.randn(2, 3, 4, 8, requires_grad=True)
    expected = forward_and_backward(layers, layers, h)
    model = mnn.Recomputed(list(layers), block)
    assert set(model.state_dict()) == set(layers.state_dict())
    for backwards in (1, 2):
        found = forward_and_backward(model, layers, h, backwards)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert torch.equal(a, b)
    with torch.no_grad():
        assert torch.equal(model.eval()(h), layers.eval()(h))


@EVERY
def test_recomputed_under_autocast(kind):
    layers = randomised(network(kind, depth=5), 0.3)
    h = torch.randn(3, 4, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = forward_and_backward(layers, layers, h)
        found = forward_and_backward(mnn.Recomputed(list(layers)), layers, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_a_branch_runs_once_per_forward_pass_and_its_arguments_get_their_gradient():
    calls = []

    class Shifted(nn.Module):
        def forward(self, x, shift):
            calls.append(1)
            return torch.tanh(x + shift)

    layers = randomised(network("mhc", depth=5, branch=lambda _: Shifted()))
    h, shift = torch.randn(2, 4, 8), torch.randn(8, requires_grad=True)
    plain = h
    for layer in layers:
        plain = layer(plain, shift)
    (expected,) = torch.autograd.grad(plain.sum(), shift)
    calls.clear()
    output = mnn.Recomputed(list(layers), 2)(h, shift)
    for _ in range(2):
        (found,) = torch.autograd.grad(output.sum(), shift, retain_graph=True)
        assert torch.equal(found, expected)
    assert len(calls) == 5


def test_layers_recomputed_or_not_within_a_branch_of_recomputed_layers():
    def inner(width):
        return nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.Unflatten(-1, (2, width)),
            mnn.Recomputed(network("hc", 3, width, 2), 2),
            network("mhc", 2, width, 2),
            nn.Flatten(-2),
            nn.Linear(2 * width, width),
        )

    layers = randomised(network("mhc", depth=3, branch=inner), 0.3)
    h = torch.randn(5, 4, 8, requires_grad=True)
    found = forward_and_backward(mnn.Recomputed(list(layers), 2), layers, h)
    for module in layers.modules():
        if isinstance(module, mnn.Recomputed):
            module.forward = functools.partial(nn.Sequential.forward, list(module))
    expected = forward_and_backward(layers, layers, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_a_layer_that_comes_up_twice_in_a_block():
    layer = randomised(network("mhc", depth=1), 0.3)[0]
    shared = nn.Sequential(layer, layer, layer)
    h = torch.randn(5, 4, 8, requires_grad=True)
    found = forward_and_backward(mnn.Recomputed([layer] * 3), shared, h)
    expected = forward_and_backward(shared, shared, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_frozen_branches_and_an_input_without_gradient():
    layers = randomised(network("mhc", depth=4), 0.3)
    layers[0].requires_grad_(False)
    for layer in layers:
        layer.branch.requires_grad_(False)
    h = torch.randn(5, 4, 8)
    found = forward_and_backward(mnn.Recomputed(list(layers), 3), layers, h)
    expected = forward_and_backward(layers, layers, h)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_recomputed_gradients_are_right_twice():
    layers = randomised(network("mhc", depth=2, width=2, streams=2, branch=lambda _: nn.Tanh()))
    for layer in layers:
        layer.mappings.iterations = 2
    model = mnn.Recomputed(list(layers), 2).double()
    h = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(model, h)
    assert gradgradcheck(model, h)


@pytest.mark.parametrize("returned", [False, True])
def test_a_tensor_that_is_kept_must_not_be_changed_behind_its_back(returned):
    held = []

    def branch(x):
        held.append(torch.exp(x))  # exp keeps its result
        return held[-1] if returned else 2 * held[-1]

    model = mnn.Recomputed(network("mhc", 1, branch=lambda _: branch))
    h = torch.randn(2, 4, 8, requires_grad=True)
    model(h).sum().backward()
    output = model(h)
    held[-1].detach().add_(1.0)
    with pytest.raises(RuntimeError, match=r"\(2, 8\).*modified in place"):
        output.sum().backward()


def test_nothing_outlives_its_graph():
    layers = network("mhc", depth=4)
    alive = []
    for layer in layers:
        layer.branch.register_forward_hook(
            lambda module, args, output: alive.extend(map(weakref.ref, (args[0], output)))
        )
    model = mnn.Recomputed(list(layers), 2)
    gc.collect()
    gc.disable()
    try:
        model(torch.randn(2, 4, 8))  # never used for a backward pass
        model(torch.randn(2, 4, 8)).sum().backward()
        assert len(alive) == 16
        assert not any(reference() is not None for reference in alive)
    finally:
        gc.enable()


def bytes_held_and_peak(step):
    """(bytes that live when `step` returns, the most that ever did)."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        held = step()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    del held
    return sum(changes), max(np.cumsum(changes))


def test_recomputation_saves_the_memory_that_eq_20_says():
    n, width, tokens, depth = 4, 64, 128, 16
    # A branch that keeps nothing, so that only the streams' own memory is counted.
    layers = network(
        "mhc-static", depth, width, n, branch=lambda _: functools.partial(torch.mul, 0.5)
    )
    h = torch.randn(tokens, n, width, requires_grad=True)
    stream = 4 * tokens * width  # one stream in float32
    best = best_recompute_block(depth, n)
    forward, peak = {}, {}
    for block in (1, best, None):
        model = mnn.Recomputed(list(layers), block) if block else layers
        model(h).sum().backward()
        forward[block], _ = bytes_held_and_peak(functools.partial(model, h))
        _, peak[block] = bytes_held_and_peak(lambda model=model: model(h).sum().backward())
    for block in (1, best):
        blocks = math.ceil(depth / block)
        # n per block (not the first one's input, which is h itself, but the last one's output),
        # and each branch's output.  `checkpoint` also notes the random generator's state for
        # each block, 5056 bytes; the rest are the mappings of static layers.
        expected = (n * blocks + depth) * stream + 5056 * blocks
        assert forward[block] == pytest.approx(expected, rel=0.01)
    assert forward[None] == pytest.approx((n + 1) * depth * stream, rel=0.01)
    # At the peak a block's streams come on top, and a handful of temporaries.
    assert peak[best] < (n * math.ceil(depth / best) + (n + 2) * best + depth + 12) * stream
    assert peak[best] < 0.65 * peak[None]
    assert peak[best] < 0.7 * peak[1]


def test_recomputed_layers_compile():
    layers = randomised(network("mhc", depth=2, branch=lambda _: nn.Tanh()), 0.3)
    h = torch.randn(3, 4, 8, requires_grad=True)
    expected = forward_and_backward(layers, layers, h)
    model = torch.compile(mnn.Recomputed(layers, 1), backend="aot_eager", fullgraph=True)
    with compiling():
        found = forward_and_backward(model, layers, h)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", ["branch", "layer"])
def test_compiled_parts_within_recomputed_layers(part):
    # A compiled layer runs its branch again in the backward pass; dropout must be the same.
    layers = randomised(network("hc", depth=3, branch=functools.partial(mlp, dropout=0.3)), 0.3)
    h = torch.randn(3, 4, 8, requires_grad=True)
    expected = forward_and_backward(layers, layers, h)
    for layer in layers:
        if part == "branch":
            layer.branch = torch.compile(layer.branch, backend="eager")
        else:
            layer.compile(backend="eager")
    with compiling():
        found = forward_and_backward(mnn.Recomputed(list(layers), 2), layers, h)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_can_grow_and_be_sliced_like_a_list_of_layers():
    layers = network("mhc", depth=4)
    model = mnn.Recomputed()
    h = torch.randn(2, 4, 8)
    assert model(h) is h
    model.extend(layers)
    torch.testing.assert_close(model[1:3](h), layers[1:3](h))


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
        # The precision of a matrix product is the user's to set.
        torch.testing.assert_close(result.cpu(), wanted, rtol=1e-3, atol=1e-3)
        with torch.autocast("cuda", torch.bfloat16):
            on_gpu(h.cuda()).sum().backward()
    assert maps.stack().is_cuda
    assert mhc.compose(maps.stack()).log10_gain().is_cuda
    assert all(p.grad is not None for p in model.parameters())

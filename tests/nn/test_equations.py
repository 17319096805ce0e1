"""The layers against plain loops over single numbers (Eq. 3, 5, 7, 8)."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mhc_demo as mhc
from mhc_demo import nn as mnn

from .networks import BOUNDED, EVERY_LEARNED, FLOAT32, KINDS, randomised

pytestmark = pytest.mark.filterwarnings("error")


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
            assert np.abs(res - res.T).max() > 1e-3  # so a transposed mapping would fail
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
    # The layer may compute the same numbers in another way.
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

"""The kernels against their specification, on the GPU if there is one, else interpreted.

`mhc_demo.numerics.projections` specifies Sinkhorn-Knopp, in code that autograd differentiates.
Results and gradients of `kernels` must agree with it to rounding.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from itertools import islice
from unittest import mock

import numpy as np
import pytest
import torch

import mhc_demo as mhc
from mhc_demo.numerics.kernels import sinkhorn as kernels
from mhc_demo.numerics.kernels import sinkhorn_torch
from mhc_demo.numerics.projections import (
    RELEASED_EPS,
    released_iterates,
    sinkhorn_iterates,
    tame_range,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning:mhc_demo")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}
PATHS = pytest.mark.parametrize("path", ["triton", "scaled", "divided"])
"""The Triton kernel; plain PyTorch as for large pieces, and as for small ones."""
LONG = pytest.mark.long
VARIANTS = pytest.mark.parametrize(
    ("rows_first", "eps"),
    [(False, 0.0), (True, 0.0), (False, RELEASED_EPS), (True, RELEASED_EPS)],
    ids=["columns first", "rows first", "released", "released, as applied"],
)


def normal(*shape, spread=1.0, seed=0, dtype=torch.float64):
    noise = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(spread * noise).to(DEVICE, dtype)


def specified(logits, grad, iterations, rows_first, eps):
    """P and dL/d logits by autograd through the specification, in float64."""
    import array_api_compat.torch as xp

    logits = logits.detach().double().requires_grad_()
    z = logits.mT if rows_first else logits
    steps = released_iterates(xp, z, eps) if eps else sinkhorn_iterates(xp, z)
    p = next(islice(steps, iterations - 1, None))
    p = p.mT if rows_first else p
    return p.detach(), torch.autograd.grad(p, logits, grad.double())[0]


def computed(path, logits, grad, iterations, rows_first, eps):
    if path == "triton":
        return tuple(kernels.launch(logits, g, iterations, rows_first, eps) for g in (None, grad))
    logits = logits.detach().requires_grad_()
    with (
        mock.patch.object(kernels, "has_kernel", return_value=False),
        mock.patch.object(sinkhorn_torch, "SCALED_FROM", 0 if path == "scaled" else 2**40),
    ):
        p = kernels.sinkhorn(logits, iterations, rows_first=rows_first, eps=eps)
        return p.detach(), torch.autograd.grad(p, logits, grad)[0]


def check(path, logits, iterations, rows_first=False, eps=0.0, seed=7):
    """Compare P and the gradient with the specification, to the precision of their dtype."""
    grad = normal(*logits.shape, seed=seed, dtype=logits.dtype)
    results = computed(path, logits, grad, iterations, rows_first, eps)
    wanted = specified(logits, grad, iterations, rows_first, eps)
    real = torch.promote_types(logits.dtype, torch.float32)
    # The difference of two float32 logits near 1e4 has an error of 1e4 units in the last place of
    # 1, which the softmax of a near tie passes on; a few dozen units come from the iterations.
    unit = EPS[real] * (48 + 2 * float(logits.abs().max()) if logits.numel() else 1)
    if logits.dtype not in EPS:  # the result is rounded (or truncated) once more
        unit += torch.finfo(logits.dtype).eps
    for result, exact in zip(results, wanted, strict=True):
        assert result.dtype == logits.dtype
        assert result.shape == logits.shape
        assert result.is_contiguous()
        torch.testing.assert_close(result.double(), exact, rtol=0, atol=unit * 4)


@PATHS
@VARIANTS
@pytest.mark.parametrize("n", [1, 3, 4, 8, *(pytest.param(n, marks=LONG) for n in (2, 5, 16))])
@pytest.mark.parametrize("dtype", EPS, ids=str)
def test_kernels_are_the_specification(path, rows_first, eps, n, dtype):
    # 35 is no multiple of the matrices in a block.
    count = 35 if n <= 4 else 3
    check(path, normal(count, n, n, dtype=dtype), 3, rows_first, eps)


@PATHS
@pytest.mark.parametrize("iterations", [1, 2, 20])
@pytest.mark.parametrize("eps", [0.0, RELEASED_EPS])
def test_any_number_of_iterations(path, iterations, eps):
    check(path, normal(3, 4, 4, spread=3.0), iterations, False, eps)


@pytest.mark.parametrize("n", [pytest.param(3, marks=LONG), 4])
@pytest.mark.parametrize("eps", [0.0, pytest.param(RELEASED_EPS, marks=LONG)])
@pytest.mark.parametrize("iterations", [pytest.param(21, marks=LONG), 42])
def test_more_iterations_than_registers_hold_at_a_time(n, eps, iterations):
    # Registers hold 20 in the backward pass: here twice that, and one or two more.
    check("triton", normal(2, n, n, spread=3.0), iterations, False, eps)


@PATHS
@pytest.mark.parametrize("n", [pytest.param(2, marks=LONG), 3, 4])
@pytest.mark.parametrize("spread", [30.0, pytest.param(1e3, marks=LONG), 1e4])
@pytest.mark.parametrize("dtype", EPS, ids=str)
def test_sharp_logits(path, n, spread, dtype):
    check(path, normal(9, n, n, spread=spread, dtype=dtype), 4)


@PATHS
def test_sharp_logits_never_give_nan_and_rows_still_sum_to_1(path):
    logits = normal(9, 4, 4, spread=1e4, dtype=torch.float32)
    p, grad = computed(path, logits, torch.ones_like(logits), 5, False, 0.0)
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p.sum(-1)), rtol=0, atol=4e-7)
    # The rows sum to 1 whatever the logits, so this loss has no slope.
    assert grad.abs().max() < 1e-6


@PATHS
@pytest.mark.parametrize("n", [3, 4])
def test_one_sharp_matrix_does_not_spoil_its_block(path, n):
    logits = normal(9, n, n, dtype=torch.float32)
    alone = computed(path, logits, torch.ones_like(logits), 3, False, 0.0)[0]
    logits[4, 0, 0] = -1e4
    beside = computed(path, logits, torch.ones_like(logits), 3, False, 0.0)[0]
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    torch.testing.assert_close(beside[others], alone[others], rtol=1e-5, atol=1e-7)
    check(path, logits, 3)


@PATHS
@pytest.mark.parametrize("dtype", EPS, ids=str)
@pytest.mark.parametrize("beyond", [-0.5, 0.5], ids=["just tame", "just sharp"])
def test_both_sides_of_the_guard(path, dtype, beyond):
    logits = torch.zeros(1, 4, 4, dtype=dtype, device=DEVICE)
    logits[0, 1:, 0] = logits[0, 3, 1:] = -tame_range(dtype, 4) - beyond
    check(path, logits, 3)


@PATHS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(path, dtype):
    logits = normal(9, 4, 4, dtype=dtype)
    check(path, logits, 5)
    p = computed(path, logits, logits, 5, False, 0.0)[0]
    exact = computed(path, logits.float(), logits.float(), 5, False, 0.0)[0]
    if path != "triton" or DEVICE == "cuda":
        assert torch.equal(p, exact.to(dtype))
    else:  # Triton's interpreter truncates where a GPU rounds
        torch.testing.assert_close(p.float(), exact, rtol=torch.finfo(dtype).eps, atol=1e-7)


@PATHS
def test_any_layout_in_memory(path):
    whole = normal(4, 4, 4, 4)
    for view in (whole.mT, whole[::2, 1::3], whole.transpose(0, 1), whole[0].expand(2, 4, 4, 4)):
        assert not view.is_contiguous()
        copy = view.reshape(-1, 4, 4)
        p, g = computed(path, view, view, 2, False, 0.0)
        copy_p, copy_g = computed(path, copy, copy, 2, False, 0.0)
        assert torch.equal(p.reshape(-1, 4, 4), copy_p)
        assert torch.equal(g.reshape(-1, 4, 4), copy_g)
    check(path, view, 2)


@pytest.mark.parametrize("shape", [(0, 4, 4), (3, 0, 2, 2)])
def test_an_empty_batch(shape):
    logits = torch.zeros(shape, device=DEVICE, requires_grad=True)
    p = mhc.sinkhorn_knopp(logits, 5)
    assert p.shape == shape
    assert torch.autograd.grad(p.sum(), logits)[0].shape == shape


@PATHS
def test_a_single_matrix(path):
    check(path, normal(4, 4), 5)


@pytest.mark.parametrize("path", ["scaled", "divided"])
def test_the_gradient_is_of_the_truncated_iteration_not_of_the_limit(path):
    logits = normal(1, 4, 4, spread=3.0)
    first, last = (
        computed(path, logits, normal(1, 4, 4, seed=1), t, False, 0.0)[1] for t in (1, 200)
    )
    assert (first - last).abs().max() > 0.05


@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize("name", ["sinkhorn", "released"])
def test_gradients_and_their_gradients(name, order):
    logits = normal(1, 3, 3).cpu().requires_grad_()
    if order == "rows":
        if name == "released":
            pytest.skip("the release has one order")

        def function(z):
            return mhc.sinkhorn_knopp(z, 2, order="rows")
    else:

        def function(z):
            return mhc.project(z, name, 2)

    assert torch.autograd.gradcheck(function, logits)
    assert torch.autograd.gradgradcheck(function, logits)


@pytest.mark.parametrize("path", ["scaled", "divided"])
def test_pieces_that_fit_the_cache_are_put_together_again(path, monkeypatch):
    logits, grad = normal(100, 4, 4), normal(100, 4, 4, seed=1)
    whole = computed(path, logits, grad, 5, False, 0.0)
    monkeypatch.setattr(kernels, "PIECE_BYTES", 7 * 128)
    for piecewise, at_once in zip(computed(path, logits, grad, 5, False, 0.0), whole, strict=True):
        torch.testing.assert_close(piecewise, at_once, rtol=0, atol=1e-15)


def test_the_operator_follows_the_rules_of_pytorch():
    torch.library.opcheck(kernels._forward, (normal(2, 4, 4).cpu(), 3, False, 0.0))
    torch.library.opcheck(
        kernels._backward, (normal(2, 4, 4).cpu(), normal(2, 4, 4, seed=1).cpu(), 3, True, 0.0)
    )


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_on_a_gpu_it_is_the_kernel_that_runs():
    logits = normal(9, 4, 4, dtype=torch.float32)
    with mock.patch.object(kernels, "launch", wraps=kernels.launch) as launched:
        mhc.sinkhorn_knopp(logits.requires_grad_(), 5).sum().backward()
    assert launched.call_count == 2


def test_functional_transforms():
    logits = normal(3, 2, 4, 4)

    def loss(z):
        return (mhc.sinkhorn_knopp(z, 3) ** 2).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=1)(logits)
    whole = torch.autograd.grad(loss(logits.requires_grad_()), logits)[0]
    torch.testing.assert_close(each.movedim(0, 1), whole)


@pytest.mark.parametrize("order", ["columns", pytest.param("rows", marks=LONG)])
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_without_a_break(context, learns, order):
    def function(z):
        return mhc.sinkhorn_knopp(z, 5, order=order) ** 2

    torch.compiler.reset()
    logits = normal(3, 4, 4).requires_grad_(learns)
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    with context():
        wanted, result = function(logits), compiled(logits)
    torch.testing.assert_close(result, wanted)
    if result.requires_grad:
        slopes = [torch.autograd.grad(r.sum(), logits)[0] for r in (wanted, result)]
        torch.testing.assert_close(*slopes)


@PATHS
@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("dtype", EPS, ids=str)
def test_a_masked_entry_is_0_and_gets_no_gradient(path, n, dtype):
    logits, grad = normal(9, n, n, dtype=dtype), normal(9, n, n, seed=1, dtype=dtype)
    logits[4, 0, 1] = logits[4, 2, 2] = -torch.inf
    results = computed(path, logits, grad, 4, False, 0.0)
    wanted = specified(logits, grad, 4, False, 0.0)
    for result, exact in zip(results, wanted, strict=True):
        assert result[4, 0, 1] == result[4, 2, 2] == 0
        torch.testing.assert_close(result.double(), exact, rtol=0, atol=200 * EPS[dtype])


@PATHS
@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_stays_in_its_matrix(path, n, value):
    logits = normal(5, n, n, dtype=torch.float32)
    logits[2, 0, 0] = value
    results = computed(path, logits, torch.ones_like(logits), 3, False, 0.0)
    for result in results:
        assert result[2].isnan().any()
        assert result[[0, 1, 3, 4]].isfinite().all()
    assert results[0][2].isnan().any(-1).all()


@pytest.mark.skipif(sys.platform != "linux", reason="Triton is for Linux")
@pytest.mark.parametrize("iterations", [2, pytest.param(20, marks=LONG)])
def test_at_n_4_everything_stays_in_registers_and_memory_is_read_in_wide_steps(
    tmp_path, iterations
):
    """Compiled for an H100, which takes no GPU: no spills, and 16 bytes per thread at a time.

    Twenty iterations fill the registers of the backward pass, and take seven times as long to
    compile as two.
    """
    script = textwrap.dedent(
        """
        import pathlib, subprocess, sys
        import triton, triton.language as tl
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
        from mhc_demo.numerics.kernels import sinkhorn_triton as kernels

        tools = pathlib.Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
        settings = dict(n=4, N=4, EPS=0.0, TAME=40.0, SWAPPED=False, REAL=tl.float32,
                        APPROXIMATE=True)
        for backward in (False, True):
            kernel = kernels.sinkhorn_backward if backward else kernels.sinkhorn_forward
            block, warps = kernels.block_size(4, backward)
            constants = dict(settings, BLOCK=block)
            if backward:
                constants["iterations"] = int(sys.argv[2])
            signature = {
                name: "constexpr" if name in constants
                else "*fp32" if name.endswith("pointer") else "i32"
                for name in kernel.arg_names
            }
            aligned = {(i,): [["tt.divisibility", 16]]
                       for i, name in enumerate(kernel.arg_names) if name.endswith("pointer")}
            binary = triton.compile(ASTSource(kernel, signature, constants, aligned),
                                    target=GPUTarget("cuda", 90, 32),
                                    options={"num_warps": warps, "enable_fp_fusion": True})
            path = pathlib.Path(sys.argv[1]) / "kernel.cubin"
            path.write_bytes(binary.asm["cubin"])
            for tool in (["cuobjdump", "-res-usage"], ["nvdisasm"]):
                print(subprocess.check_output([tools / tool[0], *tool[1:], path], text=True,
                                              stderr=subprocess.STDOUT))
        """
    )
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, str(iterations)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    usage = re.findall(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", done.stdout)
    (forward, *_), (backward, *_) = usage
    assert int(forward) <= 80
    assert int(backward) <= 224
    assert all(stack == local == "0" for _, stack, local in usage)
    assert not re.search(r"\b(STL|LDL)\b", done.stdout)
    loads = re.findall(r"\bLDG\.E(\S*)", done.stdout)
    stores = re.findall(r"\bSTG\.E(\S*)", done.stdout)
    assert loads
    assert stores
    assert set(loads) == set(stores) == {".128"}

"""Sinkhorn-Knopp forward and backward on float32 4 x 4 matrices: ours against the others, in turn.

What bounds it is memory: a forward pass has to read 64 bytes per matrix and write 64, a backward
pass reads logits and gradient and writes a gradient.  So every time is also given as these bytes
per second, beside what a plain copy on the same device reaches in the same run.

`python -m benchmarks.kernels [--sizes 10,16,20] [--device cuda] [--rounds 25]` runs it alone;
it needs no more of this project than its numerics, that is torch, NumPy and array-api-compat.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

import mhc_demo as mhc

ITERATIONS = 20
BYTES = {"forward": 128, "backward": 192}
"""What has to cross the memory bus per matrix: 64 bytes for each 4 x 4 read or written."""

ENOUGH_SECONDS = 10
"""Who has been timed for that long is not asked again: some take half a minute for one pass."""

ERRORS = [(spread, which) for spread in (1, 5) for which in BYTES]

Call = Callable[[], Tensor]


class UnavailableError(Exception):
    """Why something cannot be measured here."""


@dataclass(frozen=True)
class Contender:
    """One implementation: what is to be timed, made ready for one batch."""

    forward: Callable[[Tensor], Call]
    """logits -> call that projects them"""
    backward: Callable[[Tensor, Tensor], Call]
    """logits, gradient of the result -> call that computes the gradient of the logits"""
    rows_first: bool = False
    """It normalises rows before columns: the transpose of ours, on transposed logits."""


def by_autograd(function: Callable[[Tensor], Tensor]) -> Contender:
    """A function that autograd differentiates."""

    def backward(logits: Tensor, gradient: Tensor) -> Call:
        result = function(logits)
        return lambda: torch.autograd.grad(result, logits, gradient)[0]

    return Contender(lambda logits: lambda: function(logits), backward)


def plain(logits: Tensor) -> Tensor:
    """Eq. 9 as one would first write it; in float64, what the errors are measured against."""
    matrix = logits.exp()
    for _ in range(ITERATIONS):
        matrix = matrix / matrix.sum(-2, keepdim=True)
        matrix = matrix / matrix.sum(-1, keepdim=True)
    return matrix


def peer(module: str, package: str) -> Any:
    """A module of another package, if it is there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(f"{error}: pip install {package}") from error


def needs_cuda(device: str) -> None:
    """Say so where a Triton kernel cannot run."""
    if device != "cuda":
        raise UnavailableError("no CUDA device")


def ours(device: str) -> Contender:
    """The public function."""
    return by_autograd(lambda logits: mhc.sinkhorn_knopp(logits, ITERATIONS))


def eager(device: str) -> Contender:
    """One torch operation after the other."""
    return by_autograd(plain)


def compiled(device: str) -> Contender:
    """`plain` by Inductor; `matrices` marks the batch as dynamic, so that it compiles but once."""
    return by_autograd(torch.compile(plain, fullgraph=True))


def hyper_connections_torch(device: str) -> Contender:
    """What its mHC layer uses by default."""
    home = "hyper_connections.manifold_constrained_hyper_connections"
    module = peer(home, "hyper-connections")
    return by_autograd(lambda logits: module.sinkhorn_knopps(logits, ITERATIONS))


def hyper_connections_triton(device: str) -> Contender:
    """Its kernel; called directly, because `triton_sinkhorn` hides every error in a fallback.

    Its backward pass takes every iterate for the last one, which is right in the limit only.
    """
    needs_cuda(device)
    module = peer("hyper_connections.triton_sinkhorn", "hyper-connections")
    return by_autograd(lambda logits: module.TritonSinkhornFunction.apply(logits, ITERATIONS))


def liger(device: str) -> Contender:
    """Its fused kernel, which computes H_pre and H_post too: 192 bytes forward, not 128.

    Its input is mixed logits in the order pre, post, res.  Its eps is set to 0 (1e-6 by default)
    to have it compute the same.  As in its autograd function, the backward pass reads all
    iterates, 1,280 bytes per matrix.
    """
    needs_cuda(device)
    ops = peer("liger_kernel.ops.mhc", "liger-kernel")
    base, scale = torch.zeros(24, device=device), torch.ones((), device=device)
    shared = {"tmax": ITERATIONS, "sinkhorn_eps": 0.0}

    def mixed(logits: Tensor) -> Tensor:
        return torch.nn.functional.pad(logits.detach().flatten(1), (8, 0))

    def split(mix: Tensor, history: bool) -> tuple[Tensor, ...]:
        options = {"pre_eps": 0.0, "post_mult": 2.0, "return_hist": history, **shared}
        return ops.mhc_split_sinkhorn_fwd(mix, base, scale, scale, scale, **options)

    def forward(logits: Tensor) -> Call:
        mix = mixed(logits)
        return lambda: split(mix, history=False)[2]

    def backward(logits: Tensor, gradient: Tensor) -> Call:
        if len(logits) * ITERATIONS * 16 >= 2**31:  # it would write anywhere, and end the process
            raise UnavailableError("32-bit offsets into its history overflow")
        mix = mixed(logits)
        *_, history = split(mix, history=True)
        return lambda: ops.mhc_sinkhorn_bwd(mix, base, scale, gradient, hist=history, **shared)

    return Contender(forward, backward, rows_first=True)


CONTENDERS: dict[str, Callable[[str], Contender]] = {
    "ours": ours,
    "eager torch": eager,
    "torch.compile": compiled,
    "hyper-connections (torch)": hyper_connections_torch,
    "hyper-connections (Triton)": hyper_connections_triton,
    "liger-kernel (Triton)": liger,
}
"""Each says by `UnavailableError` why it cannot run on a device."""


def matrices(batch: int, device: str, spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and the gradient that arrives at their projection, both (batch, 4, 4)."""
    generator = torch.Generator(device).manual_seed(seed)
    logits = spread * torch.randn(batch, 4, 4, device=device, generator=generator)
    torch._dynamo.mark_dynamic(logits.requires_grad_(), 0)
    return logits, torch.randn(batch, 4, 4, device=device, generator=generator)


def make_ready(contender: Contender, which: str, logits: Tensor, gradient: Tensor) -> Call:
    """The call to be timed; a fresh one for every time, as a graph is gone after its backward."""
    if which == "forward":
        return contender.forward(logits)
    return contender.backward(logits, gradient)


@torch.no_grad()
def seconds(calls: Sequence[Call], device: str) -> float:
    """Seconds per call, all of them run one after the other, nothing recorded."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / len(calls)
    began = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - began) / len(calls)


def buffers(batch: int, device: str) -> int:
    """How many inputs to rotate among, so that none is still in a GPU's L2 from the last time."""
    if device != "cuda":
        return 1
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return min(32, math.ceil(2 * cache / (64 * batch)))


def in_turn(
    contenders: dict[str, Contender], which: str, batch: int, device: str, rounds: int
) -> dict[str, float | str]:
    """Median seconds of one pass by each, or why not; every round starts with another one."""
    inputs = [matrices(batch, device, seed=seed) for seed in range(buffers(batch, device))]
    times: dict[str, list[float]] = {name: [] for name in contenders}
    failed: dict[str, float | str] = {}
    for turn in range(-1, rounds):  # one round to warm up, and to compile
        names = [
            name for name, t in times.items() if name not in failed and sum(t) < ENOUGH_SECONDS
        ]
        first = turn % max(len(names), 1)
        for name in names[first:] + names[:first]:
            calls: list[Call] = []  # the last one's graphs make room for this one's
            try:
                calls = [make_ready(contenders[name], which, *pair) for pair in inputs]
                elapsed = seconds(calls, device)
            except Exception as error:  # kernels, compilers, memory: any of it may fail
                failed[name] = reason(error)
                continue
            if turn >= 0:
                times[name].append(elapsed)
    return {name: median(t) for name, t in times.items() if t} | failed


def copy_bandwidth(batch: int, device: str, rounds: int) -> float:
    """Bytes read and written per second by a copy of that many matrices."""
    source = torch.randn(batch, 4, 4, device=device)
    target = torch.empty_like(source)
    times = [seconds([lambda: target.copy_(source)], device) for _ in range(rounds + 2)]
    return 128 * batch / median(times[2:])


def errors(contender: Contender, device: str) -> Iterator[str]:
    """Largest error of the projection or of its gradient, over 2^12 matrices."""
    transposed = (lambda x: x.mT.contiguous()) if contender.rows_first else (lambda x: x)
    exact = by_autograd(plain)
    for spread, which in ERRORS:
        logits, gradient = matrices(2**12, device, spread)
        found = transposed(make_ready(contender, which, logits, gradient)().detach())
        logits = transposed(logits.detach()).double().requires_grad_()
        expected = make_ready(exact, which, logits, transposed(gradient).double())().detach()
        yield f"{(found - expected).abs().max().item():.0e}"


def reason(error: Exception) -> str:
    """An error as the text of a table's cell."""
    if isinstance(error, UnavailableError):
        return f"not measured: {error}"
    text = (str(error).strip().splitlines() or [""])[0][:80].replace("|", "/")
    return f"not measured: {type(error).__name__}: {text}"


def figures(x: float) -> str:
    """Three figures, never as a power of ten."""
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def cell(result: float | str, which: str, batch: int, bandwidth: float) -> str:
    """Time, bytes per second, share of the copy's."""
    if isinstance(result, str):
        return result
    rate = BYTES[which] * batch / result
    duration = f"{figures(1e6 * result)} µs" if result < 1e-3 else f"{figures(1e3 * result)} ms"
    return f"{duration}, {figures(rate / 1e9)} GB/s, {figures(100 * rate / bandwidth)} %"


def line(cells: Iterable[str]) -> str:
    """One of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def device_name(device: str) -> str:
    """The device with the versions that matter, in a line."""
    versions = f"torch {torch.__version__}"
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        try:
            driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            driver = "unknown"
        triton = importlib.import_module("triton").__version__
        name = torch.cuda.get_device_name(0)
        return f"{name}, {versions}, Triton {triton}, driver {driver.strip()}"
    return f"{processor()}, {torch.get_num_threads()} of {os.cpu_count()} cores, {versions}"


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run(
    sizes: Sequence[int] | None = None, device: str | None = None, rounds: int | None = None
) -> Iterator[str]:
    """Lines of Markdown; `sizes` are exponents of 2."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    sizes = sizes or (range(10, 25, 2) if device == "cuda" else (10, 15, 20))
    rounds = rounds or (25 if device == "cuda" else 5)
    threads = torch.get_num_threads()
    # torch and what Inductor builds have an OpenMP runtime each, whose idle threads spin while
    # the other computes: on two cores in turn, everything took up to ten times as long.
    torch.set_num_threads(1)
    try:
        yield from report(sizes, device, rounds)
    finally:
        torch.set_num_threads(threads)


def report(sizes: Sequence[int], device: str, rounds: int) -> Iterator[str]:
    """What was measured and how, the times, the errors."""
    contenders: dict[str, Contender] = {}
    missing: dict[str, float | str] = {}
    for name, load in CONTENDERS.items():
        try:
            contenders[name] = load(device)
        except Exception as error:  # a package may be broken in any way
            missing[name] = reason(error)
    bandwidth = copy_bandwidth(2 ** max(sizes), device, rounds)
    yield f"Measured on {datetime.date.today().isoformat()}: {device_name(device)}."
    yield (
        f"n = 4, {ITERATIONS} iterations, float32; medians of {rounds} rounds, taken in turn. "
        "Forward is timed with nothing recorded, backward alone, after a forward that is not. "
        f"A copy of 2^{max(sizes)} matrices moves {figures(bandwidth / 1e9)} GB/s, read and "
        "written: the 100 %."
    )
    if device == "cuda":
        used = ", ".join(f"2^{size}: {buffers(2**size, device)}" for size in sizes)
        yield f"Inputs rotate among several buffers, so as not to come from the L2 ({used})."
    for which, moved in BYTES.items():
        columns = [in_turn(contenders, which, 2**s, device, rounds) | missing for s in sizes]
        yield ""
        yield line([f"{which}, {moved} bytes per matrix", *(f"2^{size}" for size in sizes)])
        yield line(["---"] * (len(sizes) + 1))
        for name in CONTENDERS:
            cells = [
                cell(column[name], which, 2**size, bandwidth)
                for column, size in zip(columns, sizes, strict=True)
            ]
            if name in missing:  # said once
                cells[1:] = [""] * (len(sizes) - 1)
            yield line([name, *cells])
    yield ""
    yield line(["largest error against float64"] + [f"{w}, spread {s}" for s, w in ERRORS])
    yield line(["---"] * (len(ERRORS) + 1))
    for name in CONTENDERS:
        try:
            cells = list(errors(contenders[name], device)) if name in contenders else []
        except Exception as error:
            cells = [reason(error)]
        yield line([name, *cells, *[""] * (len(ERRORS) - len(cells))])


def main() -> None:
    """Run this benchmark alone."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--sizes", help="exponents of 2, like 10,16,20")
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int)
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.sizes.split(",")] if chosen.sizes else None
    for text in run(sizes, chosen.device, chosen.rounds):
        print(text, flush=True)


if __name__ == "__main__":
    main()

"""Sinkhorn-Knopp in PyTorch: ours against the others.

n = 4, 20 iterations, float32, on a CPU with one thread and on a GPU if there is one; medians of
rounds in which each has its turn. Forward is timed with nothing recorded, backward alone, after a
forward pass that is not. What bounds it is memory: a forward pass has to read 64 bytes per matrix
and write 64, a backward pass reads logits and gradient and writes a gradient. So the time of the
largest batch is also given as these bytes per second, and as a share of what a plain copy on the
same device reaches in the same run. The errors are the largest against float64.
"""

from __future__ import annotations

import argparse
import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

import mhc_demo as mhc

from . import report
from .results import Row, Table, Value, rounded

ITERATIONS = 20
BYTES = {"forward": 128, "backward": 192}
"""What has to cross the memory bus per matrix: 64 bytes for each 4 x 4 read or written."""

ENOUGH_SECONDS = 5
"""What has been timed for that long sits out the other rounds: one pass can take half a minute."""

ERRORS = [(spread, which) for spread in (1, 5) for which in BYTES]

Call = Callable[[], Tensor]


class UnavailableError(Exception):
    """Why something cannot be measured here."""


@dataclass(frozen=True)
class Contender:
    """One implementation, as functions that prepare the call to be timed for a batch."""

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
    module = peer("hyper_connections.triton_sinkhorn", "hyper-connections")
    return by_autograd(lambda logits: module.TritonSinkhornFunction.apply(logits, ITERATIONS))


def liger(device: str) -> Contender:
    """Its fused kernel, which computes H_pre and H_post too: 192 bytes forward, not 128.

    Its input is mixed logits in the order pre, post, res.  Its eps is set to 0 (1e-6 by default)
    to have it compute the same.  As in its autograd function, the backward pass reads all
    iterates, 1,280 bytes per matrix.
    """
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
    "eager PyTorch": eager,
    "torch.compile": compiled,
    "hyper-connections (PyTorch)": hyper_connections_torch,
}
"""Each says by `UnavailableError` why it cannot run."""

GPU_CONTENDERS: dict[str, Callable[[str], Contender]] = {
    "hyper-connections (Triton)": hyper_connections_triton,
    "liger-kernel (Triton)": liger,
}
"""Those that run on CUDA alone."""


def matrices(batch: int, device: str, spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and the gradient that arrives at their projection, both (batch, 4, 4)."""
    generator = torch.Generator(device).manual_seed(seed)
    logits = spread * torch.randn(batch, 4, 4, device=device, generator=generator)
    # The name that PyTorch's documentation gives; `torch.compiler` has none for it.
    torch._dynamo.mark_dynamic(logits.requires_grad_(), 0)
    return logits, torch.randn(batch, 4, 4, device=device, generator=generator)


def make_ready(contender: Contender, which: str, logits: Tensor, gradient: Tensor) -> Call:
    """The call to be timed; each can be timed once, as a graph is gone after its backward pass."""
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
    """How many inputs to rotate among, so that none is still in a GPU's L2 from its last turn."""
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


def copy_seconds(batch: int, device: str, rounds: int) -> float:
    """Median seconds of copying that many matrices."""
    source = torch.randn(batch, 4, 4, device=device)
    target = torch.empty_like(source)
    times = [seconds([lambda: target.copy_(source)], device) for _ in range(rounds + 2)]
    return median(times[2:])


def errors(contender: Contender, device: str) -> dict[str, float]:
    """Largest error of the projection and of its gradient, over 2^12 matrices, by spread."""
    transposed = (lambda x: x.mT.contiguous()) if contender.rows_first else (lambda x: x)
    exact = by_autograd(plain)
    found = {}
    for spread, which in ERRORS:
        logits, gradient = matrices(2**12, device, spread)
        result = transposed(make_ready(contender, which, logits, gradient)().detach())
        logits = transposed(logits.detach()).double().requires_grad_()
        expected = make_ready(exact, which, logits, transposed(gradient).double())().detach()
        found[f"{which}_{spread}"] = rounded((result - expected).abs().max().item())
    return found


def reason(error: Exception) -> str:
    """An error as a note in a table."""
    if isinstance(error, UnavailableError):
        return f"not measured: {error}"
    text = (str(error).strip().splitlines() or [""])[0][:80]
    return f"not measured: {type(error).__name__}: {text}"


def run() -> Iterator[Table]:
    """The CPU's tables, then the GPU's."""
    yield from on_device("cpu")
    yield from on_device("cuda")


def on_device(
    device: str, sizes: Sequence[int] | None = None, rounds: int | None = None
) -> Iterator[Table]:
    """Times forward and backward, and errors; `sizes` are exponents of 2."""
    if device == "cuda" and not torch.cuda.is_available():
        rows: list[Row] = [
            {"what": name, "note": "not measured: no CUDA device"}
            for name in [*CONTENDERS, *GPU_CONTENDERS]
        ]
        yield Table({"what": "", "note": ""}, rows, "CUDA")
        return
    sizes = sizes or (range(10, 25, 2) if device == "cuda" else (10, 15, 19))
    rounds = rounds or (25 if device == "cuda" else 5)
    threads = torch.get_num_threads()
    # torch and what Inductor builds have an OpenMP runtime each, whose idle threads spin while
    # the other computes: on two cores in turn, everything took up to ten times as long.
    torch.set_num_threads(1)
    try:
        yield from measured(device, sizes, rounds)
    finally:
        torch.set_num_threads(threads)


def measured(device: str, sizes: Sequence[int], rounds: int) -> Iterator[Table]:
    """A table for each pass, and one of errors."""
    contenders: dict[str, Contender] = {}
    notes: dict[str, str] = {}
    for name, load in (CONTENDERS | GPU_CONTENDERS if device == "cuda" else CONTENDERS).items():
        try:
            contenders[name] = load(device)
        except Exception as error:  # a package may be broken in any way
            notes[name] = reason(error)
    copied = copy_seconds(2 ** max(sizes), device, rounds)
    for which in BYTES:
        times = {size: in_turn(contenders, which, 2**size, device, rounds) for size in sizes}
        rows = [times_row(name, which, times, copied) for name in contenders]
        rows += [{"what": name, "note": note} for name, note in notes.items()]
        if which == "forward":
            largest = max(sizes)
            share = {
                "gb_per_s": rounded(BYTES[which] * 2**largest / copied / 1e9),
                "of_copy_percent": 100,
            }
            rows.append({"what": "a copy", f"ms_2^{largest}": rounded(1e3 * copied), **share})
        title = f"{device.upper()}, {which}, {BYTES[which]} bytes per matrix"
        if device == "cuda":  # so as not to come from the L2
            title += ", inputs rotating among " + ", ".join(
                f"{buffers(2**size, device)} (2^{size})" for size in sizes
            )
        headings = {
            "what": "",
            **{f"ms_2^{size}": f"2^{size}, ms" for size in sizes},
            "gb_per_s": f"GB/s at 2^{max(sizes)}",
            "of_copy_percent": "of a copy, %",
            "note": "",
        }
        yield Table(headings, rows, title)
    found: list[Row] = [
        {"what": name, **error_row(each, device)} for name, each in contenders.items()
    ]
    headings = {f"{which}_{spread}": f"{which}, spread {spread}" for spread, which in ERRORS}
    title = f"{device.upper()}, largest error against float64"
    yield Table({"what": "", **headings, "note": ""}, found, title)


def times_row(
    name: str, which: str, times: dict[int, dict[str, float | str]], copied: float
) -> Row:
    """One implementation at all sizes: ms, then bytes per second at the largest."""
    row: dict[str, Value] = {"what": name}
    notes = []
    for size, found in times.items():
        result = found[name]
        if isinstance(result, str):
            notes.append(f"2^{size} {result}")
            continue
        row[f"ms_2^{size}"] = rounded(1e3 * result)
        if size == max(times):
            rate = BYTES[which] * 2**size / result
            row["gb_per_s"] = rounded(rate / 1e9)
            row["of_copy_percent"] = rounded(100 * rate * copied / (BYTES["forward"] * 2**size))
    return {**row, "note": "; ".join(notes)} if notes else row


def error_row(contender: Contender, device: str) -> Row:
    """The errors, or a note that says why there are none."""
    try:
        return errors(contender, device)
    except Exception as error:
        return {"note": reason(error)}


def main() -> None:
    """`python -m benchmarks.kernels`: other sizes and rounds, printed and not saved."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=main.__doc__)
    parser.add_argument("--sizes", help="exponents of 2, like 10,16,20")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")] if options.sizes else None
    for table in on_device(options.device, sizes, options.rounds):
        print(f"{table.title}\n\n{report.markdown(table)}", flush=True)


if __name__ == "__main__":
    main()

"""The gain surface against the plain way to write it, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

import mhc_demo as mhc

Row = tuple[str, str, str, str]


def plain_surface(members: int) -> np.ndarray:
    """The same numbers, as one would first write them: batched NumPy over (..., 4, 4)."""
    logits = mhc.sample_mixing(depth=128, streams=4, members=members, seed=42)
    stack = [logits]
    matrix = np.exp(logits - logits.max(axis=-2, keepdims=True))
    for _ in range(30):
        matrix = matrix / matrix.sum(axis=-2, keepdims=True)
        matrix = matrix / matrix.sum(axis=-1, keepdims=True)
        stack.append(matrix)
    layers = np.stack(stack)
    product = layers[:, :, 0]
    gains = np.empty((2, *layers.shape[:3]))
    for depth in range(128):
        if depth:
            product = layers[:, :, depth] @ product
        gains[0, ..., depth] = np.abs(product.sum(axis=-1)).max(axis=-1)
        gains[1, ..., depth] = np.abs(product.sum(axis=-2)).max(axis=-1)
    return np.quantile(np.log10(gains), [0.05, 0.25, 0.5, 0.75, 0.95], axis=2)


def in_turn(first: Callable[[], object], second: Callable[[], object], runs: int) -> np.ndarray:
    """Milliseconds of both, run alternately, shape (2, runs)."""
    times = np.empty((2, runs))
    for function in (first, second):
        function()
    for i in range(runs):
        for j, function in enumerate((first, second)):
            start = time.perf_counter()
            function()
            times[j, i] = 1e3 * (time.perf_counter() - start)
    return times


def summary(times: np.ndarray) -> tuple[str, str]:
    """(median, 95th percentile) in milliseconds, as text."""
    return f"{np.median(times):.1f} ms", f"{np.quantile(times, 0.95):.1f} ms"


def run() -> Iterator[Row]:
    """Rows of the table."""
    for members, target in ((1, "3 ms"), (32, "40 ms")):
        experiment = mhc.Experiment(streams=4, seed=42, members=members)
        ours, plain = in_turn(
            lambda e=experiment: mhc.gain_surface(e),  # type: ignore[misc]
            lambda m=members: plain_surface(m),  # type: ignore[misc]
            60,
        )
        network = "one member" if members == 1 else f"{members} members"
        what = f"gain surface, n = 4, 31 iterations x 128 depths, {network}"
        yield what, target, *summary(ours)
        ratio = f"{np.median(plain / ours):.2f} x ours"
        yield f"the same in plain batched NumPy ({ratio})", "", *summary(plain)

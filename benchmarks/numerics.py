"""The gain surface in NumPy.

The table that every plot is drawn from, n = 4, 31 iterations x 128 depths, against the plain way to
write it (batched NumPy over matrices), in turn. How long the plain way takes is given as a multiple
of ours too: the median of the ratios.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import mhc_demo as mhc

from .results import Row, Table, rounded
from .timing import in_turn, timed, times_table

RUNS = 60


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


def run() -> Iterator[Table]:
    """One table: one network, and an ensemble of 32."""
    rows: list[Row] = []
    for members, target in ((1, 3), (32, 40)):
        experiment = mhc.Experiment(streams=4, seed=42, members=members)
        ours, plain = in_turn(
            lambda e=experiment: mhc.gain_surface(e),  # type: ignore[misc]
            lambda m=members: plain_surface(m),  # type: ignore[misc]
            RUNS,
        )
        network = "one member" if members == 1 else f"{members} members"
        rows.append(timed(f"gain surface, {network}", ours, target))
        ratio = rounded(float(np.median(plain / ours)))
        rows.append(timed("the same in plain NumPy", plain, over_ours=ratio))
    yield times_table(rows, over_ours="multiple of ours")

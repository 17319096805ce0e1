"""What is measured of a model's mappings, as one labelled table.

Each token's matrices are multiplied and measured by themselves, as in the paper's Figures 3 and 7,
and the gains are then summed up over the tokens.  Tokens are worked on a few at a time, so that a
recording of a long text needs no more memory than its gains.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..numerics.gains import (
    DEFINITIONS,
    DIRECTIONS,
    Composite,
    compose,
    log10_composite_gains,
    log10_gain,
)
from ..numerics.lyapunov import along_depth
from ..numerics.metrics import METRICS
from .choosing import Reading, Watch
from .logits import logit_columns

AXES = ("row", "column")
SERIES = ("mean", "median", "q05", "q95", "smallest", "largest")
"""Over the tokens.  The mean of gains is the paper's: of the gains themselves, not their log10."""
BLOCK_BYTES = 2**23
"""Of the float64 matrices that are multiplied at a time."""
MEASURED_TOKENS = 256
MEASURED = 2**14
"""Tokens, and matrices, of which singular values are computed, which takes long."""
LOG10_2 = math.log10(2.0)

NEAR = 0.01
"""How far sums may be from 1 to be called 1: a doubly stochastic mapping within one per cent."""


def measured(reading: Reading, watch: Watch = iter) -> xr.Dataset:
    """Everything that the report says of a reading.

    Dimensions: `layer` 1 ... L, `definition`, `direction`, `series` (`SERIES`, over the tokens),
    `axis` (rows or columns), `row` and `column` 1 ... n.  Variables:

    - `layer_gain`, `composite_gain` (definition, direction, layer, series): log10 Amax gains, of a
      layer by itself and, on the paper's axes, forward of H_l ... H_1, backward of H_L ... H_l.
    - `h_res` (layer, row, column): the mean over the tokens, as in Figure 8.
    - `composite_mantissa` (layer, row, column) and `composite_exponent` (layer): the mean over the
      tokens of H_l ... H_1, a matrix and the power of two by which it is multiplied; `upper_...`
      that of the second half of the layers.
    - `sum` (axis, layer, series): of the rows or columns; smallest and largest over tokens and
      streams, the others over the tokens of the streams' means.
    - `off_diagonal` (layer): the mean over tokens and rows of the sum of |entries| off the
      diagonal, how much a layer mixes at all.
    - each of `METRICS` (layer): the mean over tokens of the composite's; NaN where it compares with
      a stochastic matrix, or is as large as its matrix, and there is none; and where it asks for
      entries that are not negative, and some are.
    - `largest_logit`, `iterations_needed` (layer): see `logits.py`.
    """
    tokens, depth, n, _ = reading.matrices.shape
    gains = {name: np.empty((tokens, 2, 2, depth), np.float32) for name in ("layer", "composite")}
    totals = _Totals(tokens, depth, n)
    starts = range(0, tokens, max(1, BLOCK_BYTES // (8 * depth * n * n)))
    for start in watch(starts):
        block = np.asarray(reading.matrices[start : start + starts.step], np.float64)
        here = slice(start, start + len(block))
        for i, definition in enumerate(DEFINITIONS):
            for k, direction in enumerate(DIRECTIONS):
                gains["layer"][here, i, k] = log10_gain(block, direction, definition)
                gains["composite"][here, i, k] = log10_composite_gains(
                    block, direction, definition, gains=[direction]
                )[0]
        totals.add(block, compose(block))
    found = totals.found()
    stochastic = totals.stochastic()
    along = ("definition", "direction", "layer", "series")
    return xr.Dataset(
        {
            **{f"{name}_gain": (along, _over_tokens(values)) for name, values in gains.items()},
            **found,
            **_mixing(sampled(reading.matrices), stochastic),
            **logit_columns(reading, stochastic),
        },
        coords={
            "definition": list(DEFINITIONS),
            "direction": list(DIRECTIONS),
            "layer": np.arange(1, depth + 1),
            "series": list(SERIES),
            "axis": list(AXES),
            "row": np.arange(1, n + 1),
            "column": np.arange(1, n + 1),
            "layer_name": ("layer", list(reading.layers)),
        },
        attrs={
            "name": reading.name,
            "what": reading.what,
            "tokens": tokens,
            "streams": n,
            "depth": depth,
            "stochastic": int(stochastic),
            "remarks": list(reading.remarks),
        },
    )


class _Sum:
    """A sum of products of different powers of two; it has the largest of them."""

    def __init__(self, shape: tuple[int, ...], n: int) -> None:
        self.mantissa = np.zeros((*shape, n, n))
        self.exponent = np.full(shape, -(2**62))

    def add(self, mantissa: NDArray[np.float64], exponent: NDArray[np.int64]) -> None:
        """Add products (tokens, ..., n, n)."""
        power = np.maximum(self.exponent, exponent.max(axis=0))
        self.mantissa = _shifted(self.mantissa, self.exponent - power)
        self.mantissa += _shifted(mantissa, exponent - power).sum(axis=0)
        self.exponent = power


class _Totals:
    """What is added up over the tokens, block after block."""

    def __init__(self, tokens: int, depth: int, n: int) -> None:
        self.tokens = tokens
        self.h_res = np.zeros((depth, n, n))
        self.off_diagonal = np.zeros(depth)
        self.composite = _Sum((depth,), n)
        self.upper = _Sum((), n)
        self.means = np.empty((tokens, 2, depth), np.float32)
        self.least = np.full((2, depth), math.inf)
        self.most = np.full((2, depth), -math.inf)
        self.negative = False
        self.done = 0

    def add(self, block: NDArray[np.float64], composite: Composite) -> None:
        self.h_res += block.sum(axis=0)
        size = np.abs(block)
        diagonal = np.trace(size, axis1=-2, axis2=-1)
        self.off_diagonal += ((size.sum(axis=(-2, -1)) - diagonal) / block.shape[-1]).sum(axis=0)
        self.negative |= bool(block.min() < 0)
        for a, axis in enumerate((-1, -2)):
            sums = block.sum(axis=axis)  # (tokens, layers, streams)
            self.means[self.done : self.done + len(block), a] = sums.mean(axis=-1)
            self.least[a] = np.minimum(self.least[a], sums.min(axis=(0, -1)))
            self.most[a] = np.maximum(self.most[a], sums.max(axis=(0, -1)))
        self.composite.add(composite.mantissa, composite.exponent)
        last = block.shape[1]
        self.upper.add(*compose(block[:, last // 2 :]).scaled(last - last // 2))
        self.done += len(block)

    def found(self) -> dict[str, tuple[object, object]]:
        sums = np.empty((2, len(self.h_res), len(SERIES)))
        at = {name: k for k, name in enumerate(SERIES)}
        means = self.means.astype(np.float64)
        sums[..., at["mean"]] = means.mean(axis=0)
        for name, share in (("median", 0.5), ("q05", 0.05), ("q95", 0.95)):
            sums[..., at[name]] = np.quantile(means, share, axis=0)
        sums[..., at["smallest"]], sums[..., at["largest"]] = self.least, self.most
        matrix = ("layer", "row", "column")
        return {
            "h_res": (matrix, self.h_res / self.tokens),
            "composite_mantissa": (matrix, self.composite.mantissa / self.tokens),
            "composite_exponent": ("layer", self.composite.exponent),
            "upper_mantissa": (matrix[1:], self.upper.mantissa / self.tokens),
            "upper_exponent": ((), self.upper.exponent),
            "sum": (("axis", "layer", "series"), sums),
            "off_diagonal": ("layer", self.off_diagonal / self.tokens),
        }

    def stochastic(self) -> bool:
        """Whether no entry is negative, and all rows or all columns sum to 1, within `NEAR`."""
        off = np.maximum(np.abs(self.least - 1), np.abs(self.most - 1)).max(axis=1)
        return not self.negative and bool(off.min() < NEAR)


def _shifted(matrices: NDArray[np.float64], power: NDArray[np.int64]) -> NDArray[np.float64]:
    """Matrices (..., n, n) times 2**power, which is at most 0."""
    return np.ldexp(matrices, np.maximum(power, -5000).astype(np.int32)[..., None, None])


LEAST = -1e6
"""Stands for the log10 of 0 while quantiles are interpolated."""


def _over_tokens(log10: NDArray[np.float32]) -> NDArray[np.float64]:
    """Gains (tokens, ..., layers) -> (..., layers, series)."""
    values = np.maximum(log10.astype(np.float64), LEAST)
    largest = values.max(axis=0)
    mean = largest + np.log10(np.mean(10.0 ** (values - largest), axis=0))
    quantiles = np.quantile(values, (0.5, 0.05, 0.95), axis=0)
    found = np.stack([mean, *quantiles, values.min(axis=0), largest], axis=-1)
    return np.where(found <= LEAST / 2, -math.inf, found)


def _mixing(matrices: NDArray[np.float64], stochastic: bool) -> dict[str, tuple[str, object]]:
    """The mixing metrics of the composites 1 ... l, as the mean over tokens."""
    composite = compose(matrices)
    whole = composite.matrices() if stochastic else None
    found = {}
    for name, metric in METRICS.items():
        values = np.full(matrices.shape[:2], math.nan)
        if metric.scale_free:
            values = along_depth(name, matrices, composite)
        elif whole is not None:
            values = metric(whole)
        found[name] = ("layer", values.mean(axis=0))
    return found


def sampled(matrices: NDArray[np.floating]) -> NDArray[np.float64]:
    """A few tokens, evenly spaced, for what takes long."""
    tokens, depth, n, _ = matrices.shape
    most = max(1, min(MEASURED_TOKENS, MEASURED // depth, BLOCK_BYTES // (8 * depth * n * n)))
    at = np.unique(np.linspace(0, tokens - 1, min(most, tokens)).round().astype(int))
    return np.asarray(matrices[at], np.float64)

"""The gains of all composites of an ensemble, compiled by Numba: project, multiply, measure in one.

NumPy writes every iterate of every layer to memory and reads it again, in some hundred operations,
after each of which the thread waits for the interpreter.  Here one call does it all, with one
network's matrices of one layer in the first cache: a surface takes some fifth of the time, also at
n = 8, where NumPy has no good product of small matrices.  `surface` specifies what is computed.

Every innermost loop runs over networks, in the *lanes*, which fill a processor's vector registers.
A product's terms are added up four or eight at a time, with zeros for those that are missing, so
that the sum stays in a register.  What might lose digits is not attempted: sharp logits, and
products that shrink without limit.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from ..gains import LOG10_2, safe_run
from ..projections import PROJECTIONS, Projection, tame_range
from ._numba import compiled

Floats = NDArray[np.float64]

TITLE = f"compiled by Numba {numba.__version__}"

LONGEST_RUN = 32
"""The most layers that are multiplied between two rescalings."""


def log10_gains(
    mapping: Floats, logits: Floats, chosen: Projection, iterations: int, definition: str
) -> Floats | None:
    """log10 gains of HC's composites, and of those of Sinkhorn-Knopp at 1, 2, ... iterations.

    `mapping` and `logits` have shape (members, depth, n, n), the result (2, 1 + iterations,
    members, depth), forward first.  None if `chosen` is no form of Sinkhorn-Knopp, or if digits
    might be lost.
    """
    if chosen.fused is None or not mapping.size:
        return None
    members, depth, n, _ = mapping.shape
    eps = chosen.fused["eps"]
    logits = logits - logits.max(axis=-2, keepdims=True)
    if not -logits.min() < tame_range(np.float64, n):
        return None
    scalings = np.exp(logits)
    if eps:
        scalings /= scalings.sum(axis=-2, keepdims=True)
        scalings += eps
    largest = max(mapping.max(), -mapping.min())
    run, smallest = safe_run(n, float(largest), np.finfo(np.float64).max)
    lanes = _lanes(members, n)
    raw, scalings = _in_lanes(mapping, lanes), _in_lanes(scalings, lanes)
    powers = np.empty((1 + iterations, depth, len(raw), lanes))
    gains = np.empty((2, *powers.shape))
    worst, run = definition == "worst-case", min(run, LONGEST_RUN)
    if not _all_gains(raw, scalings, eps, worst, run, smallest, gains, powers):
        return None
    return _log10(gains, powers)[..., :members].swapaxes(-1, -2)


def compile_all() -> None:
    """Compile now what `log10_gains` would compile when it is first called."""
    one = np.ones((1, 1, 1, 1))
    log10_gains(one, one, PROJECTIONS["sinkhorn"], 1, "paper")


def _lanes(members: int, streams: int) -> int:
    """How many networks are computed side by side: as many as fit in the first cache."""
    return min(32 if streams <= 4 else 16, -(-members // 8) * 8)


def _in_lanes(matrices: Floats, lanes: int) -> Floats:
    """(members, depth, n, n) -> (groups, depth, n, terms, lanes).

    The last group is filled up with the first network, the columns with zeros to as many terms as a
    product adds up.
    """
    members, depth, n, _ = matrices.shape
    groups, terms = -(-members // lanes), 4 if n <= 4 else -(-n // 8) * 8
    result = np.zeros((groups, depth, n, terms, lanes))
    for g in range(groups):
        part = matrices[g * lanes : (g + 1) * lanes].transpose(1, 2, 3, 0)
        result[g, :, :, :n, : part.shape[-1]] = part
        result[g, :, :, :n, part.shape[-1] :] = matrices[0][..., None]
    return result


def _log10(gains: Floats, powers: Floats) -> Floats:
    """log10(gain * 2**power), shape (..., networks); 0 gives -inf.

    NumPy's logarithm is the vector registers' own, its log10 is not.
    """
    with np.errstate(divide="ignore"):
        np.log(gains, out=gains)
    gains *= 1.0 / math.log(10.0)
    powers *= LOG10_2
    gains += powers
    return gains.reshape(*gains.shape[:-2], -1)


@compiled(inline="always")
def _column_step(k, eps, sums):
    """Divide the columns of k (n, terms, lanes) by their sums plus eps."""
    n, lanes = k.shape[0], k.shape[2]
    rows = k.reshape(n, k.shape[1] * lanes)
    for x in range(n * lanes):
        sums[x] = eps
    for i in range(n):
        row = rows[i]
        for x in range(n * lanes):
            sums[x] += row[x]
    for x in range(n * lanes):
        sums[x] = 1.0 / sums[x]
    for i in range(n):
        row = rows[i]
        for x in range(n * lanes):
            row[x] *= sums[x]


@compiled(inline="always")
def _row_step(k, eps, sums):
    n, lanes = k.shape[0], k.shape[2]
    for i in range(n):
        for w in range(lanes):
            sums[w] = eps
        for j in range(n):
            for w in range(lanes):
                sums[w] += k[i, j, w]
        for w in range(lanes):
            sums[w] = 1.0 / sums[w]
        for j in range(n):
            for w in range(lanes):
                k[i, j, w] *= sums[w]


@compiled(inline="always")
def _multiply(h, p, out):
    """Set out to h @ p; h has shape (n, terms, lanes), p and out (terms, n, lanes)."""
    n, terms, lanes = h.shape
    for i in range(n):
        a0, a1, a2, a3 = h[i, 0], h[i, 1], h[i, 2], h[i, 3]
        for j in range(n):
            o, b0, b1, b2, b3 = out[i, j], p[0, j], p[1, j], p[2, j], p[3, j]
            if terms == 4:
                for w in range(lanes):
                    o[w] = (a0[w] * b0[w] + a1[w] * b1[w]) + (a2[w] * b2[w] + a3[w] * b3[w])
                continue
            a4, a5, a6, a7 = h[i, 4], h[i, 5], h[i, 6], h[i, 7]
            b4, b5, b6, b7 = p[4, j], p[5, j], p[6, j], p[7, j]
            for w in range(lanes):
                o[w] = ((a0[w] * b0[w] + a1[w] * b1[w]) + (a2[w] * b2[w] + a3[w] * b3[w])) + (
                    (a4[w] * b4[w] + a5[w] * b5[w]) + (a6[w] * b6[w] + a7[w] * b7[w])
                )
            for k in range(8, terms, 4):
                c0, c1, c2, c3 = h[i, k], h[i, k + 1], h[i, k + 2], h[i, k + 3]
                d0, d1, d2, d3 = p[k, j], p[k + 1, j], p[k + 2, j], p[k + 3, j]
                for w in range(lanes):
                    o[w] += (c0[w] * d0[w] + c1[w] * d1[w]) + (c2[w] * d2[w] + c3[w] * d3[w])


@compiled(inline="always")
def _measure(p, worst, sums, forward, backward):
    """The largest |row sum| and |column sum| of p (terms, n, lanes); of |p|, if worst."""
    n, lanes = p.shape[1:]
    rows = p.reshape(p.shape[0], n * lanes)
    for w in range(lanes):
        forward[w] = 0.0
        backward[w] = 0.0
    for i in range(n):
        for w in range(lanes):
            sums[w] = 0.0
        for j in range(n):
            for w in range(lanes):
                sums[w] += abs(p[i, j, w]) if worst else p[i, j, w]
        for w in range(lanes):
            forward[w] = max(forward[w], abs(sums[w]))
    for x in range(n * lanes):
        sums[x] = 0.0
    for i in range(n):
        row = rows[i]
        for x in range(n * lanes):
            sums[x] += abs(row[x]) if worst else row[x]
    for j in range(n):
        for w in range(lanes):
            backward[w] = max(backward[w], abs(sums[j * lanes + w]))


@compiled(inline="always")
def _rescale(p, smallest, largest, power):
    """Bring the largest |entry| of p to [1, 2), by powers of two; False if one is too small."""
    n, lanes = p.shape[1:]
    for w in range(lanes):
        largest[w] = 0.0
    for i in range(n):
        for j in range(n):
            for w in range(lanes):
                largest[w] = max(largest[w], abs(p[i, j, w]))
    for w in range(lanes):
        if not largest[w] >= smallest:
            return False
        _, shift = math.frexp(largest[w])
        power[w] += shift - 1
        largest[w] = math.ldexp(1.0, 1 - shift)
    for i in range(n):
        for j in range(n):
            for w in range(lanes):
                p[i, j, w] *= largest[w]
    return True


@compiled()
def _all_gains(raw, scalings, eps, worst, run, smallest, gains, powers):
    """Fill gains (2, t, depth, groups, lanes) and powers of two (t, ...); False if digits are lost.

    `raw` and `scalings` have shape (groups, depth, n, terms, lanes); `scalings` are overwritten.
    """
    groups, depth, n, terms, lanes = raw.shape
    sums, largest, power = np.empty(n * lanes), np.empty(lanes), np.empty(lanes)
    product, other = np.zeros((terms, n, lanes)), np.zeros((terms, n, lanes))
    for g in range(groups):
        for t in range(gains.shape[1]):
            power[:] = 0.0
            for layer in range(depth):
                h = raw[g, layer] if t == 0 else scalings[g, layer]
                if t > 1 or (t == 1 and eps == 0.0):
                    _column_step(h, eps, sums)
                if t > 0:
                    _row_step(h, eps, sums)
                if layer == 0:
                    product[:n] = h[:, :n]
                else:
                    _multiply(h, product, other)
                    product, other = other, product
                _measure(product, worst, sums, gains[0, t, layer, g], gains[1, t, layer, g])
                powers[t, layer, g] = power
                if (layer == depth - 1 or layer % run == run - 1) and not _rescale(
                    product, smallest, largest, power
                ):
                    return False
    return True

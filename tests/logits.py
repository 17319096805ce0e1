"""Logits that the tests of projections share, and what is exact of them."""

import array_api_strict
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mhc_demo.numerics.projections import PROJECTIONS

EPS = {np.float64: 2.0**-52, np.float32: 2.0**-23}

DTYPES = pytest.mark.parametrize("dtype", EPS, ids=lambda dtype: dtype.__name__)

EVERY = pytest.mark.parametrize("chosen", PROJECTIONS.values(), ids=lambda chosen: chosen.name)

BACKENDS = {
    "numpy": np.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "array_api_strict": array_api_strict.asarray,
}


def normal(*shape, spread=1.0, seed=0):
    return spread * np.random.default_rng(seed).standard_normal(shape)


def sizes_of(chosen, most=8):
    return filter(chosen.sizes.hold, range(1, most + 1))


def exact_sinkhorn(logits, counts):
    """Eq. 9 in 50 digits: exp, then columns and rows, `counts` times; (len(counts), n, n)."""
    n = len(logits)
    results = []
    with mpmath.workdps(50):
        matrix = [[mpmath.exp(mpmath.mpf(float(z))) for z in row] for row in logits]
        for t in range(1, max(counts) + 1):
            sums = [mpmath.fsum(row[j] for row in matrix) for j in range(n)]
            matrix = [[x / s for x, s in zip(row, sums, strict=True)] for row in matrix]
            matrix = [[x / mpmath.fsum(row) for x in row] for row in matrix]
            if t in counts:
                results.append(np.array(matrix, dtype=np.float64))
    return np.stack(results)


@st.composite
def hostile_logits(draw):
    """Integers or floats up to +-1e4, any n up to 8."""
    n = draw(st.integers(1, 8))
    dtype = draw(st.sampled_from([np.float64, np.float32, np.int64]))
    if dtype is np.int64:
        elements = st.integers(-10_000, 10_000)
    else:
        width = np.dtype(dtype).itemsize * 8
        elements = st.one_of(
            st.floats(-10_000, 10_000, width=width),
            st.integers(-10_000, 10_000).map(float),
            st.sampled_from([-10_000.0, 0.0, 10_000.0]),
        )
    return draw(hnp.arrays(dtype, (n, n), elements=elements))

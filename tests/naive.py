"""What surfaces are made of, computed in the plainest way, for the tests to compare with."""

import numpy as np
import pytest

from mhc_demo.numerics.mixing import INITS
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import QUANTILES

PAIRS = pytest.mark.parametrize(
    ("name", "init"),
    [
        pytest.param(name, init, marks=[] if usual else pytest.mark.long)
        for name in PROJECTIONS
        for init in INITS
        for usual in [name == "sinkhorn" or init == "gaussian"]
    ],
)
"""Every projection and every init with the usual one of the other; all other pairs are long."""


def series_of(values):
    """(members, depth) -> (depth, series)."""
    columns = [values[0], *(np.quantile(values, q, axis=0) for q in QUANTILES.values())]
    return np.stack(columns, axis=-1)


def products(layers):
    """H_l ... H_1 for every l, by plain matrix products."""
    result = [layers[0]]
    for layer in layers[1:]:
        result.append(layer @ result[-1])
    return result

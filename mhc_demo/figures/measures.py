"""Every metric of a few matrices as tables of HTML: a layer and the composite, HC and projected.

A composite may be of any size, so that it comes as a matrix and a power of two, and what grows with
it is written as a power of ten.  What a matrix does not have is a dash, with the reason below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..numerics.metrics import GROUPS, METRICS, Metric
from ..numerics.numbers import UNKNOWN, in_html

NOTHING = 1e-13
"""What is smaller, beside the matrix, is no more than rounding."""


@dataclass(frozen=True)
class Measured:
    """A column of the tables."""

    method: str
    """What stands above: the columns of one method are neighbours."""
    title: str
    mantissa: NDArray[np.float64]
    exponent: int = 0
    """The matrix is mantissa * 2**exponent."""
    bounded: bool = True
    """Whether its distance from the uniform matrix says something."""
    ratio: float | None = None
    """Its second to its first singular value, where that is below the rounding of the matrix."""


def texts(columns: Sequence[Measured]) -> dict[str, list[str]]:
    """Every metric of all columns as HTML, by its name; the matrices are measured together."""
    mantissa = np.stack([each.mantissa for each in columns])
    exponent = np.array([each.exponent for each in columns])
    bounded = np.array([each.bounded for each in columns])
    whole = METRICS["spectral_norm"].log10(mantissa, exponent)
    # What is not bounded may be beyond any float, and is not wanted.
    matrices = np.ldexp(mantissa, np.where(bounded, exponent, 0)[:, None, None])
    found = {}
    for name, metric in METRICS.items():
        if metric.homogeneous:
            sizes = metric.log10(mantissa, exponent)
            sizes = np.where(sizes < whole + math.log10(NOTHING), -math.inf, sizes)
            found[name] = [in_html(float(each)) for each in sizes]
        else:
            values = metric(mantissa if metric.scale_free else matrices)
            values = np.where(np.abs(values) < NOTHING, 0.0, values)
            if not metric.scale_free:
                values = np.where(bounded, values, math.nan)
            found[name] = [written(float(each)) for each in values]
    for k, each in enumerate(columns):
        if each.ratio is not None:
            found["singular_ratio"][k] = written(each.ratio)
            found["second_singular_value"][k] = in_html(_log10(each.ratio) + float(whole[k]))
    return found


def written(value: float) -> str:
    """A number that may be 0, infinite or unknown, as HTML: three digits.

    >>> written(0.5), written(math.inf), written(math.nan)
    ('0.500', '∞', '—')
    """
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞"
    return in_html(_log10(value)) if value > 0 else "0"


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf


def measures_html(columns: Sequence[Measured], name: Callable[[Metric], str]) -> str:
    """A table for each group of metrics; `name` writes the heading of a row, as HTML."""
    found = texts(columns)
    tables = "".join(_table(group, columns, found, name) for group in GROUPS)
    return f'<div class="cost-tables">{tables}</div>'


def _table(
    group: str,
    columns: Sequence[Measured],
    found: Mapping[str, list[str]],
    name: Callable[[Metric], str],
) -> str:
    methods = list(dict.fromkeys(each.method for each in columns))
    over = "".join(
        f'<th scope="colgroup" colspan="{sum(c.method == m for c in columns)}">{m}</th>'
        for m in methods
    )
    titles = "".join(f'<th scope="col">{each.title}</th>' for each in columns)
    rows = "".join(
        f'<tr><th scope="row">{name(metric)}</th>'
        + "".join(f"<td>{text}</td>" for text in found[metric.name])
        + "</tr>"
        for metric in METRICS.values()
        if metric.group == group
    )
    return (
        f'<table class="cost-table"><caption>{GROUPS[group]}</caption>'
        f"<thead><tr><td></td>{over}</tr><tr><td></td>{titles}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def measured_at(
    matrices: xr.Dataset, mixing: xr.Dataset, depth: int, iterations: int, bounded: bool
) -> list[Measured]:
    """The columns for a position of `member_matrices` and `mixing_surface`.

    At 0 iterations those of HC alone.  `bounded`: whether the projection's products are.
    """
    found = []
    for t in sorted({0, iterations}):
        here = matrices.sel(depth=depth, iterations=t)
        method = "Projected" if t else "HC"
        found.append(Measured(method, "layer", here["layer"].values))
        composite = Measured(
            method,
            "composite",
            here["composite_mantissa"].values,
            int(here["composite_exponent"]),
            bounded and t > 0,
            float(mixing["singular_ratio"].sel(depth=depth, iterations=t)),
        )
        found.append(composite)
    return found

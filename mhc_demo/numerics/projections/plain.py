"""The matrix left as it is, the identity, and single steps of what tames it."""

from __future__ import annotations

import math
from types import ModuleType

from array_api_compat import device

from .._arrays import Array, known, scalar
from ..paper import HYPER_CONNECTIONS, IDENTITY_MAPPINGS, MHC
from .registry import CONTROLS, projection
from .softmax import softmax


@projection(
    "rows",
    "Rows only (softmax)",
    kind=CONTROLS,
    short="Rows only",
    unit_rows=True,
    masks=True,
    cost="O(n²): one softmax",
    note="Half an iteration: each row divided by its sum. The forward gain is 1, and the backward "
    "gain can never exceed n, because a product of row-stochastic matrices is row-stochastic.",
    leads=True,
)
def _rows(xp: ModuleType, logits: Array) -> Array:
    return softmax(xp, logits, -1)


@projection(
    "columns",
    "Columns only (softmax)",
    kind=CONTROLS,
    short="Columns only",
    unit_columns=True,
    masks=True,
    cost="O(n²): one softmax",
    note="The other half: each column divided by its sum. The backward gain is 1, the forward "
    "gain can never exceed n.",
)
def _columns(xp: ModuleType, logits: Array) -> Array:
    return softmax(xp, logits, -2)


@projection(
    "exp",
    "exp only",
    kind=CONTROLS,
    bounded=False,
    masks=True,
    cost="O(n²): one exponential",
    note="Positive entries and no division: from n = 2 on it explodes faster than the raw matrix. "
    "What tames the product is both, entries that are not negative and sums that are 1.",
    leads=True,
)
def _exp(xp: ModuleType, logits: Array) -> Array:
    limit = math.log(float(xp.finfo(logits.dtype).max))
    if math.prod(logits.shape) and known(xp, logits) and scalar(xp.max(logits)) >= limit:
        raise ValueError(
            f"projection 'exp' overflows {logits.dtype} for logits above {limit:.1f}; "
            f"the largest here is {scalar(xp.max(logits)):g}"
        )
    return xp.exp(logits)


@projection(
    "none",
    "None (HC)",
    kind=CONTROLS,
    short="HC",
    takes_logits=False,
    nonnegative=False,
    bounded=False,
    cost="nothing",
    note="Hyper-Connections as they are: nothing bounds the matrix (Eq. 5).",
    source=HYPER_CONNECTIONS.short,
    published=f"composite gain near 3000 at 27B ({MHC.number}, Fig. 3b)",
    leads=True,
)
def _none(xp: ModuleType, logits: Array) -> Array:
    return logits


@projection(
    "identity",
    "Identity (no mixing)",
    kind=CONTROLS,
    short="Identity",
    unit_rows=True,
    unit_columns=True,
    unit_norm=True,
    masks=True,
    cost="nothing",
    note="The plain residual stream, n times over: nothing explodes and nothing mixes.",
    source=IDENTITY_MAPPINGS.short,
)
def _identity(xp: ModuleType, logits: Array) -> Array:
    eye = xp.eye(logits.shape[-1], dtype=logits.dtype, device=device(logits))
    return xp.broadcast_to(eye, logits.shape)

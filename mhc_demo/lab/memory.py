"""What a training takes in memory, estimated from its settings: a server asks before it trains.

PyTorch is not imported, so the counts are formulas.  The tests hold those of the parameters to the
networks themselves; what a step keeps was counted there too, and the rest is set so that no process
measured took more (`python -m benchmarks lab_memory`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..numerics.projections import PROJECTIONS
from .settings import Settings
from .tasks import CONTEXT, TASKS

PROCESS = 800e6
"""Bytes without a network: Python, PyTorch, Numba, scikit-learn, the examples."""

CLASSES = 128
"""Classes and features that a task has at most."""

FEWEST = 64
"""Tokens in a forward pass, at least: those that are watched."""

TORN = 2.0
"""Up to a half of the memory that freed tensors leave fits none of those that follow."""


def memory(settings: Sequence[Settings]) -> float:
    """Bytes, at most, of a process in which these networks train, a step of each in turn.

    All of them hold weights, gradients and AdamW's two moments throughout.  What a step keeps for
    its backward pass is one network's at a time, and so are the gradients that it replaces.

    >>> f"{memory([Settings(depth=128, width=1024)]) / 1e9:.0f} GB"
    '24 GB'
    """
    learned = [parameters(each) for each in settings]
    numbers = 4 * sum(learned) + (TORN - 1) * max(learned) + max(map(activations, settings))
    return PROCESS + 4.0 * numbers


def parameters(settings: Settings) -> int:
    """Numbers that a network learns, at most; those of its layers exactly."""
    width = settings.width
    ends = (2 * CLASSES + CONTEXT + 2) * width + CLASSES
    return ends + layer_parameters(settings)


def layer_parameters(settings: Settings) -> int:
    """Numbers that a network's layers learn."""
    n, width, depth = settings.streams, settings.width, settings.depth
    attentions = -(-depth // 2) if _is_sequence(settings) else 0
    branches = (
        attentions * (4 * width**2 + 5 * width)  # C to 3 C, C to C, a norm
        + (depth - attentions) * (8 * width**2 + 6 * width)  # C to 4 C and back, a norm
    )
    static = n * n + 2 * n + 3
    mappings = {
        "residual": 0,
        "hc": static + (2 + n) * width,  # theta
        "mhc": static + (n * n + 2 * n) * n * width,  # phi
    }
    return branches + depth * mappings[settings.connection]


def activations(settings: Settings) -> float:
    """Numbers that a step keeps for its backward pass and works with, at most."""
    n, width = settings.streams, settings.width
    kept = 11 * width  # input, its norm, 4 C before and after GELU, output; attention keeps less
    if settings.mixes:
        kept += (n + 1) * width  # the streams, and the output once more
        kept += 5 * (n * n + 2 * n)  # the mappings: logits, gates, results
    if settings.connection == "mhc" and (weights := PROJECTIONS[settings.projection].weights):
        kept += 3 * weights(n)
    work = (12 + 3 * n) * width + 5 * CLASSES  # gradients of a layer; logits and loss
    tokens = max(FEWEST, settings.batch * (CONTEXT if _is_sequence(settings) else 1))
    return tokens * (TORN * kept * settings.depth + work)


def _is_sequence(settings: Settings) -> bool:
    return TASKS[settings.task].unit == "tokens"

"""The memory that a training run takes, estimated from its settings: a server checks it first.

PyTorch is not imported, so the counts are formulas.  The tests compare the numbers of parameters,
and of what a step keeps, with the networks themselves; the rest is chosen so that no measured
process took more (`python -m benchmarks lab_memory`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..numerics.projections import PROJECTIONS
from .connections import KINDS
from .settings import Settings
from .sparsity import CHOSEN, hidden_units
from .tasks import CONTEXT, TASKS

PROCESS = 800e6
"""Bytes of a process without networks: Python, PyTorch, Numba, scikit-learn, the examples."""

CLASSES = 128
"""The most classes, and the most features, that a task has."""

FEWEST = 64
"""The fewest tokens in a forward pass: those of the examples that are watched."""

FRAGMENTATION = 2.0
"""Up to half of the memory of freed tensors is in pieces too small for the tensors that follow."""


def memory(settings: Sequence[Settings]) -> float:
    """The most bytes of a process in which these networks take turns to train, a step each.

    All of them hold weights, gradients and AdamW's two moments throughout.  Only one network at a
    time holds what a step keeps for its backward pass, and the gradients that the step replaces.

    >>> f"{memory([Settings(depth=128, width=1024)]) / 1e9:.0f} GB"
    '24 GB'
    """
    learned = [parameters(each) for each in settings]
    fragments = (FRAGMENTATION - 1) * max(learned)
    numbers = 4 * sum(learned) + fragments + max(map(activations, settings))
    return PROCESS + 4.0 * numbers


def parameters(settings: Settings) -> int:
    """The most numbers that a network learns; for its layers the count is exact."""
    width = settings.width
    ends = (2 * CLASSES + CONTEXT + 2) * width + CLASSES
    return ends + layer_parameters(settings)


def layer_parameters(settings: Settings) -> int:
    """Numbers that a network's layers learn."""
    n, width, depth = settings.streams, settings.width, settings.depth
    attentions = depth - _others(settings)
    other = 8 * width**2 + 6 * width  # C to 4 C and back, a norm
    if experts := settings.computes.experts:
        # Of the dense perceptron three experts are active; the others are besides, and the router.
        other += (experts - CHOSEN) * (2 * width + 1) * hidden_units(4 * width) + experts * width
    branches = (
        attentions * (4 * width**2 + 5 * width)  # C to 3 C, C to C, a norm
        + _others(settings) * other
    )
    mappings = KINDS[settings.connection].parameters or KINDS["mhc"].parameters
    assert mappings is not None
    return branches + depth * mappings(n, width)


def activations(settings: Settings) -> float:
    """The most numbers that a step keeps for its backward pass and works with."""
    n, width = settings.streams, settings.width
    kept = 11 * width  # input, its norm, 4 C before and after GELU, output; attention keeps less
    if settings.mixes:
        kept += (n + 1) * width  # the streams, and the output once more
        kept += 5 * (n * n + 2 * n)  # the mappings: logits, gates, results
    projects = KINDS[settings.connection].projects
    projection = settings.projection if projects == "settings" else projects
    if projection and (weights := PROJECTIONS[projection].weights):
        kept += 4 * weights(n)  # with the masks of logits that are -inf
    work = (12 + 3 * n) * width + 5 * CLASSES  # gradients of a layer; logits and loss
    routed = 0
    if experts := settings.computes.experts:
        # The chosen experts' inputs and outputs; affinities and shares; indices of 64 bits.
        routed = CHOSEN * (2 * width + 12) + 4 * experts
        work += 4 * CHOSEN * width
    tokens = max(FEWEST, settings.batch * (CONTEXT if _is_sequence(settings) else 1))
    layers = kept * settings.depth + routed * _others(settings)
    return tokens * (FRAGMENTATION * layers + work)


def _others(settings: Settings) -> int:
    """How many layers are no attention: perceptrons, or mixtures of experts."""
    return settings.depth // 2 if _is_sequence(settings) else settings.depth


def _is_sequence(settings: Settings) -> bool:
    return TASKS[settings.task].unit == "tokens"

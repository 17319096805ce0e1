"""How sparse the mixtures of `experts.py` are: numbers that are wanted without PyTorch, too."""

from __future__ import annotations

EXPERTS = 8
"""Among how many experts a mixture chooses."""
CHOSEN = 2
"""How many of them work on a token, besides the shared one."""


def hidden_units(dense: int) -> int:
    """The hidden units of a routed expert, in the place of a perceptron that has `dense` of them.

    With the shared expert's as many are at work on a token as in the perceptron.

    >>> hidden_units(128)
    42
    """
    return dense // (1 + CHOSEN)

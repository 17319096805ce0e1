"""The branches: what a layer computes between reading from the streams and writing to them.

To add one, write a function under `@branch(...)`, in any module.  PyTorch is imported inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .registry import Registry
from .sparsity import EXPERTS

if TYPE_CHECKING:
    from torch import nn

Make = Callable[[int, int, bool], "nn.Module"]
"""(width C, the layer's index, whether examples are sequences) -> a module (..., C) -> (..., C).

Of sequences the next to last axis is the position, and no position may see a later one."""


@dataclass(frozen=True)
class Branch:
    """A kind of branch."""

    name: str
    title: str
    make: Make
    experts: int = 0
    """Among how many experts its mixtures choose (`experts.Mixture`); 0: it has none."""


BRANCHES: Registry[Branch] = Registry("branch")
"""Every kind of branch by its name."""


def branch(name: str, title: str, *, experts: int = 0) -> Callable[[Make], Make]:
    """Register a function (width, index of the layer, sequences?) that returns the module."""

    def register(make: Make) -> Make:
        BRANCHES[name] = Branch(name, title, make, experts)
        return make

    return register


STANDARD = "standard"
"""The branch that gives way to that of a task which has one (`Task.branch`)."""


@branch(STANDARD, "Perceptrons; for sequences attention in turn with them")
def _standard(width: int, index: int, sequences: bool) -> nn.Module:
    from .blocks import Attention, Perceptron

    return Attention(width) if sequences and index % 2 == 0 else Perceptron(width)


@branch("moe", "Mixtures of experts in the place of perceptrons", experts=EXPERTS)
def _moe(width: int, index: int, sequences: bool) -> nn.Module:
    from .blocks import Attention
    from .experts import Mixture

    return Attention(width) if sequences and index % 2 == 0 else Mixture(width)

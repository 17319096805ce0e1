"""The projections: from n x n logits to the matrix that mixes the streams.

Each is one small function in `PROJECTIONS`; the page, the command line and the property tests
know no projection by name.  A one-shot projection returns a matrix; an iterative one is a
generator of its iterates, so that all 31 positions of the dial cost one pass.  Iteration 0 of
every projection is the raw matrix itself, that is, HC.

To add a projection, write one function under `@projection(...)` in one of these files.  They are
imported in the order in which menus and tables list their projections.
"""

# isort: off
from .registry import ANY, POWERS_OF_TWO, PROJECTIONS, Halves, Projection, Sizes, projection, up_to
from .sinkhorn import (
    PAPER_ITERATIONS,
    RELEASED_EPS,
    released_iterates,
    sinkhorn_iterates,
    tame_range,
)
from . import limit, permutations, orthogonal, signed, plain

# isort: on

__all__ = [
    "ANY",
    "PAPER_ITERATIONS",
    "POWERS_OF_TWO",
    "PROJECTIONS",
    "RELEASED_EPS",
    "Halves",
    "Projection",
    "Sizes",
    "limit",
    "orthogonal",
    "permutations",
    "plain",
    "projection",
    "released_iterates",
    "signed",
    "sinkhorn_iterates",
    "tame_range",
    "up_to",
]

"""What a projection is, what it promises, and where all of them are registered.

The page, the command line and the tests know no projection by name: what they need to know of one
is said here, in its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .._arrays import Array
from .starts import Start, on_the_diagonal


@dataclass(frozen=True)
class Halves:
    """The iterations of a projection taken apart, for a reader who wants to see them at work."""

    function: Callable[[ModuleType, Array], Iterator[Array]]
    """As the projection's own generator, but yields after every part of an iteration, as often in
    each as there are names."""
    names: tuple[str, ...]
    """What was normalised in each part: "columns" or "rows"."""
    words: tuple[str, ...]
    """The same as half a sentence."""
    first: tuple[str, ...] = ()
    """That of the first iteration, if it differs."""


@dataclass(frozen=True)
class Sizes:
    """The numbers of streams for which a projection exists; 1 is always one of them."""

    hold: Callable[[int], bool]
    words: str
    """After "takes", before "streams", such as "at most 6"."""

    def nearest(self, streams: int, most: int, before: int = 0) -> int:
        """A size from 1 to `most`, near to `streams`: where a slider goes that is moved there.

        It is the next that exists in the direction from `before`, so that a slider never sticks;
        where there is none, the next in the other direction.
        """
        up = next((n for n in range(streams, most + 1) if self.hold(n)), None)
        down = next((n for n in range(min(streams, most), 0, -1) if self.hold(n)), 1)
        return down if up is None or not 0 < before < streams else up


ANY = Sizes(lambda n: True, "any number of")
POWERS_OF_TWO = Sizes(lambda n: n.bit_count() == 1, "1, 2, 4, 8, ...")


def up_to(most: int) -> Sizes:
    """The sizes of a projection whose work grows too fast for more streams."""
    return Sizes(lambda n: n <= most, f"at most {most}")


@dataclass(frozen=True)
class Projection:
    """One way to turn logits into a mixing matrix, and what is promised of the result."""

    name: str
    title: str
    function: Callable[..., Any]
    kind: str = "Others"
    """The heading under which a menu lists it."""
    short: str = ""
    """A shorter name, where there is little room; if empty, the title serves."""
    iterative: bool = False
    takes_logits: bool = True
    """False where the input is HC's own H_res, not logits ("none")."""
    unit_rows: bool = False
    """The rows sum to 1: the forward gain is 1."""
    unit_columns: bool = False
    """The columns sum to 1: the backward gain is 1."""
    nonnegative: bool = True
    unit_norm: bool = False
    """The spectral norm is at most 1: a layer lengthens no signal."""
    bounded: bool = True
    """Products of such matrices stay bounded at every depth."""
    masks: bool = False
    """A logit of -inf makes its entry 0; where not, -inf has no meaning and is refused."""
    sizes: Sizes = ANY
    """For which numbers of streams it exists."""
    weights: Callable[[int], int] | None = None
    """How many numbers it keeps at most besides a matrix's entries, for a backward pass, as a
    function of n; a quarter of them, because four of each weight are kept.  None if none."""
    fused: Mapping[str, Any] | None = None
    """Arguments with which `kernels.sinkhorn` computes it in PyTorch; None if it does not."""
    eps: float | None = None
    """What it adds to the sums that it divides by, unless told otherwise; None if it adds nothing.
    Such a function takes `eps` as its third argument."""
    halves: Halves | None = None
    """Its iterations taken apart (see `half_steps.py`); None if only whole ones are known."""
    balances: str = ""
    """The projection whose iteration it runs inside, if it is another's."""
    start: Start = on_the_diagonal
    """Finds the logits from which a layer starts, near the identity."""
    cost: str = ""
    """What one n x n matrix takes, in words."""
    source: str = ""
    """Who published it; empty if it is a control of ours."""
    note: str = ""
    """One or two sentences for the reader: what it is, and how it is adapted."""
    published: str = ""
    """A result that a paper prints of networks with it, and the place there; empty if none."""
    leads: bool = False
    """It is one of the few (six at most) that a comparison draws unless told otherwise."""

    @property
    def exact(self) -> bool:
        """Whether the result is doubly stochastic but for rounding."""
        return self.unit_rows and self.unit_columns and self.nonnegative

    def sums_by_theorem(self, direction: str) -> bool:
        """Whether the sums of all products are 1 by theorem, where rounding alone would show.

        Sums of 1, of rows ("forward") or columns ("backward"), are kept by every product.  With
        signs the entries may be 10^16 times as large as their sums, which are then what rounding
        leaves of them.
        """
        sums = self.unit_rows if direction == "forward" else self.unit_columns
        return sums and not self.nonnegative

    @property
    def sums_alone(self) -> bool:
        """Whether both of the paper's gains are 1 while the signal may still explode."""
        return self.unit_rows and self.unit_columns and not self.bounded

    @property
    def account(self) -> str:
        """The note with its source, as a reader of the page sees it."""
        return f"{self.note} Source: {self.source}." if self.source else self.note

    @property
    def label(self) -> str:
        """Its name as a plot writes it at the end of a line."""
        return self.short or self.title

    def check(self, streams: int) -> None:
        """ValueError if the projection does not exist for that many streams."""
        if not self.sizes.hold(streams):
            what = self.note.partition(". ")[0].rstrip(".")
            raise ValueError(
                f"projection {self.name!r} takes {self.sizes.words} streams ({what}), not {streams}"
            )


PROJECTIONS: dict[str, Projection] = {}
"""Every projection by its name."""


ITERATIVE = "Iterative"
PERMUTATIONS = "Mixtures of permutations"
SQUARES = "Squares of an orthogonal matrix"
UNIT_NORM = "Signed, norm at most 1"
CONTROLS = "For comparison"


def projection(name: str, title: str, **promises: Any) -> Callable[[Callable], Callable]:
    """Register a function (xp, logits) -> matrix, or a generator of iterates."""

    def register(function: Callable) -> Callable:
        PROJECTIONS[name] = Projection(name, title, function, **promises)
        return function

    return register

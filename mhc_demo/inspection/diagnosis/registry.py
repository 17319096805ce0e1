"""The checks by name.  A check is a function of an `Examination` that yields findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .examination import Examination, Layer
from .findings import LOOK, MISTAKE, Finding


class CannotTellError(Exception):
    """Raised by a check that cannot be made on this model; the message says why."""


Found = Iterator[Finding]


@dataclass(frozen=True)
class Check:
    """A mistake that a model may make, and the function that looks for it."""

    name: str
    title: str
    remedy: str
    function: Callable[[Examination, Check], Found]

    def mistake(self, layers: Sequence[Layer], evidence: str, **numbers: float) -> Finding:
        """A finding that is certain."""
        return self._finding(MISTAKE, layers, evidence, numbers)

    def look(self, layers: Sequence[Layer], evidence: str, **numbers: float) -> Finding:
        """A finding that may be meant."""
        return self._finding(LOOK, layers, evidence, numbers)

    def _finding(
        self, certainty: str, layers: Sequence[Layer], evidence: str, numbers: dict[str, float]
    ) -> Finding:
        names = tuple(layer.name for layer in layers)
        return Finding(self.name, self.title, certainty, names, evidence, self.remedy, numbers)


CHECKS: dict[str, Check] = {}
"""Every check by its name."""


def check(name: str, title: str, remedy: str) -> Callable[[Callable], Callable]:
    """Register a function (examination, check) -> findings."""

    def register(function: Callable[[Examination, Check], Found]) -> Callable:
        CHECKS[name] = Check(name, title, remedy, function)
        return function

    return register


def mixing_layers(examination: Examination) -> tuple[Layer, ...]:
    """The layers whose H_res is not the identity by design; CannotTellError if there are none."""
    if not examination.mixing:
        raise CannotTellError("no layer has an H_res that mixes")
    return examination.mixing


def plain(value: float) -> str:
    """A number of the evidence: three digits.

    >>> plain(0.05), plain(12345.0), plain(1e-17), plain(0.0)
    ('0.05', '1.23e+04', '1e-17', '0')
    """
    return f"{value:.3g}"

"""What a diagnosis says: findings with their evidence, and how they are shown.

There is nothing to compute here: a `Diagnosis` is data that prints itself in a terminal and shows
itself in a notebook.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MISTAKE = "mistake"
LOOK = "look at this"
CERTAINTIES = (MISTAKE, LOOK)
"""How sure a finding is: a mistake for certain, or something that may be meant."""

_WIDTH = 100
_LABELS = 10


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a model, or may be."""

    check: str
    """The name of the check in `CHECKS`."""
    title: str
    certainty: str
    """One of `CERTAINTIES`."""
    layers: tuple[str, ...]
    """Module paths of the layers concerned, in the order in which the model calls them."""
    evidence: str
    """What was measured, in a sentence or two."""
    remedy: str
    """What to do, in one sentence."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The numbers of the evidence by their names."""


@dataclass(frozen=True)
class Diagnosis:
    """All findings about a model, the mistakes first."""

    model: str
    """The name of the model's class."""
    families: tuple[str, ...]
    streams: int
    layers: tuple[str, ...]
    findings: tuple[Finding, ...]
    passed: tuple[str, ...]
    """Titles of the checks that found nothing."""
    unchecked: Mapping[str, str]
    """Titles of the checks that could not be made, and why."""
    remarks: tuple[str, ...] = ()

    @property
    def mistakes(self) -> tuple[Finding, ...]:
        """The findings that are mistakes for certain."""
        return tuple(each for each in self.findings if each.certainty == MISTAKE)

    @property
    def sound(self) -> bool:
        """Whether no mistake was found."""
        return not self.mistakes

    @property
    def verdict(self) -> str:
        """The result in a line.

        >>> Diagnosis("Net", ("mhc_demo",), 4, ("0", "1"), (), ("Streams identical",), {}).verdict
        'Net (2 layers of mhc_demo, 4 streams): no mistake found, 1 check made.'
        """
        doubts = len(self.findings) - len(self.mistakes)
        found = _count(len(self.mistakes), "mistake") + " found" if self.mistakes else ""
        found = found or "no mistake found"
        if doubts:
            found += f", {_count(doubts, 'thing')} to look at"
        made = len({each.check for each in self.findings}) + len(self.passed)
        of = f"{_count(len(self.layers), 'layer')} of {' + '.join(self.families)}"
        return (
            f"{self.model} ({of}, {_count(self.streams, 'stream')}): {found}, "
            f"{_count(made, 'check')} made."
        )

    def to_frame(self) -> pd.DataFrame:
        """The findings as a pandas DataFrame, a row for each."""
        import pandas as pd

        columns = ["certainty", "title", "layers", "evidence", "remedy"]
        rows = [[getattr(each, name) for name in columns] for each in self.findings]
        index = pd.Index([each.check for each in self.findings], name="check", dtype=object)
        return pd.DataFrame(rows, index=index, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it: a number that is not finite becomes None."""
        everything = {**asdict(self), "sound": self.sound}
        for each in everything["findings"]:
            each["numbers"] = {
                name: value if math.isfinite(value) else None
                for name, value in each["numbers"].items()
            }
        return everything

    def _reasons(self) -> list[str]:
        """The checks that could not be made, put together where the reason is the same."""
        whys = dict.fromkeys(self.unchecked.values())
        return [
            "; ".join(title for title, why in self.unchecked.items() if why == each) + f" ({each})"
            for each in whys
        ]

    def __str__(self) -> str:
        blocks = ["\n".join(textwrap.wrap(self.verdict, _WIDTH))]
        blocks += [_printed(each, self.layers) for each in self.findings]
        rest = [_row("remark", each) for each in self.remarks]
        rest += [_row("unchecked", each) for each in self._reasons()]
        return "\n\n".join([*blocks, "\n".join(rest)] if rest else blocks)

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align:left;vertical-align:top">{escape(text)}</td>'
                for text in (
                    each.certainty,
                    each.title,
                    in_brief(each.layers, self.layers),
                    each.evidence,
                    each.remedy,
                )
            )
            + "</tr>"
            for each in self.findings
        )
        heads = "".join(
            f'<th style="text-align:left">{head}</th>'
            for head in ("Certainty", "Finding", "Layers", "Evidence", "Remedy")
        )
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        notes = [*self.remarks, *(f"Not checked: {each}" for each in self._reasons())]
        items = "".join(f"<li>{escape(each)}</li>" for each in notes)
        return (
            f"<div><p><b>{escape(self.verdict)}</b></p>"
            + (table if rows else "")
            + (f"<ul>{items}</ul>" if items else "")
            + "</div>"
        )


def in_brief(some: tuple[str, ...], of: tuple[str, ...]) -> str:
    """Names of layers, the first few of them.

    >>> in_brief(("0", "2"), ("0", "1", "2"))
    '2 of 3: 0, 2'
    """
    names = ", ".join(name or "the model itself" for name in some[:4])
    more = ", ..." if len(some) > 4 else ""
    return f"{'all' if len(some) == len(of) > 1 else len(some)} of {len(of)}: {names}{more}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _printed(finding: Finding, layers: tuple[str, ...]) -> str:
    rows = [
        f"{finding.certainty.upper()}: {finding.title}",
        _row("layers", in_brief(finding.layers, layers)),
        _row("evidence", finding.evidence),
        _row("remedy", finding.remedy),
    ]
    return "\n".join(rows)


def _row(label: str, text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"  {label:<{_LABELS}}",
        subsequent_indent=" " * (_LABELS + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )

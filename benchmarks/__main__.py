"""`python -m benchmarks [SECTION ...]`: measure, and print Markdown tables.

Times are medians of many runs, taken in one go; these machines are noisy, so what is compared is
measured in turn.  Chromium is needed for `page`, `embed` and `memory`, PyTorch for `kernels`,
`recompute`, `lab` and `lab_memory`; the last two need scikit-learn too.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Iterable, Iterator

from . import embed, kernels, lab, lab_memory, memory, numerics, page, recompute

SECTIONS = {
    "numerics": numerics.run,
    "page": page.run,
    "embed": embed.run,
    "memory": memory.run,
    "recompute": recompute.run,
    "lab": lab.run,
    "lab_memory": lab_memory.run,
}
"""Rows of what was measured, its target, median and 95th percentile."""

REPORTS = {"kernels": kernels.run}
"""Lines of Markdown, tables of their own."""


def machine() -> str:
    """What the numbers were measured on, in a line."""
    return f"{kernels.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    """Run the sections asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=", ".join([*SECTIONS, *REPORTS])
    )
    chosen = parser.parse_args().sections or [*SECTIONS, *REPORTS]
    for name in chosen:
        if name not in SECTIONS.keys() | REPORTS.keys():
            parser.error(f"unknown section {name!r}; there is {', '.join([*SECTIONS, *REPORTS])}")
    print(f"Measured on {datetime.date.today().isoformat()}: {machine()}\n")
    for name in chosen:
        print(f"### {name}\n", flush=True)
        for line in REPORTS[name]() if name in REPORTS else _table(SECTIONS[name]()):
            print(line, flush=True)
        print()


def _table(rows: Iterable[numerics.Row]) -> Iterator[str]:
    yield "| what | target | median | 95th percentile |"
    yield "|---|---|---|---|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


if __name__ == "__main__":
    main()

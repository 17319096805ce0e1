"""`python -m benchmarks [SECTION ...]`: measure, print tables, and keep them as JSON.

Each result goes to benchmarks/results/SECTION.json; `--write` makes docs/performance.md of these
files.  Several sections run one after the other, each in a process of its own: Playwright leaves
an event loop behind, PyTorch its threads, and a section that fails must not end the others.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from . import SECTIONS, report
from .results import ROOT, Conditions, Result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, 1 if a section failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)} (default: all)"
    )
    parser.add_argument(
        "--write", action="store_true", help="measure nothing; write docs/performance.md"
    )
    options = parser.parse_args(argv)
    for name in options.sections:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; there are {', '.join(SECTIONS)}")
    if options.write:
        report.PAGE.write_text(report.page(), "utf-8")
        return 0
    if len(options.sections) == 1:
        measure(options.sections[0])
        return 0
    return measure_each(options.sections or SECTIONS)


def measure(name: str) -> None:
    """Run one section in this process, print its tables and save them."""
    print(f"### {name}\n", flush=True)
    conditions = Conditions()
    tables = []
    for table in importlib.import_module(f"benchmarks.{name}").run():
        tables.append(table)
        print(report.markdown(table), flush=True)
    result = Result(section=name, tables=tables, **conditions.at_the_end())
    print(report.measured(result), flush=True)
    result.save()


def own_process(name: str) -> list[str]:
    """The command that measures one section."""
    return [sys.executable, "-m", "benchmarks", name]


def measure_each(names: Sequence[str], command: Callable[[str], list[str]] = own_process) -> int:
    """Run a process for each section; return 1 if any of them failed, else 0."""
    failed = []
    for name in names:
        code = subprocess.run(command(name), cwd=ROOT).returncode
        if code:
            failed.append(name)
            print(f"\n{name} failed with exit code {code}; its last result stays.\n", flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks [numerics] [page] [memory]`: measure, and print Markdown tables.

Times are medians of many runs, taken in one go; these machines are noisy, so what is compared is
measured in turn.  Chromium is needed for `page` and `memory`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform

from . import memory, numerics, page

SECTIONS = {"numerics": numerics.run, "page": page.run, "memory": memory.run}


def machine() -> str:
    """What the numbers were measured on, in a line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":")[1].strip() for line in info if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    """Run the sections asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    chosen = parser.parse_args().sections or list(SECTIONS)
    for name in chosen:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; there is {', '.join(SECTIONS)}")
    print(f"Measured on {datetime.date.today().isoformat()}: {machine()}\n")
    for name in chosen:
        print(f"### {name}\n\n| what | target | median | 95th percentile |\n|---|---|---|---|")
        for row in SECTIONS[name]():
            print("| " + " | ".join(row) + " |", flush=True)
        print()


if __name__ == "__main__":
    main()

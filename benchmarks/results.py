"""What a section leaves behind: tables of plain values, and the conditions they were measured in.

A result is data first, JSON that `pandas.DataFrame(table["rows"])` reads; printed tables and
docs/performance.md are made from it.  It names neither the host nor any path.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent / "results"

PACKAGES = (
    "numpy",
    "xarray",
    "bokeh",
    "panel",
    "panel-material-ui",
    "torch",
    "triton",
    "numba",
    "scikit-learn",
    "hyper-connections",
    "playwright",
)
"""Those whose version may matter for a number."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
QUIET = 0.2
"""Busy cores that are not worth mentioning."""

Value = str | bool | int | float | None
Row = Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """Rows of values by key, and the headings of the keys in the order in which they are shown.

    A key's unit is in its name and in its heading.  A row may lack keys; a heading that no row has
    a value for is not shown.
    """

    headings: dict[str, str]
    rows: list[Row]
    title: str = ""


@dataclass(frozen=True)
class Result:
    """The tables of a section, and how they came about."""

    section: str
    date: str
    commit: str
    """Abbreviated, with "and changes" if there were any; "unknown" outside of a repository."""
    beside: str
    """What else the machine did meanwhile."""
    seconds: float
    machine: dict[str, Value]
    versions: dict[str, str]
    tables: list[Table]

    def save(self) -> None:
        """Write it to its file."""
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (FOLDER / f"{self.section}.json").write_text(text + "\n", "utf-8")


def load(section: str) -> Result | None:
    """The last result of a section, if there is one."""
    path = FOLDER / f"{section}.json"
    if not path.exists():
        return None
    values = json.loads(path.read_text("utf-8"))
    return Result(**{**values, "tables": [Table(**table) for table in values["tables"]]})


def rounded(value: float) -> float:
    """Four significant digits: when a measurement is repeated, fewer stay the same."""
    return float(f"{value:.4g}")


class Conditions:
    """Where, when, with and beside what: created before the measurements, and read after them."""

    def __init__(self) -> None:
        self.others = busy_cores()
        self.started = time.monotonic()

    def at_the_end(self) -> dict[str, Any]:
        """The fields of a `Result` other than its section and tables."""
        seconds = round(time.monotonic() - self.started)
        return {
            "date": date.today().isoformat(),
            "commit": commit(),
            "beside": beside(self.others, busy_cores()),
            "seconds": seconds,
            "machine": machine(),
            "versions": versions(),
        }


def busy_cores(seconds: float = 3) -> float:
    """How many cores are at work while this process waits."""
    import psutil

    return psutil.cpu_percent(seconds) / 100 * (os.cpu_count() or 1)


def beside(before: float, after: float) -> str:
    """What else ran, in words, from the cores that were busy before and after a section."""
    if max(before, after) < QUIET:
        return "nothing else to speak of"
    return (
        f"other work on the machine ({before:.1f} of {os.cpu_count()} cores busy before, "
        f"{after:.1f} after)"
    )


def machine() -> dict[str, Value]:
    """What it was measured on."""
    import psutil

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": system(),
        "gpu": gpu(),
    }


def processor() -> str:
    """The processor's name, as far as the system says."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def system() -> str:
    """The operating system and its version."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def gpu() -> str | None:
    """The first GPU of NVIDIA's and its driver, or None."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader", "--id=0"]
    try:
        name, driver = subprocess.check_output(query, text=True).strip().split(", ")
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    return f"{name}, driver {driver}"


def versions() -> dict[str, str]:
    """Versions of Python, the packages that are installed, and the browser."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if browser := next(filter(None, map(shutil.which, BROWSERS)), None):
        said = subprocess.run([browser, "--version"], capture_output=True, text=True).stdout.split()
        found["Chromium"] = next((word for word in said if word[:1].isdigit()), "unknown")
    return found


def commit() -> str:
    """The commit that was measured."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "mhc_demo", "static")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} and changes" if changed else name


def _git(*words: str) -> str:
    return subprocess.check_output(
        ["git", *words], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
    ).strip()

"""A first installation.

Into a fresh virtual environment, with the versions of constraints.txt, as `make demo` does it:
alone (`make demo EXTRAS=`) and with the extra *lab* (`make demo`). The time is pip's, and depends
on the network and pip's cache. The size is that of the whole environment; it depends on the build
of PyTorch that pip finds, which the column *torch* names: *+cpu* is one without CUDA.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .results import ROOT, Row, Table, rounded

EXTRAS = ("", "lab")


def run() -> Iterator[Table]:
    """A row for each choice of extras."""
    headings = {
        "what": "",
        "size_mb": "MB on the disk",
        "packages": "packages",
        "torch": "torch",
        "seconds": "installed in, s",
        "note": "",
    }
    yield Table(headings, [installed(extras) for extras in EXTRAS])


def installed(extras: str) -> Row:
    """Time and size of an installation; a note instead where pip fails."""
    what = f"EXTRAS={extras}"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(Path(folder, "bin", "python")), "-m", "pip", "--disable-pip-version-check"]
        wanted = f".[{extras}]" if extras else "."
        start = time.monotonic()
        done = subprocess.run(
            [*pip, "install", "--quiet", "-c", "constraints.txt", wanted],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - start
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            return {"what": what, "note": f"not measured: {last[:80]}"}
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if not p.is_symlink())
        listed = subprocess.check_output([*pip, "list", "--format=freeze"], text=True).split()
        versions = dict(line.split("==") for line in listed)
    return {
        "what": what,
        "size_mb": rounded(size / 1e6),
        "packages": len(versions) - 1,  # without pip itself
        "torch": versions.get("torch"),
        "seconds": rounded(seconds),
    }

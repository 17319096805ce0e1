"""The installed version, in a module that imports nothing of ours: every package writes it.

It stands in pyproject.toml alone.  Here it is read from the installed package, so that a wheel, a
checkout and a container cannot say different ones; a release's tag is compared with it before
anything is published (`.github/workflows/release.yml`).
"""

from __future__ import annotations


def version() -> str:
    """The version, such as 0.1.0."""
    from importlib import metadata  # half of the package's import time

    try:
        return metadata.version("mhc-demo")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"

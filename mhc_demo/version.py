"""The version of what is installed; a leaf, for all rooms write it into what they make."""

from __future__ import annotations


def version() -> str:
    """The version, such as 0.1.0."""
    from importlib import metadata  # which takes half of the package's import

    try:
        return metadata.version("mhc-demo")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"

"""Where to find the scripts and styles that the page and the standalone file share."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
STATIC = next(
    folder
    for folder in (_PACKAGE.parent / "static", _PACKAGE / "static")  # checkout, installed
    if (folder / "mhc.js").is_file()
)


def text_of(name: str) -> str:
    """The text of the file `name` in `STATIC`."""
    return (STATIC / name).read_text("utf-8")

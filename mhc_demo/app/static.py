"""Where the page's scripts and styles are, and how the server hands them out."""

from __future__ import annotations

from pathlib import Path

import panel as pn
from bokeh.embed import bundle

_PACKAGE = Path(__file__).resolve().parent.parent
STATIC = next(
    folder
    for folder in (_PACKAGE.parent / "static", _PACKAGE / "static")  # checkout, installed
    if (folder / "mhc.js").is_file()
)
CSS = (STATIC / "mhc.css").read_text("utf-8")


def load() -> None:
    """Register the folder with Bokeh's server, and load Panel with our script.

    `panel serve` hands out no sibling folder of an app; a Bokeh extension's folder it does.
    """
    bundle.extension_dirs["mhc-demo"] = STATIC
    pn.extension(js_files={"mhc": "static/extensions/mhc-demo/mhc.js"}, notifications=False)

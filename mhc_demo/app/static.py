"""Where the page's scripts and styles are, and how the server hands them out."""

from __future__ import annotations

from pathlib import Path

import panel as pn
import panel_material_ui as pmui
from bokeh.embed import bundle

_PACKAGE = Path(__file__).resolve().parent.parent
STATIC = next(
    folder
    for folder in (_PACKAGE.parent / "static", _PACKAGE / "static")  # checkout, installed
    if (folder / "mhc.js").is_file()
)
SCRIPTS = ("mhc", "story", "terms", "plots")
CSS = (STATIC / "mhc.css").read_text("utf-8")

# `panel serve` hands out no sibling folder of an app; the folder of a Bokeh extension it does.
bundle.extension_dirs["mhc-demo"] = STATIC


def load() -> None:
    """Load our scripts with Panel's, for this session (Panel keeps its resources by session).

    Not by `pn.extension`: in a notebook's kernel that writes BokehJS into the cell, and asks
    another host for the rest.
    """
    pn.config.js_modules = {"material": pmui.Page._render_esm(server=True).removeprefix("./")}
    pn.config.js_files.update({name: f"static/extensions/mhc-demo/{name}.js" for name in SCRIPTS})
    pn.config.respect_explicit_sizing = True

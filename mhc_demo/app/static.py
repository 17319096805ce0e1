"""How the server hands out the page's scripts and styles."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui
from bokeh.embed import bundle

from ..scripts import STATIC, text_of

SCRIPTS = ("mhc", "story", "terms", "plots")
CSS = text_of("mhc.css")

# `panel serve` hands out no sibling folder of an app; the folder of a Bokeh extension it does.
bundle.extension_dirs["mhc-demo"] = STATIC


def load() -> None:
    """Load Panel with our script, for this session (Panel keeps its resources by session)."""
    pn.extension(
        js_modules={"material": pmui.Page._render_esm(server=True).removeprefix("./")},
        js_files={name: f"static/extensions/mhc-demo/{name}.js" for name in SCRIPTS},
        notifications=False,
        respect_explicit_sizing=True,
    )

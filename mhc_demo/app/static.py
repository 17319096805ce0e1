"""How the server hands out the page's scripts and styles."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui
from bokeh.embed import bundle

from ..figures import style
from ..scripts import PAGE, STATIC, text_of

CSS = style.css() + text_of("mhc.css")

# `panel serve` hands out no sibling folder of an app; the folder of a Bokeh extension it does.
bundle.extension_dirs["mhc-demo"] = STATIC


def load() -> None:
    """Load our scripts with Panel's, for this session (Panel keeps its resources by session).

    Not by `pn.extension`: in a notebook's kernel that writes BokehJS into the cell, and asks
    another host for the rest.
    """
    pn.config.js_modules = {"material": pmui.Page._render_esm(server=True).removeprefix("./")}
    pn.config.js_files.update(
        {name.removesuffix(".js"): f"static/extensions/mhc-demo/{name}" for name in PAGE}
    )
    pn.config.respect_explicit_sizing = True

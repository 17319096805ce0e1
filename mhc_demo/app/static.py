"""How the server serves the page's scripts and styles."""

from __future__ import annotations

import panel as pn

from ..figures import style
from ..scripts import PAGE, STATIC, text_of
from ._panel import load_components, serve_folder

CSS = style.css() + text_of("mhc.css")

serve_folder("mhc-demo", STATIC)


def load() -> None:
    """Load our scripts with Panel's, for this session.

    `pn.extension` will not do: in a notebook's kernel it writes BokehJS into the cell, and loads
    the rest from another host.
    """
    load_components()
    pn.config.js_files.update(
        {name.removesuffix(".js"): f"static/extensions/mhc-demo/{name}" for name in PAGE}
    )
    pn.config.respect_explicit_sizing = True

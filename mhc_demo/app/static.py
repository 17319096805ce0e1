"""How the server hands out the page's scripts and styles."""

from __future__ import annotations

import panel as pn

from ..scripts import STATIC, text_of
from ._panel import hand_out, load_components

SCRIPTS = ("alone", "mhc", "connection", "story", "terms", "widgets", "plots")
CSS = text_of("mhc.css")

hand_out("mhc-demo", STATIC)


def load() -> None:
    """Load our scripts with Panel's, for this session (Panel keeps its resources by session).

    Not by `pn.extension`: in a notebook's kernel that writes BokehJS into the cell, and asks
    another host for the rest.
    """
    load_components()
    pn.config.js_files.update({name: f"static/extensions/mhc-demo/{name}.js" for name in SCRIPTS})
    pn.config.respect_explicit_sizing = True

"""How the server serves the page's scripts and styles."""

from __future__ import annotations

import hashlib
import re
from functools import cache

import panel as pn

from ..figures import style
from ..scripts import PAGE, STATIC, text_of
from ._panel import load_components, serve_folder


def _tight(css: str) -> str:
    """CSS without comments and indentation.

    Every component of ours has it, for styles do not reach into another's shadow.  A message is
    compressed, and copies cost next to nothing, but only while two of them begin within 32 kB.
    """
    return re.sub(r"/\*.*?\*/|(?<=[\s;{}])\s+", "", css, flags=re.DOTALL)


CSS = _tight(style.css() + text_of("mhc.css"))

FLOOR_CSS = _tight(text_of("polytope.css"))
"""What the polytope's components alone need."""

COMPARE_CSS = _tight(text_of("compare.css"))
"""What the comparison's components alone need."""

LAWS_CSS = _tight(text_of("laws.css"))
"""What the cards of the laws alone need."""

serve_folder("mhc-demo", STATIC)


@cache
def address(name: str) -> str:
    """Where the page finds a script; another script is at another address, for browsers keep it."""
    version = hashlib.sha256(text_of(name).encode()).hexdigest()[:16]
    return f"static/extensions/mhc-demo/{name}?v={version}"


def load() -> None:
    """Load our scripts with Panel's, for this session.

    `pn.extension` will not do: in a notebook's kernel it writes BokehJS into the cell, and loads
    the rest from another host.
    """
    load_components()
    pn.config.js_files.update({name.removesuffix(".js"): address(name) for name in PAGE})
    pn.config.respect_explicit_sizing = True

"""The scripts and styles in `static/`, and which of them go where, in the order of loading.

They are classic scripts that share one namespace, `window.mhc`: each adds to it and uses what
those before it have added.
"""

from __future__ import annotations

from pathlib import Path

PLOT = ("numbers.js", "slices.js", "scale.js", "signal.js")
"""What the figures themselves call: enough for one that stands still."""

FILE = (
    *PLOT,
    "dom.js",
    "pointer.js",
    "dial.js",
    "sinkhorn.js",
    "polytope.js",
    "plots.js",
    "embed.js",
)
"""The standalone file."""

STORY = (*FILE[:-1], "guess.js", "story.js", "terms.js", "embed.js", "lecture.js")
"""The story as a file."""

SITE = (*STORY, "doors.js", "explore.js", "site.js")
"""All pages of a site; its service worker, `sw.js`, is a file of its own."""

PAGE = (
    "alone.js",
    *PLOT,
    "drawing.js",
    "dom.js",
    "pointer.js",
    "dial.js",
    "doors.js",
    "sinkhorn.js",
    "polytope.js",
    "compare.js",
    "plots.js",
    "connection.js",
    "follow.js",
    "guess.js",
    "story.js",
    "terms.js",
    "widgets.js",
)
"""The live page.  `connection.js` must come before Bokeh opens its websocket."""

_PACKAGE = Path(__file__).resolve().parent
STATIC = next(
    folder
    for folder in (_PACKAGE.parent / "static", _PACKAGE / "static")  # checkout, installed
    if (folder / PLOT[0]).is_file()
)


def text_of(*names: str) -> str:
    """The text of some of them."""
    return "\n".join((STATIC / name).read_text("utf-8") for name in names)

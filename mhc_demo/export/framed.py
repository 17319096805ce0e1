"""An exported file, or a figure, as the output of a notebook's cell.

A file comes in a frame that holds it whole (`srcdoc`), so it survives saving, sharing and the end
of the kernel, and needs no server.  The frame is sandboxed without an origin: whatever it holds, it
cannot reach the notebook.  The file is compressed to a third, since every output is stored in the
notebook.  Code hosts show no frames and run no scripts, so a picture stands below it, which leaves
when the frame has drawn.
"""

from __future__ import annotations

import base64
import gzip
from html import escape
from typing import Any

from bokeh.models import LayoutDOM

from ..numerics._arrays import whole_number
from . import pictures
from .slides import background, theme

HEIGHT = 760
"""Pixels of a frame until its content has told its own: headline, dial and a plot."""

WIDTH = 900
"""Pixels of a picture: a cell of a notebook on a laptop."""

SIZES = (50, 5000)
"""Least and most pixels of a picture."""

SANDBOX = "allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads"
"""What a file may do in its frame: its links open, its data are saved; no `allow-same-origin`."""

UNPACK = """\
<!DOCTYPE html><meta charset="utf-8"><script>
(async () => {
  const packed = Uint8Array.from(atob("PACKED"), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  document.open(); document.write(text); document.close();
  parent.postMessage({type: "mhc-there"}, "*"); // a frame out of sight has no height to tell yet
})();
</script>"""

FOLLOW = """\
(() => {
  const holder = document.currentScript?.parentNode;
  const frame = holder?.querySelector("iframe");
  const hear = ({source, data}) => {
    if (!frame.isConnected) return removeEventListener("message", hear);
    if (source !== frame.contentWindow) return;
    if (data?.type === "mhc-height")
      frame.style.height = `${Math.min(Number(data.height), 5000)}px`;
    const still = holder.querySelector("figure");
    if (still && data?.type === "mhc-there") still.hidden = true;
  };
  if (frame) addEventListener("message", hear);
})();"""


def framed(
    page: str, *, title: str, height: int = HEIGHT, instead: str = "", script: str = ""
) -> str:
    """A page as HTML for a notebook's output, in a frame that follows the height that it tells.

    `title` is the frame's accessible name; `instead` is what stands there where no frame does: a
    `<figure>`, as `still_figure` makes one; `script` is run beside the frame.
    """
    packed = base64.b64encode(gzip.compress(page.encode(), 9, mtime=0)).decode()
    inner = escape(UNPACK.replace("PACKED", packed))
    return (
        f'<div><iframe srcdoc="{inner}" sandbox="{SANDBOX}" width="100%" height="{height}" '
        f'style="border: 0" title="{escape(title)}"></iframe>{instead}'
        f"<script>{FOLLOW}{script}</script></div>"
    )


def still_figure(svg: str, words: str, name: str) -> str:
    """A picture as an image, the form that code hosts let through, with words below it."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure style="margin: 0"><img src="data:image/svg+xml;base64,{data}" '
        f'alt="{escape(name)}" style="max-width: 100%"><figcaption>{words}</figcaption></figure>'
    )


class Shown:
    """A Bokeh figure or layout as a notebook shows it: `Shown(figure)` as a cell's last line.

    It is a picture if there is a Chromium to draw it, because a picture is small and every viewer
    of stored notebooks shows it; otherwise it is a frame with BokehJS in it.  `title` is its
    accessible name; `height` and `width` are its pixels.

    Raises TypeError or ValueError that names the argument for what cannot be shown.
    """

    def __init__(
        self, layout: LayoutDOM, title: str, height: int = 340, width: int = WIDTH
    ) -> None:
        if not isinstance(layout, LayoutDOM):
            raise TypeError(f"layout must be a Bokeh figure or layout, not {layout!r}")
        if not isinstance(title, str):
            raise TypeError(f"title must be a text, not {title!r}")
        if not title:
            raise ValueError("title must be a text that names the picture, not ''")
        self.layout, self.title = layout, title
        self.height = whole_number("height", height, *SIZES)
        self.width = whole_number("width", width, *SIZES)

    def __repr__(self) -> str:
        return f"Shown({self.title!r})"

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a notebook displays."""
        plain = {"text/plain": self.title}
        self.layout.update(width=self.width, height=self.height, sizing_mode="fixed")
        look = (self.layout, self.title, theme(dark=False), background(dark=False))
        try:
            png = pictures.draw(*look, suffix=".png", scale=1.5)
        except pictures.NoPictureError:
            frame = framed(pictures.html(*look), title=self.title, height=self.height + 20)
            return {**plain, "text/html": frame}, {}
        size = {"width": self.width, "height": self.height}
        return {**plain, "image/png": base64.b64encode(png).decode()}, {"image/png": size}

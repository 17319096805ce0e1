"""One HTML file that holds an experiment, with its sliders: for a blog post, a talk, a mail.

It asks nothing of any host, so it works from a disk and in a frame without a network.  BokehJS
draws, the scripts of the page (`static/`) move and format, and what they read is packed
(`figures/packed.py`); there is no Panel in it, nor behind it.

`request.py` checks what the file is to show, `plots/` builds the plots, and `page.py` writes the
HTML.  To add a plot to choose from, write a subclass of `Plot` in a file of `plots/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...numerics.surface import MAX_DEPTH, MAX_ITERATIONS, Experiment
from .page import html
from .plots import PLOTS, plots_of
from .request import HEIGHTS, THEMES, checked

__all__ = ["HEIGHTS", "PLOTS", "THEMES", "export_html", "plots_of"]


def export_html(
    experiment: Experiment | None = None,
    *,
    scene: str | None = None,
    depth: int | None = None,
    iterations: int | None = None,
    streams: Sequence[int] = (),
    plots: Sequence[str] | None = None,
    controls: Sequence[str] | None = None,
    max_depth: int = MAX_DEPTH,
    max_iterations: int = MAX_ITERATIONS,
    title: str | None = None,
    theme: str = "auto",
    height: int | None = None,
    fragment: bool = False,
    device: str = "numpy",
    signal: Mapping[str, Any] | None = None,
    layer: int = 1,
    scale: str = "full",
    pinned: Sequence[str] | None = None,
) -> str:
    """An experiment as one HTML file that asks nothing of any host.

    - `experiment`: what is shown (default: the scene's, or the page's own), opening at `depth`
      and `iterations`.
    - `scene`: one of the story's, by name: its state, title, text and question.  Other arguments
      take precedence over it; its words are left out where they would not be true.
    - `streams`: several numbers of streams to choose from; it opens with the experiment's own if
      that is among them, else with the first.
    - `plots`: of `mhc_demo.export.embed.PLOTS`; default "composite", "iterations".
    - `controls`: which sliders there are, of "iterations" and "depth"; default both, or the
      scene's.
    - `max_depth`, `max_iterations`: where they end.  Less makes a smaller file.
    - `title`: heading; "" for none.
    - `theme`: "light", "dark", or "auto", which follows the reader's system.
    - `height`: pixels of the whole, for a frame that cannot follow; default as high as it needs.
    - `fragment`: not a page but a part of one, which loads BokehJS by itself.
    - `device`: what computes it, of `mhc_demo.DEVICES`.
    - `signal`: of the plot "signal" what `enters` (a name of `numerics.signal.ENTERING`), its
      `direction`, whether layers `writes`, and the `zoom`, the layers seen at once.
    - `layer`: that whose matrix the plot "sinkhorn" shows at work, and "compare" under each
      projection.
    - `scale`: which gains the axes show at first: "full", all of them, or "near", those near 1.
    - `pinned`: the projections that the plot "compare" draws in colour at first, at most six, each
      in its place, "-" a free one; default those that the page does.

    >>> html = export_html(Experiment(streams=4, seed=42, members=32), depth=64, iterations=1)
    >>> html.startswith("<!DOCTYPE html>")
    True

    Raises ValueError or TypeError that names the argument for what cannot be shown.
    """
    request = checked(
        experiment,
        scene=scene,
        depth=depth,
        iterations=iterations,
        streams=streams,
        plots=plots,
        controls=controls,
        max_depth=max_depth,
        max_iterations=max_iterations,
        title=title,
        theme=theme,
        height=height,
        fragment=fragment,
        device=device,
        signal=signal,
        layer=layer,
        scale=scale,
        pinned=pinned,
    )
    return html(request)

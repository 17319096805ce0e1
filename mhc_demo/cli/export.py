"""`mhc-demo export`: the page's plots as one HTML file."""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .ending import tell
from .options import (
    Run,
    add_option,
    check_together,
    failed,
    number,
    one_of,
    several,
    state_parameters,
    with_those_of_inits,
)

SHOWN = (
    "iterations",
    "depth",
    "seed",
    "spread",
    "init",
    "projection",
    "members",
    "definition",
    "device",
    "layer",
    "view",
    "enters",
    "direction",
    "writes",
    "zoom",
    "scale",
    "pinned",
    "scene",
)
"""The parameters of the page's link that a file can show, except streams, of which several may be
given, and those of single inits."""


def export(parser: argparse.ArgumentParser) -> Run:
    """Write what the page shows as one HTML file that needs no server and no network.

    Its sliders for depth and iterations work as on the page.  It opens from a disk, and in a frame
    of a blog post, to which it tells its height (a message of type "mhc-height") unless --height
    sets it.
    """
    from ..export.embed import HEIGHTS, PLOTS, THEMES, plots_of
    from ..figures.slices import SLIDERS
    from ..story.scenes import WAYS

    declared = state_parameters()
    parser.add_argument("file", metavar="FILE.html", type=Path, help="what to write; - is stdout")
    parser.add_argument(
        "--story",
        type=one_of(list(WAYS.values())),
        metavar="WAY",
        help=f"the story, scene by scene, with its presenter's view, in place of a view: one of "
        f"{', '.join(WAYS.values())}. Of the other options it takes --title, --theme and --device",
    )
    look = parser.add_argument_group("the file")
    look.add_argument(
        "--plots",
        type=several(one_of(list(PLOTS))),
        metavar="NAME,...",
        help=f"of {', '.join(PLOTS)} (default: those of the view)",
    )
    look.add_argument(
        "--controls",
        type=several(one_of([*SLIDERS, "none"])),
        metavar="NAME,...",
        help=f"of {', '.join(SLIDERS)}, or none (default: both, or the scene's)",
    )
    for name in SLIDERS:
        start, end = SLIDERS[name].start, SLIDERS[name].end
        look.add_argument(
            f"--max-{name}",
            type=number(int, start, end),
            default=end,
            metavar="N",
            help=f"where {name} ends; less makes a smaller file. {start} to {end} "
            "(default: %(default)s)",
        )
    look.add_argument("--title", metavar="TEXT", help="its heading; '' for none")
    look.add_argument(
        "--theme",
        type=one_of(THEMES),
        default=THEMES[0],
        metavar="NAME",
        help=f"One of {', '.join(THEMES)}; auto is the reader's own (default: %(default)s)",
    )
    low, high = HEIGHTS
    look.add_argument(
        "--height",
        type=number(int, low, high),
        metavar="PX",
        help=f"height of the whole, {low} to {high} (default: as high as it needs)",
    )
    look.add_argument(
        "--fragment",
        action="store_true",
        help="write a part of a page, which loads BokehJS (bokeh.min.js) itself",
    )
    shown = parser.add_argument_group("what it shows")
    streams = declared["streams"]
    shown.add_argument(
        "--streams",
        type=several(number(int, *streams.bounds)),
        metavar="N,...",
        help=f"{streams.label}. {streams.doc} Several, to choose from: 2,4,8,16. "
        f"{streams.bounds[0]} to {streams.bounds[1]} (default: {streams.default})",
    )
    names = with_those_of_inits(SHOWN)
    for name in names:
        add_option(shown, name, declared[name])

    def run(options: argparse.Namespace) -> int:
        given = {name: getattr(options, name) for name in names}
        state = {name: value for name, value in given.items() if value is not None}
        if options.story:
            return _write(options, _story(parser, options))
        for n in options.streams or [streams.default]:
            check_together(parser, {**_with_scene(state), "streams": n}, alone=True)
        view = _with_scene(state).get("view")
        if view and options.plots is None:
            try:
                options.plots = plots_of(view)
            except ValueError as error:
                parser.error(f"argument --{'view' if 'view' in state else 'scene'}: {error}")
        try:
            text = _html(options, state)
        except ValueError as error:
            parser.error(str(error))
        return _write(options, text)

    return run


def _story(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """The file of the story; an option that it would not heed is an error."""
    from ..export.story import export_story

    taken = {"file", "story", "title", "theme", "device"}
    others = {
        name: value
        for name, value in vars(options).items()
        if name not in taken and value != parser.get_default(name)
    }
    if others:
        parser.error(f"argument --{next(iter(others)).replace('_', '-')}: not with --story")
    given = {name: getattr(options, name) for name in ("title", "device")}
    return export_story(
        options.story,
        theme=options.theme,
        **{name: value for name, value in given.items() if value is not None},
    )


def _with_scene(state: dict[str, Any]) -> dict[str, Any]:
    """The given values, with those of the scene below them."""
    if not state.get("scene"):
        return state
    from ..story.scenes import SCENES

    return {**SCENES[state["scene"]].state, **state}


def _html(options: argparse.Namespace, state: dict[str, Any]) -> str:
    from ..export.embed import export_html
    from ..figures.signal import USUAL
    from ..numerics.surface import Experiment

    values = _with_scene(state)
    streams: Sequence[int] = options.streams or ()
    experiment = Experiment(**{name: values[name] for name in Experiment.param if name in values})
    controls = options.controls
    if controls is not None and "none" in controls:
        controls = []
    return export_html(
        experiment,
        scene=state.get("scene"),
        depth=state.get("depth"),
        iterations=state.get("iterations"),
        streams=streams,
        plots=options.plots,
        controls=controls,
        max_depth=options.max_depth,
        max_iterations=options.max_iterations,
        title=options.title,
        theme=options.theme,
        height=options.height,
        fragment=options.fragment,
        device=values.get("device", "numpy"),
        signal={name: values[name] for name in USUAL if name in values},
        layer=values.get("layer", 1),
        scale=values.get("scale", "full"),
        pinned=values.get("pinned"),
    )


def _write(options: argparse.Namespace, text: str) -> int:
    if str(options.file) == "-":
        tell(text.encode())
        return 0
    from ..numerics.replacing import replacing

    try:
        with replacing(options.file) as part:
            part.write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        return failed(options.file, error)
    size = len(gzip.compress(text.encode()))
    tell(f"{options.file}: {size / 1000:.0f} kB as it travels (gzip)")
    return 0

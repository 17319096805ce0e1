"""`mhc-demo plot`: figures in the paper's style as pictures for slides."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .options import Run, add_experiment, add_output, bar, failed, number, one_of

FORMATS = (".png", ".svg", ".html")


def plot(parser: argparse.ArgumentParser) -> Run:
    """Draw a figure in the paper's style to a file, for a slide.

    For PNG and SVG it needs a browser (Chromium, Chrome or Edge), which runs without a window; HTML
    needs none, and shows its values on hover.
    """
    from ..export.slides import SLIDES
    from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS

    parser.add_argument(
        "figure",
        type=one_of(list(SLIDES)),
        metavar="FIGURE",
        help="; ".join(f"{name}: {each.summary}" for name, each in SLIDES.items()),
    )
    add_output(parser, FORMATS)
    for name, low, high, what in (
        ("depth", 1, MAX_DEPTH, "Layers"),
        ("iterations", 0, MAX_ITERATIONS, "Iterations of the projection; 0 is HC itself"),
    ):
        defaults = ", ".join(f"{getattr(each, name)} for {n}" for n, each in SLIDES.items())
        parser.add_argument(
            f"--{name}",
            type=number(int, low, high),
            metavar="N",
            help=f"{what}. {low} to {high} (default: {defaults})",
        )
    parser.add_argument(
        "--theme",
        type=one_of(("light", "dark")),
        default="light",
        metavar="NAME",
        help="light or dark (default: %(default)s)",
    )
    for name, pixels in (("width", 1920), ("height", 1080)):
        parser.add_argument(
            f"--{name}",
            type=number(int, 320, 7680),
            default=pixels,
            metavar="PIXELS",
            help="Of a PNG; the other formats have its proportions (default: %(default)s)",
        )
    parser.add_argument(
        "--browser",
        metavar="PROGRAM",
        help="The browser that draws (default: MHC_BROWSER in the environment, else the first of "
        "Chromium, Chrome and Edge that is found)",
    )
    experiment_of = add_experiment(parser)

    def run(options: argparse.Namespace) -> int:
        from ..export.pictures import NoPictureError

        experiment = experiment_of(options)
        try:
            return _draw(options, experiment)
        except (OSError, ValueError, NoPictureError) as error:
            return failed(options.output, error)

    return run


def _draw(options: argparse.Namespace, experiment: Any) -> int:
    from pathlib import Path

    from ..export.pictures import draw, find_browser, html
    from ..export.slides import HEIGHT, SLIDES, WIDTH, SlideRequest, background, laid_out, theme
    from ..numerics.replacing import replacing

    slide, dark = SLIDES[options.figure], options.theme == "dark"
    suffix = Path(options.output).suffix.lower()
    browser = None if suffix == ".html" else find_browser(options.browser)
    position = {
        name: getattr(slide if getattr(options, name) is None else options, name)
        for name in ("depth", "iterations")
    }
    scale = min(options.width / WIDTH, options.height / HEIGHT)
    with replacing(options.output) as part:
        with bar(slide.passes * experiment.members) as progress:
            picture = slide.draw(
                SlideRequest(
                    experiment,
                    **position,
                    device=options.device,
                    progress=progress.update,
                    dark=dark,
                )
            )
        layout = laid_out(
            picture, round(options.width / scale), round(options.height / scale), dark
        )
        look = (picture.title, theme(dark), background(dark))
        if browser is None:
            part.write_text(html(layout, *look), "utf-8")
        else:
            if sys.stderr.isatty():
                print(f"{browser} draws ...", file=sys.stderr)
            pixels = scale if suffix == ".png" else 1.0
            part.write_bytes(draw(layout, *look, suffix=suffix, scale=pixels, browser=browser))
    return 0

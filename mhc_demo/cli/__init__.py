"""The command line, `mhc-demo`: one module for each subcommand.

To add a subcommand, write a module with a function of its name, which adds its options to a parser
and returns the function to run, and list it in `COMMANDS`.  NumPy, Panel and the like are imported
only inside functions, so that `mhc-demo --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .check_hall import check_hall
from .cost import cost
from .doctor import doctor
from .ending import as_process, stopped, tell
from .export import export
from .inspect import inspect
from .options import Run, from_environment, import_modules
from .plot import plot
from .runs import runs
from .serve import serve
from .site import site
from .surface import surface
from .sweep import sweep
from .train import train

COMMANDS: dict[str, Callable[[argparse.ArgumentParser], Run]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        *(serve, export, site, plot, surface, inspect, doctor),
        *(train, sweep, runs, cost, check_hall),
    )
}
"""Every subcommand by its name; the first line of its docstring is the summary in the help."""

OPEN = ("train", "sweep", "runs")
"""Subcommands whose choices include what other packages and modules register."""

DESCRIPTION = """\
Why hyper-connections explode and manifold-constrained ones (mHC) do not: an
interactive page that measures how much a deep stack of mixing matrices
amplifies a signal, and what a few Sinkhorn-Knopp iterations do about it.
"""

EXAMPLES = """\
examples:
  mhc-demo serve --show
      open the page in a browser
  mhc-demo serve --depth 64 --iterations 0 --streams 8
      serve it, and print the link that opens with this experiment
  mhc-demo serve --address 0.0.0.0 --allow-websocket-origin demo.example.org
      serve it to others, behind a proxy of that name
  mhc-demo export gains.html --streams 2,4,8,16
      write it as one HTML file for a blog post, which needs no server
  mhc-demo site public --base-url https://example.org/mhc/
      write the story and every view as a folder for any static host
  mhc-demo surface --streams 8 --members 256 -o gains.parquet
      write the gains that the page looks up; also .csv, .nc, .json
  mhc-demo plot fig3 --theme dark -o fig3.png
      draw a figure for a slide; also .svg, .html
  mhc-demo inspect mappings.npz -o report.html
      say whether your model explodes, mixes, or does neither
  mhc-demo doctor mine:model
      look for the known mistakes in a PyTorch model, which mine.py returns
  mhc-demo train --preset explodes
      train three networks, and keep how loss, gradients and gains went
  mhc-demo sweep --preset fails --seed 0:16 --connection residual,hc,mhc -o runs
      train each with 16 seeds, on all cores; the same line goes on after Ctrl-C
  mhc-demo runs runs -o runs.parquet
      print how often each learned, with medians and ranges; also .csv
  mhc-demo cost --model 27B --pipeline-ranks 8 --gpu h800
      say what mHC would cost a training run: bytes moved, stored and sent; --json
  mhc-demo check-hall --visitors 300 --play 60
      open the page 300 times, and see what the server makes of it
  mhc-demo serve --help
      every option, its range and its default

Every option that takes a value can be set in the environment too, as a container
is: MHC_DEMO_SERVE_PORT=8080 is serve's --port 8080.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: `sys.argv[1:]`) and return its exit code.

    Options in the environment (`from_environment`) are put before it, so that it overrides them.

    0: done.  1: failed.  2: the options were wrong.  128 plus a signal's number, by the shells'
    convention: stopped by that signal (130: Ctrl-C, 143: SIGTERM).  141: the reader of standard
    output has closed it.

    Without `argv` the process is for this command alone (`as_process`).  With it, signals are left
    to the caller, and some exit codes are raised as SystemExit.
    """
    if argv is None:
        _have_a_home()
        return as_process(lambda: _run(sys.argv[1:]))
    try:
        return _run(list(argv))
    except KeyboardInterrupt as stop:
        return stopped(stop)


def _have_a_home() -> None:
    """Set HOME if there is none, as in some containers: Bokeh needs it when it is imported."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        arguments[1:1] = from_environment(arguments[0])
    options = parser_for(arguments).parse_args(arguments)
    return options.run(options)


def parser_for(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the options of the subcommand in `arguments` alone."""
    parser = argparse.ArgumentParser(
        prog="mhc-demo",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, build in COMMANDS.items():
        summary, _, rest = (build.__doc__ or "").partition("\n")
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary} {' '.join(rest.split())}",
            allow_abbrev=False,
        )
        if name in arguments[:1]:
            if name in OPEN:
                import_modules(arguments)
            subparser.set_defaults(run=build(subparser))
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ..version import version

        tell(f"mhc-demo {version()}")
        parser.exit()

"""`mhc-demo surface`: the gains of an experiment as a file that other programs read."""

from __future__ import annotations

import argparse
from typing import Any

from .options import Run, add_experiment, add_output, bar, failed, flag, number, one_of


def surface(parser: argparse.ArgumentParser) -> Run:
    """Write the gains of an experiment to a file, with labels.

    log10 of the composite Amax gain at every count of iterations (0 is HC, unprojected) and every
    depth, forward and backward: of one network, and quantiles over the ensemble.
    """
    from ..export.files import FORMATS
    from ..numerics.gains import DIRECTIONS
    from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS, SERIES

    add_output(parser, list(FORMATS))
    experiment_of = add_experiment(parser)
    extent = parser.add_argument_group("what is written")
    for name, low, high in (("depth", 1, MAX_DEPTH), ("iterations", 0, MAX_ITERATIONS)):
        extent.add_argument(
            flag(name),
            type=number(int, low, high),
            default=high,
            metavar="N",
            help=f"Up to this. {low} to {high} (default: %(default)s)",
        )
    axes = {"direction": DIRECTIONS, "series": SERIES}
    for name, choices in axes.items():
        extent.add_argument(
            flag(name),
            type=one_of(choices),
            nargs="+",
            default=choices,
            metavar="NAME",
            help=f"Only these of {', '.join(choices)}",
        )

    def run(options: argparse.Namespace) -> int:
        experiment = experiment_of(options)
        kept = {name: [x for x in axes[name] if x in getattr(options, name)] for name in axes}
        try:
            return _write(options, experiment, kept)
        except (OSError, ImportError, ValueError) as error:
            return failed(options.output, error)

    return run


def _write(options: argparse.Namespace, experiment: Any, kept: dict[str, list[str]]) -> int:
    from ..export.files import format_of
    from ..numerics.replacing import replacing
    from ..numerics.surface import gain_surface
    from ..version import version

    chosen = format_of(options.output)
    with replacing(options.output) as part, bar(experiment.members) as progress:
        dataset = gain_surface(
            experiment,
            depth=options.depth,
            iterations=options.iterations,
            device=options.device,
            progress=progress.update,
        ).sel(kept)
        del (
            dataset.attrs["projected"],
            dataset.attrs["projection_seconds"],
        )  # not the same twice
        dataset.attrs["version"] = f"mhc-demo {version()}"
        chosen.write(dataset, part)
    return 0

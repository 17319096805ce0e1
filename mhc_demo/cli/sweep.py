"""`mhc-demo sweep`: many runs of the lab, each with its record, on all cores; it can be resumed."""

from __future__ import annotations

import argparse
import math
import sys
from itertools import product
from typing import TYPE_CHECKING, Any

from .ending import complain, tell
from .options import Run, add_module, add_several, failed, number, one_of, several

if TYPE_CHECKING:
    from ..lab import Progress, Settings


def sweep(parser: argparse.ArgumentParser) -> Run:
    """Train many small networks, all combinations of the values given, and record each.

    Options take several values, as in --seed 0:16 --depth 16,64 --connection hc,mhc.  Each run
    writes one file of JSON lines to the folder, named after its settings.  The same command goes on
    with a sweep that was interrupted: runs that have ended are not run again.
    """
    from ..lab import ABLATION, COMPARED, PRESETS, Settings
    from ..lab.settings import SETTINGS

    groups = {"connection": {"compared": COMPARED, "ablation": ABLATION}}
    parser.add_argument(
        "-o",
        "--output",
        default="runs",
        metavar="FOLDER",
        help="the folder of the records, made if it is not there (default: %(default)s)",
    )
    add_module(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--processes",
        type=number(int, 1, 1024),
        metavar="N",
        help="How many runs at a time, one thread each (default: one for each core)",
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Train on the Dask cluster at this address, as tcp://10.0.0.1:8786, instead of on "
        "local processes; its workers should have one thread each",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=number(int, 1, None),
        metavar="N",
        help="Keep a checkpoint of every run after each N steps until it ends, from which a half "
        "run goes on (default: none, and a half run is run again). Not on a cluster",
    )
    parser.add_argument(
        "--preset",
        type=several(one_of(list(PRESETS))),
        default=[None],
        metavar="NAME,NAME",
        help="Settings to start from, overridden by those given. Any of " + ", ".join(PRESETS),
    )
    group = parser.add_argument_group("settings, of which every combination is run")
    for name in SETTINGS:
        add_several(group, name, Settings.param[name], groups.get(name))

    def run(options: argparse.Namespace) -> int:
        if options.checkpoint_every and options.scheduler:
            parser.error("argument --checkpoint-every: not allowed with argument --scheduler")
        given = {name: getattr(options, name) for name in SETTINGS}
        runs = _combinations(options.preset, {n: v for n, v in given.items() if v is not None})
        try:
            for each in runs:
                each.check()
        except (ValueError, ImportError) as error:
            parser.error(str(error))
        return _sweep(options, runs)

    return run


def _combinations(presets: list[str | None], given: dict[str, list[Any]]) -> list[Settings]:
    """The grid of every preset; seeds vary slowest over all of them."""
    from ..lab import PRESETS, Settings

    names = sorted(given, key=lambda name: name != "seed")
    seeds = given.get("seed", [Settings.param.seed.default])
    others = [name for name in names if name != "seed"]
    return [
        Settings(
            **{
                **(PRESETS[preset].values if preset else {}),
                **dict(zip(others, values, strict=True)),
                "seed": seed,
            }
        )
        for seed in seeds
        for preset in presets
        for values in product(*(given[name] for name in others))
    ]


def _sweep(options: argparse.Namespace, runs: list[Settings]) -> int:
    from tqdm import tqdm

    from ..lab import sweep as sweeping

    bar = tqdm(
        total=1.0,
        bar_format="{desc} {percentage:3.1f}% |{bar}| {elapsed}{postfix}",
        disable=None,
        leave=False,
        file=sys.stderr,
    )

    def show(state: Progress) -> None:
        bar.set_description_str(f"{state.ended} of {state.runs} runs", refresh=False)
        bar.set_postfix_str(f"{_left(state)} left", refresh=False)
        bar.update(state.share - bar.n)
        if state.latest is not None:
            with bar.external_write_mode(file=sys.stdout):
                tell(_line(state))

    with bar:
        try:
            paths = sweeping(
                options.output,
                runs,
                processes=options.processes,
                scheduler=options.scheduler,
                checkpoint_every=options.checkpoint_every,
                progress=show,
            )
        except OSError as error:
            return failed(options.output, error)
        except (RuntimeError, ImportError) as error:
            complain(str(error))
            return 1
    tell(f"{len(paths)} runs have ended: {options.output}")
    return 0


def _left(state: Progress) -> str:
    from tqdm import tqdm

    left = state.seconds_left
    return tqdm.format_interval(left) if math.isfinite(left) else "?"


def _line(state: Progress) -> str:
    from ..lab import TASKS
    from ..numerics.numbers import in_text

    assert state.latest is not None
    assert state.latest.summary is not None
    assert state.path is not None
    end, score = state.latest.summary, TASKS[state.latest.settings.task].score
    reached = f"{score} {end.score:.4g}, " if math.isfinite(end.score) else ""
    return (
        f"{state.ended}/{state.runs}, {_left(state)} left: {state.path.stem}: {end.outcome}, "
        f"{reached}loss {end.loss:.4g}, largest gain {in_text(end.largest_gain)}"
    )

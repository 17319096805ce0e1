"""`mhc-demo train`: the lab's runs, each recorded in a file that survives an interruption."""

from __future__ import annotations

import argparse
import math
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from .ending import complain, tell
from .options import Run, add_module, add_option, failed, number, one_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..lab import Settings, Step, Summary


def train(parser: argparse.ArgumentParser) -> Run:
    """Train small networks that differ in their residual connection alone, and record every step.

    Each run writes a file of JSON lines, one for every step: with -o run.jsonl and the connections
    residual,hc,mhc they are run-residual.jsonl, run-hc.jsonl and run-mhc.jsonl.  An interrupted run
    leaves the steps up to there.  With --checkpoint the same command goes on from the last
    checkpoint, and its record is the same as if nothing had happened.
    """
    import param

    from ..lab import COMPARED, CONNECTIONS, PRESETS, CheckpointError, Settings
    from ..lab import train as training
    from ..lab.checkpoints import EVERY
    from ..lab.settings import SETTINGS
    from ..lab.worker import few_threads

    parser.add_argument(
        "-o",
        "--output",
        type=_file,
        default="run.jsonl",
        metavar="FILE",
        help="what the files' names are made from; existing ones are replaced "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoint",
        type=_file,
        metavar="FILE",
        help="what the names of the checkpoints are made from: with run.pt they are run-hc.pt and "
        "the like. A run whose checkpoint is there goes on from it (default: there is none)",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=number(int, 1, None),
        metavar="N",
        help=f"Steps between two checkpoints (default: {EVERY})",
    )
    add_module(parser)
    shown = "; ".join(f"{name}: {preset.title}" for name, preset in PRESETS.items())
    parser.add_argument(
        "--preset",
        type=one_of(list(PRESETS)),
        metavar="NAME",
        help="Settings that show something; options given beside it override them. "
        + shown.replace("%", "%%"),
    )
    connections = param.ListSelector(
        default=list(COMPARED),
        objects=list(CONNECTIONS),
        label="Connections",
        doc="The residual connections, one run each, one after the other.",
    )
    add_option(parser, "connections", connections)
    group = parser.add_argument_group("settings of every run")
    names = [name for name in SETTINGS if name != "connection"]
    for name in names:
        add_option(group, name, Settings.param[name])

    def run(options: argparse.Namespace) -> int:
        values = dict(PRESETS[options.preset].values) if options.preset else {}
        given = {name: getattr(options, name) for name in names}
        values |= {name: value for name, value in given.items() if value is not None}
        chosen = options.connections or connections.default
        runs = [Settings(connection=connection, **values) for connection in chosen]
        try:
            for settings in runs:
                settings.check()
        except (ValueError, ImportError) as error:
            parser.error(str(error))
        if options.checkpoint_every and not options.checkpoint:
            parser.error("argument --checkpoint-every: --checkpoint must say where")
        every = options.checkpoint_every or EVERY
        with few_threads(runs):
            for settings in runs:
                path = _named(options.output, settings)
                checkpoint = options.checkpoint and _named(options.checkpoint, settings)
                try:
                    records = training(settings, checkpoint=checkpoint, checkpoint_every=every)
                except (OSError, ValueError) as error:
                    complain(str(error))
                    return 1
                try:
                    summary = _recorded(records, settings, path)
                except CheckpointError as error:
                    complain(str(error))
                    return 1
                except (OSError, ValueError) as error:
                    return failed(path, error)
                tell(_summary(settings, summary, path))
        return 0

    return run


def _file(text: str) -> str:
    if Path(text).name in ("", "..") or text.endswith(("/", os.sep)):
        raise argparse.ArgumentTypeError(f"{text!r} names no file")
    return text


def _named(file: str, settings: Settings) -> Path:
    """The file of one run, whose name has its connection."""
    path = Path(file)
    return path.with_stem(f"{path.stem}-{settings.connection}")


def _recorded(
    records: Generator[Step | Summary, None, None], settings: Settings, path: Path
) -> Summary:
    """Train, with a record in the file `path`, and progress on a terminal."""
    from tqdm import tqdm

    from ..lab import CONNECTIONS, Summary, recorded
    from ..numerics.numbers import in_text

    progress = tqdm(
        total=settings.steps,
        desc=f"{CONNECTIONS[settings.connection]:<8}",
        unit=" steps",
        disable=None,
        leave=False,
        file=sys.stderr,
    )
    with closing(recorded(records, settings, path)) as all_recorded, progress:
        for record in all_recorded:
            if isinstance(record, Summary):
                return record
            gain = in_text(max(record.gain.values()))
            progress.set_postfix_str(f"loss {record.loss:.3f}, gain {gain}", refresh=False)
            progress.update()
    raise AssertionError("a run ends with its summary")


def _summary(settings: Settings, summary: Summary, path: Path) -> str:
    from ..lab import CONNECTIONS, TASKS
    from ..numerics.numbers import in_text

    score = f"{TASKS[settings.task].score} {summary.score:.4g}, "
    if math.isnan(summary.score):  # it did not finish
        score = ""
    routed = ""
    if not math.isnan(summary.load_violation):
        routed = (
            f"load violation {summary.load_violation:.2f}, "
            f"routing entropy {summary.routing_entropy:.2f} bits, "
        )
    return (
        f"{CONNECTIONS[settings.connection]}: {summary.outcome} after {summary.steps} steps, "
        f"loss {summary.loss:.4g}, {score}largest gain {in_text(summary.largest_gain)}, "
        f"largest gradient norm {summary.largest_gradient_norm:.3g}, {routed}"
        f"{summary.parameters:,} parameters, {1e3 * summary.seconds_per_step:.1f} ms a step: {path}"
    )

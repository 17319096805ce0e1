"""`mhc-demo runs`: what many runs came to, as rates and ranges over their seeds."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .ending import complain, tell
from .options import Run, add_module, failed, plain

if TYPE_CHECKING:
    import pandas as pd


def runs(parser: argparse.ArgumentParser) -> Run:
    """Print what many runs came to: for each combination of settings the median and range.

    Rates have Wilson's interval at 95 %.  A network has learned that got a fifth of the way from
    guessing to perfect: for the digits that is an accuracy of 0.28.  A folder of records is read,
    with the folders in it, or a Parquet file that -o has written.
    """
    parser.add_argument("source", nargs="+", metavar="FOLDER", help="folders, records, .parquet")
    add_module(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=_table,
        metavar="FILE",
        help="Write the table too, a row for each run: .parquet or .csv",
    )
    parser.add_argument(
        "--curves",
        action="store_true",
        help="Into a .parquet file also loss, gradient norm, mixing and gain after every step",
    )

    def run(options: argparse.Namespace) -> int:
        from ..lab import over_seeds, write_runs
        from ..lab import runs as table_of

        try:
            frame = table_of(options.source, curves=options.curves)
        except (OSError, ValueError, ImportError) as error:
            complain(str(error))
            return 1
        for why in frame.attrs["refused"].values():
            complain(f"left out: {why}")
        for task, cells in over_seeds(frame).groupby(level="task", sort=False):
            tell(_printed(str(task), cells.droplevel("task")))
        if options.output:
            try:
                write_runs(frame, options.output)
            except (OSError, ValueError, ImportError) as error:
                return failed(options.output, error)
        return 0

    return run


def _table(text: str) -> str:
    if not text.endswith((".parquet", ".csv")):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .parquet or .csv")
    return text


def _printed(task: str, cells: pd.DataFrame) -> str:
    """A task's rows, under their headings."""
    from ..lab import TASKS

    score = TASKS[task].score
    rows = []
    for values, row in zip(cells.index, cells.to_dict("records"), strict=True):
        names = values if isinstance(values, tuple) else (values,)
        settings = dict(zip(cells.index.names, map(plain, names), strict=True))
        rows.append(settings | _measured(row, score))
    nothing = {"load violation": cells["load_violation"].isna().all()}
    nothing["routing entropy"] = nothing["load violation"]
    nothing["diverged"] = not cells["diverged"].any()
    rows = [{name: text for name, text in row.items() if not nothing.get(name)} for row in rows]
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([f"{TASKS[task].title}: median (smallest–largest)", *texts])


def _measured(row: dict[str, Any], score: str) -> dict[str, str]:
    from ..numerics.numbers import in_text

    learned = f"{row['learned']} of {row['ended']}"
    share = f" ({100 * row['share_low']:.0f}–{100 * row['share_high']:.0f} %)"
    return {
        "runs": str(row["runs"]),
        "diverged": str(row["diverged"]),
        "learned": learned + (share if row["ended"] else ""),
        score: _range(row, "score", "{:.3f}".format),
        "loss": _range(row, "loss", _number),
        "largest gain": _range(row, "largest_gain", in_text),
        "gradient norm": _range(row, "largest_gradient_norm", _number),
        "load violation": _range(row, "load_violation", "{:.2f}".format),
        "routing entropy": _range(row, "routing_entropy", "{:.2f}".format),
        "parameters": f"{row['parameters']:,}" if row["parameters"] else "—",
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def _range(row: dict[str, Any], name: str, text: Callable[[float], str]) -> str:
    middle, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if math.isnan(middle):
        return "—"
    return f"{text(middle)} ({text(low)}–{text(high)})"

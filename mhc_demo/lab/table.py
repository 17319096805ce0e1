"""Many records as one table: a row for each run, rates and ranges over the seeds.

A folder of records is read by their first and last lines, so a table of hundreds is quick.  Records
may come from anybody: what is no record is left out, and named.  One Parquet file holds the table,
and is read back as the folder is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..numerics.gains import DIRECTIONS
from ..numerics.replacing import replacing
from .connections import CONNECTIONS
from .records import OUTCOMES, Record, read_ends, read_record
from .settings import SETTINGS, Settings
from .tasks import TASKS

LEARNED = 0.2
"""How far from guessing to perfect a network must get that has learned."""

ENDED = ("finished", "diverged")
"""The outcomes of runs that went as far as they can; the others say nothing about the network."""

MEASURED = ("score", "loss", "largest_gain", "largest_gradient_norm", "seconds_per_step")
"""The numbers of a run that differ from seed to seed, as in its `Summary`."""
ROUTED = ("load_violation", "routing_entropy")
"""Numbers of runs with experts, as in their `Summary`; NaN for others, and in older tables."""
CURVES = (
    *("losses", "gradient_norms", "mixing", *(f"gains_{each}" for each in DIRECTIONS)),
    *("load_violations", "routing_entropies"),
)
"""Columns of values after every step, if they are asked for; gains are log10, float32.  Only runs
with experts have the last two, each the mean over the layers with experts."""
MADE = ("started", "processor", "cores", "threads", "mhc-demo", "torch", "numpy", "python")
"""Columns that say when and on what a run was made; empty where a record does not say."""
COLUMNS = (
    *(*SETTINGS, "outcome", "done", *MEASURED, *ROUTED),
    *("parameters", "learned", "record", *MADE),
)


def learned(score: float, task: str) -> bool:
    """Whether a network with this final score has learned its task.

    It has if it got a fifth (`LEARNED`) of the way from guessing to perfect: for the ten digits
    from an accuracy of 0.28 on, for text from 3.75 bits per character down.  Guessing (`chance`)
    knows how frequent the classes are, and nothing else.  A run that diverged has no score (NaN),
    and has not learned.

    >>> learned(0.27, "digits"), learned(0.29, "digits"), learned(float("nan"), "digits")
    (False, True, False)
    """
    guessing = chance(task)
    if TASKS[task].score == "accuracy":
        return score - guessing >= LEARNED * (1.0 - guessing)
    return guessing - score >= LEARNED * guessing


@cache
def chance(task: str) -> float:
    """The score of guessing: as the task declares, or as the frequencies in its data say."""
    declared = TASKS[task].chance
    if declared is not None:
        return declared
    shares = np.bincount(TASKS[task].data(0).validation.targets.ravel())
    shares = shares[shares > 0] / shares.sum()
    if TASKS[task].score == "accuracy":
        return float(shares.max())
    return float(-(shares * np.log2(shares)).sum())


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The interval for a share of which `successes` in `trials` were seen (Wilson, 1927).

    Unlike the usual one it is sensible for few trials and for shares of 0 and 1.

    >>> tuple(round(end, 2) for end in wilson(14, 16))
    (0.64, 0.97)
    """
    if trials == 0:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf(0.5 + level / 2), successes / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1.0 - share) / trials + (z / (2 * trials)) ** 2)
    scale = 1.0 + z * z / trials
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def median_interval(
    values: NDArray[np.floating], level: float = 0.95
) -> tuple[float, float, float]:
    """An interval of the median, whatever the distribution: (low, high, its level).

    From the k-th smallest to the k-th largest value, with the largest k for which that interval
    contains the median in `level` of cases at least; of five values or fewer, at 95 %, from the
    smallest to the largest, whatever its level.  With 16 it is the fourth.

    >>> median_interval(np.arange(1.0, 17.0))[:2]
    (4.0, 13.0)
    """
    ordered = np.sort(values)
    count = len(ordered)
    best = (0, 1.0 - 2.0 * 0.5**count)
    for k in range(1, count // 2):
        inside = 1.0 - 2.0 * sum(math.comb(count, i) for i in range(k + 1)) * 0.5**count
        if inside < level:
            break
        best = (k, inside)
    k, inside = best
    return float(ordered[k]), float(ordered[count - 1 - k]), inside


def runs(source: str | Path | Iterable[str | Path], *, curves: bool = False) -> pd.DataFrame:
    """A row for each run: settings, how it ended, and what it was made with.

    `source` is a folder of records (with the folders in it), a record, a Parquet file that
    `write_runs` has written, or several of these.  `learned` says whether the network learned;
    `largest_gain` is log10.  `load_violation` and `routing_entropy` are NaN for networks without
    experts.  With `curves` there are also columns of loss, gradient norm, mixing and composite gain
    after each step, and of these two for networks with experts.

    >>> frame = runs("runs")  # doctest: +SKIP
    >>> frame.set_index(["connection", "seed"])["score"].to_xarray()  # doctest: +SKIP

    Files that are no records are left out; `frame.attrs["refused"]` says why, by path.  Raises
    OSError if there is no such file or folder, and ValueError if nothing in it is a record.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    rows: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    for path in (file for each in sources for file in _files(Path(each))):
        try:
            rows += _from_parquet(path) if path.suffix == ".parquet" else [_row(path, curves)]
        except ValueError as error:
            refused[str(path)] = str(error)
    if not rows:
        why = next(iter(refused.values()), "there is no .jsonl or .parquet file")
        raise ValueError(f"{', '.join(map(str, sources))} holds no record of the lab: {why}")
    frame = pd.DataFrame(rows)
    frame.attrs["refused"] = refused
    return frame[[name for name in (*COLUMNS, *CURVES) if name in frame]]


def write_runs(frame: pd.DataFrame, path: str | Path) -> None:
    """Write what `runs` returns to a .parquet or .csv file, whole or not at all.

    `runs` reads the Parquet file back.  A CSV file has no place for curves.  Raises ValueError for
    another suffix, ModuleNotFoundError if Parquet needs a missing package, and OSError.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".csv"):
        raise ValueError(f"path must end in .parquet or .csv, not {str(path)!r}")
    frame = frame.copy()
    frame.attrs = {}
    if path.suffix == ".csv":
        frame = frame.drop(columns=[name for name in CURVES if name in frame])
    else:
        _pyarrow()
    with replacing(path) as part:
        if path.suffix == ".csv":
            frame.to_csv(part, index=False)
        else:
            # Numbers of a curve hardly ever recur, but their first bytes do: those of like place
            # one after the other are what it compresses well.
            curves = [name for name in CURVES if name in frame]
            frame.to_parquet(
                part,
                index=False,
                engine="pyarrow",
                compression="zstd",
                compression_level=9,
                use_dictionary=[name for name in frame if name not in curves],
                use_byte_stream_split=[f"{name}.list.element" for name in curves],
            )


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each combination of settings: rates and ranges over its seeds.

    The index has task, connection, and every other setting that differs within `frame`.  Columns:
    `runs`, of which `ended` count for all that follows; `diverged`; `learned`, how many, and its
    share with Wilson's interval at 95 % (`share`, `share_low`, `share_high`); for each number of
    `MEASURED` and `ROUTED` its median and range, as `score`, `score_low` and `score_high`, over the
    runs that have it (a run that diverged has no score); `parameters`.
    """
    differ = [n for n in SETTINGS if n not in ("seed", "task") and frame[n].nunique() > 1]
    by = list(dict.fromkeys(["task", "connection", *differ]))
    rows = []
    for values, cell in frame.groupby(by, sort=False):
        ended = cell[cell.outcome.isin(ENDED)]
        successes = int(ended.learned.sum())
        low, high = wilson(successes, len(ended))
        row = dict(zip(by, values, strict=True)) | {
            "runs": len(cell),
            "ended": len(ended),
            "diverged": int((ended.outcome == "diverged").sum()),
            "learned": successes,
            "share": successes / len(ended) if len(ended) else math.nan,
            "share_low": low,
            "share_high": high,
        }
        for name in (*MEASURED, *ROUTED):
            seen = ended[name]
            row |= {name: seen.median(), f"{name}_low": seen.min(), f"{name}_high": seen.max()}
        rows.append(row | {"parameters": int(cell.parameters.max())})
    names = list(CONNECTIONS)
    rows.sort(key=lambda row: [row[n] for n in differ if n != "connection"])
    rows.sort(key=lambda row: (row["task"], names.index(row["connection"])))
    return pd.DataFrame(rows).set_index(by)


# Reading


def _files(path: Path) -> Sequence[Path]:
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.suffix in (".jsonl", ".parquet"))
        return [each for each in found if each.is_file() and not each.name.startswith(".")]
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    return [path]


def _row(path: Path, curves: bool) -> dict[str, Any]:
    record = read_record(path) if curves else read_ends(path)
    made = record.machine | record.versions
    row = record.settings.values_by_name() | _ending(record)
    row |= {"record": path.name} | {name: made.get(name, "") for name in MADE}
    return row | (_curves(record) if curves else {})


def _ending(record: Record) -> dict[str, Any]:
    end = record.summary
    if end is None:
        nothing = dict.fromkeys((*MEASURED, *ROUTED), math.nan)
        return {"outcome": record.outcome, "done": 0, "parameters": 0, "learned": False} | nothing
    return {
        "outcome": end.outcome,
        "done": end.steps,
        **{name: getattr(end, name) for name in (*MEASURED, *ROUTED)},
        "parameters": end.parameters,
        "learned": end.outcome == "finished" and learned(end.score, record.settings.task),
    }


def _curves(record: Record) -> dict[str, Any]:
    steps = record.steps
    values: dict[str, Any] = {
        "losses": [each.loss for each in steps],
        "gradient_norms": [each.gradient_norm for each in steps],
        "mixing": [each.mean_mixing for each in steps],
    }
    values |= {f"gains_{d}": [each.gain[d] for each in steps] for d in DIRECTIONS}
    if any(each.expert_load for each in steps):
        values["load_violations"] = [each.load_violation for each in steps]
        values["routing_entropies"] = [each.mean_routing_entropy for each in steps]
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        return {name: np.array(each, dtype=np.float32) for name, each in values.items()}


def _from_parquet(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file; each must be what a record could say."""
    pyarrow = _pyarrow()
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} is no Parquet file that can be read: {error}") from None
    try:
        return [_checked(row) for row in rows]
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is no table of runs: {error}") from None


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    missing = [n for n in COLUMNS if n not in row and n not in (*SETTINGS, *ROUTED)]
    if missing:
        raise ValueError(f"there is no column {missing[0]!r}")
    settings = Settings(**{name: row[name] for name in SETTINGS if name in row})
    settings.check_values()
    if row["outcome"] not in (*OUTCOMES, "interrupted"):
        raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}, not {row['outcome']!r}")
    values = settings.values_by_name() | {"outcome": row["outcome"]}
    found = {name: row.get(name) for name in (*MEASURED, *ROUTED)}
    values |= {name: math.nan if each is None else float(each) for name, each in found.items()}
    values |= {name: int(row[name]) for name in ("done", "parameters")}
    finished = row["outcome"] == "finished"
    values["learned"] = finished and learned(values["score"], settings.task)
    values |= {name: str(row[name]) for name in ("record", *MADE)}
    curves = {name: row[name] for name in CURVES if row.get(name) is not None}
    return values | {name: np.array(each, dtype=np.float32) for name, each in curves.items()}


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ModuleNotFoundError("Parquet needs pyarrow: pip install pyarrow") from None
    return pyarrow

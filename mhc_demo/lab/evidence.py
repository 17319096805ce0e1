"""The runs that ship with the package: the lab's claims rest on them, and the page replays them.

One run is an anecdote, so there are sixteen seeds of every preset, and of every connection of the
ablation.  Each preset has one file, which NumPy alone can read, so that they are shown where
PyTorch is missing too.  Two seeds of each are kept in full, to be replayed: the most typical one,
and the one that is most unlike the others.

`data/runs.parquet` has them all as one table (`mhc-demo runs FOLDER --curves -o runs.parquet`).  It
becomes the presets' files by `python -m mhc_demo.lab.evidence mhc_demo/lab/data/runs.parquet`,
which trains the replayed seeds once more for their matrices, and compares every loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..numerics.gains import DIRECTIONS
from ..numerics.numbers import in_label
from .connections import ABLATION, COMPARED, CONNECTIONS, KINDS
from .records import Step
from .settings import PRESETS, Settings
from .sweeping import record_name
from .table import ENDED, chance, learned, wilson

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating]

SEEDS = 16
FRAME = 5
"""Steps from one recorded matrix to the next."""
CURVES = ("loss", "gradient_norm", "gain", "mixing")
"""What is kept of every step of every run; "gain" is log10 of the composite's larger one."""
TOTALS = ("score", "largest_gain", "largest_gradient_norm", "parameters")
"""What is kept of every run's summary."""


@dataclass(frozen=True)
class Replay:
    """One seed in full; C connections that mix, T steps, L layers."""

    seed: int
    why: str
    """"typical" or "odd"."""
    gains: Floats
    """log10 of the composite gains against the layer, (C, T, 2, L)."""
    steps: NDArray[np.integer]
    """The steps after which H_res is known, (F,)."""
    h_res: Floats
    """(C, F, L, n, n), averaged over the tokens."""


@dataclass(frozen=True)
class Runs:
    """All recorded runs of a preset: C connections, S seeds, T steps."""

    connections: tuple[str, ...]
    seeds: tuple[int, ...]
    curves: Mapping[str, Floats]
    """By the names in `CURVES`, each (C, S, T); NaN after the last step of a run that diverged."""
    totals: Mapping[str, Floats]
    """By the names in `TOTALS`, each (C, S)."""
    task: str
    chance: float
    """The accuracy of guessing."""
    replays: tuple[Replay, ...] = ()
    made: str = ""
    """With which versions, on which machine and when."""

    def total(self, name: str, connection: str) -> Floats:
        """A number of every run of a connection, (S,)."""
        return self.totals[name][self.connections.index(connection)]

    def learned(self, connection: str) -> int:
        """How many runs of a connection learned their task (`table.learned`)."""
        scores = self.total("score", connection)
        return sum(bool(learned(score, self.task)) for score in scores)

    def seed_index(self, seed: int) -> int:
        """Where a seed stands along the second axis."""
        return self.seeds.index(seed)


@cache
def recorded_runs(preset: str) -> Runs:
    """The runs of a preset, or of "ablation": eight connections with the settings of "fails".

    Raises KeyError if none were recorded.
    """
    path = _path(preset)
    if not path.is_file():
        raise KeyError(preset)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        found = {name: kept[name] for name in kept.files}
    replays = tuple(
        Replay(
            int(seed),
            why,
            found["replay_gains"][i].astype(np.float32),
            found["replay_steps"],
            found["replay_h_res"][i].astype(np.float32),
        )
        for i, (seed, why) in enumerate(zip(found.get("replay_seeds", ()), WHY, strict=False))
    )
    return Runs(
        tuple(map(str, found["connections"])),
        tuple(map(int, found["seeds"])),
        {name: found[name].astype(np.float32) for name in CURVES},
        {name: found[name] for name in TOTALS},
        str(found["task"]),
        float(found["chance"]),
        replays,
        str(found["made"]),
    )


def table(*, curves: bool = False) -> pd.DataFrame:
    """All recorded runs, a row for each, as `lab.runs` returns them; pyarrow reads them.

    A run that several presets share is there once.
    """
    from .table import runs

    return runs(str(files(__package__).joinpath("data/runs.parquet")), curves=curves)


def has_runs(preset: str) -> bool:
    """Whether runs of a preset were recorded."""
    return _path(preset).is_file()


def told(preset: str) -> str:
    """The note of a preset, its {claims} filled in from the recorded runs.

    >>> told("fails").count("of 16") > 0
    True
    """
    return PRESETS[preset].note.format_map(_Claims(recorded_runs(preset)))


class _Claims(dict[str, str]):
    """What recorded runs say, by names such as "hc_lost": worked out when a text asks for it.

    "seeds"; for each connection "_accuracy", the median over the seeds, with "_least" and "_most";
    "_gain", the median of the runs' largest gains, with "_least" and "_most"; "_mixing", that of
    what is off the diagonal at the end, with "_first" at the start; "_learned", how many runs
    learned.  "early": in how many HC's gain passed 10^5 within 60 steps.  "odd": the odd seed.
    """

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    def __missing__(self, name: str) -> str:
        runs = self.runs
        if name == "seeds":
            return str(len(runs.seeds))
        if name == "odd":
            return str(runs.replays[-1].seed)
        if name == "early":
            gains = runs.curves["gain"][runs.connections.index("hc"), :, :60]
            return str(int((np.nanmax(gains, axis=-1) > 5).sum()))
        connection, _, what = name.partition("_")
        what, _, of = what.partition("_")
        c = runs.connections.index(connection)
        if what == "learned":
            return str(runs.learned(connection))
        if what == "mixing":
            step = 0 if of == "first" else -1
            return f"{np.median(runs.curves['mixing'][c, :, step]):.2f}"
        write: Callable[[float], str] = in_label if what == "gain" else percent
        values = runs.totals["largest_gain" if what == "gain" else "score"][c]
        if of == "odd":
            return write(float(values[runs.seed_index(runs.replays[-1].seed)]))
        quantile = {"": 0.5, "least": 0.0, "most": 1.0}[of]
        return write(float(np.nanquantile(values, quantile)))


def percent(share: float) -> str:
    """A share in words.

    >>> percent(0.8253)
    '83 %'
    """
    return f"{100 * share:.0f} %"


def _path(name: str) -> Any:
    return files(__package__).joinpath(f"data/{name}.npz")


WHY = ("typical", "odd")


# ---- in words -----------------------------------------------------------------------------------


def ablated(runs: Runs) -> str:
    """What the ablation says, counted."""
    learned = {name: runs.learned(name) for name in runs.connections}
    free = [learned.pop(name) for name in ("hc", "mhc-free")]
    of = len(runs.seeds)
    still = min(learned[name] for name in ("hc-identity", "mhc-identity"))
    return (
        f"With a free H_res {' and '.join(map(str, free))} of {of} seeds learned; with every one "
        f"that is bounded at least {min(learned.values())}, whichever way the layers read and "
        f"write. Not to mix at all is as safe: at least {still} learned with H_res = I."
    )


COMMANDS = """\
for preset in calm explodes fails deep still; do
  mhc-demo sweep --preset $preset --connection compared --seed 0:16 -o runs
done
mhc-demo sweep --preset fails --connection ablation --seed 0:16 -o runs
mhc-demo runs runs --curves -o mhc_demo/lab/data/runs.parquet
python -m mhc_demo.lab.evidence mhc_demo/lab/data/runs.parquet
"""
"""What makes all that is kept here; the last line writes the presets' files and the page."""


def page() -> str:
    """The page of the documentation that says what the runs came to, as Markdown."""
    parts = [
        "# What the lab's trainings came to\n",
        "Every number here is counted from the runs that ship with the package; nothing is typed. "
        f"There are {SEEDS} seeds of every preset and of every connection of the ablation: a "
        "single run is an anecdote. A network has *learned* that got a fifth of the way from "
        "guessing to perfect, for the digits an accuracy of 28 %. Behind a share stands its 95 % "
        "interval (Wilson), behind a median the smallest and the largest value. The page replays "
        "them under *Training*; in Python, `lab.runs` reads the table and `mhc_demo.lab.evidence` "
        "the rest.\n",
    ]
    for name, preset in PRESETS.items():
        runs = recorded_runs(name)
        parts += [f"## {preset.title} (`{name}`)\n", told(name) + "\n", _table(runs)]
    ablation = recorded_runs("ablation")
    parts += [
        "## Which part of mHC does it? (the ablation)\n",
        "With the settings of `fails`: HC's or mHC's way to read and write the streams, each with "
        "a free H_res, with none that mixes (H_res = I), with Sinkhorn's and with rows alone. "
        f"{ablated(ablation)}\n",
        _table(ablation),
        "## How they were made\n",
        f"With {ablation.made}, one thread for each run, by\n",
        f"```text\n{COMMANDS}```\n",
        "The last digits depend on processor, versions and threads, and where a training is "
        "unstable they decide how a seed ends.\n",
    ]
    return "\n".join(parts)


def _table(runs: Runs) -> str:
    rows = ["| network | learned | share | accuracy | largest gain | parameters |"]
    rows.append("| --- | --: | --: | --: | --: | --: |")
    for name in runs.connections:
        count, of = runs.learned(name), len(runs.seeds)
        low, high = wilson(count, of)
        scores, gains = (_ends(runs.total(each, name)) for each in ("score", "largest_gain"))
        rows.append(
            f"| {CONNECTIONS[name]} | {count} of {of} | {percent(low)} to {percent(high)} "
            f"| {percent(scores[0])} ({percent(scores[1])} to {percent(scores[2])}) "
            f"| {in_label(gains[0])} ({in_label(gains[1])} to {in_label(gains[2])}) "
            f"| {int(runs.total('parameters', name).max()):,} |"
        )
    return "\n".join(rows) + "\n"


def _ends(values: Floats) -> tuple[float, float, float]:
    """Median, smallest and largest; a run that diverged has no score, which counts as 0."""
    known = np.nan_to_num(values)
    return float(np.median(known)), float(known.min()), float(known.max())


# ---- from the table of a sweep ------------------------------------------------------------------


def settings_of(preset: str, connection: str, seed: int) -> Settings:
    """The settings of one recorded run."""
    base = PRESETS["fails" if preset == "ablation" else preset]
    return base.settings(connection=connection, seed=seed)


def gathered(frame: pd.DataFrame, preset: str, seeds: Sequence[int] = range(SEEDS)) -> Runs:
    """The runs of a preset from a table with curves (`table.runs`), without replays.

    Raises ValueError if a run is missing or did not end.
    """
    connections = ABLATION if preset == "ablation" else COMPARED
    by_name = frame[frame.outcome.isin(ENDED)].set_index("record")
    steps = settings_of(preset, "hc", 0).steps
    shape = (len(connections), len(seeds))
    curves = {name: np.full((*shape, steps), np.nan) for name in CURVES}
    totals = {name: np.full(shape, np.nan) for name in TOTALS}
    made, days = {}, set()
    for c, s in np.ndindex(shape):
        name = record_name(settings_of(preset, connections[c], seeds[s]))
        if name not in by_name.index:
            raise ValueError(f"{preset}: there is no run {name} that has ended")
        run = by_name.loc[name]
        done = len(run.losses)
        curves["loss"][c, s, :done] = run.losses
        curves["gradient_norm"][c, s, :done] = run.gradient_norms
        curves["gain"][c, s, :done] = np.maximum(run.gains_forward, run.gains_backward)
        curves["mixing"][c, s, :done] = run.mixing
        for total, values in totals.items():
            values[c, s] = run[total]
        made = {each: run[each] for each in ("torch", "numpy", "python", "processor", "threads")}
        days.add(run.started[:10])
    said = ", ".join(f"{name} {value}" for name, value in made.items())
    said += "; " + " to ".join(dict.fromkeys([min(days), max(days)]))
    task = settings_of(preset, "hc", 0).task
    return Runs(connections, tuple(seeds), curves, totals, task, chance(task), (), said)


def replayed_seeds(runs: Runs) -> tuple[int, int]:
    """The most typical seed, and the one most unlike the others.

    Typical is the seed whose final scores are, all connections together, nearest to the medians;
    odd the one in which HC and mHC differ least like in the median seed.
    """
    scores = np.nan_to_num(runs.totals["score"])
    typical = np.abs(scores - np.median(scores, axis=1, keepdims=True)).sum(axis=0).argmin()
    ahead = scores[runs.connections.index("mhc")] - scores[runs.connections.index("hc")]
    odd = np.abs(ahead - np.median(ahead))
    odd[typical] = -1
    return runs.seeds[typical], runs.seeds[odd.argmax()]


def replayed(runs: Runs, preset: str, seed: int, why: str) -> Replay:
    """A recorded run in full, trained once more.

    Raises ValueError if a loss is not the recorded one to the last digit of float32.
    """
    from . import train

    gains, matrices, frames = [], [], []
    for c, connection in enumerate(runs.connections):
        if not KINDS[connection].mixes:
            continue
        settings = settings_of(preset, connection, seed)
        kept = runs.curves["loss"][c, runs.seed_index(seed)]
        steps = [step for step in train(settings) if isinstance(step, Step)]
        for step, loss in zip(steps, kept, strict=True):
            if np.float32(step.loss) != np.float32(loss):
                raise ValueError(
                    f"step {step.step} of {record_name(settings)} has the loss {step.loss!r}, but "
                    f"the record says {loss!r}: was it made with other versions or threads?"
                )
        gains.append([[step.composite_gains[d] for d in DIRECTIONS] for step in steps])
        of_frames = [step for step in steps if step.step == 1 or step.step % FRAME == 0]
        frames = [step.step for step in of_frames]
        matrices.append([step.h_res for step in of_frames])
    return Replay(seed, why, np.array(gains), np.array(frames), np.array(matrices))


def keep(runs: Runs, path: Path) -> None:
    """Write the file of a preset.  Half precision has the three digits that a plot can show."""
    arrays: dict[str, Any] = {
        "connections": np.array(runs.connections),
        "seeds": np.array(runs.seeds),
        "made": np.array(runs.made),
        "task": np.array(runs.task),
        "chance": np.array(runs.chance),
        **{name: values.astype(np.float16) for name, values in runs.curves.items()},
        **runs.totals,
    }
    if runs.replays:
        arrays |= {
            "replay_seeds": np.array([each.seed for each in runs.replays]),
            "replay_steps": runs.replays[0].steps.astype(np.int16),
            "replay_gains": np.stack([each.gains for each in runs.replays]).astype(np.float16),
            "replay_h_res": np.stack([each.h_res for each in runs.replays]).astype(np.float16),
        }
    np.savez_compressed(path, **arrays)


def main(source: str, *names: str) -> None:
    """Make the files anew, all by default, from a folder of records or a table of them."""
    import torch

    from .table import runs as table_of

    torch.set_num_threads(1)  # as the runs of a sweep have
    frame = table_of(source, curves=True)
    for name in names or (*PRESETS, "ablation"):
        runs = gathered(frame, name)
        if name != "ablation":
            seeds = zip(replayed_seeds(runs), WHY, strict=True)
            replays = tuple(replayed(runs, name, *each) for each in seeds)
            runs = replace(runs, replays=replays)
        keep(runs, Path(str(_path(name))))
        print(name, *(each.seed for each in runs.replays), flush=True)
    recorded_runs.cache_clear()
    Path("docs/evidence.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])

"""The runs that ship with the package: the lab's claims rest on them, and the page replays them.

One run is an anecdote, so there are sixteen seeds of every preset, and of every connection of the
ablation.  Each preset has one file, which NumPy alone can read, so that they are shown where
PyTorch is missing too.  Two seeds of each are kept in full, to be replayed: the most typical one,
and the one that is most unlike the others.

A sweep's folder becomes these files by `python -m mhc_demo.lab.evidence FOLDER`, which trains the
replayed seeds once more for their matrices, and compares every loss with the record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numerics.gains import DIRECTIONS
from ..numerics.numbers import in_label
from .connections import ABLATION, COMPARED, KINDS
from .records import Record, Step, read_record
from .settings import PRESETS, Settings
from .sweeping import record_name
from .tasks import TASKS

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
    chance: float
    """The accuracy of guessing."""
    replays: tuple[Replay, ...] = ()
    made: str = ""
    """With which versions, on which machine and when."""

    def total(self, name: str, connection: str) -> Floats:
        """A number of every run of a connection, (S,)."""
        return self.totals[name][self.connections.index(connection)]

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
        float(found["chance"]),
        replays,
        str(found["made"]),
    )


def has_runs(preset: str) -> bool:
    """Whether runs of a preset were recorded."""
    return _path(preset).is_file()


AT_CHANCE = 1.5
"""A final accuracy below so many times that of guessing counts as guessing.  Of those who guess 359
digits, 2 in 1,000 reach more."""


def at_chance(scores: Floats, chance: float) -> NDArray[np.bool_]:
    """Whether each run ended at guessing; a run that diverged did."""
    return ~(np.asarray(scores) >= AT_CHANCE * chance)


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson interval of a share, 95 % by default (Wilson, J. Am. Stat. Assoc. 22, 1927).

    >>> [round(end, 3) for end in wilson(14, 16)]
    [0.64, 0.965]
    """
    share, spread = count / of, z * z / of
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


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
    what is off the diagonal at the end, with "_first" at the start; "_lost", how many runs ended at
    chance.  "early": in how many HC's gain passed 10^5 within 60 steps.  "odd": the odd seed.
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
        if what == "lost":
            return str(int(at_chance(runs.totals["score"][c], runs.chance).sum()))
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


# ---- from the records of a sweep ----------------------------------------------------------------


def settings_of(preset: str, connection: str, seed: int) -> Settings:
    """The settings of one recorded run."""
    base = PRESETS["fails" if preset == "ablation" else preset]
    return base.settings(connection=connection, seed=seed)


def gathered(folder: Path, preset: str, seeds: Sequence[int] = range(SEEDS)) -> Runs:
    """The runs of a preset from the records of a sweep, without replays.

    Raises ValueError for a record that is damaged or did not end, and OSError if one is missing.
    """
    connections = ABLATION if preset == "ablation" else COMPARED
    records = {
        (name, seed): _whole(folder / record_name(settings_of(preset, name, seed)))
        for name in connections
        for seed in seeds
    }
    steps = settings_of(preset, "hc", 0).steps
    shape = (len(connections), len(seeds))
    curves = {name: np.full((*shape, steps), np.nan) for name in CURVES}
    totals = {name: np.full(shape, np.nan) for name in TOTALS}
    for c, name in enumerate(connections):
        for s, seed in enumerate(seeds):
            record = records[name, seed]
            for curve, values in curves.items():
                values[c, s, : len(record.steps)] = [_of(step, curve) for step in record.steps]
            for total, values in totals.items():
                values[c, s] = getattr(record.summary, total)
    one = next(iter(records.values()))
    said = {**one.versions, **{n: one.machine[n] for n in ("processor", "threads")}}
    days = sorted({record.machine["started"][:10] for record in records.values()})
    made = ", ".join(f"{name} {value}" for name, value in said.items())
    made += f"; {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "")
    chance = 1 / TASKS[one.settings.task].load(0).classes
    return Runs(connections, tuple(seeds), curves, totals, chance, (), made)


def _whole(path: Path) -> Record:
    record = read_record(path)
    if record.damage or record.summary is None:
        raise ValueError(f"{path} is not a whole record: {record.damage or 'it has no summary'}")
    return record


def _of(step: Step, curve: str) -> float:
    if curve == "gain":
        return max(step.gain.values())
    return step.mean_mixing if curve == "mixing" else float(getattr(step, curve))


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


def replayed(folder: Path, preset: str, seed: int, why: str) -> Replay:
    """A recorded run in full, trained once more.

    Raises ValueError if a loss is not the recorded one to the last digit.
    """
    gains, matrices, frames = [], [], []
    for connection in COMPARED:
        if not KINDS[connection].mixes:
            continue
        settings = settings_of(preset, connection, seed)
        record = _whole(folder / record_name(settings))
        gains.append([[s.composite_gains[d] for d in DIRECTIONS] for s in record.steps])
        found = dict(_matrices(settings, record))
        matrices.append([*found.values()])
        frames = [*found]
    return Replay(seed, why, np.array(gains), np.array(frames), np.array(matrices))


def _matrices(settings: Settings, record: Record) -> Iterator[tuple[int, Any]]:
    from . import train

    for step, kept in zip(train(settings), record.steps, strict=False):
        if not isinstance(step, Step):
            return
        if step.loss != kept.loss:
            raise ValueError(
                f"step {step.step} of {record_name(settings)} has the loss {step.loss!r}, but the "
                f"record says {kept.loss!r}: was it made with other versions or threads?"
            )
        if step.step == 1 or step.step % FRAME == 0:
            yield step.step, step.h_res


def keep(runs: Runs, path: Path) -> None:
    """Write the file of a preset.  Half precision has the three digits that a plot can show."""
    arrays: dict[str, Any] = {
        "connections": np.array(runs.connections),
        "seeds": np.array(runs.seeds),
        "made": np.array(runs.made),
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


def main(folder: Path, *names: str) -> None:
    """Make the files anew, all by default, from the records in a folder."""
    import torch

    torch.set_num_threads(1)  # as the runs of a sweep have
    for name in names or (*PRESETS, "ablation"):
        runs = gathered(folder, name)
        if name != "ablation":
            seeds = zip(replayed_seeds(runs), WHY, strict=True)
            replays = tuple(replayed(folder, name, *each) for each in seeds)
            runs = replace(runs, replays=replays)
        keep(runs, Path(str(_path(name))))
        print(name, *(each.seed for each in runs.replays), flush=True)


if __name__ == "__main__":
    import sys

    main(Path(sys.argv[1]), *sys.argv[2:])

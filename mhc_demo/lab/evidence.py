"""The runs that ship with the package: the lab's claims rest on them, and the page replays them.

One run is an anecdote, so there are sixteen seeds of every preset, of every connection of the
ablation, and of the dense networks beside the mixture of experts.  Each preset has one file, which
NumPy alone can read, so that they are shown where PyTorch is missing too.  Two seeds of each are
kept in full, to be replayed: the most typical one, and the one that is most unlike the others.

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
from .table import ENDED, LEARNED, ROUTED, chance, learned, median_interval, wilson
from .tasks import TASKS

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
ROUTED_CURVES = {"load_violation": "load_violations", "routing_entropy": "routing_entropies"}
"""What is kept besides where there are experts, and the table's column of each."""
BESIDES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "ablation": ("fails", {}),
    "dense": ("moe", {"task": "text"}),
}
"""Runs of no preset: the preset whose settings they have, and what differs but the connection."""


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
    routers: NDArray[np.integer] | None = None
    """Which layers have experts, from 1; None if none has."""
    loads: Floats | None = None
    """`Step.expert_load` after the same steps, of all connections: (all C, F, layers, experts)."""
    entropies: Floats | None = None
    """`Step.routing_entropy` likewise, (all C, F, layers)."""


@dataclass(frozen=True)
class Runs:
    """All recorded runs of a preset: C connections, S seeds, T steps."""

    connections: tuple[str, ...]
    seeds: tuple[int, ...]
    curves: Mapping[str, Floats]
    """By the names in `CURVES`, and those in `ROUTED` where there are experts, each (C, S, T); NaN
    after the last step of a run that diverged."""
    totals: Mapping[str, Floats]
    """By the names in `TOTALS`, and those in `ROUTED` where there are experts, each (C, S)."""
    task: str
    chance: float
    """The score of guessing."""
    replays: tuple[Replay, ...] = ()
    made: str = ""
    """With which versions, on which machine and when."""

    def total(self, name: str, connection: str) -> Floats:
        """A number of every run of a connection, (S,)."""
        return self.totals[name][self.connections.index(connection)]

    @property
    def routed(self) -> bool:
        """Whether the networks have experts."""
        return ROUTED[0] in self.curves

    @property
    def is_accuracy(self) -> bool:
        """Whether the score is a share of right answers; else it is bits per character."""
        return TASKS[self.task].score == "accuracy"

    def scores(self, connection: str) -> Floats:
        """The score of every run of a connection, (S,).

        A run that diverged has none: it counts as an accuracy of 0, or as the bits of guessing.
        """
        return np.nan_to_num(self.total("score", connection), nan=self.worst)

    @property
    def worst(self) -> float:
        """What a run that diverged counts as."""
        return 0.0 if self.is_accuracy else self.chance

    @property
    def enough(self) -> float:
        """The score from which on a network has learned (`table.learned`)."""
        perfect = 1.0 if self.is_accuracy else 0.0
        return self.chance + LEARNED * (perfect - self.chance)

    def said(self, score: float) -> str:
        """A score in words: "83 %", or "3.75", which are bits per character."""
        return percent(score) if self.is_accuracy else f"{score:.2f}"

    def learned(self, connection: str) -> int:
        """How many runs of a connection learned their task (`table.learned`)."""
        scores = self.total("score", connection)
        return sum(bool(learned(score, self.task)) for score in scores)

    def seed_index(self, seed: int) -> int:
        """Where a seed stands along the second axis."""
        return self.seeds.index(seed)


@cache
def recorded_runs(preset: str) -> Runs:
    """The runs of a preset; of "ablation": eight connections with the settings of "fails"; or of
    "dense": networks without experts with the settings of "moe".

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
            found.get("replay_routers"),
            *(found[n][i].astype(np.float32) if n in found else None for n in REPLAY_ROUTED),
        )
        for i, (seed, why) in enumerate(zip(found.get("replay_seeds", ()), WHY, strict=False))
    )
    return Runs(
        tuple(map(str, found["connections"])),
        tuple(map(int, found["seeds"])),
        {name: found[name].astype(np.float32) for name in (*CURVES, *ROUTED) if name in found},
        {name: found[total_of(name)] for name in (*TOTALS, *ROUTED) if total_of(name) in found},
        str(found["task"]),
        float(found["chance"]),
        replays,
        str(found["made"]),
    )


def total_of(name: str) -> str:
    """By what name a file keeps a number of every run's summary."""
    return f"total_{name}" if name in ROUTED else name


REPLAY_ROUTED = ("replay_loads", "replay_entropies")


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

    "seeds"; for each connection "_accuracy" or "_bits", the median score over the seeds, with
    "_least" and "_most"; "_violation" and "_entropy", the medians of what was routed at the end;
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
        if what in ("violation", "entropy"):
            total = next(each for each in ROUTED if each.endswith(what))
            return f"{np.median(runs.total(total, connection)):.2f}"
        write: Callable[[float], str] = in_label if what == "gain" else runs.said
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


def against_dense(runs: Runs, dense: Runs) -> str:
    """What the mixtures came to beside dense networks of equal active size, seed by seed."""
    found = {name: runs.scores(name) - dense.scores(name) for name in runs.connections}
    words = "the mixture is better", "the dense network is better"
    said = [
        f"{CONNECTIONS[name]} {paired(each, *words, of=len(found))}" for name, each in found.items()
    ]
    better = [int((each < 0).sum()) for each in found.values()]
    return (
        "Dense networks with the same settings, text and seeds have as many hidden units at work "
        "on a token. The mixture’s bits per character less the dense network’s of the same seed, "
        f"in the median: {'; '.join(said)}. {_interval(runs, len(found))} The mixture is better in "
        f"{', '.join(map(str, better[:-1]))} and {better[-1]} of {len(runs.seeds)} seeds."
    )


def balanced(runs: Runs) -> str:
    """Whether the connections differ in how evenly the experts are chosen, seed by seed."""
    plain, *others = runs.connections
    found = {
        name: runs.total("load_violation", name) - runs.total("load_violation", plain)
        for name in others
    }
    said = [
        f"{CONNECTIONS[n]} {paired(each, 'less', 'more', of=len(found))}"
        for n, each in found.items()
    ]
    return (
        "The load violation over the last tenth of the steps, less the residual network’s of the "
        f"same seed, in the median: {'; '.join(said)}. {_interval(runs, len(found))}"
    )


def reach(runs: Runs, dense: Runs) -> str:
    """What the mixtures' runs can say of stability, and what they cannot."""
    hc, mhc, hc_dense, mhc_dense = (
        in_label(float(np.nanmax(each.total("largest_gain", name))))
        for each in (runs, dense)
        for name in ("hc", "mhc")
    )
    settings = settings_of("moe", "mhc", 0)
    tenth = max(1, settings.steps // 10)
    violations = runs.curves["load_violation"]
    before, after = (
        np.nanmedian(np.nanmean(part, axis=-1), axis=-1)
        for part in (violations[..., -3 * tenth : -2 * tenth], violations[..., -tenth:])
    )
    falling = (
        "The load violation is still falling when the runs end, so that they do not say how even "
        "the load becomes. "
        if (after < before).all()
        else ""
    )
    return (
        "Does the signal stay stable with experts? The largest gain of any seed is "
        f"{hc} (HC) and {mhc} (mHC) with the mixture, {hc_dense} and {mhc_dense} with the dense "
        "network. But no entry of mHC’s H_res is negative and its rows sum to 1, so that its gain "
        f"is at most n = {settings.streams} whatever the layers compute: that it stays small says "
        f"nothing about experts. And it is the gain of the H_res alone, in {settings.depth} layers "
        f"and {settings.steps} steps: of the branches, of deeper networks and of longer training "
        "these runs say nothing. "
        f"{falling}".strip()
    )


def paired(differences: Floats, below: str, above: str, *, of: int = 1) -> str:
    """The median of differences, its interval, and whether that is below 0 or above.

    `of` so many comparisons all intervals are to hold at once in 95 % of cases (Bonferroni): of
    three that hold in 95 % each, one is wrong in up to 15 %.
    """
    low, high, _ = median_interval(differences, _level(of))
    verdict = below if high < 0 else above if low > 0 else "the two are not told apart"
    return f"{signed(np.median(differences))} ({signed(low)} to {signed(high)}), {verdict}"


def _level(of: int) -> float:
    return 1 - 0.05 / of


def _interval(runs: Runs, of: int) -> str:
    level = median_interval(np.zeros(len(runs.seeds)), _level(of))[2]
    every = "both" if of == 2 else f"all {of}"
    return (
        f"In brackets is the interval of the median (order statistics, {100 * level:.1f} %; "
        f"{every} hold at once in at least {percent(1 - of * (1 - level))} of cases)."
    )


def signed(value: float | np.floating) -> str:
    """A difference of scores.

    >>> signed(-0.012)
    '−0.012'
    """
    return f"{value:+.3f}".replace("-", "−")


COMMANDS = """\
for preset in calm explodes fails deep still moe; do
  mhc-demo sweep --preset $preset --connection compared --seed 0:16 -o runs
done
mhc-demo sweep --preset fails --connection ablation --seed 0:16 -o runs
mhc-demo sweep --preset moe --task text --connection compared --seed 0:16 -o runs
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
        "guessing to perfect, for the digits to an accuracy of 28 %, for text to 3.75 bits per "
        "character, of which fewer are better. Behind a share stands its 95 % "
        "interval (Wilson), behind a median the smallest and the largest value. The page replays "
        "them under *Training*; in Python, `lab.runs` reads the table and `mhc_demo.lab.evidence` "
        "the rest.\n",
    ]
    for name, preset in PRESETS.items():
        runs = recorded_runs(name)
        text = f"{told(name)} {balanced(runs)}" if runs.routed else told(name)
        parts += [f"## {preset.title} (`{name}`)\n", text + "\n", _table(runs)]
    ablation, dense = recorded_runs("ablation"), recorded_runs("dense")
    made = " and with ".join(dict.fromkeys(recorded_runs(n).made for n in (*PRESETS, *BESIDES)))
    parts += [
        "## Which part of mHC does it? (the ablation)\n",
        "With the settings of `fails`: HC's or mHC's way to read and write the streams, each with "
        "a free H_res, with none that mixes (H_res = I), with Sinkhorn's and with rows alone. "
        f"{ablated(ablation)}\n",
        _table(ablation),
        "## Is a mixture of experts better than a dense network? (the preset `moe`)\n",
        f"{against_dense(recorded_runs('moe'), dense)} {reach(recorded_runs('moe'), dense)}\n",
        _table(dense),
        "## How they were made\n",
        f"With {made}, one thread for each run, by\n",
        f"```text\n{COMMANDS}```\n",
        "The last digits depend on processor, versions and threads, and where a training is "
        "unstable they decide how a seed ends.\n",
    ]
    return "\n".join(parts)


def _table(runs: Runs) -> str:
    columns = ["learned", "share", TASKS[runs.task].score, "largest gain", "parameters"]
    if runs.routed:
        columns += ["load violation", "routing entropy"]
    rows = [f"| network | {' | '.join(columns)} |", f"| --- |{' --: |' * len(columns)}"]
    for name in runs.connections:
        count, of = runs.learned(name), len(runs.seeds)
        low, high = wilson(count, of)
        cells = [
            f"{count} of {of}",
            f"{percent(low)} to {percent(high)}",
            _ends(runs.scores(name), runs.said),
            _ends(np.nan_to_num(runs.total("largest_gain", name)), in_label),
            f"{int(runs.total('parameters', name).max()):,}",
        ]
        if runs.routed:
            cells += [_ends(runs.total(each, name), "{:.2f}".format) for each in ROUTED]
        rows.append(f"| {CONNECTIONS[name]} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _ends(values: Floats, write: Callable[[float], str]) -> str:
    """Median, smallest and largest."""
    low, middle, high = (write(float(np.quantile(values, q))) for q in (0.0, 0.5, 1.0))
    return f"{middle} ({low} to {high})"


# ---- from the table of a sweep ------------------------------------------------------------------


def settings_of(preset: str, connection: str, seed: int) -> Settings:
    """The settings of one recorded run."""
    base, other = BESIDES.get(preset, (preset, {}))
    return PRESETS[base].settings(connection=connection, seed=seed, **other)


def gathered(frame: pd.DataFrame, preset: str, seeds: Sequence[int] = range(SEEDS)) -> Runs:
    """The runs of a preset from a table with curves (`table.runs`), without replays.

    Raises ValueError if a run is missing or did not end.
    """
    connections = ABLATION if preset == "ablation" else COMPARED
    by_name = frame[frame.outcome.isin(ENDED)].set_index("record")
    settings = settings_of(preset, "hc", 0)
    routed = ROUTED if settings.computes.experts else ()
    shape = (len(connections), len(seeds))
    curves = {name: np.full((*shape, settings.steps), np.nan) for name in (*CURVES, *routed)}
    totals = {name: np.full(shape, np.nan) for name in (*TOTALS, *routed)}
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
        for name in routed:
            curves[name][c, s, :done] = run[ROUTED_CURVES[name]]
        for total, values in totals.items():
            values[c, s] = run[total]
        made = {each: run[each] for each in ("torch", "numpy", "python", "processor", "threads")}
        days.add(run.started[:10])
    said = ", ".join(f"{name} {value}" for name, value in made.items())
    said += "; " + " to ".join(dict.fromkeys([min(days), max(days)]))
    task = settings.task
    return Runs(connections, tuple(seeds), curves, totals, task, chance(task), (), said)


def replayed_seeds(runs: Runs) -> tuple[int, int]:
    """The most typical seed, and the one most unlike the others.

    Typical is the seed whose final scores are, all connections together, nearest to the medians;
    odd the one in which HC and mHC differ least like in the median seed.
    """
    scores = np.stack([runs.scores(name) for name in runs.connections])
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
    loads, entropies, routers = [], [], None
    for c, connection in enumerate(runs.connections):
        mixes = KINDS[connection].mixes
        if not (mixes or runs.routed):
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
        of_frames = [step for step in steps if step.step == 1 or step.step % FRAME == 0]
        frames = [step.step for step in of_frames]
        if mixes:
            gains.append([[step.composite_gains[d] for d in DIRECTIONS] for step in steps])
            matrices.append([step.h_res for step in of_frames])
        if runs.routed:
            routers = [index for index, load in enumerate(steps[0].expert_load) if load]
            loads.append([[step.expert_load[i] for i in routers] for step in of_frames])
            entropies.append([[step.routing_entropy[i] for i in routers] for step in of_frames])
    routing = (np.array(routers) + 1, np.array(loads), np.array(entropies)) if routers else ()
    return Replay(seed, why, np.array(gains), np.array(frames), np.array(matrices), *routing)


def keep(runs: Runs, path: Path) -> None:
    """Write the file of a preset.  Half precision has the three digits that a plot can show."""
    arrays: dict[str, Any] = {
        "connections": np.array(runs.connections),
        "seeds": np.array(runs.seeds),
        "made": np.array(runs.made),
        "task": np.array(runs.task),
        "chance": np.array(runs.chance),
        **{name: values.astype(np.float16) for name, values in runs.curves.items()},
        **{total_of(name): values for name, values in runs.totals.items()},
    }
    if runs.replays:
        arrays |= {
            "replay_seeds": np.array([each.seed for each in runs.replays]),
            "replay_steps": runs.replays[0].steps.astype(np.int16),
            "replay_gains": np.stack([each.gains for each in runs.replays]).astype(np.float16),
            "replay_h_res": np.stack([each.h_res for each in runs.replays]).astype(np.float16),
        }
    if runs.replays and runs.routed:
        arrays |= {
            "replay_routers": runs.replays[0].routers,
            **{
                f"replay_{name}": np.stack([getattr(each, name) for each in runs.replays])
                for name in ("loads", "entropies")
            },
        }
        arrays |= {name: arrays[name].astype(np.float16) for name in REPLAY_ROUTED}
    np.savez_compressed(path, **arrays)


def main(source: str, *names: str) -> None:
    """Make the files anew, all by default, from a folder of records or a table of them."""
    import torch

    from .table import runs as table_of

    torch.set_num_threads(1)  # as the runs of a sweep have
    frame = table_of(source, curves=True)
    for name in names or (*PRESETS, *BESIDES):
        runs = gathered(frame, name)
        if name not in BESIDES:
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

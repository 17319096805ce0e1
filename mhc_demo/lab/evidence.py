"""The runs that ship with the package: the lab's claims rest on them, and the page replays them.

One run is an anecdote, so there are sixteen seeds of every preset, of every connection of the
ablation, and of the dense networks beside the mixture of experts.  Each preset has one file, which
NumPy alone can read, so that they are shown where PyTorch is missing too.  Two seeds of each are
kept in full, to be replayed: the most typical one, and the one that is most unlike the others.

`data/runs.parquet` has them all as one table (`mhc-demo runs FOLDER --curves -o runs.parquet`), of
which `gathering` makes the presets' files.  What the runs came to is said in `findings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.abc import Traversable
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .settings import PRESETS, Settings
from .table import LEARNED, ROUTED, learned
from .tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating]

SEEDS = 16
CURVES = ("loss", "gradient_norm", "gain", "mixing")
"""What is kept of every step of every run; "gain" is log10 of the composite's larger one."""
TOTALS = ("score", "largest_gain", "largest_gradient_norm", "parameters")
"""What is kept of every run's summary."""
REPLAY_ROUTED = ("replay_loads", "replay_entropies")
"""By what names a file keeps what was routed in its replays."""
WHY = ("typical", "odd")
"""Why each of the replayed seeds was chosen."""
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
    path = path_of(preset)
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


def table(*, curves: bool = False) -> pd.DataFrame:
    """All recorded runs, a row for each, as `lab.runs` returns them; pyarrow reads them.

    A run that several presets share is there once.
    """
    from .table import runs

    return runs(str(files(__package__).joinpath("data/runs.parquet")), curves=curves)


def has_runs(preset: str) -> bool:
    """Whether runs of a preset were recorded."""
    return path_of(preset).is_file()


def percent(share: float) -> str:
    """A share in words.

    >>> percent(0.8253)
    '83 %'
    """
    return f"{100 * share:.0f} %"


def path_of(name: str) -> Traversable:
    """The file of a preset, of "ablation" or of "dense"."""
    return files(__package__).joinpath(f"data/{name}.npz")


def settings_of(preset: str, connection: str, seed: int) -> Settings:
    """The settings of one recorded run."""
    base, other = BESIDES.get(preset, (preset, {}))
    return PRESETS[base].settings(connection=connection, seed=seed, **other)

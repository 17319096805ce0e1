"""From the table of a sweep to the files of the presets that ship (`evidence`).

`python -m mhc_demo.lab.gathering mhc_demo/lab/data/runs.parquet` trains the replayed seeds once
more for their matrices, compares every loss, and writes the presets' files and docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..numerics.gains import DIRECTIONS
from . import findings
from .connections import ABLATION, COMPARED, KINDS
from .evidence import (
    BESIDES,
    CURVES,
    REPLAY_ROUTED,
    SEEDS,
    TOTALS,
    WHY,
    Replay,
    Runs,
    path_of,
    recorded_runs,
    settings_of,
    total_of,
)
from .records import Step
from .settings import PRESETS
from .sweeping import record_name
from .table import ENDED, ROUTED, chance

if TYPE_CHECKING:
    import pandas as pd

FRAME = 5
"""Steps from one recorded matrix to the next."""
ROUTED_CURVES = {"load_violation": "load_violations", "routing_entropy": "routing_entropies"}
"""What is kept besides where there are experts, and the table's column of each."""


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
        keep(runs, Path(str(path_of(name))))
        print(name, *(each.seed for each in runs.replays), flush=True)
    recorded_runs.cache_clear()
    Path("docs/evidence.md").write_text(findings.page(), encoding="utf-8")


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])

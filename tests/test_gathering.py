"""The files of the recorded runs are made from records, and lose nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mhc_demo import lab
from mhc_demo.lab import evidence
from mhc_demo.lab.connections import COMPARED
from mhc_demo.lab.evidence import recorded_runs, settings_of
from mhc_demo.lab.gathering import gathered, keep, replayed
from mhc_demo.lab.settings import PRESETS

HALF = 2.0**-10
"""The relative error of half precision, twice: of what ships, and of its text."""


@pytest.mark.parametrize("task", ["digits", "moe"])
def test_records_become_a_file_and_come_back(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"task": task, "depth": 3, "width": 4, "steps": 4, "batch": 8}
    tiny = replace(PRESETS["calm"], values=small)
    monkeypatch.setitem(PRESETS, "calm", tiny)
    runs_to_make = [settings_of("calm", name, seed) for name in COMPARED for seed in (0, 1)]
    for settings in runs_to_make:
        path = tmp_path / lab.record_name(settings)
        for _ in lab.recorded(lab.train(settings), settings, path):
            pass
    frame = lab.runs(tmp_path, curves=True)
    runs = gathered(frame, "calm", seeds=(0, 1))
    assert runs.chance == lab.TASKS[task].chance
    replays = tuple(replayed(runs, "calm", seed, "typical") for seed in (0, 1))
    monkeypatch.setattr(evidence, "path_of", lambda name: tmp_path / f"{name}.npz")
    keep(replace(runs, replays=replays), tmp_path / "calm.npz")
    found = recorded_runs.__wrapped__("calm")
    assert found.routed == (task == "moe")
    assert (set(found.curves), set(found.totals)) == (set(runs.curves), set(runs.totals))
    for name in runs.curves:
        np.testing.assert_allclose(found.curves[name], runs.curves[name], rtol=HALF, atol=1e-6)
    for name in runs.totals:
        np.testing.assert_array_equal(found.totals[name], runs.totals[name])
    for one, other in zip(found.replays, replays, strict=True):
        if task == "moe":
            np.testing.assert_array_equal(one.routers, [2])
            np.testing.assert_allclose(one.loads, other.loads, rtol=HALF)
            np.testing.assert_allclose(one.entropies, other.entropies, rtol=HALF)
        np.testing.assert_allclose(one.h_res, other.h_res, rtol=HALF, atol=1e-6)
        np.testing.assert_array_equal(one.steps, [1])  # and every fifth

    with pytest.raises(
        ValueError, match=r"there is no run residual-.*seed=2\.jsonl that has ended"
    ):
        gathered(frame, "calm", seeds=(0, 1, 2))
    runs.curves["loss"][1, 1, 2] += 1e-3
    with pytest.raises(ValueError, match=r"step 3 of hc-.*seed=1\.jsonl has the loss"):
        replayed(runs, "calm", 1, "odd")


def test_the_table_that_ships_is_what_the_files_were_made_from() -> None:
    pytest.importorskip("pyarrow")
    frame = evidence.table(curves=True)
    for preset in (*PRESETS, *evidence.BESIDES):
        runs, made = recorded_runs(preset), gathered(frame, preset)
        for name in made.totals:
            np.testing.assert_array_equal(runs.totals[name], made.totals[name])
        for name in made.curves:
            np.testing.assert_allclose(
                runs.curves[name], made.curves[name], rtol=HALF, atol=1e-6, equal_nan=True
            )

"""The recorded runs: what ships is what was trained, and what is said of it is counted."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mhc_demo import lab
from mhc_demo.lab import evidence
from mhc_demo.lab.connections import ABLATION, COMPARED, CONNECTIONS, KINDS
from mhc_demo.lab.evidence import (
    CURVES,
    SEEDS,
    TOTALS,
    Runs,
    gathered,
    keep,
    recorded_runs,
    replayed_seeds,
    settings_of,
    told,
)
from mhc_demo.lab.replay import ReplayFigure
from mhc_demo.lab.settings import PRESETS
from mhc_demo.story.scenes import SCENES

EVERY = pytest.mark.parametrize("preset", PRESETS)

HALF = 2.0**-10
"""The relative error of half precision, twice: of what ships, and of its text."""


@EVERY
def test_every_preset_ships_with_all_its_seeds(preset: str) -> None:
    runs = recorded_runs(preset)
    assert runs.connections == COMPARED
    assert runs.seeds == tuple(range(SEEDS))
    steps = PRESETS[preset].settings().steps
    for name in CURVES:
        assert runs.curves[name].shape == (len(COMPARED), SEEDS, steps)
    for name in TOTALS:
        assert runs.totals[name].shape == (len(COMPARED), SEEDS)
    scores = runs.totals["score"]
    assert ((scores >= 0) & (scores <= 1) | np.isnan(scores)).all()
    # The largest gain is that of the curve, unless the curve was cut off at a run's end.
    np.testing.assert_allclose(
        np.nanmax(runs.curves["gain"], axis=-1), runs.totals["largest_gain"], rtol=HALF, atol=1e-3
    )


def test_the_ablation_ships_too_and_shares_its_runs_with_the_preset() -> None:
    runs, fails = recorded_runs("ablation"), recorded_runs("fails")
    assert runs.connections == ABLATION
    for name in ("hc", "mhc"):
        np.testing.assert_array_equal(runs.total("score", name), fails.total("score", name))


@EVERY
def test_the_replays_are_the_recorded_runs(preset: str) -> None:
    runs = recorded_runs(preset)
    assert tuple(each.seed for each in runs.replays) == replayed_seeds(runs)
    mixing = [name for name in runs.connections if KINDS[name].mixes]
    for replay in runs.replays:
        at = runs.seed_index(replay.seed)
        for c, name in enumerate(mixing):
            whole = np.maximum(replay.gains[c, :, 0, -1], replay.gains[c, :, 1, 0])
            curve = runs.curves["gain"][runs.connections.index(name), at]
            np.testing.assert_allclose(whole, curve, rtol=HALF, atol=1e-3)
        # The rows of mHC's matrices sum to 1, whatever the token.
        assert replay.h_res.shape[1] == len(replay.steps)
        assert (replay.steps[0], replay.steps[-1]) == (1, runs.curves["loss"].shape[-1])
        rows = replay.h_res[mixing.index("mhc")].sum(axis=-1)
        np.testing.assert_allclose(rows, 1, atol=4 * HALF)


@pytest.mark.parametrize("connection", COMPARED)
def test_what_ships_can_be_trained_again(connection: str) -> None:
    """The first steps, within 1 %: by then HC has amplified a processor's last digits so far."""
    runs = recorded_runs("fails")
    settings = settings_of("fails", connection, seed=2)
    again = [step.loss for step in islice(lab.train(settings), 4) if isinstance(step, lab.Step)]
    kept = runs.curves["loss"][runs.connections.index(connection), 2, :4]
    np.testing.assert_allclose(again, kept, rtol=0.01)


@pytest.mark.long
def test_a_calm_run_ends_as_recorded() -> None:
    """Two cells to the end, where nothing amplifies the last digits: the loss within 1 %."""
    runs = recorded_runs("still")
    for connection in ("hc", "mhc"):
        record = lab.Record(settings_of("still", connection, seed=1))
        record.extend(lab.train(record.settings))
        kept = runs.curves["loss"][runs.connections.index(connection), 1]
        np.testing.assert_allclose([step.loss for step in record.steps], kept, rtol=0.01)
        assert record.summary is not None
        score = runs.total("score", connection)[1]
        assert record.summary.score == pytest.approx(score, abs=2 / 359)  # two of the digits


def test_records_become_a_file_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"depth": 3, "width": 4, "steps": 4, "batch": 8}
    tiny = replace(PRESETS["calm"], values=small)
    monkeypatch.setitem(PRESETS, "calm", tiny)
    runs_to_make = [settings_of("calm", name, seed) for name in COMPARED for seed in (0, 1)]
    for settings in runs_to_make:
        path = tmp_path / lab.record_name(settings)
        for _ in lab.recorded(lab.train(settings), settings, path):
            pass
    frame = lab.runs(tmp_path, curves=True)
    runs = gathered(frame, "calm", seeds=(0, 1))
    assert runs.chance == 0.1
    replays = tuple(evidence.replayed(runs, "calm", seed, "typical") for seed in (0, 1))
    monkeypatch.setattr(evidence, "_path", lambda name: tmp_path / f"{name}.npz")
    keep(replace(runs, replays=replays), tmp_path / "calm.npz")
    found = recorded_runs.__wrapped__("calm")
    for name in CURVES:
        np.testing.assert_allclose(found.curves[name], runs.curves[name], rtol=HALF, atol=1e-6)
    for name in TOTALS:
        np.testing.assert_array_equal(found.totals[name], runs.totals[name])
    for one, other in zip(found.replays, replays, strict=True):
        np.testing.assert_allclose(one.h_res, other.h_res, rtol=HALF, atol=1e-6)
        np.testing.assert_array_equal(one.steps, [1])  # and every fifth

    with pytest.raises(
        ValueError, match=r"there is no run residual-.*seed=2\.jsonl that has ended"
    ):
        gathered(frame, "calm", seeds=(0, 1, 2))
    runs.curves["loss"][1, 1, 2] += 1e-3
    with pytest.raises(ValueError, match=r"step 3 of hc-.*seed=1\.jsonl has the loss"):
        evidence.replayed(runs, "calm", 1, "odd")


@EVERY
def test_a_note_has_no_number_of_its_own(preset: str) -> None:
    note = re.sub(r"\{\w+\}", "", PRESETS[preset].note)
    settings = PRESETS[preset].settings()
    own = {f"{v:g}" for v in settings.values_by_name().values() if isinstance(v, (int, float))}
    assert set(re.findall(r"\d+(?:\.\d+)?", note)) <= own | {"10", "60"}
    assert "{" not in told(preset)


def test_what_a_note_says_is_counted() -> None:
    scores = np.array([[0.5, 0.6], [0.1, np.nan], [0.9, 0.7]])
    runs = Runs(
        COMPARED,
        (0, 1),
        {"gain": np.array([[[0.0]] * 2, [[6.0], [4.0]], [[0.1]] * 2])},
        {"score": scores, "largest_gain": np.array([[0, 0], [20.0, 30.0], [0.3, 0.5]])},
        "digits",
        0.1,
    )
    claims = evidence._Claims(runs)
    asked = ("seeds", "hc_learned", "mhc_learned", "mhc_accuracy", "mhc_accuracy_least")
    text = " ".join(f"{{{name}}}" for name in (*asked, "hc_gain_most", "early"))
    assert text.format_map(claims) == "2 0 2 80 % 70 % 10³⁰·⁰ 1"


@EVERY
def test_the_figure_draws_what_was_recorded(preset: str) -> None:
    runs = recorded_runs(preset)
    for replay in runs.replays:
        step = 7
        position = {"depth": 64, "iterations": 1, "replay": step}
        shown = ReplayFigure(runs, replay, position, layer=2)
        at = runs.seed_index(replay.seed)
        for c, name in enumerate(runs.connections):
            gain = shown.figures["gain"].select_one({"name": CONNECTIONS[name]}).data_source.data
            np.testing.assert_array_equal(gain["gain"], runs.curves["gain"][c, at])
            assert len(shown._others[name].data["gain"]) == SEEDS - 1
        for c, name in enumerate(shown.mixing):
            drawn = shown.figures["layers"].select_one({"name": f"{CONNECTIONS[name]}, forward"})
            np.testing.assert_array_equal(
                drawn.data_source.data["forward"], replay.gains[c, step - 1, 0]
            )
            block = shown.matrices[c].figure.renderers[0].data_source.data["value"]
            n = replay.h_res.shape[-1]
            # Of the last known step, 5.
            np.testing.assert_array_equal(
                np.reshape(block, (n + 1, n + 1))[:n, :n], replay.h_res[c, 1, 1]
            )


def test_the_page_of_the_documentation_is_counted_from_the_runs() -> None:
    """Anew by `python -m mhc_demo.lab.evidence mhc_demo/lab/data/runs.parquet`."""
    written = Path(__file__).parents[1] / "docs" / "evidence.md"
    assert written.read_text("utf-8") == evidence.page()


def test_the_table_that_ships_is_what_the_files_were_made_from() -> None:
    pytest.importorskip("pyarrow")
    frame = evidence.table(curves=True)
    for preset in (*PRESETS, "ablation"):
        runs, made = recorded_runs(preset), gathered(frame, preset)
        for name in TOTALS:
            np.testing.assert_array_equal(runs.totals[name], made.totals[name])
        for name in CURVES:
            np.testing.assert_allclose(
                runs.curves[name], made.curves[name], rtol=HALF, atol=1e-6, equal_nan=True
            )


def test_the_scene_of_the_story_is_of_the_recorded_runs() -> None:
    scene = SCENES["training"]
    runs = recorded_runs("fails")
    settings = PRESETS["fails"].settings()
    assert scene.state["lab_depth"] == settings.depth
    assert scene.state["lab_learning_rate"] == settings.learning_rate
    assert len(runs.seeds) == 16
    assert f"{len(runs.seeds)} seeds" in scene.text

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
    against_dense,
    gathered,
    keep,
    paired,
    reach,
    recorded_runs,
    replayed_seeds,
    settings_of,
    told,
)
from mhc_demo.lab.replay import ReplayFigure
from mhc_demo.lab.settings import PRESETS
from mhc_demo.lab.table import ROUTED, median_interval
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
    routed = ROUTED if PRESETS[preset].settings().computes.experts else ()
    assert set(runs.curves) == {*CURVES, *routed}
    for values in runs.curves.values():
        assert values.shape == (len(COMPARED), SEEDS, steps)
    assert set(runs.totals) == {*TOTALS, *routed}
    for values in runs.totals.values():
        assert values.shape == (len(COMPARED), SEEDS)
    scores = runs.totals["score"]
    best = 1.0 if runs.is_accuracy else np.log2(128)  # bits of all characters alike, and more
    assert ((scores >= 0) & (scores <= best) | np.isnan(scores)).all()
    # The largest gain is that of the curve, unless the curve was cut off at a run's end.
    np.testing.assert_allclose(
        np.nanmax(runs.curves["gain"], axis=-1), runs.totals["largest_gain"], rtol=HALF, atol=1e-3
    )


def test_the_ablation_ships_too_and_shares_its_runs_with_the_preset() -> None:
    runs, fails = recorded_runs("ablation"), recorded_runs("fails")
    assert runs.connections == ABLATION
    for name in ("hc", "mhc"):
        np.testing.assert_array_equal(runs.total("score", name), fails.total("score", name))


def test_the_dense_networks_differ_from_the_mixtures_in_their_task_alone() -> None:
    dense, mixtures = recorded_runs("dense"), recorded_runs("moe")
    assert (dense.connections, dense.seeds) == (mixtures.connections, mixtures.seeds)
    one, other = (settings_of(name, "hc", 3).values_by_name() for name in ("dense", "moe"))
    assert {name for name in one if one[name] != other[name]} == {"task"}
    assert not dense.routed
    assert (dense.totals["parameters"] < mixtures.totals["parameters"]).all()


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
        if not runs.routed:
            assert replay.loads is replay.entropies is replay.routers is None
            continue
        assert replay.loads is not None
        assert replay.entropies is not None
        assert replay.routers.tolist() == list(range(2, len(replay.gains[0, 0, 0]) + 1, 2))
        np.testing.assert_allclose(replay.loads.sum(axis=-1), 1, atol=4 * HALF)
        uneven = (replay.loads.max(axis=-1) * replay.loads.shape[-1] - 1).mean(axis=-1)
        for c, values in enumerate((uneven, replay.entropies.mean(axis=-1))):
            curve = runs.curves[ROUTED[c]][:, at, replay.steps - 1]
            np.testing.assert_allclose(values, curve, rtol=4 * HALF, atol=8 * HALF)


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
    replays = tuple(evidence.replayed(runs, "calm", seed, "typical") for seed in (0, 1))
    monkeypatch.setattr(evidence, "_path", lambda name: tmp_path / f"{name}.npz")
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
        evidence.replayed(runs, "calm", 1, "odd")


@EVERY
def test_a_note_has_no_number_of_its_own(preset: str) -> None:
    note = re.sub(r"\{\w+\}", "", PRESETS[preset].note)
    settings = PRESETS[preset].settings()
    own = {f"{v:g}" for v in settings.values_by_name().values() if isinstance(v, (int, float))}
    assert set(re.findall(r"\d+(?:\.\d+)?", note)) <= own | {"10", "60", "1"}
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


def test_mixture_and_dense_network_are_compared_seed_by_seed() -> None:
    runs, dense = recorded_runs("moe"), recorded_runs("dense")
    said = against_dense(runs, dense)
    for name in COMPARED:
        differences = runs.total("score", name) - dense.total("score", name)
        low, high, level = median_interval(differences, 1 - 0.05 / len(COMPARED))
        assert len(COMPARED) * (1 - level) < 0.05  # so all three hold at once in 95 % of cases
        told_apart = "the two are not told apart"
        if low > 0 or high < 0:
            told_apart = f"the {'dense network' if low > 0 else 'mixture'} is better"
        digits = [f"{v:+.3f}".replace("-", "−") for v in (np.median(differences), low, high)]
        assert f"{CONNECTIONS[name]} {digits[0]} ({digits[1]} to {digits[2]}), {told_apart}" in said


def test_an_interval_of_one_comparison_in_three_is_wider() -> None:
    # Of 16 differences three are above 0: the fourth largest is below it, the third is not.
    differences = np.array([-1.0] * 13 + [1.0] * 3)
    assert paired(differences, "less", "more").endswith("less")
    assert paired(differences, "less", "more", of=2).endswith("less")
    assert paired(differences, "less", "more", of=3).endswith("not told apart")


def test_the_reach_of_the_mixtures_runs_is_counted() -> None:
    runs, dense = recorded_runs("moe"), recorded_runs("dense")
    said = reach(runs, dense)
    hc, mhc, *without = (
        f"{10 ** each.total('largest_gain', name).max():.3g}"
        for each in (runs, dense)
        for name in ("hc", "mhc")
    )
    assert f"{hc} (HC) and {mhc} (mHC) with the mixture, {' and '.join(without)} with the" in said
    # Rows that sum to 1 and no negative entry: no column of a product sums to more than n.
    assert max(10 ** each.total("largest_gain", "mhc").max() for each in (runs, dense)) <= 4
    violations = runs.curves["load_violation"]
    tenth = violations.shape[-1] // 10
    late = [
        violations[..., at].mean(-1) for at in (slice(-3 * tenth, -2 * tenth), slice(-tenth, None))
    ]
    assert ("still falling" in said) == (np.median(late[1], -1) < np.median(late[0], -1)).all()


def test_the_balance_of_the_connections_is_compared_seed_by_seed() -> None:
    violations = np.array([[0.3, 0.4, 0.5, 0.6, 0.7, 0.8]] * 3)
    violations[1] -= 0.125
    violations[2] += [0.5, -0.25, 0.5, -0.25, 0.5, -0.25]
    runs = Runs(
        COMPARED,
        tuple(range(6)),
        {"load_violation": np.empty(0)},
        {"load_violation": violations},
        "moe",
        4.69,
    )
    said = evidence.balanced(runs)
    assert "HC −0.125 (−0.125 to −0.125), less; mHC +0.125 (−0.250 to +0.500), the two" in said
    assert "(order statistics, 96.9 %; " in said  # 1 - 2 / 2^6: of six values all are needed


def test_a_run_that_diverged_counts_as_guessing_where_fewer_bits_are_better() -> None:
    runs = Runs(("hc",), (0, 1), {}, {"score": np.array([[3.0, np.nan]])}, "moe", 4.69)
    assert runs.scores("hc").tolist() == [3.0, 4.69]
    assert runs.enough == pytest.approx(3.752)
    assert runs.said(3.0) == "3.00"


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
        assert ("load" in shown.figures) == runs.routed
        if runs.routed:
            for c, name in enumerate(runs.connections):
                dots, bits = (
                    shown.figures[each].select_one({"name": CONNECTIONS[name]}).data_source.data
                    for each in ("load", "entropy")
                )
                np.testing.assert_array_equal(dots["load"], replay.loads[c, 1].ravel())
                assert dots["expert"].tolist() == list(range(1, 9)) * len(replay.routers)
                np.testing.assert_array_equal(dots["layer"].round(), np.repeat(replay.routers, 8))
                np.testing.assert_array_equal(bits["entropy"], replay.entropies[c, 1])


def test_the_page_of_the_documentation_is_counted_from_the_runs() -> None:
    """Anew by `python -m mhc_demo.lab.evidence mhc_demo/lab/data/runs.parquet`."""
    written = Path(__file__).parents[1] / "docs" / "evidence.md"
    assert written.read_text("utf-8") == evidence.page()


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


def test_the_scene_of_the_story_is_of_the_recorded_runs() -> None:
    scene = SCENES["training"]
    runs = recorded_runs("fails")
    settings = PRESETS["fails"].settings()
    assert scene.state["lab_depth"] == settings.depth
    assert scene.state["lab_learning_rate"] == settings.learning_rate
    assert len(runs.seeds) == 16
    assert f"{len(runs.seeds)} seeds" in scene.text

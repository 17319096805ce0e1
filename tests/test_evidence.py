"""The recorded runs: what ships is what was trained."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from mhc_demo import lab
from mhc_demo.lab.connections import ABLATION, COMPARED, CONNECTIONS, KINDS
from mhc_demo.lab.evidence import CURVES, SEEDS, TOTALS, Runs, recorded_runs, settings_of
from mhc_demo.lab.gathering import replayed_seeds
from mhc_demo.lab.replay import ReplayFigure
from mhc_demo.lab.settings import PRESETS
from mhc_demo.lab.table import ROUTED
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


@pytest.mark.parametrize(
    "connection",
    [pytest.param(name, marks=[] if name == "mhc" else pytest.mark.long) for name in COMPARED],
)
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


def test_the_scene_of_the_story_is_of_the_recorded_runs() -> None:
    scene = SCENES["training"]
    runs = recorded_runs("fails")
    settings = PRESETS["fails"].settings()
    assert scene.state["lab_depth"] == settings.depth
    assert scene.state["lab_learning_rate"] == settings.learning_rate
    assert len(runs.seeds) == 16
    assert f"{len(runs.seeds)} seeds" in scene.text

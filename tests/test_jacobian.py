"""The Jacobian of whole networks: what ships is what PyTorch computes, and what it must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mhc_demo.lab.connections import COMPARED
from mhc_demo.lab.jacobian import (
    EXAMPLES,
    MEASURES,
    SEEDS,
    STAGES,
    keep,
    measured,
    recorded_jacobians,
)
from mhc_demo.lab.settings import PRESETS, Settings
from mhc_demo.lab.tasks import TASKS
from mhc_demo.lab.whole import ALONE, WHOLE, jacobian_figures, jacobian_table

HALF = 2.0**-10
"""The relative error of half precision, twice: of what ships, and of its text."""


def test_every_stage_ships_with_all_its_seeds() -> None:
    found = recorded_jacobians()
    assert found.connections == COMPARED
    assert found.seeds == tuple(range(SEEDS))
    for stage, (preset, _) in STAGES.items():
        depth = PRESETS[preset].settings().depth
        assert found.layers(stage) == depth
        for name in MEASURES:
            assert found.norms[stage][name].shape == (len(COMPARED), SEEDS, depth)
            assert np.isfinite(found.norms[stage][name]).all()


@pytest.mark.parametrize(("connection", "seed", "layers"), [("hc", 5, 6), ("mhc", 2, 4)])
def test_pytorch_computes_what_ships(connection: str, seed: int, layers: int) -> None:
    torch = pytest.importorskip("torch")
    from mhc_demo.lab.training import Run

    settings = PRESETS["fails"].settings(connection=connection, seed=seed)
    data = TASKS[settings.task].data(seed)
    network = Run(settings, data).network
    network.layers = network.layers[:layers]  # later ones have no part in it
    anew = measured(network, torch.tensor(data.validation.inputs[:EXAMPLES]))
    shipped = recorded_jacobians().norms["start"]
    c = COMPARED.index(connection)
    for name in MEASURES:
        # Sinkhorn's column sums are not exactly 1 in float32, in which the logits are.
        np.testing.assert_allclose(
            anew[name], shipped[name][c, seed, :layers], rtol=HALF, atol=2e-6
        )


@pytest.mark.parametrize("connection", COMPARED)
def test_the_product_of_the_layers_is_the_jacobian_of_them_together(connection: str) -> None:
    torch = pytest.importorskip("torch")
    from mhc_demo import nn as mnn
    from mhc_demo.lab.training import trained

    settings = Settings(
        connection=connection, depth=3, width=4, streams=2, steps=2, learning_rate=0.03
    )
    data = TASKS[settings.task].data(0)
    network = trained(settings, data)
    inputs = torch.tensor(data.validation.inputs[:2])
    found = measured(network, inputs)

    def through(h: torch.Tensor) -> torch.Tensor:
        for layer in network.layers:
            h = layer(h)
        return h

    whole, reduced = [], []
    for x in network.entry(inputs.double()).detach():
        h = mnn.expand_streams(x[None], network.streams)
        jacobian = torch.autograd.functional.jacobian(through, h)
        whole.append(torch.linalg.matrix_norm(jacobian.reshape(h.numel(), h.numel()), 2).item())
        used = torch.autograd.functional.jacobian(
            lambda x: mnn.reduce_streams(through(mnn.expand_streams(x, network.streams))), x[None]
        )
        reduced.append(torch.linalg.matrix_norm(used.reshape(len(x), len(x)), 2).item())
    # Both are in float64.
    np.testing.assert_allclose(found["jacobian"][-1], np.log10(np.mean(whole)), rtol=1e-9)
    np.testing.assert_allclose(found["through"][-1], np.log10(np.mean(reduced)), rtol=1e-9)


def test_before_training_all_three_are_the_same_network_with_a_composite_of_1() -> None:
    start = recorded_jacobians().norms["start"]
    for name in ("composite", "amax"):
        np.testing.assert_allclose(start[name], 0.0, atol=2e-6)
    for c in range(len(COMPARED)):
        np.testing.assert_allclose(start["through"][c], start["through"][0], rtol=HALF)
    residual, hc, mhc = start["jacobian"][:, :, -1]
    assert (residual > 1).all()  # ten times what the composite says, and more
    assert ((residual < mhc) & (mhc < hc)).all()


def test_the_residual_network_mixes_nothing_and_its_streams_are_alike() -> None:
    for norms in recorded_jacobians().norms.values():
        assert (norms["composite"][0] == 0).all()
        np.testing.assert_array_equal(norms["jacobian"][0], norms["through"][0])


def test_after_training_hc_s_whole_network_follows_its_composite_and_mhc_s_does_not() -> None:
    fails = recorded_jacobians().norms["fails"]
    c = COMPARED.index("hc")
    whole, alone = fails["jacobian"][c, :, -1], fails["composite"][c, :, -1]
    assert np.corrcoef(whole, alone)[0, 1] > 0.9
    m = COMPARED.index("mhc")
    assert (fails["composite"][m, :, -1] < 0.5).all()
    assert (fails["jacobian"][m, :, -1] > 1.5).all()


def test_the_plots_have_the_medians_and_the_ends_of_the_seeds() -> None:
    found = recorded_jacobians()
    figures = jacobian_figures(found)
    assert list(figures) == list(STAGES)
    for stage, p in figures.items():
        series = {each["name"]: each for each in p.tags[0]["series"]}
        assert set(series) == {
            "Residual, whole network",
            "HC, whole network",
            "mHC, whole network",
            "HC, H_res alone",
            "mHC, H_res alone",
        }
        for measure, name in ((WHOLE, "HC, whole network"), (ALONE, "HC, H_res alone")):
            values = found.norms[stage][measure][COMPARED.index("hc")]
            data = series[name]["source"].data
            np.testing.assert_array_equal(data["median"], np.median(values, axis=0))
            np.testing.assert_array_equal(data["least"], values.min(axis=0))
            np.testing.assert_array_equal(data["most"], values.max(axis=0))
            assert p.y_range.start <= values.min() <= values.max() <= p.y_range.end
    assert jacobian_table(found).count("<tr>") == 1 + len(MEASURES) * len(COMPARED)


def test_seeds_that_are_added_stand_behind_those_that_were_there(tmp_path: Path) -> None:
    before = recorded_jacobians()
    layers = {stage: before.layers(stage) for stage in STAGES}
    new = {
        stage: [{name: np.full(layers[stage], 0.5) for name in MEASURES} for _ in COMPARED]
        for stage in STAGES
    }
    keep([new], "somewhere else", tmp_path / "more.npz", before)
    with np.load(tmp_path / "more.npz") as kept:
        assert kept["seeds"].tolist() == [*before.seeds, len(before.seeds)]
        assert str(kept["made"]).endswith(f"from seed {len(before.seeds)} on somewhere else")
        for stage in STAGES:
            for name in MEASURES:
                found = kept[f"{stage}_{name}"]
                np.testing.assert_array_equal(found[:, :-1], before.norms[stage][name])
                assert (found[:, -1] == 0.5).all()

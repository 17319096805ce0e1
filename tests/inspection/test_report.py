"""What a report says of a model's mappings: the library's numbers, and words that follow them."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mhc_demo as mhc
from mhc_demo import nn as mnn
from mhc_demo.inspection.figure import ModelFigure, panels
from mhc_demo.inspection.logits import centred, recovered
from mhc_demo.numerics.gains import DEFINITIONS, DIRECTIONS
from mhc_demo.numerics.metrics import METRICS

Z = mhc.sample_mixing(depth=12, streams=4, members=5, spread=2.0, seed=3)
P = mhc.sinkhorn_knopp(Z)
HC = mhc.sample_mixing(depth=12, streams=4, members=5, init="identity", spread=0.4, seed=3)
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}  # gains are kept in float32
HOSTILE = "<script>alert('x')</script>"


@pytest.mark.parametrize("H", [P, HC, Z, HC[0], P[:, :1], HC[:, :2]], ids=range(6))
def test_the_numbers_are_the_library_s(H: np.ndarray) -> None:
    data = mhc.inspect(H).to_xarray()
    tokens = H.reshape(-1, *H.shape[-3:])
    depth = H.shape[-3]
    for definition in DEFINITIONS:
        for direction in DIRECTIONS:
            single = np.log10(mhc.amax_gain(tokens, direction, definition))
            whole = mhc.compose(tokens, direction).log10_gain(direction, definition)
            for name, gains in (("layer_gain", single), ("composite_gain", whole)):
                found = data[name].sel(definition=definition, direction=direction)
                for series, wanted in (
                    ("mean", np.log10(np.mean(10**gains, axis=0))),
                    ("median", np.median(gains, axis=0)),
                    ("q95", np.quantile(gains, 0.95, axis=0)),
                    ("smallest", gains.min(axis=0)),
                    ("largest", gains.max(axis=0)),
                ):
                    np.testing.assert_allclose(found.sel(series=series), wanted, **CLOSE)
    np.testing.assert_allclose(data["h_res"], tokens.mean(axis=0), rtol=0, atol=1e-15)
    for axis, name in ((-1, "row"), (-2, "column")):
        sums = tokens.sum(axis=axis)
        found = data["sum"].sel(axis=name)
        np.testing.assert_allclose(found.sel(series="largest"), sums.max(axis=(0, 2)))
        np.testing.assert_allclose(found.sel(series="smallest"), sums.min(axis=(0, 2)))
    composite = data["composite_mantissa"] * 2.0 ** data["composite_exponent"]
    wanted = mhc.compose(tokens).matrices().mean(axis=0)
    np.testing.assert_allclose(composite, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())
    upper = data["upper_mantissa"] * 2.0 ** data["upper_exponent"]
    last = mhc.compose(tokens[:, depth // 2 :]).matrices().mean(axis=0)[-1]
    np.testing.assert_allclose(upper, last, rtol=1e-9, atol=1e-9 * np.abs(last).max())
    for name, metric in METRICS.items():
        if not metric.scale_free and H.min() < 0:
            assert data[name].isnull().all()
        else:
            of = (
                mhc.compose(tokens).mantissa
                if metric.scale_free
                else mhc.compose(tokens).matrices()
            )
            # The ratio of a long product is more exact than the product; see `test_lyapunov.py`.
            np.testing.assert_allclose(data[name], metric(of).mean(axis=0), rtol=1e-9, atol=1e-12)


def test_many_tokens_are_measured_a_few_at_a_time_with_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = mhc.inspect(HC).to_xarray()
    monkeypatch.setattr("mhc_demo.inspection.measuring.BLOCK_BYTES", 2 * HC[0].nbytes)
    blocks: list[int] = []

    def watch(items: Any) -> Any:
        blocks.append(len(items))
        return items

    in_blocks = mhc.inspect(HC, watch=watch).to_xarray()
    assert blocks == [3]
    for name in ("layer_gain", "composite_gain", "h_res", "sum", "off_diagonal"):
        np.testing.assert_allclose(in_blocks[name], whole[name], rtol=1e-12)
    power = (in_blocks["composite_exponent"] - whole["composite_exponent"]).values
    mantissa = in_blocks["composite_mantissa"] * 2.0 ** power[:, None, None]
    np.testing.assert_allclose(mantissa, whole["composite_mantissa"], rtol=1e-9, atol=1e-12)


def test_composites_beyond_any_float_are_told_by_their_power() -> None:
    report = mhc.inspect(np.full((40, 2, 2), 1e30))
    assert "explodes: Amax gain 10^1212.0 forward" in report.verdicts()[0]
    gains = report.to_xarray()["composite_gain"].sel(direction="forward", series="mean")
    assert float(gains[0, -1]) == pytest.approx(40 * (30 + math.log10(2)))
    assert panels(report.to_xarray())[-1].title == "Composite 1–40, × 10^1211"


def test_matrices_of_zeros_vanish() -> None:
    report = mhc.inspect(np.zeros((3, 2, 2)))
    assert "vanishes: Amax gain 0 forward, 0 backward" in report.verdicts()[0]
    assert "No layer mixes" in report.verdicts()[1]


# How sharp the logits are


@pytest.mark.parametrize("iterations", [1, 20])
def test_a_projected_matrix_remembers_its_logits(iterations: int) -> None:
    found = recovered(mhc.sinkhorn_knopp(Z, iterations))
    np.testing.assert_allclose(found, centred(Z), rtol=0, atol=1e-12)


def needed(logits: np.ndarray) -> np.ndarray:
    """For each layer the iterations until every sum is within 1 % of 1, one after the other."""
    counts = np.zeros(logits.shape[:2], int)
    for where in np.ndindex(*counts.shape):
        for t in range(1, 500):
            once = mhc.sinkhorn_knopp(logits[where], iterations=t)
            if mhc.distance_from_doubly_stochastic(once) < 0.01:
                counts[where] = t
                break
    return counts.max(axis=0)


def test_the_iterations_that_logits_need_are_counted() -> None:
    tame = mhc.inspect(P)
    data = tame.to_xarray()
    np.testing.assert_array_equal(data["iterations_needed"], needed(centred(Z)))
    np.testing.assert_allclose(data["largest_logit"], np.abs(centred(Z)).max(axis=(0, 2, 3)))
    mild = mhc.inspect(mhc.sinkhorn_knopp(Z / 2))
    assert "so 20 are enough" in mild.verdicts()[-1]
    sharp = mhc.sample_mixing(depth=4, streams=4, members=3, spread=6.0, seed=3)
    report = mhc.inspect(mhc.sinkhorn_knopp(sharp))
    left = mhc.distance_from_doubly_stochastic(mhc.sinkhorn_knopp(centred(sharp)))
    most = int(report.to_xarray()["iterations_needed"].max())
    assert report.verdicts()[-1].endswith(
        f"20 Sinkhorn iterations are not enough: they leave sums off by {left.max():.3f}; within "
        f"1 % would take {most}."
    )
    assert "logits" not in " ".join(mhc.inspect(HC).verdicts())


# Models, arrays, files


def network(streams: int = 4, projection: str = "sinkhorn") -> Any:
    torch.manual_seed(0)
    layers = [
        mnn.ManifoldHyperConnection(
            torch.nn.Linear(8, 8), 8, streams, layer=layer, projection=projection
        )
        for layer in range(3)
    ]
    model = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mappings" in name:
                parameter.normal_(std=0.6)
    return model


X = mnn.expand_streams(torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)), 4)


def test_a_model_is_recorded_with_its_logits_and_no_gradient() -> None:
    model = network()
    report = mhc.inspect(model, X)
    with mnn.record_mappings(model) as maps:
        model(X)
    np.testing.assert_allclose(
        report.matrices, maps.stack().detach().numpy().reshape(10, 3, 4, 4), rtol=0, atol=1e-6
    )
    assert report.layers == tuple(maps.names)
    assert report.name == "Sequential"
    assert not report.to_xarray()["iterations_needed"].isnull().any()
    for same in (mhc.inspect(model, (X,)), mhc.inspect(model, {"input": X}), mhc.inspect(maps)):
        np.testing.assert_allclose(same.to_xarray()["h_res"], report.to_xarray()["h_res"])
    # Of a projection that does not iterate, there is nothing to count.
    other = mhc.inspect(network(projection="mhc-lite"), X)
    assert other.to_xarray()["iterations_needed"].isnull().all()


def test_a_pattern_is_passed_on_to_the_recording() -> None:
    model = network()
    found = mhc.inspect(
        model, X, where="*.mappings", read=lambda output: output[2], transposed=True, name="mine"
    )
    plain = mhc.inspect(model, X)
    np.testing.assert_allclose(found.matrices, plain.matrices.swapaxes(-1, -2))
    assert found.name == "mine"


@pytest.mark.parametrize(
    ("given", "options", "error", "said"),
    [
        (np.eye(3), {}, ValueError, r"shape \(layers, n, n\)"),
        (np.zeros((2, 3, 4)), {}, ValueError, "square"),
        (np.full((1, 2, 2), np.nan), {}, ValueError, "finite"),
        (torch.full((1, 2, 2), math.nan), {}, ValueError, "finite"),
        ([np.zeros((2, 3, 3))] * 2, {}, ValueError, "where the layers are"),
        ("text", {}, FileNotFoundError, "text"),
        (HC, {"inputs": X}, TypeError, "inputs"),
        (HC, {"array": "h"}, TypeError, "array"),
        (HC, {"where": "*"}, TypeError, "where"),
        (torch.nn.Linear(1, 1), {}, TypeError, "inputs"),
        (torch.nn.Linear(1, 1), {"inputs": X}, ValueError, "no layer"),
    ],
    ids=range(11),
)
def test_what_cannot_be_inspected_is_named(
    given: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        mhc.inspect(given, **options)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_saved_is_inspected_again(suffix: str, tmp_path: Path) -> None:
    report = mhc.inspect(network(), X)
    report.save(tmp_path / f"maps{suffix}")
    again = mhc.inspect(tmp_path / f"maps{suffix}")
    np.testing.assert_array_equal(again.matrices, report.matrices)
    assert again.layers == report.layers
    with pytest.raises(ValueError, match=r"\.npz or \.safetensors"):
        report.save(tmp_path / "maps.pt")
    if suffix == ".safetensors":
        package = pytest.importorskip("safetensors.numpy")
        kept = package.load_file(tmp_path / "maps.safetensors")
        np.testing.assert_array_equal(kept["h_res"], report.matrices)


class Streams(torch.nn.Sequential):
    """The network, streams inside."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return mnn.reduce_streams(super().forward(mnn.expand_streams(x, 4)))


def test_only_a_model_can_be_diagnosed() -> None:
    model, x = Streams(*network()), X.mean(-2)
    found = mhc.inspect(model, x).diagnose()
    assert found.verdict == mhc.diagnose(model, x).verdict
    assert "3 layers" in found.verdict
    with pytest.raises(ValueError, match="only a model"):
        mhc.inspect(HC).diagnose()


# Words


def test_a_summary_is_a_table_that_fits_a_terminal() -> None:
    report = mhc.inspect(HC)
    lines = report.summary().splitlines()
    assert lines[0] == "array: ndarray (5, 12, 4, 4); 12 layers, n = 4 streams, 5 tokens"
    head = next(k for k, line in enumerate(lines) if line.startswith("layer"))
    assert len(lines[head + 1 :]) == 12
    assert max(map(len, lines[head:])) <= 110
    gains = report.to_xarray()["composite_gain"].sel(definition="paper", series="mean")
    last = lines[-1].split()
    assert float(last[3]) == pytest.approx(
        10 ** float(gains.sel(direction="forward")[-1]), rel=6e-3
    )
    assert "12 layers; summary(rows=12)" in report.summary(rows=5)
    with pytest.raises(ValueError, match="rows"):
        report.summary(rows=0)


def test_the_verdicts_follow_the_numbers() -> None:
    assert mhc.inspect(P).verdicts()[0].startswith("The composite of all 12 layers stays near 1")
    assert "The layers mix" in mhc.inspect(P).verdicts()[1]
    assert "explodes" in mhc.inspect(Z).verdicts()[0]
    assert "vanishes" in mhc.inspect(Z / 30).verdicts()[0]
    assert "entries are negative" in mhc.inspect(Z).verdicts()[0]
    frozen = mhc.inspect(np.stack([np.eye(4)] * 3)).verdicts()
    assert "No layer mixes its streams" in frozen[1]
    assert "4.00 of 4" in frozen[2]


def test_what_fades_in_the_composites_columns_is_told() -> None:
    sums = mhc.compose(P).matrices().sum(axis=-2)
    sums = sums.reshape(-1, *sums.shape[-2:])  # (tokens, layers, streams)
    least, most = sums.min(axis=-1).mean(axis=0).min(), sums.max(axis=-1).mean(axis=0).max()
    wanted = f"columns of the composites, the mean over tokens, {least:.3f} to {most:.3f}."
    assert wanted in mhc.inspect(P).verdicts()[3]
    assert "columns of the composites" not in " ".join(mhc.inspect(Z).verdicts())


# Figures


def test_the_figures_plot_these_numbers() -> None:
    data = mhc.inspect(HC).to_xarray()
    drawn = ModelFigure(data, {"depth": 64, "iterations": 1})
    for p, name in ((drawn.single, "layer_gain"), (drawn.composite, "composite_gain")):
        lines = {r.name: r for r in p.renderers if r.name}
        for network_, definition in (("largest |sum|", "paper"), ("induced norm", "worst-case")):
            for direction in DIRECTIONS:
                source = lines[f"{network_}, {direction}"].data_source
                wanted = data[name].sel(definition=definition, direction=direction)
                for series in ("median", "mean"):
                    shown = source.data[f"{direction}_{series}"]
                    np.testing.assert_allclose(shown, wanted.sel(series=series), **CLOSE)
    (column,) = (r for r in drawn.sums.renderers if r.name == "column sums")
    np.testing.assert_allclose(
        column.data_source.data["largest"], data["sum"].sel(axis="column", series="largest")
    )
    titles = {p.title.text for p in drawn.matrices}
    assert titles == {"Layer 12", "Composite 1–12"}
    assert len({p.name for p in drawn.figures()}) == 9
    (ratio,) = (p for p in drawn.mixing if p.name == "ratio")
    (line,) = (r for r in ratio.renderers if r.name)  # and no theory, which is of HC's init
    np.testing.assert_allclose(
        line.data_source.data["value"], np.log10(data["singular_ratio"]), **CLOSE
    )


def test_the_panels_beside_figure_8_are_the_composites_it_has() -> None:
    found = {panel.title: panel.matrix for panel in panels(mhc.inspect(HC).to_xarray())}
    assert list(found) == [
        *("Layer 1", "Layer 6", "Layer 12"),
        *("Composite 1–6", "Composite 7–12", "Composite 1–12"),
    ]
    wanted = mhc.compose(HC[:, 6:]).matrix(at=6).mean(axis=0)
    np.testing.assert_allclose(found["Composite 7–12"], wanted)
    large = panels(mhc.inspect(Z * 10).to_xarray())[-1]
    power = int(re.fullmatch(r"Composite 1–12, × 10\^(\d+)", large.title)[1])
    wanted = mhc.compose(Z * 10).matrix(at=12).mean(axis=0)
    np.testing.assert_allclose(large.matrix * 10.0**power, wanted, rtol=1e-9)
    assert [panel.title for panel in panels(mhc.inspect(HC[:, :1]).to_xarray())] == ["Layer 1"]


def test_a_page_shows_whatever_comes_from_a_file_as_text(tmp_path: Path) -> None:
    plots = mhc.inspect(HC, name=HOSTILE).plot()
    plots.save(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert (
        page.count("alert(") == page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;") > 2
    )
    assert len(page) < 3e6
    with pytest.raises(ValueError, match=r"\.html"):
        plots.save(tmp_path / "r.svg")


def test_a_notebook_shows_the_page_and_a_picture_in_its_place() -> None:
    report = mhc.inspect(HC[:1, :2], name=HOSTILE)
    shown = report._repr_mimebundle_()
    assert shown["text/plain"] == report.summary()
    assert "<iframe srcdoc=" in shown["text/html"]
    assert 'src="data:image/svg+xml' in shown["text/html"]
    assert HOSTILE not in shown["text/html"]


def test_an_array_is_inspected_without_panel_bokeh_or_torch() -> None:
    script = (
        "import sys, numpy as np, mhc_demo as mhc; mhc.inspect(np.ones((2, 3, 3))).summary(); "
        "print({'panel', 'bokeh', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"

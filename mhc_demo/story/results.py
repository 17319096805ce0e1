"""The numbers in the story's texts, computed with the library for what a scene shows.

`NUMBERS` has all of them by the names that texts use; those that depend on no scene are in
`measured.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..numerics.budget import Budget
from ..numerics.budget_tables import released
from ..numerics.costs import fused_traffic, hyper_connection_traffic, residual_traffic
from ..numerics.gains import log10_composite_gains
from ..numerics.growth import gaussian_growth
from ..numerics.metrics import METRICS
from ..numerics.mixing import sample_mixing
from ..numerics.numbers import in_text
from ..numerics.paper import TABLE_5, PrintedMatrix, figure8
from ..numerics.projecting import project
from ..numerics.signal import signal_surface
from ..numerics.surface import EXPERIMENT_PARAMETERS, Experiment, gain_surface, layer_gains
from .measured import MEASURED


class Results:
    """What the library computes for a state of the page."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.experiment = Experiment(**{name: values[name] for name in EXPERIMENT_PARAMETERS})

    @cached_property
    def surface(self) -> xr.DataArray:
        return gain_surface(self.experiment)["log10_gain"]

    def gain(
        self,
        iterations: int | None = None,
        series: str = "median",
        *,
        least: bool = False,
        **where: Any,
    ) -> float:
        """log10 of the composite gain at the state's depth; the larger if no direction is given."""
        t = self.values["iterations"] if iterations is None else iterations
        gains = self.surface.sel(iterations=t, depth=self.values["depth"], series=series, **where)
        return float(gains.min() if least else gains.max())

    def typical(self) -> float:
        """log10 of HC's gain of one layer: the ensemble's median, the mean over the layers."""
        layers = layer_gains(self.experiment).sel(iterations=0, series="median")
        return float(layers.mean())

    def stacked(self) -> float:
        """log10 of what theory makes of a stack whose first layer has the typical gain."""
        rate = gaussian_growth(self.experiment.streams)[0]
        return self.typical() + (int(self.values["depth"]) - 1) * rate

    def slope(self) -> float:
        """By how many decades a layer HC's median composite gain grows, the mean of both ways."""
        median = self.surface.sel(iterations=0, series="median")
        last = self.values["depth"]
        grown = median.sel(depth=last) - median.sel(depth=1)
        return float(grown.mean()) / (last - 1)

    def difference_left(self) -> float:
        """How much of what entered the projected network is left, by its 2-norm."""
        values = self.values
        signal = signal_surface(self.experiment, entering=values["enters"])
        there = signal["log10"].sel(iterations=values["iterations"], position=values["depth"])
        norm = float(np.linalg.norm(10.0**there.values))
        return norm / float(np.linalg.norm(signal["entering"].values))


NUMBERS: dict[str, Callable[[Results], str]] = {
    "hc": lambda results: in_text(results.gain(0)),
    "projected": lambda results: in_text(results.gain()),
    "after_1": lambda results: in_text(results.gain(1)),
    "after_20": lambda results: in_text(results.gain(20)),
    "member_forward": lambda results: in_text(results.gain(series="member", direction="forward")),
    "member_backward": lambda results: in_text(results.gain(series="member", direction="backward")),
    "typical": lambda results: in_text(results.typical()),
    "power": lambda results: in_text(results.values["depth"] * results.typical()),
    "stacked": lambda results: in_text(results.stacked()),
    "worst_layer": lambda results: f"{10 ** _worst_layer(results.experiment):.1f}",
    "rate": lambda results: f"{gaussian_growth(results.experiment.streams)[0]:.3f}",
    "factor": lambda results: f"{10 ** gaussian_growth(results.experiment.streams)[0]:.2f}",
    "slope": lambda results: f"{results.slope():.3f}",
    "signed": lambda results: in_text(_signed(results.experiment, results.values["depth"])),
    "alike": lambda results: in_text(_hundredth(results.experiment, results.values)),
    "independent": lambda results: in_text(
        _hundredth(results.experiment.changed(init="gaussian"), results.values)
    ),
    "distance_moved": lambda results: f"{_distance_moved(results.experiment):.2f}",
    "low": lambda results: in_text(results.gain(0, "q05", least=True)),
    "high": lambda results: in_text(results.gain(0, "q95")),
    "first_layer": lambda results: f"{_printed_gain('layer_1'):.1f}",
    "last_layer": lambda results: f"{_printed_gain('layer_60'):.1f}",
    "safe": lambda results: f"{_drift_of_hc(results.experiment, results.values['depth']):.1f}",
    "drift_median": lambda results: in_text(_median(results.experiment, results.values)),
    "difference": lambda results: f"{results.difference_left():.2f}",
    "difference_median": lambda results: (
        f"{_difference_left(results.experiment, results.values):.3f}"
    ),
    "columns_hc": lambda results: f"{_printed_columns('hc')[1]:.0f}",
    "columns_least": lambda results: f"{_printed_columns('mhc')[0]:.2f}",
    "columns_most": lambda results: f"{_printed_columns('mhc')[1]:.2f}",
    "effective_hc": lambda results: f"{_effective('hc'):.2f}",
    "effective_mhc": lambda results: f"{_effective('mhc'):.2f}",
    "effective_hc_whole": lambda results: f"{_effective('hc', 'composite_1_60'):.2f}",
    "effective_mhc_whole": lambda results: f"{_effective('mhc', 'composite_1_60'):.2f}",
    "reads": lambda results: f"{_traffic_of_27b('read'):.1f}",
    "writes": lambda results: f"{_traffic_of_27b('written'):.1f}",
    "reads_fused": lambda results: f"{_traffic_of_27b('read', fused=True):.1f}",
    "writes_fused": lambda results: f"{_traffic_of_27b('written', fused=True):.1f}",
    "stored": lambda results: f"{_stored_by_v4('everything', 'residual'):.1f}",
    "stored_recomputed": lambda results: (
        f"{_stored_by_v4('recomputed', 'residual_recomputed'):.1f}"
    ),
    "carried": lambda results: f"{_v4().token.streams_bytes // _v4().token.residual_bytes}",
    "mapping_share": lambda results: f"{100 * (_v4().weights.share or 0):.2g} %",
    **MEASURED,
}
"""The functions that compute the numbers in the texts, formatted as there."""


def _signed(experiment: Experiment, depth: int) -> float:
    """log10 of the worst-case gain of signed matrices whose rows and columns all sum to 1.

    They are the nearest such matrices to random ones; the median of 200 networks, in the larger
    direction.  (Facts on signs: rows that sum to 1 bound a product only if no entry is negative.)
    """
    z = sample_mixing(depth, experiment.streams, 200, seed=experiment.seed)
    for axis in (-2, -1):
        z = z - z.mean(axis, keepdims=True)
    gains = log10_composite_gains(z + 1 / experiment.streams, "forward", "worst-case")
    return float(np.median(gains[..., -1], axis=-1).max())


def _many(experiment: Experiment, depth: int, **options: Any) -> NDArray[Any]:
    """The matrices, or the logits, of 2,000 networks of an experiment."""
    return sample_mixing(depth, members=2000, **{**experiment.drawing(), **options})


def _hundredth(experiment: Experiment, values: Mapping[str, Any]) -> float:
    """log10 of the backward gain that one network in a hundred reaches, of 2,000."""
    logits = _many(experiment, values["depth"], logits=True)
    projected = project(logits, experiment.projection, values["iterations"])
    gains = log10_composite_gains(projected, "forward", gains=("backward",))
    return float(np.quantile(gains[0][..., -1], 0.99))


def _median(experiment: Experiment, values: Mapping[str, Any]) -> float:
    """log10 of HC's gain, the median of 2,000 networks, in the larger direction."""
    gains = log10_composite_gains(_many(experiment, values["depth"]), "forward")
    return float(np.median(gains[..., -1], axis=-1).max())


def _worst_layer(experiment: Experiment) -> float:
    """log10 of what one layer of HC makes of its worst input, by the largest entry: the median."""
    gains = log10_composite_gains(_many(experiment, 1), "forward", "worst-case")
    return float(np.median(gains[0]))


def _difference_left(experiment: Experiment, values: Mapping[str, Any]) -> float:
    """As `Results.difference_left`, the median of 2,000 networks."""
    logits = _many(experiment, values["depth"], logits=True)
    signal = np.zeros((len(logits), experiment.streams, 1))
    signal[:, 0], signal[:, 1] = 1, -1
    for layer in range(values["depth"]):
        mixed = project(logits[:, layer], experiment.projection, values["iterations"])
        signal = mixed @ signal
    return float(np.median(np.linalg.norm(signal, axis=(-2, -1)))) / math.sqrt(2)


def _distance_moved(experiment: Experiment) -> float:
    """How far HC's matrices are from the identity (Frobenius norm), the mean over the ensemble."""
    moved = sample_mixing(64, members=experiment.members, **experiment.drawing())
    return float(np.linalg.norm(moved - np.eye(experiment.streams), axis=(-2, -1)).mean())


def _drift_of_hc(experiment: Experiment, depth: int) -> float:
    """What HC grows to by (n - 2) sigma^2 / 2 nats a layer, for small drift from the identity."""
    return math.exp(depth * (experiment.streams - 2) * experiment.spread**2 / 2)


def _composites(method: str) -> list[PrintedMatrix]:
    return [
        panel for panel in figure8() if panel.method == method and panel.key.startswith("composite")
    ]


def _printed_columns(method: str) -> tuple[float, float]:
    """The smallest and the largest absolute column sum that Figure 8 prints of a composite."""
    sums = [abs(value) for panel in _composites(method) for value in panel.column_sums]
    return min(sums), max(sums)


def _printed_gain(key: str) -> float:
    """The larger gain of one of HC's matrices in Figure 8, from its printed sums."""
    panel = next(each for each in figure8() if (each.method, each.key) == ("hc", key))
    return float(np.abs([*panel.row_sums, *panel.column_sums]).max())


def _effective(method: str, key: str = "composite_31_60") -> float:
    """The effective number of streams of one of Figure 8's composites."""
    panel = next(each for each in _composites(method) if each.key == key)
    return float(METRICS["effective_streams"](panel.matrix))


def _v4() -> Budget:
    """What the streams of DeepSeek-V4-Flash take, on one rank."""
    return released("DeepSeek-V4-Flash")


def _stored_by_v4(streams: str, residual: str) -> float:
    """What the streams store in training, in units of what a residual network stores."""
    stored = _v4().stored
    return getattr(stored, f"{streams}_bytes") / getattr(stored, f"{residual}_bytes")


def _traffic_of_27b(kind: str, *, fused: bool = False) -> float:
    """HC's memory traffic, "read" or "written", relative to a plain residual connection's."""
    model = TABLE_5["27B"]
    count = fused_traffic if fused else hyper_connection_traffic
    traffic = count(model.streams, model.width)
    return getattr(traffic, kind) / getattr(residual_traffic(model.width), kind)

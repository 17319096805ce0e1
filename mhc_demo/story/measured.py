"""The numbers in texts that were measured, counted or printed: functions of nothing but the data.

They do not depend on what a scene shows.  `results.NUMBERS` has them all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..lab.connections import ABLATION, COMPARED, KINDS
from ..lab.evidence import percent, recorded_runs
from ..lab.jacobian import MEASURES, STAGES, recorded_jacobians
from ..lab.settings import PRESETS
from ..lab.table import LEARNED
from ..numerics.numbers import in_text
from ..numerics.paper import TABLE_4, TABLE_5

Number = Callable[[object], str]
"""Of the results of a scene, which these numbers do not need."""


def _norm(stage: str, measure: str, connection: str) -> Number:
    """Of all layers of the lab's networks, the median of the seeds."""

    def number(_: object) -> str:
        return in_text(float(np.median(recorded_jacobians().last(stage, measure, connection))))

    return number


def _end(stage: str, connection: str, of: Callable[..., float]) -> Number:
    """The smallest or the largest of the seeds, of the whole network."""
    return lambda _: in_text(float(of(recorded_jacobians().last(stage, "jacobian", connection))))


def _largest_gain(preset: str, connection: str) -> Number:
    def number(_: object) -> str:
        return in_text(float(np.nanmedian(recorded_runs(preset).total("largest_gain", connection))))

    return number


def _accuracy(preset: str, connection: str) -> Number:
    def number(_: object) -> str:
        scores = np.nan_to_num(recorded_runs(preset).total("score", connection))
        return percent(float(np.median(scores)))

    return number


def _learned(preset: str, connection: str) -> Number:
    return lambda _: str(recorded_runs(preset).learned(connection))


def _enough(_: object) -> str:
    """The accuracy from which on a network counts as one that has learned."""
    chance = recorded_runs("fails").chance
    return percent(chance + LEARNED * (1 - chance))


def _ahead(benchmark: str, of: str) -> Number:
    """By how many points mHC is ahead in the paper's Table 4."""
    plain, hc, mhc = TABLE_4[benchmark]
    return lambda _: f"{mhc - {'residual': plain, 'hc': hc}[of]:.1f}"


def _mapping_parameters(_: object) -> str:
    """How many million numbers mHC's mappings learn in the 27B model."""
    model, count = TABLE_5["27B"], KINDS["mhc"].parameters
    assert count is not None
    return f"{model.residual_layers * count(model.streams, model.width) / 1e6:.0f}"


MEASURED: dict[str, Number] = {
    **{
        f"{measure}_{stage}_{connection}": _norm(stage, measure, connection)
        for measure in MEASURES
        for stage in STAGES
        for connection in COMPARED
    },
    **{
        f"{preset}_{name}_{connection}": number(preset, connection)
        for preset in ("explodes", "fails")
        for name, number in {
            "gain": _largest_gain,
            "accuracy": _accuracy,
            "learned": _learned,
        }.items()
        for connection in COMPARED
    },
    **{
        f"ablation_learned_{connection.replace('-', '_')}": _learned("ablation", connection)
        for connection in ABLATION
    },
    **{
        f"{name}_fails_hc": _end("fails", "hc", of)
        for name, of in (("least", np.min), ("most", np.max))
    },
    "explodes_learning_rate": lambda _: f"{PRESETS['explodes'].settings().learning_rate:g}",
    "fails_chance": lambda _: percent(recorded_runs("fails").chance),
    "fails_enough": _enough,
    "jacobian_seeds": lambda _: str(len(recorded_jacobians().seeds)),
    "bbh_over_residual": _ahead("BBH", "residual"),
    "bbh_over_hc": _ahead("BBH", "hc"),
    "mapping_parameters": _mapping_parameters,
}
"""The functions by name, as a text calls them."""

"""A few lines of Python that print the numbers the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..lab.settings import Settings
from ..numerics.surface import EXPERIMENT_PARAMETERS, Experiment

TEMPLATE = """\
import mhc_demo as mhc

experiment = mhc.Experiment({experiment})
surface = mhc.gain_surface(experiment{device})
gains = surface["log10_gain"].sel(depth={depth}, series="median")
for iterations in {counts}:  # 0 is HC itself
    for direction in ("forward", "backward"):
        log10_gain = float(gains.sel(iterations=iterations, direction=direction))
        print(f"{{iterations}} iterations, {{direction}}: 10^{{log10_gain:.3f}}")
"""

SIGNAL_TEMPLATE = """\
import mhc_demo as mhc

experiment = mhc.Experiment({experiment})
signal = mhc.signal_surface(experiment, {options})
for iterations in {counts}:  # 0 is HC itself
    here = signal.sel(iterations=iterations, position={position})
    for stream, sign, log10 in zip(here.stream.values, here.sign.values, here.log10.values):
        print(f"{{iterations}} iterations, stream {{stream}}: {{sign:+d}} x 10^{{log10:.3f}}")
"""

LAWS_TEMPLATE = """\
import mhc_demo as mhc
from mhc_demo.numerics import laws

experiment = mhc.Experiment({experiment})
depth, iterations = {depth}, {iterations}
print(laws.layer_limits(experiment, depth=depth).median("layer"))
print(laws.composite_laws(experiment).sel(depth=depth, iterations=iterations))  # log10
print(laws.rows_only_laws(experiment).sel(depth=depth))
print(laws.four_kinds(experiment, depth=depth).at(depth))  # log10
"""

COMPARE_TEMPLATE = """\
import mhc_demo as mhc

experiment = mhc.Experiment({experiment})
comparison = mhc.compare(experiment{projections}).sel(depth={depth}, series="median")
for name in comparison.projection.values.tolist():
    iterations = {iterations} if mhc.PROJECTIONS[name].iterative else 1
    here = comparison.sel(projection=name, iterations=iterations)
    for direction in ("forward", "backward"):
        log10_gain = float(here.log10_gain.sel(direction=direction))
        print(f"{{name}}, {{direction}}: 10^{{log10_gain:.3f}}")
    print(f"{{name}}, worst-case norm: 10^{{float(here.log10_norm):.3f}}")
"""

LAB_TEMPLATE = """\
from mhc_demo import lab

settings = lab.Settings({settings})
for connection in lab.COMPARED:
    *steps, end = lab.train(settings.changed(connection=connection))
    print(
        f"{{lab.CONNECTIONS[connection]}}: {{end.outcome}}, {{end.steps}} steps, "
        f"last loss {{end.loss:.3g}}, {{lab.TASKS[settings.task].score}} {{end.score:.3f}}, "
        f"largest composite gain 10^{{end.largest_gain:.2f}}, "
        f"gradient norm {{end.largest_gradient_norm:.3g}}"
    )
"""


def snippet(values: Mapping[str, Any]) -> str:
    """A script for a state of the page, `values` by parameter; it needs only this library.

    >>> print(snippet({"streams": 4, "seed": 7, "depth": 64, "iterations": 1}).splitlines()[2])
    experiment = mhc.Experiment(seed=7, members=32)
    """
    values = {"members": 32, **values}
    device = values.get("device", "numpy")
    return TEMPLATE.format(
        experiment=_experiment(values),
        device="" if device == "numpy" else f", device={device!r}",
        depth=values["depth"],
        counts=_counts(values),
    )


def signal_snippet(values: Mapping[str, Any]) -> str:
    """A script that prints what the streams carry in the picture of a signal."""
    of_network = {n: v for n, v in values.items() if n not in ("members", "definition")}
    options = {name: values[name] for name in ("direction", "writes")}
    given = {"entering": values["enters"], **options, "at": values["depth"]}
    return SIGNAL_TEMPLATE.format(
        experiment=_experiment(of_network),
        options=", ".join(f"{name}={value!r}" for name, value in given.items()),
        counts=_counts(values),
        position=0 if values["direction"] == "backward" else values["depth"],
    )


def laws_snippet(values: Mapping[str, Any]) -> str:
    """A script that prints the numbers of the view "Why it holds"."""
    return LAWS_TEMPLATE.format(
        experiment=_experiment(values), depth=values["depth"], iterations=values["iterations"]
    )


def compare_snippet(values: Mapping[str, Any], projections: Sequence[str]) -> str:
    """A script that prints the gains of these projections, or of all if there are none."""
    return COMPARE_TEMPLATE.format(
        experiment=_experiment(values),
        projections=f", {list(projections)}" if projections else "",
        depth=values["depth"],
        iterations=values["iterations"],
    )


def _counts(values: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(sorted({0, values["iterations"]}))


def _experiment(values: Mapping[str, Any]) -> str:
    given = {
        name: values[name]
        for name in EXPERIMENT_PARAMETERS
        if name in values and (name == "members" or values[name] != Experiment.param[name].default)
    }
    return ", ".join(f"{name}={value!r}" for name, value in given.items())


def lab_snippet(values: Mapping[str, Any]) -> str:
    """A script that trains the lab's networks, `values` by setting, and prints the results.

    >>> print(lab_snippet({"depth": 16, "streams": 4}).splitlines()[2])
    settings = lab.Settings(depth=16)
    """
    given = {n: v for n, v in values.items() if v != Settings.param[n].default}
    return LAB_TEMPLATE.format(settings=", ".join(f"{n}={v!r}" for n, v in given.items()))

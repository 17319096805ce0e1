"""mHC, explained and computed: what 60 mixing matrices do to a signal, and what bounds them.

Every public name is imported when it is first used: the command line answers at once, the
numerics come without Panel, and `Explorer`, the page, brings Panel along only when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import lab, nn
    from .app import Explorer
    from .comparison import compare, distance_from_doubly_stochastic, phase_map
    from .devices import DEVICES
    from .embed import export_html
    from .gains import METRICS, Composite, amax_gain, compose
    from .mixing import INITS, gaussian_growth, sample_mixing
    from .paper import figure8
    from .projections import PROJECTIONS, project, sinkhorn_knopp
    from .surface import (
        Experiment,
        gain_surface,
        layer_axis_gains,
        layer_gains,
        member_matrices,
        mixing_surface,
    )

_HOMES = {
    "comparison": ("compare", "distance_from_doubly_stochastic", "phase_map"),
    "devices": ("DEVICES",),
    "embed": ("export_html",),
    "gains": ("METRICS", "Composite", "amax_gain", "compose"),
    "mixing": ("INITS", "gaussian_growth", "sample_mixing"),
    "paper": ("figure8",),
    "projections": ("PROJECTIONS", "project", "sinkhorn_knopp"),
    "surface": (
        "Experiment",
        "gain_surface",
        "layer_axis_gains",
        "layer_gains",
        "member_matrices",
        "mixing_surface",
    ),
    "app": ("Explorer",),
}
_MODULES = ("lab", "nn")
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DEVICES",
    "INITS",
    "METRICS",
    "PROJECTIONS",
    "Composite",
    "Experiment",
    "Explorer",
    "amax_gain",
    "compare",
    "compose",
    "distance_from_doubly_stochastic",
    "export_html",
    "figure8",
    "gain_surface",
    "gaussian_growth",
    "lab",
    "layer_axis_gains",
    "layer_gains",
    "member_matrices",
    "mixing_surface",
    "nn",
    "phase_map",
    "project",
    "sample_mixing",
    "sinkhorn_knopp",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # which takes half of an import

    try:
        return version("mhc-demo")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return __all__

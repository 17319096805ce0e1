"""mHC, explained and computed: what 60 mixing matrices do to a signal, and what bounds them.

Every public name is imported on first use, so that the command line starts at once and the
numerics do not need Panel: only `Explorer`, the page, imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import version

if TYPE_CHECKING:
    from . import lab, nn
    from .app import Explorer
    from .export.embed import export_html
    from .export.site import export_site
    from .export.story import export_story
    from .inspection.diagnosis import Diagnosis, diagnose
    from .inspection.inspecting import inspect, plot
    from .numerics.budget import cost
    from .numerics.comparison import compare, distance_from_doubly_stochastic, phase_map
    from .numerics.contraction import iterations_bound, logit_range
    from .numerics.devices import DEVICES
    from .numerics.gains import Composite, amax_gain, compose
    from .numerics.growth import gaussian_exponents, gaussian_growth
    from .numerics.half_steps import half_steps
    from .numerics.lyapunov import composite_metrics, log10_singular_ratio, lyapunov_exponents
    from .numerics.metrics import METRICS
    from .numerics.mixing import INITS, sample_mixing
    from .numerics.paper import figure8
    from .numerics.projecting import project, sinkhorn_knopp, sinkhorn_limit
    from .numerics.projections import PROJECTIONS
    from .numerics.signal import ENTERING, propagate, signal_surface
    from .numerics.surface import (
        Experiment,
        gain_surface,
        layer_axis_gains,
        layer_gains,
        member_matrices,
        mixing_surface,
    )

_HOMES = {
    "numerics.budget": ("cost",),
    "numerics.comparison": ("compare", "distance_from_doubly_stochastic", "phase_map"),
    "numerics.contraction": ("iterations_bound", "logit_range"),
    "numerics.devices": ("DEVICES",),
    "export.embed": ("export_html",),
    "export.site": ("export_site",),
    "export.story": ("export_story",),
    "inspection.diagnosis": ("Diagnosis", "diagnose"),
    "inspection.inspecting": ("inspect", "plot"),
    "numerics.gains": ("Composite", "amax_gain", "compose"),
    "numerics.half_steps": ("half_steps",),
    "numerics.lyapunov": ("composite_metrics", "log10_singular_ratio", "lyapunov_exponents"),
    "numerics.metrics": ("METRICS",),
    "numerics.growth": ("gaussian_exponents", "gaussian_growth"),
    "numerics.mixing": ("INITS", "sample_mixing"),
    "numerics.paper": ("figure8",),
    "numerics.projecting": ("project", "sinkhorn_knopp", "sinkhorn_limit"),
    "numerics.projections": ("PROJECTIONS",),
    "numerics.signal": ("ENTERING", "propagate", "signal_surface"),
    "numerics.surface": (
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
    "ENTERING",
    "INITS",
    "METRICS",
    "PROJECTIONS",
    "Composite",
    "Diagnosis",
    "Experiment",
    "Explorer",
    "amax_gain",
    "compare",
    "compose",
    "composite_metrics",
    "cost",
    "diagnose",
    "distance_from_doubly_stochastic",
    "export_html",
    "export_site",
    "export_story",
    "figure8",
    "gain_surface",
    "gaussian_exponents",
    "gaussian_growth",
    "half_steps",
    "inspect",
    "iterations_bound",
    "lab",
    "layer_axis_gains",
    "layer_gains",
    "log10_singular_ratio",
    "logit_range",
    "lyapunov_exponents",
    "member_matrices",
    "mixing_surface",
    "nn",
    "phase_map",
    "plot",
    "project",
    "propagate",
    "sample_mixing",
    "signal_surface",
    "sinkhorn_knopp",
    "sinkhorn_limit",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version()
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

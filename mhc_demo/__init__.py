"""mHC, explained and computed: what 60 mixing matrices do to a signal, and what bounds them.

The numerics, the gain surface and the papers' data are imported here; the page (`Explorer`)
only when it is asked for, because it brings Panel along.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .gains import METRICS, Composite, amax_gain, compose
from .mixing import INITS, gaussian_growth, sample_mixing
from .paper import figure8
from .projections import PROJECTIONS, project, sinkhorn_knopp
from .surface import Experiment, gain_surface, layer_axis_gains, member_matrices, mixing_surface

if TYPE_CHECKING:
    from .app import Explorer

try:
    __version__ = version("mhc-demo")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "INITS",
    "METRICS",
    "PROJECTIONS",
    "Composite",
    "Experiment",
    "Explorer",
    "amax_gain",
    "compose",
    "figure8",
    "gain_surface",
    "gaussian_growth",
    "layer_axis_gains",
    "member_matrices",
    "mixing_surface",
    "project",
    "sample_mixing",
    "sinkhorn_knopp",
]


def __getattr__(name: str) -> Any:
    if name == "Explorer":
        from .app import Explorer

        return Explorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The plots that a standalone file can hold, each with its legend and its note: a file per subject.

To add a plot, write a subclass of `Plot` in a file here and import it below: the order of the
imports is that of a site's doors within a group.
"""

# isort: off
from .base import PLOTS, Choice, PackedSource, Plot, Shared, plots_of
from .signal import Signal
from .gains import Composite, Histogram, Iterations, LayerAxis, Layers
from .matrices import Matrices, Sinkhorn
from .mixing import Mixing
from .polytope import Polytope
from .cost import Cost
from .models import Benchmarks, Figure8
from .lab import Jacobian, Replay
from .texts import Claims, Formulas, Link

# isort: on

__all__ = [
    "PLOTS",
    "Benchmarks",
    "Choice",
    "Claims",
    "Composite",
    "Cost",
    "Figure8",
    "Formulas",
    "Histogram",
    "Iterations",
    "Jacobian",
    "LayerAxis",
    "Layers",
    "Link",
    "Matrices",
    "Mixing",
    "PackedSource",
    "Plot",
    "Polytope",
    "Replay",
    "Shared",
    "Signal",
    "Sinkhorn",
    "plots_of",
]

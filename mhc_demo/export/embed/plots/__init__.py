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
from .laws import Laws
from .polytope import Polytope
from .compare import Compare
from .phase import Phase
from .cost import Cost
from .scale import Scale
from .models import Benchmarks, Figure8
from .lab import Jacobian, Replay
from .texts import Claims, Formulas, Link

# isort: on

__all__ = [
    "PLOTS",
    "Benchmarks",
    "Choice",
    "Claims",
    "Compare",
    "Composite",
    "Cost",
    "Figure8",
    "Formulas",
    "Histogram",
    "Iterations",
    "Jacobian",
    "Laws",
    "LayerAxis",
    "Layers",
    "Link",
    "Matrices",
    "Mixing",
    "PackedSource",
    "Phase",
    "Plot",
    "Polytope",
    "Replay",
    "Scale",
    "Shared",
    "Signal",
    "Sinkhorn",
    "plots_of",
]

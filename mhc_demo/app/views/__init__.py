"""The views below the dial, one file each; the page finds them in `VIEWS`.

A view is built when it is first opened, and follows the experiment only while it is open.  It reads
the state and the surface of the explorer, which it knows as its `Context`.

To add a view, write a subclass of `View` in a file here and import it below: the order of the
imports is that of the doors within a group.
"""

from typing import Any

from ...story import doors

# isort: off
from .base import VIEWS, View
from . import signal
from . import composite
from . import layers
from . import layer_axis
from . import matrices
from . import sinkhorn
from . import mixing
from . import laws
from . import polytope
from . import compare
from . import phase
from . import cost
from . import scale
from . import figure8
from . import my_model
from . import benchmarks
from . import formulas
from . import lab
from . import jacobian
from . import claims
from . import link
# isort: on


def groups() -> list[dict[str, Any]]:
    """The groups of the page's views, as `static/doors.js` takes them."""
    return doors.groups((name, view.title, view.group) for name, view in VIEWS.items())


__all__ = [
    "VIEWS",
    "View",
    "benchmarks",
    "claims",
    "compare",
    "composite",
    "cost",
    "figure8",
    "formulas",
    "groups",
    "jacobian",
    "lab",
    "laws",
    "layer_axis",
    "layers",
    "link",
    "matrices",
    "mixing",
    "my_model",
    "phase",
    "polytope",
    "scale",
    "signal",
    "sinkhorn",
]

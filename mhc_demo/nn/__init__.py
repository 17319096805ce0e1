"""The residual connections as PyTorch modules, and what is needed to look inside them.

Each layer wraps any branch F and maps n residual streams to n residual streams,
x' = H_res x + H_post^T F(H_pre x) (Eq. 3 of the mHC paper).  `Residual`, `HyperConnection` and
`ManifoldHyperConnection` differ only in the submodule `mappings` that computes the three
mappings.  So a recorder hooks one place and sees the very matrices that are applied, and every
layer starts as the same function, the plain residual network: what differs later was learned.

The streams live from `expand_streams` to `reduce_streams`, around the whole network and not
within a block: only then does a composite mapping form.
"""

from .decay import parameter_groups
from .layers import (
    Branch,
    HyperConnection,
    ManifoldHyperConnection,
    Residual,
    StreamLayer,
    expand_streams,
    reduce_streams,
)
from .mappings import RMS_EPS, START_GATE, START_READ, Mappings

# Layers that were pickled when all of this was one file name these as its own.
from .mappings import _ManifoldMappings as _ManifoldMappings
from .mappings import _PlainMappings as _PlainMappings
from .mappings import _UnconstrainedMappings as _UnconstrainedMappings
from .recomputation import Recomputed
from .recording import RecordedMappings, record_mappings

__all__ = [
    "RMS_EPS",
    "START_GATE",
    "START_READ",
    "Branch",
    "HyperConnection",
    "ManifoldHyperConnection",
    "Mappings",
    "Recomputed",
    "RecordedMappings",
    "Residual",
    "StreamLayer",
    "expand_streams",
    "parameter_groups",
    "record_mappings",
    "reduce_streams",
]

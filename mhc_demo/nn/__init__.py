"""Residual connections as PyTorch modules, and the tools to look inside them.

Each layer wraps any branch F and maps n residual streams to n residual streams,
x' = H_res x + H_post^T F(H_pre x) (Eq. 3 of the mHC paper).  `Residual`, `HyperConnection` and
`ManifoldHyperConnection` differ only in the submodule `mappings` that computes the three
mappings, and `CrossedConnection` takes some from either.  So one hook per layer records the very
matrices that are applied.  All start as the plain residual network: any later difference was
learned.

Models of other packages are recorded too (`record_mappings`, `adapters`), and some of their weights
fit into these layers (`from_deepseek_v4`, `from_hyper_connections`).

Expand the streams once, before the first layer, and reduce them once, after the last.  Streams
that are reduced after every block never form a composite mapping.  `StreamStack` does all that.
"""

from .converting import from_deepseek_v4, from_hyper_connections
from .crossed import CrossedConnection
from .decay import parameter_groups
from .heads import StreamHead
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

# Pickles of layers made when this package was one file look for these classes here.
from .mappings import _ManifoldMappings as _ManifoldMappings
from .mappings import _PlainMappings as _PlainMappings
from .mappings import _UnconstrainedMappings as _UnconstrainedMappings
from .recomputation import Recomputed
from .recorded import RecordedMappings, StreamStatistics
from .recording import record_mappings
from .stacks import StreamStack
from .watching import Reading, watch

__all__ = [
    "RMS_EPS",
    "START_GATE",
    "START_READ",
    "Branch",
    "CrossedConnection",
    "HyperConnection",
    "ManifoldHyperConnection",
    "Mappings",
    "Reading",
    "Recomputed",
    "RecordedMappings",
    "Residual",
    "StreamHead",
    "StreamLayer",
    "StreamStack",
    "StreamStatistics",
    "expand_streams",
    "from_deepseek_v4",
    "from_hyper_connections",
    "parameter_groups",
    "record_mappings",
    "reduce_streams",
    "watch",
]

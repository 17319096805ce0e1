"""What the papers print, as data with its source; nothing here is computed.

Figure 8 of the mHC paper shows mixing matrices of a trained 27B model.  They are single layers
and composites, not a whole network, so they have their own view beside the random ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Paper:
    """A paper on arXiv and how it is cited; its number is written nowhere else."""

    authors: str
    title: str
    arxiv: str
    """Its arXiv number, with the version that was read."""

    @property
    def number(self) -> str:
        """Its arXiv number without the version."""
        return "arXiv:" + self.arxiv.partition("v")[0]

    @property
    def short(self) -> str:
        """Authors and number, for running text."""
        return f"{self.authors}, {self.number}"

    @property
    def cited(self) -> str:
        """In full, with the version."""
        return f"{self.authors}, {self.title}, arXiv:{self.arxiv}"


MHC = Paper("Xie et al.", "mHC: Manifold-Constrained Hyper-Connections", "2512.24880v2")
HYPER_CONNECTIONS = Paper("Zhu et al.", "Hyper-Connections", "2409.19606")
MHC_LITE = Paper(
    "Yang and Gao", "mHC-lite: You Don't Need 20 Sinkhorn-Knopp Iterations", "2601.05732"
)
KROMHC = Paper(
    "Zhou et al.",
    "KromHC: Manifold-Constrained Hyper-Connections with Kronecker-Product Residual Matrices",
    "2601.21579",
)
JPMHC = Paper(
    "Sengupta et al.", "JPmHC: Dynamical Isometry via Orthogonal Hyper-Connections", "2602.18308"
)
SPECTRAL_SPHERE = Paper(
    "Liu et al.",
    "Beyond the Birkhoff Polytope: Spectral-Sphere-Constrained Hyper-Connections",
    "2603.20896",
)
GO_MHC = Paper(
    "Dandachi and Diggs-Galligan",
    "go-mHC: Direct Parameterization of Manifold-Constrained Hyper-Connections via Generalized "
    "Orthostochastic Matrices",
    "2604.02309",
)
TOKENBENDER = "github.com/tokenbender/mHC-manifold-constrained-hyper-connections"
"""An implementation that offers choices of its own, cited by its address."""
IDENTITY_MAPPINGS = Paper("He et al.", "Identity Mappings in Deep Residual Networks", "1603.05027")

MHC_PAPER = MHC.cited

FIGURE_8_TITLES = {
    "layer_1": "Layer 1",
    "layer_30": "Layer 30",
    "layer_60": "Layer 60",
    "composite_1_30": "Composite 1–30",
    "composite_31_60": "Composite 31–60",
    "composite_1_60": "Composite 1–60",
}


TRAINING_OVERHEAD = 0.067
"""Extra training time of mHC at n = 4, as the paper measured it (section 4.3).

It was measured in large-scale training, with fused kernels, recomputation and overlapped
communication; the paper does not say at which model size.
"""


@dataclass(frozen=True)
class TrainedModel:
    """A trained model: those of the paper are columns of its Table 5 (appendix A.1)."""

    name: str
    blocks: int
    """Transformer blocks, the row "Layers"."""
    width: int
    """C, the row "Dimension"."""
    streams: int
    """n, the row "mHC/HC Expansion Rate n"."""
    parameters: float
    """All, the row "Total Params"."""
    active: float
    """Those that a token meets, the row "Active Params"."""
    context: int
    """Tokens of the longest sequence, the row "Sequence Length"."""
    collapses: bool = False
    """Whether the streams are collapsed at the end with learned weights, one for each stream."""

    @property
    def residual_layers(self) -> int:
        """L: attention and FFN of each block count separately (Fig. 3)."""
        return 2 * self.blocks


TABLE_5 = {
    model.name: model
    for model in (
        TrainedModel("3B", 12, 1280, 4, parameters=2.97e9, active=612e6, context=4096),
        TrainedModel("9B", 18, 1920, 4, parameters=9.18e9, active=1.66e9, context=4096),
        TrainedModel("27B", 30, 2560, 4, parameters=27.0e9, active=4.14e9, context=4096),
    )
}
"""The paper's models by name."""


RELEASED = {
    model.name: model
    for model in (
        TrainedModel("DeepSeek-V4-Flash", 43, 4096, 4, 284e9, 13e9, 2**20, collapses=True),
        TrainedModel("DeepSeek-V4-Pro", 61, 7168, 4, 1.6e12, 49e9, 2**20, collapses=True),
    )
}
"""Released models with hyper-connections, by name.

Flash: `num_hidden_layers`, `hidden_size`, `hc_mult` and `max_position_embeddings` of `deepseek_v4`
in Hugging Face's transformers 5.23, which are those of deepseek-ai/DeepSeek-V4-Flash-Base.  Pro:
the same names in its config.json.  Both iterate 20 times (`hc_sinkhorn_iters`) with 1e-6 added
(`hc_eps`), and `DeepseekV4HyperHead` collapses their streams.  Their numbers of parameters are
those of the model card.
"""

MODELS = TABLE_5 | RELEASED
"""All models whose sizes are known here."""


TABLE_4: dict[str, tuple[float, float, float]] = {
    "BBH": (43.8, 48.9, 51.0),
    "DROP": (47.0, 51.6, 53.9),
    "GSM8K": (46.7, 53.2, 53.8),
    "HellaSwag": (73.7, 74.3, 74.7),
    "MATH": (22.0, 26.4, 26.0),
    "MMLU": (59.0, 63.0, 63.4),
    "PIQA": (78.5, 79.9, 80.5),
    "TriviaQA": (54.3, 56.3, 57.6),
}
"""Scores of the 27B models on eight benchmarks: residual network, HC, mHC (Table 4)."""


@dataclass(frozen=True)
class PrintedMatrix:
    """One panel of Figure 8: a matrix (n, n) and the sums as the paper prints them, (n,).

    `decimals` is the precision of the print: 2, or 1 for the large HC composites.
    """

    method: str
    key: str
    matrix: NDArray[np.float64]
    row_sums: NDArray[np.float64]
    column_sums: NDArray[np.float64]

    @property
    def title(self) -> str:
        return FIGURE_8_TITLES[self.key]

    @property
    def decimals(self) -> int:
        return 1 if np.max(np.abs(self.matrix)) >= 20 else 2


@cache
def figure8() -> tuple[PrintedMatrix, ...]:
    """The twelve matrices of Figure 8 (27B model, averaged over the tokens of one sequence)."""
    printed = json.loads(files(__package__).joinpath("data/figure8.json").read_text("utf-8"))
    return tuple(
        PrintedMatrix(
            method,
            key,
            np.asarray(panel["matrix"], dtype=np.float64),
            np.asarray(panel["row_sums"], dtype=np.float64),
            np.asarray(panel["column_sums"], dtype=np.float64),
        )
        for method in ("hc", "mhc")
        for key, panel in printed[method].items()
    )


def figure8_source() -> str:
    """Where Figure 8's numbers come from, in one sentence."""
    printed = json.loads(files(__package__).joinpath("data/figure8.json").read_text("utf-8"))
    return f"{MHC_PAPER}, {printed['source']}"

"""What the papers printed, as data with its source; nothing here is computed.

Figure 8 of the mHC paper shows mixing matrices of a trained 27B model.  They are single layers
and composites, not a whole network, so they have a view of their own beside the random ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

MHC_PAPER = "Xie et al., mHC: Manifold-Constrained Hyper-Connections, arXiv:2512.24880v2"

FIGURE_8_TITLES = {
    "layer_1": "Layer 1",
    "layer_30": "Layer 30",
    "layer_60": "Layer 60",
    "composite_1_30": "Composite 1–30",
    "composite_31_60": "Composite 31–60",
    "composite_1_60": "Composite 1–60",
}


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
    return json.loads(files(__package__).joinpath("data/figure8.json").read_text("utf-8"))["source"]

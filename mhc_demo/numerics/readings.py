"""What is read off a network's mappings: the numbers of the lab's records and of `nn.watch`.

Without PyTorch, for records are read where there is none; `nn.readings` computes them.
"""

from __future__ import annotations


class Measured:
    """A base for what holds the gains and the mixing of all layers at one time."""

    composite_gains: dict[str, list[float]]
    """On the paper's axes: "forward" at l is of H_l ... H_1, "backward" of H_L ... H_l."""
    mixing: list[float]
    """Each layer's mean sum of |entries| of H_res off the diagonal of a row."""

    @property
    def gain(self) -> dict[str, float]:
        """log10 gain of the composite of all layers, "forward" and "backward"."""
        whole = self.composite_gains
        return {"forward": whole["forward"][-1], "backward": whole["backward"][0]}

    @property
    def mean_mixing(self) -> float:
        """The mean of `mixing` over the layers that can learn to mix.

        That is all but the first: where streams start equal, a matrix whose rows sum to 1 does not
        change them.
        """
        learning = self.mixing[1:] or self.mixing
        return sum(learning) / len(learning)

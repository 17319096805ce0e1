"""What the checks look at: numbers about every layer of a model, measured by `examining`.

The checks see nothing else, so that a check is arithmetic on numbers that can be printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Response:
    """What the model does if H_res of one layer becomes H_res + D, D a fixed random matrix.

    The streams x that the layer is given do not change, nor does what its branch returns.  So the
    streams that the next layer is given change by D x if H_res is applied as it was recorded, by
    D^T x if it is applied transposed, by nothing if it is not applied.  Sizes are root mean
    squares.
    """

    output: float
    """Change of the model's output, relative to it."""
    noise: float
    """The same change between two runs in which nothing was replaced."""
    size: float | None = None
    """Change of the next layer's streams, relative to D x; None if there is no next layer or its
    streams are not known."""
    as_recorded: float | None = None
    """How far that change is from D x, relative to D x."""
    transposed: float | None = None
    """How far it is from D^T x, relative to D^T x."""
    unlike: float | None = None
    """How much the change differs between streams, relative to itself."""


@dataclass(frozen=True)
class Decay:
    """Weight decay on parameters of a layer that are not multiplied with the streams."""

    parameters: tuple[str, ...]
    weight_decay: float
    learning_rate: float
    change: float
    """The largest change of an entry of H_res, averaged over tokens, if they all decay to 0."""
    rows: float
    """The mean row sum that H_res then has."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One call of one layer; matrices in float64 on the CPU, tokens in one axis."""

    name: str
    family: str
    H_res: Tensor
    """(tokens, n, n), as it acts: new = H_res @ old.  One token if it is static."""
    H_pre: Tensor | None = None
    """(tokens, n)."""
    H_post: Tensor | None = None
    """(tokens, n)."""
    doubly_stochastic: bool | None = None
    """Whether H_res is meant to be; None if nobody says."""
    iterations: int | None = None
    """Of Sinkhorn-Knopp, if the layer says."""
    logits: float | None = None
    """The largest difference between two logits of one H_res; None if it has none."""
    mixes: bool = True
    """False if the layer has no H_res but the identity by design."""
    spread: float | None = None
    """How much the streams that the layer is given differ: the RMS of their deviation from the mean
    over the streams, relative to the RMS of all of them."""
    energy: tuple[float, ...] | None = None
    """Each stream's share of the sum of squares of what the layer is given."""
    sensitivity: Mapping[str, float] | None = None
    """For each parameter that H_res depends on, the largest derivative of fixed random
    combinations of its entries; None if it was not measured, empty if there is no such one."""
    slope: Tensor | None = None
    """The derivative of the loss with respect to H_res, (tokens, n, n)."""
    gradient: float | None = None
    """The largest gradient of the loss that reaches a parameter through H_res alone."""
    felt: bool = False
    """Whether the loss has a derivative other than 0 by any parameter of the layer's module."""
    softmax: tuple[float, float] | None = None
    """How much the derivative of H_res by its static logits is that of a softmax over its rows, and
    over its columns: the cosine between the two, 1 if it is one.  None if it has no such logits."""
    response: Response | None = None
    decay: Decay | None = None

    @property
    def streams(self) -> int:
        """The expansion rate n."""
        return self.H_res.shape[-1]

    @property
    def off_diagonal(self) -> float:
        """The largest sum of |entries| off the diagonal of a row, over rows and tokens."""
        mass = self.H_res.abs().sum(-1) - self.H_res.diagonal(dim1=-2, dim2=-1).abs()
        return float(mass.max())

    @property
    def from_identity(self) -> float:
        """The largest |entry of H_res - I|, over tokens."""
        one = self.H_res.new_ones(self.streams).diag()
        return float((self.H_res - one).abs().max())

    @property
    def learns(self) -> bool:
        """Whether H_res depends on a trainable parameter, as far as is known."""
        return self.mixes and bool(self.sensitivity)


@dataclass(frozen=True, eq=False)
class Examination:
    """Everything that was measured of one model."""

    model: str
    layers: tuple[Layer, ...]
    trainable: bool
    """Whether any parameter requires a gradient."""
    slope: float | None
    """The largest derivative of the loss with respect to any parameter; None without a graph."""
    optimiser: bool = False
    """Whether an optimiser was given."""
    remarks: tuple[str, ...] = field(default=())

    @property
    def streams(self) -> int:
        """The largest expansion rate n of a layer."""
        return max(each.streams for each in self.layers)

    @property
    def mixing(self) -> tuple[Layer, ...]:
        """The layers that have an H_res that is not the identity by design."""
        return tuple(each for each in self.layers if each.mixes)

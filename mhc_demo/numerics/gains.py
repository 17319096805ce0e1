"""Amax gains and exact composites.

The gain of a product of 128 matrices may be 10^357, beyond any float, or 10^-90, beyond float32.
A `Composite` therefore carries every product as a matrix and an integer power of two: rescaling by
powers of two is exact, so the only errors are the rounding of the products themselves.  Gains are
returned as log10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from array_api_compat import array_namespace, device

from ._arrays import Array, choice, known, scalar, square_matrices, whole_number, widened

LOG10_2 = math.log10(2.0)
DIRECTIONS = ("forward", "backward")
"""forward: signals, row sums; backward: gradients, column sums (section 3.1)."""
DEFINITIONS = ("paper", "worst-case")
"""paper: the largest |row or column sum|; worst-case: the induced norm, sums of |entries|."""


def amax_gain(matrices: Array, direction: str = "forward", definition: str = "paper") -> Array:
    """Amax gain magnitude of each matrix, shape (..., n, n) -> (...) (section 3.1, Fig. 3).

    definition "paper": max_i |sum_j H_ij| forward, max_j |sum_i H_ij| backward.
    definition "worst-case": max_i sum_j |H_ij| (the induced infinity norm) forward, and the
    1-norm backward: the largest factor by which any input grows.  The two agree for
    non-negative matrices.  Matrices in half precision are measured in float32.

    >>> amax_gain([[1.0, -2.0], [3.0, 4.0]])
    np.float64(7.0)

    Raises ValueError or TypeError for unknown names and matrices that are not square or finite.
    """
    xp, matrices = square_matrices(matrices, "matrices")
    return _gain(xp, widened(xp, matrices), direction, definition)


def log10_gain(matrices: Array, direction: str, definition: str) -> Array:
    """log10 of `amax_gain`, for matrices known to be square and finite."""
    xp = array_namespace(matrices)
    return log10(xp, _gain(xp, matrices, direction, definition))


def _gain(xp: ModuleType, matrices: Array, direction: str, definition: str) -> Array:
    axis = -1 if choice("direction", direction, DIRECTIONS) == "forward" else -2
    if choice("definition", definition, DEFINITIONS) == "worst-case":
        matrices = xp.abs(matrices)
    sums = xp.sum(matrices, axis=axis)
    return xp.max(xp.abs(sums), axis=-1)


def log10(xp: ModuleType, gain: Array) -> Array:
    """log10 of non-negative numbers; 0 gives -inf, without a warning."""
    zero = gain == 0
    return xp.where(zero, -math.inf, xp.log10(xp.where(zero, 1.0, gain)))


@dataclass(frozen=True)
class Composite:
    """Composite mappings of every depth: mantissa * 2**exponent.

    `mantissa` has shape (..., depth, n, n), `exponent` (..., depth), int64.  Entry l - 1 along
    the depth axis is the product H_l ... H_1 (or H_L ... H_l for `compose(..., "backward")`).
    """

    mantissa: Array
    exponent: Array

    def log10_gain(self, direction: str = "forward", definition: str = "paper") -> Array:
        """log10 of the Amax gain at every depth, shape (..., depth)."""
        xp = array_namespace(self.mantissa)
        gain = log10_gain(self.mantissa, direction, definition)
        return gain + LOG10_2 * xp.astype(self.exponent, gain.dtype)

    def log10_norm(self) -> Array:
        """log10 of the larger of the induced infinity and 1 norms at every depth, (..., depth).

        It is the larger of the two worst-case gains, in half the passes over the matrices.
        """
        xp = array_namespace(self.mantissa)
        sizes = xp.abs(self.mantissa)
        sums = (xp.max(xp.sum(sizes, axis=axis), axis=-1) for axis in (-1, -2))
        norm = log10(xp, xp.maximum(*sums))
        return norm + LOG10_2 * xp.astype(self.exponent, norm.dtype)

    def scaled(self, at: int) -> tuple[Array, Array]:
        """The composite at depth `at` (1-based) as (matrix (..., n, n), power of two (...))."""
        at = whole_number("at", at, 1, self.exponent.shape[-1])
        return self.mantissa[..., at - 1, :, :], self.exponent[..., at - 1]

    def matrix(self, at: int) -> Array:
        """The composite at depth `at` (1-based), shape (..., n, n).

        Raises OverflowError if an entry is beyond the dtype; `scaled` works all the same.
        """
        xp = array_namespace(self.mantissa)
        matrix = _restored(xp, *self.scaled(at))
        if known(xp, matrix) and not bool(xp.all(xp.isfinite(matrix))):
            raise OverflowError(
                f"the composite at depth {at} is beyond {matrix.dtype}; use scaled({at})"
            )
        return matrix

    def matrices(self) -> Array:
        """The composites of all depths, shape (..., depth, n, n); infinite beyond the dtype."""
        return _restored(array_namespace(self.mantissa), self.mantissa, self.exponent)


def compose(matrices: Array, direction: str = "forward") -> Composite:
    """Products of the layers' matrices along the depth axis, shape (..., depth, n, n).

    direction "forward": at layer l, H_l ... H_1.  "backward": at layer l of an L-layer network,
    H_L ... H_l, from the last layer down (Fig. 3b, 7b).

    Products of matrices in half precision are kept in float32.

    Raises ValueError or TypeError if `matrices` has no depth axis, is not square or not finite.
    """
    xp, matrices = _layers(matrices)
    return next(_pieces(xp, matrices, direction, matrices.shape[-3]))


def log10_composite_gains(
    matrices: Array,
    direction: str = "forward",
    definition: str = "paper",
    gains: Sequence[str] = DIRECTIONS,
) -> Array:
    """Gains of all composites of `compose(matrices, direction)`, shape (len(gains), ..., depth).

    The first axis is the direction of the gain, as in `gains`; the numbers are those of
    `compose(...).log10_gain(...)`.
    """

    def measure(piece: Composite) -> Array:
        xp = array_namespace(piece.mantissa)
        return xp.stack([piece.log10_gain(d, definition) for d in gains])

    return measured_composites(matrices, measure, direction)


def measured_composites(
    matrices: Array, measure: Callable[[Composite], Array], direction: str = "forward"
) -> Array:
    """`measure` of all composites of `compose(matrices, direction)`, shape (..., depth).

    `measure` gets them some depths at a time, and returns an array that ends in those depths.  No
    composite is kept, so that a large ensemble is multiplied and measured in cache.
    """
    xp, matrices = _layers(matrices)
    bytes_per_depth = 8 * math.prod(matrices.shape) // matrices.shape[-3]
    block = max(1, _CACHE_BYTES // max(bytes_per_depth, 1))
    if "cuda" in str(device(matrices)):  # kernel launches cost more than the cache saves
        block = matrices.shape[-3]
    pieces = [measure(piece) for piece in _pieces(xp, matrices, direction, block)]
    if direction == "backward":
        pieces.reverse()
    return xp.concat(pieces, axis=-1)


_CACHE_BYTES = 2**19
"""Bytes of composites worked on at a time, well within a core's second-level cache."""


def _layers(matrices: Array, name: str = "matrices") -> tuple[ModuleType, Array]:
    xp, matrices = square_matrices(matrices, name)
    if matrices.ndim < 3 or matrices.shape[-3] < 1:
        raise ValueError(
            f"{name} must have shape (..., depth, n, n) with depth >= 1, "
            f"not {tuple(matrices.shape)}"
        )
    return xp, widened(xp, matrices)


def _pieces(xp: ModuleType, matrices: Array, direction: str, block: int) -> Iterator[Composite]:
    """The composites of all depths, in the order of multiplication, `block` depths at a time."""
    backward = choice("direction", direction, DIRECTIONS) == "backward"
    depth = matrices.shape[-3]
    products: list[Array] = []
    shifts: list[Array] = []
    for step, (product, shift) in enumerate(_products(xp, matrices, backward)):
        products.append(product)
        shifts.append(shift)
        if len(products) == block or step == depth - 1:
            if backward:
                products.reverse()
                shifts.reverse()
            # Stacking along the first axis keeps the batch innermost in memory.
            yield Composite(xp.moveaxis(xp.stack(products), 0, -3), xp.stack(shifts, axis=-1))
            products, shifts = [], []


def _products(xp: ModuleType, matrices: Array, backward: bool) -> Iterator[tuple[Array, Array]]:
    """Every composite as (mantissa, power of two), each with one more layer than the last.

    A run of layers is multiplied without rescaling, and then the product is rescaled.  Nothing
    overflows within a run, but a product can shrink without limit (nearly nilpotent layers,
    cancellation).  If it has shrunk so far that digits may have been lost, the run is repeated
    with every factor rescaled, which takes twice as long.
    """
    layers = xp.moveaxis(matrices, -3, 0)
    depth = layers.shape[0]
    order = range(depth - 1, -1, -1) if backward else range(depth)
    length, smallest = _safe_run(xp, matrices)
    shift = xp.zeros(matrices.shape[:-3], dtype=xp.int64, device=device(matrices))
    nonzero = xp.ones(matrices.shape[:-3], dtype=xp.bool, device=device(matrices))
    product: Array | None = None

    def extended(product: Array | None, layer: Array) -> Array:
        if product is None:
            return layer
        return multiply(xp, product, layer) if backward else multiply(xp, layer, product)

    for start in range(0, depth, length):
        run = [layers[i, ...] for i in order[start : start + length]]
        plain: list[Array] = []
        for layer in run if length > 1 else []:
            plain.append(extended(plain[-1] if plain else product, layer))
        largest: Array = _largest_entry(xp, plain[-1]) if plain else None
        if plain and not bool(xp.any(nonzero & (largest < smallest))):
            yield from ((each, shift) for each in plain[:-1])
            product, shift = _rescale(xp, plain[-1], shift, largest)
            yield product, shift
        else:
            for layer in run:
                layer, shift = _rescale(xp, layer, shift)
                product, shift = _rescale(xp, extended(product, layer), shift)
                yield product, shift
            nonzero = _largest_entry(xp, product) > 0


def multiply(xp: ModuleType, left: Array, right: Array) -> Array:
    """Matrix products left @ right, shape (..., n, n).

    For small matrices the inner loop should run along the batch, which is innermost in memory.
    matmul starts anew for each 4 x 4 matrix and returns another layout, which makes the sums that
    follow ten times as slow.  The array API standard has no function for this: NumPy's einsum
    does it; PyTorch's einsum would call matmul, but PyTorch has a fused multiply-add.
    """
    if left.shape[-1] <= 6 and hasattr(xp, "addcmul"):
        product = left[..., :, :1] * right[..., :1, :]
        for k in range(1, left.shape[-1]):
            product = xp.addcmul(product, left[..., :, k, None], right[..., k, None, :])
        return product
    if left.shape[-1] <= 6 and hasattr(xp, "einsum"):
        return xp.einsum("...ij,...jk->...ik", left, right)
    return left @ right


_LONGEST_RUN = 64
"""The most layers between two rescalings: enough that rescaling costs next to nothing."""


def _safe_run(xp: ModuleType, matrices: Array) -> tuple[int, float]:
    """`safe_run` for layers (..., n, n) of any library."""
    most = float(xp.finfo(matrices.dtype).max)
    if not math.prod(matrices.shape) or not known(xp, matrices):
        return 1, 0.0
    largest = max(scalar(xp.max(matrices)), -scalar(xp.min(matrices)))  # abs would copy all layers
    return safe_run(matrices.shape[-1], largest, most)


def safe_run(streams: int, largest: float, most: float) -> tuple[int, float]:
    """How many layers to multiply before rescaling, and how small the largest entry may be then.

    `largest` is the largest |entry| of all layers, `most` the largest number of the dtype.  Per
    layer, the largest entry of a product grows by at most n times that; a run may use two fifths of
    the dtype's exponents, the `room`, for that growth.  So if the product's largest entry is above
    2**-room at the end of the run, it was above 2**(-2 * room) throughout, where every entry that
    matters still has full precision.  A run of 1 means that every factor is rescaled.
    """
    room = 0.4 * math.log2(most)
    if not math.isfinite(largest):  # a diverged network, in PyTorch
        return 1, 0.0
    growth = math.log2(max(largest, 1.0)) + math.log2(streams)
    return min(_LONGEST_RUN, max(1, int(room / max(growth, 1.0)))), 2.0**-room


def _largest_entry(xp: ModuleType, matrices: Array) -> Array:
    return xp.max(xp.abs(matrices), axis=(-2, -1))


def _rescale(
    xp: ModuleType, product: Array, shift: Array, largest: Array | None = None
) -> tuple[Array, Array]:
    """The product with its largest |entry| in [1, 2), and the total power of two taken out."""
    if largest is None:
        largest = _largest_entry(xp, product)
    power = xp.astype(xp.floor(xp.log2(xp.where(largest == 0, 1.0, largest))), xp.int64)
    return _times_power_of_two(xp, product, -power), shift + power


def _restored(xp: ModuleType, mantissa: Array, exponent: Array) -> Array:
    """Mantissa * 2**exponent, infinite beyond the dtype; 0 stays 0 whatever the exponent."""
    with np.errstate(over="ignore", invalid="ignore"):
        restored = _times_power_of_two(xp, mantissa, exponent)
    return xp.where(mantissa == 0, 0.0, restored)


def _times_power_of_two(xp: ModuleType, matrices: Array, power: Array) -> Array:
    """Matrices * 2**power, exact within the dtype's range."""
    if known(xp, power) and not bool(xp.any(power != 0)):
        return matrices
    half = power // 2  # in two steps, so that each factor stays in range
    for part in (half, power - half):
        matrices = matrices * _power_of_two(xp, part, matrices.dtype)[..., None, None]
    return matrices


def _power_of_two(xp: ModuleType, power: Array, dtype: object) -> Array:
    """2**power exactly, from a table: pow and exp2 may be off by an ulp in some libraries.

    Far beyond the dtype's range it saturates at 0 or infinity.
    """
    largest = float(xp.finfo(dtype).max)
    powers = np.where(largest < _POWERS, math.inf, _POWERS)
    values = xp.asarray(powers, dtype=dtype, device=device(power))
    index = xp.clip(power, -_LARGEST_POWER, _LARGEST_POWER) + _LARGEST_POWER
    return xp.reshape(xp.take(values, xp.reshape(index, (-1,))), power.shape)


_LARGEST_POWER = 1100
_POWERS = np.asarray(
    [
        math.ldexp(1.0, k) if k < 1024 else math.inf
        for k in range(-_LARGEST_POWER, _LARGEST_POWER + 1)
    ]
)

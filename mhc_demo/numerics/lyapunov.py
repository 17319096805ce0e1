"""How fast a product of layers comes near rank one: Lyapunov exponents, and metrics along depth.

The singular values of a product part exponentially, and soon their ratio is below the rounding of
the product itself: of 1e-40 a plain SVD sees 1e-16.  So the product is carried in parts of which
each digit counts, P = Q diag(exp d) T, with Q orthogonal, d on a logarithmic scale and the rows of
T scaled to 1: one QR decomposition for each layer (Benettin et al., Meccanica 15, 1980; the
factors of T are those of determinant quantum Monte Carlo, Loh et al. 1989).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import ModuleType

from array_api_compat import device

from ._arrays import Array, choice
from .gains import Composite, _layers, compose
from .metrics import METRICS

SCALE_FREE = tuple(name for name, metric in METRICS.items() if metric.scale_free)
"""The metrics that can be asked of any composite."""


def lyapunov_exponents(layers: Array) -> Array:
    """Lyapunov exponents of a product of layers, (..., depth, n, n) -> (..., n), in nats per layer.

    The k-th is the mean over the layers of ln |R_kk|, where R comes from the QR decomposition of a
    layer times the orthogonal matrix Q of the layer before it (Benettin et al. 1980).  The sum of
    the first k is the rate at which a k-dimensional volume grows; for depth to infinity they are
    in descending order, and the k-th singular value of the product grows at the k-th.  For
    independent Gaussian layers their expectation is exactly `gaussian_exponents`, at any depth.
    -inf where a product loses rank.

    >>> lyapunov_exponents([[[2.0, 0.0], [0.0, 0.5]]] * 8).round(4)
    array([ 0.6931, -0.6931])

    Raises ValueError or TypeError if `layers` has no depth axis, is not square or not finite.
    """
    xp, layers = _layers(layers, "layers")
    q = _identity(xp, layers)
    total = xp.zeros(layers.shape[:-3] + layers.shape[-1:], dtype=layers.dtype, device=device(q))
    depth = layers.shape[-3]
    for k in range(depth):
        q, r = xp.linalg.qr(layers[..., k, :, :] @ q)
        total = total + _ln(xp, xp.abs(xp.linalg.diagonal(r)))
    return total / depth


def log10_singular_ratio(layers: Array) -> Array:
    """log10 of s2/s1 of every composite H_l ... H_1, (..., depth, n, n) -> (..., depth).

    In float64 right to some 1e-9 however small it is (where many entries of the layers are as far
    apart as exp of logits of +-15, to 1e-4), while a plain SVD of the product ends at 1e-16.  -inf
    where the product has rank one, and at n = 1.

    >>> float(log10_singular_ratio([[[1.0, 0.0], [0.0, 1e-3]]] * 100)[-1])
    -300.0

    Raises ValueError or TypeError if `layers` has no depth axis, is not square or not finite.
    """
    xp, layers = _layers(layers, "layers")
    if layers.shape[-1] == 1:
        return xp.full(layers.shape[:-2], -math.inf, dtype=layers.dtype, device=device(layers))
    plain = _log10(xp, METRICS["singular_ratio"](compose(layers).mantissa))
    # Where s2/s1 is small, the first direction is nearly split off, and the rest can be measured by
    # itself; where it is not, an SVD of the product is exact enough: to eps / ratio.
    enough = 0.45 * math.log10(xp.finfo(layers.dtype).eps)
    return xp.where(plain > enough, plain, _split_off(xp, layers))


def composite_metrics(layers: Array, names: Iterable[str] = SCALE_FREE) -> dict[str, Array]:
    """Metrics of every composite H_l ... H_1 that ignore its scale, each of shape (..., depth).

    `layers` (..., depth, n, n) may be of any sign and their product of any size, as HC's are:
    `names`, of `METRICS`, are those that are `scale_free`.  What asks for entries that are not
    negative is NaN where some are.

    >>> layers = [[[1.0, 0.5], [-0.5, 1.0]]] * 3
    >>> composite_metrics(layers, ["effective_streams"])["effective_streams"].round(3)
    array([2., 2., 2.])

    Raises ValueError or TypeError for another name, and if `layers` has no depth axis, is not
    square or not finite.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"names must be a collection of names of metrics, not {names!r}")
    chosen = [choice("names", name, SCALE_FREE) for name in names]
    _, layers = _layers(layers, "layers")
    composite = compose(layers)
    return {name: along_depth(name, layers, composite) for name in chosen}


def along_depth(name: str, layers: Array, composite: Composite) -> Array:
    """A scale-free metric of the composites of `layers`, (..., depth)."""
    if name == "singular_ratio":
        return 10.0 ** log10_singular_ratio(layers)
    return METRICS[name](composite.mantissa)


def _split_off(xp: ModuleType, layers: Array) -> Array:
    """`log10_singular_ratio` where the first two singular values are far apart."""
    d, t = _parts(xp, layers)
    order = xp.argsort(d, axis=-1, descending=True)
    d = xp.take_along_axis(d, order, axis=-1)
    t = xp.take_along_axis(t, xp.broadcast_to(order[..., None], t.shape), axis=-2)
    # The transpose of diag(exp d) T has the same singular values, and its columns are graded: so
    # the first row that is split off it is next to orthogonal to all others.
    _, d, t = _graded(xp, xp.matrix_transpose(t), d)
    first = d[..., :1]
    largest = xp.max(d[..., 1:], axis=-1, keepdims=True)
    first, largest = (xp.where(xp.isfinite(x), x, 0.0) for x in (first, largest))
    rest = xp.exp(d[..., 1:] - largest)[..., None] * t[..., 1:, 1:]
    second = _ln(xp, xp.linalg.svdvals(rest)[..., 0]) + largest[..., 0]
    whole = xp.exp(d - first)[..., None] * t
    squares = xp.sum(whole * whole, axis=(-2, -1))
    length = 0.5 * xp.log(xp.where(squares == 0, 1.0, squares)) + first[..., 0]
    return (second - length) / math.log(10.0)


def _parts(xp: ModuleType, layers: Array) -> tuple[Array, Array]:
    """Of every composite Q diag(exp d) T: d (..., depth, n) and T (..., depth, n, n)."""
    q = t = _identity(xp, layers)
    d = xp.zeros(q.shape[:-1], dtype=q.dtype, device=device(q))
    scales, shapes = [], []
    for k in range(layers.shape[-3]):
        q, d, step = _graded(xp, layers[..., k, :, :] @ q, d)
        t = step @ t
        scales.append(d)
        shapes.append(t)
    return xp.stack(scales, axis=-2), xp.stack(shapes, axis=-3)


def _graded(xp: ModuleType, matrix: Array, d: Array) -> tuple[Array, Array, Array]:
    """Of matrix @ diag(exp d) = Q diag(exp d') T': Q, d' and T'.

    The largest |entry| of each row of T' is 1; d' is -inf for a row of zeros.
    """
    q, r = xp.linalg.qr(matrix)
    logs = _ln(xp, xp.abs(r)) + d[..., None, :]
    d = xp.max(logs, axis=-1)
    t = xp.sign(r) * xp.exp(logs - xp.where(xp.isfinite(d), d, 0.0)[..., None])
    return q, d, t


def _identity(xp: ModuleType, layers: Array) -> Array:
    n = layers.shape[-1]
    eye = xp.eye(n, dtype=layers.dtype, device=device(layers))
    return xp.broadcast_to(eye, (*layers.shape[:-3], n, n))


def _ln(xp: ModuleType, values: Array) -> Array:
    """Ln of non-negative numbers; 0 gives -inf, without a warning."""
    zero = values == 0
    return xp.where(zero, -math.inf, xp.log(xp.where(zero, 1.0, values)))


def _log10(xp: ModuleType, values: Array) -> Array:
    return _ln(xp, values) / math.log(10.0)

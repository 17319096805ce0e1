"""The Birkhoff polytope of 3 x 3 matrices, and where other matrices lie beside it.

The doubly stochastic matrices are the convex hull of the permutation matrices (Birkhoff 1946; von
Neumann 1953), of dimension (n - 1)^2: 4 at n = 3, where a reader can still see it.  There the three
even permutations I, P, P^2 are the corners of an equilateral triangle around J/3, the matrix with
1/3 everywhere, the three odd ones those of another, and the planes of the two are orthogonal: an
even and an odd permutation agree in exactly one place, so <p - J/3, q - J/3> = 1 - 1 = 0.  Hence
the two coordinates in the one plane and the two in the other are those of a 4-dimensional space in
which the polytope lies: `BASIS`.

Every 3 x 3 matrix has a place there, that of the nearest matrix whose rows and columns sum to 1,
and a height above it: how far it is from there (`places`).
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arrays import Array, square_matrices
from .half_steps import PATIENCE, ROUNDING, half_steps
from .projections import PROJECTIONS
from .surface import MAX_ITERATIONS

Floats = NDArray[np.float64]

SIZE = 3

CENTRE = np.full((SIZE, SIZE), 1 / SIZE)
"""J/3, which averages all streams."""


def _turned(k: int) -> Floats:
    return np.roll(np.eye(SIZE), k, axis=1)


EVEN = np.stack([_turned(k) for k in range(SIZE)])
"""The even permutations: the identity and the two cyclic shifts."""

ODD = np.stack([_turned(k)[::-1] for k in range(SIZE)])
"""The odd ones: each leaves one stream where it is and exchanges the two others."""

CORNERS = np.concatenate([EVEN, ODD])
"""All six permutation matrices, (6, 3, 3)."""

ANGLES = np.array([105, 225, 345, 285, 45, 165])
"""Degrees at which the corners stand, each in the plane of its triangle.  The odd triangle stands
on its head, so that the six are those of a hexagon where both are seen equally long, and there no
corner is right behind another.  At four turns one is: x of an even and of an odd corner is the same
at 15.0, 36.2, 53.8 and 75.0 degrees, where tan(turn) is the ratio of their cosines."""


def _basis() -> Floats:
    """Orthonormal axes of the two planes, as four flattened matrices, (4, 9)."""
    found = []
    for corners, angles in ((EVEN, ANGLES[:3]), (ODD, ANGLES[3:])):
        arms = (corners - CENTRE).reshape(SIZE, -1)
        for along in (np.cos, np.sin):
            # Corner k is sqrt(2) (cos a_k, sin a_k); the squares of a row of cosines sum to 3/2.
            found.append(along(np.radians(angles)) @ arms * np.sqrt(2) / 3)
    return np.stack(found)


BASIS = _basis()
"""The map from a matrix to its four coordinates: the even plane's two, then the odd plane's two."""


class Places(NamedTuple):
    """Where matrices lie."""

    coordinates: Floats
    """(..., 4): those of `BASIS`, of the nearest matrix whose rows and columns sum to 1."""
    height: Floats
    """(...): the Frobenius distance to that matrix; 0 if the sums are 1."""


def places(matrices: Array) -> Places:
    """Where 3 x 3 matrices (..., 3, 3) lie: distances between matrices with sums 1 are kept.

    >>> where = places(np.eye(3))
    >>> where.coordinates.round(3) + 0.0, where.height.round(3) + 0.0
    (array([0.   , 1.414, 0.   , 0.   ]), np.float64(0.0))

    Raises ValueError or TypeError for what is no finite 3 x 3 matrix.
    """
    flat = _flat(matrices)
    coordinates = flat @ BASIS.T
    beside = flat - CENTRE.ravel() - coordinates @ BASIS
    return Places(coordinates, np.linalg.norm(beside, axis=-1))


def shadow(coordinates: Floats, turn: float) -> Floats:
    """The orthogonal projection (..., 4) -> (..., 2) on a plane, turned by so many degrees.

    At 0 it is the plane of the even permutations, at 90 that of the odd ones, and at 45 both are
    equally far from it:  x = cos(turn) e_1 + sin(turn) o_1,  y = cos(turn) e_2 + sin(turn) o_2.
    """
    angle = np.radians(turn)
    return np.cos(angle) * coordinates[..., :2] + np.sin(angle) * coordinates[..., 2:]


def distance_from_birkhoff(matrices: Array) -> Floats:
    """The Frobenius distance of 3 x 3 matrices (..., 3, 3) from the polytope, shape (...).

    The nearest point is in the interior of one face, and then also the nearest of that face's
    affine hull.  So it is the nearest of those such points, one for each face, that are not
    negative.

    >>> distance_from_birkhoff(2 * np.eye(3) - np.ones((3, 3)) / 3).round(3)
    np.float64(1.414)

    Raises ValueError or TypeError for what is no finite 3 x 3 matrix.
    """
    flat = _flat(matrices)
    origins, projectors = _faces()
    found = origins + np.einsum("fij,...fj->...fi", projectors, flat[..., None, :] - origins)
    rounding = 1e-12 * np.maximum(1.0, np.abs(flat).max(axis=-1))
    inside = found.min(axis=-1) >= -rounding[..., None]
    distance = np.linalg.norm(flat[..., None, :] - found, axis=-1)
    return np.where(inside, distance, np.inf).min(axis=-1)


def edges() -> list[tuple[int, int]]:
    """The pairs of corners that an edge joins: those that are a face by themselves."""
    return [tuple(sorted(face)) for face in _vertices_of_faces() if len(face) == 2]  # type: ignore


@cache
def _vertices_of_faces() -> list[frozenset[int]]:
    """Each face's corners.  A face is what is 0 in some entries, the corners are the permutations
    that are 0 there.
    """
    found = set()
    for count in range(1, len(CORNERS) + 1):
        for chosen in combinations(range(len(CORNERS)), count):
            allowed = CORNERS[list(chosen)].max(axis=0)
            found.add(frozenset(np.flatnonzero((allowed >= CORNERS).all(axis=(1, 2))).tolist()))
    return sorted(found, key=sorted)


@cache
def _faces() -> tuple[Floats, Floats]:
    """A point of each face's affine hull (faces, 9), and the projector on its directions."""
    origins, projectors = [], []
    for face in _vertices_of_faces():
        first, *others = CORNERS[sorted(face)].reshape(len(face), -1)
        sides = np.reshape(others, (-1, SIZE**2)) - first
        origins.append(first)
        projectors.append(np.linalg.pinv(sides) @ sides)
    return np.stack(origins), np.stack(projectors)


def _flat(matrices: Array) -> Floats:
    _, given = square_matrices(matrices, "matrices")
    found = np.asarray(given, dtype=np.float64)
    if found.shape[-1] != SIZE:
        raise ValueError(f"matrices must be 3 x 3, not {found.shape[-1]} x {found.shape[-1]}")
    return found.reshape(*found.shape[:-2], SIZE**2)


# ---- where projections and paths lie -----------------------------------------------------------


def of_total(matrices: Floats) -> Floats:
    """Matrices (..., 3, 3) times what makes their entries sum to 3, as those of a doubly stochastic
    one do.  Sinkhorn's first step divides by the columns' sums, so it takes no notice.
    """
    return matrices * (SIZE / matrices.sum(axis=(-2, -1), keepdims=True))


def path(logits: Array, projection: str = "sinkhorn", iterations: int = MAX_ITERATIONS) -> Floats:
    """The matrices on the way of 3 x 3 logits through a projection, (steps, 3, 3).

    The first is exp(logits), `of_total`; then come the half steps of `half_steps`, or the result
    alone of a projection that does not iterate.  One that takes no logits has no way: (1, 3, 3).

    Raises ValueError or TypeError as `half_steps`, and for logits that are not 3 x 3.
    """
    _flat(logits)
    chosen = PROJECTIONS[projection]
    steps = half_steps(logits, projection, iterations)
    matrices = steps["mantissa"].values
    scaled = matrices * 10.0 ** steps["power"].values.clip(max=300)[:, None, None]
    if not chosen.takes_logits:
        return scaled[1:]
    if not chosen.iterative:
        return np.stack([start(logits), scaled[1]])
    return np.concatenate([of_total(matrices[1:2]), scaled[2:]])


def limit(logits: Array, projection: str = "sinkhorn") -> Floats:
    """Where the way of 3 x 3 logits ends, (1, 3, 3); (0, 3, 3) if it does not end in time.

    A projection that does not iterate has no limit.
    """
    chosen = PROJECTIONS[projection]
    before: Floats = np.asarray(logits, dtype=np.float64)
    if chosen.iterative:
        for matrix in islice(chosen.function(np, before), PATIENCE):
            if np.abs(matrix - before).max() < ROUNDING:
                return matrix[None]
            before = matrix
    return np.empty((0, SIZE, SIZE))


def start(logits: Array) -> Floats:
    """exp(logits), `of_total`, without overflow."""
    logits = np.asarray(logits, dtype=np.float64)
    return of_total(np.exp(logits - logits.max(axis=(-2, -1), keepdims=True)))


def all_projected(
    logits: Array, unconstrained: Array, iterations: int = MAX_ITERATIONS
) -> dict[str, Floats]:
    """What each projection makes of 3 x 3 logits after 0, 1, ... iterations: (counts, 3, 3).

    `unconstrained` is HC's matrix, which every one has at 0 iterations.  A projection that does not
    exist for these logits is left out.
    """
    found = {}
    for name, chosen in PROJECTIONS.items():
        given = np.asarray(logits if chosen.takes_logits else unconstrained, dtype=np.float64)
        try:
            chosen.check(SIZE)
            made = chosen.function(np, given)
            each = list(islice(made, iterations)) if chosen.iterative else [made] * iterations
        except ValueError:  # of numbers that are too large for it, or of n = 3
            continue
        found[name] = np.stack([np.asarray(unconstrained, dtype=np.float64), *each])
    return found


# ---- the logits of a place ---------------------------------------------------------------------

MOST_NEWTON = 60


def logits_at(logits: Array, turn: float, to: tuple[float, float]) -> Floats:
    """3 x 3 logits whose `start` has its `shadow` at a point, changed along the drawn plane alone.

    With U the two axes of the plane as matrices, the gradient of log sum exp(Z + t . U) by t is a
    third of that shadow, and the function is strictly convex.  So there is exactly one such t for
    every point inside the shadow of all such matrices, and Newton's method finds it.  A point
    outside is first moved inside.

    Raises ValueError or TypeError for what is no finite 3 x 3 matrix.
    """
    given = _flat(logits)
    axes = shadow(BASIS.T, turn)  # (9, 2)
    aim = np.asarray(to, dtype=np.float64)
    reach = SIZE * axes  # shadows of the nine matrices that have one entry, 3
    aim = _within(aim, reach)
    t = np.zeros(2)
    for _ in range(MOST_NEWTON):
        value, weights = _log_sum_exp(given + axes @ t)
        off = weights @ axes - aim / SIZE
        if np.abs(off).max() < 1e-12:
            break
        spread = axes.T @ (weights[:, None] * axes) - np.outer(weights @ axes, weights @ axes)
        step = np.linalg.solve(spread + 1e-12 * np.eye(2), off)
        step *= min(1.0, 4.0 / max(float(np.linalg.norm(step)), 1e-300))
        falls = value - t @ aim / SIZE
        for _ in range(40):  # far from the answer Newton's step can be too long
            after = t - step
            if _log_sum_exp(given + axes @ after)[0] - after @ aim / SIZE <= falls + 1e-14:
                break
            step = step / 2
        t = t - step
    return (given + axes @ t).reshape(SIZE, SIZE)


NEAREST = 0.97
"""How far towards the edge of what can be reached a point may be: there logits are infinite."""


def _within(aim: Floats, corners: Floats) -> Floats:
    """A point, or the last one on its way from the middle that is well inside of the corners."""
    least = NEAREST
    for k, j in combinations(range(len(corners)), 2):  # the sides of their hull
        side = corners[j] - corners[k]
        normal = np.array([side[1], -side[0]])
        length = float(np.linalg.norm(normal))
        if length < 1e-9:
            continue
        ahead = (corners - corners[k]) @ normal / length
        if ahead.min() < -1e-9 and ahead.max() > 1e-9:
            continue
        outward = normal / length * (1 if ahead.max() <= 1e-9 else -1)
        least = max(least, float(outward @ aim) / max(float(outward @ corners[k]), 1e-9))
    return aim * (NEAREST / least)


def _log_sum_exp(z: Floats) -> tuple[float, Floats]:
    most = z.max()
    exp = np.exp(z - most)
    total = exp.sum()
    return float(most + np.log(total)), exp / total

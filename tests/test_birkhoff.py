"""The Birkhoff polytope at n = 3: its shape, the map that draws it, and what lies where."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.figures.polytope import (
    COLUMNS,
    NEGATIVE,
    ROWS,
    TOUCHES,
    Network,
    distances,
    mark_columns,
    note_of,
    why_outside,
)
from mhc_demo.numerics.birkhoff import (
    BASIS,
    CENTRE,
    CORNERS,
    EVEN,
    ODD,
    all_projected,
    distance_from_birkhoff,
    edges,
    limit,
    logits_at,
    path,
    places,
    shadow,
    start,
)
from mhc_demo.numerics.numbers import superscript
from mhc_demo.numerics.projections import PROJECTIONS

EXACT = 1e-12
"""A few roundings of numbers near 1."""


def logits(spread: float = 1.0, seed: int = 0) -> np.ndarray:
    return spread * np.random.default_rng(seed).standard_normal((3, 3))


def doubly_stochastic(count: int, seed: int = 0) -> np.ndarray:
    """Averages of the permutation matrices, some of them near a face."""
    weights = np.random.default_rng(seed).dirichlet(np.full(6, 0.4), count)
    return np.einsum("kp,pij->kij", weights, CORNERS)


# ---- its shape ---------------------------------------------------------------------------------


def test_the_corners_are_the_permutation_matrices_by_their_sign() -> None:
    found = {tuple(each.argmax(axis=1)) for each in CORNERS}
    assert found == set(permutations(range(3)))
    np.testing.assert_array_equal(np.sort(CORNERS, axis=2)[..., 2], 1)
    np.testing.assert_allclose(np.linalg.det(EVEN), 1)
    np.testing.assert_allclose(np.linalg.det(ODD), -1)


def test_two_triangles_with_equal_sides_stand_at_right_angles_around_the_middle() -> None:
    arms = (CORNERS - CENTRE).reshape(6, 9)
    inner = arms @ arms.T
    np.testing.assert_allclose(np.diag(inner), 2)  # the circumradius is sqrt(2)
    np.testing.assert_allclose(inner[:3, 3:], 0, atol=EXACT)
    for triangle in (EVEN, ODD):
        np.testing.assert_allclose(triangle.sum(axis=0), 1)  # J: the middle of both
        sides = [np.linalg.norm(a - b) for a, b in combinations(triangle, 2)]
        np.testing.assert_allclose(sides, np.sqrt(6))
    for even in EVEN:
        for odd in ODD:
            assert np.linalg.norm(even - odd) == pytest.approx(2)


def test_any_two_corners_are_joined_by_an_edge() -> None:
    assert sorted(edges()) == list(combinations(range(6), 2))
    # An edge is where some linear function is greatest: here the sum of the two permutations.
    for one, other in edges():
        height = np.einsum("ij,pij->p", CORNERS[one] + CORNERS[other], CORNERS)
        assert set(np.flatnonzero(height == height.max())) == {one, other}


def test_the_text_counts_what_is_there() -> None:
    said = " ".join(note_of("x"))
    assert "6 at n = 3, all 1.41 from J/3" in said
    assert "15 edges" in said


# ---- the map -----------------------------------------------------------------------------------


def test_the_axes_are_orthonormal_and_span_what_has_sums_of_one() -> None:
    np.testing.assert_allclose(BASIS @ BASIS.T, np.eye(4), atol=EXACT)
    axes = BASIS.reshape(4, 3, 3)
    np.testing.assert_allclose(axes.sum(axis=1), 0, atol=EXACT)
    np.testing.assert_allclose(axes.sum(axis=2), 0, atol=EXACT)
    # The even permutations lie in the plane of the first two, the odd ones in the other.
    where = places(CORNERS).coordinates
    np.testing.assert_allclose(where[:3, 2:], 0, atol=EXACT)
    np.testing.assert_allclose(where[3:, :2], 0, atol=EXACT)


def test_coordinates_keep_distances_and_height_is_the_rest() -> None:
    inside = doubly_stochastic(20)
    where = places(inside)
    np.testing.assert_allclose(where.height, 0, atol=EXACT)
    for a, b in combinations(range(20), 2):
        apart = np.linalg.norm(inside[a] - inside[b])
        np.testing.assert_allclose(np.linalg.norm(np.subtract(*where.coordinates[[a, b]])), apart)
    any_matrix = logits(3.0)
    there, height = places(any_matrix)
    nearest = CENTRE + (there @ BASIS).reshape(3, 3)
    np.testing.assert_allclose(nearest.sum(axis=0), 1)
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    assert np.linalg.norm(any_matrix - nearest) == pytest.approx(height)


@pytest.mark.parametrize("turn", [0, 17, 45, 90])
def test_the_shadow_is_an_orthogonal_projection_and_the_hull_holds_every_point(turn: int) -> None:
    axes = shadow(BASIS.T, turn)
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=EXACT)
    corners = shadow(places(CORNERS).coordinates, turn)
    points = shadow(places(doubly_stochastic(200)).coordinates, turn)
    for angle in np.radians(range(0, 360, 5)):  # no corner is ahead: neither is a point
        ahead = np.array([np.cos(angle), np.sin(angle)])
        assert (points @ ahead).max() <= (corners @ ahead).max() + EXACT


def test_at_the_ends_of_the_turn_one_triangle_is_seen_and_halfway_a_regular_hexagon() -> None:
    where = places(CORNERS).coordinates
    far = lambda turn: np.linalg.norm(shadow(where, turn), axis=1)  # noqa: E731
    np.testing.assert_allclose(far(0), [np.sqrt(2)] * 3 + [0] * 3, atol=EXACT)
    np.testing.assert_allclose(far(90), [0] * 3 + [np.sqrt(2)] * 3, atol=EXACT)
    hexagon = shadow(where, 45)
    np.testing.assert_allclose(far(45), 1)
    angles = np.sort(np.degrees(np.arctan2(*hexagon.T)))
    np.testing.assert_allclose(np.diff(angles), 60)


# ---- distances ---------------------------------------------------------------------------------


def test_the_distance_is_that_to_the_nearest_point_of_the_set() -> None:
    inside = doubly_stochastic(300)
    np.testing.assert_allclose(distance_from_birkhoff(inside), 0, atol=EXACT)
    for seed in range(5):
        matrix = logits(2.0, seed)
        found = distance_from_birkhoff(matrix)
        assert found <= np.linalg.norm(inside - matrix, axis=(1, 2)).min()
        # Nearest points are found without faces too: by small steps down the slope, which stay in
        # the set because they go towards corners (Frank and Wolfe 1956).
        near = CENTRE
        for step in range(2000):
            best = CORNERS[np.einsum("ij,pij->p", near - matrix, CORNERS).argmin()]
            near = near + 2 / (step + 2) * (best - near)
        # After k steps the squared distance is at most 4 diameter^2 / (k + 2) = 0.012 too large.
        gap = np.linalg.norm(near - matrix) ** 2 - found**2
        assert -EXACT < gap < 0.012


def test_distances_of_far_and_of_wrong_matrices() -> None:
    assert distance_from_birkhoff(1e12 * np.eye(3)) == pytest.approx(1e12 * np.sqrt(3), rel=1e-9)
    signed = np.array([[2.0, -1.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])  # sums of 1
    assert places(signed).height == pytest.approx(0, abs=EXACT)
    assert distance_from_birkhoff(signed) == pytest.approx(2)  # from the identity
    for wrong in (np.eye(2), np.full((3, 3), np.nan), [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="matrices"):
            distance_from_birkhoff(wrong)
        with pytest.raises(ValueError, match="matrices"):
            places(wrong)


def test_what_keeps_a_matrix_out_is_named() -> None:
    rows = np.full((3, 3), 1 / 3) * np.array([[1.2], [0.9], [0.9]])
    signed = np.array([[2.0, -1.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    given = np.stack([np.eye(3), rows, rows.T, signed, 3 * signed])
    wanted = [0, ROWS, COLUMNS, NEGATIVE, ROWS | COLUMNS | NEGATIVE]
    assert why_outside(given).tolist() == wanted


# ---- ways and projections ----------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_a_way_is_the_librarys_half_steps(spread: float) -> None:
    Z = logits(spread)
    steps = mhc.half_steps(Z)
    way = path(Z)
    assert len(way) == steps.sizes["step"] - 1  # without the logits themselves
    factor = 10.0 ** steps["power"].values[2:, None, None]
    np.testing.assert_array_equal(way[1:], steps["mantissa"].values[2:] * factor)
    np.testing.assert_allclose(way[0] / way[0].sum(), np.exp(Z) / np.exp(Z).sum(), rtol=1e-12)
    np.testing.assert_allclose(way.sum(axis=(1, 2)), 3)  # all have the total of three rows
    for t in (1, 2, 30):
        np.testing.assert_allclose(way[2 * t], mhc.project(Z, "sinkhorn", t), rtol=1e-15)


def test_a_way_ends_at_its_limit_on_the_floor() -> None:
    (end,) = limit(logits())
    assert distance_from_birkhoff(end) < 1e-10  # what 1e-14 an iteration leaves
    np.testing.assert_allclose(path(logits(), iterations=200)[-1], end, atol=1e-10)
    heights = places(path(logits())).height
    assert (np.diff(heights[:8]) < 0).all()
    assert len(limit(1e4 * np.ones((3, 3)) * np.tri(3))) == 0  # not in a thousand iterations
    assert len(limit(logits(), "rows")) == 0


@pytest.mark.parametrize("name", [p.name for p in PROJECTIONS.values() if p.sizes.hold(3)])
def test_every_projection_stands_where_the_library_puts_it(name: str) -> None:
    Z, hc = logits(1.5, 3), logits(1.0, 4)
    found = all_projected(Z, hc)[name]
    chosen = PROJECTIONS[name]
    assert found.shape == (31, 3, 3)
    np.testing.assert_array_equal(found[0], hc)
    for t in (1, 20):
        wanted = mhc.project(Z if chosen.takes_logits else hc, name, t)
        np.testing.assert_allclose(found[t], wanted, rtol=1e-12, atol=1e-15)
    why, far = why_outside(found[1:]), distance_from_birkhoff(found[1:])
    # What a projection promises keeps its marks from what is off, and inside the set.
    assert not (why & ROWS).any() or not chosen.unit_rows
    assert not (why & COLUMNS).any() or not chosen.unit_columns
    assert not (why & NEGATIVE).any() or not chosen.nonnegative
    if chosen.exact:
        assert far.max() < 1e-14  # roundings of sums of three
        assert not why.any()


def test_what_is_only_near_the_set_is_not_said_to_be_in_it() -> None:
    # Logits as sharp as these take Sinkhorn's iteration near the set within 20, but not into it.
    network = Network("sinkhorn", init="gaussian", spread=5.0, seed=42, depth=1, iterations=20)
    given = network.layer(1)
    far = distance_from_birkhoff(mhc.project(network.logits[0], "sinkhorn", 20))
    assert 1e-7 < far < TOUCHES
    said = distances(given, 20)
    power = int(np.floor(np.log10(far)))
    digits = f"{far / 10**power:.3g} × 10{superscript(power)}"
    assert f": Sinkhorn {digits}, " in said
    assert f"{PROJECTIONS['mhc-lite'].label} 0, " in said
    sinkhorn, lite = (given["names"].index(name) for name in ("sinkhorn", "mhc-lite"))
    why = given["marks"]["why"].reshape(21, -1)[20]
    assert (why[sinkhorn], why[lite]) == (COLUMNS, 0)


@pytest.mark.parametrize("turn", [15.0, 36.206, 53.794, 75.0])
def test_at_four_turns_corners_are_one_behind_another_and_halfway_none(turn: float) -> None:
    where = places(CORNERS).coordinates
    across = lambda at: np.abs(np.subtract.outer(*[shadow(where, at)[:, 0]] * 2))  # noqa: E731
    assert across(turn)[:3, 3:].min() < 1e-4  # of turns to 0.001 degrees
    assert across(45)[:3, 3:].min() > 0.2


def test_the_area_is_the_shadow_of_the_set_and_most_over_it_is_outside() -> None:
    random = np.random.default_rng(0)
    floor = random.uniform(-1.5, 1.5, (20_000, 4))
    matrices = CENTRE + (floor @ BASIS).reshape(-1, 3, 3)
    corners = shadow(places(CORNERS).coordinates, 45)
    ahead = np.stack([np.cos(a := np.radians(range(360))), np.sin(a)], axis=-1)
    over = ((shadow(floor, 45) @ ahead.T) <= (corners @ ahead.T).max(axis=0)).all(axis=1)
    inside = matrices.min(axis=(1, 2)) >= 0
    assert inside.sum() > 50
    assert over[inside].all()
    assert inside[over].mean() < 0.5


def test_a_projection_that_the_numbers_are_too_large_for_is_left_out() -> None:
    found = all_projected(1e3 * np.eye(3), np.eye(3))
    assert "exp" not in found
    assert {"sinkhorn", "mhc-lite", "none"} <= set(found)
    assert mark_columns(found)["distance"].shape == (31 * len(found),)


def test_a_networks_way_is_that_of_the_composites() -> None:
    network = Network("sinkhorn", init="gaussian", spread=1.0, seed=5, depth=9, iterations=3)
    Z = mhc.sample_mixing(9, streams=3, spread=1.0, seed=5)[0]
    np.testing.assert_array_equal(network.logits, Z)
    columns = network.layer(4)["composites"]
    product = np.eye(3)
    for layer, matrix in enumerate(mhc.project(Z, "sinkhorn", 2), start=1):
        product = matrix @ product
        where = places(product)
        at = 2 * 9 + layer - 1
        drawn = [columns[axis][at] for axis in "abcd"]
        np.testing.assert_allclose(drawn, where.coordinates, atol=2e-6)  # rounded to 1e-6
        np.testing.assert_allclose(columns["h"][at], where.height, atol=2e-6)
    unbounded = Network("none", init="gaussian", spread=9.0, seed=5).layer(1)["composites"]
    assert np.isfinite(np.stack(list(unbounded.values()))).all()


# ---- dragging ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [0, 30, 90])
@pytest.mark.parametrize("to", [(0.3, -0.2), (-0.4, 0.3), (0.0, 0.0)])
def test_logits_follow_a_drag_in_the_drawn_plane_alone(turn: int, to: tuple[float, float]) -> None:
    Z = logits(1.0, 7)
    found = logits_at(Z, turn, to)
    there = shadow(places(start(found)).coordinates, turn)
    np.testing.assert_allclose(there, to, atol=1e-9)  # Newton's method ends at 1e-12
    change = (found - Z).ravel()
    across = shadow(BASIS.T, turn)
    np.testing.assert_allclose(across @ (across.T @ change), change, atol=1e-9)


@pytest.mark.parametrize("turn", [0, 20, 45])
@pytest.mark.parametrize("to", [(30.0, 1.0), (-2.0, -9.0), (0.0, 1.4)])
def test_a_drag_beyond_what_logits_reach_ends_before_it(turn: int, to: tuple[float, float]) -> None:
    found = logits_at(logits(), turn, to)
    assert np.isfinite(found).all()
    there = shadow(places(start(found)).coordinates, turn)
    assert there @ to > 0
    across = there[0] * to[1] - there[1] * to[0]
    assert abs(across) < 1e-9 * np.linalg.norm(to)  # in that direction
    reach = shadow(places(3 * np.eye(9).reshape(9, 3, 3)).coordinates, turn)
    for angle in np.radians(range(0, 360, 5)):
        ahead = np.array([np.cos(angle), np.sin(angle)])
        assert there @ ahead < (reach @ ahead).max()

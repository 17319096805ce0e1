"""Models cut into stages: counts become times as they do by hand, and what a rank keeps."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhc_demo.numerics.costs import Activations, best_recompute_block, stored_activations
from mhc_demo.numerics.pipeline import SCHEDULES, simulate
from mhc_demo.numerics.stages import (
    MOST_CHUNKS,
    MOST_RANKS,
    RESIDUAL,
    WAYS,
    Stages,
    Way,
    blocks,
    exposed,
    fitting,
    gibibytes,
    kept,
    message,
    most_kept,
    overhead,
    span,
    timeline,
    times,
)

EVERY = pytest.mark.parametrize("schedule", SCHEDULES)
USUAL = Stages()


# Times


def test_the_27b_model_s_messages_by_hand():
    # 4 streams x 2,560 x 4,096 tokens x 2 bytes at 50 GB/s.
    assert message(USUAL) == 4 * 2560 * 4096 * 2 == 83_886_080
    assert times(USUAL).send == pytest.approx(1e3 * 83_886_080 / 50e9)
    assert message(USUAL, RESIDUAL) == message(USUAL) / 4
    shared = replace(USUAL, tensor_ranks=4, element=4)
    assert message(shared) == message(USUAL) / 2


def test_the_kernels_times_by_hand():
    # Eight layers in a stage; per token and layer (8n + 2)C + 2(n^2 + 2n) elements, fused 4nC less.
    one = replace(USUAL, memory=1e12)
    tokens_and_bytes = 8 * 4096 * 2
    plain = 1e3 * (34 * 2560 + 48) * tokens_and_bytes / 1e12
    fused = 1e3 * (18 * 2560 + 48) * tokens_and_bytes / 1e12
    assert times(one, WAYS["nothing"]).forward == pytest.approx(10 + plain)
    assert times(one, WAYS["fused"]).forward == pytest.approx(10 + fused)
    assert times(one).recompute == pytest.approx(fused)
    assert times(one, WAYS["all but fused"]).recompute == pytest.approx(plain)
    assert times(one, WAYS["all but recomputed"]).recompute == 0
    residual = 1e3 * 3 * 2560 * tokens_and_bytes / 1e12
    assert times(one, RESIDUAL).forward == pytest.approx(10 + residual)
    assert times(one, RESIDUAL).inputs == pytest.approx(10 + residual)
    assert times(one).weights == 10


@EVERY
def test_without_anything_to_send_or_to_recompute_it_is_the_published_bubble(schedule):
    # So fast a link that its time is below rounding.
    stages = replace(USUAL, link=1e30, forward=8.0, inputs=8.0, weights=8.0, memory=1e30)
    way = WAYS["all but recomputed"]
    found = timeline(stages, schedule, way)
    expected = SCHEDULES[schedule].bubble(8, times(stages, way))
    assert max(map(found.bubble, range(8))) == pytest.approx(expected)
    assert exposed(stages, schedule, way) == pytest.approx(0, abs=1e-9)
    assert overhead(stages, schedule, way) == pytest.approx(0, abs=1e-9)


# What is exposed


@EVERY
@pytest.mark.parametrize("stages", [USUAL, replace(USUAL, link=1e10, ranks=6, microbatches=12)])
def test_what_is_exposed_is_the_difference_of_two_simulations(schedule, stages):
    for way in (*WAYS.values(), RESIDUAL):
        usual = times(stages, way)
        unsent = replace(usual, send=0.0, early=True, blocking=False)
        expected = (
            simulate(schedule, stages.ranks, stages.microbatches, usual).span
            - simulate(schedule, stages.ranks, stages.microbatches, unsent).span
        )
        assert exposed(stages, schedule, way) == pytest.approx(expected)
        assert expected > 0


@EVERY
def test_more_streams_expose_more_and_overlap_hides_some_of_it(schedule):
    found = [exposed(replace(USUAL, streams=n), schedule) for n in (1, 2, 4, 8)]
    assert found == sorted(found)
    assert exposed(USUAL, schedule, RESIDUAL) < exposed(USUAL, schedule)
    assert exposed(USUAL, schedule) < exposed(USUAL, schedule, WAYS["fused, recomputed"])


@EVERY
def test_each_of_the_three_does_what_it_is_for(schedule):
    """Fusing saves time, recomputing saves memory and takes time, overlapping saves time."""
    cost = {name: overhead(USUAL, schedule, way) for name, way in WAYS.items()}
    assert cost["fused"] < cost["nothing"]
    assert cost["fused"] < cost["fused, recomputed"]
    assert cost["all three"] < cost["fused, recomputed"]
    assert cost["all three"] < cost["all but fused"]
    assert cost["all three"] > cost["all but recomputed"]
    K = most_kept(USUAL, schedule)
    assert kept(USUAL, K, WAYS["all three"]).peak < kept(USUAL, K, WAYS["fused"]).peak / 3


@EVERY
def test_the_cost_is_relative_to_how_long_the_layers_take(schedule):
    slow = replace(USUAL, forward=40.0, inputs=40.0, weights=40.0)
    assert overhead(slow, schedule) < overhead(USUAL, schedule)
    assert overhead(USUAL, schedule) == span(USUAL, schedule) / span(USUAL, schedule, RESIDUAL) - 1


# What is kept


@EVERY
def test_a_rank_keeps_as_many_micro_batches_as_the_simulation_shows(schedule):
    for way in (WAYS["all three"], WAYS["nothing"], RESIDUAL):
        found = timeline(USUAL, schedule, way)
        assert max(map(found.activations, range(8))) == most_kept(USUAL, schedule)


def test_what_a_rank_keeps_by_hand():
    # Eight layers, eight micro-batches, in units of C: 2, n + 3, and by Eq. 20 4 + 8 and 6 in each
    # of the block's layers.
    assert kept(USUAL, 8, RESIDUAL) == Activations(8 * 8 * 2 * 2560, 0)
    assert kept(USUAL, 8, WAYS["fused"]) == Activations(8 * 8 * 7 * 2560, 0)
    assert kept(USUAL, 8, WAYS["all three"]) == Activations(8 * 12 * 2560, 8 * 6 * 2560)
    assert kept(USUAL, 8, Way(), 3) == Activations(8 * (3 * 4 + 8) * 2560, 3 * 6 * 2560)
    assert gibibytes(USUAL, 2**18) == 2**18 * 4096 * 2 / 2**30 == 2


@pytest.mark.parametrize(("n", "L"), [(4, 8), (2, 13), (8, 1)])
def test_with_one_rank_s_worth_of_layers_and_one_micro_batch_it_is_eq_20(n, L):
    stages = Stages(streams=n, width=32, layers=2 * L, ranks=2)
    for block in range(1, L + 1):
        assert kept(stages, 1, Way(), block) == stored_activations(n, 32, L, block)
    assert kept(stages, 1, Way(recomputed=False)) == stored_activations(n, 32, L)
    assert blocks(stages, 1)["stage"] == blocks(stages, 1)["kept"] == best_recompute_block(L, n)


@given(st.integers(1, 8), st.integers(1, 120), st.integers(2, 16), st.integers(1, 17))
def test_the_blocks_of_a_stage(n, L, ranks, K):
    stages = Stages(streams=n, width=1, layers=L, ranks=ranks)
    found = blocks(stages, K)
    each = math.ceil(L / ranks)
    assert found["aligned"] == each
    assert all(1 <= block <= each for block in found.values())
    least = min(kept(stages, K, Way(), block).peak for block in range(1, each + 1))
    assert kept(stages, K, Way(), found["kept"]).peak == least
    # A rank that keeps many micro-batches wants blocks at least as long as one that keeps few.
    assert found["kept"] >= blocks(stages, 1)["kept"]


def test_as_many_micro_batches_as_stages_lead_back_to_the_whole_network():
    # n K L_stage = n L, as in Eq. 20's estimate for all layers: 27B, six layers of 60 on ten ranks.
    stages = Stages(layers=60, ranks=10)
    found = blocks(stages, 10)
    assert found["network"] == found["kept"] == found["aligned"] == 6
    assert found["stage"] == 2


# What the page can show


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 10**6))
def test_every_schedule_exists_for_what_fits(ranks, microbatches):
    ranks, microbatches = fitting(ranks, microbatches)
    assert 2 <= ranks <= MOST_RANKS
    assert ranks * microbatches <= MOST_CHUNKS
    for schedule in SCHEDULES.values():
        schedule.check(ranks, microbatches)


@given(st.integers(1, 8), st.integers(8, 20))
def test_what_fits_is_left_as_it_is(ranks, microbatches):
    ranks, microbatches = 2 * ranks, 2 * max(2 * ranks, microbatches)
    if ranks * microbatches <= MOST_CHUNKS:
        assert fitting(ranks, microbatches) == (ranks, microbatches)


@pytest.mark.parametrize(
    ("values", "error", "named"),
    [
        ({"ranks": 1}, ValueError, "ranks must be at least 2, not 1"),
        ({"layers": 0}, ValueError, "layers must be at least 1, not 0"),
        ({"tokens": 1.5}, TypeError, "tokens must be a whole number, not 1.5"),
        ({"forward": -1}, ValueError, "forward must be finite and at least 0, not -1"),
        ({"link": 0}, ValueError, "link must be more than 0, not 0"),
        ({"memory": math.inf}, ValueError, "memory must be finite and at least 0, not inf"),
    ],
)
def test_bad_stages_are_named(values, error, named):
    with pytest.raises(error, match=named):
        Stages(**values)
    with pytest.raises(ValueError, match=r"schedule must be one of '1f1b', .* not 'gpipe'"):
        most_kept(USUAL, "gpipe")
    with pytest.raises(ValueError, match="microbatches must be at least 1, not 0"):
        kept(USUAL, 0, Way())
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        kept(USUAL, 1, Way(), 0)

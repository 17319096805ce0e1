"""Pipeline schedules against the published formulas, against drawings by hand, and conservation."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhc_demo.numerics.pipeline import SCHEDULES, Chunk, Times, simulate

EVERY = pytest.mark.parametrize("name", SCHEDULES)
LENGTHS = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0])
"""Multiples of 1/2, so that sums are exact."""


@EVERY
@pytest.mark.parametrize("ranks", [2, 4, 6, 8, 12, 16])
def test_idle_time_and_memory_are_the_published_formulas(name, ranks):
    chosen = SCHEDULES[name]
    for rounds in (2, 3):
        # The report's drawing has F and both halves of B of one length; overlapped pairs may take
        # less than the sum.
        for times in (Times(), Times(2, 2, 1), Times(2, 2, 2, together=4.5)):
            timeline = simulate(name, ranks, rounds * ranks, times)
            expected = chosen.bubble(ranks, times)
            idle = [timeline.bubble(rank) for rank in range(ranks)]
            assert max(idle) == expected
            if times.together is None:  # else ranks with more overlapping pairs work less
                assert idle == [expected] * ranks
            kept = [timeline.activations(rank) for rank in range(ranks)]
            assert max(kept) == chosen.activations(ranks)


@given(
    st.integers(2, 9), st.integers(0, 12), LENGTHS, LENGTHS, LENGTHS, st.sampled_from([0.5, 1.0])
)
def test_for_which_times_the_formulas_hold(ranks, more, forward, inputs, weights, share):
    together = max(forward, inputs + weights, share * (forward + inputs + weights))
    times = Times(forward, inputs, weights, together)

    def found(name, ranks, microbatches):
        timeline = simulate(name, ranks, microbatches, times)
        return max(map(timeline.bubble, range(ranks))), SCHEDULES[name].bubble(ranks, times)

    idle, formula = found("1f1b", ranks, ranks + more)
    assert idle == formula
    idle, formula = found("zb1p", ranks, 2 * ranks + more)
    # A longer W does not fit into the gaps that it is to fill.
    assert idle == formula if weights <= min(forward, inputs) else idle > formula
    ranks += ranks % 2
    idle, formula = found("dualpipe", ranks, 2 * ranks + 2 * more)
    if ranks == 2 or (forward == inputs and weights <= forward):
        assert idle == formula


def drawn(timeline, rank):
    """A rank as a string: what it does in each unit of time."""
    line = ["."] * round(timeline.span)
    for event in timeline.events:
        if event.rank == rank:
            for at in range(round(event.start), round(event.end)):
                (chunk,) = event.task
                line[at] = f"{chunk.kind}{chunk.microbatch}"
    return " ".join(line)


def test_two_ranks_drawn_by_hand():
    timeline = simulate("1f1b", 2, 2)
    assert drawn(timeline, 0) == "F0 F1 . . B0 B0 . B1 B1"
    assert drawn(timeline, 1) == ". F0 B0 B0 F1 B1 B1 . ."
    timeline = simulate("zb1p", 2, 2, Times(1, 1, 1))
    assert drawn(timeline, 0) == "F0 F1 . I0 W0 I1 W1"
    assert drawn(timeline, 1) == ". F0 I0 F1 I1 W0 W1"


def test_what_is_sent_delays_the_next_rank():
    timeline = simulate("1f1b", 2, 2, Times(1, 1, 1, send=1))
    assert drawn(timeline, 0) == "F0 F1 . . . . B0 B0 . B1 B1"
    assert drawn(timeline, 1) == ". . F0 B0 B0 F1 B1 B1 . . ."
    assert [(m.origin, m.target, m.start, m.end) for m in timeline.messages] == [
        (0, 1, 1, 2),
        (0, 1, 2, 3),
        (1, 0, 5, 6),
        (1, 0, 8, 9),
    ]


def test_a_rank_that_waits_until_its_message_has_arrived():
    # The rank below could go on; that it does not is what this costs.
    timeline = simulate("1f1b", 2, 2, Times(1, 1, 1, send=1, blocking=True))
    assert drawn(timeline, 0) == "F0 . F1 . . . B0 B0 . . B1 B1"
    assert drawn(timeline, 1) == ". . F0 B0 B0 . F1 B1 B1 . . ."


def test_a_message_that_leaves_before_the_weights_are_done():
    timeline = simulate("1f1b", 2, 2, Times(1, 1, 2, send=1, ahead=1))
    assert drawn(timeline, 0) == "F0 F1 . . . . B0 B0 B0 . B1 B1 B1"
    assert drawn(timeline, 1) == ". . F0 B0 B0 B0 F1 B1 B1 B1 . . ."
    back = [(m.start, m.end) for m in timeline.messages if m.origin == 1]
    assert back == [(5, 6), (9, 10)]
    # It arrives during the chunk that it is of, but is of use only after that.
    assert simulate("1f1b", 2, 2, Times(1, 1, 2, send=0.5, ahead=1)).span == 12.5


def test_what_is_recomputed_early_does_not_wait_for_the_gradient():
    late = simulate("1f1b", 2, 2, Times(1, 1, 1, recompute=1, early=False))
    early = simulate("1f1b", 2, 2, Times(1, 1, 1, recompute=1, early=True))
    assert drawn(late, 0) == "F0 F1 . . . R0 B0 B0 . R1 B1 B1"
    assert drawn(early, 0) == "F0 F1 R0 . . B0 B0 R1 . B1 B1"


@settings(deadline=None)
@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.sampled_from([2, 4, 6, 8]),
    st.integers(0, 6),
    st.tuples(LENGTHS, LENGTHS, LENGTHS),
    st.sampled_from([0.0, 0.5, 3.0]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.5]),
)
def test_every_chunk_runs_once_after_what_it_needs(
    name, ranks, more, lengths, send, again, early, blocking, ahead
):
    times = Times(*lengths, send=send, recompute=again, early=early, blocking=blocking, ahead=ahead)
    microbatches = 2 * ranks + 2 * more
    timeline = simulate(name, ranks, microbatches, times)
    ways = (0, 1) if SCHEDULES[name].both_ways else (0,)
    each_way = microbatches // len(ways)
    for rank in range(ranks):
        own = [event for event in timeline.events if event.rank == rank]
        assert all(a.end <= b.start for a, b in pairwise(own))  # one thing at a time
        ran = [chunk for event in own for chunk in event.task]
        assert len(ran) == len(set(ran))
        for way in ways:
            of = {
                kind: {c.microbatch for c in ran if (c.kind, c.direction) == (kind, way)}
                for kind in "FBIWR"
            }
            all_of_them = set(range(each_way))
            assert of["F"] == all_of_them
            assert of["B"] | of["I"] == all_of_them
            assert not of["B"] & of["I"]
            assert of["W"] == of["I"]
            assert of["R"] == (all_of_them if again else set())
    ends = {
        (e.rank, "B" if c.kind == "I" else c.kind, c.microbatch, c.direction): e.end
        for e in timeline.events
        for c in e.task
    }
    for event in timeline.events:
        for chunk in event.task:
            onward = 1 if chunk.direction == 0 else -1
            of = (chunk.microbatch, chunk.direction)
            if chunk.kind == "F":
                needed = [(event.rank - onward, "F", *of)]
            elif chunk.kind in "BI":
                needed = [(event.rank + onward, "B", *of)]
                assert ends[event.rank, "F", *of] <= event.start
            else:
                needed = []
                assert ends[event.rank, "B" if chunk.kind == "W" else "F", *of] <= event.start
            for before in needed:
                if 0 <= before[0] < ranks:
                    assert ends[before] + max(0, send - ahead) <= event.start
    if blocking:
        for message in timeline.messages:
            own = [e for e in timeline.events if e.rank == message.origin]
            assert not any(message.start + ahead < e.end and e.start < message.end for e in own)
    for link in {(m.origin, m.target) for m in timeline.messages}:
        on_it = [m for m in timeline.messages if (m.origin, m.target) == link]
        assert all(a.end <= b.start for a, b in pairwise(on_it))


@EVERY
def test_a_slower_link_never_helps(name):
    spans = [simulate(name, 8, 20, Times(send=send)).span for send in (0.0, 0.25, 1.0, 4.0)]
    assert spans == sorted(spans)
    assert spans[0] < spans[-1]


@EVERY
def test_what_overlaps_only_ever_helps(name):
    for send in (0.25, 1.0, 4.0):
        for again in (0.0, 0.5):
            usual = {"send": send, "recompute": again}
            waiting = simulate(name, 8, 20, Times(**usual, early=False, blocking=True)).span
            early = simulate(name, 8, 20, Times(**usual, blocking=True)).span
            beside = simulate(name, 8, 20, Times(**usual)).span
            ahead = simulate(name, 8, 20, Times(**usual, ahead=0.5)).span
            assert ahead <= beside <= early <= waiting
            assert ahead < waiting


@EVERY
def test_what_is_done_ahead_leaves_the_idle_time_as_it_is_published(name):
    times = Times(2, 2, 1, ahead=1)
    timeline = simulate(name, 8, 20, times)
    assert max(map(timeline.bubble, range(8))) == SCHEDULES[name].bubble(8, times)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("gpipe", 4, 8), ValueError, "schedule must be one of '1f1b', 'zb1p', 'dualpipe'"),
        (("1f1b", 1, 8), ValueError, "ranks must be at least 2, not 1"),
        (("1f1b", 4, 3), ValueError, "microbatches must be at least the 4 ranks.*not 3"),
        (("dualpipe", 3, 8), ValueError, "ranks must be even for DualPipe, not 3"),
        (("dualpipe", 4, 7), ValueError, "microbatches must be even and at least 8.*not 7"),
        (("1f1b", 4, 8.5), TypeError, "microbatches must be a whole number, not 8.5"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        simulate(*arguments)
    with pytest.raises(ValueError, match="send must be finite and at least 0, not -1"):
        Times(send=-1)
    with pytest.raises(ValueError, match=r"ahead must be at most 1, the time .* not 2"):
        Times(ahead=2)
    with pytest.raises(ValueError, match=r"together must be at least 2, .* not 1\.5"):
        Times(together=1.5)


def test_chunks_count_each_direction_by_itself():
    timeline = simulate("dualpipe", 2, 4)
    chunks = {chunk for event in timeline.events for chunk in event.task}
    assert Chunk("F", 1, 0) in chunks
    assert Chunk("F", 1, 1) in chunks
    assert Chunk("F", 2, 0) not in chunks

"""Pipeline schedules by simulation: 1F1B, ZB1P and DualPipe.

A large network is cut into stages, one after another over the ranks of a pipeline, and a batch into
micro-batches.  A *schedule* says in which order each rank works on what.  When each chunk of work
runs follows from what it needs: `simulate` plays the schedule, event by event, with times that the
caller gives.  Nothing here is measured.

The schedules are those of the DeepSeek-V3 report (arXiv:2412.19437, Table 2), whose formulas for
idle time, parameters and activations stand beside them; the tests compare the two.

To add a schedule, write one function under `@schedule(...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from ._arrays import choice, nonnegative, whole_number

DEEPSEEK_V3 = "arXiv:2412.19437, Table 2"


@dataclass(frozen=True)
class Times:
    """How long each part of the work on one micro-batch takes in one stage, in any unit."""

    forward: float = 1.0
    """F."""
    inputs: float = 1.0
    """The backward pass for the inputs."""
    weights: float = 1.0
    """W: the backward pass for the weights, which can wait."""
    together: float | None = None
    """F&B: one forward and one backward chunk that overlap; None for their sum."""
    recompute: float = 0.0
    """What is computed again before a backward chunk."""
    early: bool = True
    """Recompute before the gradient is there, from inputs that the rank itself has kept."""
    send: float = 0.0
    """From the end of a chunk until the next rank has its output."""
    blocking: bool = False
    """A rank does nothing else until what it sends has arrived."""
    ahead: float = 0.0
    """How long before its end a chunk that ends on weights, B or F&B, has done what it sends."""

    def __post_init__(self) -> None:
        for name in ("forward", "inputs", "weights", "recompute", "send", "ahead"):
            nonnegative(name, getattr(self, name))
        if self.ahead > self.weights:
            raise ValueError(
                f"ahead must be at most {self.weights:g}, the time for the weights, not "
                f"{self.ahead:g}"
            )
        if self.together is not None:
            longer = max(self.forward, self.backward)
            if nonnegative("together", self.together) < longer:
                raise ValueError(
                    f"together must be at least {longer:g}, the longer of the two chunks that "
                    f"overlap, not {self.together:g}"
                )

    @property
    def backward(self) -> float:
        """B: a full backward chunk, for inputs and weights."""
        return self.inputs + self.weights

    @property
    def overlapped(self) -> float:
        """F&B."""
        return self.forward + self.backward if self.together is None else self.together


@dataclass(frozen=True)
class Chunk:
    """The work of one stage on one micro-batch."""

    kind: str
    """"F" forward, "B" backward, "I" backward for the inputs alone, "W" for the weights alone; the
    simulation adds "R", what is recomputed before "B" or "I"."""
    microbatch: int
    """Counted for each direction."""
    direction: int = 0
    """0: enters at the first rank; 1: at the last (DualPipe)."""


Task = tuple[Chunk, ...]
"""What a rank does at one time: one chunk, or a forward and a backward one that overlap."""


@dataclass(frozen=True)
class Schedule:
    """In which order each rank works, and what is published of it."""

    name: str
    title: str
    order: Callable[[int, int], list[list[Task]]]
    """The tasks of each rank, from (ranks, micro-batches)."""
    bubble: Callable[[int, Times], float]
    """The published idle time, from the ranks and the times: the most of any rank, nothing sent.

    The simulated one is the same for times that meet `when`.
    """
    formula: str
    """The same as it is printed."""
    parameters: int
    """How many stages' parameters a rank keeps."""
    activations: Callable[[int], int]
    """How many micro-batches' activations a rank keeps at most, from the ranks."""
    check: Callable[[int, int], None]
    """ValueError for ranks and micro-batches that it does not exist for."""
    source: str
    both_ways: bool = False
    """Half of the micro-batches enter at the last rank."""
    when: str = ""
    """For which times the published formula holds, in words; empty if for all."""


SCHEDULES: dict[str, Schedule] = {}
"""Every schedule by its name."""


def schedule(name: str, title: str, **facts: Any) -> Callable[[Callable], Callable]:
    """Register a function (ranks, micro-batches) -> the tasks of each rank."""

    def register(function: Callable) -> Callable:
        SCHEDULES[name] = Schedule(name, title, function, **facts)
        return function

    return register


def _as_many_as_ranks(ranks: int, microbatches: int) -> None:
    if microbatches < ranks:
        raise ValueError(
            f"microbatches must be at least the {ranks} ranks, so that all of them are busy, "
            f"not {microbatches}"
        )


def _both_ways(ranks: int, microbatches: int) -> None:
    if ranks % 2:
        raise ValueError(f"ranks must be even for DualPipe, not {ranks}")
    if microbatches % 2 or microbatches < 2 * ranks:
        raise ValueError(
            f"microbatches must be even and at least {2 * ranks}, twice the ranks, for DualPipe, "
            f"not {microbatches}"
        )


@schedule(
    "1f1b",
    "1F1B",
    bubble=lambda ranks, t: (ranks - 1) * (t.forward + t.backward),
    formula="(PP - 1)(F + B)",
    parameters=1,
    activations=lambda ranks: ranks,
    check=_as_many_as_ranks,
    source=DEEPSEEK_V3,
)
def _1f1b(ranks: int, microbatches: int) -> list[list[Task]]:
    """A rank goes ahead by as many forward chunks as there are ranks behind it, then alternates."""

    def tasks(rank: int) -> Iterator[Task]:
        ahead = ranks - 1 - rank
        for m in range(microbatches + ahead):
            if m < microbatches:
                yield (Chunk("F", m),)
            if m >= ahead:
                yield (Chunk("B", m - ahead),)

    return [list(tasks(rank)) for rank in range(ranks)]


@schedule(
    "zb1p",
    "ZB1P",
    bubble=lambda ranks, t: (ranks - 1) * (t.forward + t.backward - 2 * t.weights),
    formula="(PP - 1)(F + B - 2W)",
    when="W is no longer than F and the inputs’ backward pass",
    parameters=1,
    activations=lambda ranks: ranks,
    check=_as_many_as_ranks,
    source=DEEPSEEK_V3,
)
def _zb1p(ranks: int, microbatches: int) -> list[list[Task]]:
    """As 1F1B, but W is put off: by one chunk more on each further rank (Qi et al.'s ZB-H1)."""

    def tasks(rank: int) -> Iterator[Task]:
        ahead = ranks - 1 - rank
        for m in range(microbatches + ahead):
            if m < microbatches:
                yield (Chunk("F", m),)
            if m >= ahead:
                yield (Chunk("I", m - ahead),)
                if m - ahead >= rank:
                    yield (Chunk("W", m - ahead - rank),)
        for m in range(microbatches - rank, microbatches):
            yield (Chunk("W", m),)

    return [list(tasks(rank)) for rank in range(ranks)]


@schedule(
    "dualpipe",
    "DualPipe",
    bubble=lambda ranks, t: (ranks / 2 - 1) * (t.overlapped + t.backward - 3 * t.weights),
    formula="(PP/2 - 1)(F&B + B - 3W)",
    when="F is as long as the inputs’ backward pass and W no longer",
    parameters=2,
    activations=lambda ranks: ranks + 1,
    check=_both_ways,
    source=DEEPSEEK_V3,
    both_ways=True,
)
def _dualpipe(ranks: int, microbatches: int) -> list[list[Task]]:
    """Micro-batches enter at both ends, and a forward and a backward chunk overlap.

    The order is that of the drawing in the report (Fig. 5): the two halves of the ranks mirror
    each other.
    """
    return [_dualpipe_rank(rank, ranks, microbatches // 2) for rank in range(ranks)]


def _dualpipe_rank(rank: int, ranks: int, each_way: int) -> list[Task]:
    # `near` is the direction that enters at this rank's end of the pipeline.
    near = 0 if rank < ranks // 2 else 1
    inward = min(rank, ranks - 1 - rank)
    to_middle = ranks // 2 - 1 - inward
    following = {(kind, way): 0 for kind in "FB" for way in (0, 1)}
    put_off: list[Chunk] = []
    tasks: list[Task] = []

    def chunk(kind: str, way: int) -> Chunk:
        key = ("F" if kind == "F" else "B", way)
        following[key] += 1
        return Chunk(kind, following[key] - 1, way)

    def do(kind: str, way: int) -> None:
        work = chunk(kind, way)
        tasks.append((work,))
        if kind == "I":
            put_off.append(work)

    def weights() -> None:
        late = put_off.pop(0)
        tasks.append((Chunk("W", late.microbatch, late.direction),))

    def both(forward: int, backward: int) -> None:
        tasks.append((chunk("F", forward), chunk("B", backward)))

    far = 1 - near
    for _ in range(2 * to_middle):
        do("F", near)
    for _ in range(inward + 1):
        do("F", near)
        do("F", far)
    for _ in range(to_middle):
        do("I", far)
        weights()
        do("F", far)
    for step in range(each_way - ranks + inward + 1):
        if step == 0 and to_middle == 0:  # the two ranks in the middle wait for one another here
            do("F", near)
            do("B", far)
        else:
            both(near, far)
        both(far, near)
    for _ in range(to_middle):
        do("B", far)
        both(far, near)
    # Of these backward chunks the later half put off their W, which then fills what would be idle.
    last = 2 * (inward + 1)
    for k in range(last):
        do("I" if k >= inward + 1 else "B", far if k % 2 == 0 else near)
    for _ in range(to_middle):
        weights()
        do("I", near)
    while put_off:
        weights()
    return tasks


class Event(NamedTuple):
    """A task that ran."""

    rank: int
    task: Task
    start: float
    end: float


class Message(NamedTuple):
    """A chunk's output on its way to the next rank."""

    origin: int
    target: int
    chunk: Chunk
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """What each rank did and when."""

    schedule: str
    ranks: int
    microbatches: int
    times: Times
    events: list[Event]
    messages: list[Message] = field(default_factory=list)

    @property
    def span(self) -> float:
        """From the first start to the last end."""
        return max(each.end for each in self.events)

    def busy(self, rank: int) -> float:
        """How long a rank works."""
        return sum(each.end - each.start for each in self.events if each.rank == rank)

    def bubble(self, rank: int) -> float:
        """How long a rank is idle."""
        return self.span - self.busy(rank)

    def activations(self, rank: int) -> int:
        """The most micro-batches whose activations a rank keeps at one time.

        From the start of the forward chunk to the end of the last backward chunk.
        """
        kept = most = 0
        own = sorted((e for e in self.events if e.rank == rank), key=lambda e: e.start)
        for event in own:
            kept += sum(chunk.kind == "F" for chunk in event.task)
            most = max(most, kept)
            kept -= sum(chunk.kind in "BW" for chunk in event.task)
        return most


def simulate(
    name: str, ranks: int = 8, microbatches: int = 20, times: Times | None = None
) -> Timeline:
    """Play a schedule: each rank does its tasks in order, each as soon as what it needs is there.

    A forward chunk needs the same micro-batch's forward chunk of the stage before, a backward chunk
    its forward chunk and the backward chunk of the stage behind; what comes from another rank needs
    `times.send` to get there, on a link that carries one message at a time in each direction.  What
    is sent `times.ahead` of a chunk's end is never of use before that end: so the idle time without
    sending stays the published one.

    >>> times = Times(forward=1, inputs=1, weights=1)
    >>> timeline = simulate("1f1b", ranks=4, microbatches=8, times=times)
    >>> timeline.bubble(0) == SCHEDULES["1f1b"].bubble(4, times) == 9
    True

    Raises ValueError or TypeError for an unknown schedule, ranks < 2, and micro-batches that the
    schedule does not exist for.
    """
    chosen = SCHEDULES[choice("schedule", name, SCHEDULES)]
    ranks = whole_number("ranks", ranks, 2)
    microbatches = whole_number("microbatches", microbatches, 1)
    chosen.check(ranks, microbatches)
    times = times or Times()
    events, messages = _play(_plan(chosen.name, ranks, microbatches), ranks, times)
    return Timeline(chosen.name, ranks, microbatches, times, events, messages)


class _Step(NamedTuple):
    """A task of a schedule and what it waits for, whatever the times are.

    Chunks that others wait for have numbers.
    """

    rank: int
    task: Task
    again: Task
    """What is recomputed before it, if anything is."""
    kept: list[int]
    """The chunks of its own rank that it needs."""
    needs: list[int]
    """The chunks of other ranks whose output it needs."""
    gives: list[tuple[Chunk, int, int]]
    """Its chunks that others need: chunk, number, the rank that its output is sent to or -1."""


_Work = tuple[str, int, int, int]
"""What others wait for: "F" or "B", micro-batch, direction and stage."""


@lru_cache(maxsize=32)
def _plan(name: str, ranks: int, microbatches: int) -> list[_Step]:
    """The steps of all ranks in an order in which each comes after what it needs.

    A rank does its tasks in order, and a link carries messages in the order of their sender's: so
    no time has a part in this, and one plan serves all times.
    """
    numbers: dict[_Work, int] = {}
    planned: list[_Step] = []
    waiting = [tasks[::-1] for tasks in SCHEDULES[name].order(ranks, microbatches)]
    while any(waiting):
        before = len(planned)
        for rank, tasks in enumerate(waiting):
            while tasks and (step := _step(rank, tasks[-1], ranks, numbers)) is not None:
                planned.append(step)
                tasks.pop()
        if len(planned) == before:
            raise RuntimeError(f"{name}: ranks wait for one another for ever")
    return planned


def _step(rank: int, task: Task, ranks: int, numbers: dict[_Work, int]) -> _Step | None:
    """The step of a task; None if something that it needs is not planned yet."""
    kept: list[_Work] = []
    needs: list[_Work] = []
    own: list[_Work] = []
    for chunk in task:
        stage = rank if chunk.direction == 0 else ranks - 1 - rank
        of = (chunk.microbatch, chunk.direction)
        if chunk.kind != "F":
            kept.append(("B" if chunk.kind == "W" else "F", *of, stage))
        if chunk.kind == "W":
            continue
        kind, source = ("F", stage - 1) if chunk.kind == "F" else ("B", stage + 1)
        own.append((kind, *of, stage))
        if 0 <= source < ranks:
            needs.append((kind, *of, source))
    if any(each not in numbers for each in (*kept, *needs)):
        return None
    gives = []
    for chunk, each in zip(task, own, strict=False):  # a W gives nothing
        numbers[each] = len(numbers)
        target = rank + (1 if (each[0] == "F") == (chunk.direction == 0) else -1)
        gives.append((chunk, numbers[each], target if 0 <= target < ranks else -1))
    again = tuple(Chunk("R", c.microbatch, c.direction) for c in task if c.kind in "BI")
    known, there = ([numbers[each] for each in some] for some in (kept, needs))
    return _Step(rank, task, again, known, there, gives)


def _play(steps: list[_Step], ranks: int, times: Times) -> tuple[list[Event], list[Message]]:
    """When each step runs, and what is sent when."""
    lengths = {
        "F": times.forward,
        "B": times.backward,
        "I": times.inputs,
        "W": times.weights,
    }
    overlapped, send = times.overlapped, times.send
    free = [0.0] * ranks
    links: dict[tuple[int, int], float] = {}
    ended = [0.0] * sum(len(step.gives) for step in steps)
    there = ended.copy()  # when the output was at the rank that needs it
    events: list[Event] = []
    messages: list[Message] = []
    for rank, task, again, kept, needs, gives in steps:
        own = 0.0
        for number in kept:
            own = max(own, ended[number])
        ready = own
        for number in needs:
            ready = max(ready, there[number])
        if again and times.recompute:
            start = max(free[rank], own if times.early else ready)
            free[rank] = start + times.recompute
            events.append(Event(rank, again, start, free[rank]))
        start = max(free[rank], ready)
        pair = len(task) == 2
        end = free[rank] = start + (overlapped if pair else lengths[task[0].kind])
        events.append(Event(rank, task, start, end))
        done = end - times.ahead if pair or task[0].kind == "B" else end
        for chunk, number, target in gives:
            ended[number] = there[number] = end
            if target < 0 or not send:
                continue
            leaves = max(done, links.get((rank, target), 0.0))
            arrives = links[rank, target] = leaves + send
            there[number] = max(end, arrives)
            messages.append(Message(rank, target, chunk, leaves, arrives))
            if times.blocking:
                free[rank] = max(free[rank], arrives)
    return events, messages

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
from typing import Any

from ._arrays import choice, whole_number
from .mixing import nonnegative

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
    """The published idle time, from the ranks and the times: the most of any rank, nothing sent."""
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


@dataclass(frozen=True)
class Event:
    """A task that ran."""

    rank: int
    task: Task
    start: float
    end: float


@dataclass(frozen=True)
class Message:
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
    return _Playing(chosen, ranks, microbatches, times).timeline()


class _Playing:
    """One simulation.  A rank's tasks run in order: which rank is looked at first is no matter."""

    def __init__(self, schedule: Schedule, ranks: int, microbatches: int, times: Times) -> None:
        self.schedule, self.times = schedule, times
        self.ranks, self.microbatches = ranks, microbatches
        self.lengths = {
            "F": times.forward,
            "B": times.backward,
            "I": times.inputs,
            "W": times.weights,
        }
        self.free = [0.0] * ranks
        self.done: dict[tuple[str, int, int, int], float] = {}
        """When a chunk ended: kind ("F" or "B"), micro-batch, direction, stage."""
        self.there: dict[tuple[str, int, int, int], float] = {}
        """When its output was at the rank that needs it next."""
        self.links: dict[tuple[int, int], float] = {}
        self.events: list[Event] = []
        self.messages: list[Message] = []

    def timeline(self) -> Timeline:
        order = self.schedule.order(self.ranks, self.microbatches)
        waiting = [tasks[::-1] for tasks in order]
        while any(waiting):
            before = len(self.events)
            for rank, tasks in enumerate(waiting):
                while tasks and (ready := self.ready(rank, tasks[-1])) is not None:
                    self.run(rank, tasks.pop(), ready)
            if len(self.events) == before:
                raise RuntimeError(f"{self.schedule.name}: ranks wait for one another for ever")
        return Timeline(
            self.schedule.name,
            self.ranks,
            self.microbatches,
            self.times,
            self.events,
            self.messages,
        )

    def stage(self, rank: int, chunk: Chunk) -> int:
        return rank if chunk.direction == 0 else self.ranks - 1 - rank

    def ready(self, rank: int, task: Task) -> float | None:
        """When a task has what it needs; None if that is not known yet."""
        latest = 0.0
        for chunk in task:
            found = self.given(rank, chunk)
            if found is None:
                return None
            latest = max(latest, found)
        return latest

    def given(self, rank: int, chunk: Chunk) -> float | None:
        """When a chunk has what it needs; None if that is not known yet."""
        own, stage = self.kept(rank, chunk), self.stage(rank, chunk)
        if own is None or chunk.kind == "W":
            return own
        kind, source = ("F", stage - 1) if chunk.kind == "F" else ("B", stage + 1)
        if not 0 <= source < self.ranks:
            return own
        sent = self.there.get((kind, chunk.microbatch, chunk.direction, source))
        return None if sent is None else max(own, sent)

    def kept(self, rank: int, chunk: Chunk) -> float | None:
        """When the rank itself is ready for a chunk; None if that is not known yet."""
        if chunk.kind == "F":
            return 0.0
        of = (chunk.microbatch, chunk.direction, self.stage(rank, chunk))
        return self.done.get(("B" if chunk.kind == "W" else "F", *of))

    def run(self, rank: int, task: Task, ready: float) -> None:
        times = self.times
        back = [chunk for chunk in task if chunk.kind in "BI"]
        if back and times.recompute:
            own = max(self.kept(rank, chunk) or 0.0 for chunk in back)
            start = max(self.free[rank], own if times.early else ready)
            again = tuple(Chunk("R", each.microbatch, each.direction) for each in back)
            self.events.append(Event(rank, again, start, start + times.recompute))
            self.free[rank] = start + times.recompute
        start = max(self.free[rank], ready)
        end = start + (self.lengths[task[0].kind] if len(task) == 1 else times.overlapped)
        self.free[rank] = end
        self.events.append(Event(rank, task, start, end))
        done = end - times.ahead if len(task) == 2 or task[0].kind == "B" else end
        for chunk in task:
            self.finish(rank, chunk, done, end)

    def finish(self, rank: int, chunk: Chunk, done: float, end: float) -> None:
        """Note that a chunk has ended, and send what was done by then."""
        if chunk.kind == "W":
            return
        kind, stage = "F" if chunk.kind == "F" else "B", self.stage(rank, chunk)
        key = (kind, chunk.microbatch, chunk.direction, stage)
        self.done[key] = self.there[key] = end
        step = 1 if (kind == "F") == (chunk.direction == 0) else -1
        target = rank + step
        if 0 <= target < self.ranks and self.times.send:
            start = max(done, self.links.get((rank, target), 0.0))
            arrival = start + self.times.send
            self.links[rank, target] = arrival
            self.there[key] = max(end, arrival)
            self.messages.append(Message(rank, target, chunk, start, arrival))
            if self.times.blocking:
                self.free[rank] = max(self.free[rank], arrival)

"""When garbage is collected; no server here, only somebody who looks at it every second."""

from __future__ import annotations

from typing import Any

import pytest

from mhc_demo.app import collecting
from mhc_demo.app.collecting import LONGEST, MOST_LEFT, SETTLED, Collector


class Process:
    """A process with pages; `second` is one of its life."""

    def __init__(self, pages: int = 9) -> None:
        self.pages, self.now, self.worked, self.collected = pages, 0.0, 0.0, 0
        self.collector = Collector(
            lambda: self.pages,
            collect=self.collect,
            clock=lambda: self.now,
            work=lambda: self.worked,
        )

    def collect(self) -> Any:
        self.collected += 1

    def second(self, work: float, *, left: int = 0) -> None:
        self.now += 1
        for _ in range(left):
            self.collector.page_was_left()
        self.worked += work
        self.collector.look()


@pytest.fixture
def process() -> Process:
    return Process()


def test_what_a_departure_leaves_is_collected_when_nobody_is_held_up(process: Process) -> None:
    process.second(0.9, left=1)
    for _ in range(int(SETTLED)):
        process.second(0.5)
    assert process.collected == 0
    process.second(0.01)
    process.second(0.01)
    assert process.collected == 1


def test_it_waits_until_the_page_is_free_of_references(process: Process) -> None:
    process.second(0.0, left=1)
    for _ in range(int(SETTLED) - 1):
        process.second(0.0)
    assert process.collected == 0
    process.second(0.0, left=1)  # another one, which is not free yet
    assert process.collected == 1
    for _ in range(int(SETTLED) + 5):
        process.second(0.0)
    assert process.collected == 2


def test_without_a_departure_nothing_is_collected_for_long(process: Process) -> None:
    for _ in range(int(LONGEST)):
        process.second(0.0)
    assert process.collected == 0
    process.second(0.0)
    process.second(0.0)
    assert process.collected == 1


def test_a_process_that_is_never_quiet_collects_when_very_many_have_left(process: Process) -> None:
    for _ in range(MOST_LEFT + process.pages // 2):
        process.second(1.0, left=1)
    assert process.collected == 0
    process.second(1.0, left=1)
    assert process.collected == 1


def test_the_more_pages_are_open_the_more_departures_it_waits_for() -> None:
    crowded = Process(pages=10 * MOST_LEFT)
    crowded.second(1.0, left=2 * MOST_LEFT)
    assert crowded.collected == 0


def test_one_departure_from_a_crowd_is_not_worth_it() -> None:
    crowded = Process(pages=150)
    crowded.second(0.0, left=15)
    for _ in range(60):
        crowded.second(0.0)
    assert crowded.collected == 0
    crowded.second(0.0, left=1)
    for _ in range(int(SETTLED)):
        crowded.second(0.0)
    assert crowded.collected > 0


def test_freed_memory_is_given_back_where_the_system_s_library_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(collecting, "_trim", given_back.append)
    collecting.collect_all()
    assert given_back == [0]
    monkeypatch.setattr(collecting, "_trim", None)
    collecting.collect_all()

"""Who waits for whom on the server: heavy work has a line of its own."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest

from mhc_demo.app.computing import BACK, QUEUES, Request, line_for
from mhc_demo.app.state import State


def line(**values: Any) -> Any:
    state = State(**values)
    return line_for(Request(state.key(), state.view, state.position()))


def test_the_default_and_all_streams_and_members_near_it_are_light() -> None:
    usual = line()
    assert line(streams=8, seed=3, spread=2.0) is usual
    assert line(members=256) is usual
    assert line(streams=16, members=16) is usual


def test_what_takes_minutes_waits_elsewhere() -> None:
    heavy = line(streams=16, members=256)
    assert heavy is not line()
    assert heavy is line(streams=16, members=255, seed=1, view="compare")


def test_a_device_of_pytorch_has_its_own_line() -> None:
    for device, queue in QUEUES.items():
        assert line(device=device) is queue
        assert line(device=device, streams=16, members=256) is queue


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority")
def test_heavy_work_stands_back_and_so_does_what_it_starts() -> None:
    def priorities() -> tuple[int, int]:
        of_child: list[int] = []
        child = threading.Thread(target=lambda: of_child.append(priority()))
        child.start()
        child.join()
        return priority(), of_child[0]

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    usual = priority()
    assert line().submit(priorities).result() == (usual, usual)
    back = min(usual + BACK, 19)
    assert line(streams=16, members=256).submit(priorities).result() == (back, back)

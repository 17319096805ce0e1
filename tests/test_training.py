"""Training for the page: how many, how long, in how much memory, and what is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import mhc_demo
from mhc_demo.app import training
from mhc_demo.app.training import Training
from mhc_demo.app.views.lab import LabView

# One at a time


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """Trainings that were begun; they do nothing until they are cancelled."""
    all_begun: list[Training] = []

    async def wait(self: Training, changed: Callable[[], None]) -> None:
        all_begun.append(self)
        while not self.cancelled:
            await asyncio.sleep(0.001)

    monkeypatch.setattr(Training, "_train", wait)
    return all_begun


def in_a_view(visit: Callable[[LabView], Awaitable[None]]) -> None:
    explorer = mhc_demo.Explorer(members=1, view="lab")
    asyncio.run(visit(explorer._open["lab"]))  # type: ignore[arg-type]


def click(button: Any) -> None:
    button.clicks += 1


async def passed(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_second_click_on_start_begins_nothing(begun: list[Training]) -> None:
    async def visit(view: LabView) -> None:
        click(view.start)
        click(view.start)
        await passed(lambda: bool(begun))
        assert training._line == begun
        click(view.cancel)
        await passed(lambda: not view.start.disabled)
        assert training._line == []
        click(view.start)
        await passed(lambda: len(begun) == 2)
        click(view.cancel)
        await passed(lambda: not training._line)

    in_a_view(visit)


def test_a_visit_that_is_over_leaves_nothing_in_the_line(begun: list[Training]) -> None:
    async def visit(view: LabView) -> None:
        click(view.start)
        click(view.start)
        await passed(lambda: bool(begun))
        view._visit_ended(None)
        click(view.start)
        await passed(lambda: not training._line)
        await asyncio.sleep(0.01)
        assert len(begun) == 1

    in_a_view(visit)

"""Training for the page: how many, how long, in how much memory, and what is left of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import mhc_demo
from mhc_demo import lab
from mhc_demo.app import training
from mhc_demo.app.training import Training
from mhc_demo.app.views.lab import LabView

SMALL = {"depth": 2, "width": 8, "steps": 2, "batch": 4}


def three(**values: Any) -> list[lab.Settings]:
    return [lab.Settings(connection=name, **values) for name in lab.COMPARED]


def trained(**values: Any) -> Training:
    """A training with these settings, which has ended."""
    training = Training(three(**SMALL | values))
    asyncio.run(training.run(lambda: None))
    return training


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
    asyncio.run(visit(explorer.stage.views["lab"]))  # type: ignore[arg-type]


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


def test_a_visit_that_is_over_leaves_nothing_in_the_queue(begun: list[Training]) -> None:
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


# Memory


def test_what_takes_too_much_memory_is_refused_with_the_number_and_the_limit() -> None:
    training = Training(three(depth=128, width=1024, batch=1, streams=1))
    said = (
        r"^depth 128, width 1024, streams 1 and batch 1 may take 57\.6 GB of memory, and this page "
        r"gives a training 2 GB at most; mhc-demo train has no such limit$"
    )
    with pytest.raises(ValueError, match=said):
        training.check()


def test_every_preset_is_within_the_memory_of_a_page() -> None:
    for preset in lab.PRESETS.values():
        Training([preset.settings(connection=name) for name in lab.COMPARED]).check()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only there does the system hold it to that")
def test_a_training_that_takes_more_memory_than_it_gets_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as less:
        less.setattr(training, "MOST_MEMORY", 0.7e9)
        ended = trained(width=1024)
    assert ended.failure == "it ran out of the 0.7 GB of memory that this page gives a training"
    after = trained()
    assert after.failure == ""
    assert [record.outcome for record in after.records] == ["finished"] * 3


# Ends


def running(code: str, monkeypatch: pytest.MonkeyPatch) -> Training:
    """A training whose process ran `code` instead, and which has ended."""
    monkeypatch.setattr(training, "COMMAND", (sys.executable, "-c", code))
    return trained()


def test_a_process_that_never_says_anything_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LONGEST", 0.6)
    ended = running("import time; time.sleep(1000)", monkeypatch)
    assert ended.failure == "this page trains 0.01 minutes at most"
    assert ended._process is not None
    assert training._line == []


def test_a_process_that_complains_at_length_is_heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.stderr.write('so\\n' * 10**6 + 'at last\\n'); sys.exit(1)"
    assert running(code, monkeypatch).failure == "at last"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SIGKILL", "the system ended its process, as it does when the machine runs out of memory"),
        ("SIGSEGV", "its process crashed (SIGSEGV)"),
    ],
)
def test_a_process_that_dies_is_explained_in_a_sentence(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"import os, signal; os.kill(os.getpid(), signal.{name})"
    assert running(code, monkeypatch).failure == said


def test_a_process_that_cannot_be_started_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "COMMAND", ("/nowhere/python",))
    assert trained().failure == "its process could not be started (No such file or directory)"
    assert training._line == []


@pytest.mark.parametrize(
    "said",
    [
        "MemoryError",
        "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "LLVM ERROR: Unable to allocate section memory!",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 8 bytes",
    ],
)
def test_a_lack_of_memory_is_recognised_whichever_library_reports_it(said: str) -> None:
    assert "ran out of the 2 GB" in training._why(1, said)


def test_a_process_ends_with_whoever_started_it_in_the_middle_of_a_step() -> None:
    code = """if True:
        import time
        from mhc_demo.lab import __main__ as child
        def in_turn(settings):
            yield "begun"
            time.sleep(1000)
        child.in_turn = in_turn
        child.main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            process.stdin.write(b'{"settings": [], "memory": 1000000000}\n')
            process.stdin.flush()
            assert process.stdout.read(8)
            process.stdin.close()  # as the system does when its owner dies
            assert process.wait(20) == 1
        finally:
            process.kill()

"""A wrong value costs a line in the log; a fault a trace, and a sentence on the page."""

from __future__ import annotations

import logging

import param
import pytest

from mhc_demo.app.faults import LONGEST, Trickle, handler, one_line
from mhc_demo.app.state import State


def test_a_value_out_of_range_is_one_line_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[None] = []
    with pytest.raises(ValueError, match="depth") as caught:
        State().depth = 10**4200
    handler(lambda: told.append(None))(caught.value)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert len(record.getMessage()) < LONGEST + 100
    assert not told


def test_a_callback_that_fails_is_a_trace_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Spoilt(param.Parameterized):
        value = param.Integer(0)

        @param.depends("value", watch=True)
        def spoil(self) -> None:
            raise KeyError("a fault")

    told: list[None] = []
    with pytest.raises(KeyError) as caught:
        Spoilt().value = 1
    handler(lambda: told.append(None))(caught.value)
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is caught.value
    assert told == [None]


def test_a_watcher_of_ours_that_cannot_be_called_is_a_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, told = State(), []
    state.param.watch(lambda event: None, ["depth", "seed"])
    with pytest.raises(TypeError) as caught:
        state.param.update(depth=2, seed=3)
    handler(lambda: told.append(None))(caught.value)
    assert told == [None]
    assert caplog.records[0].exc_info


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\r\nTraceback\u2028b", "é" * 5000])
def test_a_line_of_the_log_is_a_line(text: str) -> None:
    line = one_line(ValueError(text))
    assert line.isprintable()
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert len(line) <= LONGEST


def test_a_flood_of_lines_is_a_trickle_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    log, trickle = logging.getLogger("test_faults.flood"), Trickle()
    log.addFilter(trickle)
    for _ in range(3 * Trickle.MOST):
        log.warning("a link of %s", "somebody")
    assert len(caplog.records) == Trickle.MOST
    trickle.begun -= Trickle.SECONDS
    log.warning("a link of %s", "somebody else")
    assert caplog.records[-1].getMessage() == (
        "(200 lines before were left out) a link of somebody else"
    )

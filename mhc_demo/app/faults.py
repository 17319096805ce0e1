"""Errors while a page is served: for a wrong value a line in the log, for a fault a traceback.

A browser may send anything.  What the frameworks refuse (a value out of range, of the wrong type,
for a model that does not exist) is no fault of ours, and its tracebacks would fill the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from traceback import walk_tb

log = logging.getLogger(__name__)

REFUSING = ("bokeh", "panel", "panel_material_ui")
"""The packages that check values, and raise all kinds of errors; `param` raises ValueError."""

LONGEST = 200
"""Characters that a line in the log may spend on what was wrong."""


class UnwantedError(ValueError):
    """A message that the page never sends."""


def is_refusal(error: BaseException) -> bool:
    """Whether an exception comes from a check of values."""
    if isinstance(error, UnwantedError):
        return True
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    package = modules[-1].split(".")[0] if modules else ""
    return package in REFUSING or (package == "param" and isinstance(error, ValueError))


def one_line(what: object) -> str:
    """A text or an exception as one printable line of the log, whatever it contains."""
    text = f"{type(what).__name__}: {what}" if isinstance(what, BaseException) else str(what)
    text = " ".join(text.encode("ascii", "backslashreplace").decode().split())
    return "".join(filter(str.isprintable, text))[:LONGEST]


def report(error: BaseException) -> bool:
    """Write an exception to the log; return whether it is a fault of ours."""
    if is_refusal(error):
        log.warning("a value from a browser was ignored: %s", one_line(error))
        return False
    log.error("a callback failed: %s", one_line(error), exc_info=error)
    return True


def handler(tell: Callable[[], object]) -> Callable[[BaseException], None]:
    """What `pn.config.exception_handler` is set to: it logs, and calls `tell` for a fault."""

    def handle(error: BaseException) -> None:
        if report(error):
            tell()

    return handle


class Without(logging.Filter):
    """Drops the records that begin with a certain text."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self.beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        return not str(record.msg).startswith(self.beginning)


DROPPED = {
    "panel.reactive": "Callback failed for object named",  # a traceback of what `handler` logs too
    "bokeh.protocol": "Bad header with no msgtype",  # repeats all that a browser sent
    "bokeh.core.has_props": "JSON had attr",  # a line for each change of a patch
}
"""Loggers, and the beginning of the records that we drop: browsers cause them, and what matters is
logged here."""

for _name, _beginning in DROPPED.items():
    logging.getLogger(_name).addFilter(Without(_beginning))


class Trickle(logging.Filter):
    """Lets few records pass, shortened, and counts the others: no visitor can fill a disk."""

    MOST, SECONDS = 100, 10.0

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.written, self.left_out = -self.SECONDS, 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if time.monotonic() > self.begun + self.SECONDS:
            if self.left_out:
                record.msg = f"({self.left_out:,} lines before were left out) {record.msg}"
            self.begun, self.written, self.left_out = time.monotonic(), 0, 0
        self.written += 1
        self.left_out += self.written > self.MOST
        record.msg, record.args = one_line(record.getMessage()), ()
        return self.written <= self.MOST


for _name in (
    *(__name__, "mhc_demo.app.lasting", "mhc_demo.app.broker"),
    *("bokeh.server.views.ws", "bokeh.server.protocol_handler"),
    *("asyncio", "tornado.access", "tornado.application", "tornado.general"),
):
    logging.getLogger(_name).addFilter(Trickle())

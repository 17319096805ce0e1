"""Property tests draw the same examples on every run, and are never timed.

Without a GPU the Triton kernels run in Triton's interpreter, which has to be asked for before
anything imports Triton.
"""

import os
import signal

if "PYTEST_XDIST_WORKER" in os.environ:  # several at a time: each has a core, not all of them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile("mhc", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("mhc")


# In the background, or under nohup, these are ignored, and would be by what the tests start.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also what takes minutes each")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests measured: nothing fails by it, but the numbers should be seen."""
    if terminalreporter.config.getoption("--long"):
        for report in terminalreporter.getreports("passed"):
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{report.nodeid}: {name}: {value}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The browser's tests come last, and those that take minutes only if asked for.

    Playwright leaves its event loop running in this thread, and an Explorer that finds a running
    loop computes beside it instead of at once, as the tests without a browser expect.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)

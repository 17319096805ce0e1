"""Settings of all tests: one thread each, the same examples on every run, no time limits.

Without a GPU the Triton kernels run in Triton's interpreter, which must be chosen before anything
imports Triton.
"""

import os
import signal

# Their networks are small, and on a busy machine OpenMP's threads spin while they wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile("mhc", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("mhc")


# A shell has background jobs ignore SIGINT, and nohup SIGHUP; the tests' child processes would too.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the long tests measured: no test fails by it, but a person should look at it."""
    if terminalreporter.config.getoption("--long"):
        for report in terminalreporter.getreports("passed"):
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{report.nodeid}: {name}: {value}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests in a browser last, and the long ones only with --long.

    Playwright leaves its event loop running in this thread, and an Explorer that finds a running
    loop computes beside it, not at once as the tests without a browser expect.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)

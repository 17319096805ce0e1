"""The training lab: small real networks, trained while their mixing matrices are watched.

>>> from mhc_demo import lab
>>> for record in lab.train(lab.Settings(connection="hc", learning_rate=0.03)):
...     print(record)  # a `Step` after every step, then one `Summary`

`settings` declares what a run is, `tasks` what it learns, `training` is the loop, `records` what it
yields and how that is kept in a file.  Only `training` and `networks` import PyTorch, when the
first run starts: a page that offers the lab opens without it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from .branches import BRANCHES, branch
from .connections import ABLATION, COMPARED, CONNECTIONS, connection
from .optimising import OPTIMISERS, SCHEDULES, optimiser, schedule
from .records import Record, Step, Summary, read_record, recorded
from .settings import PRESETS, Preset, Settings
from .sweeping import Progress, grid, record_name, sweep
from .table import learned, over_seeds, runs, wilson, write_runs
from .tasks import TASKS, Data, Examples, task

__all__ = [
    "ABLATION",
    "BRANCHES",
    "COMPARED",
    "CONNECTIONS",
    "OPTIMISERS",
    "PRESETS",
    "SCHEDULES",
    "TASKS",
    "Data",
    "Examples",
    "Preset",
    "Progress",
    "Record",
    "Settings",
    "Step",
    "Summary",
    "branch",
    "connection",
    "grid",
    "learned",
    "optimiser",
    "over_seeds",
    "plot",
    "read_record",
    "record_name",
    "recorded",
    "runs",
    "schedule",
    "sweep",
    "task",
    "train",
    "wilson",
    "write_runs",
]


def train(settings: Settings) -> Generator[Step | Summary, None, None]:
    """Train the network of `settings`: a `Step` after every step, then one `Summary`.

    Nothing runs between two records: training stops when the caller stops iterating, and closing
    the generator ends it.  A loss that is not finite ends the run, with a summary that says so.
    Two runs with equal settings, on one machine and with equally many threads, differ in nothing
    but times and memory.

    Raises ValueError or TypeError for settings that do not go together, and an ImportError that
    names what to install.
    """
    settings.check()
    from .training import training

    return training(settings)


def plot(records: Record | Iterable[Record]) -> Any:
    """Runs as the page plots them, as a Bokeh layout: `bokeh.io.show(lab.plot(record))`."""
    from .figure import LabFigure

    return LabFigure([records] if isinstance(records, Record) else list(records)).layout()

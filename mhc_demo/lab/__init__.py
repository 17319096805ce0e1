"""The training lab: small real networks, trained while their mixing matrices are watched.

>>> from mhc_demo import lab
>>> for record in lab.train(lab.Settings(connection="hc", learning_rate=0.03)):
...     print(record)  # a `Step` after every step, then one `Summary`

`settings` declares what a run is, `tasks` what it learns, `training` is the loop, `records` what it
yields and how that is kept in a file, `checkpoints` what an interrupted run goes on from.  Only
`training` and `networks` import PyTorch at once, when the first run starts: a page that offers the
lab opens without it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from ..numerics._arrays import whole_number
from .branches import BRANCHES, branch
from .checkpoints import EVERY, Checkpoint, CheckpointError, read_checkpoint
from .connections import ABLATION, COMPARED, CONNECTIONS, connection
from .optimising import OPTIMISERS, SCHEDULES, optimiser, schedule
from .records import Record, Step, Summary, read_record, recorded
from .settings import PRESETS, Preset, Settings, as_settings
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
    "Checkpoint",
    "CheckpointError",
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
    "read_checkpoint",
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


def train(
    settings: Settings,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = EVERY,
) -> Generator[Step | Summary, None, None]:
    """Train the network of `settings`: a `Step` after every step, then one `Summary`.

    Nothing runs between two records: training stops when the caller stops iterating, and closing
    the generator ends it.  A loss that is not finite ends the run, with a summary that says so.
    Two runs with equal settings, on one machine and with equally many threads, differ in nothing
    but times and memory.

    With a file as `checkpoint` all that the run needs to go on is written there after every
    `checkpoint_every` steps, in place of what was there, and at its end.  If the file is there
    already, this run goes on from it: it yields the steps that were done, as they were, and then
    the further ones, so that its record is that of a run that was never interrupted, to the last
    digit.  (Of the steps that were done only the last has its `h_res`.)  `read_checkpoint` returns
    what is in the file, the network with its weights among it.

    Raises ValueError or TypeError for settings that do not go together, or for data, and an
    ImportError that names what to install.  Raises CheckpointError, a ValueError, if the file is
    damaged, or of a run with other settings, versions or threads, and OSError if it cannot be read
    or, later, written.  With the first checkpoint a CheckpointError comes if an optimiser or branch
    of your own has a state of other things than tensors, numbers and words.
    """
    as_settings(settings).check()
    whole_number("checkpoint_every", checkpoint_every, 1)
    from .training import training

    return training(settings, None if checkpoint is None else Path(checkpoint), checkpoint_every)


def plot(records: Record | Iterable[Record]) -> Any:
    """Runs as the page plots them, as a Bokeh layout: `bokeh.io.show(lab.plot(record))`."""
    from .figure import LabFigure

    return LabFigure([records] if isinstance(records, Record) else list(records)).layout()

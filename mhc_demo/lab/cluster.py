"""The runs of a sweep on a Dask cluster, which somebody else has started.

Dask schedules, moves what is lost with a worker to another one, and gives up on a run that three
workers died of.  What travels is small: settings go out and a finished record comes back, to be
written here, so the workers need no folder in common.  Data do not travel: a worker that trains
loads them itself, once for all of its runs with the same task and seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from ..numerics.replacing import replacing
from .local import Event
from .settings import Settings
from .worker import import_all, train_into

AHEAD = 4
"""Runs that are submitted for each thread of the cluster: neither it nor we hold more of them."""
FEWEST = 32
"""Submitted at the least, so that a cluster that grows when there is work does grow."""
PATIENCE = 30
"""Seconds to wait for the scheduler."""


def events(
    due: Mapping[Path, Settings], scheduler: Any, modules: Sequence[str]
) -> Iterator[tuple[Path, Event]]:
    """Train all that is due on the cluster of `scheduler`: an address, or a Dask `Client`.

    The end of each run, as it happens; there is no word of its steps.  Closing the iterator takes
    back what waits on the cluster; what its workers are training they train to the end.

    Raises ImportError if Dask is missing, and OSError if the scheduler cannot be reached.
    """
    try:
        from distributed import as_completed
    except ImportError:
        raise ImportError(
            "a sweep on a cluster needs dask and distributed: pip install dask distributed"
        ) from None
    with _connected(scheduler) as client:
        for module in modules:
            _send(client, module)
        held: dict[Any, tuple[Any, Path]] = {}

        def submit(path: Path, settings: Settings) -> Any:
            values = settings.values_by_name()
            future = client.submit(trained, values, list(modules), pure=False)
            held[future.key] = future, path
            return future

        waiting = iter(due.items())
        ahead = max(FEWEST, AHEAD * sum(client.nthreads().values()))
        ended = as_completed([submit(*each) for each in islice(waiting, ahead)])
        try:
            for future in ended:
                _, path = held.pop(future.key)
                yield path, _end_of(future, path)
                future.release()  # or the worker would keep the record
                for each in islice(waiting, 1):
                    ended.add(submit(*each))
        finally:
            client.cancel([future for future, _ in held.values()])


def _connected(scheduler: Any) -> Any:
    """A context with a client; one that was passed in is left open."""
    from distributed import Client

    if isinstance(scheduler, Client):
        return nullcontext(scheduler)
    try:
        return Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise OSError(f"there is no Dask scheduler at {scheduler!r}: {error}") from None


def _send(client: Any, module: str) -> None:
    """Send a module that is one file to all workers, also later ones; packages must be there."""
    from importlib import import_module

    file = getattr(import_module(module), "__file__", None)
    if file and "." not in module and not file.endswith("__init__.py"):
        client.upload_file(file)


def trained(values: Mapping[str, Any], modules: Sequence[str]) -> bytes:
    """On a worker: train, and return the record."""
    import_all(modules)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record.jsonl"
        train_into(str(file), values)
        return file.read_bytes()


def _end_of(future: Any, path: Path) -> Event:
    """Write the record of a run that has ended."""
    try:
        record = future.result()
    except Exception as error:  # whatever the run, its worker or the connection died of
        return {"error": f"{type(error).__name__}: {error}"}
    with replacing(path) as part:
        part.write_bytes(record)
    return {"outcome": "ended"}

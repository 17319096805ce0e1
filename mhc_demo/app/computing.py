"""What the page computes, and where: requests, caches and threads."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import xarray as xr

from ..figures.mixing import DRAWN
from ..figures.slices import Position
from ..numerics.devices import DEVICES
from ..numerics.surface import Experiment, gain_surface, mixing_surface

Key: TypeAlias = tuple[tuple[str, Any], ...]
"""An experiment's values and the device that computes it: the key of its results."""


@dataclass(frozen=True)
class Request:
    """What a page wants computed.  Two requests that differ only in position are equal."""

    key: Key
    view: str
    position: Position = field(compare=False)
    """Depth and iterations, for a view that holds only what is near them."""


@lru_cache(maxsize=64)
def surface_of(key: Key) -> xr.Dataset:
    """The gain surface of an experiment, shared by all visitors who look at it."""
    return gain_surface(experiment_of(key), device=device_of(key))


def mixing_of(key: Key) -> xr.Dataset:
    """The mixing metrics that are drawn of an experiment's first network, shared likewise."""
    irrelevant = ("members", "definition", "device")
    return _mixing_of(tuple(item for item in key if item[0] not in irrelevant))


@lru_cache(maxsize=64)
def _mixing_of(key: Key) -> xr.Dataset:
    return mixing_surface(experiment_of(key), metrics=DRAWN)


def experiment_of(key: Key) -> Experiment:
    """The experiment of a key."""
    return Experiment(**{name: value for name, value in key if name != "device"})


def device_of(key: Key) -> str:
    """The device of a key."""
    return dict(key)["device"]


QUEUES = {name: ThreadPoolExecutor(1) for name in DEVICES if name != "numpy"}
"""A device of PyTorch does one thing at a time: its work is queued here, so that it does not take
threads from other visitors."""

LIGHT_WORK = 2**12
"""Entries in the matrices of one layer, members * n^2, up to which work is light.  The page opens
with 2^9; 256 members of n = 16 have 2^16, and take minutes when several visitors ask for them."""

BACK = 10
"""How far heavy work stands back, in steps of the system's priorities."""


def _stand_back() -> None:
    # The threads that a computation starts inherit it.  Elsewhere a thread has no priority.
    if sys.platform == "linux":
        now = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(now + BACK, 19))


_light = ThreadPoolExecutor(os.cpu_count(), "light")
_heavy = ThreadPoolExecutor(1, "heavy", _stand_back)


async def in_line(work: Callable[..., Any], *given: Any) -> Any:
    """What `work(*given)` returns, when it is its turn in the line of heavy requests."""
    return await asyncio.get_running_loop().run_in_executor(_heavy, work, *given)


def line_for(request: Request) -> Executor:
    """Where a request waits for its turn.

    Each page has at most one request in a line, so that whoever wants much does not get more turns.
    Heavy requests have a line of their own, because light ones would wait behind them.  (What a
    view shows beside the surface takes half a second at most.)
    """
    values = dict(request.key)
    if values["device"] in QUEUES:
        return QUEUES[values["device"]]
    return _light if values["members"] * values["streams"] ** 2 <= LIGHT_WORK else _heavy

"""What computes a gain surface: NumPy, or PyTorch on the CPU or on a GPU.

Whether a device can be had is found out without importing PyTorch, which takes longer than the
page takes to open: its version file says what it was built for, and CUDA's driver library says
what is there.  PyTorch is imported when one of its devices is first used.

To add a device, add an entry to `DEVICES`.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ._arrays import Array, choice


@dataclass(frozen=True)
class Place:
    """A device that is there, ready to compute on."""

    xp: ModuleType
    """The array namespace."""
    device: Any
    """What the namespace calls it."""
    dtype: Any
    title: str
    """What it is, for the reader."""
    parallel: bool = False
    """Whether its operations use all of it by themselves, so that one computation has it alone."""
    gpu: bool = False
    """Whether it wants large pieces, in the order of the kernels."""

    def array(self, x: np.ndarray) -> Array:
        """`x`, there."""
        return self.xp.asarray(x, dtype=self.dtype, device=self.device)

    def finished(self) -> None:
        """Wait for what was asked for; a GPU answers before it is done."""
        if self.gpu and "cuda" in str(self.device):
            import torch

            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Device:
    """A device by its name, there or not."""

    name: str
    title: str
    missing: Callable[[], str | None]
    """Why it cannot be had, in a sentence; None if it can."""
    place: Callable[[], Place]
    most_members: int
    """Members of an ensemble that the page lets a visitor ask of it ..."""
    most_entries: int
    """... and entries of all their matrices in one layer, members * n^2."""


def place(device: str) -> Place:
    """The device of that name.

    Raises ValueError for a name that is not in `DEVICES`, and for a device that cannot be had,
    with the reason.
    """
    chosen = DEVICES[choice("device", device, DEVICES)]
    reason = chosen.missing()
    if reason is not None:
        raise ValueError(f"device {device!r} cannot be had: {reason}")
    return chosen.place()


def _numpy() -> Place:
    return Place(np, "cpu", np.float64, f"NumPy {np.__version__}")


def _torch(device: str) -> Place:
    import array_api_compat.torch as xp
    import torch

    if device == "cpu":
        return Place(xp, "cpu", xp.float64, f"PyTorch {torch.__version__}, CPU", parallel=True)
    # Single precision: a GPU is for large ensembles, and most have little of the other.
    name = torch.cuda.get_device_name(device)
    return Place(xp, device, xp.float32, name, parallel=True, gpu=True)


@cache
def _no_torch() -> str | None:
    if find_spec("torch") is None:
        return "PyTorch is not installed (pip install torch)."
    return None


@cache
def _no_cuda() -> str | None:
    """Why PyTorch would find no GPU; never raises."""
    if reason := _no_torch():
        return reason
    built = _cuda_that_torch_was_built_for()
    if built is None:
        return "this PyTorch is not built for CUDA."
    driver = _cuda_of_the_driver()
    if driver is None:
        return "there is no CUDA device here."
    if driver < built:
        return (
            f"the driver is too old: it knows CUDA {driver}, and this PyTorch needs CUDA {built}."
        )
    return None


def _cuda_that_torch_was_built_for() -> int | None:
    """CUDA's major version; None for a build without it.  Drivers serve every minor version."""
    spec = find_spec("torch")
    try:
        written = Path(spec.origin).with_name("version.py").read_text()  # type: ignore[union-attr, arg-type]
    except (OSError, TypeError, AttributeError):
        return None
    found = re.search(r"^cuda\b.*=\s*['\"](\d+)", written, re.MULTILINE)
    return int(found[1]) if found else None


def _cuda_of_the_driver() -> int | None:
    """The newest major version of CUDA that the driver knows; None without a driver or a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        version, count = ctypes.c_int(), ctypes.c_int()
        failed = (
            driver.cuInit(0)
            or driver.cuDriverGetVersion(ctypes.byref(version))
            or driver.cuDeviceGetCount(ctypes.byref(count))
        )
    except (OSError, AttributeError):
        return None
    return None if failed or not count.value else version.value // 1000


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device("numpy", "NumPy", lambda: None, _numpy, 256, 2**16),
        Device("cpu", "PyTorch, CPU", _no_torch, lambda: _torch("cpu"), 256, 2**16),
        Device("cuda", "PyTorch, CUDA", _no_cuda, lambda: _torch("cuda"), 100_000, 1_600_000),
    )
}
"""Every device by its name."""

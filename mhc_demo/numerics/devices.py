"""What computes a gain surface: NumPy, or PyTorch on the CPU or on a GPU.

Whether a device is available is found out without importing PyTorch, which would take longer than
opening the page: PyTorch's version file says what it was built for, and CUDA's driver library says
what the machine has.  PyTorch is imported when one of its devices is first used.

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
    """An available device, ready to compute on."""

    xp: ModuleType
    """The array namespace."""
    device: Any
    """The device as the namespace names it."""
    dtype: Any
    title: str
    """What it is, in words."""
    parallel: bool = False
    """Whether each operation uses the whole device, so that computations must take turns."""
    gpu: bool = False
    """Whether it needs large pieces of work, in the memory layout of the kernels."""

    def array(self, x: np.ndarray) -> Array:
        """`x` on this device."""
        return self.xp.asarray(x, dtype=self.dtype, device=self.device)

    def wait(self) -> None:
        """Wait until all computations are done: calls to a GPU return before that."""
        if self.gpu and "cuda" in str(self.device):
            import torch

            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Device:
    """A device that may or may not be available."""

    name: str
    title: str
    missing: Callable[[], str | None]
    """Why it is not available, in a sentence; None if it is."""
    place: Callable[[], Place]
    most_members: int
    """The largest ensemble that a visitor of the page may choose on it, ..."""
    most_entries: int
    """... and the most entries in all its matrices of one layer, members * n^2."""


def place(device: str) -> Place:
    """The device named `device`, ready to compute on.

    Raises ValueError for a name that is not in `DEVICES`, and for a device that is not available,
    with the reason.
    """
    chosen = DEVICES[choice("device", device, DEVICES)]
    reason = chosen.missing()
    if reason is not None:
        raise ValueError(f"device {device!r} is not available: {reason}")
    return chosen.place()


def _numpy() -> Place:
    return Place(np, "cpu", np.float64, f"NumPy {np.__version__}")


def _torch(device: str) -> Place:
    import array_api_compat.torch as xp
    import torch

    if device == "cpu":
        return Place(xp, "cpu", xp.float64, f"PyTorch {torch.__version__}, CPU", parallel=True)
    # Single precision: a GPU is for large ensembles, and most are slow in double precision.
    name = torch.cuda.get_device_name(device)
    return Place(xp, device, xp.float32, name, parallel=True, gpu=True)


@cache
def _no_torch() -> str | None:
    if find_spec("torch") is None:
        return "PyTorch is not installed (pip install torch)."
    return None


@cache
def _no_cuda() -> str | None:
    """Why PyTorch would find no GPU; None if it would find one.  Never raises."""
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
        source = Path(spec.origin).with_name("version.py").read_text()  # type: ignore[union-attr, arg-type]
    except (OSError, TypeError, AttributeError):
        return None
    match = re.search(r"^cuda\b.*=\s*['\"](\d+)", source, re.MULTILINE)
    return int(match[1]) if match else None


def _cuda_of_the_driver() -> int | None:
    """The newest major version of CUDA that the driver supports; None if it or a GPU is missing."""
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

"""Which devices can compute, why others cannot, and that asking does not import PyTorch."""

import ctypes
import subprocess
import sys

import pytest
import torch

import mhc_demo as mhc
from mhc_demo.numerics import devices


@pytest.fixture(autouse=True)
def fresh_answers():
    """Clears the cached answers before and after each test."""
    for answer in (devices._no_torch, devices._no_cuda):
        answer.cache_clear()
    yield
    for answer in (devices._no_torch, devices._no_cuda):
        answer.cache_clear()


def driver(version=13000, count=1, failure=0):
    """A stand-in for CUDA's driver library."""

    class Driver:
        def cuInit(self, flags):  # noqa: N802
            return failure

        def cuDriverGetVersion(self, pointer):  # noqa: N802
            pointer._obj.value = version
            return 0

        def cuDeviceGetCount(self, pointer):  # noqa: N802
            pointer._obj.value = count
            return 0

    return lambda name: Driver()


def no_library(name):
    raise OSError(name)


def test_numpy_is_always_there_and_first():
    assert next(iter(devices.DEVICES)) == "numpy"
    assert devices.DEVICES["numpy"].missing() is None
    assert devices.place("numpy").dtype.__name__ == "float64"


def test_without_pytorch_its_devices_say_so(monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    for name in ("cpu", "cuda"):
        assert "not installed" in devices.DEVICES[name].missing()
        with pytest.raises(ValueError, match=rf"{name}.*\(pip install torch\)"):
            mhc.gain_surface(mhc.Experiment(members=1), device=name)


@pytest.mark.parametrize(
    ("built", "library", "reason"),
    [
        (None, driver(), "not built for CUDA"),
        (13, no_library, "no CUDA device"),
        (13, driver(failure=100), "no CUDA device"),
        (13, driver(count=0), "no CUDA device"),
        (13, driver(version=12080), "too old: it knows CUDA 12, .* needs CUDA 13"),
    ],
    ids=["CPU build", "no driver", "driver without device", "no device", "old driver"],
)
def test_why_there_is_no_cuda(built, library, reason, monkeypatch):
    monkeypatch.setattr(devices, "_cuda_that_torch_was_built_for", lambda: built)
    monkeypatch.setattr(ctypes, "CDLL", library)
    with pytest.raises(ValueError, match=reason):
        devices.place("cuda")


@pytest.mark.parametrize("version", [13000, 13020, 14000])
def test_a_driver_of_the_same_or_a_newer_major_version_will_do(version, monkeypatch):
    monkeypatch.setattr(devices, "_cuda_that_torch_was_built_for", lambda: 13)
    monkeypatch.setattr(ctypes, "CDLL", driver(version))
    assert devices.DEVICES["cuda"].missing() is None


def test_what_pytorch_was_built_for_is_read_from_its_own_file(tmp_path, monkeypatch):
    version = torch.version.cuda
    assert devices._cuda_that_torch_was_built_for() == (version and int(version.split(".")[0]))
    (tmp_path / "version.py").write_text("cuda: Optional[str] = '13.0'\nhip = None\n")
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(devices, "find_spec", lambda name: spec)
    assert devices._cuda_that_torch_was_built_for() == 13
    (tmp_path / "version.py").unlink()
    assert devices._cuda_that_torch_was_built_for() is None


def test_the_answer_agrees_with_pytorch_s_own():
    assert (devices.DEVICES["cuda"].missing() is None) == torch.cuda.is_available()


def test_an_unknown_device_is_refused():
    with pytest.raises(
        ValueError, match=r"device must be one of 'numpy', 'cpu', 'cuda', not 'tpu'"
    ):
        mhc.gain_surface(mhc.Experiment(members=1), device="tpu")


def test_pytorch_is_not_imported_until_it_is_needed():
    uses = [
        "import mhc_demo as mhc; mhc.gain_surface(mhc.Experiment(members=1))",
        "[each.missing() for each in mhc.DEVICES.values()]",
        "from mhc_demo.app.page import create; create()",
    ]
    says = "; import sys; print(sorted({'torch', 'triton'} & set(sys.modules)))"
    script = "\n".join(use + says for use in uses)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.split("\n") == ["[]", "[]", "[]", ""], run.stderr


def test_without_pytorch_everything_else_runs():
    # An import finder denies PyTorch, as in an environment that has none.
    script = """
import sys
class Denied:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "triton"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Denied())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
from mhc_demo.app.page import create
import mhc_demo as mhc
create()
mhc.sinkhorn_knopp([[1.0, 2.0], [3.0, 4.0]])
print(mhc.DEVICES["cuda"].missing())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "not installed" in run.stdout, run.stderr

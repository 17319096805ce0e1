"""GPUs by name, with what their makers publish: peaks, which nothing reaches.

A cost in bytes becomes a time only on some machine.  These are the data sheets' numbers, each with
its source, so that an estimate can be checked; what this machine does is measured instead
(`costs.py`).  To add a GPU, add an entry to `GPUS`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """A GPU as its maker describes it."""

    name: str
    title: str
    bandwidth: float
    """The peak of its memory, in bytes per second."""
    peak: float
    """Dense BF16 operations per second of its matrix units, accumulated in FP32."""
    source: str
    """Where both numbers stand."""


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu(
            "h800",
            "H800 SXM",
            bandwidth=3.35e12,
            peak=990e12,
            source="DeepSeek, FlashMLA, docs/20250422-new-kernel-deep-dive.md "
            "(github.com/deepseek-ai/FlashMLA); NVIDIA’s own sheet is not public",
        ),
        Gpu(
            "h100",
            "H100 SXM",
            bandwidth=3.35e12,
            peak=989.5e12,
            source="NVIDIA H100 Tensor Core GPU data sheet (1,979 TFLOPS with sparsity, halved)",
        ),
        Gpu(
            "h200",
            "H200 SXM",
            bandwidth=4.8e12,
            peak=989.5e12,
            source="NVIDIA H200 Tensor Core GPU data sheet (1,979 TFLOPS with sparsity, halved)",
        ),
        Gpu(
            "a100",
            "A100 80 GB SXM",
            bandwidth=2.039e12,
            peak=312e12,
            source="NVIDIA A100 Tensor Core GPU data sheet, May 2022",
        ),
        Gpu(
            "mi300x",
            "MI300X",
            bandwidth=5.3e12,
            peak=1307.4e12,
            source="AMD Instinct MI300X accelerator data sheet",
        ),
        Gpu(
            "rtx4090",
            "GeForce RTX 4090",
            bandwidth=1.008e12,
            peak=165.2e12,
            source="NVIDIA Ada GPU architecture, v2.02, appendix A, table 2",
        ),
    )
}
"""Every GPU by its name; the first trained DeepSeek-V3 (arXiv:2412.19437)."""

PRECISIONS = {"bfloat16": 2, "float32": 4}
"""Bytes of an element of the streams, by the precision in which they are kept."""

INFINIBAND = 50e9
"""Bytes per second in one direction of one 400 Gbit/s InfiniBand adapter (NDR, ConnectX-7)."""

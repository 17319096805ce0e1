"""Is a model with hyper-connections built right?  It looks for the mistakes that public code made.

Each of them is silent: the loss curve looks fine.  `diagnose` measures a model once (`examining`:
what it computes, what gradients it gets, and what changes when a mapping is replaced), and the
checks judge the numbers (`checks`, a file each).  A finding is "a mistake" only if the measurement
leaves no other explanation; what may be meant is "look at this".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .findings import Diagnosis, Finding

if TYPE_CHECKING:
    import torch

__all__ = ["Diagnosis", "Finding", "diagnose"]


def diagnose(
    model: torch.nn.Module,
    inputs: Any,
    *,
    loss: Callable[[Any], torch.Tensor] | None = None,
    optimiser: torch.optim.Optimizer | Iterable[Mapping[str, Any]] | None = None,
    where: str | Iterable[str] | None = None,
    read: Callable[[Any], Any] | None = None,
    transposed: bool | None = None,
) -> Diagnosis:
    """Look for the mistakes that implementations of hyper-connections are known to make.

    `inputs` is what the model is called with: a tensor, a tuple of its arguments or a mapping of
    its keyword arguments; a batch of a few real examples is best.  `loss` is a function of the
    model's output; by default its own `loss`, or the mean square distance of all floating-point
    outputs from fixed random numbers.  With the `optimiser` (or its parameter groups) weight decay
    is checked too.  Models that are not known by themselves are described with `where`, `read` and
    `transposed`, as for `nn.record_mappings`.

    The model runs once for each of its layers and a few times more, with the random numbers of one
    seed; parameters, gradients, buffers and random numbers are afterwards what they were.

    >>> import torch
    >>> from mhc_demo import nn as mnn
    >>> class Net(torch.nn.Sequential):
    ...     def forward(self, x):
    ...         return mnn.reduce_streams(super().forward(mnn.expand_streams(x, 4)))
    >>> layers = (mnn.ManifoldHyperConnection(torch.nn.Linear(8, 8), 8, layer=l) for l in range(4))
    >>> print(diagnose(Net(*layers), torch.randn(16, 8)).verdict)
    Net (4 layers of mhc_demo, 4 streams): no mistake found, 14 checks made.

    Raises TypeError or ValueError if `model` is not a module or has no known layers, if it calls
    none of them, or if another argument does not fit.
    """
    from ...nn.recording import sites_to_record
    from . import checks as checks
    from .examining import examine
    from .registry import CHECKS, CannotTellError

    examination = examine(
        model, inputs, sites_to_record(model, where, read, transposed), loss, optimiser
    )
    findings: list[Finding] = []
    passed, unchecked = [], {}
    for name, check in CHECKS.items():
        if examination.streams < 2 and name != "not_finite":
            unchecked[check.title] = "there is one stream, and nothing to mix"
            continue
        if findings and findings[0].check == "not_finite":
            unchecked[check.title] = "a mapping is not finite"
            continue
        try:
            found = list(check.function(examination, check))
        except CannotTellError as why:
            unchecked[check.title] = str(why)
            continue
        findings += found
        if not found:
            passed.append(check.title)
    findings.sort(key=lambda each: each.certainty != "mistake")  # stable: causes stay first
    return Diagnosis(
        examination.model,
        tuple(dict.fromkeys(each.family for each in examination.layers)),
        examination.streams,
        tuple(each.name for each in examination.layers),
        tuple(findings),
        tuple(passed),
        unchecked,
        examination.remarks,
    )

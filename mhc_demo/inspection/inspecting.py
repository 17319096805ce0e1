"""`mhc.inspect`: one call for a model, an array or a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..numerics._arrays import Array, square_matrices
from .choosing import Reading, Watch, numbered
from .measuring import measured
from .reading import read_file
from .report import Report

if TYPE_CHECKING:
    from .page import ModelPage


def inspect(
    x: Any,
    inputs: Any = None,
    *,
    name: str | None = None,
    array: str | None = None,
    watch: Watch = iter,
    **recording: Any,
) -> Report:
    """What the residual mappings of a model do: gains, mixing, sums, how sharp the logits are.

    `x` is one of

    - a PyTorch model, which is called with `inputs`: one argument, a tuple of arguments, or a dict
      of keyword arguments.  No gradients are kept, and its mode, training or not, is left as it is.
      Options of `nn.record_mappings` are passed on: `where`, `read`, `transposed`, ...
    - what `nn.record_mappings` has recorded;
    - an array of H_res that act (new streams = H_res @ old ones), shape (layers, n, n) or
      (..., layers, n, n), in which the leading axes are tokens; NumPy's, PyTorch's or any other's;
    - the path of a .npz, .npy or .safetensors file that holds such an array (`array` names it, if
      it holds several), of a DeepSeek-V4 checkpoint or its folder, or of a record of the lab.

    `name` is what it is called in the report.  `watch` goes through what takes long, and can show
    how far it is, as `tqdm.tqdm` does.

    >>> report = inspect(np.stack([np.eye(4)] * 8))
    >>> report.verdicts()[0]
    'The composite of all 8 layers stays near 1: Amax gain 1.00 forward, 1.00 backward.'

    Raises ValueError (for a file its subclass `UnreadableError`, in one plain sentence), TypeError,
    and OSError if a file cannot be opened.
    """
    if _is_module(x):
        if inputs is None:
            raise TypeError("inputs must be what the model is called with, not None")
        maps = _record(x, inputs, recording)
        return _of_recording(maps, name or type(x).__name__, watch, x, inputs, recording)
    if inputs is not None or recording:
        given = "inputs" if inputs is not None else next(iter(recording))
        raise TypeError(f"{given} can be given for a model alone, not for {type(x).__name__}")
    if isinstance(x, (str, os.PathLike)):
        reading = read_file(x, watch=watch, array=array)
        return _report(reading, name, watch)
    if array is not None:
        raise TypeError(f"array can be given for a file alone, not for {type(x).__name__}")
    if hasattr(x, "__mhc_layers__"):
        return _of_recording(x, name or "recording", watch)
    matrices = _numpy(x)
    layers = numbered(matrices.shape[1])
    return Report(
        reading := Reading(name or "array", f"{type(x).__name__} {_shape(x)}", matrices, layers),
        measured(reading, watch),
    )


def plot(x: Any) -> ModelPage:
    """The figures of an array of mappings, or of whatever else `inspect` takes by itself.

    A notebook shows them; `.save("report.html")` writes a page.  Raises what `inspect` does.
    """
    return inspect(x).plot()


def _report(reading: Reading, name: str | None, watch: Watch) -> Report:
    if name is not None:
        reading = Reading(**{**vars(reading), "name": name})
    return Report(reading, measured(reading, watch))


def _is_module(x: Any) -> bool:
    return "torch" in sys.modules and isinstance(x, sys.modules["torch"].nn.Module)


def _record(model: Any, inputs: Any, options: Mapping[str, Any]) -> Any:
    """The mappings of one call of the model."""
    import torch

    from ..nn import record_mappings

    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    options = {"logits": True, **options}
    with torch.no_grad(), record_mappings(model, **options) as maps:
        model(**inputs) if isinstance(inputs, Mapping) else model(*arguments)
    return maps


def _of_recording(
    maps: Any,
    name: str,
    watch: Watch,
    model: Any = None,
    inputs: Any = None,
    options: Mapping[str, Any] | None = None,
) -> Report:
    matrices = _numpy(maps)
    layers = tuple(getattr(maps, "names", ())) or numbered(matrices.shape[1])
    family = getattr(maps, "family", "")
    remarks = tuple(getattr(maps, "remarks", ()))
    what = f"recorded from {family}" if family else "recorded"
    logits = _logits(maps, matrices)
    reading = Reading(name, what, matrices, layers, logits, remarks)
    return Report(reading, measured(reading, watch), model, inputs, options or {})


def _logits(maps: Any, matrices: Any) -> Any:
    """The recorded logits in the shape of the matrices; None unless every layer has them."""
    found = getattr(maps, "logits", None)
    if not found or any(each is None for each in found):
        return None
    layers = [each.detach().cpu().float().numpy().reshape(-1, *each.shape[-2:]) for each in found]
    tokens, _, n, _ = matrices.shape
    if any(len(each) not in (1, tokens) for each in layers):
        return None
    return np.stack([np.broadcast_to(each, (tokens, n, n)) for each in layers], axis=1)


def _numpy(x: Array) -> Any:
    """Matrices as a NumPy array (tokens, layers, n, n) that is finite."""
    _, found = square_matrices(x, "x")
    if hasattr(found, "detach"):
        found = found.detach().cpu()
        found = found.float().numpy() if found.element_size() < 4 else found.numpy()
        square_matrices(found, "x")  # of a tensor it has not looked for NaN
    found = np.asarray(found)
    if found.ndim < 3 or 0 in found.shape:
        raise ValueError(
            f"x must have shape (layers, n, n) or (..., layers, n, n), not {found.shape}"
        )
    return found.reshape(-1, *found.shape[-3:])


def _shape(x: Any) -> str:
    return str(tuple(getattr(x, "shape", ()))) if hasattr(x, "shape") else "of matrices"

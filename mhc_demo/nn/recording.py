"""Records the mappings that a model applies, ours or another's, while a context is open."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from ..numerics._torch import in_backward
from .adapters import Seen, Site, sites_of
from .adapters.pattern import Read, sites_matching
from .layers import StreamLayer, modules_of
from .recorded import RecordedMappings


@contextmanager
def record_mappings(
    model: nn.Module,
    *,
    where: str | Iterable[str] | None = None,
    read: Read | None = None,
    transposed: bool | None = None,
    streams: bool = False,
    logits: bool = False,
    every_call: bool = False,
    accumulate: bool = False,
) -> Iterator[RecordedMappings]:
    """Record H_pre, H_res and H_post of every layer of `model`, while the context is open.

    >>> from mhc_demo import nn as mnn
    >>> model = nn.Sequential(*(mnn.Residual(nn.Identity(), 8) for _ in range(3)))
    >>> with mnn.record_mappings(model) as maps:
    ...     h = model(torch.ones(2, 4, 8))
    >>> maps.names, maps.stack().shape
    (['0', '1', '2'], torch.Size([3, 4, 4]))

    It understands the layers of this package, of transformers' DeepSeek-V4 and its kin, and of the
    package hyper-connections (`mhc_demo.nn.adapters`).  For any other model say which modules
    compute its mappings: `where` is a pattern of their paths (or several), `read` a function from a
    module's output to H_res, shape (..., n, n), or to (H_pre, H_res, H_post); without it the output
    itself is taken.  `transposed` must then say how the model applies what `read` returns:
    False for new = M @ old, True for new = M.T @ old.

    Each call of `model` replaces the record, unless `accumulate` is set: then the tokens of all
    calls are put together along one axis.  If a layer is called several times in one call of the
    model, the latest counts; with `every_call` each is a layer of its own.  `streams` adds
    statistics of the streams that each layer is given, `logits` what each H_res is the projection
    of: how sharp they are says whether the iterations are enough.  Recomputation during a
    backward pass (activation checkpointing) is not recorded.  What torch.compile has compiled runs
    uncompiled while the context is open, because compiled code does not show its mappings.
    Contexts may be nested.

    Raises TypeError or ValueError if `model` is not a module or has no layers to record, or if
    `where`, `read` and `transposed` do not go together.
    """
    sites = sites_to_record(model, where, read, transposed)
    record = RecordedMappings(sites, every_call=every_call, accumulate=accumulate)

    def start(module: nn.Module, args: Any) -> None:
        if not in_backward():
            record._begin()

    def keep(index: int, seen: Seen) -> None:
        record._keep(index, seen, streams, logits)

    with attached(model, sites, start, keep):
        yield record


@contextmanager
def attached(
    model: nn.Module,
    sites: list[Site],
    start: Callable[[nn.Module, Any], None],
    keep: Callable[[int, Seen], None],
) -> Iterator[None]:
    """In this context every call of `model` starts with `start`, and its layers are told to `keep`.

    What torch.compile has compiled runs uncompiled in it.
    """
    handles: list[Any] = [model.register_forward_pre_hook(start)]
    try:
        for index, site in enumerate(sites):
            handles += site.attach(partial(keep, index))
        with uncompiled():
            yield
    finally:
        for handle in reversed(handles):
            handle.remove()


def sites_to_record(
    model: nn.Module,
    where: str | Iterable[str] | None = None,
    read: Read | None = None,
    transposed: bool | None = None,
) -> list[Site]:
    """The layers that `record_mappings` records; it says what is raised."""
    modules_of(model)  # a TypeError, if it is not a module
    if where is not None:
        return list(sites_matching(model, where, read, transposed))
    for name, given in (("read", read), ("transposed", transposed)):
        if given is not None:
            raise ValueError(f"{name} goes with where=..., which says which modules are meant")
    sites = _hooked_once(sites_of(model))
    if not sites:
        raise ValueError(
            f"model has no layer to record that is known: {type(model).__name__} has none of this "
            "package, of DeepSeek-V4 or of hyper-connections. where='*.hc', read=lambda output: "
            "... and transposed=... record any model"
        )
    return sites


def _hooked_once(sites: Iterable[Site]) -> list[Site]:
    """Our layers may share one module `mappings`, whose calls must not be counted twice."""
    found: dict[int, Site] = {}
    for site in sites:
        hooked = site.module.mappings if isinstance(site.module, StreamLayer) else site.module
        found.setdefault(id(hooked), site)
    return list(found.values())


def uncompiled() -> AbstractContextManager[Any]:
    """Runs what is compiled as it was before: hooks that come later are not compiled in.

    Where the compiler was never imported, nothing has been compiled, and importing it takes long.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")

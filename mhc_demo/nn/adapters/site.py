"""A layer of some model, how its mappings are read, and the registry of families.

All that an adapter reports is in one orientation: H_res is the matrix that multiplies the streams
from the left, new = H_res @ old.  Where a model keeps the transpose, its adapter transposes.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...numerics._torch import in_backward


@dataclass(frozen=True, eq=False)
class Seen:
    """What one call of a layer shows; may share memory with the model."""

    res: Tensor
    """H_res as it acts, (..., n, n), or (n, n) if it is static."""
    pre: Tensor | None = None
    """H_pre, (..., n)."""
    post: Tensor | None = None
    """H_post, (..., n)."""
    streams: Tensor | None = None
    """What the layer was given, (..., n, C)."""
    logits: Callable[[], Tensor] | None = None
    """Computes what H_res is the projection of, (..., n, n); None if there is no such thing."""


Keep = Callable[[Seen], None]

Change = Callable[[Seen], "Tensor | None"]
"""From what a call shows, with its graph, to the H_res to go on with, as it acts; None: as it is.

It is called in recomputation too, which must compute what the first run computed.
"""


class Handle(Protocol):
    """Something that was attached to a module."""

    def remove(self) -> None:
        """Take it off again."""


@dataclass(frozen=True, eq=False)
class Site:
    """A layer whose mappings can be read."""

    name: str
    """The layer's module path."""
    family: str
    module: nn.Module
    attach: Callable[[Keep], list[Handle]]
    """Has every call of the layer passed on, until the handles are removed."""
    mixes: bool = True
    """False for a family whose H_res is the identity, always."""
    remark: str = ""
    """A sentence for the reader; empty if there is nothing to say."""
    alter: Callable[[Change], list[Handle]] | None = None
    """Has every call of the layer go on with the H_res that a function returns, until the handles
    are removed; None if that is not known."""
    doubly_stochastic: bool | None = None
    """Whether H_res is meant to be doubly stochastic; None if the family does not say."""
    iterations: int | None = None
    """Of Sinkhorn-Knopp in each call, if the layer says."""


Find = Callable[[str, nn.Module], Site | None]


@dataclass(frozen=True)
class Family:
    """How the layers of one kind of model are recognised."""

    endings: tuple[str, ...]
    """What the names of their classes end in; empty if that does not tell."""
    find: Find
    """A function of a module's path and the module."""

    def may_have(self, kind: type) -> bool:
        """Whether modules of this class are worth a look."""
        return not self.endings or any(_named(kind, ending) for ending in self.endings)


FAMILIES: dict[str, Family] = {}
"""Every family by its name."""


def family(name: str, *endings: str) -> Callable[[Find], Find]:
    """Register a function that returns a `Site` for a layer of the family `name`, else None.

    With `endings` it is asked only about modules whose class, or one that it derives from, has a
    name that ends in one of them: most models have many other modules.
    """

    def register(find: Find) -> Find:
        FAMILIES[name] = Family(endings, find)
        return find

    return register


def on_output(
    module: nn.Module, read: Callable[[Any, Any], Seen]
) -> Callable[[Keep], list[Handle]]:
    """`Site.attach` for a module whose call says all: `read(first argument, output)`."""

    def attach(keep: Keep) -> list[Handle]:
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
            if in_backward():  # recomputation is no call of the model's
                return
            given = args[0] if args else next(iter(kwargs.values()), None)
            with torch.no_grad():
                keep(read(given, output))

        # First of all hooks: FSDP's takes the parameters away again.
        return [module.register_forward_hook(hook, prepend=True, with_kwargs=True)]

    return attach


def altered_output(
    module: nn.Module, read: Callable[[Any, Any], Seen]
) -> Callable[[Change], list[Handle]]:
    """`Site.alter` for a module whose call says all: `read(first argument, output)`.

    H_res is written where `read` finds it, into a copy of the output.  A call raises ValueError if
    what `read` returns is no view of the output.
    """

    def alter(change: Change) -> list[Handle]:
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
            given = args[0] if args else next(iter(kwargs.values()), None)
            with torch.enable_grad():  # a module that forgets the graph is to be found out
                new = change(read(given, output))
                if new is None:
                    return None
                altered = _copied(output)
                read(given, altered).res.copy_(new)
                if not torch.equal(read(given, altered).res, new):
                    raise ValueError(f"H_res cannot be replaced in the output of {module!r}")
                return altered

        return [module.register_forward_hook(hook, with_kwargs=True)]

    return alter


def _copied(output: Any) -> Any:
    """The same with a copy of each tensor, in tuples, lists and dictionaries of any kind."""
    if isinstance(output, Tensor):
        return output.clone(memory_format=torch.contiguous_format)
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*map(_copied, output))
    if isinstance(output, (tuple, list)):
        return type(output)(map(_copied, output))
    if isinstance(output, dict):
        altered = copy(output)
        for key, value in output.items():
            altered[key] = _copied(value)
        return altered
    return output


def is_named(module: nn.Module, ending: str) -> bool:
    """Whether the class of `module`, or one that it derives from, has a name with this ending.

    FSDP gives a module a class of its own, derived from the original one.
    """
    kind: Any = type(module)
    return _named(kind, ending)


@lru_cache(maxsize=4096)
def _named(kind: Any, ending: str) -> bool:
    return any(each.__name__.endswith(ending) for each in kind.__mro__)


def has(module: nn.Module, *names: str) -> bool:
    """Whether `module` has all these attributes."""
    return all(hasattr(module, name) for name in names)


def without_wrappers(model: nn.Module, path: str) -> str:
    """The path of a module of `model` without what DDP, torch.compile and others add to it."""
    prefix = "module." if is_named(model, "DataParallel") else ""
    parts = path.removeprefix(prefix).split(".")
    return ".".join(part for part in parts if part not in _WRAPPERS)


_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}

"""Where models keep their mappings: one file for each family of models.

A family is a function that looks at one module and returns a `Site` if it is one of its layers.
It recognises layers by the names of their classes and attributes and imports nothing, so a family
whose package is not installed costs nothing, and a copy of its code in another project is
recognised too.  To add a family, add a file here with a function under `@family(...)`, or have one
in any other module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

from torch import nn

from .site import (
    FAMILIES,
    Change,
    Family,
    Keep,
    Seen,
    Site,
    altered_output,
    family,
    on_output,
    without_wrappers,
)

for _each in iter_modules(__path__):
    import_module(f"{__name__}.{_each.name}")


def sites_of(model: nn.Module) -> Iterator[Site]:
    """Every layer of `model` that some family recognises, in the order of its modules.

    A module that is used in several places is found once.
    """
    candidates: dict[type, list[Family]] = {}
    for path, module in model.named_modules():
        kind = type(module)
        if kind not in candidates:
            candidates[kind] = [each for each in FAMILIES.values() if each.may_have(kind)]
        for each in candidates[kind]:
            site = each.find(path, module)
            if site is not None:
                yield replace(site, name=without_wrappers(model, path))
                break


__all__ = [
    "FAMILIES",
    "Change",
    "Family",
    "Keep",
    "Seen",
    "Site",
    "altered_output",
    "family",
    "on_output",
    "sites_of",
]

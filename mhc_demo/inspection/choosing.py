"""What is taken from a file of arrays: its mappings, by their names and by their shapes.

In this order: the array that is asked for by name; a DeepSeek-V4 checkpoint's mappings; an array
called `h_res`; the only stack of square matrices; square matrices that are arrays of their own, one
for each layer.  Whatever is ambiguous is refused with what the file holds, and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .deepseek import static_mappings
from .limits import Limits, UnreadableError, shown
from .store import Declared, Floats, Store

Watch = Callable[[Sequence[Any]], Iterable[Any]]
"""Goes through a sequence, and may say how far it is, as `tqdm.tqdm` does."""


@dataclass(frozen=True)
class Reading:
    """The mappings of one model, from wherever they come."""

    name: str
    """Of the file, model or array; it may be hostile, and is always shown as text."""
    what: str
    """What was read, in words."""
    matrices: Floats
    """H_res that act, new streams = H_res @ old ones, shape (tokens, layers, n, n)."""
    layers: tuple[str, ...]
    """What the layers are called."""
    logits: Floats | None = None
    """What H_res was projected from, in the same shape and orientation, if that is known."""
    remarks: tuple[str, ...] = ()
    """What a reader must know of these matrices, in sentences."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))
        object.__setattr__(self, "layers", tuple(map(printable, self.layers)))


LONGEST = 120


def printable(name: str) -> str:
    """A name without what no terminal or page should be sent, and not too long."""
    seen = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    return "".join(each if each.isprintable() else "�" for each in seen)


H_RES = "h_res"
NAMES = "layers"
"""The arrays that `Report.save` writes."""


def chosen(store: Store, name: str, limits: Limits, watch: Watch, array: str | None) -> Reading:
    """The mappings that a file called `name` holds.

    Raises UnreadableError if there are none, or too many, or larger ones than allowed.
    """
    if array is None:
        found = static_mappings(store, limits, watch)
        if found:
            return Reading(name, found.what, found.matrices, found.layers, found.logits, found.said)
    one = _stack(store, limits, array)
    if one is not None:
        matrices = one.read()
        matrices = matrices.reshape(-1, *matrices.shape[-3:])
        layers = _names(store, matrices.shape[1])
        what = f"{store.format}, array {shown(one.name)}"
        return Reading(name, what, matrices, layers)
    each = _single(store, limits)
    matrices = np.stack([one.read() for one in watch(each)])[None]
    what = f"{store.format}, {len(each)} matrices"
    return Reading(name, what, matrices, tuple(one.name for one in each))


def _stack(store: Store, limits: Limits, array: str | None) -> Declared | None:
    """The array that holds all layers, or None where each has its own."""
    numbers = {name: each for name, each in store.arrays.items() if not each.text}
    wanted = array or next((n for n in (*numbers, *store.refused) if n.lower() == H_RES), None)
    if wanted is not None:
        if wanted in numbers:
            return _checked(numbers[wanted], limits)
        if wanted in store.refused:
            raise UnreadableError(store.refused[wanted])
        raise UnreadableError(f"It has no array {shown(wanted)}; it has {_listed(numbers)}.")
    stacks = [each for each in numbers.values() if _square(each) and len(each.shape) >= 3]
    if len(stacks) == 1:
        return _checked(stacks[0], limits)
    if stacks:
        raise UnreadableError(
            f"It holds several stacks of square matrices, {_listed(each.name for each in stacks)}: "
            f"call the one of H_res {H_RES}."
        )
    if not any(_square(each) for each in numbers.values()):
        if store.refused:
            raise UnreadableError(next(iter(store.refused.values())))
        if len(numbers) == 1:
            return _checked(next(iter(numbers.values())), limits)  # which says what is wrong
        raise UnreadableError(
            "It holds no square matrices, (layers, n, n) or (tokens, layers, n, n), but "
            f"{_listed(numbers)}."
        )
    return None


def _single(store: Store, limits: Limits) -> list[Declared]:
    """The arrays that are one matrix each, in the order of the numbers in their names."""
    found = [each for each in store.arrays.values() if not each.text and _square(each)]
    found.sort(key=lambda each: _natural(each.name))
    sizes = {each.shape for each in found}
    if len(sizes) > 1:
        raise UnreadableError(
            f"It holds square matrices of several sizes, {_listed(map(str, sorted(sizes)))}."
        )
    shape = (len(found), *found[0].shape)
    limits.check(shape, found[0].itemsize, "all matrices")
    return found


def _square(each: Declared) -> bool:
    return len(each.shape) >= 2 and each.shape[-1] == each.shape[-2] >= 1


def _checked(each: Declared, limits: Limits) -> Declared:
    limits.check(each.shape, each.itemsize, each.name)
    return each


def _names(store: Store, count: int) -> tuple[str, ...]:
    """What the file calls its layers, if it names as many; else their numbers."""
    names = store.layer_names
    held = store.arrays.get(NAMES)
    if held is not None and held.text and held.shape == (count,):
        names = tuple(map(str, held.read()))
    return names if len(names) == count else numbered(count)


def numbered(count: int) -> tuple[str, ...]:
    """The names of layers that have none.

    >>> numbered(2)
    ('layer 1', 'layer 2')
    """
    return tuple(f"layer {k}" for k in range(1, count + 1))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which "layer 10" comes after "layer 9"."""
    parts = re.split(r"(\d{1,15})", name)
    return [(0, int(p), "") if k % 2 else (1, 0, p) for k, p in enumerate(parts)]


MOST_LISTED = 5


def _listed(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    every = list(names)
    text = ", ".join(map(shown, every[:MOST_LISTED])) or "nothing"
    return f"{text} and {len(every) - MOST_LISTED:,} more" if len(every) > MOST_LISTED else text


def merged(stores: Sequence[Store]) -> Store:
    """Several files as one, as the parts of a checkpoint are."""
    first = stores[0]
    arrays = {name: each for store in stores for name, each in store.arrays.items()}
    refused = {name: why for store in stores for name, why in store.refused.items()}
    return replace(first, arrays=arrays, refused=refused)

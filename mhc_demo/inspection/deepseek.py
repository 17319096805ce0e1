"""The static mappings of a DeepSeek-V4 checkpoint, by their keys.

Each block has two: `...layers.N.hc_attn_base` and `...hc_ffn_base` in DeepSeek's own files,
`...layers.N.attn_hc.base` and `ffn_hc.base` in those of `transformers`.  A base holds the static
part of H_pre (n), H_post (n) and H_res (n * n), so it has (n + 2) n entries.  The rest of a mapping
depends on the input (`fn`, times `scale`), and is not in the weights alone.  The model applies its
matrix transposed, so the one that acts is the released projection of the transposed logits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..numerics.projecting import project
from .limits import Limits, UnreadableError, shown
from .store import Declared, Floats, Store

KEY = re.compile(r"(?:.*\.)?layers\.(\d{1,9})\.(?:hc_(attn|ffn)_base|(attn|ffn)_hc\.base)")
ORDER = {"attn": 0, "ffn": 1}
REMARK = (
    "These are the static mappings, those of an input that moves nothing: the checkpoint alone "
    "does not say what a token adds to their logits."
)


class Static(NamedTuple):
    """What a checkpoint holds."""

    what: str
    matrices: Floats
    """(1, layers, n, n)."""
    layers: tuple[str, ...]
    logits: Floats
    said: tuple[str, ...]


def static_mappings(
    store: Store, limits: Limits, watch: Callable[[Sequence[Any]], Iterable[Any]]
) -> Static | None:
    """The mappings, first layer first; None if no key is one of such a checkpoint.

    Raises UnreadableError if there are more layers or streams than allowed, or wrong shapes.
    """
    found = sorted(_places(store), key=lambda place: place[:2])
    if not found:
        return None
    sizes = {each.shape for *_, each in found}
    (shape, *others) = sizes
    n = math.isqrt(math.prod(shape) + 1) - 1
    if others or len(shape) != 1 or n < 1 or shape != ((n + 2) * n,):
        raise UnreadableError(
            f"The bases of its mappings, as {shown(found[0][2].name)}, must all have (n + 2) n "
            f"entries, not the shapes {sorted(sizes)[:3]}."
        )
    limits.check((len(found), n, n), 8, "all mappings")
    bases = np.stack([each.read() for *_, each in watch(found)]).astype(np.float64)
    logits = np.swapaxes(bases[:, 2 * n :].reshape(1, -1, n, n), -1, -2)
    names = tuple(each.name for *_, each in found)
    what = f"DeepSeek-V4 checkpoint, {len(found)} static mappings"
    return Static(what, project(logits, "released"), names, logits, (REMARK,))


def _places(store: Store) -> Iterable[tuple[int, int, Declared]]:
    for name, each in store.arrays.items():
        match = KEY.fullmatch(name) if len(name) < 500 else None
        if match and not each.text:
            yield int(match[1]), ORDER[match[2] or match[3]], each

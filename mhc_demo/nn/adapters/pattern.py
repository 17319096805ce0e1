"""Any other model: its layers by the pattern of their names, and a function that reads them.

It is not a family, for nobody but the caller knows where such a model keeps its mappings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from .site import Seen, Site, altered_output, modules_by_path, on_output

Read = Callable[[Any], Any]
"""From a module's output to H_res, or to (H_pre, H_res, H_post) with None where there is none."""


def sites_matching(
    model: nn.Module, where: str | Iterable[str], read: Read | None, transposed: bool | None
) -> Iterator[Site]:
    """A site for every module whose path matches `where`.

    Raises TypeError or ValueError if no module matches, or the orientation is not said.
    """
    patterns = [where] if isinstance(where, str) else list(where)
    if not patterns or not all(isinstance(each, str) for each in patterns):
        raise TypeError(f"where must be a pattern of module names such as '*.hc', not {where!r}")
    if not isinstance(transposed, bool):
        raise TypeError(
            f"transposed must be True or False, not {transposed!r}: False if the model computes "
            "new = M @ old with what `read` returns, True if it computes new = M.T @ old"
        )
    if read is not None and not callable(read):
        raise TypeError(f"read must be a function of a module's output, not {read!r}")
    paths = list(modules_by_path(model))
    chosen = [
        (path, module)
        for path, module in paths
        if any(fnmatchcase(path, pattern) for pattern in patterns)
    ]
    if not chosen:
        some = ", ".join(repr(path) for path, _ in paths if path)[:300]
        raise ValueError(f"where={where!r} matches no module; there are {some}")
    for path, module in chosen:
        reader = _reader(path, read, transposed)
        attach, alter = on_output(module, reader), altered_output(module, reader)
        yield Site(path, "pattern", module, attach, alter=alter)


def _reader(path: str, read: Read | None, transposed: bool) -> Callable[[Any, Any], Seen]:
    def seen(given: Any, output: Any) -> Seen:
        found = output if read is None else read(output)
        pre, res, post = found if isinstance(found, tuple) else (None, found, None)
        res = _square(path, res, read)
        n = res.shape[-1]
        for name, each in (("H_pre", pre), ("H_post", post)):
            if each is not None and not (isinstance(each, Tensor) and each.shape[-1] == n):
                raise ValueError(
                    f"{name} of {path!r} must be a tensor of shape (..., {n}), not {_shape(each)}"
                )
        fits = isinstance(given, Tensor) and given.ndim > 1 and given.shape[-2] == n
        streams = given if fits else None
        return Seen(res=res.mT if transposed else res, pre=pre, post=post, streams=streams)

    return seen


def _square(path: str, res: Any, read: Read | None) -> Tensor:
    if (
        isinstance(res, Tensor)
        and res.is_floating_point()
        and res.ndim > 1
        and res.shape[-1] == res.shape[-2]
    ):
        return res
    what = "the output" if read is None else "what `read` makes of the output"
    raise ValueError(
        f"{what} of {path!r} must be H_res, a floating-point tensor of shape (..., n, n), or a "
        f"tuple (H_pre, H_res, H_post), not {_shape(res)}; read=lambda output: ... says where it is"
    )


def _shape(x: Any) -> str:
    return f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__

"""The residual connections that the lab trains: one entry each.

Three are compared: the plain residual network, HC and mHC.  The others cross HC and mHC, so that an
ablation can tell what mixes the streams from how a layer reads and writes.  To add a connection,
write a function under `@connection(...)` that returns the layer, in any module.  PyTorch is
imported inside these functions: settings, page and command line know the connections without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .registry import Registry

if TYPE_CHECKING:
    from ..nn import StreamLayer
    from .settings import Settings

Layer = Callable[[Any, "Settings", int], "StreamLayer"]
"""(branch, settings, the layer's index) -> the layer."""
Count = Callable[[int, int], int]
"""(n, C) -> how many numbers a layer's mappings learn."""


@dataclass(frozen=True)
class Connection:
    """A way to connect a branch to the streams."""

    name: str
    title: str
    layer: Layer
    parameters: Count | None
    """None if it is not known, as for a connection of your own."""
    mixes: bool
    """Whether it has streams to mix; the plain residual network has one."""
    projects: str
    """The projection of H_res, "settings" for that of the settings; empty if there is none."""


KINDS: Registry[Connection] = Registry("connection")
"""Every connection by its name."""


class _Titles(Mapping[str, str]):
    def __getitem__(self, name: str) -> str:
        return KINDS[name].title

    def __iter__(self) -> Iterator[str]:
        return iter(KINDS)

    def __len__(self) -> int:
        return len(KINDS)

    def __repr__(self) -> str:
        return repr(dict(self))


CONNECTIONS: Mapping[str, str] = _Titles()
"""The title of every connection by its name."""


def connection(
    name: str,
    title: str,
    *,
    parameters: Count | None = None,
    mixes: bool = True,
    projects: str = "",
) -> Callable[[Layer], Layer]:
    """Register a function (branch, settings, index of the layer) that returns the layer."""

    def register(layer: Layer) -> Layer:
        KINDS[name] = Connection(name, title, layer, parameters, mixes, projects)
        return layer

    return register


def _unbounded_read_write(n: int, width: int) -> int:
    return 2 * (width + 1 + n)  # theta, alpha, b


def _bounded_read_write(n: int, width: int) -> int:
    return 2 * (n * n * width + 1 + n)  # phi, alpha, b


def _free(n: int, width: int) -> int:
    return n * width + 1 + n * n


def _projected(n: int, width: int) -> int:
    return n * n * n * width + 1 + n * n


def _none(n: int, width: int) -> int:
    return 0


def _both(read_write: Count, mixing: Count) -> Count:
    return lambda n, width: read_write(n, width) + mixing(n, width)


@connection("residual", "Residual", parameters=_none, mixes=False)
def _residual(branch: Any, settings: Settings, index: int) -> StreamLayer:
    from .. import nn as mnn

    return mnn.Residual(branch, settings.width, 1)


@connection("hc", "HC", parameters=_both(_unbounded_read_write, _free))
def _hc(branch: Any, settings: Settings, index: int) -> StreamLayer:
    from .. import nn as mnn

    return mnn.HyperConnection(branch, settings.width, settings.streams, layer=index)


@connection("mhc", "mHC", parameters=_both(_bounded_read_write, _projected), projects="settings")
def _mhc(branch: Any, settings: Settings, index: int) -> StreamLayer:
    from .. import nn as mnn

    return mnn.ManifoldHyperConnection(
        branch,
        settings.width,
        settings.streams,
        layer=index,
        projection=settings.projection,
        iterations=settings.iterations,
    )


COMPARED = tuple(CONNECTIONS)
"""The names of the three that are compared, in that order: residual, hc, mhc."""


def _crossed(name: str, title: str, read_write: str, mixing: str) -> None:
    """Register a connection with the reads and writes of one and the H_res of another."""
    reads = {"hc": _unbounded_read_write, "mhc": _bounded_read_write}[read_write]
    mixes = {"free": _free, "identity": _none}.get(mixing, _projected)
    projects = "" if mixing in ("free", "identity") else mixing

    @connection(name, title, parameters=_both(reads, mixes), projects=projects)
    def layer(branch: Any, settings: Settings, index: int) -> StreamLayer:
        from .. import nn as mnn

        return mnn.CrossedConnection(
            branch,
            settings.width,
            settings.streams,
            layer=index,
            read_write=read_write,
            mixing=mixing,
            iterations=settings.iterations,
        )


# Named after whose reads and writes they have, then after what mixes.  HC and mHC as they are would
# be "hc-free" and "mhc-sinkhorn".
_crossed("hc-identity", "HC, H_res = I", "hc", "identity")
_crossed("hc-sinkhorn", "HC, Sinkhorn H_res", "hc", "sinkhorn")
_crossed("hc-rows", "HC, rows only", "hc", "rows")
_crossed("mhc-free", "mHC, free H_res", "mhc", "free")
_crossed("mhc-identity", "mHC, H_res = I", "mhc", "identity")
_crossed("mhc-rows", "mHC, rows only", "mhc", "rows")

ABLATION = (
    *("hc", "hc-identity", "hc-sinkhorn", "hc-rows"),
    *("mhc-free", "mhc-identity", "mhc", "mhc-rows"),
)
"""HC's reads and writes with a free H_res, none, Sinkhorn's and rows alone, then mHC's likewise."""

"""The layers: a branch F between n streams, x' = H_res x + H_post^T F(H_pre x) (Eq. 3).

They differ only in their `mappings`; `StreamLayer` is what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..numerics._arrays import whole_number
from ..numerics.projections import PAPER_ITERATIONS
from . import layer_torch
from .blocks import RUNNING_BLOCK
from .mappings import RMS_EPS, _ManifoldMappings, _PlainMappings, _UnconstrainedMappings

Branch = Callable[..., Any]


def expand_streams(x: Tensor, streams: int) -> Tensor:
    """`streams` copies of x, shape (..., C) -> (..., n, C): the input of the first layer.

    >>> expand_streams(torch.ones(2, 8), 4).shape
    torch.Size([2, 4, 8])
    """
    streams = whole_number("streams", streams, 1)
    if not isinstance(x, Tensor) or x.ndim < 1:
        raise TypeError(f"x must be a tensor of shape (..., C), not {_described(x)}")
    return torch.stack([x] * streams, dim=-2)


def reduce_streams(h: Tensor) -> Tensor:
    """The mean of the streams, shape (..., n, C) -> (..., C): the output of the last layer.

    The mean rather than the sum, so that `reduce_streams(expand_streams(x, n))` is x.
    """
    if not isinstance(h, Tensor) or h.ndim < 2:
        raise TypeError(f"h must be a tensor of shape (..., n, C), not {_described(h)}")
    return h.mean(dim=-2)


class StreamLayer(nn.Module):
    """The base of the three layers: x' = H_res x + H_post^T F(H_pre x), shape (..., n, C).

    `branch` is F, any module or callable from (..., C) to (..., C).  `mappings` computes the three
    mappings.  Further arguments of the call are passed to the branch, by their names too.  A branch
    may return a tuple that begins with its output, as attention does that returns its weights or a
    cache: the layer then returns a tuple that begins with the streams and ends with the rest.

    >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
    >>> layer = HyperConnection(lambda x, **options: attention(x, x, x, **options), 8)
    >>> h, weights = layer(torch.ones(2, 5, 4, 8), average_attn_weights=False)
    >>> h.shape, weights.shape
    (torch.Size([2, 5, 4, 8]), torch.Size([2, 2, 5, 5]))

    Mappings and mixing are computed in float32 (in float64 for a float64 input), outside autocast,
    whatever the dtype of h: in bfloat16 the row sums of H_res would differ from 1 by up to 0.4 %,
    in the same direction at every token.  The result has h's dtype.
    """

    def __init__(self, branch: Branch, width: int, streams: int, mappings: nn.Module) -> None:
        super().__init__()
        if not callable(branch):
            raise TypeError(f"branch must be a module or a callable, not {branch!r}")
        self.width, self.streams = width, streams
        self.branch, self.mappings = branch, mappings

    def forward(self, h: Tensor, /, *args: Any, **kwargs: Any) -> Any:
        """The next layer's streams, shape (..., n, C) -> (..., n, C).

        Raises TypeError or ValueError if `h` is not floating-point or its shape does not end in
        (n, C), or if the branch returns anything but a tensor of its input's shape, alone or first
        in a tuple.
        """
        check_streams(h, self.streams, self.width)
        with outside_autocast(h):
            wide = h.to(torch.promote_types(h.dtype, torch.float32))
            pre, post, res = self.mappings(wide)
            x = self._read(pre, wide).to(h.dtype)
        block = None if torch.compiler.is_compiling() else RUNNING_BLOCK.get()
        if block is None:
            y, rest = self._branch_output(x, *args, **kwargs)
        else:
            y, rest = block.branch_output(self._branch_output, x, *args, **kwargs), None
        with outside_autocast(h):
            merged = self._merge(post, res, wide, y.to(wide.dtype)).to(h.dtype)
        return merged if rest is None else (merged, *rest)

    def _read(self, pre: Tensor, h: Tensor) -> Tensor:
        """H_pre x, shape (..., C)."""
        if pre.ndim == h.ndim - 1 == 2:
            return torch.bmm(pre.unsqueeze(-2), h).squeeze(-2)
        return (pre.expand(h.shape[:-1]).unsqueeze(-2) @ h).squeeze(-2)

    def _merge(self, post: Tensor, res: Tensor, h: Tensor, y: Tensor) -> Tensor:
        """H_res x + H_post^T y, shape (..., n, C)."""
        if res.ndim == h.ndim > 2 and layer_torch.fits(post, res, h, y):
            return layer_torch.Merge.apply(_merge, (), post, res, h, y)
        return _merge(post, res, h, y)

    def _branch_output(
        self, x: Tensor, /, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, tuple[Any, ...] | None]:
        """F(x), and what else the branch returned, or None if it returned a tensor alone."""
        returned = self.branch(x, *args, **kwargs)
        several = isinstance(returned, tuple) and len(returned) > 0
        y, rest = (returned[0], tuple(returned[1:])) if several else (returned, None)
        if not isinstance(y, Tensor):
            found = f"{'a tuple that begins with ' * several}{type(y).__name__}"
            raise TypeError(
                f"branch must return a tensor, or a tuple that begins with one, not {found}"
            )
        if y.shape != x.shape:
            raise ValueError(
                f"branch must return its input's shape {tuple(x.shape)}, not {tuple(y.shape)}; "
                "if its axes have another order, wrap it in a function that moves them"
            )
        return y, rest

    def extra_repr(self) -> str:
        """Width and streams; `mappings` shows the rest."""
        return f"width={self.width}, streams={self.streams}"


def _merge(post: Tensor, res: Tensor, h: Tensor, y: Tensor) -> Tensor:
    # Without expand, matmul would transpose h for a static H_res, which is a single matrix.
    mixed = res.expand(*h.shape[:-1], h.shape[-2]) @ h
    return torch.addcmul(mixed, post.unsqueeze(-1), y.unsqueeze(-2))


class Residual(StreamLayer):
    """The plain residual connection in n streams: H_res = I, with no parameters of its own.

    The branch reads the mean of the streams and writes to all of them.  Streams that start equal
    stay equal, so every stream is the plain residual network, x + F(x).
    """

    def __init__(self, branch: Branch, width: int, streams: int = 4) -> None:
        width, streams = whole_number("width", width, 1), whole_number("streams", streams, 1)
        super().__init__(branch, width, streams, _PlainMappings(streams))

    def _read(self, pre: Tensor, h: Tensor) -> Tensor:
        return h.mean(dim=-2)

    def _merge(self, post: Tensor, res: Tensor, h: Tensor, y: Tensor) -> Tensor:
        return h + y.unsqueeze(-2)


class HyperConnection(StreamLayer):
    """HC (Eq. 5): every mapping is alpha * tanh(theta x~^T) + b, unbounded.

    `layer` is the layer's index: the layer starts by reading stream `layer` mod n, as in the HC
    paper.  That makes the streams differ; if all were read alike, they would stay equal for ever
    and H_res would never get a gradient.  With `dynamic=False` a mapping is its static part b.
    `rms_eps` is what the norm of the streams adds to their mean square.

    Start: b_pre one-hot, b_post = 1, b_res = I, theta = 0.
    """

    def __init__(
        self,
        branch: Branch,
        width: int,
        streams: int = 4,
        *,
        layer: int = 0,
        dynamic: bool = True,
        rms_eps: float = RMS_EPS,
    ) -> None:
        width, streams = whole_number("width", width, 1), whole_number("streams", streams, 1)
        mappings = _UnconstrainedMappings(width, streams, layer, dynamic, rms_eps)
        super().__init__(branch, width, streams, mappings)


class ManifoldHyperConnection(StreamLayer):
    """mHC (Eq. 7, 8): H_pre = sigmoid, H_post = 2 sigmoid, H_res = projection of the logits.

    `layer` is the layer's index; at the start nine tenths of what the layer reads come from stream
    `layer` mod n, which makes the streams differ.  With `dynamic=False` a mapping is computed from
    its static part b alone.  `projection` is any of `mhc_demo.PROJECTIONS` that is bounded,
    with `iterations` >= 1 if it iterates, and its `eps` if it is "released".
    Implementations also differ in what they add to H_pre (`read_eps`, 1e-6 in DeepSeek-V4) and to
    the mean square of the streams in their norm (`rms_eps`).

    `mixing` is the share of each row of H_res that lies off the diagonal at the start, in size, and
    on average where rows differ.  The
    gradient of the logits is proportional to it: a layer that starts almost as the identity stays
    there, and a network that does not mix proves nothing by being stable.  ("cayley" starts at the
    identity nevertheless, where its logits have a gradient.)  In the first layer
    after `expand_streams` the streams are still equal, whatever row-stochastic H_res mixes them,
    so the H_res of that layer gets no gradient.

    Start: b_pre so that H_pre sums to 1, b_post = 0, hence H_post = 1, phi = 0.
    """

    def __init__(
        self,
        branch: Branch,
        width: int,
        streams: int = 4,
        *,
        layer: int = 0,
        dynamic: bool = True,
        projection: str = "sinkhorn",
        iterations: int = PAPER_ITERATIONS,
        mixing: float = 0.05,
        eps: float | None = None,
        read_eps: float = 0.0,
        rms_eps: float = RMS_EPS,
    ) -> None:
        width, streams = whole_number("width", width, 1), whole_number("streams", streams, 1)
        mappings = _ManifoldMappings(
            width, streams, layer, dynamic, projection, iterations, mixing, eps, read_eps, rms_eps
        )
        super().__init__(branch, width, streams, mappings)


def modules_of(model: nn.Module) -> Iterator[nn.Module]:
    """All modules of `model`; TypeError if it is not a module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    return model.modules()


def check_streams(h: Any, streams: int, width: int) -> None:
    """TypeError or ValueError unless `h` is a tensor of shape (..., n, C)."""
    if not isinstance(h, Tensor) or not h.is_floating_point():
        raise TypeError(f"h must be a real floating-point tensor, not {_described(h)}")
    if h.shape[-2:] != (streams, width):
        raise ValueError(
            f"h must have shape (..., {streams}, {width}), that is (..., streams, width), not "
            f"{tuple(h.shape)}; expand_streams makes the streams"
        )


def outside_autocast(h: Tensor) -> AbstractContextManager:
    """A context in which autocast does not choose the dtypes of what is computed from `h`."""
    kind = h.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(device_type=kind, enabled=False)
    return nullcontext()


def _described(x: Any) -> str:
    return f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else repr(type(x).__name__)

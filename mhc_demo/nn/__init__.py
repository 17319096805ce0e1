"""The residual connections as PyTorch modules, and what is needed to look inside them.

Each layer wraps any branch F and maps n residual streams to n residual streams,
x' = H_res x + H_post^T F(H_pre x) (Eq. 3 of the mHC paper).  `Residual`, `HyperConnection` and
`ManifoldHyperConnection` differ only in the submodule `mappings` that computes the three
mappings.  So a recorder hooks one place and sees the very matrices that are applied, and every
layer starts as the same function, the plain residual network: what differs later was learned.

The streams live from `expand_streams` to `reduce_streams`, around the whole network and not
within a block: only then does a composite mapping form.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any, overload

import array_api_compat.numpy as array_numpy
import array_api_compat.torch as array_torch
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from ..numerics._arrays import choice, whole_number
from ..numerics.costs import best_recompute_block
from ..numerics.mixing import nonnegative
from ..numerics.projecting import projected
from ..numerics.projections import PAPER_ITERATIONS, PROJECTIONS
from . import layer_torch

START_GATE = 0.01
"""What the alphas start from: a small dynamic part (both papers)."""
START_READ = 0.9
"""mHC's share of stream l mod n in what layer l reads at the start."""
RMS_EPS = 1e-6

Branch = Callable[..., Tensor]
Mappings = tuple[Tensor, Tensor, Tensor]
"""H_pre (..., n), H_post (..., n), H_res (..., n, n); no token axes where they are static."""


def expand_streams(x: Tensor, streams: int) -> Tensor:
    """`streams` copies of x, shape (..., C) -> (..., n, C): the network's input.

    >>> expand_streams(torch.ones(2, 8), 4).shape
    torch.Size([2, 4, 8])
    """
    streams = whole_number("streams", streams, 1)
    if not isinstance(x, Tensor) or x.ndim < 1:
        raise TypeError(f"x must be a tensor of shape (..., C), not {_described(x)}")
    return torch.stack([x] * streams, dim=-2)


def reduce_streams(h: Tensor) -> Tensor:
    """The mean over the streams, shape (..., n, C) -> (..., C): the network's output.

    The mean, so that `reduce_streams(expand_streams(x, n))` is x.
    """
    if not isinstance(h, Tensor) or h.ndim < 2:
        raise TypeError(f"h must be a tensor of shape (..., n, C), not {_described(h)}")
    return h.mean(dim=-2)


class StreamLayer(nn.Module):
    """What the three layers share: x' = H_res x + H_post^T F(H_pre x), (..., n, C) -> the same.

    `branch` is F, any module or callable from (..., C) to (..., C).  `mappings` gives the three
    mappings.  Further arguments of the call go on to the branch.

    The mappings and the mixing are computed in float32 (in float64 for a float64 input), outside
    autocast, whatever the dtype of h: rounded to bfloat16 the rows of H_res would miss 1 by up
    to 0.4 %, in the same direction at every token.  The result has h's dtype.
    """

    def __init__(self, branch: Branch, width: int, streams: int, mappings: nn.Module) -> None:
        super().__init__()
        if not callable(branch):
            raise TypeError(f"branch must be a module or a callable, not {branch!r}")
        self.width, self.streams = width, streams
        self.branch, self.mappings = branch, mappings

    def forward(self, h: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The next layer's streams, shape (..., n, C) -> (..., n, C).

        Raises TypeError or ValueError if `h` is not floating or does not end in (n, C), or if
        the branch returns anything but a tensor of its input's shape.
        """
        self._check_streams(h)
        with _outside_autocast(h):
            wide = h.to(torch.promote_types(h.dtype, torch.float32))
            pre, post, res = self.mappings(wide)
            x = self._read(pre, wide).to(h.dtype)
        block = None if torch.compiler.is_compiling() else _RUNNING_BLOCK.get()
        if block is None:
            y = self._branch_output(x, *args, **kwargs)
        else:
            y = block.branch_output(self._branch_output, x, *args, **kwargs)
        with _outside_autocast(h):
            return self._merge(post, res, wide, y.to(wide.dtype)).to(h.dtype)

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

    def _branch_output(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = self.branch(x, *args, **kwargs)
        if not isinstance(y, Tensor):
            raise TypeError(f"branch must return a tensor, not {type(y).__name__}")
        if y.shape != x.shape:
            raise ValueError(
                f"branch must return its input's shape {tuple(x.shape)}, not {tuple(y.shape)}"
            )
        return y

    def _check_streams(self, h: Tensor) -> None:
        if not isinstance(h, Tensor) or not h.is_floating_point():
            raise TypeError(f"h must be a real floating-point tensor, not {_described(h)}")
        if h.shape[-2:] != (self.streams, self.width):
            raise ValueError(
                f"h must have shape (..., {self.streams}, {self.width}), that is (..., streams, "
                f"width), not {tuple(h.shape)}; expand_streams makes the streams"
            )

    def extra_repr(self) -> str:
        """Width and streams; what else there is stands in `mappings`."""
        return f"width={self.width}, streams={self.streams}"


def _merge(post: Tensor, res: Tensor, h: Tensor, y: Tensor) -> Tensor:
    # A static H_res is expanded first: as one matrix it would make matmul transpose h.
    mixed = res.expand(*h.shape[:-1], h.shape[-2]) @ h
    return torch.addcmul(mixed, post.unsqueeze(-1), y.unsqueeze(-2))


class Residual(StreamLayer):
    """The plain residual connection, n times over: H_res = I, with no parameters of its own.

    H_pre is the mean of the streams and H_post writes to all of them.  Streams that start equal
    stay equal, and the network is exactly the plain one: x + F(x) in every stream.
    """

    def __init__(self, branch: Branch, width: int, streams: int = 4) -> None:
        width, streams = whole_number("width", width, 1), whole_number("streams", streams, 1)
        super().__init__(branch, width, streams, _PlainMappings(streams))

    def _read(self, pre: Tensor, h: Tensor) -> Tensor:
        return h.mean(dim=-2)

    def _merge(self, post: Tensor, res: Tensor, h: Tensor, y: Tensor) -> Tensor:
        return h + y.unsqueeze(-2)


class HyperConnection(StreamLayer):
    """HC (Eq. 5): every mapping is alpha * tanh(theta x~^T) + b, and nothing bounds it.

    `layer` is the layer's index: it starts by reading stream `layer` mod n, as in the HC paper.
    That tells the streams apart; if all were read alike, they would stay equal for ever and
    H_res would never get a gradient.  `dynamic=False` leaves the static b alone.

    Start: b_pre one-hot, b_post = 1, b_res = I, theta = 0.
    """

    def __init__(
        self, branch: Branch, width: int, streams: int = 4, *, layer: int = 0, dynamic: bool = True
    ) -> None:
        width, streams = whole_number("width", width, 1), whole_number("streams", streams, 1)
        mappings = _UnconstrainedMappings(width, streams, layer, dynamic)
        super().__init__(branch, width, streams, mappings)


class ManifoldHyperConnection(StreamLayer):
    """mHC (Eq. 7, 8): H_pre = sigmoid, H_post = 2 sigmoid, H_res = projection of the logits.

    `layer` is the layer's index; at the start nine tenths of what it reads come from stream
    `layer` mod n, which tells the streams apart.  `dynamic=False` leaves the static b alone.
    `projection` is any of `mhc_demo.PROJECTIONS` that is bounded and takes logits, with
    `iterations` >= 1 for those that iterate.

    `mixing` is the share of each row of H_res off its diagonal at the start.  It is not smaller,
    because the gradient of the logits is in proportion to it: a start that is all but the
    identity never leaves it, and a network that does not mix is stable without proving anything.
    (In the first layer after `expand_streams` the streams are still equal.  No row-stochastic
    H_res can alter that, and so the first one gets no gradient.)

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
    ) -> None:
        width, streams = whole_number("width", width, 1), whole_number("streams", streams, 1)
        mappings = _ManifoldMappings(width, streams, layer, dynamic, projection, iterations, mixing)
        super().__init__(branch, width, streams, mappings)


class _PlainMappings(nn.Module):
    """The constant mappings of the plain residual connection."""

    def __init__(self, streams: int) -> None:
        super().__init__()
        self.streams = streams

    def forward(self, h: Tensor) -> Mappings:
        ones = h.new_ones(self.streams)
        return ones / self.streams, ones, torch.diag(ones)


class _LearnedMappings(nn.Module):
    """Static parts b and gates alpha, in the order pre, post, res; subclasses do the rest."""

    def __init__(self, streams: int, layer: int, dynamic: bool) -> None:
        super().__init__()
        self.streams = streams
        self.layer = whole_number("layer", layer, 0)
        if not isinstance(dynamic, bool):
            raise TypeError(f"dynamic must be True or False, not {dynamic!r}")
        self.dynamic = dynamic
        self.b_pre = nn.Parameter(torch.empty(streams))
        self.b_post = nn.Parameter(torch.empty(streams))
        self.b_res = nn.Parameter(torch.empty(streams, streams))
        if dynamic:
            self.alpha = nn.Parameter(torch.empty(3))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Back to the start (also for parameters that were made on the device "meta")."""
        if self.dynamic:
            self.alpha.fill_(START_GATE)

    def undecayed(self) -> Iterator[nn.Parameter]:
        """What weight decay must leave alone: it would pull H_res from where it starts."""
        yield from (self.b_pre, self.b_post, self.b_res)
        if self.dynamic:
            yield self.alpha

    def extra_repr(self) -> str:
        return f"layer={self.layer}, dynamic={self.dynamic}"


class _UnconstrainedMappings(_LearnedMappings):
    """Eq. 5.  theta has shape (2 + n, C): a row for pre, one for post, n for res."""

    def __init__(self, width: int, streams: int, layer: int, dynamic: bool) -> None:
        super().__init__(streams, layer, dynamic)
        if dynamic:
            self.theta = nn.Parameter(torch.empty(2 + streams, width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.dynamic:
            self.theta.zero_()
        self.b_pre.zero_()[self.layer % self.streams] = 1.0
        self.b_post.fill_(1.0)
        nn.init.eye_(self.b_res)

    def forward(self, h: Tensor) -> Mappings:
        static = (self.b_pre, self.b_post, self.b_res)
        if not self.dynamic:
            pre, post, res = (b.to(h.dtype) for b in static)
            return pre, post, res
        inputs = (h, self.theta, self.alpha, *static)
        if layer_torch.fits(*inputs):
            return layer_torch.Unconstrained.apply(_unconstrained, (RMS_EPS,), *inputs)
        return _unconstrained(*inputs)


def _unconstrained(
    h: Tensor, theta: Tensor, alpha: Tensor, b_pre: Tensor, b_post: Tensor, b_res: Tensor
) -> Mappings:
    """Eq. 5."""
    # Entry (k, j) is theta_k . x~_j: in H_res, row k that is written and column j that is read.
    products = linear(h, theta.to(h.dtype)) * _reciprocal_rms(h)
    dynamic = torch.tanh(products).mT
    gates = alpha.to(h.dtype).unbind()
    return (
        torch.addcmul(b_pre.to(h.dtype), gates[0], dynamic[..., 0, :]),
        torch.addcmul(b_post.to(h.dtype), gates[1], dynamic[..., 1, :]),
        torch.addcmul(b_res.to(h.dtype), gates[2], dynamic[..., 2:, :]),
    )


class _ManifoldMappings(_LearnedMappings):
    """Eq. 7, 8.  phi lies transposed, shape (n + n + n^2, nC): rows for pre, for post, for res."""

    def __init__(
        self, width: int, streams: int, layer: int, dynamic: bool,
        projection: str, iterations: int, mixing: float
    ) -> None:  # fmt: skip
        super().__init__(streams, layer, dynamic)
        allowed = [p.name for p in PROJECTIONS.values() if p.bounded and p.takes_logits]
        if projection == "none":
            raise ValueError(
                f"projection must be one of {', '.join(map(repr, allowed))}, not 'none'; "
                "HyperConnection is the layer whose H_res nothing bounds"
            )
        self.projection = choice("projection", projection, allowed)
        PROJECTIONS[self.projection].check(streams)
        self.iterations = whole_number("iterations", iterations, 1)
        self.mixing = nonnegative("mixing", mixing)
        if not 0.0 < self.mixing < 1.0:
            raise ValueError(f"mixing must be between 0 and 1, both excluded, not {mixing}")
        if dynamic:
            self.phi = nn.Parameter(torch.empty(streams * (2 + streams), streams * width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.dynamic:
            self.phi.zero_()
        n = self.streams
        # A sigmoid cannot be 1, so at n = 1 a millionth is missing from what is read.
        read = START_READ if n > 1 else 1.0 - 1e-6
        self.b_pre.fill_(_logit((1.0 - read) / max(n - 1, 1)))
        self.b_pre[self.layer % n] = _logit(read)
        self.b_post.zero_()
        diagonal = _diagonal_logit(self.projection, self.iterations, n, self.mixing)
        nn.init.eye_(self.b_res).mul_(diagonal)

    def forward(self, h: Tensor) -> Mappings:
        static = (self.b_pre, self.b_post, self.b_res)
        if not self.dynamic:
            return self._bounded(*(b.to(h.dtype) for b in static))
        inputs = (h, self.phi, self.alpha, *static)
        if self.projection == "sinkhorn" and layer_torch.fits(*inputs):
            settings = RMS_EPS, self.iterations
            return layer_torch.Manifold.apply(self._specified, settings, *inputs)
        return self._specified(*inputs)

    def _specified(
        self, h: Tensor, phi: Tensor, alpha: Tensor, b_pre: Tensor, b_post: Tensor, b_res: Tensor
    ) -> Mappings:
        """Eq. 7 and 8."""
        n = self.streams
        x = h.flatten(-2)
        products = linear(x, phi.to(h.dtype)) * _reciprocal_rms(x)
        to_pre, to_post, to_res = products.split((n, n, n * n), dim=-1)
        gates = alpha.to(h.dtype).unbind()
        return self._bounded(
            torch.addcmul(b_pre.to(h.dtype), gates[0], to_pre),
            torch.addcmul(b_post.to(h.dtype), gates[1], to_post),
            torch.addcmul(b_res.to(h.dtype), gates[2], to_res.unflatten(-1, (n, n))),
        )

    def _bounded(self, pre: Tensor, post: Tensor, res: Tensor) -> Mappings:
        """Eq. 8."""
        res = projected(array_torch, PROJECTIONS[self.projection], res, self.iterations)
        return torch.sigmoid(pre), 2.0 * torch.sigmoid(post), res

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, projection={self.projection!r}, "
            f"iterations={self.iterations}, mixing={self.mixing:g}"
        )


def _reciprocal_rms(x: Tensor) -> Tensor:
    """1 / RMS of the last axis, shape (..., d) -> (..., 1).

    Applied to the product with theta or phi instead of to x (section 4.3.1 does the same): the
    result is equal, and no normalised copy of the streams is kept for the backward pass.  A
    weight of the norm is left out, for theta or phi would absorb it.
    """
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.rsqrt(length * length / x.shape[-1] + RMS_EPS)


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


@cache
def _diagonal_logit(projection: str, iterations: int, streams: int, mixing: float) -> float:
    """The diagonal d for which the projection of d I has `mixing` off the diagonal of each row.

    For Sinkhorn-Knopp it is ln((1 - m)(n - 1) / m).  Others differ (mHC-lite adds up n logits),
    so it is found by bisection.  0 where the projection knows no such d ("identity", n = 1).
    """
    eye = array_numpy.eye(streams)  # NumPy, because torch's default device may be "meta"

    def off_diagonal(logit: float) -> float:
        row = projected(array_numpy, PROJECTIONS[projection], logit * eye, iterations)[0]
        return float(row[1:].sum())

    low, high = -50.0, 50.0
    if off_diagonal(low) <= mixing:
        return 0.0
    for _ in range(64):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if off_diagonal(middle) > mixing else (low, middle)
    return 0.5 * (low + high)


def _outside_autocast(h: Tensor) -> AbstractContextManager:
    kind = h.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(device_type=kind, enabled=False)
    return nullcontext()


def _described(x: Any) -> str:
    return f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else repr(type(x).__name__)


# Recording


class RecordedMappings(Sequence[Tensor]):
    """H_res of each layer in the latest forward pass, in the order of the layers' first calls.

    Item l has shape (..., n, n), without token axes where it is static.  Detached copies, on
    the device where they were computed and in the dtype in which they were applied (float32, or
    float64).  See `record_mappings`.
    """

    def __init__(self) -> None:
        self._latest: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._latest)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        return list(self._latest.values())[index]

    def stack(self) -> Tensor:
        """All layers, shape (..., L, n, n), token axes broadcast, on the first layer's device.

        What `mhc_demo.compose` takes: composites token by token, whose gains Figure 3 averages.
        Raises ValueError if nothing was recorded, or if the layers differ in n or their token
        axes do not broadcast.
        """
        layers = self._recorded()
        try:
            tokens = torch.broadcast_shapes(*(each.shape[:-2] for each in layers))
        except RuntimeError:
            shapes = sorted({tuple(each.shape[:-2]) for each in layers})
            raise ValueError(
                f"the layers' token axes must broadcast to be stacked, not {shapes}; "
                "mean() averages over them first"
            ) from None
        return _stacked([each.expand(*tokens, *each.shape[-2:]) for each in layers])

    def mean(self) -> Tensor:
        """Each layer's mean over its tokens, shape (L, n, n): what Figure 8 shows.

        A product of these is not the mean of the products.  Raises ValueError as `stack`.
        """
        return _stacked([_over_tokens(each) for each in self._recorded()])

    def mixing(self) -> Tensor:
        """Mean sum of |entries| off the diagonal of a row, shape (L,).

        How much each layer mixes at all: stability that comes from not mixing proves nothing.
        """
        layers = [_over_tokens(each.abs()) for each in self._recorded()]
        masses = [(each.sum() - each.trace()) / each.shape[-1] for each in layers]
        return torch.stack([each.to(masses[0].device) for each in masses])

    def _recorded(self) -> list[Tensor]:
        if not self._latest:
            raise ValueError(
                "no mappings were recorded: call the model within `with record_mappings(model)`. "
                "(A model that torch.compile has compiled before does not notice.)"
            )
        return list(self._latest.values())


def _over_tokens(matrices: Tensor) -> Tensor:
    return matrices.flatten(0, -3).mean(dim=0) if matrices.ndim > 2 else matrices


def _stacked(layers: list[Tensor]) -> Tensor:
    sizes = sorted({each.shape[-1] for each in layers})
    if len(sizes) > 1:
        raise ValueError(f"the layers must have the same number of streams to stack, not {sizes}")
    return torch.stack([each.to(layers[0].device) for each in layers], dim=-3)


@contextmanager
def record_mappings(model: nn.Module) -> Iterator[RecordedMappings]:
    """Record the H_res that every layer of `model` applies, while the context is open.

    >>> model = nn.Sequential(*(Residual(nn.Identity(), 8) for _ in range(3)))
    >>> with record_mappings(model) as maps:
    ...     h = model(torch.ones(2, 4, 8))
    >>> maps.stack().shape
    torch.Size([3, 4, 4])

    A new call of `model` starts the record anew; of a layer called several times the latest call
    counts.  Recomputation during a backward pass is not recorded.  Contexts nest.

    Raises TypeError or ValueError if `model` is not a module or has none of our layers.
    """
    layers = [module for module in _modules(model) if isinstance(module, StreamLayer)]
    if not layers:
        raise ValueError(
            f"model has no Residual, HyperConnection or ManifoldHyperConnection layer to record: "
            f"{type(model).__name__}"
        )
    record = RecordedMappings()
    latest = record._latest

    def start(module: nn.Module, args: Any) -> None:
        if not _in_backward():
            latest.clear()

    def keep(mappings: nn.Module, args: Any, output: Mappings) -> None:
        if not _in_backward():
            # A copy: a static H_res is the parameter itself, which the optimiser overwrites.
            latest[id(mappings)] = output[2].detach().clone()

    handles = [model.register_forward_pre_hook(start)]
    try:
        handles += [layer.mappings.register_forward_hook(keep) for layer in layers]
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _modules(model: nn.Module) -> Iterator[nn.Module]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    return model.modules()


def _in_backward() -> bool:
    # How torch.utils.checkpoint itself asks; the compiler traces forward passes only.
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


# Training


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: all else with `weight_decay`, our b and alpha with none.

    Weight decay on the static mappings pulls HC's H_res from the identity to zero.  theta and
    phi are ordinary weights: at zero they leave the static mappings alone.  Each trainable
    parameter is in one group, once.

    >>> optimiser = torch.optim.AdamW(parameter_groups(HyperConnection(nn.Identity(), 8), 0.1))
    """
    weight_decay = nonnegative("weight_decay", weight_decay)
    spared = {
        id(parameter)
        for module in _modules(model)
        if isinstance(module, _LearnedMappings)
        for parameter in module.undecayed()
    }
    groups = defaultdict[bool, list[nn.Parameter]](list)
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[id(parameter) in spared].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]


# Recomputation


class Recomputed(nn.ModuleList):
    """A sequence of our layers that stores one block's input instead of every layer's.

    Of each block the forward pass keeps the input, nC per token, and of each layer the branch's
    output, C (section 4.3.2, Table 3).  The backward pass computes mappings and mixing once more,
    block by block, but no branch: a branch runs once and keeps for its own backward pass
    whatever it saves, its input included.  So dropout is drawn once.

    `block` is the number of layers in a block, by default `best_recompute_block`.  Further
    arguments of the call go on to each layer, so to its branch.  The parameters have the names
    that they have in an `nn.Sequential` of the same layers.

    Within torch.compile, which allows no such bookkeeping, a block is checkpointed as a whole
    and its branches do run again.
    """

    def __init__(self, layers: Iterable[nn.Module] = (), block: int | None = None) -> None:
        layers = list(layers)
        for index, layer in enumerate(layers):
            if not isinstance(layer, StreamLayer):
                raise TypeError(
                    f"layers must be Residual, HyperConnection or ManifoldHyperConnection, but "
                    f"number {index} is {type(layer).__name__}"
                )
        super().__init__(layers)
        self.block = None if block is None else whole_number("block", block, 1)

    def forward(self, h: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """All layers one after the other, shape (..., n, C) -> (..., n, C)."""
        layers: list[Any] = list(self)
        if not layers:
            return h
        size = self.block or best_recompute_block(len(layers), layers[0].streams)
        for start in range(0, len(layers), size):
            block = _Block(layers[start : start + size], args, kwargs)
            if not torch.is_grad_enabled():
                h = block.plain(h)
            elif torch.compiler.is_compiling():
                h = checkpoint(block.plain, h, use_reentrant=False)
            else:
                h = checkpoint(block, h, use_reentrant=False)
        return h


class _Block:
    """One block in one forward pass.

    Its first run keeps what the branches return.  `checkpoint` runs it again in each backward
    pass, and then that is handed out in their stead.  Layers run as modules, so that their hooks
    work; they find the block by `_RUNNING_BLOCK`.
    """

    def __init__(self, layers: list[Any], args: tuple, kwargs: dict[str, Any]) -> None:
        self.layers, self.args, self.kwargs = layers, args, kwargs
        self.kept: list[tuple[_Packed, bool]] = []
        self.again: Iterator[tuple[_Packed, bool]] | None = None

    def plain(self, h: Tensor) -> Tensor:
        for layer in self.layers:
            h = layer(h, *self.args, **self.kwargs)
        return h

    def __call__(self, h: Tensor) -> Tensor:
        with _running(self):
            try:
                return self.plain(h)
            finally:
                self.again = iter(self.kept)

    def branch_output(self, branch: Branch, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.again is not None:
            packed, differentiable = next(self.again)
            return _unpack(packed).detach().requires_grad_(differentiable)
        # The branch's own saved tensors are its own affair, and no layer in it is ours to keep.
        with _running(None), torch.autograd.graph.saved_tensors_hooks(_pack, _unpack):
            y = branch(x, *args, **kwargs)
        # Cut off from its history: a saved tensor that holds on to the graph is never freed.
        self.kept.append((_pack(y), y.requires_grad))
        return y


_RUNNING_BLOCK: ContextVar[_Block | None] = ContextVar("running block", default=None)


@contextmanager
def _running(block: _Block | None) -> Iterator[None]:
    token = _RUNNING_BLOCK.set(block)
    try:
        yield
    finally:
        _RUNNING_BLOCK.reset(token)


_Packed = tuple[Tensor, int | None]
"""A tensor that is kept for the backward pass, and the version it had."""


def _pack(saved: Tensor) -> _Packed:
    # A compiled branch compiles this hook with it, and the version would become a constant.
    return saved.detach(), None if torch.compiler.is_compiling() else saved._version


def _unpack(packed: _Packed) -> Tensor:
    # Autograd makes this check itself, but not for tensors that pass through hooks.
    kept, version = packed
    if version is not None and kept._version != version:
        raise RuntimeError(
            f"a tensor of shape {tuple(kept.shape)} that a branch saved or returned, and that the "
            "backward pass needs, was modified in place since"
        )
    return kept

"""What a recording holds: the mappings of every layer, and what the layers did to the streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from .adapters import Seen, Site


@dataclass(frozen=True, eq=False)
class StreamStatistics:
    """What one layer finds in the n streams, and what it does with them; means over the tokens."""

    norm: Tensor
    """The 2-norm of each stream, (n,)."""
    cosine: Tensor
    """The cosine between each two streams, (n, n): 1 everywhere if all are alike."""
    read: Tensor | None
    """The share of each stream in what the layer reads, (n,): |H_pre_i| times the norm of stream i.
    None if the family has no H_pre."""
    write: Tensor | None
    """The share of what the layer writes that goes to each stream, (n,): |H_post_i|."""
    tokens: int
    """How many tokens they are the means of."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer's mappings, detached copies; those that are static have no token axes."""

    name: str
    family: str
    res: Tensor
    pre: Tensor | None
    post: Tensor | None
    streams: StreamStatistics | None
    logits: Tensor | None


class RecordedMappings(Sequence[Tensor]):
    """The mappings of each layer in the latest forward pass, in the order of the first calls.

    As a sequence it is H_res: item l has shape (..., n, n), without token axes if it is static.
    It is the matrix that acts, new = H_res @ old, whatever a model keeps.  The tensors are
    detached copies, on the device where they were computed and in the dtype in which they were
    applied.  `mhc_demo.compose`, `amax_gain` and the like take the recording itself.  See
    `record_mappings`.
    """

    def __init__(self, sites: Sequence[Site], *, every_call: bool, accumulate: bool) -> None:
        self._sites = sites
        self._every_call, self._accumulate = every_call, accumulate
        self._batches: list[dict[tuple[int, int], Layer]] = []
        self._counts: dict[int, int] = {}
        self._joined: dict[tuple[int, int], Layer] | None = None

    # How it is filled.

    def _begin(self) -> None:
        if not self._accumulate:
            self._batches.clear()
        self._batches.append({})
        self._counts.clear()
        self._joined = None

    def _keep(self, index: int, seen: Seen, statistics: bool, logits: bool) -> None:
        if not self._batches:  # layers that are called without the model
            self._begin()
        self._joined = None
        call = self._counts.get(index, 0)
        self._counts[index] = call + 1
        call = call if self._every_call else 0
        site = self._sites[index]
        self._batches[-1][index, call] = Layer(
            site.name if not call else f"{site.name} ({call + 1})",
            site.family,
            _copy(seen.res),
            None if seen.pre is None else _copy(seen.pre),
            None if seen.post is None else _copy(seen.post),
            _statistics(site.name, seen) if statistics else None,
            _copy(seen.logits()) if logits and seen.logits is not None else None,
        )

    # How it is read.

    def __len__(self) -> int:
        return len(self._layers())

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        return self.H_res[index]

    @property
    def names(self) -> list[str]:
        """The layers' module paths; the second call of a module ends in " (2)"."""
        return [each.name for each in self._layers()]

    @property
    def H_res(self) -> list[Tensor]:  # noqa: N802
        """The residual mappings, each (..., n, n): the items of the sequence."""
        return [each.res for each in self._layers()]

    @property
    def H_pre(self) -> list[Tensor | None]:  # noqa: N802
        """With which weights each layer reads the streams, (..., n); None if there are none."""
        return [each.pre for each in self._layers()]

    @property
    def H_post(self) -> list[Tensor | None]:  # noqa: N802
        """With which weights each layer writes to the streams, (..., n); None if there are none."""
        return [each.post for each in self._layers()]

    @property
    def streams(self) -> list[StreamStatistics] | None:
        """Statistics of the streams that each layer is given; None unless they were asked for."""
        found = [each.streams for each in self._layers() if each.streams is not None]
        return found or None

    @property
    def logits(self) -> list[Tensor | None]:
        """What each H_res is the projection of, (..., n, n), in the same orientation.

        None for layers that do not project, and unless they were asked for.
        """
        return [each.logits for each in self._layers()]

    @property
    def families(self) -> list[str]:
        """The family of each layer, a name in `mhc_demo.nn.adapters.FAMILIES` or "pattern"."""
        return [each.family for each in self._layers()]

    @property
    def family(self) -> str:
        """The model's family; several are joined by " + "."""
        return " + ".join(dict.fromkeys(each.family for each in self._sites))

    @property
    def mixes(self) -> bool:
        """False for a model whose layers never mix the streams: their H_res is the identity."""
        return any(each.mixes for each in self._sites)

    @property
    def remarks(self) -> list[str]:
        """What a reader should know of the model's layers, in sentences; mostly nothing."""
        return list(dict.fromkeys(each.remark for each in self._sites if each.remark))

    @property
    def batches(self) -> int:
        """How many calls of the model are in the record."""
        return sum(1 for each in self._batches if each)

    @property
    def tokens(self) -> int:
        """How many tokens the record has a matrix of; 1 if all mappings are static."""
        return max((each.res.shape[:-2].numel() for each in self._layers()), default=0)

    @property
    def calls(self) -> list[int]:
        """How often each layer was called in the latest call of the model."""
        return [self._counts.get(index, 0) for index, _ in self._merged()]

    def stack(self) -> Tensor:
        """All layers, shape (..., L, n, n), token axes broadcast, on the first layer's device.

        `mhc_demo.compose` turns them into composites for each token; Figure 3 averages the gains
        of those.  Raises ValueError if nothing was recorded, if the layers differ in n, or if
        their token axes do not broadcast.
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
        """Each layer's mean over its tokens, shape (L, n, n), as in Figure 8.

        A product of these is not the mean of the products.  Raises ValueError as `stack` does.
        """
        return _stacked([_over_tokens(each) for each in self._recorded()])

    def mixing(self) -> Tensor:
        """For each layer, the mean over rows of the sum of |entries| off the diagonal, shape (L,).

        It says whether a layer mixes at all: a network that does not mix proves nothing by being
        stable.
        """
        layers = [_over_tokens(each.abs()) for each in self._recorded()]
        masses = [(each.sum() - each.trace()) / each.shape[-1] for each in layers]
        return torch.stack([each.to(masses[0].device) for each in masses])

    def __mhc_layers__(self) -> Tensor:
        """`stack`, for functions that take an array of layers (`mhc_demo.compose`).

        Raises ValueError also if a layer was called more than once and only its latest call is
        here: the product would lack the others.
        """
        layers = self.stack()
        for name, calls in zip(self.names, self.calls, strict=True):
            if calls > 1 and not self._every_call:
                raise ValueError(
                    f"the layer {name!r} was called {calls} times and the record has its latest "
                    "call alone: record_mappings(model, every_call=True) keeps each"
                )
        return layers

    def _recorded(self) -> list[Tensor]:
        layers = self.H_res
        if not layers:
            raise ValueError(
                "no mappings were recorded: call the model within `with record_mappings(model)`. "
                "(Code that torch.compile or torch.export has compiled before and that runs on its "
                "own does not notice.)"
            )
        return layers

    def _layers(self) -> list[Layer]:
        return list(self._merged().values())

    def _merged(self) -> dict[tuple[int, int], Layer]:
        """The latest call of the model, or all of them one after the other."""
        if len(self._batches) < 2:
            return self._batches[0] if self._batches else {}
        if self._joined is None:
            layers: dict[tuple[int, int], list[Layer]] = {}
            for batch in self._batches:
                for key, each in batch.items():
                    layers.setdefault(key, []).append(each)
            self._joined = {key: _joined(each) for key, each in layers.items()}
        return self._joined


def _copy(tensor: Tensor) -> Tensor:
    # A copy, because a static mapping is the parameter, which the optimiser overwrites, and because
    # a part of a tensor keeps the whole alive.
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # a DTensor
    return whole.detach().clone(memory_format=torch.contiguous_format)


def _statistics(name: str, seen: Seen) -> StreamStatistics:
    if seen.streams is None:
        raise ValueError(
            f"the layer {name!r} does not show its streams, so that there are no statistics of "
            "them: record it without streams=True"
        )
    h = seen.streams.detach()
    h = h.to(torch.promote_types(h.dtype, torch.float32)).reshape(-1, *h.shape[-2:])
    norms = torch.linalg.vector_norm(h, dim=-1)  # (tokens, n)
    unit = h / norms.clamp_min(torch.finfo(h.dtype).tiny).unsqueeze(-1)
    return StreamStatistics(
        norm=norms.mean(0),
        cosine=(unit @ unit.mT).mean(0),
        read=None if seen.pre is None else _shares(seen.pre, norms),
        write=None if seen.post is None else _shares(seen.post, torch.ones_like(norms)),
        tokens=len(h),
    )


def _shares(weights: Tensor, norms: Tensor) -> Tensor:
    """Mean shares of weights (..., n) or (n,) times norms (tokens, n), (n,); 0 if all are 0."""
    parts = (weights.detach().to(norms.dtype).reshape(-1, norms.shape[-1]) * norms).abs()
    total = parts.sum(-1, keepdim=True)
    return (parts / total.clamp_min(torch.finfo(parts.dtype).tiny)).mean(0)


def _joined(calls: list[Layer]) -> Layer:
    """One layer's calls, one after the other along a single token axis."""
    if len(calls) == 1:
        return calls[0]
    found = [each.streams for each in calls if each.streams is not None]
    return replace(
        calls[-1],
        res=_concatenated([each.res for each in calls], 2),
        pre=_concatenated_or_none([each.pre for each in calls], 1),
        post=_concatenated_or_none([each.post for each in calls], 1),
        streams=_averaged(found) if found else None,
        logits=_concatenated_or_none([each.logits for each in calls], 2),
    )


def _concatenated(parts: list[Tensor], axes: int) -> Tensor:
    """`parts` along one token axis; the last of them if they are static, with `axes` axes."""
    if all(each.ndim == axes for each in parts):
        return parts[-1]
    return torch.cat([each.reshape(-1, *each.shape[-axes:]) for each in parts])


def _concatenated_or_none(parts: list[Tensor | None], axes: int) -> Tensor | None:
    there = [each for each in parts if each is not None]
    return _concatenated(there, axes) if there else None


def _averaged(parts: list[StreamStatistics]) -> StreamStatistics:
    total = sum(each.tokens for each in parts)

    def mean(name: str) -> Tensor | None:
        values = [(getattr(each, name), each.tokens / total) for each in parts]
        return None if values[0][0] is None else sum(value * share for value, share in values)

    norm, cosine = mean("norm"), mean("cosine")
    assert norm is not None
    assert cosine is not None
    return StreamStatistics(norm, cosine, mean("read"), mean("write"), total)


def _over_tokens(matrices: Tensor) -> Tensor:
    return matrices.flatten(0, -3).mean(dim=0) if matrices.ndim > 2 else matrices


def _stacked(layers: list[Tensor]) -> Tensor:
    sizes = sorted({each.shape[-1] for each in layers})
    if len(sizes) > 1:
        raise ValueError(f"the layers must have the same number of streams to stack, not {sizes}")
    kind = layers[0].dtype
    for each in layers:
        kind = torch.promote_types(kind, each.dtype)
    return torch.stack([each.to(layers[0].device, kind) for each in layers], dim=-3)

"""Measures everything that the checks look at, in a few runs of the model.

One run records the mappings and the streams.  One with a graph gives the derivatives: H_res + 0 in
place of H_res, the 0 being a variable.  And one for each layer replaces its H_res by H_res + D, D
random, and looks what becomes of the next layer's streams and of the output: whether a matrix that
a model computes is also the one that it applies can be seen in no record of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...nn.adapters import Seen, Site
from .decaying import decays
from .examination import Examination, Layer, Response
from .measures import energy, relative, rms, spread
from .running import SEED, Call, Runs, default_loss, floating

Loss = Callable[[Any], Tensor]

TOKENS = 64
"""Of how many tokens the streams are kept, evenly apart: of all, they would fill the memory of a
large model once for each layer."""

DIRECTIONS = 4
"""In how many random directions H_res is differentiated: with one, 3 x 3 matrices and smaller ones
can look like what they are not."""


def examine(
    model: nn.Module,
    inputs: Any,
    sites: list[Site],
    loss: Loss | None = None,
    optimiser: torch.optim.Optimizer | Iterable[Mapping[str, Any]] | None = None,
) -> Examination:
    """Run `model` on `inputs` and measure it.

    Raises ValueError if no layer was called, or if a loss is no number.
    """
    runs = Runs(model, inputs, sites)
    seen: dict[Call, Seen] = {}
    layers: dict[Call, Layer] = {}

    def keep(call: Call, each: Seen) -> None:
        seen[call] = _copied(each)
        layers[call] = _layer(call, each, sites[call[0]])

    output = runs.plain(keep)
    if not seen:
        raise ValueError(
            f"{type(model).__name__} calls none of its {len(sites)} layers on these inputs"
        )
    trainable = any(each.requires_grad for each in model.parameters())
    remarks = tuple(dict.fromkeys(each.remark for each in sites if each.remark))
    slope = None
    if all(_finite(each) for each in layers.values()):
        if trainable:
            layers, slope = _derivatives(runs, layers, loss or default_loss)
        for call, response in _responses(runs, seen, output).items():
            layers[call] = replace(layers[call], response=response)
        if optimiser is not None:
            for call, decay in decays(runs, seen, layers, optimiser).items():
                layers[call] = replace(layers[call], decay=decay)
    return Examination(
        type(getattr(model, "_orig_mod", model)).__name__,  # that of a compiled model
        tuple(layers.values()),
        trainable,
        slope,
        optimiser is not None,
        remarks,
    )


def _copied(seen: Seen) -> Seen:
    """H_res, and the streams of some tokens, (tokens, n, C)."""
    streams = seen.streams
    if streams is not None:
        streams = streams.detach().reshape(-1, *streams.shape[-2:])
        streams = streams[:: max(1, -(-len(streams) // TOKENS))].clone()
    return Seen(seen.res.detach().clone(), streams=streams)


def _layer(call: Call, seen: Seen, site: Site) -> Layer:
    _, number = call
    n = seen.res.shape[-1]

    def tokens(x: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
        return None if x is None else x.cpu().double().reshape(-1, *shape)

    return Layer(
        site.name if not number else f"{site.name} ({number + 1})",
        site.family,
        tokens(seen.res, (n, n)),  # type: ignore[arg-type]
        tokens(seen.pre, (n,)),
        tokens(seen.post, (n,)),
        site.doubly_stochastic,
        site.iterations,
        _span(seen),
        site.mixes,
        None if seen.streams is None else spread(seen.streams),
        None if seen.streams is None else energy(seen.streams),
    )


def _span(seen: Seen) -> float | None:
    if seen.logits is None:
        return None
    logits = seen.logits().flatten(-2)
    return float((logits.amax(-1) - logits.amin(-1)).max())


def _finite(layer: Layer) -> bool:
    parts = [x for x in (layer.H_res, layer.H_pre, layer.H_post) if x is not None]
    return all(bool(x.isfinite().all()) for x in parts)


def _random(n: int, like: Tensor, seed: int = SEED) -> Tensor:
    """D: n x n normal numbers, the same in every run."""
    D = torch.randn(n, n, generator=torch.Generator().manual_seed(seed))
    return D.to(device=like.device, dtype=like.dtype)


def _responses(runs: Runs, seen: Mapping[Call, Seen], output: Any) -> dict[Call, Response]:
    calls = list(seen)
    again: dict[Call, Seen] = {}
    repeated = runs.altered(lambda call, each: None, lambda call, each: None)
    noise = _change(repeated, output)
    responses = {}
    for call, following in zip(calls, [*calls[1:], None], strict=True):
        site = runs.sites[call[0]]
        if site.alter is None or not site.mixes:
            continue

        def change(at: Call, each: Seen, call: Call = call) -> Tensor | None:
            return each.res + _random(each.res.shape[-1], each.res) if at == call else None

        def keep(at: Call, each: Seen, following: Call | None = following) -> None:
            if at == following:
                again[at] = _copied(each)

        answer = Response(_change(runs.altered(change, keep), output), noise)
        if following is not None and following in again:
            answer = _compared(answer, seen[call], seen[following], again[following])
        responses[call] = answer
    return responses


def _change(after: Any, before: Any) -> float:
    pairs = list(zip(floating(after), floating(before), strict=True))
    size = sum(rms((a - b).detach()) ** 2 * a.numel() for a, b in pairs) ** 0.5
    scale = sum(rms(b.detach()) ** 2 * b.numel() for _, b in pairs) ** 0.5
    return size / scale if scale else (float("inf") if size else 0.0)


def _compared(answer: Response, given: Seen, before: Seen, after: Seen) -> Response:
    """The change of the next streams beside D x and D^T x, if these are known and comparable."""
    x, y, z = given.streams, before.streams, after.streams
    if x is None or y is None or z is None or x.shape != y.shape or not x.any():
        return answer
    x = x.double()
    moved = z.double() - y.double()
    D = _random(x.shape[-2], given.res).double()
    expected, transposed = D @ x, D.mT @ x
    return replace(
        answer,
        size=relative(moved, expected),
        as_recorded=relative(moved - expected, expected),
        transposed=relative(moved - transposed, transposed),
        unlike=spread(moved),
    )


def _derivatives(
    runs: Runs, layers: dict[Call, Layer], loss: Loss
) -> tuple[dict[Call, Layer], float | None]:
    """The layers with their derivatives, and the largest of the loss by any parameter."""
    matrices: dict[Call, Tensor] = {}
    variables: dict[Call, Tensor] = {}

    def change(call: Call, seen: Seen) -> Tensor:
        zero = torch.zeros_like(seen.res, requires_grad=True)
        if call not in matrices and call in layers:  # else it is recomputation
            matrices[call], variables[call] = seen.res, zero
        return seen.res + zero

    with runs.changing(change) as output:
        value = _number(loss(output))
        slope, slopes, felt = None, {}, set()
        if value.requires_grad:
            weights = [each for each in runs.model.parameters() if each.requires_grad]
            found = _gradients(value, [*weights, *variables.values()])
            slope = max((float(x.abs().max()) for x in found if x is not None), default=0.0)
            slopes = dict(zip(variables, found[len(weights) :], strict=True))
            pairs = zip(weights, found, strict=False)
            felt = {id(each) for each, x in pairs if x is not None and bool(x.any())}
        changed = dict(layers)
        for call, H in matrices.items():
            n = H.shape[-1]
            flat = slopes.get(call)
            changed[call] = replace(
                _through(runs, call, layers[call], H, flat),
                felt=any(id(p) in felt for p in runs.sites[call[0]].module.parameters()),
                slope=None if flat is None else flat.detach().cpu().double().reshape(-1, n, n),
            )
    return changed, slope


def _number(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"{tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss must return a tensor with one number, not {what}")
    return value.reshape(())


def _gradients(
    of: Tensor, by: Sequence[Tensor], weight: Tensor | None = None
) -> list[Tensor | None]:
    found = torch.autograd.grad(of, by, weight, retain_graph=True, allow_unused=True)
    return [None if each is None else each.detach() for each in found]


def _through(runs: Runs, call: Call, layer: Layer, H: Tensor, slope: Tensor | None) -> Layer:
    """The layer with derivatives of H_res by the parameters behind it, and the gradients there."""
    parameters = _parameters(runs, call)
    if not H.requires_grad or not parameters:
        return replace(layer, sensitivity={})
    n = H.shape[-1]
    directions = [_random(n, H, seed) for seed in range(DIRECTIONS)]
    by: dict[str, Tensor] = {}
    for W in directions:
        weight = (W / (H.numel() // (n * n))).expand(H.shape)  # the mean over tokens of <W, H_res>
        found = _gradients(H, list(parameters.values()), weight)
        for name, each in zip(parameters, found, strict=True):
            if each is not None:
                by[name] = torch.cat([by[name], each[None]]) if name in by else each[None]
    reached = []
    if slope is not None and by:
        reached = _gradients(H, [parameters[name] for name in by], slope)
    return replace(
        layer,
        sensitivity={name: float(each.abs().max()) for name, each in by.items()},
        gradient=max((float(x.abs().max()) for x in reached if x is not None), default=None),
        softmax=_likeness(by.values(), layer.H_res, torch.stack(directions).cpu().double()),
    )


def _likeness(gradients: Iterable[Tensor], H: Tensor, W: Tensor) -> tuple[float, float] | None:
    """`Layer.softmax`, from gradients of <W, H_res>, (directions, ...), W being (directions, n, n).

    The derivative of a softmax is a function of its result, so the logits need not be known.
    """
    n = H.shape[-1]
    blocks = [block for each in gradients for block in _logits(each.cpu().double(), n)]
    found = [each for each in blocks if bool(each.any())]
    cosines = []
    for axis in (-1, -2):
        products = (W[:, None] * H).sum(axis, keepdim=True)
        expected = (H * (W[:, None] - products)).mean(1)
        if not found or not expected.any():
            return None
        # A model may keep the transpose of what acts.
        likeness = [_cosine(each, expected) for block in found for each in (block, block.mT)]
        cosines.append(max(likeness))
    return cosines[0], cosines[1]


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def _logits(gradient: Tensor, n: int) -> list[Tensor]:
    """Those n x n numbers of a static parameter that are logits of H_res: the last, or columns."""
    if not n * n <= gradient[0].numel() <= n * (n + 2):
        return []
    if gradient.ndim == 3 and gradient.shape[1] == n:
        return [gradient[..., -n:]]
    return [gradient.flatten(1)[:, -n * n :].unflatten(1, (n, n))]


def _parameters(runs: Runs, call: Call) -> dict[str, nn.Parameter]:
    """Trainable parameters of the layer's module; of the whole model if it has none."""
    site = runs.sites[call[0]]
    found = {name: p for name, p in site.module.named_parameters() if p.requires_grad}
    if not any(True for _ in site.module.parameters()):
        found = {name: p for name, p in runs.model.named_parameters() if p.requires_grad}
    return found

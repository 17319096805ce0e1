"""The package hyper-connections: its HC, mHC and mHCv2.

Its mixing is a sum over the first of two stream axes, so what acts is the transpose.  HC computes
its mappings between two lines of one function, with no module to hook but the norm before them;
from the norm's output they are computed again, which is cheap.  mHC's Sinkhorn iterations are not:
they are a function that the layer keeps in the attribute `residual_mix_constraint_fn`, in whose
place a recorder steps.  In HC and mHC the streams are in the batch axis, in mHCv2 next to last;
the norm sees them split off in all three.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...numerics._torch import in_backward
from .site import Change, Handle, Keep, Seen, Site, family, has, is_named


@family("hyper-connections", "HyperConnections")
def find(path: str, module: nn.Module) -> Site | None:
    """A class whose name ends in HyperConnections, with static and dynamic alpha."""
    if not (is_named(module, "HyperConnections") and has(module, "static_alpha", "norm")):
        return None
    check_layout(path, module)
    mhc = hasattr(module, "residual_mix_constraint_fn")

    def attach(keep: Keep) -> list[Handle]:
        return _attach_mhc(module, keep) if mhc else _attach_hc(module, keep)

    second = hasattr(module, "maybe_mix_streams")

    def alter(change: Change) -> list[Handle]:
        return _alter_second(module, change) if second else _alter(module, change)

    options = getattr(module.residual_mix_constraint_fn, "keywords", {}) if mhc else {}
    return Site(
        path,
        "hyper-connections",
        module,
        attach,
        alter=alter,
        doubly_stochastic=_doubly_stochastic(module) if mhc else False,
        iterations=options.get("iters"),
    )


def _doubly_stochastic(module: Any) -> bool | None:
    """Whether H_res is; None if the constraint is another function than the package's own."""
    function = getattr(module.residual_mix_constraint_fn, "func", None)
    return True if "sinkhorn" in getattr(function, "__name__", "") else None


def check_layout(path: str, module: Any) -> None:
    """ValueError for the layers whose mappings are not n x n matrices, or are kept elsewhere."""
    where = f"the layer {path!r}" if path else "the layer"
    if getattr(module, "num_fracs", 0) != 1 or not isinstance(
        getattr(module, "dynamic_alpha_fn", None), nn.Parameter
    ):
        fractions = getattr(module, "num_fracs", None)
        what = f"has num_fracs={fractions}" if fractions else "is a variant with other parameters"
        raise ValueError(
            f"{where}, a {type(module).__module__}.{type(module).__qualname__}, {what}: of "
            "hyper-connections, HC, mHC and mHCv2 are understood, with num_fracs=1"
        )


def _attach_hc(layer: Any, keep: Keep) -> list[Handle]:
    views = layer.num_input_views

    def hook(norm: nn.Module, args: tuple, normed: Tensor) -> None:
        if in_backward():
            return
        with torch.no_grad():
            products = layer.act(normed @ layer.dynamic_alpha_fn)
            alpha = (products * layer.dynamic_alpha_scale + layer.static_alpha).squeeze(-3)
            post = None
            if layer.add_branch_out_to_residual:
                products = layer.act(normed @ layer.dynamic_beta_fn)
                post = (products * layer.dynamic_beta_scale + layer.static_beta).squeeze(-2)
            pre = alpha[..., 0] if views == 1 else None
            streams = args[0].squeeze(-3)
            keep(Seen(res=alpha[..., views:].mT, pre=pre, post=post, streams=streams))

    return [layer.norm.register_forward_hook(hook)]


def _attach_mhc(layer: Any, keep: Keep) -> list[Handle]:
    second = hasattr(layer, "maybe_mix_streams")  # mHCv2
    fraction = -2 if second else -3
    seen: dict[str, Any] = {}

    def on_norm(norm: nn.Module, args: tuple, normed: Tensor) -> None:
        if in_backward():
            return
        with torch.no_grad():
            x = normed.float()
            streams: Tensor | None = args[0].squeeze(fraction)
            if second and layer.maybe_mix_streams is not None:
                streams = None  # the norm sees a mixture of them
            seen.update(pre=_reading(layer, x.squeeze(fraction)), streams=streams, post=None)
            if layer.add_branch_out_to_residual:
                seen["post"] = _writing(layer, x.squeeze(fraction))

    def oriented(proposals: Tensor) -> Tensor:
        mean = proposals.mean(0)
        return (mean if second else mean.squeeze(-3)).mT

    def on_constraint(given: Tensor, res: Tensor) -> None:
        if in_backward() or not seen:
            return
        # The mean of several projections is not the projection of any logits.
        logits = partial(oriented, given) if len(given) == 1 else None
        with torch.no_grad():
            keep(Seen(res=oriented(res), logits=logits, **seen))
        seen.clear()

    return [layer.norm.register_forward_hook(on_norm), _Listener(layer, on_constraint)]


def _alter(layer: Any, change: Change) -> list[Handle]:
    """In HC and mHC alpha is split into fractions before it is applied, first after the norm."""
    views = layer.num_input_views
    given: list[Tensor] = []

    def on_norm(norm: nn.Module, args: tuple, normed: Tensor) -> None:
        given[:] = [args[0].squeeze(-3)]

    def on_split(split: nn.Module, args: tuple, alpha: Tensor) -> Tensor | None:
        if not given:
            return None
        streams = given.pop()
        with torch.enable_grad():
            weights = alpha[..., 0, :, 0, :]  # both fraction axes are 1
            new = change(Seen(res=weights[..., views:].mT, streams=streams))
            if new is None:
                return None
            altered = torch.cat((weights[..., :views], new.mT), dim=-1)
            return altered.unsqueeze(-2).unsqueeze(-4)

    return [
        layer.norm.register_forward_hook(on_norm),
        layer.split_fracs.register_forward_hook(on_split),
    ]


def _alter_second(layer: Any, change: Change) -> list[Handle]:
    """In mHCv2 the constraint's results are averaged over the proposals and applied as they are."""
    given: list[Tensor | None] = []

    def on_norm(norm: nn.Module, args: tuple, normed: Tensor) -> None:
        given[:] = [args[0].squeeze(-2) if layer.maybe_mix_streams is None else None]

    def on_constraint(logits: Tensor, res: Tensor) -> Tensor | None:
        if not given:
            return None
        streams = given.pop()
        with torch.enable_grad():
            mean = res.mean(0)
            new = change(Seen(res=mean.mT, streams=streams))
            return None if new is None else res + (new.mT - mean)

    return [layer.norm.register_forward_hook(on_norm), _Listener(layer, on_constraint)]


def _reading(layer: Any, x: Tensor) -> Tensor | None:
    if layer.num_input_views != 1:
        return None
    products = torch.einsum("...d,pd->p...", x, layer.dynamic_alpha_fn[..., 0].float())
    scale = layer.pre_branch_scale.float()
    return torch.sigmoid(products * scale + layer.static_alpha[:, 0].float()).mean(0)


def _writing(layer: Any, x: Tensor) -> Tensor:
    products = x @ layer.dynamic_beta_fn.float().flatten()
    return 2 * torch.sigmoid(products * layer.h_post_scale + layer.static_beta.float().flatten())


class _Listener:
    """Stands in for a layer's `residual_mix_constraint_fn`, calls it, and passes its result on.

    If `tell` returns a tensor, that is passed on in its place.
    """

    def __init__(self, layer: Any, tell: Callable[[Any, Any], Tensor | None]) -> None:
        self.layer, self.tell = layer, tell
        self.original = layer.residual_mix_constraint_fn
        if isinstance(self.original, nn.Module):
            self.handle = self.original.register_forward_hook(
                lambda m, args, out: tell(args[0], out)
            )
        else:
            self.listening = True
            layer.residual_mix_constraint_fn = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.original(*args, **kwargs)
        told = self.tell(args[0], result) if self.listening else None
        return result if told is None else told

    def remove(self) -> None:
        """Put the function back."""
        if isinstance(self.original, nn.Module):
            self.handle.remove()
            return
        self.listening = False  # whoever came later may still call it
        if self.layer.residual_mix_constraint_fn is self:
            self.layer.residual_mix_constraint_fn = self.original

"""No gradient reaches H_res: it was detached, computed without a graph, or is no parameter."""

from __future__ import annotations

from collections.abc import Iterator

from ..examination import Examination, Layer
from ..findings import Finding
from ..registry import CannotTellError, Check, Found, check, mixing_layers, plain
from .not_applied import idle

IDENTITY = 1e-6
"""H_res is the identity if no entry is further from it.  float32 rounds a row sum of 1 by 1e-7, and
eps = 1e-6 of DeepSeek's iteration is the most that implementations add."""


@check(
    "no_gradient",
    "No gradient reaches H_res",
    "Let autograd see how H_res is computed and applied: remove detach(), no_grad() or a "
    "conversion to numbers on the way, and make its logits an nn.Parameter that requires a "
    "gradient.",
)
def no_gradient(examination: Examination, check: Check) -> Found:
    """Measures: derivatives of H_res by the layer's parameters, and of the loss by H_res.

    Threshold: none, for what is cut off has a derivative of exactly 0 or none at all.  (a) H_res
    depends on no trainable parameter and is not the identity (by more than `IDENTITY`): a mistake,
    or only worth a look where no token and no layer has another H_res, as a mixing that is fixed by
    design has not.  (b) the output of the model changes when H_res is replaced, and the derivative
    of the loss by it is 0 all the same: a mistake.  Gradients that are small but there are no
    business of this check.
    """
    if not examination.trainable:
        raise CannotTellError("no parameter of the model requires a gradient")
    mixing_layers(examination)
    yield from _before(examination, check)
    yield from _behind(examination, check)


def _before(examination: Examination, check: Check) -> Iterator[Finding]:
    """Between the parameters and H_res."""
    cut = [
        layer
        for layer in examination.mixing
        if layer.sensitivity is not None
        and not layer.sensitivity
        and layer.from_identity > IDENTITY
    ]
    if not cut:
        return
    text = f"In {len(cut)} of {len(examination.layers)} layers H_res has no derivative by any "
    text += "trainable parameter"
    varies = max(_variation(layer) for layer in cut)
    if varies > IDENTITY:
        text += f", though it differs from token to token by up to {plain(varies)}."
        yield check.mistake(cut, text, variation=varies)
    elif any(layer.learns for layer in examination.layers):
        yield check.mistake(cut, f"{text}, and in the other layers it has one.")
    else:
        yield check.look(cut, f"{text}, and no token has another: it may be fixed by design.")


def _behind(examination: Examination, check: Check) -> Iterator[Finding]:
    """Between H_res and the loss."""
    if not examination.slope:
        return  # the loss has no gradient at all, which says nothing about H_res
    cut = [
        layer
        for layer in examination.mixing
        if layer.learns
        and layer.response is not None
        and layer.response.output > 1e-6
        and not idle(layer)
        and (layer.slope is None or float(layer.slope.abs().max()) == 0.0)
    ]
    if cut:
        effect = min(each.response.output for each in cut if each.response)
        yield check.mistake(
            cut,
            f"The output changes by {plain(effect)} of it or more when H_res is replaced, but the "
            f"derivative of the loss by H_res is 0; by other parameters it is up to "
            f"{plain(examination.slope)}.",
            effect=effect,
        )


def _variation(layer: Layer) -> float:
    H = layer.H_res
    return float((H - H[:1]).abs().max())

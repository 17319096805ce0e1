"""Gains, mixing and gradient norm of a training loop that knows nothing of it."""

import math

import pytest
import torch
from torch import nn

import mhc_demo as mhc
from mhc_demo import nn as mnn

from . import foreign
from .networks import compiling, mlp, randomised

pytestmark = pytest.mark.filterwarnings("error")


def stack(depth=4, **settings):
    return randomised(mnn.StreamStack([mlp(8) for _ in range(depth)], 8, **settings), 0.2)


def train(model, steps, optimiser=None, x=None, clip=None, between=None):
    optimiser = optimiser or torch.optim.SGD(model.parameters(), 0.01)
    x = torch.randn(5, 6, 8) if x is None else x
    norms = []
    for _ in range(steps):
        model(x).square().mean().backward()
        if clip:
            torch.nn.utils.clip_grads_with_norm_(
                model.parameters(), clip, torch.nn.utils.get_total_norm(grads(model))
            )
        norms.append(float(torch.nn.utils.get_total_norm(grads(model))))
        if between:
            between(model)
        optimiser.step()
        optimiser.zero_grad()
    return norms


def grads(model):
    return [each.grad for each in model.parameters() if each.grad is not None]


def test_readings_are_those_of_the_pass_before_the_step():
    model, x = stack(connection="hc"), torch.randn(5, 6, 8)  # mHC's gains would all be 1
    with mnn.record_mappings(model) as maps, torch.no_grad():
        model(x)
    with mnn.watch(model) as readings:
        (norm,) = train(model, 1, x=x)
    (reading,) = readings
    assert reading.step == 1
    assert reading.gradient_norm == pytest.approx(norm)
    assert reading.names == [f"layers.{index}" for index in range(4)]
    for direction in ("forward", "backward"):
        single = mhc.amax_gain(maps, direction).double().mean((0, 1)).log10()
        assert reading.layer_gains[direction] == pytest.approx(single.tolist(), abs=2e-6)
        composite = mhc.compose(maps.stack().double(), direction).log10_gain(direction)
        expected = (10**composite).mean((0, 1)).log10()
        assert reading.composite_gains[direction] == pytest.approx(expected.tolist(), abs=2e-6)
    assert reading.gain["forward"] == reading.composite_gains["forward"][-1]
    assert reading.mixing == pytest.approx(maps.mixing().tolist(), abs=2e-6)
    assert reading.mean_mixing == pytest.approx(sum(reading.mixing[1:]) / 3)
    assert torch.tensor(reading.h_res).sub(maps.mean()).abs().max() < 2e-6


def test_every_so_many_steps_are_read_and_nothing_is_attached_between_them():
    model = stack()
    attached = []
    hooks = lambda: sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())  # noqa: E731
    before = hooks()
    with mnn.watch(model, every=3) as readings:
        norms = train(model, 8, between=lambda model: attached.append(hooks() > before))
    assert [each.step for each in readings] == [1, 4, 7]
    assert [each.gradient_norm for each in readings] == pytest.approx(norms[::3])
    assert attached == [True, False, False] * 2 + [True, False]
    assert hooks() == before
    train(model, 1)
    assert len(readings) == 3


def test_validation_accumulation_and_clipping_leave_the_readings_alone():
    model, x = stack(), torch.randn(5, 6, 8)
    expected = mnn.StreamStack([mlp(8) for _ in range(4)], 8)
    expected.load_state_dict(model.state_dict())

    def validate(model):
        with torch.no_grad():
            model(100 * torch.randn(7, 8))

    with mnn.watch(expected) as plain:
        train(expected, 1, x=x)
    with mnn.watch(model) as readings:
        train(model, 1, x=x, clip=1e-3, between=validate)
    assert readings[0].h_res == plain[0].h_res
    assert readings[0].gradient_norm == pytest.approx(1e-3, rel=1e-3)


def test_of_two_optimisers_one_counts_the_steps():
    model = stack()
    first, *rest = model.parameters()
    optimisers = [torch.optim.SGD([first], 0.1), torch.optim.Adam(rest, 0.1)]
    stranger = nn.Linear(2, 2)
    others = torch.optim.SGD(stranger.parameters(), 0.1)
    with mnn.watch(model) as readings:
        for _ in range(2):
            model(torch.randn(3, 8)).sum().backward()
            for each in (others, *optimisers):
                each.step()
    assert [each.step for each in readings] == [1, 2]


def test_a_watch_that_reads_nothing_says_so():
    model, twin = stack(), stack()
    with pytest.warns(UserWarning, match="no optimiser that holds"), mnn.watch(model):
        train(model, 1, torch.optim.SGD(twin.parameters(), 0.1))
    with mnn.watch(model):
        pass
    with (
        pytest.raises(ValueError, match="no layer to record"),
        mnn.watch(nn.Linear(2, 2)),
    ):
        pass
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"), mnn.watch(model):
        pass
    for every in (0, -1):
        with pytest.raises(ValueError, match="every must be at least 1"), mnn.watch(twin, every):
            pass


def test_a_model_that_is_not_ours_or_is_compiled_is_watched():
    model, ids = foreign.deepseek_v4(layers=1).train(), foreign.tokens()
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    with mnn.watch(model, every=2) as readings:
        for _ in range(3):
            model(ids, labels=ids).loss.backward()
            optimiser.step()
    assert [each.step for each in readings] == [1, 3]
    assert readings[0].names == ["model.layers.0.attn_hc", "model.layers.0.ffn_hc"]
    ours = stack(depth=2)
    with compiling():
        ours.compile(backend="eager")
        ours(torch.randn(3, 8)).sum().backward()
        with mnn.watch(ours) as compiled:
            train(ours, 2, x=torch.randn(3, 8))
    assert [each.step for each in compiled] == [1, 2]
    assert all(math.isfinite(each.gradient_norm) for each in compiled)


def test_many_tokens_are_thinned_out_evenly():
    model, x = stack(), torch.randn(3, 10, 8)
    still = torch.optim.SGD(model.parameters(), 0.0)
    with mnn.watch(model, tokens=8) as thinned:
        train(model, 1, still, x=x)
    with mnn.watch(model) as readings:
        train(model, 1, still, x=x.flatten(0, 1)[::4])
    assert thinned[0].h_res == readings[0].h_res

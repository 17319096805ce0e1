"""The doctor names each mistake in a model that makes it, and finds none in sound ones.

A mistake that is named beside another one, or in layers that do not make it, is a false alarm too:
so the tests ask for exactly this finding.
"""

import doctest
import html
import json
from importlib import import_module

import pytest
import torch
from torch import nn

import mhc_demo as mhc
from mhc_demo import nn as mnn
from mhc_demo.inspection.diagnosis import Diagnosis, Finding
from mhc_demo.inspection.diagnosis.registry import CHECKS

from .. import foreign
from ..networks import mlp
from . import faulty
from .faulty import DEPTH, STREAMS, WIDTH


def named(cases):
    """The cases as parameters by their names."""
    return [
        pytest.param(case, id=name, marks=[pytest.mark.long] if case.long else [])
        for name, case in cases.items()
    ]


def findings(case):
    found = mhc.diagnose(case.make(), case.inputs(), **case.options).findings
    return [(each.check, each.certainty) for each in found]


@pytest.mark.parametrize("case", named(faulty.MISTAKES))
def test_a_mistake_is_named_and_nothing_else(case):
    assert findings(case) == [(case.finding, case.certainty)]


@pytest.mark.parametrize("case", named(faulty.SOUND))
def test_a_sound_model_is_proved_clean(case):
    assert findings(case) == []


def test_every_check_is_proved_on_a_model_that_makes_the_mistake():
    made = {case.finding for case in faulty.MISTAKES.values() if not case.long}
    assert made | {"decayed"} == set(CHECKS)


def found(model, check, **options):
    (finding,) = mhc.diagnose(model, faulty.inputs(), **options).findings
    assert finding.check == check
    return finding


def test_only_the_layers_that_make_the_mistake_are_named():
    model = faulty.ours()
    model.layers[1] = faulty.Unapplied(mlp(WIDTH), WIDTH, STREAMS, layer=1)
    assert found(model, "not_applied").layers == ("layers.1",)
    model = faulty.ours()
    model.layers[3] = faulty.Transposed(mlp(WIDTH), WIDTH, STREAMS, layer=3)
    assert found(model, "transposed").layers == ("layers.3",)


def test_the_last_layer_alone_is_only_worth_a_look():
    model = faulty.ours()
    model.layers[-1] = faulty.Unapplied(mlp(WIDTH), WIDTH, STREAMS, layer=DEPTH - 1)
    finding = found(model, "not_applied")
    assert (finding.layers, finding.certainty) == (("layers.4",), "look at this")


def test_two_stacks_are_no_mistake():
    finding = found(faulty.TwoStacks(), "collapsed")
    assert (finding.layers, finding.certainty) == (("first.layers.4",), "look at this")


def test_how_many_iterations_would_be_enough_is_said_and_is_true():
    torch.manual_seed(0)
    model = faulty.ours(dynamic=False, depth=1)
    logits = 12.0 * torch.randn(STREAMS, STREAMS)
    with torch.no_grad():
        model.layers[0].mappings.b_res.copy_(logits)
    finding = found(model, "sharp")
    more = int(finding.evidence.split(" more after 20 iterations")[0].split()[-1])

    def error(iterations):
        return mhc.distance_from_doubly_stochastic(mhc.sinkhorn_knopp(logits, iterations)).item()

    # The doctor goes on in float64 from a float32 matrix: an iteration more or less.
    assert error(20 + more + 1) <= 1e-3 < error(20 + more - 2)
    assert finding.numbers["error"] == pytest.approx(error(20), rel=1e-3)


# The optimiser


def optimiser(parameters, **options):
    return torch.optim.AdamW(parameters, **{"lr": 1e-3, "weight_decay": 0.1, **options})


@pytest.mark.parametrize("make", [mnn.HyperConnection, mnn.ManifoldHyperConnection])
def test_decayed_static_mappings_are_named(make):
    model = faulty.ours(make)
    finding = found(model, "decayed", optimiser=optimiser(model.parameters()))
    assert finding.certainty == "mistake"
    assert "b_res" in finding.evidence
    # HC's H_res would go to zero, mHC's to 1/n.
    start, end = (1.0, 0.0) if make is mnn.HyperConnection else (0.95, 0.25)
    assert finding.numbers["change"] == pytest.approx(start - end, abs=1e-3)


def test_groups_that_spare_them_are_clean():
    model = faulty.ours()
    spared = torch.optim.AdamW(mnn.parameter_groups(model, 0.1))
    for given in (spared, spared.param_groups, optimiser(model.parameters(), weight_decay=0.0)):
        found = mhc.diagnose(model, faulty.inputs(), optimiser=given)
        assert not found.findings
        assert not found.unchecked


def test_what_starts_at_zero_loses_nothing_yet():
    model = faulty.deepseek()
    found = mhc.diagnose(model, faulty.token_ids(), optimiser=optimiser(model.parameters()))
    assert [(each.check, each.certainty) for each in found.findings] == [
        ("decayed", "look at this")
    ]


# What it leaves behind


def test_the_model_is_left_as_it_was():
    model = faulty.ours(dynamic=False)
    model.layers[0].branch = nn.Sequential(
        nn.Flatten(0, 1), nn.BatchNorm1d(WIDTH), nn.Dropout(0.3), nn.Unflatten(0, (3, 5))
    )
    model(faulty.inputs()).sum().backward()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    generator = torch.get_rng_state()
    mhc.diagnose(model, faulty.inputs(), optimiser=optimiser(model.parameters()))
    assert torch.equal(torch.get_rng_state(), generator)
    for name, each in model.state_dict().items():
        assert torch.equal(each, before[name]), name
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_hyper_connections_get_their_function_back():
    model = faulty.Lucid("mhc")
    constraints = [layer.residual_mix_constraint_fn for layer in model.layers]
    mhc.diagnose(model, faulty.inputs())
    assert [layer.residual_mix_constraint_fn for layer in model.layers] == constraints


# What it cannot tell, it says


def test_without_gradients_what_needs_them_is_left_out_and_said():
    model = faulty.ours().requires_grad_(False)
    found = mhc.diagnose(model, faulty.inputs())
    assert found.sound
    assert "No gradient reaches H_res" in found.unchecked
    unapplied = faulty.ours(faulty.Unapplied).requires_grad_(False)
    assert [each.check for each in mhc.diagnose(unapplied, faulty.inputs()).findings] == [
        "not_applied"
    ]


def test_one_stream_has_nothing_to_check():
    model = faulty.Net(mnn.ManifoldHyperConnection(mlp(WIDTH), WIDTH, 1) for _ in range(2))
    model.expand = lambda x, streams: mnn.expand_streams(x, 1)
    found = mhc.diagnose(model, faulty.inputs())
    assert found.sound
    assert set(found.unchecked.values()) == {"there is one stream, and nothing to mix"}


def test_a_model_that_ends_with_a_norm_has_a_gradient_all_the_same():
    # The mean square of what an RMSNorm returns is constant: a loss of that would see nothing.
    model = faulty.ours()
    model.head = nn.RMSNorm(WIDTH, elementwise_affine=False)
    assert findings(faulty.Case(lambda: model, "")) == []
    uniform = faulty.uniform()
    uniform.head = nn.RMSNorm(WIDTH, elementwise_affine=False)
    found(uniform, "identical")


def test_a_model_that_does_not_mix_is_said_to():
    model = foreign.hy_v4()
    found = mhc.diagnose(model, {"input_ids": foreign.tokens()})
    assert [each.check for each in found.findings] == ["no_mixing"]
    assert found.sound
    assert "does not mix" in found.remarks[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((nn.Linear(3, 3), torch.ones(3)), ValueError, "no layer to record that is known"),
        ((3, torch.ones(3)), TypeError, "model must be a torch.nn.Module"),
        ((faulty.ours(), "text"), TypeError, "inputs must be a tensor, a tuple"),
    ],
)
def test_what_is_no_model_or_no_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        mhc.diagnose(*arguments)


def test_other_arguments_are_refused_by_their_names():
    model = faulty.ours()
    with pytest.raises(ValueError, match="loss must return a tensor with one number"):
        mhc.diagnose(model, faulty.inputs(), loss=lambda output: output)
    with pytest.raises(TypeError, match=r"optimiser must be a torch\.optim\.Optimizer"):
        mhc.diagnose(model, faulty.inputs(), optimiser=0.1)


@pytest.mark.parametrize("file", ["", ".findings", ".registry"])
def test_the_examples_in_docstrings_are_true(file):
    results = doctest.testmod(import_module(f"mhc_demo.inspection.diagnosis{file}"))
    assert results.attempted
    assert not results.failed


# How it is shown


EVIL = "<script>alert(1)</script>"


def test_a_diagnosis_shows_itself_as_text_table_and_json():
    diagnosis = Diagnosis(
        model=EVIL,
        families=("pattern",),
        streams=4,
        layers=("a", EVIL),
        findings=(
            Finding("frozen", "H_res frozen", "mistake", (EVIL,), EVIL, EVIL, {"x": float("inf")}),
        ),
        passed=("Not finite",),
        unchecked={"Static mappings decayed": "no optimiser was given"},
        remarks=(EVIL,),
    )
    shown = diagnosis._repr_html_()
    assert "<script" not in shown
    assert shown.count(html.escape(EVIL)) == 5
    assert str(diagnosis).splitlines()[2] == "MISTAKE: H_res frozen"
    assert "1 mistake found, 2 checks made" in str(diagnosis)
    frame = diagnosis.to_frame()
    assert list(frame.loc["frozen", ["certainty", "remedy"]]) == ["mistake", EVIL]
    stored = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert stored["findings"][0]["numbers"] == {"x": None}
    assert stored["sound"] is False

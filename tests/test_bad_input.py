"""Bad input raises ValueError or TypeError, naming the argument and its value or what is allowed.

Each case is a call and the fragments that its message must contain, in any order.
"""

import math

import array_api_strict
import numpy as np
import pytest
import torch
from bokeh.plotting import figure

import mhc_demo as mhc
from mhc_demo.export.framed import Shown
from mhc_demo.numerics.gains import log10_composite_gains
from mhc_demo.numerics.growth import gaussian_growth
from mhc_demo.numerics.metrics import METRICS
from mhc_demo.numerics.mixing import sample_noise
from mhc_demo.numerics.projecting import iterates
from mhc_demo.numerics.projections import PROJECTIONS

pytestmark = pytest.mark.filterwarnings("error")

NAN, INF = math.nan, math.inf
Z = np.zeros((3, 4, 4))
SMALL = mhc.Experiment(members=1)


def refuse(call, *fragments):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    for fragment in fragments:
        assert str(fragment) in str(caught.value)


# Matrices

TAKES_MATRICES = {
    "sinkhorn_knopp": ("logits", mhc.sinkhorn_knopp),
    **{
        f"project {name}": ("logits", lambda x, name=name: mhc.project(x, name))
        for name in PROJECTIONS
    },
    "iterates": ("logits", lambda x: list(iterates(x, "sinkhorn", 3))),
    "amax_gain": ("matrices", mhc.amax_gain),
    "compose": ("matrices", mhc.compose),
    "log10_composite_gains": ("matrices", log10_composite_gains),
    "logit_range": ("logits", mhc.logit_range),
    "iterations_bound": ("logits", mhc.iterations_bound),
    "lyapunov_exponents": ("layers", mhc.lyapunov_exponents),
    "log10_singular_ratio": ("layers", mhc.log10_singular_ratio),
    "composite_metrics": ("layers", mhc.composite_metrics),
    **{f"metric {name}": ("matrices", metric) for name, metric in METRICS.items()},
}
BAD_MATRICES = {
    "a number": (1.0, "()"),
    "a vector": ([1.0, 2.0], "(2,)"),
    "not square": (np.zeros((2, 3, 4)), "(2, 3, 4)"),
    "no streams": (np.zeros((2, 0, 0)), "(2, 0, 0)"),
    "NaN": (np.full((2, 2, 2), NAN), "finite"),
    "infinity": ([[[1.0, INF], [0.0, 1.0]]], "finite"),
    "complex": (np.ones((1, 2, 2), dtype=complex), "complex128"),
    "bool": (np.ones((1, 2, 2), dtype=bool), "bool"),
    "text": ("spam", "str"),
    "ragged": ([[1.0, 2.0], [3.0]], "list"),
    "a dict": ({"a": 1}, "dict"),
    "objects": (np.array([[[None, 1], [1, 1]]]), "object"),
    "None": (None, ""),
    "torch, not square": (torch.zeros(2, 3), "(2, 3)"),
    "torch, bool": (torch.ones(2, 2, 2, dtype=torch.bool), "bool"),
    "strict, infinite": (array_api_strict.asarray([[[INF, 0.0], [0.0, 1.0]]]), "finite"),
}


@pytest.mark.parametrize(("argument", "function"), TAKES_MATRICES.values(), ids=TAKES_MATRICES)
@pytest.mark.parametrize(("value", "fragment"), BAD_MATRICES.values(), ids=BAD_MATRICES)
def test_anything_but_finite_square_matrices_is_refused(argument, function, value, fragment):
    refuse(lambda: function(value), argument, fragment)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_nan_in_a_torch_tensor_goes_through_and_stays_in_its_matrix(name):
    """NaN is not refused, as everywhere in PyTorch: checking for it would hold up a GPU."""
    logits = torch.zeros(2, 2, 2, dtype=torch.float64)
    logits[0, 0, 0] = NAN
    projected = mhc.project(logits, name)
    if name != "identity":
        assert projected[0].isnan().any()
    assert torch.equal(projected[1], mhc.project(logits[1:], name)[0])
    gains = mhc.compose(projected.reshape(2, 1, 2, 2)).log10_gain()
    assert gains.isnan().any() == projected.isnan().any()
    assert not mhc.amax_gain(projected)[1].isnan()


def test_composites_need_a_depth_axis():
    for function in (mhc.compose, log10_composite_gains):
        refuse(lambda f=function: f(np.zeros((4, 4))), "matrices", "depth", "(4, 4)")
        refuse(lambda f=function: f(np.zeros((0, 4, 4))), "matrices", "depth", "(0, 4, 4)")


# Names

NAMES = {
    "project": ("projection", PROJECTIONS, lambda x: mhc.project(Z, x)),
    "iterates": ("projection", PROJECTIONS, lambda x: list(iterates(Z, x, 1))),
    "amax_gain direction": (
        "direction",
        ("forward", "backward"),
        lambda x: mhc.amax_gain(Z, x),
    ),
    "amax_gain definition": (
        "definition",
        ("paper", "worst-case"),
        lambda x: mhc.amax_gain(Z, "forward", x),
    ),
    "compose": ("direction", ("forward", "backward"), lambda x: mhc.compose(Z, x)),
    "log10_composite_gains direction": (
        "direction",
        ("forward", "backward"),
        lambda x: log10_composite_gains(Z, x),
    ),
    "log10_composite_gains definition": (
        "definition",
        ("paper", "worst-case"),
        lambda x: log10_composite_gains(Z, "forward", x),
    ),
    "log10_gain direction": (
        "direction",
        ("forward", "backward"),
        lambda x: mhc.compose(Z).log10_gain(x),
    ),
    "log10_gain definition": (
        "definition",
        ("paper", "worst-case"),
        lambda x: mhc.compose(Z).log10_gain("forward", x),
    ),
    "sample_mixing": ("init", mhc.INITS, lambda x: mhc.sample_mixing(2, init=x)),
    "Experiment projection": ("projection", PROJECTIONS, lambda x: mhc.Experiment(projection=x)),
    "Experiment init": ("init", mhc.INITS, lambda x: mhc.Experiment(init=x)),
    "Experiment definition": (
        "definition",
        ("paper", "worst-case"),
        lambda x: mhc.Experiment(definition=x),
    ),
}


@pytest.mark.parametrize(("argument", "allowed", "call"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("name", ["spam", "", "Forward", 0, None, True, ["rows"], {}], ids=repr)
def test_an_unknown_name_is_refused_with_the_known_ones(argument, allowed, call, name):
    refuse(lambda: call(name), argument, *allowed)


def test_matrices_in_place_of_a_name_are_refused():
    refuse(lambda: mhc.project(Z, Z), "projection", "sinkhorn")
    refuse(lambda: mhc.amax_gain(Z, Z), "direction", "forward")
    refuse(lambda: mhc.compose(Z, torch.zeros(2)), "direction", "forward")


# Whole numbers

COMPOSITE = mhc.compose(Z)
WHOLE = {
    "project iterations": ("iterations", 0, lambda x: mhc.project(Z, "rows", x)),
    "sinkhorn_knopp iterations": ("iterations", 0, lambda x: mhc.sinkhorn_knopp(Z, x)),
    "sample_mixing depth": ("depth", 1, lambda x: mhc.sample_mixing(x)),
    "sample_mixing streams": ("streams", 1, lambda x: mhc.sample_mixing(2, x)),
    "sample_mixing members": ("members", 1, lambda x: mhc.sample_mixing(2, 4, x)),
    "sample_mixing seed": ("seed", 0, lambda x: mhc.sample_mixing(2, seed=x)),
    "sample_noise depth": ("depth", 1, lambda x: sample_noise(x, 4)),
    "sample_noise streams": ("streams", 1, lambda x: sample_noise(2, x)),
    "sample_noise members": ("members", 1, lambda x: sample_noise(2, 4, x)),
    "sample_noise seed": ("seed", 0, lambda x: sample_noise(2, 4, seed=x)),
    "gaussian_growth streams": ("streams", 1, lambda x: gaussian_growth(x)),
    "scaled at": ("at", 1, lambda x: COMPOSITE.scaled(x)),
    "matrix at": ("at", 1, lambda x: COMPOSITE.matrix(x)),
    "gain_surface depth": ("depth", 1, lambda x: mhc.gain_surface(SMALL, depth=x)),
    "gain_surface iterations": ("iterations", 0, lambda x: mhc.gain_surface(SMALL, iterations=x)),
    "layer_axis_gains depth": ("depth", 1, lambda x: mhc.layer_axis_gains(SMALL, depth=x)),
    "layer_axis_gains iterations": (
        "iterations",
        0,
        lambda x: mhc.layer_axis_gains(SMALL, depth=2, iterations=x),
    ),
    "member_matrices depth": ("depth", 1, lambda x: mhc.member_matrices(SMALL, depth=x)),
    "member_matrices iterations": (
        "iterations",
        0,
        lambda x: mhc.member_matrices(SMALL, iterations=[0, x]),
    ),
    "member_matrices member": ("member", 0, lambda x: mhc.member_matrices(SMALL, member=x)),
    "mixing_surface depth": ("depth", 1, lambda x: mhc.mixing_surface(SMALL, depth=x)),
    "mixing_surface iterations": (
        "iterations",
        0,
        lambda x: mhc.mixing_surface(SMALL, iterations=x),
    ),
}


@pytest.mark.parametrize(("argument", "low", "call"), WHOLE.values(), ids=WHOLE)
def test_a_count_out_of_range_is_refused_with_the_range(argument, low, call):
    for value in (low - 1, -1_000, np.int64(low - 1)):
        refuse(lambda x=value: call(x), f"{argument} must be", low, value)


@pytest.mark.parametrize(("argument", "low", "call"), WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("value", [True, False, 1.0, NAN, "1", None, [1], 1j], ids=repr)
def test_a_count_that_is_not_a_whole_number_is_refused(argument, low, call, value):
    refuse(lambda: call(value), f"{argument} must be a whole number", repr(value))


@pytest.mark.parametrize(("argument", "low", "call"), WHOLE.values(), ids=WHOLE)
def test_the_lowest_count_is_accepted_as_an_int_of_python_or_numpy(argument, low, call):
    call(low)
    call(np.int32(low))


def test_a_composite_has_no_depth_beyond_its_last():
    refuse(lambda: COMPOSITE.scaled(4), "at must be between 1 and 3", "not 4")
    refuse(lambda: COMPOSITE.matrix(4), "at must be between 1 and 3", "not 4")


def test_member_matrices_needs_at_least_one_count_of_iterations():
    refuse(lambda: mhc.member_matrices(SMALL, iterations=[]), "iterations", "at least one")
    refuse(lambda: mhc.member_matrices(SMALL, iterations=3), "iterations", "3")


# Numbers

SPREADS = {
    "sample_mixing": lambda x: mhc.sample_mixing(2, spread=x),
    "gaussian_growth": lambda x: gaussian_growth(4, x),
    "Experiment": lambda x: mhc.Experiment(spread=x),
}


@pytest.mark.parametrize("call", SPREADS.values(), ids=SPREADS)
@pytest.mark.parametrize("value", [-0.1, -1, NAN, INF, -INF, 10**400])
def test_a_spread_that_is_negative_or_not_finite_is_refused(call, value):
    refuse(lambda: call(value), "spread", "must be", value)


@pytest.mark.parametrize("call", SPREADS.values(), ids=SPREADS)
@pytest.mark.parametrize("value", ["1", None, [1.0]], ids=repr)
def test_a_spread_that_is_not_a_real_number_is_refused(call, value):
    refuse(lambda: call(value), "spread")


@pytest.mark.parametrize("function", ["sample_mixing", "gaussian_growth"])
def test_a_spread_of_true_is_refused(function):
    refuse(lambda: SPREADS[function](True), "spread must be a number", "True")


# Experiments


@pytest.mark.parametrize("name", ["streams", "seed", "members"])
@pytest.mark.parametrize("value", [-1, 2**40, 1.5, NAN, "4", None, [4]], ids=repr)
def test_an_experiment_refuses_what_is_not_a_whole_number_in_range(name, value):
    refuse(lambda: mhc.Experiment(**{name: value}), name)


@pytest.mark.parametrize("name", ["streams", "members"])
def test_an_experiment_refuses_a_count_of_zero(name):
    refuse(lambda: mhc.Experiment(**{name: 0}), name, "at least 1", 0)


@pytest.mark.parametrize("name", ["streams", "seed", "members", "spread"])
def test_a_surface_refuses_an_experiment_whose_number_is_true(name):
    refuse(lambda: mhc.gain_surface(mhc.Experiment(**{name: True})), f"{name} must be", True)


def test_an_experiment_refuses_a_parameter_that_it_does_not_have():
    refuse(lambda: mhc.Experiment(stream=4), "stream")


def test_an_experiment_is_unchanged_when_a_value_is_refused():
    experiment = mhc.Experiment(streams=3)
    with pytest.raises(ValueError, match="streams"):
        experiment.streams = 65
    assert experiment.streams == 3


TAKES_EXPERIMENT = {
    "gain_surface": mhc.gain_surface,
    "layer_axis_gains": lambda x: mhc.layer_axis_gains(x, depth=2),
    "member_matrices": mhc.member_matrices,
    "mixing_surface": mhc.mixing_surface,
}


@pytest.mark.parametrize("function", TAKES_EXPERIMENT.values(), ids=TAKES_EXPERIMENT)
@pytest.mark.parametrize("value", [None, "spam", {"streams": 4}, 4], ids=repr)
def test_anything_but_an_experiment_is_refused(function, value):
    refuse(lambda: function(value), "experiment must be an Experiment", repr(value))


@pytest.mark.parametrize("function", TAKES_EXPERIMENT.values(), ids=TAKES_EXPERIMENT)
def test_more_streams_than_the_projection_takes_are_refused(function):
    experiment = mhc.Experiment(projection="mhc-lite", streams=7)
    refuse(lambda: function(experiment), "'mhc-lite'", "at most 6", 7)


def test_exp_only_refuses_a_spread_that_would_overflow():
    refuse(lambda: mhc.project([[1e3]], "exp"), "'exp'", "float64", "709.8", "1000")


# What a notebook shows


@pytest.mark.parametrize("value", ["yes", 1, 0, [True]], ids=repr)
def test_an_explorer_is_live_or_not_or_either(value):
    refuse(lambda: mhc.Explorer(live=value), "live", repr(value), "None, False or True")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((None, "A picture"), ("layout", "None")),
        (("a figure", "A picture"), ("layout", "'a figure'")),
        ((figure(), ""), ("title", "''")),
        ((figure(), None), ("title", "None")),
        ((figure(), "A picture", 49), ("height", "49", "50", "5000")),
        ((figure(), "A picture", 300, 5001), ("width", "5001", "50", "5000")),
        ((figure(), "A picture", 300.5), ("height", "300.5")),
    ],
    ids=str,
)
def test_what_a_notebook_cannot_show_is_refused(arguments, fragments):
    refuse(lambda: Shown(*arguments), *fragments)

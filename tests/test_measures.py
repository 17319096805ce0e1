"""The tables of metrics below the matrices say what the library says, whatever the size."""

import math
import re

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.figures.measures import Measured, measured_at, measures_html, texts, written
from mhc_demo.numerics.metrics import GROUPS, METRICS
from mhc_demo.numerics.numbers import in_html

pytestmark = pytest.mark.filterwarnings("error")


def at(depth, iterations, bounded=True, **experiment):
    chosen = mhc.Experiment(**experiment)
    return measured_at(
        mhc.member_matrices(chosen, depth=depth, iterations=[0, iterations]),
        mhc.mixing_surface(chosen, depth=depth, iterations=iterations, metrics=["singular_ratio"]),
        *(depth, iterations, bounded),
    )


@pytest.mark.parametrize("n", [1, 3, 4])
def test_the_tables_have_every_metric_of_the_layer_and_the_composite(n):
    columns = at(6, 2, streams=n, seed=3)
    assert [(each.method, each.title) for each in columns] == [
        (method, title) for method in ("HC", "Projected") for title in ("layer", "composite")
    ]
    found = texts(columns)
    assert set(found) == set(METRICS)
    matrices = mhc.member_matrices(mhc.Experiment(streams=n, seed=3), depth=6, iterations=[2])
    matrix = np.ldexp(matrices["composite_mantissa"][0, -1], matrices["composite_exponent"][0, -1])
    for name, metric in METRICS.items():
        value = float(metric(matrix.values))
        value = value if abs(value) > 1e-13 else 0.0
        assert found[name][3] == written(value)
        assert found[name][1] != found[name][3] or not metric.signed or n == 1 or value > 0.9


def test_what_is_beyond_a_float_or_below_rounding_is_written_all_the_same():
    huge = at(128, 1, bounded=False, projection="exp", spread=5.0)[-1]
    tiny = at(128, 20)[-1]
    found = texts([huge, tiny])
    assert float(re.search(r"<sup>(\d+\.\d)</sup>", found["spectral_norm"][0])[1]) > 308
    assert found["uniform_distance"][0] == "—"  # nothing bounds it
    assert found["second_singular_value"][1] == found["singular_ratio"][1]  # its norm is 1
    assert float(re.search(r"<sup>−(\d+\.\d)</sup>", found["singular_ratio"][1])[1]) > 40
    assert found["second_eigenvalue"][1] == "0"
    assert found["effective_streams"] == ["1.00", "1.00"]


def test_hc_is_measured_wherever_a_metric_ignores_the_scale():
    (composite,) = (each for each in at(40, 0) if each.title == "composite")
    found = texts([composite])
    negative = bool((composite.mantissa < 0).any())
    for name, metric in METRICS.items():
        unknown = name == "uniform_distance" or (negative and not metric.signed)
        assert (found[name] == ["—"]) == unknown
    exponents = math.log10(mhc.amax_gain(composite.mantissa, definition="worst-case"))
    exponents += composite.exponent * math.log10(2)
    assert found["infinity_norm"] == [in_html(exponents)]


def test_every_group_is_a_table_with_a_heading():
    markup = measures_html([Measured("HC", "layer", np.eye(2))], lambda metric: metric.title)
    assert re.findall("<caption>([^<]*)", markup) == list(GROUPS.values())
    assert re.findall('<th scope="row">([^<]*)', markup) == [
        metric.title for group in GROUPS for metric in METRICS.values() if metric.group == group
    ]

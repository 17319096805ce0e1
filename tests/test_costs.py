"""The paper's counts by hand and by brute force, and what a measurement guarantees."""

import asyncio
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from urllib.parse import parse_qs, unquote

import numpy as np
import pytest
import torch

import mhc_demo as mhc
from mhc_demo.app.state import State
from mhc_demo.app.views import cost as view
from mhc_demo.cli import main
from mhc_demo.figures.cost import (
    activations_html,
    budget_html,
    count_html,
    estimate_html,
    overhead_html,
    released_html,
    traffic_html,
)
from mhc_demo.numerics import costs
from mhc_demo.numerics.costs import (
    Activations,
    ProjectionTimes,
    Traffic,
    backward_traffic,
    best_block_estimate,
    best_recompute_block,
    fused_traffic,
    hyper_connection_traffic,
    matrix_times,
    projection_times,
    residual_traffic,
    stored_activations,
)
from mhc_demo.numerics.devices import place
from mhc_demo.numerics.numbers import in_html
from mhc_demo.numerics.paper import RELEASED, TABLE_5, TRAINING_OVERHEAD
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import MAX_DEPTH

pytestmark = pytest.mark.filterwarnings("error")

# Memory traffic


def test_table_2_for_the_27b_model_by_hand():
    # n = 4, C = 2560: n^2 + 2n = 24.
    assert residual_traffic(2560) == Traffic(5120, 2560)
    assert hyper_connection_traffic(4, 2560) == Traffic(21 * 2560 + 24, 13 * 2560 + 24)
    assert hyper_connection_traffic(4, 2560).moved == 87_088
    assert fused_traffic(4, 2560) == Traffic(13 * 2560 + 24, 5 * 2560 + 24)


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_table_2_is_the_sum_of_its_operations(n):
    C = 96
    operations = {  # (read, written), row by row
        "calculate the mappings": (n * C, n * n + 2 * n),
        "H_pre": (n * C + n, C),
        "H_post": (C + n, n * C),
        "H_res": (n * C + n * n, n * C),
        "merge": (2 * n * C, n * C),
    }
    total = Traffic(*(sum(column) for column in zip(*operations.values(), strict=True)))
    assert hyper_connection_traffic(n, C) == total
    # Section 4.3.1: the last three in one kernel read (n + 1)C and write nC, coefficients aside.
    separate = [operations[name] for name in ("H_post", "H_res", "merge")]
    assert sum(read for read, _ in separate) - n - n * n == (3 * n + 1) * C
    assert sum(written for _, written in separate) == 3 * n * C
    fused = fused_traffic(n, C)
    assert total.read - fused.read == (3 * n + 1) * C - (n + 1) * C
    assert total.written - fused.written == 3 * n * C - n * C


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_the_backward_count_is_the_sum_of_its_operations(n):
    C, m = 96, n * n + 2 * n

    def total(*operations):
        return tuple(sum(column) for column in zip(*operations, strict=True))

    found = backward_traffic(n, C, fused=False)
    assert (found.read, found.written) == total(
        (2 * n * C + n * n, n * C + n * n),  # H_res: gradient, streams, H; both gradients
        ((n + 1) * C + n, C + n),  # H_post: gradient, F's output, H
        ((n + 1) * C + n, n * C + n),  # H_pre: gradient of F's input, streams, H
        (n * C + m, n * C),  # the mappings: streams, gradients of the coefficients
        (2 * n * C, n * C),  # two sums of the streams' gradients
        (2 * n * C, n * C),
    )
    found = backward_traffic(n, C, fused=True)
    assert (found.read, found.written) == total(
        ((2 * n + 1) * C + n * n + n, (n + 1) * C + n * n + n),  # H_res and H_post
        ((2 * n + 1) * C + n + m, n * C + n),  # H_pre and the mappings, added to what is there
    )


def test_traffic_grows_roughly_in_proportion_to_n():
    # Section 3.2; (8n + 2)C of 3C once C is large.
    for n in (1, 4, 16):
        factor = hyper_connection_traffic(n, 10**6).moved / residual_traffic(10**6).moved
        assert factor == pytest.approx((8 * n + 2) / 3, rel=1e-3)


# Recomputation


def counted_by_brute_force(n, C, L, block):
    """Table 3, layer by layer: what stays resident, and the most that recomputing a block adds."""
    resident, in_block, largest = 0, 0, 0
    for layer in range(L):
        if layer % block == 0:
            resident += n * C  # the block's input
            in_block = 0
        resident += C  # F's output
        in_block += n * C + C + C  # x, H_pre x and its norm
        largest = max(largest, in_block)
    return resident, largest


@pytest.mark.parametrize(("n", "L"), [(4, 60), (4, 24), (4, 36), (1, 7), (2, 61), (8, 5)])
def test_table_3_counted_layer_by_layer(n, L):
    for block in range(1, L + 1):
        stored = stored_activations(n, 32, L, block)
        assert (stored.resident, stored.transient) == counted_by_brute_force(n, 32, L, block)
        assert stored.peak == stored.resident + stored.transient


def test_the_27b_model_by_hand():
    # Ten blocks of six layers: 4 * 10 + 60 resident and 6 * 6 in a block, in units of C.
    assert stored_activations(4, 2560, 60, 6) == Activations(100 * 2560, 36 * 2560)
    # All rows of Table 3 for each layer: x (nC), F's output, H_pre x and its norm (C each).
    assert stored_activations(4, 2560, 60) == Activations(7 * 60 * 2560, 0)


def test_the_best_block_stores_the_least_of_all():
    for n in (1, 2, 3, 4, 8, 64):
        for L in (*range(1, 130), 1000):
            best = best_recompute_block(L, n)
            peaks = [stored_activations(n, 1, L, block).peak for block in range(1, L + 1)]
            assert peaks[best - 1] == min(peaks)
            assert peaks.index(min(peaks)) == best - 1  # the smaller in a tie


def test_the_papers_models_and_their_best_blocks():
    sizes = {m.name: (m.streams, m.width, m.residual_layers) for m in TABLE_5.values()}
    assert sizes == {"3B": (4, 1280, 24), "9B": (4, 1920, 36), "27B": (4, 2560, 60)}
    assert {name: best_recompute_block(L, n) for name, (n, _, L) in sizes.items()} == {
        "3B": 4,
        "9B": 4,
        "27B": 6,
    }


def test_a_released_model_is_that_of_its_configuration():
    package = pytest.importorskip("transformers.models.deepseek_v4")
    config = package.DeepseekV4Config()
    model = RELEASED["DeepSeek-V4-Flash"]
    assert (model.blocks, model.width, model.streams) == (
        config.num_hidden_layers,
        config.hidden_size,
        config.hc_mult,
    )


def test_the_estimate_is_near_but_rounds_to_a_worse_block_for_the_9b_model():
    assert best_block_estimate(60, 4) == pytest.approx(math.sqrt(40))
    rounded = round(best_block_estimate(36, 4))
    assert rounded == 5
    assert stored_activations(4, 1, 36, 5).peak == 62 + 36
    assert stored_activations(4, 1, 36, 4).peak == 60 + 36


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: residual_traffic(0), ValueError, "width must be at least 1, not 0"),
        (lambda: residual_traffic(2.5), TypeError, "width must be a whole number, not 2.5"),
        (lambda: hyper_connection_traffic(0, 8), ValueError, "streams must be at least 1, not 0"),
        (lambda: hyper_connection_traffic(True, 8), TypeError, "streams must be a whole number"),
        (lambda: fused_traffic(4, "8"), TypeError, "width must be a whole number, not '8'"),
        (lambda: stored_activations(4, 8, 0), ValueError, "depth must be at least 1, not 0"),
        (lambda: stored_activations(4, 8, 6, 0), ValueError, "block must be between 1 and 6"),
        (lambda: stored_activations(4, 8, 6, 7), ValueError, "block must be between 1 and 6"),
        (lambda: best_recompute_block(0, 4), ValueError, "depth must be at least 1, not 0"),
        (lambda: best_recompute_block(4, 0), ValueError, "streams must be at least 1, not 0"),
        (lambda: best_block_estimate(4, None), TypeError, "streams must be a whole number"),
        (lambda: projection_times("spam"), ValueError, "projection must be one of .*'spam'"),
        (lambda: projection_times(streams=0), ValueError, "streams must be at least 1, not 0"),
        (lambda: projection_times(matrices=0), ValueError, "matrices must be at least 1, not 0"),
        (lambda: projection_times(repeats=0), ValueError, "repeats must be at least 1, not 0"),
        (lambda: projection_times(counts=[]), ValueError, "counts must hold at least one"),
        (lambda: projection_times(counts=[-1]), ValueError, "counts must be at least 0, not -1"),
        (lambda: projection_times(counts=5), TypeError, "counts must be a collection"),
        (lambda: projection_times(device="abacus"), ValueError, "device must be one of"),
        (lambda: projection_times("mhc-lite", streams=9), ValueError, "at most 6 streams"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The time of the projection, about whose length no test asserts anything


DEVICES = [
    "numpy",
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_times_are_positive_and_say_what_was_timed(device):
    counts = (0, 1, 3, 3, 2)
    timed = projection_times(streams=3, matrices=5, counts=counts, device=device, repeats=2)
    assert timed.counts == counts
    assert timed.seconds.shape == (5,)
    assert np.isfinite(timed.seconds).all()
    assert (timed.seconds > 0).all()
    assert timed.seconds[2] == timed.seconds[3]
    np.testing.assert_allclose(timed.nanoseconds, timed.seconds / 5 * 1e9)
    assert (timed.projection, timed.streams, timed.matrices) == ("sinkhorn", 3, 5)
    assert 1 <= timed.rounds <= 2
    assert timed.device == place(device).title
    assert np.isfinite(timed.line).all()


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_projection_that_does_not_iterate_is_timed_once(projection):
    timed = projection_times(projection, streams=2, matrices=4, counts=range(4), repeats=1)
    assert (timed.seconds > 0).all()
    if not PROJECTIONS[projection].iterative:
        assert len(set(timed.seconds[1:])) == 1
        assert np.isnan(timed.line).all()


def test_the_line_is_the_least_squares_fit_from_one_iteration_on():
    nanoseconds = np.array([1.0, 50, 70, 90])
    timed = ProjectionTimes("sinkhorn", 4, 10, (0, 1, 2, 3), nanoseconds * 10 / 1e9, 1, "this")
    np.testing.assert_allclose(timed.nanoseconds, nanoseconds)
    np.testing.assert_allclose(timed.line, (30, 20))
    only = ProjectionTimes("sinkhorn", 4, 10, (0, 1), nanoseconds[:2], 1, "this")
    assert np.isnan(only.line).all()


def test_a_measurement_ends_soon_after_its_limit(monkeypatch):
    # With no time to spend there is one round, never none.
    monkeypatch.setattr(costs, "LONGEST", 0.0)
    assert projection_times(streams=2, counts=[1], repeats=1000).rounds == 1


@pytest.mark.parametrize("projection", ["sinkhorn", "rows", "identity"])
def test_a_matrix_is_timed_forward_and_backward(projection):
    timed = matrix_times(projection, streams=3, iterations=2, repeats=1)
    assert (timed.projection, timed.streams, timed.iterations) == (projection, 3, 2)
    assert timed.matrices == 2**13 // 9
    assert timed.forward > 0
    assert "NumPy" in timed.device
    assert "PyTorch" in timed.device_backward
    # The identity does not depend on the logits: there is nothing to go back through.
    assert np.isnan(timed.backward) if projection == "identity" else timed.backward > 0


def test_without_pytorch_nothing_is_timed_backward(monkeypatch):
    monkeypatch.setitem(costs.DEVICES, "cpu", replace(costs.DEVICES["cpu"], missing=lambda: "gone"))
    timed = matrix_times("rows", streams=2, repeats=1)
    assert timed.forward > 0
    assert np.isnan(timed.backward)
    assert timed.device_backward == ""


def test_nothing_here_imports_pytorch():
    check = (
        "import sys, mhc_demo.numerics.costs as c; c.projection_times(matrices=2, repeats=1); "
        "assert 'torch' not in sys.modules and 'panel' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=120)


# The tables


def test_the_tables_hold_the_numbers_and_their_sources():
    traffic = traffic_html(4, 2560)
    for cell in ("5,120", "2,560", "7,680", "53,784", "33,304", "87,088", "11.34", "46,128"):
        assert f"<td>{cell}</td>" in traffic
    assert "Table 2" in traffic
    assert "4.3.1" in traffic
    activations = activations_html(4, 2560, 60, 1)
    for cell in ("1,075,200", "256,000", "92,160", "348,160", "32.4 %", "768,000", "15,360"):
        assert f"<td>{cell}</td>" in activations
    assert "best block: 6 layers" in activations
    assert "your block: 1 layer<" in activations
    assert "Table 3, Eq. 20" in activations


def test_the_overhead_is_presented_as_the_papers_own():
    assert TRAINING_OVERHEAD == 0.067
    words = overhead_html()
    for word in ("6.7 %", "the paper’s own measurement", "n = 4", "arXiv:2512.24880", "4.3"):
        assert word in words


def test_large_numbers_keep_four_digits():
    assert count_html(9_999_999) == "9,999,999"
    assert count_html(12_345_678_901) == "1.235 × 10<sup>10</sup>"


# The view


@pytest.fixture
def measurements(monkeypatch):
    """The measurements that were requested; none is taken, and no time is known at first."""
    requests = []

    def measure(projection, *, streams, device):
        requests.append((projection, streams, device))
        seconds = np.arange(31) * 1e-6 + 1e-9
        return ProjectionTimes(projection, streams, 10, tuple(range(31)), seconds, 3, "an abacus")

    monkeypatch.setattr(view, "projection_times", measure)
    monkeypatch.setattr(view, "_times", {})
    return requests


def opened(**values):
    """An explorer with its view of costs, complete as after the first picture in a browser."""
    explorer = mhc.Explorer(view="cost", **values)
    explorer.window.first_picture = True
    return explorer, explorer.stage.views["cost"]


def test_the_view_measures_once_for_each_projection_size_and_device(measurements):
    explorer, _ = opened(members=2)
    explorer.state.param.update(seed=7, spread=2.0, iterations=3)
    explorer.state.view = "composite"
    explorer.state.view = "cost"
    opened(members=3)
    assert measurements == [("sinkhorn", 4, "numpy")]
    explorer.state.streams = 3
    explorer.state.projection = "rows"
    assert measurements[1:] == [("sinkhorn", 3, "numpy"), ("rows", 3, "numpy")]


def test_measuring_again_measures_again(measurements):
    _, cost_view = opened(members=2)
    cost_view.again.clicks += 1
    assert measurements == [("sinkhorn", 4, "numpy")] * 2
    assert not cost_view.again.disabled


def test_the_view_lays_the_gains_against_the_times(measurements):
    explorer, cost_view = opened(members=2)
    gains = explorer.surface["log10_gain"].sel(direction="backward", series="median")
    columns = cost_view.table.data
    np.testing.assert_allclose(
        columns["median"].reshape(31, MAX_DEPTH), gains, rtol=1e-6, atol=1e-7
    )
    times = columns["time"].reshape(31, MAX_DEPTH)
    np.testing.assert_allclose(times, np.repeat(100.0 * np.arange(31)[:, None] + 0.1, MAX_DEPTH, 1))
    assert "by an abacus: 10 random 4 × 4 matrices in one call" in cost_view.note.object
    assert "100 ns per matrix and further iteration" in re.sub("<[^>]*>", "", cost_view.note.object)
    explorer.state.depth = 50
    gain = in_html(float(gains.sel(iterations=1, depth=50)))
    assert "after 50 layers" in cost_view.note.object
    assert f"{gain} at 1 (100 ns)" in cost_view.note.object


def test_the_event_loop_never_measures(measurements, monkeypatch):
    # The server's own thread has visitors to answer.
    scheduled = []
    monkeypatch.setattr(view.pn.state, "execute", scheduled.append)

    async def open_view():
        return opened(members=2)[1]

    cost_view = asyncio.run(open_view())
    assert measurements == []
    assert "is being timed" in cost_view.note.object
    assert np.isnan(cost_view.table.data["time"]).all()
    assert scheduled


def test_a_measurement_that_comes_too_late_is_not_shown(measurements):
    explorer, cost_view = opened(members=2)
    late, request = cost_view.measured, cost_view.timed
    explorer.state.streams = 2
    cost_view._measured(request, late)
    assert cost_view.measured.streams == 2
    cost_view._measured(cost_view.timed, None)
    assert "could not be timed" in cost_view.note.object
    assert not cost_view.again.disabled


def test_the_calculator_follows_its_fields_and_keeps_them_in_range(measurements):
    state = State()
    calculator = view.Calculator(state)
    fields = calculator.fields
    assert traffic_html(4, 2560) in calculator.tables.object
    calculator.model.value = "9B"
    assert {name: fields[name].value for name in view.SIZES} == {
        "model_streams": "4",
        "model_width": "1920",
        "model_layers": "36",
        "model_block": "2",
    }
    assert activations_html(4, 1920, 36, 2) in calculator.tables.object
    fields["model_streams"].value = "3"
    assert calculator.model.value == view.OWN
    assert traffic_html(3, 1920) in calculator.tables.object
    fields["model_streams"].value = "4"
    assert calculator.model.value == "9B"
    fields["model_block"].value = "99"
    assert fields["model_block"].value == "36"
    fields["model_layers"].value = "1,000"
    assert fields["model_layers"].value == "1000"
    assert fields["model_layers"].helper_text == ""
    ranges, ignored = "it ranges from 1 to 1048576", "what was typed was ignored"
    for typed, kept, notice in (
        ("-5", "1", f"set to 1; {ranges}."),
        ("", "1", f"{ignored}; it must be a whole number."),
        ("9" * 15, "1048576", f"set to 1048576; {ranges}."),
        ("1e3", "1048576", f"{ignored}; it must be a whole number."),
    ):
        fields["model_width"].value = typed
        assert fields["model_width"].value == kept
        assert fields["model_width"].helper_text == notice
    fields["model_width"].value = "640"
    assert fields["model_width"].helper_text == ""
    assert overhead_html() in calculator.tables.object
    assert parse_qs(state.query().lstrip("?"))["model_width"] == ["640"]
    state.reset()
    assert {name: int(fields[name].value) for name in view.SIZES} == {
        "model_streams": 4,
        "model_width": 2560,
        "model_layers": 60,
        "model_block": 2,
    }
    assert calculator.model.value == "27B"
    assert "model" not in state.query()


def test_the_calculator_is_made_from_the_state_and_lowers_a_block_above_its_layers() -> None:
    state = State(model_streams=8, model_width=512, model_layers=20, model_block=7)
    calculator = view.Calculator(state)
    assert activations_html(8, 512, 20, 7) in calculator.tables.object
    assert calculator.model.value == view.OWN
    calculator.fields["model_layers"].value = "5"
    assert state.model_block == 5
    assert calculator.fields["model_block"].value == "5"
    assert calculator.fields["model_block"].helper_text == "at most L"
    assert activations_html(8, 512, 5, 5) in calculator.tables.object
    assert state.pipeline_ranks == 5
    assert calculator.fields["pipeline_ranks"].helper_text == "at most L"


def test_the_calculator_counts_on_the_machines_of_the_state() -> None:
    state = State()
    calculator = view.Calculator(state)
    budget = mhc.cost()
    for part in (estimate_html(budget), budget_html(budget), released_html()):
        assert part in calculator.tables.object
    calculator.fields["tensor_ranks"].value = "2"
    calculator.fields["link_bandwidth"].value = "25"
    calculator.fields["model_tokens"].value = "8,192"
    calculator.chosen["gpu"].value = "h200"
    calculator.chosen["model_precision"].value = "float32"
    budget = mhc.cost(
        tensor_ranks=2, link_gb_per_s=25.0, tokens=8192, gpu="h200", precision="float32"
    )
    assert budget_html(budget) in calculator.tables.object
    assert view.budget_of(state) == budget
    said = parse_qs(state.query().lstrip("?"))
    assert {name: said[name] for name in said.keys() & set(view.MODEL_PARAMETERS)} == {
        "tensor_ranks": ["2"],
        "link_bandwidth": ["25"],
        "model_tokens": ["8192"],
        "gpu": ["h200"],
        "model_precision": ["float32"],
    }
    state.read({"gpu": [b"<script>alert(1)</script>"], "model_precision": [b"'\"><b>"]})
    assert "alert" not in calculator.tables.object
    assert view.budget_of(state) == budget


def test_what_was_measured_here_is_said_for_as_many_streams(measurements) -> None:
    _, cost_view = opened(members=2)
    told = cost_view.calculator.tables.object
    # 20 iterations of 10 matrices in 20 microseconds: 2 µs each, for 4096 tokens in 8 layers.
    assert "takes 2,000 ns a matrix here, and so 65.5\u202fms for the 32,768" in told
    cost_view.context.state.model_streams = 3
    assert "a matrix here" not in cost_view.calculator.tables.object


def test_the_answer_can_be_had_in_a_terminal_in_python_and_as_json(capsys) -> None:
    state = State(model_width=512, model_layers=20, tensor_ranks=2, link_bandwidth=25.0)
    budget = view.budget_of(state)
    markup = budget_html(budget)
    (command,) = re.findall("<code>(.*?)</code>", markup)
    assert main([*command.split()[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == budget.to_dict()
    (address,) = re.findall('href="data:application/json,([^"]*)"', markup)
    assert json.loads(unquote(address)) == budget.to_dict()
    exec(view.CostView.snippet(state), {})
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :]) == budget.to_dict()


def test_the_answer_about_cheaper_hardware_is_in_numbers() -> None:
    words = re.sub("<[^>]*>", "", released_html())
    for each in ("3.5 times", "99\u202f% of the difference", "2.0 times", "0.012\u202f%", "V4-Pro"):
        assert each in words

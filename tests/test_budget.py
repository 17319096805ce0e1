"""What mHC costs a training run: by hand for the paper's 27B model, and what must always hold."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.cli import main
from mhc_demo.lab.connections import KINDS
from mhc_demo.numerics.budget import MOST, Overhead, known_model
from mhc_demo.numerics.budget_tables import in_bytes, in_percent, in_seconds, in_text, tables
from mhc_demo.numerics.costs import best_recompute_block, copy_bandwidth, stored_activations
from mhc_demo.numerics.hardware import GPUS, PRECISIONS
from mhc_demo.numerics.paper import MODELS, RELEASED, TRAINING_OVERHEAD

pytestmark = pytest.mark.filterwarnings("error")

UNIT = 2560 * 4096 * 2
"""Bytes of one stream of the 27B model: C, tokens, bfloat16."""


def of(name, **more):
    model = MODELS[name]
    sizes = {"streams": model.streams, "width": model.width, "layers": model.residual_layers}
    return mhc.cost(**sizes, **more)


# The paper's 27B model, which is the default


def test_the_bytes_that_a_layer_moves_by_hand():
    moved = mhc.cost().moved
    # Table 2 with n = 4: 3C; 34C and 48 coefficients of 4 bytes; fused, 16C less.
    assert moved.residual_bytes == 3 * UNIT
    assert moved.unfused_bytes == 34 * UNIT + 48 * 4 * 4096
    assert moved.fused_bytes == 18 * UNIT + 48 * 4 * 4096
    assert moved.fused_seconds == moved.fused_bytes / 3.35e12  # H800


def test_the_bytes_that_a_rank_stores_by_hand():
    budget = mhc.cost()
    assert budget.layers_per_rank == 8  # of 60 layers over 8 stages, the longest
    one, flying = budget.stored, budget.in_flight
    # 2 and 7 streams' worth a layer (Table 3); in blocks of 2: 4 inputs of 4C, 8C of F, 6C * 2.
    assert (one.residual_bytes, one.everything_bytes) == (16 * UNIT, 56 * UNIT)
    assert (one.block, one.recomputed_bytes) == (2, (4 * 4 + 8 + 6 * 2) * UNIT)
    # 1F1B's first rank keeps a micro-batch for each of the 8 stages, and recomputes one.
    assert flying.microbatches == 8
    assert flying.everything_bytes == 8 * 56 * UNIT
    assert (flying.block, flying.recomputed_bytes) == (8, (8 * (4 + 8) + 6 * 8) * UNIT)


def test_without_a_pipeline_the_block_is_that_of_equation_20():
    budget = mhc.cost(pipeline_ranks=1)
    assert budget.stored == budget.in_flight
    assert budget.stored.block == best_recompute_block(60, 4) == 6
    assert budget.stored.recomputed_bytes == 136 * UNIT  # 40 and 60 held, 36 in the block
    assert budget.sent.boundaries == budget.sent.streams_bytes == budget.sent.streams_seconds == 0


def test_the_bytes_that_are_sent_by_hand():
    sent = mhc.cost().sent
    assert (sent.boundaries, sent.residual_bytes, sent.streams_bytes) == (7, UNIT, 4 * UNIT)
    assert sent.streams_seconds == pytest.approx(4 * UNIT / 50e9)
    assert mhc.cost(link_gb_per_s=25.0).sent.streams_seconds == 2 * sent.streams_seconds


def test_the_overheads_by_hand():
    found = {each.name: (each.low, each.high) for each in mhc.cost().overheads}
    # Per token.  Slow layers: 6 operations of 4.14e9 parameters at 30 % of 990 TFLOPS, and the
    # streams at the whole bandwidth; fast ones: 60 % and 70 %.
    for index, used, reached in ((0, 0.3, 1.0), (1, 0.6, 0.7)):
        second = 1 / (3.35e12 * reached)
        residual = 60 * 2 * 3 * 2560 * 2 * second
        fused, unfused = (60 * (k * 2560 * 2 + 192) * second for k in (18, 34))
        back, unfused_back = (60 * (k * 2560 * 2 + 288) * second for k in (27, 59))
        sent = 2 * 2560 * 2 / 50e9 * 8  # by the residual network: of 8 stages' work, one sends
        layers = 6 * 4.14e9 / (used * 990e12)
        wanted = {
            "kept": (fused + back, 0),
            "recomputed": (2 * fused + back, 0),
            "exposed": (2 * fused + back, sent),
            "unfused": (2 * unfused + unfused_back, sent),
        }
        for name, (streams, waits) in wanted.items():
            longer = (layers + streams + 4 * waits) / (layers + residual + waits) - 1
            assert found[name][index] == pytest.approx(longer, rel=1e-12), name
    budget = mhc.cost()
    assert (budget.low, budget.high) == (found["kept"][0], found["unfused"][1])
    assert budget.low < TRAINING_OVERHEAD < budget.high


def test_the_projection_reads_and_writes_its_entries_once():
    projected = mhc.cost().projected
    assert projected.matrices == 4096 * 8
    assert projected.bytes == projected.matrices * 2 * 16 * 4  # float32
    assert projected.at_least_seconds == projected.bytes / 3.35e12


def test_where_the_link_is_all_a_step_is_n_times_as_long():
    # Both networks wait for it, for one or n times as much, and all else takes no time beside that.
    for n in (1, 2, 4):
        slow = mhc.cost(streams=n, width=64, layers=8, link_gb_per_s=0.1, active_parameters=1e5)
        *_, exposed, _ = slow.overheads
        assert exposed.low == pytest.approx(n - 1, abs=0.01)
        assert exposed.high == pytest.approx(n - 1, abs=0.01)


def test_the_weights_are_those_of_the_labs_layers_and_of_the_released_modules():
    count = KINDS["mhc"].parameters
    assert count is not None
    assert mhc.cost().weights.parameters == 60 * count(4, 2560)
    package = pytest.importorskip("transformers.models.deepseek_v4.modeling_deepseek_v4")
    config = package.DeepseekV4Config()
    layer, head = package.DeepseekV4HyperConnection(config), package.DeepseekV4HyperHead(config)
    layer, head = (sum(p.numel() for p in each.parameters()) for each in (layer, head))
    assert of("DeepSeek-V4-Flash").weights.parameters == 86 * layer + head


# Released models


def test_what_is_published_of_the_released_models():
    flash, pro = RELEASED.values()
    assert (flash.residual_layers, flash.width, flash.streams, flash.context) == (
        86,
        4096,
        4,
        2**20,
    )
    assert (pro.residual_layers, pro.width, pro.streams, pro.context) == (122, 7168, 4, 2**20)
    package = pytest.importorskip("transformers.models.deepseek_v4")
    config = package.DeepseekV4Config()
    assert config.max_position_embeddings == flash.context
    assert (config.hc_sinkhorn_iters, config.hc_eps) == (20, 1e-6)  # as the page says


def test_a_released_model_fits_no_cheaper_hardware_for_its_streams():
    for name in RELEASED:
        budget = of(name, pipeline_ranks=1)
        stored = budget.stored
        assert stored.everything_bytes == 3.5 * stored.residual_bytes  # (n + 3) / 2
        # Recomputing gives back nearly all of the difference to a network that recomputes nothing,
        # and the same trick would halve what that one stores.
        assert 0.9 < stored.recomputed_bytes / stored.residual_bytes < 1.1
        assert 1.8 < stored.recomputed_bytes / stored.residual_recomputed_bytes < 2.1
        assert budget.context.streams_bytes == 4 * budget.context.residual_bytes
        assert budget.weights.share < 1e-3
    flash = of("DeepSeek-V4-Flash", pipeline_ranks=1)
    # 86 layers in blocks of 8: 11 inputs of 4C, 86C of F, 6C * 8 in a block.
    assert flash.stored.block == 8
    assert flash.stored.recomputed_bytes == (11 * 4 + 86 + 6 * 8) * 4096 * 4096 * 2
    assert flash.stored.residual_recomputed_bytes == 87 * 4096 * 4096 * 2
    assert flash.token.streams_bytes == 4 * 4096 * 2
    assert flash.context.streams_bytes == 2**20 * 4 * 4096 * 2


def test_the_documentation_says_what_is_computed():
    text = Path(__file__).parents[1].joinpath("docs", "research.md").read_text("utf-8")
    (said,) = re.findall(r"\*\*Does mHC fit cheaper hardware\?\*\*.*?\n\n", text, re.DOTALL)
    said = " ".join(said.split())
    flash = of("DeepSeek-V4-Flash", pipeline_ranks=1)
    unit, stored = 4096 * 4096 * 2, flash.stored
    for words in (
        "4 streams of width 4096 in 86 residual layers (43 blocks;",
        "`DeepSeek-V4-Pro` 4 of 7168 in 122",
        f"{stored.everything_bytes / stored.residual_bytes} times as much",
        f"blocks of {stored.block} layers, V4-Flash's store {stored.recomputed_bytes // unit}C",
        f"a residual network store {stored.residual_bytes // unit}C",
        f"or {stored.residual_recomputed_bytes // unit}C if it recomputes its norms",
        f"{flash.token.streams_bytes / 1e3:.1f} kB instead of "
        f"{flash.token.residual_bytes / 1e3:.1f} kB",
        f"{flash.context.streams_bytes / 1e9:.1f} GB instead of "
        f"{flash.context.residual_bytes / 1e9:.1f} GB",
        f"it is {flash.chunk.streams_bytes / 1e6:.0f} MB",
        f"are {flash.weights.parameters / 1e6:.1f} million of 284 billion",
    ):
        assert words in said


@given(st.integers(1, 400), st.integers(1, 16), st.integers(1, 64))
def test_streams_never_store_less_than_a_network_that_recomputes_as_they_do(layers, n, ranks):
    ranks = min(ranks, layers)
    budget = mhc.cost(streams=n, width=8, layers=layers, pipeline_ranks=ranks, tokens=1)
    for stored in (budget.stored, budget.in_flight):
        assert stored.recomputed_bytes > stored.residual_recomputed_bytes
        assert stored.everything_bytes >= 2 * stored.residual_bytes


# What always holds


@st.composite
def questions(draw):
    layers = draw(st.integers(1, 400))
    return {
        "streams": draw(st.integers(1, 16)),
        "width": draw(st.integers(1, 2**14)),
        "layers": layers,
        "tokens": draw(st.integers(1, 2**20)),
        "precision": draw(st.sampled_from(list(PRECISIONS))),
        "pipeline_ranks": draw(st.integers(1, min(layers, 64))),
        "tensor_ranks": draw(st.integers(1, 64)),
        "sequence_parallel": draw(st.booleans()),
        "link_gb_per_s": draw(st.integers(1, 10**5)) / 10,
        "gpu": draw(st.sampled_from(list(GPUS))),
    }


@given(questions())
def test_an_answer_is_json_and_says_what_was_asked(asked):
    budget = mhc.cost(**asked)
    said = budget.to_dict()
    assert json.loads(json.dumps(said)) == said
    assert mhc.cost(**said["asked"]).to_dict()["moved"] == said["moved"]
    assert asked.items() <= said["asked"].items()


@given(questions())
def test_the_ranges_are_in_order(asked):
    budget = mhc.cost(**asked)
    for each in budget.overheads:
        assert each.low <= each.high
    kept, recomputed, exposed, unfused = budget.overheads
    # Waits that both networks have may make the difference between them less.
    for less, more in ((kept, recomputed), (exposed, unfused)):
        assert less.low <= more.low
        assert less.high <= more.high
    stored = budget.in_flight
    assert stored.residual_bytes == asked["pipeline_ranks"] * budget.stored.residual_bytes
    assert budget.stored.recomputed_bytes <= stored.recomputed_bytes


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 64))
def test_a_ranks_best_block_is_the_best_of_all(layers, streams, microbatches):
    def kept(block):
        found = stored_activations(streams, 1, layers, block)
        return microbatches * found.resident + found.transient

    best = best_recompute_block(layers, streams, microbatches)
    assert best == min(range(1, layers + 1), key=kept)


def test_streams_in_float32_take_twice_the_bytes():
    narrow, wide = mhc.cost(), mhc.cost(precision="float32")
    assert wide.stored.everything_bytes == 2 * narrow.stored.everything_bytes
    assert wide.sent.streams_bytes == 2 * narrow.sent.streams_bytes
    # The coefficients are float32 in any case.
    assert wide.moved.fused_bytes == 2 * narrow.moved.fused_bytes - 48 * 4 * 4096
    assert wide.projected == narrow.projected


def test_tensor_ranks_divide_the_tokens_or_have_all_streams():
    one, divided = mhc.cost(), mhc.cost(tensor_ranks=4)
    replicated = mhc.cost(tensor_ranks=4, sequence_parallel=False)
    assert replicated.moved == one.moved
    assert replicated.stored == one.stored
    assert divided.moved.fused_bytes * 4 == one.moved.fused_bytes
    assert divided.stored.recomputed_bytes * 4 == one.stored.recomputed_bytes
    assert divided.sent.streams_bytes * 4 == one.sent.streams_bytes
    # The layers' own work is shared in both cases, so that only replicated streams cost more of it.
    assert replicated.high > 2 * one.high
    assert divided.high == pytest.approx(one.high)
    assert "no sequence parallelism" in " ".join(replicated.assumes)
    assert "divide its tokens" in " ".join(divided.assumes)


def test_the_layers_own_work_is_the_published_or_a_dense_transformers_or_what_is_given():
    assert known_model(4, 2560, 60) is MODELS["27B"]
    assert known_model(4, 2560, 61) is None
    other = mhc.cost(width=1024, layers=48)
    assert other.model is None
    assert other.context is None
    assert other.weights.share is None
    assert other.asked.active_parameters == 48 * 6 * 1024**2
    assert "dense Transformer" in other.assumes[0]
    assert "as published of 27B" in mhc.cost().assumes[0]
    given_ = mhc.cost(active_parameters=1e9)
    assert "as given" in given_.assumes[0]
    assert given_.high > mhc.cost().high


def test_one_stream_moves_more_than_a_residual_network_and_sends_as_much():
    budget = mhc.cost(streams=1)
    assert budget.sent.streams_bytes == budget.sent.residual_bytes
    assert budget.moved.fused_bytes > budget.moved.residual_bytes


def test_every_gpu_has_two_peaks_and_a_source():
    for gpu in GPUS.values():
        assert 1e11 < gpu.bandwidth < 1e14
        assert 1e13 < gpu.peak < 1e16
        assert gpu.source
        # Matrix units outrun memory by far: what the streams cost is bandwidth.
        assert gpu.peak / gpu.bandwidth > 100


def test_this_machine_is_measured_when_asked():
    budget = mhc.cost(streams=2, width=64, layers=4, pipeline_ranks=2, measured_on="numpy")
    here = budget.here
    assert here is not None
    assert "NumPy" in here.device
    assert here.fused_seconds == budget.moved.fused_bytes / here.copied_bytes_per_second
    assert here.projected_seconds == pytest.approx(
        budget.projected.matrices * here.matrix_nanoseconds / 1e9
    )
    assert all(np.isfinite(value) and value > 0 for value in list(asdict(here).values())[1:])
    assert mhc.cost().here is None


def test_a_copy_takes_time(monkeypatch):
    monkeypatch.setattr("mhc_demo.numerics.costs.COPIED", 2**16)
    assert 0 < copy_bandwidth(repeats=1) < math.inf


# In words, and on the command line


def plain(text):
    return text.replace("\u202f", " ").replace("\u00a0", " ")


def command(line):
    return main(line.split())


def test_units():
    assert [plain(in_bytes(x)) for x in (0, 512, 999, 999.9, 5120, 83_886_080, 3.436e10, 2e22)] == [
        *("0 B", "512 B", "999 B", "1.00 kB", "5.12 kB", "83.9 MB", "34.4 GB", "20,000 EB"),
    ]
    assert [plain(in_seconds(x)) for x in (0, 1.57e-7, 1.25e-6, 0.0016777, 0.99999, 4321.0)] == [
        *("0 s", "157 ns", "1.25 µs", "1.68 ms", "1.00 s", "4,321 s"),
    ]
    assert plain(in_percent(Overhead("", "", 0.0489, 0.1374))) == "4.9 to 13.7 %"
    assert plain(in_percent(Overhead("", "", 0.5, 12.5))) == "50 to 1,250 %"


@given(questions())
def test_every_table_is_full(asked):
    budget = mhc.cost(**asked)
    found = tables(budget)
    assert len({table.name for table in found}) == len(found) == 5 - (budget.sent.boundaries == 0)
    for table in found:
        assert all(len(cells) == len(table.columns) for _, _, cells in table.rows)
        assert "nan" not in str(table)
    text = in_text(budget)
    assert all(each in text for each in budget.assumes)
    assert budget.source in text


def test_one_token_is_one_and_has_one_row():
    text = in_text(mhc.cost(streams=1, width=4, layers=1, tokens=1))
    assert "; 1 token in bfloat16" in text
    assert "1 matrix)" in text
    assert text.count("1 token (") == 1
    assert "1 tokens" not in text
    assert "96 parameters are active" in text  # 6 C^2


def test_the_tables_hold_the_numbers_of_the_27b_model():
    found = {table.name: table for table in tables(mhc.cost())}

    def cells(table, row):
        return [plain(cell) for cell in found[table].rows[row][2]]

    assert cells("cost-moved", 2) == ["378 MB", "6.01", "113 µs"]
    assert cells("cost-stored", 2) == ["1.17 GB", "9.40 GB", "3.50"]
    assert cells("cost-stored", 3) == ["755 MB", "3.02 GB", "1.12"]
    assert cells("cost-sent", 1) == ["83.9 MB", "1.68 ms"]
    assert cells("cost-carried", 0) == ["5.12 kB", "20.5 kB"]
    assert "blocks of 2 and 8" in found["cost-stored"].rows[3][1]
    assert "6.7" in found["cost-overhead"].source


def test_the_command_prints_the_tables_or_all_numbers_as_json(capsys):
    assert command("cost") == 0
    assert capsys.readouterr().out == in_text(mhc.cost()) + "\n"
    line = "cost --model DeepSeek-V4-Flash --tokens 8192 --precision float32 --pipeline-ranks 4 "
    line += "--tensor-ranks 2 --no-sequence-parallel --bandwidth 25 --gpu h200 --json"
    assert command(line) == 0
    wanted = of(
        "DeepSeek-V4-Flash",
        tokens=8192,
        precision="float32",
        pipeline_ranks=4,
        tensor_ranks=2,
        sequence_parallel=False,
        link_gb_per_s=25.0,
        gpu="h200",
    )
    assert json.loads(capsys.readouterr().out) == wanted.to_dict()
    assert command("cost --streams 8 --layers 5 --active-parameters 1e9 --json") == 0
    wanted = mhc.cost(streams=8, layers=5, active_parameters=1e9)
    assert json.loads(capsys.readouterr().out) == wanted.to_dict()
    assert wanted.asked.pipeline_ranks == 5  # not 8: a stage has a layer at least


def test_the_command_measures_this_machine_when_asked(capsys):
    assert command("cost --width 64 --layers 4 --tokens 16 --measure --json") == 0
    here = json.loads(capsys.readouterr().out)["here"]
    assert here["copied_bytes_per_second"] > 0
    assert here["matrix_nanoseconds"] > 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--streams 0", "argument --streams: 0 is out of range (1 to 64)"),
        ("--width x", "argument --width: 'x' is not a whole number"),
        ("--tokens 1e3", "argument --tokens: '1e3' is not a whole number"),
        ("--bandwidth inf", "argument --bandwidth: inf is out of range (0.1 to 10000)"),
        ("--gpu abacus", "argument --gpu: 'abacus' is not one of h800, h100"),
        ("--model 70B", "argument --model: '70B' is not one of 3B, 9B, 27B"),
        ("--measure abacus", "argument --measure: 'abacus' is not one of numpy"),
        ("--layers 4 --pipeline-ranks 9", "pipeline_ranks must be between 1 and 4, not 9"),
        (f"--layers {MOST['layers'] + 1}", "is out of range (1 to 10000)"),
    ],
)
def test_the_command_refuses_what_it_cannot_answer(capsys, line, said):
    with pytest.raises(SystemExit) as stop:
        command(f"cost {line}")
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


# Bad input


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"streams": 0}, ValueError, "streams must be between 1 and 64, not 0"),
        ({"width": 2.5}, TypeError, "width must be a whole number, not 2.5"),
        ({"layers": True}, TypeError, "layers must be a whole number, not True"),
        ({"tokens": 0}, ValueError, "tokens must be between 1 and 16777216, not 0"),
        ({"pipeline_ranks": 61}, ValueError, "pipeline_ranks must be between 1 and 60, not 61"),
        ({"tensor_ranks": 0}, ValueError, "tensor_ranks must be between 1 and 64, not 0"),
        ({"precision": "int4"}, ValueError, "precision must be one of .*'float32', not 'int4'"),
        ({"gpu": "abacus"}, ValueError, "gpu must be one of .*'h100'.*, not 'abacus'"),
        ({"link_gb_per_s": 0}, ValueError, "link_gb_per_s must be between 0.1 and 10000, not 0"),
        ({"layers": 10_001}, ValueError, "layers must be between 1 and 10000, not 10001"),
        ({"link_gb_per_s": math.nan}, ValueError, "link_gb_per_s must be between"),
        ({"link_gb_per_s": math.inf}, ValueError, "link_gb_per_s must be between"),
        ({"link_gb_per_s": "50"}, TypeError, "link_gb_per_s must be a number, not '50'"),
        ({"active_parameters": -1}, ValueError, "active_parameters must be between 1 and 1e.15"),
        ({"sequence_parallel": 1}, TypeError, "sequence_parallel must be True or False, not 1"),
        ({"measured_on": "abacus"}, ValueError, "device must be one of"),
    ],
)
def test_bad_input_is_named(asked, error, message):
    with pytest.raises(error, match=message):
        mhc.cost(**asked)

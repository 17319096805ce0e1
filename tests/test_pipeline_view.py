"""The view "At scale": what is drawn and written is what the simulator and the counts say."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import param
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.app.state import State
from mhc_demo.app.views.scale import FOLLOWED, SCALE_PARAMETERS, ScaleView, of_state, shown
from mhc_demo.export.embed.page import Content
from mhc_demo.export.grid import _request
from mhc_demo.figures import pipeline, style
from mhc_demo.figures.stages import (
    account,
    blocks_html,
    brief,
    exposed_html,
    fitted,
    lesson,
    memory_html,
    percent,
    three_html,
)
from mhc_demo.numerics.hardware import PRECISIONS
from mhc_demo.numerics.paper import MODELS
from mhc_demo.numerics.pipeline import SCHEDULES, Times, simulate
from mhc_demo.numerics.stages import (
    MOST_CHUNKS,
    RESIDUAL,
    WAYS,
    Stages,
    Way,
    blocks,
    exposed,
    gibibytes,
    kept,
    message,
    most_kept,
    overhead,
    span,
    timeline,
)
from tests.test_colours import LEAST_CONTRAST, contrast

EVERY = pytest.mark.parametrize("schedule", SCHEDULES)
CLOSE = {"rtol": 1e-6, "atol": 1e-4}
"""A chart holds float32 numbers, in milliseconds."""


# The chart


@EVERY
def test_the_areas_of_a_rank_are_its_work(schedule: str) -> None:
    line = simulate(schedule, 4, 10, Times(2, 3, 1, send=0.5, recompute=0.25, ahead=0.5))
    columns = pipeline.chunk_columns(line)
    wide = columns["right"] - columns["left"]
    tall = (columns["bottom"] - columns["top"]) / (2 * pipeline.HALF)
    assert set(np.round(tall, 5)) <= {0.5, 1.0}  # halves of two that overlap
    for rank in range(4):
        own = columns["rank"] == rank
        np.testing.assert_allclose((wide * tall)[own].sum(), line.busy(rank), **CLOSE)
        assert (np.abs(columns["rank_at"][own] - rank) < 0.5).all()
    # A full backward chunk is drawn as its two parts: each kind is there as often as it ran.
    parts = {"F": "F", "I": "BI", "W": "BW", "R": "R"}
    for kind, of in parts.items():
        ran = sum(chunk.kind in of for event in line.events for chunk in event.task)
        assert columns["letter"].count(kind) == ran > 0
    inputs = (np.array(columns["letter"]) == "I") & (tall > 0.9)
    np.testing.assert_allclose((wide * tall)[inputs], 3, **CLOSE)


@EVERY
def test_what_is_sent_is_beside_its_sender(schedule: str) -> None:
    line = simulate(schedule, 4, 10, Times(send=0.5))
    columns = pipeline.message_columns(line)
    assert len(columns["left"]) == len(line.messages) == 2 * 3 * 10
    np.testing.assert_allclose(columns["right"] - columns["left"], 0.5, **CLOSE)
    for k, sent in enumerate(line.messages):
        middle = (columns["top"][k] + columns["bottom"][k]) / 2
        assert abs(middle - sent.origin) < 0.5  # nearer to the sender
        assert (middle > sent.origin) == (sent.target > sent.origin)
    chunks = pipeline.chunk_columns(line)
    assert not set(np.round(columns["top"], 2)) & set(np.round(chunks["top"], 2))


def test_kinds_differ_by_letter_hatch_and_colour_and_can_be_read() -> None:
    assert len({fill.colour for fill in pipeline.FILLS}) == len(pipeline.FILLS) == 8
    assert [kind for kind, (_, fill) in pipeline.KINDS.items() if fill.hatch] == ["W", "R"]
    assert all(contrast(fill.colour, fill.ink) >= LEAST_CONTRAST for fill in pipeline.FILLS)
    methods = {style.HC, style.PROJECTED, style.PLUS, style.MINUS}
    assert methods.isdisjoint(fill.colour for fill in pipeline.FILLS)


@EVERY
def test_a_chart_says_what_it_shows(schedule: str) -> None:
    line = simulate(schedule, 8, 20, Times(send=0.25))
    idle = sum(line.bubble(rank) for rank in range(8)) / (8 * line.span)
    assert pipeline.bubble_share(line) == pytest.approx(idle)
    chart = pipeline.PipelineFigure(line, 100)
    assert chart.figure.title.text == (
        f"{SCHEDULES[schedule].title}: {line.span:,.0f} ms, idle {100 * idle:.1f} %"
    )
    (said,) = chart.said.data["said"]
    assert f"{line.span:,.1f} milliseconds" in said
    assert f"{len(line.messages)} messages" in said
    assert chart.over.location == line.span
    chart.update(simulate(schedule, 4, 8), 50)
    assert (chart.figure.x_range.end, chart.figure.y_range.start) == (50, 3.6)


# The tables and sentences


def cells(table: str) -> list[list[str]]:
    """The numbers of a table, row by row."""
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", table)
    return [re.findall(r"<td>(.*?)</td>", row) for row in rows]


def number(cell: str) -> float:
    return float(cell.replace(",", "").replace("−", "-").removesuffix(" %"))


STAGES = Stages(streams=3, width=1024, layers=50, ranks=4, microbatches=12, forward=5.0, link=2e10)


def test_the_table_of_what_is_exposed_holds_the_simulations_numbers() -> None:
    way = Way(fused=False)
    for row, name in zip(cells(exposed_html(STAGES, way)), SCHEDULES, strict=True):
        wanted = [
            exposed(STAGES, name, RESIDUAL),
            exposed(STAGES, name, replace(way, overlapped=False)),
            exposed(STAGES, name, way),
            span(STAGES, name, way),
            100 * pipeline.bubble_share(timeline(STAGES, name, way)),
        ]
        np.testing.assert_allclose(list(map(number, row)), wanted, rtol=6e-3, atol=0.05)


@EVERY
def test_the_table_of_the_three_holds_the_simulations_numbers(schedule: str) -> None:
    rows = cells(three_html(STAGES, schedule))
    assert rows[0][-1] == ""
    for row, way in zip(rows, [RESIDUAL, *WAYS.values()], strict=True):
        assert number(row[0]) == pytest.approx(span(STAGES, schedule, way), rel=6e-3)
        assert number(row[1]) == pytest.approx(exposed(STAGES, schedule, way), rel=6e-3)
        held = gibibytes(STAGES, kept(STAGES, most_kept(STAGES, schedule), way).peak)
        assert number(row[2]) == pytest.approx(held, abs=0.005)
        if way != RESIDUAL:
            assert row[3] == percent(overhead(STAGES, schedule, way))


@EVERY
def test_the_tables_of_memory_hold_the_counts(schedule: str) -> None:
    micro = most_kept(STAGES, schedule)
    row = cells(memory_html(STAGES))[list(SCHEDULES).index(schedule)]
    ways = (RESIDUAL, WAYS["fused"], WAYS["all three"])
    wanted = [gibibytes(STAGES, kept(STAGES, micro, way).peak) for way in ways]
    np.testing.assert_allclose(list(map(number, row)), wanted, atol=0.005)
    for row, block in zip(
        cells(blocks_html(STAGES, schedule)), blocks(STAGES, micro).values(), strict=True
    ):
        found = kept(STAGES, micro, Way(), block)
        assert int(row[0]) == block
        held = [gibibytes(STAGES, each) for each in (found.resident, found.peak)]
        np.testing.assert_allclose(list(map(number, row[1:])), held, atol=0.005)


def test_the_lesson_has_these_numbers_and_says_which_one_was_measured() -> None:
    said = lesson(STAGES, "zb1p")
    for name in ("nothing", "fused", "fused, recomputed", "all three", "all but fused"):
        assert percent(overhead(STAGES, "zb1p", WAYS[name])) in said
    twice = replace(STAGES, forward=10.0, inputs=20.0, weights=20.0)
    assert percent(overhead(twice, "zb1p")) in said
    assert "6.7 % is <em>measured</em>" in said
    assert "2512.24880" in said
    assert said.count("measured") == 1
    assert lesson(STAGES, "all") == lesson(STAGES, "dualpipe")


def test_recomputing_buys_memory_only_where_it_does() -> None:
    # 2 micro-batches of one layer: all kept 2 (n + 3) = 14, recomputed 2 (n + 1) + n + 2 = 16.
    short = Stages(layers=2, ranks=2, microbatches=4)
    ways = [kept(short, 2, WAYS[name]).peak / 2560 for name in ("fused", "fused, recomputed")]
    assert ways == [14, 16]
    assert "Recomputation takes time, and here saves no memory" in lesson(short, "1f1b")
    assert "Recomputation buys memory, not time" in lesson(STAGES, "1f1b")
    assert "n = 1 stream makes a step" in lesson(replace(STAGES, streams=1), "1f1b")


@pytest.mark.parametrize(
    "stages",
    [
        # The streams' kernels take longer backward.  With a memory that takes no time F and the
        # backward pass for the inputs are equal, as DualPipe's formula needs them.
        replace(STAGES, width=1, tokens=1, inputs=5.0, weights=4.0, memory=1e300),
        replace(STAGES, inputs=10.0, weights=5.0),
        replace(STAGES, inputs=5.0, weights=50.0),
    ],
)
def test_a_published_idle_time_stands_only_where_it_is_the_simulated_one(stages: Stages) -> None:
    usual = timeline(stages, "1f1b", WAYS["all three"]).times
    only = Times(usual.forward, usual.inputs, usual.weights)
    notes = re.findall(r"<small>(published.*?)</small>", exposed_html(stages, WAYS["all three"]))
    for said, (name, each) in zip(notes, SCHEDULES.items(), strict=True):
        line = simulate(name, stages.ranks, stages.microbatches, only)
        idle = max(map(line.bubble, range(stages.ranks)))
        told = re.search(r"([\d,.]+) ms$", said)
        assert told
        assert number(told[1]) == pytest.approx(idle, rel=6e-3)
        holds = idle == pytest.approx(each.bubble(stages.ranks, only))
        assert (" = " in said) == holds
        assert ("here simulated" in said) == (not holds)
        assert holds or each.when in said


@given(
    st.sampled_from([(1, 2560, 60), (4, 2560, 60), (4, 4096, 86), (3, 64, 5)]),
    st.integers(1, 5000),
    st.integers(1, 7),
    st.sampled_from([2, 4, 5]),
    st.sampled_from(["bfloat16", "float32"]),
)
def test_cost_keeps_and_sends_the_same_bytes(
    sizes: tuple[int, int, int], tokens: int, tensor: int, ranks: int, precision: str
) -> None:
    n, width, layers = sizes
    found = mhc.cost(
        streams=n,
        width=width,
        layers=layers,
        tokens=tokens,
        precision=precision,
        pipeline_ranks=ranks,
        tensor_ranks=tensor,
    )
    stages = Stages(n, width, layers, ranks, 16, tokens, PRECISIONS[precision], tensor_ranks=tensor)
    flying = found.in_flight
    best = blocks(stages, ranks)["kept"]
    for way, held in (
        (RESIDUAL, flying.residual_bytes),
        (WAYS["fused"], flying.everything_bytes),
        (WAYS["all three"], flying.recomputed_bytes),
    ):
        elements = kept(stages, ranks, way, best).peak
        assert gibibytes(stages, elements) * 2**30 == pytest.approx(held)
    assert flying.block == best
    assert message(stages) == found.sent.streams_bytes
    assert message(stages, RESIDUAL) == found.sent.residual_bytes


def test_a_line_says_what_it_comes_to() -> None:
    said = brief(STAGES, "all").replace("\N{NO-BREAK SPACE}", " ")
    assert "DualPipe" in said
    for name in ("nothing", "fused", "fused, recomputed", "all three"):
        assert f"<b>{percent(overhead(STAGES, 'dualpipe', WAYS[name]))}</b>" in said
    assert "measured <b>6.7 %</b>" in said


@pytest.mark.parametrize(("name", "model"), MODELS.items())
def test_the_time_assumed_is_told_as_a_pace_for_known_models(name: str, model: Any) -> None:
    sizes = {"streams": model.streams, "width": model.width, "layers": model.residual_layers}
    stages = Stages(**sizes, ranks=4, forward=20.0, tensor_ranks=2)
    # Two operations for each active parameter and token, on 4 x 2 GPUs.
    pace = 2 * model.active * 4096 / 8 / 20e-3 / 1e12
    found = re.search(
        rf"parameters of {name} the time assumed is ([\d,.]+) TFLOP/s", _account(stages)
    )
    assert found
    assert number(found[1]) == pytest.approx(pace, rel=6e-3)
    assert "TFLOP/s" not in _account(replace(stages, width=model.width + 1))


def test_a_pace_that_no_gpu_has_is_called_that() -> None:
    stages = Stages()  # 2 x 4.14e9 x 4096 / 8 / 0.01 s are 424 TFLOP/s
    said = account(stages, WAYS["all three"], peak=400e12)
    assert "424 TFLOP/s" in said
    assert "no GPU of this kind does: its peak is 400." in said
    assert "no GPU of this kind" not in account(stages, WAYS["all three"], peak=500e12)
    state = State(model_width=7168, model_layers=122)  # DeepSeek-V4-Pro in the usual 10 ms
    values = {name: getattr(state, name) for name in FOLLOWED}
    assert "no GPU of this kind does" in "".join(shown(tuple(values.items())).note)


def _account(stages: Stages) -> str:
    return account(stages, WAYS["all three"])


def test_what_several_gpus_send_is_said_of_each() -> None:
    shared = Stages(tensor_ranks=2)
    assert "4,096 tokens sends 41.9 MB from stage to stage on each of its GPUs" in _account(shared)
    one = Stages(width=1, tokens=1, tensor_ranks=64)  # of one token, n numbers of 2 bytes
    assert "1 token sends 8 B from stage to stage" in _account(one)


def test_what_was_changed_is_said() -> None:
    assert fitted((8, 20), (8, 20)) == ""
    assert "8 ranks instead of 7 and 16 micro-batches instead of 5" in fitted((7, 5), (8, 16))


# The view


def opened(**values: Any) -> tuple[mhc.Explorer, ScaleView]:
    explorer = mhc.Explorer(members=2, streams=2, view="scale", **values)
    explorer.window.first_picture = True
    view = explorer.stage.views["scale"]
    assert isinstance(view, ScaleView)
    return explorer, view


CHANGES: list[dict[str, Any]] = [
    {"pipeline_ranks": 4, "microbatches": 9, "schedule": "1f1b"},
    {"model_streams": 8, "overlaps": False},
    {"recomputes": False, "fused": False, "stage_forward": 3.5, "schedule": "dualpipe"},
    {"stage_inputs": 0.0, "stage_weights": 2.0, "link_bandwidth": 5.0},
    {"model_precision": "float32", "tensor_ranks": 3, "gpu": "a100", "schedule": "zb1p"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_after_a_change_the_charts_are_the_simulation(change: dict[str, Any]) -> None:
    explorer, view = opened()
    explorer.state.param.update(**change)
    values = {**State().param.values(), **change}
    stages, way, correction = of_state(values)
    lines = {name: timeline(stages, name, way) for name in SCHEDULES}
    chosen = change.get("schedule", "all")
    drawn = [name for name in SCHEDULES if chosen in ("all", name)]
    assert [each.name for each in view.figures()] == [f"pipeline-{name}" for name in drawn]
    assert [name for name, place in view.places.items() if place.visible] == drawn
    for name in drawn:
        chart = view.charts[name]
        np.testing.assert_allclose(chart.chunks.data["right"].max(), lines[name].span, **CLOSE)
        starts = [event.start for event in lines[name].events if event.task[0].kind == "F"]
        letters = np.array(chart.chunks.data["letter"])
        found = chart.chunks.data["left"][letters == "F"]
        np.testing.assert_allclose(found[: len(starts)], starts[: len(found)], **CLOSE)
        sent = [message.end for message in lines[name].messages]
        np.testing.assert_allclose(chart.sent.data["right"], sent, **CLOSE)
    ends = {chart.figure.x_range.end for chart in view.charts.values()}
    assert ends == {1.01 * max(line.span for line in lines.values())}  # they can be compared
    assert (correction == "") == ("9" not in str(change))
    assert correction in view.legend.object
    assert percent(overhead(stages, drawn[-1])) in view.note.object
    assert brief(stages, chosen) in view.legend.object
    assert view.tables.object == shown(tuple(_values(explorer.state).items())).tables
    # What a reader without scripts gets is the same.
    assert view.tables.object in ScaleView.told(explorer.state)
    explorer.state.reset()
    assert _values(explorer.state) == _values(State())


def _values(state: State) -> dict[str, Any]:
    from mhc_demo.app.views.scale import FOLLOWED

    return {name: getattr(state, name) for name in FOLLOWED}


def test_a_known_model_is_chosen_and_recognised() -> None:
    state = State(view="scale")
    menu, *_ = ScaleView.settings(state)
    assert menu.value == "27B"
    menu.value = "3B"
    assert (state.model_width, state.model_layers) == (1280, 24)
    state.model_width = 1281
    assert menu.value not in MODELS
    menu.value = "27B"
    assert state.model_width == 2560


def test_a_python_of_the_view_prints_its_numbers() -> None:
    state = State(view="scale", pipeline_ranks=4, microbatches=8, fused=False)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(ScaleView.snippet(state), {})
    stages, way, _ = of_state(_values(state))
    for name, line in zip(SCHEDULES, printed.getvalue().splitlines(), strict=True):
        assert line.startswith(f"{name}: step {span(stages, name, way):.1f} ms")
        assert f"{100 * overhead(stages, name, way):.1f} % more" in line


@settings(deadline=None, max_examples=8)
@given(st.data())
def test_no_link_breaks_it_or_makes_it_large(data: st.DataObject) -> None:
    state = State(view="scale")
    for name in ("model_layers", *SCALE_PARAMETERS, "pipeline_ranks", "link_bandwidth"):
        parameter = state.param[name]
        if isinstance(parameter, param.Boolean):
            text = data.draw(st.sampled_from(["0", "1"]))
        elif isinstance(parameter, param.Selector):
            text = data.draw(st.sampled_from(list(parameter.objects)))
        else:
            text = str(data.draw(st.sampled_from(parameter.bounds)))
        state.read({name: [text.encode()]})
    found = shown(tuple(_values(state).items()))
    assert all(line.ranks * line.microbatches <= MOST_CHUNKS for line in found.lines.values())
    assert "nan" not in found.tables
    assert "inf<" not in found.tables


def test_the_server_is_not_held_up_by_a_simulation() -> None:
    explorer, view = opened()

    async def change() -> None:
        explorer.state.microbatches = 24
        assert view.latest.running
        assert view.shown.lines["1f1b"].microbatches == 20
        for _ in range(1000):
            await asyncio.sleep(0.02)
            if view.shown.lines["1f1b"].microbatches == 24:
                return
        raise AssertionError("still simulating")

    asyncio.run(change())


# Without a server


@pytest.mark.parametrize("chosen", ["all", *SCHEDULES])
def test_a_site_has_a_choice_of_the_schedule(chosen: str) -> None:
    request = _request(mhc.Experiment(members=2), "scale", "numpy", {"schedule": chosen})
    content = Content(request)
    (plot,) = content.plots
    drawn = [name for name in SCHEDULES if chosen in ("all", name)]
    assert [each.name for each in plot.figures] == [f"pipeline-{name}" for name in drawn]
    assert content.notes[0][0].endswith(lesson(Stages(), chosen))
    assert three_html(Stages(), "dualpipe" if chosen == "all" else chosen) in plot.html()

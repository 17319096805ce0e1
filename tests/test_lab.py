"""The training lab: what its runs do, and what their records hold."""

import errno
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import mhc_demo
from mhc_demo import lab
from mhc_demo.app import training as training_of_a_page
from mhc_demo.app.snippet import lab_snippet
from mhc_demo.app.views.lab import preset_of
from mhc_demo.app.views.lab_words import results
from mhc_demo.cli import main
from mhc_demo.lab import tasks, training
from mhc_demo.lab.figure import LabFigure
from mhc_demo.lab.networks import Network
from mhc_demo.nn.readings import log10_composites
from mhc_demo.numerics.surface import MAX_DEPTH

SMALL = {"depth": 3, "width": 8, "steps": 4, "batch": 16}


@cache
def trained(connection, preset=None, **values):
    settings = lab.PRESETS[preset].settings(**values) if preset else lab.Settings(**values)
    record = lab.Record(settings.changed(connection=connection))
    record.extend(lab.train(record.settings))
    return record


def gains(record):
    return np.array([max(step.gain.values()) for step in record.steps])


# What happens


@pytest.mark.long
@pytest.mark.parametrize("connection", lab.COMPARED)
def test_in_the_calm_preset_every_network_learns(connection):
    record = trained(connection, "calm")
    assert record.outcome == "finished"
    assert len(record.steps) == record.settings.steps
    assert record.summary.loss < 0.2 * record.steps[0].loss
    assert record.summary.score > 0.9


@pytest.mark.long
def test_in_the_exploding_preset_hc_explodes_and_mhc_does_not():
    # With fewer samples in a step HC's gain grows in half of the preset's steps.
    hc, mhc = (trained(name, "explodes", steps=30, batch=16) for name in ("hc", "mhc"))
    assert hc.summary.largest_gain > 5
    assert hc.summary.largest_gain > mhc.summary.largest_gain + 2
    assert mhc.summary.largest_gain < math.log10(4)  # rows sum to 1: nothing can exceed n


@pytest.mark.long
def test_in_the_exploding_preset_as_it_is_mhc_is_not_still_for_lack_of_mixing():
    hc, mhc = (trained(connection, "explodes", steps=60) for connection in ("hc", "mhc"))
    assert hc.summary.largest_gain > 5
    assert hc.summary.largest_gain > mhc.summary.largest_gain + 2
    assert mhc.summary.largest_gain < math.log10(4)
    assert mhc.steps[-1].mean_mixing > 2 * mhc.steps[0].mean_mixing


@pytest.mark.long
def test_in_the_failing_preset_hc_does_not_learn_and_mhc_does():
    hc, mhc = (trained(connection, "fails", steps=80) for connection in ("hc", "mhc"))
    loss = np.array([step.loss for step in hc.steps])
    assert loss[9:20].min() < 1.5  # it did learn at first
    assert gains(hc).max() > 20
    assert hc.summary.score < 0.15
    assert hc.summary.loss > 2.2  # guessing has log(10) = 2.3
    assert gains(mhc).max() <= math.log10(4) + 1e-6
    assert mhc.summary.loss < 1.8
    assert mhc.summary.score > 2 * hc.summary.score


@pytest.mark.long
def test_in_the_still_preset_nothing_happens():
    record = trained("hc", "still", steps=30)
    assert np.abs(gains(record)).max() < 0.02  # decades
    assert record.steps[-1].mean_mixing < 0.01


def test_the_first_layer_does_not_count_as_mixing():
    step = replace(trained("mhc", **SMALL).steps[0], mixing=[100.0, 0.1, 0.3])
    assert step.mean_mixing == pytest.approx(0.2)


@pytest.mark.long
def test_the_transformer_learns_characters():
    record = trained("mhc", task="text", depth=4, width=32, batch=8, steps=80, learning_rate=0.01)
    # Of 103 characters log2(103) = 6.7 bits at the start; single letters of English have some 4.5.
    assert record.summary.score < 4.5
    assert record.summary.loss < 0.75 * record.steps[0].loss


def test_attention_sees_no_later_character():
    settings = lab.Settings(task="text", depth=2, width=8, connection="residual")
    data = lab.TASKS["text"].load(0)
    network = Network(settings, data).eval()
    x = torch.randint(data.classes, (1, tasks.CONTEXT))
    changed = x.clone()
    changed[:, 10:] = 0
    assert torch.equal(network(x)[:, :10], network(changed)[:, :10])


def test_everything_but_the_connection_starts_the_same():
    data = lab.TASKS["digits"].load(0)
    networks = [Network(lab.Settings(connection=name, **SMALL), data) for name in lab.CONNECTIONS]
    branches = [
        {k: v for k, v in each.state_dict().items() if "mappings" not in k} for each in networks
    ]
    assert all(each.keys() == branches[0].keys() for each in branches)
    assert all(torch.equal(each[name], branches[0][name]) for each in branches for name in each)


# What a step records


@pytest.mark.parametrize("connection", ["hc", "mhc"])
def test_a_step_records_every_layer_and_the_mixing_of_its_matrices(connection):
    step = trained(connection, **SMALL).steps[-1]
    assert len(step.layer_gains["forward"]) == len(step.mixing) == len(step.h_res) == 3
    h_res = np.array(step.h_res)
    assert h_res.shape == (3, 4, 4)
    if connection == "mhc":  # averages of non-negative matrices have the average of their mixing
        off_diagonal = h_res.sum(-1) - np.diagonal(h_res, axis1=1, axis2=2)
        np.testing.assert_allclose(step.mixing, off_diagonal.mean(-1), atol=1e-5)


def test_composite_gains_are_those_of_the_products():
    torch.manual_seed(0)
    layers = torch.randn(5, 3, 4, 4, dtype=torch.float64)  # (tokens, L, n, n)
    ours = log10_composites(layers.movedim(1, 0))
    for row, direction in zip(ours, ("forward", "backward"), strict=True):
        gain = 10.0 ** mhc_demo.compose(layers, direction).log10_gain(direction)
        torch.testing.assert_close(row, gain.mean(0).log10())


def test_composites_beyond_any_float_have_a_logarithm():
    layers = torch.full((128, 1, 4, 4), 1e30, dtype=torch.float64)
    forward, backward = log10_composites(layers)
    depths = torch.arange(1, 129, dtype=torch.float64)
    torch.testing.assert_close(forward, depths * math.log10(4e30))
    torch.testing.assert_close(backward, forward.flip(0))


def without_times(record):
    steps = [replace(step, seconds=0.0, per_second=0.0, memory=0) for step in record.steps]
    return steps, replace(record.summary, seconds_per_step=0.0)


@pytest.mark.parametrize("task", lab.TASKS)
def test_two_runs_with_one_seed_agree_to_the_last_digit(task):
    values = SMALL | {"connection": "mhc", "task": task}
    first, second, other = (lab.Record(lab.Settings(seed=seed, **values)) for seed in (0, 0, 1))
    for record in (first, second, other):
        torch.manual_seed(len(record.steps) + record.settings.seed)  # the lab has its own generator
        record.extend(lab.train(record.settings))
    assert without_times(first) == without_times(second)
    assert first.steps[0].loss != other.steps[0].loss


def test_a_run_does_nothing_between_records_and_ends_when_it_is_closed():
    run = lab.train(lab.Settings(**SMALL))
    assert next(run).step == 1
    run.close()
    assert list(run) == []


def test_a_run_that_diverges_says_so_and_its_record_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "cross_entropy", lambda x, y: x.sum() * math.inf)
    settings = lab.Settings(connection="hc", **SMALL)
    *steps, summary = lab.recorded(lab.train(settings), settings, tmp_path / "r.jsonl")
    assert summary.outcome == "diverged"
    assert summary.steps == len(steps) == 1
    record = lab.read_record(tmp_path / "r.jsonl")
    assert record.outcome == "diverged"
    assert math.isnan(record.summary.loss)  # JSON has no infinity


def test_too_large_a_learning_rate_diverges_or_finishes():
    record = trained("hc", learning_rate=1.0, **(SMALL | {"depth": 40, "steps": 30}))
    assert record.outcome in ("finished", "diverged")
    assert len(record.steps) == record.summary.steps


# Files


def same(record, other):
    return json.dumps([vars(x) for x in record.steps], sort_keys=True) == json.dumps(
        [vars(x) for x in other.steps], sort_keys=True
    )


def test_a_record_is_read_as_it_was_written(tmp_path):
    settings = lab.Settings(connection="hc", **SMALL)
    record = lab.Record(settings)
    record.extend(lab.recorded(lab.train(settings), settings, tmp_path / "r.jsonl"))
    read = lab.read_record(tmp_path / "r.jsonl")
    assert read.settings.values_by_name() == settings.values_by_name()
    assert read.versions["torch"] == torch.__version__
    record.steps[-1] = replace(record.steps[-1], h_res=[])
    assert same(read, record)
    assert read.summary == record.summary
    assert read.damage == ""


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "r.jsonl"
    settings = lab.Settings(connection="hc", **SMALL)
    for _ in lab.recorded(lab.train(settings), settings, path):
        pass
    return path, path.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("bad", "damage"),
    [
        ("{\n", "line 4 on: it is not JSON"),
        ("[1]\n", "not a JSON object"),
        ('{"step":"<b>"}\n', "step must be a whole number"),
        ('{"step":1}\n', "it has no loss"),
        ("[" * 100_000 + "\n", "it is not JSON"),
        ('{"outcome":"fine"}\n', "outcome must be one of"),
        ("\x00\xff\n", "it is not JSON"),
    ],
)
def test_reading_stops_at_a_bad_line_and_says_so(lines, bad, damage):
    path, whole = lines
    path.write_text("".join([*whole[:3], bad, *whole[3:]]))
    record = lab.read_record(path)
    assert len(record.steps) == 2
    assert damage in record.damage
    assert record.outcome == "interrupted"


def test_a_half_line_at_the_end_is_what_a_killed_run_leaves(lines):
    path, whole = lines
    path.write_text("".join(whole[:3]) + whole[3][:40])
    record = lab.read_record(path)
    assert len(record.steps) == 2
    assert "cut off" in record.damage


@contextmanager
def limited(size):
    """Limits the size of files: writing beyond it fails as on a full disk.

    It ends within the test: pytest's own output may go into a longer file.
    """
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_leaves_every_whole_line(lines, tmp_path):
    _, whole = lines
    settings = lab.Settings(connection="hc", **SMALL)
    path = tmp_path / "full.jsonl"
    size = sum(map(len, whole[:3])) + 40
    with limited(size), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        list(lab.recorded(lab.train(settings), settings, path))
    record = lab.read_record(path)
    assert [step.step for step in record.steps] == [1, 2]
    assert "cut off" in record.damage


def test_a_record_is_replaced_only_when_the_new_one_can_be_opened(lines):
    path, whole = lines
    settings = lab.Settings(connection="hc", **SMALL)
    with limited(40), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        next(lab.recorded(lab.train(settings), settings, path))
    assert path.read_text() == "".join(whole)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "first",
    [
        "",
        "hello\n",
        '{"record":2}\n',
        '{"record":1,"settings":{"depth":1000000},"versions":{}}\n',
        '{"record":1,"settings":{"name":"x"},"versions":{}}\n',
        '{"record":1,"settings":[],"versions":{}}\n',
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, first):
    path = tmp_path / "r.jsonl"
    path.write_text(first)
    with pytest.raises(ValueError, match=r"r\.jsonl is no record of the lab: "):
        lab.read_record(path)


# The command line


def long_run(tmp_path):
    """A long run that has started: its process and the path of its record."""
    command = ["train", "--connections", "hc", "--depth", "4", "--steps", "10000", "-o"]
    path = tmp_path / "long.jsonl"
    process = subprocess.Popen([sys.executable, "-m", "mhc_demo.cli", *command, str(path)])
    path = tmp_path / "long-hc.jsonl"
    while not path.exists() or path.read_text().count("\n") < 4:
        assert process.poll() is None
        time.sleep(0.05)
    return process, path


@pytest.mark.long
def test_a_killed_run_leaves_a_record_that_can_be_read(tmp_path):
    process, path = long_run(tmp_path)
    process.kill()
    process.wait()
    record = lab.read_record(path)
    assert record.outcome == "interrupted"
    assert [step.step for step in record.steps] == list(range(1, len(record.steps) + 1))
    assert len(record.steps) >= 2


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_ends_a_run_and_its_record_with_a_summary(tmp_path, number):
    process, path = long_run(tmp_path)
    process.send_signal(number)
    assert process.wait() == 128 + number
    record = lab.read_record(path)
    assert record.outcome == "cancelled"
    assert record.damage == ""
    assert record.summary.steps == len(record.steps)


def test_each_connection_has_a_record_of_its_own(tmp_path, capsys):
    options = ["--depth", "2", "--width", "8", "--steps", "2", "-o", str(tmp_path / "a.jsonl")]
    assert main(["train", "--preset", "explodes", "--connections", "hc,residual", *options]) == 0
    assert "HC: finished after 2 steps" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"a-hc.jsonl", "a-residual.jsonl"}
    settings = lab.read_record(tmp_path / "a-hc.jsonl").settings
    assert settings.learning_rate == lab.PRESETS["explodes"].values["learning_rate"]
    assert settings.depth == 2


@pytest.mark.parametrize(("width", "threads"), [(8, "1"), (68, "2")])
def test_narrow_networks_are_trained_on_one_thread(width, threads, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        options = ["--connections", "hc", "--depth", "2", "--width", str(width), "--steps", "1"]
        assert main(["train", *options, "-o", str(tmp_path / "a.jsonl")]) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert lab.read_record(tmp_path / "a-hc.jsonl").machine["threads"] == threads


@pytest.mark.parametrize("output", ["", ".", "..", "/", "a/"])
def test_an_output_that_names_no_file_is_refused(capsys, output):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--steps", "1", "-o", output])
    assert stop.value.code == 2
    assert f"argument -o/--output: {output!r} names no file" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_reported(tmp_path, capsys):
    assert main(["train", "--steps", "1", "-o", str(tmp_path / "none" / "a.jsonl")]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--depth", "0"], f"0 is out of range (1 to {MAX_DEPTH})"),
        (["--task", "chess"], f"'chess' is not one of {', '.join(lab.TASKS)}"),
        (["--connections", "hc,lstm"], "'lstm' is not one of residual, hc, mhc, hc-identity"),
        (["--projection", "mhc-lite", "--streams", "16"], "takes at most"),
    ],
)
def test_bad_options_are_named(options, message, capsys):
    with pytest.raises(SystemExit):
        main(["train", *options])
    assert message in capsys.readouterr().err


# Declarations


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"depth": MAX_DEPTH + 1}, ValueError, "depth"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate"),
        ({"steps": True}, TypeError, "steps"),
        ({"projection": "none"}, ValueError, "projection"),
        ({"streams": 16, "projection": "mhc-lite"}, ValueError, "at most"),
        ({"connection": "dense"}, ValueError, "connection"),
    ],
)
def test_impossible_settings_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        lab.train(lab.Settings(**values))


def test_a_task_that_needs_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"needs psutil and scikit-learn: pip install psutil scikit-learn$"
    ):
        lab.train(lab.Settings(task="digits"))


@pytest.mark.parametrize("name", lab.TASKS)
def test_every_task_splits_its_data_by_the_seed(name):
    task = lab.TASKS[name]
    data, again, other = (task.load(seed) for seed in (0, 0, 1))
    for part in (data.train, data.validation):
        assert len(part.inputs) == len(part.targets) > 0
        assert 0 <= part.targets.min() <= part.targets.max() < data.classes
    assert np.array_equal(data.validation.inputs, again.validation.inputs)
    assert not np.array_equal(data.validation.inputs[:100], other.validation.inputs[:100])


def test_no_digit_is_in_both_parts():
    data = lab.TASKS["digits"].load(3)
    assert len(data.train.inputs) + len(data.validation.inputs) == 1797


def test_a_new_task_is_one_entry(monkeypatch):
    digits = lab.TASKS["digits"]
    monkeypatch.setitem(lab.TASKS, "digits", digits)  # restored afterwards

    @tasks.task("digits", "Sign of a number", unit="samples", score="accuracy", note="")
    def sign(seed):
        x = np.random.default_rng(seed).normal(size=(500, 1)).astype(np.float32)
        examples = tasks.Examples(x, (x[:, 0] > 0).astype(np.int64))
        return tasks.Data(examples, examples, classes=2)

    settings = lab.Settings(**(SMALL | {"steps": 40, "learning_rate": 0.01}))
    *_, summary = lab.train(settings)
    assert summary.score > 0.9


def test_every_preset_is_a_setting_that_can_run():
    for preset in lab.PRESETS.values():
        preset.settings().check()
        assert preset.note


# What the page says about a run


@pytest.mark.parametrize("name", lab.PRESETS)
def test_settings_are_recognised_as_a_preset_whatever_their_seed(name):
    values = lab.PRESETS[name].settings(seed=5).values_by_name()
    assert preset_of(values) == name
    assert preset_of(values | {"depth": 7}) not in lab.PRESETS


def test_the_table_of_a_training_says_how_many_parameters_each_network_learns():
    records = [trained(name, **SMALL) for name in lab.COMPARED]
    cancelled = lab.Record(records[0].settings, steps=records[0].steps)
    cancelled.summary = cancelled.summed_up("cancelled")
    shown = results([*records, cancelled])
    heads = re.findall(r'<th scope="col">(.*?)</th>', shown)
    rows = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in shown.split("<tr>")[2:]]
    assert all(len(row) == len(heads) for row in rows)
    data = lab.TASKS["digits"].data(0)
    networks = [Network(each.settings, data) for each in records]
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert len(set(counts)) == 3
    column = [row[heads.index("Parameters")] for row in rows]
    assert column == [*(f"{count:,}" for count in counts), "—"]


def test_a_run_copied_as_python_prints_its_results(capsys):
    values = lab.Settings(**SMALL).values_by_name()
    del values["connection"]
    exec(lab_snippet(values), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    for line, connection in zip(printed, lab.COMPARED, strict=True):
        *_, summary = lab.train(lab.Settings(connection=connection, **SMALL))
        assert line == (
            f"{lab.CONNECTIONS[connection]}: finished, {SMALL['steps']} steps, "
            f"last loss {summary.loss:.3g}, accuracy {summary.score:.3f}, "
            f"largest composite gain 10^{summary.largest_gain:.2f}, "
            f"gradient norm {summary.largest_gradient_norm:.3g}"
        )


def test_a_server_that_trains_nothing_says_so(monkeypatch):
    monkeypatch.setattr(training_of_a_page, "at_once", 0)
    with pytest.raises(ValueError, match="this server trains nothing"):
        training_of_a_page.Training([lab.Settings(**SMALL)]).check()


# The figure


def test_the_figure_follows_the_records():
    records = [lab.Record(lab.Settings(connection=name, **SMALL)) for name in lab.COMPARED]
    plots = LabFigure(records)
    runs = [lab.train(record.settings) for record in records]
    for record, run in zip(records, runs, strict=True):
        record.extend(itertools.islice(run, 2))
    plots.update()
    hc = plots.figures["gain"].renderers[2]  # the residual's two directions come first
    assert hc.name == "HC, forward"
    assert list(hc.data_source.data["step"]) == [1, 2]
    np.testing.assert_allclose(
        hc.data_source.data["forward"], [10 ** s.gain["forward"] for s in records[1].steps]
    )
    for record, run in zip(records, runs, strict=True):
        record.extend(run)
    plots.update()
    assert list(hc.data_source.data["step"]) == [1, 2, 3, 4]
    last = records[1].steps[-1]
    for name, gains in (("layer", last.layer_gains), ("layers", last.composite_gains)):
        along = plots.figures[name].renderers[2].data_source.data
        assert list(along["layer"]) == [1, 2, 3]
        np.testing.assert_allclose(along["backward"], 10.0 ** np.array(gains["backward"]))
    plots.show_layer(3)
    hc_matrix = plots.matrices[0].figure  # the residual network has none
    block = np.reshape(hc_matrix.renderers[0].data_source.data["value"], (5, 5))
    assert block[:4, :4].tolist() == records[1].summary.h_res[2]
    np.testing.assert_allclose(block[:4, 4], np.sum(records[1].summary.h_res[2], axis=1))
    with pytest.raises(ValueError, match="layer must be between 1 and 3, not 4"):
        plots.show_layer(4)
    assert "load" not in plots.figures
    assert lab.plot(records[0]) is not None


def test_the_figure_shows_where_the_experts_were_chosen():
    values = SMALL | {"task": "moe", "batch": 2, "depth": 4}
    records = [lab.Record(lab.Settings(connection=name, **values)) for name in ("hc", "mhc")]
    plots = LabFigure(records)
    assert len(plots.figures["load"].renderers[0].data_source.data["load"]) == 0
    for record in records:
        record.extend(itertools.islice(lab.train(record.settings), 2))
    plots.update()
    step = records[1].steps[-1]
    dots = plots.figures["load"].select_one({"name": "mHC"}).data_source.data
    np.testing.assert_array_equal(dots["load"], [*step.expert_load[1], *step.expert_load[3]])
    np.testing.assert_array_equal(np.round(dots["layer"]), [2] * 8 + [4] * 8)
    bits = plots.figures["entropy"].select_one({"name": "mHC"}).data_source.data
    np.testing.assert_array_equal(bits["entropy"], step.routing_entropy[1::2])
    violation = plots.figures["load_violation"].select_one({"name": "mHC"}).data_source.data
    np.testing.assert_array_equal(
        violation["load_violation"], [each.load_violation for each in records[1].steps]
    )
    assert plots.figures["load"].y_range.end > max(dots["load"])
    assert lab.plot(records) is not None

"""The table of many runs: rates, ranges and intervals, and what it makes of hostile files."""

import json
import math
import random
from functools import cache

import numpy as np
import pandas as pd
import pytest

from mhc_demo import lab
from mhc_demo.cli import main
from mhc_demo.lab import table

SMALL = {"depth": 2, "width": 8, "steps": 3, "batch": 16}
WITH_EXPERTS = ("load_violations", "routing_entropies")


@cache
def trained():
    """The lines of a small record, as values."""
    settings = lab.Settings(connection="hc", **SMALL)
    record = lab.Record(settings)
    record.extend(lab.train(settings))
    return record


def written(path, score=0.9, outcome="finished", **values):
    """A record of which the summary says what a test needs."""
    record = trained()
    settings = lab.Settings(**SMALL | {"connection": "hc"} | values)
    end = vars(record.summary) | {"score": score, "outcome": outcome}

    def records():
        yield from record.steps
        yield lab.Summary(**end)

    for _ in lab.recorded(records(), settings, path):
        pass


@pytest.fixture
def folder(tmp_path):
    scores = {"hc": [0.1, 0.1, 0.9, 0.11], "mhc": [0.8, 0.7, 0.6, math.nan]}
    for connection, each in scores.items():
        for seed, score in enumerate(each):
            outcome = "diverged" if math.isnan(score) else "finished"
            path = tmp_path / connection / f"{seed}.jsonl"
            path.parent.mkdir(exist_ok=True)
            written(path, score, outcome, connection=connection, seed=seed)
    half = tmp_path / "hc" / "9.jsonl"
    written(half, connection="hc", seed=9)
    half.write_text("".join(half.read_text().splitlines(keepends=True)[:3]))
    (tmp_path / "notes.jsonl").write_text("buy milk\n")
    return tmp_path


def test_the_table_has_rates_and_ranges_over_the_seeds(folder):
    frame = lab.runs(folder)
    assert len(frame) == 9
    [(path, why)] = frame.attrs["refused"].items()
    assert path.endswith("notes.jsonl")
    assert "is no record of the lab: it is not JSON" in why
    cells = lab.over_seeds(frame)
    assert list(cells.index) == [("digits", "hc"), ("digits", "mhc")]
    hc, mhc = (cells.loc[("digits", name)] for name in ("hc", "mhc"))
    assert (hc.runs, hc.ended, hc.learned, hc.diverged) == (5, 4, 1, 0)  # one is interrupted
    assert (mhc.runs, mhc.ended, mhc.learned, mhc.diverged) == (4, 4, 3, 1)
    assert (hc.score, hc.score_low, hc.score_high) == (pytest.approx(0.105), 0.1, 0.9)
    assert (mhc.score_low, mhc.score_high) == (0.6, 0.8)
    assert (hc.share_low, hc.share_high) == lab.wilson(1, 4)
    assert hc.parameters == trained().summary.parameters > 0


def test_settings_that_differ_are_rows_of_their_own(tmp_path):
    for depth in (2, 3):
        for seed in (0, 1):
            path = tmp_path / f"{depth}-{seed}.jsonl"
            written(path, seed=seed)
            path.write_text(path.read_text().replace('"streams":4', f'"streams":{depth}', 1))
    cells = lab.over_seeds(lab.runs(tmp_path))
    assert list(cells.index) == [("digits", "hc", 2), ("digits", "hc", 3)]
    assert list(cells.runs) == [2, 2]


def test_a_table_written_as_parquet_is_read_back(folder, tmp_path):
    frame = lab.runs(folder, curves=True)
    path = tmp_path / "runs.parquet"
    lab.write_runs(frame, path)
    again = lab.runs(path)
    plain = [name for name in frame if name not in table.CURVES]
    pd.testing.assert_frame_equal(again[plain], frame[plain], check_dtype=False)
    curves = [name for name in frame if name in table.CURVES]
    assert curves == [name for name in table.CURVES if name not in WITH_EXPERTS]
    for name in curves:
        for ours, theirs in zip(again[name], frame[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    steps = trained().steps
    np.testing.assert_array_equal(again["losses"][0], np.float32([each.loss for each in steps]))
    lab.write_runs(frame, tmp_path / "runs.csv")
    assert list(pd.read_csv(tmp_path / "runs.csv")) == plain
    data = again[again.outcome == "finished"].set_index(["connection", "seed"])["score"].to_xarray()
    assert float(data.sel(connection="hc", seed=2)) == 0.9


def test_runs_with_experts_stand_beside_runs_without(tmp_path):
    kept = {}
    for task in ("digits", "moe"):
        settings = lab.Settings(**SMALL | {"task": task, "batch": 2})
        path = tmp_path / f"{task}.jsonl"
        kept[task] = list(lab.recorded(lab.train(settings), settings, path))
    lab.write_runs(lab.runs(tmp_path, curves=True), tmp_path / "both.parquet")
    frame = lab.runs(tmp_path / "both.parquet").set_index("task")
    *steps, end = kept["moe"]
    for column, name in zip(WITH_EXPERTS, ("load_violation", "mean_routing_entropy"), strict=True):
        curve = [getattr(step, name) for step in steps]
        np.testing.assert_array_equal(frame[column]["moe"], np.float32(curve))
        assert not isinstance(frame[column]["digits"], np.ndarray)
    for name in table.ROUTED:
        assert frame[name]["moe"] == getattr(end, name)
        assert math.isnan(frame[name]["digits"])
    cells = lab.over_seeds(frame.reset_index()).reset_index("task")
    assert dict(zip(cells["task"], cells["load_violation"], strict=True)) == pytest.approx(
        {"digits": math.nan, "moe": end.load_violation}, nan_ok=True
    )


def test_a_table_from_before_there_were_experts_is_read(folder, tmp_path):
    frame = lab.runs(folder)
    frame.attrs = {}
    frame.drop(columns=list(table.ROUTED)).to_parquet(tmp_path / "old.parquet")
    again = lab.runs(tmp_path / "old.parquet")
    assert again[list(table.ROUTED)].isna().all(axis=None)
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)


def test_the_command_prints_the_table_and_writes_it(folder, tmp_path, capsys):
    assert main(["runs", str(folder), "-o", str(tmp_path / "t.parquet")]) == 0
    out, err = capsys.readouterr()
    assert "left out: " in err
    title, headings, hc, mhc = out.splitlines()
    assert title == "Handwritten digits: median (smallest–largest)"
    assert headings.split()[:4] == ["connection", "runs", "diverged", "learned"]
    assert hc.startswith("hc          5     0         1 of 4 (5–70 %)   0.105 (0.100–0.900)")
    assert mhc.startswith("mhc         4     1         3 of 4 (30–95 %)  0.700 (0.600–0.800)")
    assert main(["runs", str(tmp_path / "t.parquet")]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("options", [["nowhere"], ["."], ["x.jsonl"]])
def test_what_holds_no_record_is_refused(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jsonl").write_text("{}\n")
    assert main(["runs", *options]) == 1
    assert "mhc-demo: " in capsys.readouterr().err


# Learned


def test_to_have_learned_is_a_fifth_of_the_way_from_guessing_to_perfect():
    assert not lab.learned(0.2799, "digits")
    assert lab.learned(0.2801, "digits")
    assert lab.learned(3.75, "text")  # bits: less is better
    assert not lab.learned(3.76, "text")
    assert not lab.learned(math.nan, "digits")
    assert not lab.learned(math.nan, "text")


@pytest.mark.parametrize("name", ["digits", "text"])
def test_guessing_is_what_the_frequencies_of_the_classes_allow(name, monkeypatch):
    declared = table.chance(name)
    monkeypatch.setattr(table, "TASKS", {name: _undeclared(lab.TASKS[name])})
    # 359 digits are not of equally many classes; the tenth of the text held back is a part of it.
    assert table.chance.__wrapped__(name) == pytest.approx(declared, abs=0.03)


def _undeclared(task):
    return type(task)(**vars(task) | {"chance": None})


@pytest.mark.parametrize(("k", "n"), [(0, 16), (14, 16), (16, 16), (3, 7), (500, 1000)])
def test_the_interval_is_scipys(k, n):
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert lab.wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 16, 17, 40])
def test_the_interval_of_a_median_covers_it_as_often_as_it_says(count):
    """Exactly, by the binomial distribution of how many values lie below the median."""
    binomial = pytest.importorskip("scipy.stats").binom(count, 0.5)
    values = np.random.default_rng(0).permutation(count).astype(float)
    low, high, level = table.median_interval(values)
    assert low + high == count - 1  # as far from either end
    assert level == pytest.approx(binomial.cdf(high) - binomial.cdf(low), abs=1e-12)
    if level < 0.95:
        assert low == 0
    elif low < high - 2:  # the next interval is too short
        assert binomial.cdf(high - 1) - binomial.cdf(low + 1) < 0.95


# Hostile files


HOSTILE = (
    *(None, True, "", "<b>", "\x00", -1, 10**400, -(10**400), 1e308, 0.5, [], {}, [[]], [[[1]]]),
    *(["a"] * 3, {"forward": []}, "NaN", "10", 2**63, -0.0, [[[10**400]]], [None], {"a": {"b": 1}}),
)


def mutated(value, rng):
    """The same value but for one thing somewhere in it."""
    kind = rng.random()
    if isinstance(value, dict) and value and kind < 0.9:
        key = rng.choice(list(value))
        changed = dict(value)
        if kind < 0.1:
            del changed[key]
        elif kind < 0.2:
            changed[rng.choice(["x", "", "name", "h_res", "outcome"])] = rng.choice(HOSTILE)
        else:
            changed[key] = mutated(value[key], rng)
        return changed
    if isinstance(value, list) and value and kind < 0.9:
        index = rng.randrange(len(value))
        return [*value[:index], mutated(value[index], rng), *value[index + 1 :]]
    return rng.choice(HOSTILE)


def spoilt(text, rng):
    """The text of a record with one thing changed: a value, a byte, or where it ends."""
    lines = text.splitlines()
    kind = rng.random()
    if kind < 0.7:
        index = rng.choice([0, 0, 1, len(lines) - 1])
        lines[index] = json.dumps(mutated(json.loads(lines[index]), rng))
        return "\n".join(lines).encode() + b"\n"
    data = bytearray(text.encode())
    if kind < 0.8:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice([1, 3, 30])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("task", ["digits", "moe"])
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_mutated_records_are_refused_or_read(tmp_path, count, task):
    path = tmp_path / "r.jsonl"
    if task == "digits":
        written(path)
    else:
        settings = lab.Settings(**SMALL | {"task": task, "batch": 2})
        list(lab.recorded(lab.train(settings), settings, path))
    text, rng = path.read_text(), random.Random(0)
    frames, refused = [], []
    for _ in range(count):
        path.write_bytes(spoilt(text, rng))
        try:
            record = lab.read_record(path)
            frames.append(lab.runs(path))
        except ValueError as error:
            refused.append(str(error))
            continue
        assert record.outcome in ("interrupted", "finished", "diverged", "cancelled")
    assert all("record of the lab" in why for why in refused)
    assert 0.1 * count < len(refused) < 0.9 * count
    cells = lab.over_seeds(pd.concat(frames))
    assert cells.runs.sum() == count - len(refused)
    lab.write_runs(pd.concat(frames), tmp_path / "r.parquet")
    assert len(lab.runs(tmp_path / "r.parquet")) == count - len(refused)


def test_mutated_parquet_files_are_refused_or_read(folder, tmp_path):
    path, rng = tmp_path / "r.parquet", random.Random(0)
    lab.write_runs(lab.runs(folder), path)
    whole, refused = path.read_bytes(), []
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            lab.runs(path)
        except ValueError as error:
            refused.append(str(error))
    assert refused
    assert all("holds no record of the lab" in why for why in refused)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("depth", 10**6),
        ("connection", "lstm"),
        ("outcome", "fine"),
        ("score", "<b>"),
        ("done", None),
        ("learning_rate", math.nan),
    ],
)
def test_a_parquet_file_with_an_impossible_run_is_refused(folder, tmp_path, column, value):
    frame = lab.runs(folder)
    frame[column] = [value] * len(frame)
    frame.attrs = {}
    frame.to_parquet(tmp_path / "r.parquet")
    with pytest.raises(ValueError, match="is no table of runs"):
        lab.runs(tmp_path / "r.parquet")
    frame.drop(columns=column).to_parquet(tmp_path / "r.parquet")
    if column in ("outcome", "score", "done"):
        with pytest.raises(ValueError, match=f"there is no column '{column}'"):
            lab.runs(tmp_path / "r.parquet")

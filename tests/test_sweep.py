"""Many runs: what is run, what is not run again, and what the death of a process costs."""

import importlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import torch

from mhc_demo import lab
from mhc_demo.cli import main
from mhc_demo.lab import local, sweeping

SMALL = {"depth": 2, "width": 8, "steps": 3, "batch": 16}


def without_times(path):
    record = lab.read_record(path)
    steps = [replace(step, seconds=0.0, per_second=0.0, memory=0) for step in record.steps]
    return steps, replace(record.summary, seconds_per_step=0.0)


def recorded(settings, path):
    """Train in this process, with a record."""
    for _ in lab.recorded(lab.train(settings), settings, path):
        pass


def written(folder):
    """When each record of a folder was last written to."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.jsonl")}


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# What is run


def test_a_grid_has_every_combination_and_seeds_vary_slowest():
    runs = lab.grid(seed=range(2), depth=[16, 32], connection=["hc", "mhc"], task="digits")
    order = [(each.seed, each.depth, each.connection) for each in runs]
    assert order == sorted(order, key=lambda each: each[0])
    assert len(set(order)) == len(runs) == 8


def test_equal_settings_are_one_run():
    assert len(lab.grid(seed=[1, 1], learning_rate=[1, 1.0])) == 1


def test_a_name_says_every_setting_that_is_not_usual():
    settings = lab.Settings(connection="hc", depth=64, learning_rate=0.03, seed=7)
    assert lab.record_name(settings) == "hc-depth=64-learning_rate=0.03-seed=7.jsonl"
    values = settings.values_by_name()
    changed = {"depth": 63, "width": 8, "streams": 2, "steps": 9, "batch": 2, "projection": "rows"}
    names = {lab.record_name(lab.Settings(**values | {n: v})) for n, v in changed.items()}
    assert len(names) == len(changed)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"layers": 3}, TypeError, "no setting 'layers'; there are task"),
        ({"seed": []}, ValueError, "seed must have at least one value"),
        ({"depth": [4, 0]}, ValueError, "depth"),
        ({"processes": 0}, ValueError, "processes must be at least 1, not 0"),
        ({"processes": 1, "scheduler": "tcp://x:1"}, TypeError, "cannot both be given"),
        ({"runs": [], "seed": 3}, TypeError, "runs and settings cannot both be given"),
    ],
)
def test_an_impossible_sweep_is_refused_before_it_writes(values, error, message, tmp_path):
    with pytest.raises(error, match=message):
        lab.sweep(tmp_path / "runs", **values)
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:3", [0, 1, 2]), ("4,0:2,1", [4, 0, 1]), ("0:9:4", [0, 4, 8])]
)
def test_the_command_line_takes_ranges_of_seeds(text, seeds, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(lab, "sweep", lambda folder, runs, **_: asked.extend(runs) or [])
    options = ["--preset", "fails,calm", "--connection", "ablation", "--steps", "7"]
    assert main(["sweep", "--seed", text, *options, "-o", str(tmp_path)]) == 0
    assert list(dict.fromkeys(each.seed for each in asked)) == seeds
    assert {each.connection for each in asked} == set(lab.ABLATION)
    assert {each.depth for each in asked} == {64, 16}
    assert {each.steps for each in asked} == {7}
    assert len(asked) == len(seeds) * 2 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "3:1"], "'3:1' is a range of 0 numbers"),
        (["--seed", "a:b"], "'a:b' is not a range"),
        (["--depth", "0:3"], "0 is out of range"),
        (["--processes", "2", "--scheduler", "tcp://x:1"], "not allowed with argument"),
        (["--connection", "hc,lstm"], "'lstm' is not one of"),
        (["--projection", "mhc-lite", "--streams", "16"], "takes at most"),
    ],
)
def test_bad_options_are_named(options, message, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", *options])
    assert message in capsys.readouterr().err


# Local processes


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep on two processes, of which one was killed: its runs, and how often one was killed.

    To start a process that trains takes seconds, so this one sweep tells of all that follows.
    """
    folder, killed = tmp_path_factory.mktemp("swept"), []

    def kill_once(state):
        if not killed and state.ended == 0:
            workers = [p for p in psutil.Process().children() if "worker" in " ".join(p.cmdline())]
            killed.append(workers[0].pid)
            workers[0].kill()

    values = SMALL | {"steps": 60, "connection": ["mhc", "hc-sinkhorn", "residual"]}
    paths = lab.sweep(folder, processes=2, checkpoint_every=10, progress=kill_once, **values)
    return dict(zip(paths, lab.grid(**values), strict=True)), len(killed)


@pytest.mark.long
def test_a_killed_process_costs_its_own_run_another_try_and_nothing_else(swept):
    runs, killed = swept
    assert killed == 1
    assert [lab.read_record(path).outcome for path in runs] == ["finished"] * 3
    assert all(len(lab.read_record(path).steps) == 60 for path in runs)
    assert not list(next(iter(runs)).parent.glob(".*.pt"))  # checkpoints go when their runs end


@pytest.mark.long
def test_a_run_in_a_sweep_equals_the_same_run_alone(swept, tmp_path, one_thread):
    for path, settings in swept[0].items():
        recorded(settings, tmp_path / "alone.jsonl")
        assert without_times(path) == without_times(tmp_path / "alone.jsonl")
        record = lab.read_record(path)
        assert record.machine["threads"] == "1"
        network = lab.networks.Network(settings, lab.TASKS["digits"].load(0))
        assert record.summary.parameters == sum(p.numel() for p in network.parameters())


def test_what_has_ended_is_not_run_again_and_what_is_half_is(tmp_path, monkeypatch):
    for each in lab.grid(seed=range(4), **SMALL):
        recorded(each, tmp_path / lab.record_name(each))
    whole, half, cancelled, diverged = sorted(tmp_path.iterdir())
    half.write_text("".join(half.read_text().splitlines(keepends=True)[:3]) + '{"step":')
    lines = cancelled.read_text().replace('"finished"', '"cancelled"')
    cancelled.write_text(lines)
    diverged.write_text(diverged.read_text().replace('"finished"', '"diverged"'))
    other = lab.Settings(seed=9, **SMALL)
    whole.replace(tmp_path / lab.record_name(other))  # a record of other settings than its name's
    before = written(tmp_path)

    def at_once(due, *options):  # what is run does not depend on where
        for path, settings in due.items():
            recorded(settings, path)
            yield path, {"outcome": "finished"}

    monkeypatch.setattr(local, "events", at_once)
    heard = []
    again = lab.sweep(
        tmp_path,
        [*lab.grid(seed=range(1, 4), **SMALL), other],
        processes=1,
        progress=lambda state: heard.append((state.before, state.latest and state.path.name)),
    )
    changed = {name for name, when in written(tmp_path).items() if when != before.get(name)}
    assert changed == {half.name, cancelled.name, lab.record_name(other)}
    assert {name for _, name in heard if name} == changed
    assert {each for each, _ in heard} == {1}
    assert all(lab.read_record(path).outcome in ("finished", "diverged") for path in again)


def test_a_run_whose_process_always_dies_does_not_stop_the_others(tmp_path, monkeypatch):
    recorded(lab.Settings(seed=0, **SMALL), tmp_path / "trained.jsonl")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "deadly.py").write_text(
        "import os, shutil, sys\n"
        "from mhc_demo.lab import worker\n"
        "def deadly(file, values, *options):\n"
        "    os._exit(7) if values['seed'] == 1 else None\n"
        f"    shutil.copy({str(tmp_path / 'trained.jsonl')!r}, file)\n"
        "    return 'finished'\n"
        "if 'pytest' not in sys.modules:\n"
        "    worker.train_into = deadly\n"
    )
    monkeypatch.setattr(local, "TRIES", 2)
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed: .*seed=1.* died 2 times \(exit"):
        lab.sweep(tmp_path / "r", processes=1, modules=["deadly"], seed=range(2), **SMALL)
    assert [p.name for p in (tmp_path / "r").glob("*.jsonl")] == [
        lab.record_name(lab.Settings(seed=0, **SMALL))
    ]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_was_stopped_goes_on_where_it_was(tmp_path, number, capsys):
    words = ["--depth", "2", "--width", "8", "--batch", "16", "--steps", "200", "--processes", "1"]
    start = ["sweep", "--seed", "0:2", *words, "-o", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mhc_demo.cli", *start], stdout=subprocess.PIPE, text=True
    )
    assert "finished" in process.stdout.readline()  # the first run
    values = SMALL | {"steps": 200}
    whole, half = (tmp_path / lab.record_name(each) for each in lab.grid(seed=range(2), **values))
    while not half.exists():
        assert process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children()
    process.send_signal(number)
    assert process.wait() == (-number if number == signal.SIGKILL else 128 + number)
    psutil.wait_procs(workers, timeout=60)  # they end with it
    assert lab.read_record(half).outcome == "interrupted"
    before = written(tmp_path)
    assert main(start) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"2/2, 00:00 left: {half.stem}: finished, accuracy ")
    assert last == f"2 runs have ended: {tmp_path}"
    changed = {name for name, when in written(tmp_path).items() if when != before[name]}
    assert changed == {half.name}
    assert lab.read_record(half).outcome == "finished"
    assert len(lab.read_record(whole).steps) == 200


def test_two_sweeps_are_not_at_work_in_one_folder(tmp_path, capsys):
    with sweeping._alone(tmp_path), pytest.raises(RuntimeError, match="another sweep is at work"):
        lab.sweep(tmp_path, **SMALL)


# A Dask cluster


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.mark.long
def test_a_sweep_on_a_cluster_survives_the_death_of_a_worker(cluster, tmp_path, one_thread):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
    killed = []

    def kill_once(state):
        if not killed:
            os.kill(pids[0], signal.SIGKILL)
            killed.append(state.ended)

    values = SMALL | {"steps": 60}
    address = cluster.scheduler_address
    paths = lab.sweep(tmp_path, scheduler=address, seed=range(6), progress=kill_once, **values)
    assert killed == [1]
    assert [lab.read_record(path).outcome for path in paths] == ["finished"] * 6
    settings = lab.Settings(seed=5, **values)
    recorded(settings, tmp_path / "alone")
    assert without_times(paths[5]) == without_times(tmp_path / "alone")
    before = written(tmp_path)
    lab.sweep(tmp_path, scheduler=address, seed=range(6), **values)
    assert written(tmp_path) == before


@pytest.mark.long
def test_a_cluster_keeps_nothing_of_a_sweep(cluster, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster) as client:
        lab.sweep(tmp_path, scheduler=client, seed=range(3), **SMALL)
        while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
            time.sleep(0.01)  # it hears of what is let go a little later
        assert client.status == "running"  # a client that was passed in stays open


@pytest.mark.long
def test_a_module_of_ones_own_is_sent_to_the_workers(cluster, tmp_path, monkeypatch):
    (tmp_path / "falling.py").write_text(
        "from mhc_demo import lab\n"
        "@lab.schedule('falling', 'Falling')\n"
        "def falling(step, steps):\n"
        "    return 1 / step\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    address = cluster.scheduler_address
    try:
        importlib.import_module("falling")
        values = SMALL | {"schedule": "falling"}
        [path] = lab.sweep(tmp_path / "runs", scheduler=address, **values)
        assert lab.read_record(path).outcome == "finished"
    finally:
        del lab.SCHEDULES["falling"], sys.modules["falling"]


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.setattr(lab.cluster, "PATIENCE", 0.5)
    options = ["--scheduler", "tcp://127.0.0.1:1", "-o", str(tmp_path)]
    assert main(["sweep", "--steps", "1", *options]) == 1
    assert "there is no Dask scheduler at 'tcp://127.0.0.1:1'" in capsys.readouterr().err


def test_a_cluster_without_dask_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="pip install dask distributed"):
        lab.sweep(tmp_path, scheduler="tcp://127.0.0.1:1", **SMALL)

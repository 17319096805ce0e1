"""A run that was interrupted goes on from its checkpoint as if it never had been, or not at all."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from mhc_demo import lab
from mhc_demo.cli import main
from mhc_demo.lab import training, worker
from mhc_demo.lab.settings import REGISTRIES

SMALL = {"depth": 2, "width": 8, "steps": 7, "batch": 16}


def without_times(record):
    """What two equal runs have in common; matrices of the steps between are not kept."""
    steps = [replace(s, seconds=0.0, per_second=0.0, memory=0, h_res=[]) for s in record.steps]
    return steps, record.summary and replace(record.summary, seconds_per_step=0.0)


def trained(settings, steps=None, **options):
    """The record of a run, or of its first steps."""
    record = lab.Record(settings)
    record.extend(islice(lab.train(settings, **options), steps))
    return record


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def ours():
    """A task, a branch that draws, and an optimiser, of which nothing is left afterwards."""
    before = {name: dict(each) for name, each in REGISTRIES.items()}

    @lab.task("sign", "Sign of a number", unit="samples", score="accuracy", note="")
    def sign(seed):
        x = np.random.default_rng(seed).normal(size=(500, 1)).astype(np.float32)
        examples = lab.Examples(x, (x[:, 0] > 0).astype(np.int64))
        return lab.Data(examples, examples, classes=2)

    @lab.branch("dropout", "A layer with dropout and a norm of the batch")
    def dropout(width, index, sequences):
        from torch import nn

        parts = nn.Flatten(0, -2), nn.BatchNorm1d(width), nn.Linear(width, width), nn.Dropout(0.5)
        return Reshaped(nn.Sequential(*parts))

    class Reshaped(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x).reshape(x.shape)

    @lab.optimiser("factored", "Adafactor, whose states are not of the weights' shapes")
    def factored(groups, learning_rate):
        return torch.optim.Adafactor(groups, lr=learning_rate)

    @lab.schedule("half", "Half in the second half")
    def half(step, steps):
        return 1.0 if step <= steps / 2 else 0.5

    yield {"task": "sign", "branch": "dropout", "optimiser": "factored", "schedule": "half"}
    for name, each in REGISTRIES.items():
        for added in set(each) - set(before[name]):
            del each[added]


# Going on


@pytest.mark.parametrize(
    ("values", "done"),
    [
        # It stopped just after a checkpoint, ...
        ({"connection": "residual"}, 2),
        ({"connection": "hc", "optimiser": "sgd", "learning_rate": 0.05}, 6),
        # ... between two of them, ...
        ({"connection": "mhc", "schedule": "cosine", "clip": 0.5}, 5),
        ({"connection": "mhc", "task": "text", "width": 4, "batch": 2}, 3),
        ({"connection": "mhc", "task": "moe", "width": 4, "batch": 2}, 3),
        # ... or after the last step, without a score.
        ({"connection": "mhc", "schedule": "cosine", "steps": 6}, 6),
    ],
)
def test_a_run_that_goes_on_ends_in_the_same_record_to_the_last_digit(values, done, tmp_path):
    settings = lab.Settings(**SMALL | values)
    options = {"checkpoint": tmp_path / "c.pt", "checkpoint_every": 2}
    before = trained(settings, done, **options)
    kept = done - done % 2
    assert len(lab.read_checkpoint(tmp_path / "c.pt").record.steps) == kept
    after = trained(settings, **options)
    assert without_times(after) == without_times(trained(settings))
    times = [[step.seconds for step in each.steps[:kept]] for each in (before, after)]
    assert times[0] == times[1]  # what was done is not done again


def test_so_does_a_run_of_a_task_branch_optimiser_and_schedule_of_ones_own(ours, tmp_path):
    settings = lab.Settings(**SMALL | ours)
    options = {"checkpoint": tmp_path / "c.pt", "checkpoint_every": 2}
    trained(settings, 5, **options)
    torch.manual_seed(5)
    torch.rand(3)  # what else draws makes no difference
    drawn = torch.get_rng_state()
    after = trained(settings, **options)
    assert torch.equal(torch.get_rng_state(), drawn)  # nor does the run to whatever else draws
    assert without_times(after) == without_times(trained(settings))
    assert len({step.loss for step in after.steps}) == 7


def test_a_run_that_has_ended_is_not_trained_again(tmp_path, monkeypatch):
    settings = lab.Settings(**SMALL)
    first = trained(settings, checkpoint=tmp_path / "c.pt")
    monkeypatch.setattr(training, "cross_entropy", None)
    again = trained(settings, checkpoint=tmp_path / "c.pt")
    assert again.summary == first.summary
    assert [step.seconds for step in again.steps] == [step.seconds for step in first.steps]


def test_a_run_that_diverged_has_its_end_in_its_checkpoint(tmp_path, monkeypatch):
    settings = lab.Settings(**SMALL)
    with monkeypatch.context() as diverging:
        diverging.setattr(training, "cross_entropy", lambda x, y: x.sum() * math.inf)
        list(lab.train(settings, checkpoint=tmp_path / "c.pt", checkpoint_every=1))
    *steps, end = lab.train(settings, checkpoint=tmp_path / "c.pt")
    assert end.outcome == "diverged"
    assert len(steps) == 1
    assert not math.isfinite(steps[0].loss)


def test_numbers_that_are_not_finite_are_kept_as_they_are(tmp_path, monkeypatch):
    norms = iter([1.0, math.inf, math.nan, 2.0, 3.0, 4.0, 5.0])
    monkeypatch.setattr(training, "get_total_norm", lambda _: torch.tensor(next(norms)))
    settings = lab.Settings(**SMALL)
    options = {"checkpoint": tmp_path / "c.pt", "checkpoint_every": 2}
    trained(settings, 5, **options)
    norms = iter([3.0, 4.0, 5.0])
    after = trained(settings, **options)
    assert str([step.gradient_norm for step in after.steps]) == (
        "[1.0, inf, nan, 2.0, 3.0, 4.0, 5.0]"
    )
    assert after.summary.largest_gradient_norm == math.inf


@pytest.mark.long
def test_a_killed_command_goes_on_to_the_record_of_one_that_was_not(tmp_path):
    words = ["train", "--connections", "mhc", "--depth", "4", "--width", "8", "--steps", "120"]
    options = ["--checkpoint", "c.pt", "--checkpoint-every", "5", "-o", "r.jsonl"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mhc_demo.cli", *words, *options], cwd=tmp_path
    )
    while not (tmp_path / "c-mhc.pt").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    killed = lab.read_record(tmp_path / "r-mhc.jsonl")
    kept = lab.read_checkpoint(tmp_path / "c-mhc.pt").record
    assert killed.outcome == kept.outcome == "interrupted"
    options = [str(tmp_path / word) if "." in word else word for word in options]
    assert main([*words, *options]) == 0
    ended = lab.read_record(tmp_path / "r-mhc.jsonl")
    assert len(ended.steps) == 120
    assert ended.steps[: len(kept.steps)] == [replace(each, h_res=[]) for each in kept.steps]
    assert main([*words, "-o", str(tmp_path / "whole.jsonl")]) == 0
    whole = lab.read_record(tmp_path / "whole-mhc.jsonl")
    assert without_times(ended) == without_times(whole)


def test_a_run_of_a_sweep_goes_on_from_the_checkpoint_beside_its_record(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "TOLD", 0.0)
    settings = lab.Settings(**SMALL)
    file, values = tmp_path / "r.jsonl", settings.values_by_name()
    first = []

    def heard(step):
        first.append(step)
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.train_into(str(file), values, heard, 2)
    checkpoint = worker.checkpoint_beside(file)
    steps = lab.read_checkpoint(checkpoint).record.steps
    assert len(steps) == 4
    kept = checkpoint.read_bytes()
    assert worker.train_into(str(file), values, checkpoint_every=2) == "finished"
    record = lab.read_record(file)
    assert record.steps[:4] == [replace(step, h_res=[]) for step in steps]
    assert without_times(record) == without_times(trained(settings))
    assert not checkpoint.exists()

    checkpoint.write_bytes(kept)
    changed(checkpoint, head={"versions": {"torch": "1.0"}})
    assert worker.train_into(str(file), values, checkpoint_every=2) == "finished"
    assert lab.read_record(file).steps[0].seconds != steps[0].seconds  # it began anew


# What is in a checkpoint


def test_a_checkpoint_returns_the_network_as_it_was_trained(tmp_path):
    path, settings = tmp_path / "c.pt", lab.Settings(connection="hc", **SMALL)
    record = trained(settings, checkpoint=path)
    checkpoint = lab.read_checkpoint(str(path))
    assert checkpoint.settings.values_by_name() == settings.values_by_name()
    network = checkpoint.network()
    assert not network.training
    validation = lab.TASKS["digits"].data(0).validation
    with torch.no_grad():
        logits = network(torch.from_numpy(validation.inputs))  # (359, 10)
    right = (logits.argmax(-1).numpy() == validation.targets).mean()
    assert right == pytest.approx(record.summary.score, abs=1e-12)
    assert checkpoint.parameters == sum(each.numel() for each in network.parameters())
    plain = torch.load(path, weights_only=True)["weights"]  # as any other program reads it
    assert plain.keys() == checkpoint.weights.keys() == network.state_dict().keys()
    assert all(torch.equal(plain[name], each) for name, each in network.state_dict().items())


def test_a_branch_with_dropout_is_scored_without_it(ours, tmp_path):
    settings = lab.Settings(**SMALL | ours)
    record = trained(settings, checkpoint=tmp_path / "c.pt")
    network = lab.read_checkpoint(tmp_path / "c.pt").network()
    validation = lab.TASKS["sign"].data(0).validation
    with torch.no_grad():
        first, second = (network(torch.from_numpy(validation.inputs)) for _ in range(2))
    assert torch.equal(first, second)
    right = (first.argmax(-1).numpy() == validation.targets).mean()
    assert right == pytest.approx(record.summary.score, abs=1e-12)


def test_a_checkpoint_holds_on_to_nothing_of_its_file(tmp_path):
    path, settings = tmp_path / "c.pt", lab.Settings(**SMALL)
    list(lab.train(settings, checkpoint=path))
    weights = lab.read_checkpoint(path).weights
    before = {name: each.clone() for name, each in weights.items()}
    path.write_bytes(b"")
    assert all(torch.equal(before[name], each) for name, each in weights.items())


# Writing


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a run in the middle."""
    path = tmp_path / "c.pt"
    trained(lab.Settings(connection="mhc", **SMALL), 4, checkpoint=path, checkpoint_every=4)
    return path


def test_an_interrupted_write_leaves_the_last_checkpoint(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def interrupted(parts, path):
        path.write_bytes(before[:1000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(lab.Settings(**SMALL), checkpoint=checkpoint, checkpoint_every=6)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@contextmanager
def limited(size):
    """Limits the size of files: writing beyond it fails as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_checkpoint_and_is_an_oserror(checkpoint):
    before = checkpoint.read_bytes()
    with limited(len(before) // 2), pytest.raises(OSError, match=r"c\.pt cannot be written: "):
        trained(lab.Settings(**SMALL), checkpoint=checkpoint, checkpoint_every=6)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_a_state_that_no_checkpoint_can_hold_is_named_with_the_first_one(ours, tmp_path):
    @lab.optimiser("strange", "SGD with a state of its own")
    def strange(groups, learning_rate):
        class Strange(torch.optim.SGD):
            def step(self, closure=None):
                for group in self.param_groups:
                    group["odd"] = zipfile.ZipInfo("odd")
                return super().step(closure)

        return Strange(groups, lr=learning_rate)

    settings = lab.Settings(**SMALL | {"optimiser": "strange"})
    run = lab.train(settings, checkpoint=tmp_path / "c.pt", checkpoint_every=2)
    assert next(run).step == 1
    with pytest.raises(lab.CheckpointError, match=r"hold .*zipfile\.ZipInfo: .* 'strange'"):
        next(run)
    assert not list(tmp_path.iterdir())


# What is refused


def changed(path, head=None, **parts):
    """Write a checkpoint again with other parts, and with other entries of its head."""
    found = torch.load(path, weights_only=True)
    line = json.loads(found["head"])
    for name, value in (head or {}).items():
        line[name] = line[name] | value if isinstance(value, dict) else value
    torch.save(found | {"head": json.dumps(line)} | parts, path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 3}, "it has depth 2, not 3"),
        ({"connection": "hc"}, "it has connection 'mhc', not 'hc'"),
        ({"steps": 8}, "it has steps 7, not 8"),
        ({"seed": 1}, "it has seed 0, not 1"),
        ({"optimiser": "sgd"}, "it has optimiser 'adamw', not 'sgd'"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(checkpoint, values, message):
    settings = lab.Settings(**SMALL | values)
    with pytest.raises(lab.CheckpointError, match=re.escape(message)) as refused:
        lab.train(settings, checkpoint=checkpoint)
    assert str(checkpoint) in str(refused.value)


@pytest.mark.parametrize("package", ["mhc-demo", "torch", "numpy", "scikit-learn", "python"])
def test_a_checkpoint_of_another_version_is_refused(checkpoint, package):
    changed(checkpoint, head={"versions": {package: "0.0.1"}})
    with pytest.raises(lab.CheckpointError, match=f"it has {package} '0.0.1', not "):
        lab.train(lab.Settings(**SMALL), checkpoint=checkpoint)
    assert lab.read_checkpoint(checkpoint).network() is not None  # its weights are of use


def test_a_checkpoint_of_another_number_of_threads_is_refused(checkpoint):
    torch.set_num_threads(2)
    with pytest.raises(lab.CheckpointError, match="it has threads '1', not '2'"):
        lab.train(lab.Settings(**SMALL), checkpoint=checkpoint)


def test_an_update_of_the_system_does_not_matter(checkpoint):
    changed(checkpoint, head={"versions": {"platform": "another build"}})
    assert trained(lab.Settings(**SMALL), checkpoint=checkpoint).outcome == "finished"


class Command:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_checkpoint_is_executed(checkpoint, tmp_path):
    changed(checkpoint, random=Command(tmp_path / "executed"))
    with pytest.raises(lab.CheckpointError, match="no checkpoint that can be read"):
        lab.read_checkpoint(checkpoint)
    torch.load(checkpoint, weights_only=False)
    assert (tmp_path / "executed").exists()  # it would have been


def test_a_file_of_another_kind_is_refused(checkpoint):
    found = torch.load(checkpoint, weights_only=True)
    torch.save(found, checkpoint, _use_new_zipfile_serialization=False)
    with pytest.raises(lab.CheckpointError, match=r"c\.pt is no checkpoint .* not a zip file"):
        lab.read_checkpoint(checkpoint)
    torch.save({"weights": found["weights"]}, checkpoint)
    with pytest.raises(lab.CheckpointError, match="it must hold head, steps, h_res, weights"):
        lab.read_checkpoint(checkpoint)


def test_a_compressed_file_is_refused(checkpoint):
    entries = unzipped(checkpoint)
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(lab.CheckpointError, match="it is compressed"):
        lab.read_checkpoint(checkpoint)


def test_what_is_there_but_no_file_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError):
        lab.train(lab.Settings(**SMALL), checkpoint=tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder for the checkpoint"):
        lab.train(lab.Settings(**SMALL), checkpoint=tmp_path / "none" / "c.pt")
    with pytest.raises(ValueError, match="checkpoint_every must be at least 1, not 0"):
        lab.train(lab.Settings(**SMALL), checkpoint=tmp_path / "c.pt", checkpoint_every=0)


def too_small(found):
    """An optimiser's state beyond whose end PyTorch's fused AdamW would write."""
    found["optimiser"]["state"][0]["exp_avg"] = torch.zeros(1)


def of_one_number(found):
    """A tensor that claims to be large and has one number."""
    weight = found["weights"]["head.weight"]
    found["steps"] = torch.zeros(1, dtype=torch.float64).expand(7, 10**12)
    found["weights"]["head.weight"] = weight[:1, :1].expand(10**6, 10**6)


def without_a_weight(found):
    del found["weights"]["head.weight"]


def with_another_type(found):
    found["weights"]["head.weight"] = found["weights"]["head.weight"].double()


def sparse(found):
    found["weights"]["head.weight"] = found["weights"]["head.weight"].to_sparse()


def with_a_word(found):
    found["optimiser"]["param_groups"][0]["eps"] = "small"


def without_groups(found):
    found["optimiser"]["param_groups"] = []


def no_generator(found):
    found["random"] = [torch.zeros_like(found["random"][0])]


def ordered(found):
    found["optimiser"] = OrderedDict(state=[], param_groups={})


@pytest.mark.parametrize(
    "change",
    [
        *(too_small, of_one_number, without_a_weight, with_another_type, sparse),
        *(with_a_word, without_groups, no_generator, ordered),
    ],
)
def test_what_cannot_be_of_this_run_is_refused_before_anything_is_written(checkpoint, change):
    found = torch.load(checkpoint, weights_only=True)
    change(found)
    torch.save(found, checkpoint)
    with pytest.raises(lab.CheckpointError, match=r"c\.pt (is no checkpoint|does not fit)"):
        lab.train(lab.Settings(**SMALL), checkpoint=checkpoint)


# Damage


def unzipped(path):
    with zipfile.ZipFile(path) as archive:
        return {each.filename: archive.read(each) for each in archive.infolist()}


def mutated(data, chance):
    """Bytes with something flipped, cut, doubled or inserted."""
    data, at = bytearray(data), chance.randrange(len(data))
    end = at + chance.choice((1, 2, 8, 64, 4096))
    match chance.randrange(5):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            del data[at:end]
        case 2:
            data[at:at] = data[at:end]
        case 3:
            data[at:end] = chance.randbytes(len(data[at:end]))
        case 4:
            del data[at:]
    return bytes(data)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The settings of a run with few weights, and its checkpoint in the middle."""
    path = tmp_path_factory.mktemp("tiny") / "c.pt"
    settings = lab.Settings(connection="hc", depth=1, width=4, streams=2, steps=3, batch=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trained(settings, 2, checkpoint=path, checkpoint_every=2)
    torch.set_num_threads(threads)
    return settings, path


def refusal(path, run):
    """Why a file is refused: its name and more; empty if it is not.  No other error may come."""
    try:
        run()
    except lab.CheckpointError as error:
        return str(error).partition(str(path))[2]
    return ""


def test_a_damaged_file_is_refused_or_nothing_of_it_was_damaged(tiny, tmp_path):
    whole, path = tiny[1].read_bytes(), tmp_path / "c.pt"
    same = without_times(lab.read_checkpoint(tiny[1]).record)
    read, chance, refused = [], random.Random(0), 0
    for _ in range(300):
        path.write_bytes(mutated(whole, chance))
        refused += bool(refusal(path, lambda: read.append(lab.read_checkpoint(path))))
    assert refused > 150  # between the tensors there are gaps, which nobody reads
    assert len(read) == 300 - refused > 0
    assert all(without_times(each.record) == same for each in read)


@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.long)])
def test_a_hostile_file_with_the_right_checksums_is_refused_or_read(tiny, tmp_path, count):
    settings, path = tiny[0], tmp_path / "c.pt"
    entries = unzipped(tiny[1])
    (pickled,) = (name for name in entries if name.endswith("data.pkl"))
    ends, chance, refused = [], random.Random(1), 0
    for _ in range(count):
        name = chance.choice([pickled] * 3 + [chance.choice(list(entries))])
        with zipfile.ZipFile(path, "w") as archive:
            for each, data in entries.items():
                archive.writestr(each, mutated(data, chance) if each == name else data)
        refused += bool(
            refusal(path, lambda: ends.append(list(lab.train(settings, checkpoint=path))[-1]))
        )
    assert refused > count / 2
    assert len(ends) == count - refused > 0  # another number is no wrong one
    assert all(isinstance(each, lab.Summary) for each in ends)


# The command line


def test_a_refused_checkpoint_leaves_the_record_as_it_was(tmp_path, capsys):
    words = ["train", "--connections", "hc", "--depth", "2", "--width", "8", "--steps", "2"]
    options = ["--checkpoint", str(tmp_path / "c.pt"), "-o", str(tmp_path / "r.jsonl")]
    assert main([*words, *options]) == 0
    before = (tmp_path / "r-hc.jsonl").read_bytes()
    assert main([*words, "--seed", "1", *options]) == 1
    assert "c-hc.pt is the checkpoint of another run: it has seed 0" in capsys.readouterr().err
    assert (tmp_path / "r-hc.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint-every", "5"], "argument --checkpoint-every: --checkpoint must say where"),
        (["--checkpoint", "c.pt", "--checkpoint-every", "0"], "0 is out of range"),
        (["--checkpoint", "a/"], "'a/' names no file"),
    ],
)
def test_bad_options_are_named(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--steps", "1", *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_sweep_on_a_cluster_keeps_no_checkpoints(tmp_path, capsys):
    options = {"scheduler": "tcp://x:1", "checkpoint_every": 5}
    with pytest.raises(TypeError, match="checkpoint_every and scheduler cannot both be given"):
        lab.sweep(tmp_path, **options)
    with pytest.raises(SystemExit):
        main(["sweep", "--scheduler", "tcp://x:1", "--checkpoint-every", "5"])
    assert "not allowed with argument --scheduler" in capsys.readouterr().err

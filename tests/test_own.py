"""Tasks, optimisers, schedules, branches and connections of a module outside the package."""

import importlib
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from mhc_demo import lab
from mhc_demo.cli import main
from mhc_demo.lab import registry
from mhc_demo.lab.settings import REGISTRIES

SMALL = {"depth": 2, "width": 8, "steps": 3, "batch": 16}

MINE = """
import numpy as np
from mhc_demo import lab

@lab.task("sign", "Sign of a number", unit="samples", score="accuracy", note="")
def sign(seed):
    x = np.random.default_rng(seed).normal(size=(500, 1)).astype(np.float32)
    examples = lab.Examples(x, (x[:, 0] > 0).astype(np.int64))
    return lab.Data(examples, examples, classes=2)

@lab.optimiser("adagrad", "Adagrad")
def adagrad(groups, learning_rate):
    import torch
    return torch.optim.Adagrad(groups, lr=learning_rate)

@lab.schedule("half", "Half in the second half")
def half(step, steps):
    return 1.0 if step <= steps / 2 else 0.5

@lab.branch("convolution", "A convolution, whose weights the lab does not set")
def convolution(width, index, sequences):
    from torch import nn
    convolution = nn.Conv1d(1, 1, 3, padding=1)
    return nn.Sequential(nn.Unflatten(-1, (1, width)), convolution, nn.Flatten(-2))

@lab.connection("hc-static", "HC, static")
def static(branch, settings, index):
    from mhc_demo import nn as mnn
    return mnn.HyperConnection(branch, settings.width, settings.streams, layer=index, dynamic=False)
"""
CHOSEN = {
    "task": "sign",
    "optimiser": "adagrad",
    "schedule": "half",
    "branch": "convolution",
    "connection": "hc-static",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module `mine_of_a_test`, of which nothing is left afterwards."""
    before = {name: dict(each) for name, each in REGISTRIES.items()}
    (tmp_path / "mine_of_a_test.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("mine_of_a_test", None)
    for name, each in REGISTRIES.items():
        for added in set(each) - set(before[name]):
            del each[added]


@pytest.fixture
def mine(folder):
    sys.path.insert(0, str(folder))
    return importlib.import_module("mine_of_a_test")


def test_what_a_module_registers_can_be_chosen_and_is_trained_with(mine):
    assert lab.CONNECTIONS["hc-static"] == "HC, static"
    settings = lab.Settings(**SMALL | CHOSEN | {"steps": 40, "learning_rate": 0.1})
    *steps, end = lab.train(settings)
    assert end.outcome == "finished"
    assert end.score > 0.8
    assert settings.modules() == ["mine_of_a_test"]
    assert lab.learned(0.65, "sign")  # guessing gets half of the signs right
    assert not lab.learned(0.55, "sign")
    again = lab.Record(settings)
    torch.manual_seed(1)  # weights that the lab does not set depend on the run's seed alone
    again.extend(lab.train(settings))
    assert [each.loss for each in again.steps] == [each.loss for each in steps]


def test_a_record_says_which_module_it_needs(mine, tmp_path):
    settings = lab.Settings(**SMALL | CHOSEN)
    for _ in lab.recorded(lab.train(settings), settings, tmp_path / "r.jsonl"):
        pass
    assert lab.read_record(tmp_path / "r.jsonl").settings.task == "sign"
    del lab.TASKS["sign"]
    with pytest.raises(ValueError, match=r"made with modules \['mine_of_a_test'\]: import them"):
        lab.read_record(tmp_path / "r.jsonl")


def test_the_processes_of_a_sweep_import_the_module_by_themselves(mine, tmp_path):
    paths = lab.sweep(tmp_path / "runs", processes=1, **SMALL | CHOSEN)
    assert lab.read_record(paths[0]).outcome == "finished"


def test_what_a_script_defines_cannot_be_swept(mine, monkeypatch, tmp_path):
    task = lab.TASKS["sign"]
    monkeypatch.setattr(task.load, "__module__", "__main__")
    with pytest.raises(ValueError, match="what __main__ defines"):
        lab.sweep(tmp_path / "runs", **SMALL | {"task": "sign"})


def test_the_command_line_imports_a_module_from_the_present_folder(folder, capsys):
    words = [f"--{name}={value}" for name, value in (SMALL | CHOSEN).items()]
    words = [word for word in words if "connection" not in word]
    options = ["--module", "mine_of_a_test", *words, "--connections", "hc-static", "-o", "r.jsonl"]
    assert main(["train", *options]) == 0
    assert "HC, static: finished after 3 steps" in capsys.readouterr().out
    assert main(["runs", "--module", "mine_of_a_test", "r-hc-static.jsonl"]) == 0
    assert "Sign of a number: median" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--module", "no_such_module"], "argument --module: 'no_such_module' cannot be imported"),
        (["--module"], "argument --module: expected one argument"),
    ],
)
def test_a_module_that_is_not_there_is_named(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def installed(folder, entry):
    """As if a package with this entry point were installed in the folder."""
    info = folder / "of_a_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of-a-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry}\n")
    sys.path.insert(0, str(folder))
    registry.load_installed.cache_clear()


def test_an_installed_package_is_found_by_its_entry_point(folder):
    installed(folder, "mine = mine_of_a_test")
    assert lab.Settings(task="sign").task == "sign"


def test_a_broken_package_is_warned_of_and_takes_nothing_away(folder):
    installed(folder, "broken = no_such_module")
    with (
        pytest.warns(UserWarning, match="entry point 'broken' .* cannot be loaded"),
        pytest.raises(ValueError, match="task"),
    ):
        lab.Settings(task="sign")
    assert lab.Settings(task="text").task == "text"


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-x", "x" * 41, None])
def test_a_name_that_is_no_part_of_a_file_name_is_refused(name):
    with pytest.raises(ValueError, match="the name of a schedule must be up to 40 letters"):
        lab.schedule(name, "A title")(lambda step, steps: 1.0)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, TypeError, "task 'odd' must return Data, not NoneType"),
        ({"inputs": np.ones((4, 2))}, TypeError, "must have float32 numbers of shape"),
        ({"inputs": np.ones((3, 2), np.float32)}, ValueError, "as many targets as inputs"),
        ({"targets": np.array([0, 1, 2, 3])}, ValueError, "whole numbers from 0 to 2 as targets"),
        ({"targets": np.ones(4)}, ValueError, "not float64"),
    ],
)
def test_data_that_cannot_be_trained_on_are_named(folder, data, error, message):
    good = lab.Examples(np.ones((4, 2), np.float32), np.array([0, 1, 2, 0]))
    returned = data and lab.Data(good, replace(good, **data), 3)

    @lab.task("odd", "Odd", unit="samples", score="accuracy", note="")
    def odd(seed):
        return returned

    with pytest.raises(error, match=message):
        next(lab.train(lab.Settings(**SMALL | {"task": "odd"})))


# Optimisers, schedules, clipping of our own


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_every_optimiser_learns(name):
    rate = {"sgd": 0.05, "adamw": 0.01}[name]
    *_, end = lab.train(
        lab.Settings(**SMALL | {"steps": 60, "optimiser": name, "learning_rate": rate})
    )
    assert end.score > 0.5


def test_schedules_rise_and_fall():
    factors = {
        name: [each.factor(step, 100) for step in range(1, 101)]
        for name, each in lab.SCHEDULES.items()
    }
    assert set(factors["constant"]) == {1.0}
    for name in ("warm-up", "cosine"):
        assert factors[name][:10] == pytest.approx(np.arange(1, 11) / 10)
    assert set(factors["warm-up"][10:]) == {1.0}
    assert np.all(np.diff(factors["cosine"][9:]) < 0)
    assert 0.0 < factors["cosine"][-1] < 1e-3
    assert all(each.factor(1, 1) > 0 for each in lab.SCHEDULES.values())


def test_the_schedule_is_what_the_optimiser_steps_with(folder):
    rates = []

    @lab.optimiser("watched", "Watched")
    def watched(groups, learning_rate):
        class Watched(torch.optim.SGD):
            def step(self, closure=None):
                rates.append({group["lr"] for group in self.param_groups})
                return super().step(closure)

        return Watched(groups, lr=learning_rate)

    settings = lab.Settings(**SMALL | {"optimiser": "watched", "schedule": "warm-up", "steps": 20})
    list(lab.train(settings))
    assert [list(each) for each in rates[:3]] == [[0.003 * 0.5], [0.003], [0.003]]


def test_a_clipped_gradient_is_as_long_as_it_may_be_and_its_own_norm_is_recorded(folder):
    norms = []

    @lab.optimiser("watched", "Watched")
    def watched(groups, learning_rate):
        class Watched(torch.optim.SGD):
            def step(self, closure=None):
                grads = [p.grad for group in self.param_groups for p in group["params"]]
                norms.append(math.hypot(*(g.norm().item() for g in grads if g is not None)))
                return super().step(closure)

        return Watched(groups, lr=learning_rate)

    settings = lab.Settings(**SMALL | {"optimiser": "watched", "clip": 0.1})
    *steps, _ = lab.train(settings)
    assert norms == pytest.approx([0.1] * 3, rel=1e-4)
    assert all(step.gradient_norm > 0.2 for step in steps)


def test_a_record_of_before_there_was_a_choice_is_of_the_usual_one(tmp_path):
    settings = lab.Settings(**SMALL)
    path = tmp_path / "r.jsonl"
    for _ in lab.recorded(lab.train(settings), settings, path):
        pass
    text = path.read_text()
    for name, value in (("branch", '"standard"'), ("optimiser", '"adamw"'), ("clip", "0.0")):
        assert f'"{name}":{value},' in text
        text = text.replace(f'"{name}":{value},', "", 1)
    path.write_text(text)
    assert lab.read_record(path).settings.values_by_name() == settings.values_by_name()

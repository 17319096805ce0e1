"""`mhc-demo doctor`: a model's mistakes on the command line, and what is no model."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mhc_demo.cli import main

ROOT = Path(__file__).parent.parent

MODELS = """
    from types import SimpleNamespace

    import torch
    from mhc_demo import nn as mnn

    class Network(torch.nn.Module):
        def __init__(self, index):
            super().__init__()
            self.layers = torch.nn.Sequential(
                *(mnn.HyperConnection(torch.nn.Identity(), 4, layer=index(l)) for l in range(4))
            )

        def forward(self, x):
            return mnn.reduce_streams(self.layers(mnn.expand_streams(x, 4)))

    def sound():
        return Network(lambda l: l), torch.ones(2, 3, 4)

    def forgotten():
        return {"model": Network(lambda l: 0), "inputs": torch.ones(2, 3, 4)}

    def alone():
        return Network(lambda l: l)

    class Words(Network):
        def __init__(self):
            super().__init__(lambda l: l)
            self.config = SimpleNamespace(vocab_size=5)
            self.embed = torch.nn.Embedding(5, 4)

        def forward(self, input_ids):
            return super().forward(self.embed(input_ids))

    def misfit():
        return Network(lambda l: l), torch.ones(2, 3, 5)

    def unknown():
        return torch.nn.Linear(4, 4), torch.ones(4)

    def misspelt():
        return {"model": Network(lambda l: l), "input": torch.ones(4)}

    def raising():
        raise RuntimeError("the weights are on another machine")

    def number():
        return 3

    constant = 3

    class Holder:
        made = staticmethod(sound)
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    tmp_path.joinpath("mine_to_try.py").write_text(textwrap.dedent(MODELS), "utf-8")
    for name in ("mine_to_try", "mine", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    ("factory", "code"), [("sound", 0), ("Holder.made", 0), ("Words", 0), ("forgotten", 1)]
)
def test_the_exit_code_says_whether_there_is_a_mistake(
    factory: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", f"mine_to_try:{factory}"]) == code
    said = capsys.readouterr().out
    assert ("MISTAKE: Every layer reads the same stream" in said) == bool(code)


def test_as_json_it_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "mine_to_try:forgotten", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["sound"] is False
    (finding,) = found["findings"]
    assert finding["check"] == "reading"
    assert finding["layers"] == [f"layers.{index}" for index in range(4)]
    assert finding["numbers"]["share"] == 1.0


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("alone", r"must return inputs beside the model"),
        ("misfit", r"cannot examine the model: ValueError: h must have shape \(\.\.\., 4, 4\)"),
        ("unknown", r"Linear has none of this package"),
        ("misspelt", r"has 'input'; its keys are model, inputs, loss"),
        ("raising", r"raised RuntimeError: the weights .* \(mine_to_try\.py, line \d+\)"),
        ("number", r"must return a model, a model and its inputs, or a mapping .* not int"),
        ("constant", r"must be a function, not int"),
        ("missing", r"'mine_to_try' has no 'missing'"),
    ],
)
def test_what_cannot_be_examined_is_named_in_one_line(
    factory: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", f"mine_to_try:{factory}"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert re.search(words, line), line


def test_a_module_that_is_missing_or_broken_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "not_there_at_all:model"]) == 2
    assert "cannot import 'not_there_at_all': ModuleNotFoundError" in capsys.readouterr().err
    tmp_path.joinpath("broken.py").write_text("\nx = 1 / 0\n", "utf-8")
    assert main(["doctor", "broken:model"]) == 2
    assert "ZeroDivisionError: division by zero (broken.py, line 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("mine", "must be MODULE:FACTORY"),
        ("a/mine.py:model", "name the module: a.mine:model"),
        ("mine:1", "must be MODULE:FACTORY"),
    ],
)
def test_what_is_no_factory_is_refused(
    word: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["doctor", word])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_the_documentation_shows_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "research.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(# mine\.py\n.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"`mhc-demo doctor mine:faulty`.*?```text\n(.*?)```", page, re.DOTALL)
    tmp_path.joinpath("mine.py").write_text(code, "utf-8")
    assert main(["doctor", "mine:faulty"]) == 1
    assert capsys.readouterr().out == shown

"""`mhc-demo inspect`: the report of a file or of a small random model, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.cli import main

H = mhc.sinkhorn_knopp(mhc.sample_mixing(depth=4, streams=3, members=2, seed=1)).astype("f4")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "maps.npz"
    np.savez(path, h_res=H)
    return path


def test_a_file_s_report_is_printed_and_written(
    file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page, copy = tmp_path / "report.html", tmp_path / "copy.safetensors"
    assert main(["inspect", str(file), "-o", str(page)]) == 0
    said = capsys.readouterr()
    assert said.out == mhc.inspect(file).summary() + "\n"
    assert said.err == ""
    assert "maps.npz" in page.read_text("utf-8")
    assert main(["inspect", str(file), "--rows", "2", "-o", str(copy)]) == 0
    assert "(2 of 4 layers" in capsys.readouterr().out
    np.testing.assert_array_equal(mhc.inspect(copy).matrices, H)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npz", b"PK\x03\x04damaged", "damaged zip archive"),
        ("b.pt", b"\x80\x04pickle", "pickle"),
        ("c.npz", None, "No such file"),
        ("d.txt", b"hello", "none of the files"),
    ],
)
def test_a_file_that_is_not_read_costs_one_line(
    name: str,
    content: bytes | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["inspect", str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"mhc-demo: cannot inspect {path}: ")
    assert said in lines[0]


def test_of_several_arrays_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, first=H, second=H * 2)
    assert main(["inspect", str(path)]) == 1
    assert "'first', 'second'" in capsys.readouterr().err
    assert main(["inspect", str(path), "--array", "second"]) == 0
    assert "array 'second'" in capsys.readouterr().out
    assert main(["inspect", str(path), "--array", "third"]) == 1
    assert "no array 'third'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either a FILE or a configuration"),
        (["a.npz", "--hf", "deepseek_v4"], "either a FILE or a configuration"),
        (["a.npz", "-o", "report.pdf"], "must end in .html, .npz, .safetensors"),
        (["a.npz", "--rows", "0"], "out of range"),
    ],
)
def test_wrong_options_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["inspect", *arguments])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.long  # docs/research.md runs it too, but for its errors
def test_a_small_random_model_is_built_of_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = pytest.importorskip("transformers.models.deepseek_v4")
    config = kinds.DeepseekV4Config(hc_mult=3, num_hidden_layers=61).to_dict()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | {"model_type": "deepseek_v4"}))
    for given in (path, tmp_path):
        assert main(["inspect", "--hf", str(given)]) == 0
        said = capsys.readouterr().out
        assert "deepseek_v4, small and random, 8 blocks" in said
        assert "16 layers, n = 3 streams, 32 tokens" in said  # attention and FFN of each block
        assert "The layers mix" in said
    path.write_text(json.dumps({"model_type": "llama"}))
    assert main(["inspect", "--hf", str(path)]) == 1
    assert "no layer to record" in capsys.readouterr().err
    path.write_text("{}")
    assert main(["inspect", "--hf", str(path)]) == 1
    assert main(["inspect", "--hf", "no_such_model"]) == 1
    assert "knows no model of that type" in capsys.readouterr().err

"""A file is written whole or not at all, and holds all that its format can.

Pictures, which a browser draws, are tested in tests/page/test_pictures.py.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mhc_demo as mhc
from mhc_demo.cli import main
from mhc_demo.export import files, pictures
from mhc_demo.export.files import FORMATS
from mhc_demo.export.slides import SLIDES, SlideRequest
from mhc_demo.numerics import surface
from mhc_demo.numerics.numbers import in_label
from mhc_demo.numerics.replacing import replacing

PATIENCE = 60  # seconds until a process that hangs is ended; none should come near it


def test_a_file_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "gains.html"
    path.write_text("old")
    with replacing(path) as part:
        assert part.parent == tmp_path
        assert part.suffix == ".html"
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "gains.csv"
    path.write_text("old")
    with pytest.raises(failure), replacing(path) as part:  # noqa: PT012
        part.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="the umask is POSIX's")
def test_the_file_has_the_usual_permissions(tmp_path: Path) -> None:
    path, usual = tmp_path / "a", tmp_path / "b"
    usual.touch()
    with replacing(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "b"
    link.symlink_to(path)
    with replacing(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_a_path_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="missing does not exist"),
        replacing(tmp_path / "missing" / "a.html"),
    ):
        pass
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path):
        pass
    with pytest.raises(ValueError, match="is not a file"), replacing(os.devnull):
        pass
    assert list(tmp_path.iterdir()) == []


READERS = {
    ".csv": lambda path: _labelled(pd.read_csv(path)),
    ".parquet": lambda path: _labelled(pd.read_parquet(path)),
    ".nc": lambda path: xr.load_dataset(path),
    ".json": lambda path: xr.Dataset.from_dict(json.loads(path.read_text())).astype(float),
}
"""How to read each format, as the documentation says."""


def _labelled(rows: pd.DataFrame) -> xr.Dataset:
    cells = rows.set_index(["direction", "iterations", "depth", "series"])
    read = cells[["log10_gain", "expected_log10_gain"]].to_xarray()
    return read.assign_attrs(rows.attrs)


def written(tmp_path: Path, suffix: str, *options: str) -> Path:
    path = tmp_path / f"gains{suffix}"
    assert main(["surface", "--members", "3", *options, "-o", str(path)]) == 0
    assert list(tmp_path.iterdir()) == [path]
    return path


# The worst case has no theory (NaN), and at spread 0 nothing comes through (minus infinity).
@pytest.mark.parametrize(
    "values",
    [
        {"seed": 7, "spread": 1.5},
        {"spread": 0.0, "definition": "worst-case"},
        {"init": "shared", "shared": 0.25},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", FORMATS)
def test_the_file_holds_the_gain_surface_to_the_last_digit(
    tmp_path: Path, suffix: str, values: dict[str, Any]
) -> None:
    options = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    read = READERS[suffix](written(tmp_path, suffix, "--depth", "9", *options))
    experiment = mhc.Experiment(members=3, **values)
    surface = mhc.gain_surface(experiment, depth=9)
    for name in surface.coords:  # rows come back in alphabetical order
        assert sorted(read[name].values.tolist()) == sorted(surface[name].values.tolist())
    for name, gains in surface.items():
        kept = read[name].reindex(surface.coords)
        if name == "expected_log10_gain":  # is in every row of a table
            gains = gains.broadcast_like(kept)
        np.testing.assert_array_equal(kept.transpose(*gains.dims).values, gains.values)
    if suffix != ".csv":
        attributes = {"version": f"mhc-demo {mhc.__version__}", "source": surface.attrs["source"]}
        assert attributes.items() <= read.attrs.items()
        assert experiment.values_of_experiment().items() <= read.attrs.items()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_each_row_of_a_table_names_its_experiment(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, suffix, "--depth", "2", "--seed", "7")
    rows = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    for name, value in mhc.Experiment(members=3, seed=7).values_of_experiment().items():
        assert set(rows[name]) == {value}


def test_json_is_json_for_readers_other_than_python(tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no number in JSON")

    text = written(tmp_path, ".json", "--spread", "0", "--definition", "worst-case").read_text()
    variables = json.loads(text, parse_constant=refuse)["data_vars"]
    assert variables["expected_log10_gain"]["data"][0] is None
    assert variables["log10_gain"]["data"][0][0][0][0] == "-Infinity"


def test_the_same_command_writes_the_same_file(tmp_path: Path) -> None:
    first, second = (written(tmp_path, ".json").read_bytes() for _ in range(2))
    assert first == second


def test_parts_that_are_not_requested_are_left_out(tmp_path: Path) -> None:
    options = ["--direction", "backward", "--series", "median", "q05", "--depth", "3"]
    rows = pd.read_csv(written(tmp_path, ".csv", *options, "--iterations", "1"))
    assert set(rows["direction"]) == {"backward"}
    assert set(rows["series"]) == {"q05", "median"}
    assert len(rows) == 2 * 2 * 3


@pytest.mark.parametrize(("suffix", "package"), [(".nc", "h5py"), (".parquet", "pyarrow")])
def test_a_package_that_is_missing_is_named_with_what_installs_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
    package: str,
) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == package else object())
    assert main(["surface", "-o", str(tmp_path / f"gains{suffix}")]) == 1
    message = capsys.readouterr().err
    assert f"{suffix} needs {package}: pip install {package}\n" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "allowed"),
    [(["surface"], ".csv, .parquet, .nc, .json"), (["plot", "dial"], ".png, .svg, .html")],
    ids=["surface", "plot"],
)
def test_a_format_that_does_not_exist_is_refused_with_those_that_do(
    capsys: pytest.CaptureFixture[str], command: list[str], allowed: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "-o", "gains.xlsx"])
    assert stop.value.code == 2
    assert f"'gains.xlsx' must end in {allowed}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        files.format_of("gains.xlsx")


@pytest.mark.parametrize("command", [["surface"], ["plot", "fig8"]], ids=["surface", "plot"])
def test_a_folder_that_is_missing_is_named_before_anything_is_computed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.setattr(surface, "gain_surface", None)
    path = tmp_path / "missing" / ("a.csv" if command == ["surface"] else "a.html")
    assert main([*command, "-o", str(path)]) == 1
    assert f"cannot write {path}: the folder {path.parent} does not" in capsys.readouterr().err


def test_streams_that_a_projection_cannot_take_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--projection", "mhc-lite", "--streams", "16", "-o", str(tmp_path / "a.csv")]
    with pytest.raises(SystemExit) as stop:
        main(["surface", *options])
    assert stop.value.code == 2
    assert "takes at most 6 streams" in capsys.readouterr().err


def test_progress_counts_every_member() -> None:
    counts: list[int] = []
    mhc.gain_surface(mhc.Experiment(members=37), depth=3, progress=counts.append)
    assert sum(counts) == 37
    mhc.layer_axis_gains(mhc.Experiment(members=1), depth=3, progress=counts.append)
    assert sum(counts) == 38


def stopped(
    folder: Path, number: signal.Signals, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal once its folder holds an unfinished file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mhc_demo.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + PATIENCE
        while len(list(folder.iterdir())) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


SIGNALS = pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGINT, signal.SIGHUP)),
    ],
)


@SIGNALS
def test_a_signal_while_it_computes_leaves_the_old_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "gains.csv"
    path.write_text("old")
    # An hour's work, which the signal ends.
    done = stopped(tmp_path, number, "surface", "--members", "1000000", "-o", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def sleeper(folder: Path) -> Path:
    """A browser that draws nothing, and leaves its process number in `folder`."""
    if os.name != "posix":
        pytest.skip("the browser is a script for the shell")
    program = folder.parent / "browser"
    program.write_text(f"#!/bin/sh\necho $$ > {folder}/pid\nexec sleep {PATIENCE}\n")
    program.chmod(0o755)
    return program


@SIGNALS
def test_a_signal_while_a_browser_draws_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    folder, temporary = tmp_path / "here", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    options = ["plot", "fig8", "-o", str(folder / "a.png"), "--browser", str(sleeper(folder))]
    done = stopped(folder, number, *options)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")
    (left,) = folder.iterdir()
    with pytest.raises(ProcessLookupError):
        os.kill(int(left.read_text()), 0)
    assert list(temporary.iterdir()) == []


def on_a_full_disk(size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command whose files cannot grow beyond `size` bytes: it fails as on a full disk."""
    limited = f"""
import resource, sys
from mhc_demo.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
sys.exit(main())
"""
    return subprocess.run(
        [sys.executable, "-c", limited, *arguments], capture_output=True, text=True
    )


@pytest.mark.skipif(os.name != "posix", reason="the limit is POSIX's")
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.csv", "surface --members 2 -o"),
        pytest.param("a.html", "export", marks=pytest.mark.long),
        *(
            pytest.param(f"a{suffix}", "surface --members 2 -o", marks=pytest.mark.long)
            for suffix in FORMATS
            if suffix != ".csv"
        ),
        pytest.param("b.html", "plot fig8 --members 2 -o", marks=pytest.mark.long),
    ],
)
def test_a_full_disk_is_named_with_the_file_and_leaves_the_old_one(
    tmp_path: Path, name: str, command: str
) -> None:
    path = tmp_path / name
    path.write_text("old")
    done = on_a_full_disk(3000, *command.split(), str(path))
    reason = os.strerror(errno.EFBIG)
    assert done.stderr == f"mhc-demo: cannot write {path}: {reason}\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_browser_the_message_names_those_it_tried_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(pictures.VARIABLE, raising=False)
    monkeypatch.setattr(pictures, "ELSEWHERE", {})
    assert main(["plot", "dial", "-o", str(tmp_path / "a.png")]) == 1
    message = capsys.readouterr().err
    for word in (*pictures.BROWSERS, "--browser", pictures.VARIABLE, ".html"):
        assert word in message
    monkeypatch.setenv(pictures.VARIABLE, "netscape")
    assert main(["plot", "dial", "-o", str(tmp_path / "a.svg")]) == 1
    assert "there is no browser 'netscape'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("ends", [True, False], ids=["ends", "hangs"])
def test_a_browser_that_draws_nothing_is_not_waited_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ends: bool,
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    browser = str(sleeper(folder))
    reason = "ended with exit code 0"
    if ends:
        browser = "true"
    else:
        monkeypatch.setattr(pictures, "PATIENCE", 1)
        reason = "has drawn nothing in 1 seconds"
    path = tmp_path / "a.png"
    assert main(["plot", "fig8", "-o", str(path), "--browser", browser]) == 1
    assert f"{reason}; name another browser" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("figure", SLIDES)
def test_a_figure_as_html_loads_nothing_and_holds_no_more_than_it_shows(
    tmp_path: Path, figure: str
) -> None:
    path = tmp_path / "a.html"
    assert main(["plot", figure, "--members", "2", "-o", str(path)]) == 0
    text = path.read_text("utf-8")
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    item = re.search(r"embed_item\((.*), \"picture\"\)", text)[1]
    assert "forward.median" not in item  # a column of the tables that a slider looks up


def test_a_figure_of_random_matrices_says_that_it_is_not_the_paper_s() -> None:
    request = SlideRequest(mhc.Experiment(members=2), depth=8, iterations=1)
    for name, where in (("fig3", "Figure 3"), ("fig7", "Figure 7")):
        subtitle = SLIDES[name].draw(request).subtitle
        assert f"In the manner of {where} of the mHC paper, but not its 27B model" in subtitle[0]


def test_the_dial_s_title_gives_the_gains_that_it_shows() -> None:
    experiment = mhc.Experiment(members=5, spread=5.0)
    here = mhc.gain_surface(experiment, depth=20)["log10_gain"].sel(depth=20, series="median")
    hc, projected = (float(here.sel(iterations=t).max()) for t in (0, 2))
    title = SLIDES["dial"].draw(SlideRequest(experiment, depth=20, iterations=2)).title
    assert title.endswith(f": {in_label(hc)} → {in_label(projected)}")

"""A site as a folder: what may be written where, and names that say what is in a file.

Its pages are tried in a browser in `page/test_site.py`.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mhc_demo as mhc
from mhc_demo.app.views import VIEWS
from mhc_demo.cli import main
from mhc_demo.export.embed.page import Content
from mhc_demo.export.grid import Grid, _part, _request, digest, packed, views
from mhc_demo.numerics.replacing import replacing_folder

USUAL: dict[str, Any] = {
    "streams": (4,),
    "spread": (1.0,),
    "init": ("gaussian",),
    "projection": ("sinkhorn",),
    "seed": (42,),
}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("streams", (0,), ValueError),
        ("streams", (4.5,), ValueError),
        ("streams", (True,), TypeError),
        ("streams", 4, TypeError),
        ("streams", (), TypeError),
        ("spread", (float("nan"),), ValueError),
        ("spread", ("wide",), ValueError),
        ("init", ("xavier",), ValueError),
        ("init", "gaussian", TypeError),
        ("projection", ("softmax",), ValueError),
        ("seed", (-1,), ValueError),
        ("members", 0, ValueError),
        ("presets", ("ablation",), ValueError),
        ("device", "tpu", ValueError),
        ("base_url", "example.org/mhc", ValueError),
        ("base_url", "https://example.org/?q=1", ValueError),
        ("base_url", 3, TypeError),
    ],
)
def test_a_bad_argument_is_named_and_nothing_is_written(
    tmp_path: Path, name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=name):
        mhc.export_site(tmp_path / "site", **{**USUAL, name: value})
    assert list(tmp_path.iterdir()) == []


def test_only_a_folder_that_is_empty_or_ours_is_replaced(tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "to-a-friend.txt").write_text("Dear")
    for folder in (letters, letters / "to-a-friend.txt"):
        with pytest.raises(FileExistsError, match="not a site of ours"):
            mhc.export_site(folder, **USUAL)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        mhc.export_site(tmp_path / "nowhere" / "site", **USUAL)
    assert [path.name for path in letters.iterdir()] == ["to-a-friend.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("")
    assert main(["site", str(tmp_path)]) == 1
    assert "not a site of ours" in capsys.readouterr().err
    for wrong in (["--base-url", "nowhere"], ["--projection", "mhc-lite", "--streams", "8"]):
        with pytest.raises(SystemExit) as stop:
            main(["site", str(tmp_path / "new"), *wrong])
        assert stop.value.code == 2
        assert wrong[-1] in capsys.readouterr().err


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "site"
    with replacing_folder(target, "mark") as part:
        (part / "mark").write_text("1")

    def interrupted() -> None:
        with replacing_folder(target, "mark") as part:
            (part / "mark").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (target / "mark").read_text() == "1"
    with replacing_folder(target, "mark") as part:
        (part / "mark").write_text("3")
        (part / "more").mkdir()
    assert {path.name for path in target.iterdir()} == {"mark", "more"}
    assert (target / "mark").read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_site_opens_as_the_page_does_and_has_what_the_projections_take() -> None:
    grid = Grid.of(
        32,
        **{**USUAL, "streams": (2, 4, 8), "seed": (7, 42), "projection": ("mhc-lite", "sinkhorn")},
    )
    found = grid.experiments()
    assert found[0].values_of_experiment() == mhc.Experiment().values_of_experiment()
    pairs = {(each.streams, each.projection) for each in found}
    assert pairs == {(n, p) for n in (2, 4, 8) for p in USUAL["projection"]} | {
        (n, "mhc-lite") for n in (2, 4)
    }
    assert len(found) == 2 * len(pairs)


def test_a_view_of_a_site_is_called_as_on_the_page() -> None:
    for name, plot in views().items():
        assert (plot.title, plot.group) == (VIEWS[name].title, VIEWS[name].group), name
    assert VIEWS.keys() - views().keys() == {"link", "my-model"}


def test_a_file_is_called_by_its_content_whatever_was_made_before() -> None:
    # Bokeh counts its models, so the same view made twice has other ids.
    first, again = (
        _part(Content(_request(mhc.Experiment(members=2), "composite", "numpy", {})))[0]
        for _ in range(2)
    )
    assert digest(first) == digest(again)
    assert json.loads(gzip.decompress(first))["common"]["gains"] in json.dumps(
        json.loads(gzip.decompress(first))["data"]["doc"]
    )
    assert digest(packed({"seed": 1})) != digest(packed({"seed": 2}))


def test_the_web_server_s_configuration_is_valid(tmp_path: Path) -> None:
    caddy = shutil.which(
        "caddy", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
    )
    if caddy is None:
        pytest.skip("caddy has no package for this machine")
    done = subprocess.run(
        [caddy, "validate", "--config", Path(__file__).parents[1] / "deploy" / "site.Caddyfile"],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "Valid configuration" in done.stderr + done.stdout

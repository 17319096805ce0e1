"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mhc_demo.files import replacing


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
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
def test_an_interruption_leaves_what_was_there_and_nothing_else(
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
def test_the_file_is_as_open_as_any_other(tmp_path: Path) -> None:
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


def test_where_no_file_can_be_is_named(tmp_path: Path) -> None:
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

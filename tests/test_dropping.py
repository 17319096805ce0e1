"""Records that a visitor drops on the page: whole files come through, nothing else does harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhc_demo import lab
from mhc_demo.app.dropping import (
    MOST_CHARACTERS,
    MOST_FILES,
    Pieces,
    RefusedError,
    records_of,
)


def test_pieces_become_the_files_that_were_cut() -> None:
    pieces = Pieces()
    assert pieces.add([1, "a", "one ", False]) is None
    assert pieces.add([1, "a", "two", False]) is None
    assert pieces.add([1, "b", "three", True]) == {"a": "one two", "b": "three"}
    assert pieces.files == {}
    # Another set takes the place of one that did not end.
    pieces.add([2, "a", "half", False])
    assert pieces.add([3, "a", "whole", True]) == {"a": "whole"}


@pytest.mark.parametrize(
    "piece", [[], [1], [1, 2, 3, True], ["1", "a", "b", True], "abcd", {"a": 1}, [None] * 5]
)
def test_what_is_no_piece_is_refused(piece: Any) -> None:
    pieces = Pieces()
    pieces.add([1, "a", "half", False])
    with pytest.raises(RefusedError, match="no file"):
        pieces.add(piece)
    assert pieces.files == {}


def test_files_are_bounded_in_size_and_number() -> None:
    pieces = Pieces()
    big = "x" * (MOST_CHARACTERS // 8)
    for _ in range(8):
        pieces.add([1, "a", big, False])
    with pytest.raises(RefusedError, match="8 MB"):
        pieces.add([1, "a", "x", True])
    assert pieces.files == {}
    for k in range(MOST_FILES):
        pieces.add([2, str(k), "", False])
    with pytest.raises(RefusedError, match="at most 9 records"):
        pieces.add([2, "one more", "", False])
    assert pieces.files == {}


@given(st.text(), st.text(max_size=30))
def test_any_text_is_a_record_or_is_refused_by_its_name(text: str, name: str) -> None:
    records, refused = records_of({name: text})
    assert not records
    assert len(refused) == 1
    assert refused[0].startswith(name)


def test_a_record_is_read_as_from_a_disk_as_far_as_it_is_whole(tmp_path: Path) -> None:
    settings = lab.Settings(connection="hc", depth=2, width=4, steps=3, batch=4)
    path = tmp_path / "run.jsonl"
    for _ in lab.recorded(lab.train(settings), settings, path):
        pass
    text = path.read_text("utf-8")
    records, refused = records_of({"whole": text, "cut": text[: len(text) // 2], "": "{}"})
    assert len(records[0].steps) == 3
    assert records[0].settings.values_by_name() == settings.values_by_name()
    assert any("cut: nothing is read from line" in each for each in refused)
    assert any("is no record of the lab" in each for each in refused)

"""The story as a file: all of it, once, in a size that a reader on a train can load."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from typing import Any

import pytest

import mhc_demo as mhc
from mhc_demo.cli import main
from mhc_demo.export.embed.page import bokehjs, in_script
from mhc_demo.story.scenes import SCENES, SHORT, scenes_of

HOSTILE = "</script></title><img src=x onerror=alert(1)>'\"&{}"


@cache
def story(way: str) -> str:
    return mhc.export_story(way)


HELD = r'<script type="application/json" id="mhc-%s">([^<]*)</script>'


def held(html: str, name: str) -> dict[str, Any]:
    """What the file holds for its scripts under a name."""
    (found,) = re.findall(HELD % name, html)
    return json.loads(found)


def data_of(html: str) -> dict[str, Any]:
    """All that the file's scripts read."""
    first, later = held(html, "first"), held(html, "later")
    return {
        **first,
        "parts": first["parts"] | later["parts"],
        "columns": first["columns"] + later["columns"],
    }


@pytest.mark.parametrize("way", [pytest.param("whole", marks=pytest.mark.long), "short"])
def test_it_has_every_scene_of_its_way_and_each_column_once(way: str) -> None:
    data = data_of(story(way))
    assert [scene["name"] for scene in data["scenes"]] == list(scenes_of(way))
    assert list(data["parts"]) == list(scenes_of(way))
    columns = [json.dumps(each) for each in data["columns"]]
    assert len(set(columns)) == len(columns)
    used = [
        at
        for part in data["parts"].values()
        for variant in part["data"]["variants"]
        for names in variant["tables"].values()
        for at in names.values()
    ]
    assert set(used) == set(range(len(columns)))
    assert len(used) > 1.5 * len(columns)  # scenes share experiments


@pytest.mark.parametrize("way", ["whole", "short"])
def test_what_the_first_picture_does_not_need_stands_behind_the_scripts(way: str) -> None:
    html = story(way)
    first = held(html, "first")
    assert list(first["parts"]) == [first["scenes"][0]["name"]]
    (part,) = first["parts"].values()
    tables = [names for each in part["data"]["variants"] for names in each["tables"].values()]
    used = {at for names in tables for at in names.values()}
    assert used == set(range(len(first["columns"])))
    places = [re.search(HELD % name, html) for name in ("first", "later")]
    assert places[0]
    assert places[1]
    assert places[0].end() < html.index("mhc.lecture(document") < places[1].start()
    assert len(places[1][0]) > len(places[0][0])


def test_it_holds_no_figure_that_a_scene_hides() -> None:
    for name, part in data_of(story("whole"))["parts"].items():
        figures = {each["attributes"].get("name") for each in figures_of(part["data"]["doc"])}
        assert not figures & set(SCENES[name].hidden), name
        assert len(re.findall(r'class="plot[ "]', part["html"])) == len(figures), name


def figures_of(node: Any) -> list[dict[str, Any]]:
    """The figures of a document, as Bokeh writes it."""
    if isinstance(node, list):
        return [found for each in node for found in figures_of(each)]
    if not isinstance(node, dict):
        return []
    own = [node] if node.get("name") == "Figure" else []
    return own + figures_of(list(node.values()))


def test_it_is_small_and_asks_no_host() -> None:
    html = story("whole")
    assert len(gzip.compress(html.encode())) < 1_200_000
    ours = html.replace(in_script(bokehjs()), "")
    ours = re.sub(r'\\u003ca href=\\"[^"\\]+', "", ours)  # a reader may follow a link
    hosts = set(re.findall(r"https?://[^\s\"'\\\\<]+", ours))
    assert {host for host in hosts if "w3.org" not in host} == set()
    assert not re.search(r"<(link|img|iframe|script [^>]*src)", ours)


def test_its_notes_name_no_control_that_it_lacks() -> None:
    for scene in data_of(story("whole"))["scenes"]:
        told = " ".join(scene[each] for each in ("notes", "text", "question"))
        assert "“" not in scene["notes"], scene["name"]  # as “Layers write”
        assert set(re.findall(r"Drag (\w+)", told)) <= {"Depth"}
        assert not re.search(r"\b(Try|Choose|Switch on|phones|this machine)\b", told), scene["name"]
        assert SCENES[scene["name"]].try_live not in told or not SCENES[scene["name"]].try_live


def test_a_guess_begins_before_its_answer() -> None:
    parts = data_of(story("short"))["parts"]
    for name in SHORT:
        guess = SCENES[name].guess
        if guess and "iterations" in guess.before:
            doc = json.dumps(parts[name]["data"]["doc"])
            found = re.search(r'"state", .*?"iterations", (\d+)', doc)
            assert found
            assert int(found[1]) == guess.before["iterations"]


def test_a_title_is_escaped_and_a_bad_argument_named(tmp_path: Any) -> None:
    html = mhc.export_story("short", title=HOSTILE)
    assert "<img" not in html
    assert html.count("</script") == 4
    with pytest.raises(ValueError, match="story must be one of 'whole', 'short', not 'long'"):
        mhc.export_story("long")
    with pytest.raises(ValueError, match="theme must be one of"):
        mhc.export_story("short", theme="sepia")
    with pytest.raises(TypeError, match="title must be a text, not 3"):
        mhc.export_story("short", title=3)  # type: ignore[arg-type]
    assert main(["export", str(tmp_path / "s.html"), "--story", "short", "--theme", "dark"]) == 0
    assert 'data-theme="dark"' in (tmp_path / "s.html").read_text("utf-8")

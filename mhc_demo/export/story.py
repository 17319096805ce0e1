"""The story as one HTML file: every scene with its plots, for a disk, a frame or any host.

It is the live page's story without a server.  The same scripts tell it (`static/story.js`,
`guess.js`), each scene's plots are those of a standalone file (`embed/`), and `static/lecture.js`
exchanges them.  Many scenes show the same experiment, so a packed column is written once and named
by its number wherever it is used.

What the first scene needs stands before the scripts, the other scenes behind them: a browser
draws the first picture before it has read those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

from ..figures import style
from ..figures.signal import USUAL
from ..figures.still import still
from ..numerics._arrays import choice
from ..numerics.surface import Experiment, gain_surface
from ..scripts import STORY, text_of
from ..story import TITLE
from ..story.glossary import explained
from ..story.markup import markup
from ..story.scenes import SCENES, WAYS, beginning, scenes_for_browser, scenes_of
from .embed.page import (
    STYLES,
    Content,
    bokehjs,
    font_face,
    inlined,
    own_font,
    page,
    stage,
)
from .embed.plots import plots_of
from .embed.request import START, THEMES, checked


def export_story(
    story: str = "whole", *, title: str = TITLE, theme: str = "auto", device: str = "numpy"
) -> str:
    """The story as one HTML file that asks nothing of any host.

    - `story`: "whole", the lecture, or "short", the way for a reader who is alone.
    - `title`: of the page.
    - `theme`: "light", "dark", or "auto", which follows the reader's system.
    - `device`: what computes it, of `mhc_demo.DEVICES`.

    A link to a scene is the file's address and the scene's name: `story.html#explosion`.

    Raises ValueError or TypeError that names the argument for what cannot be shown.
    """
    way = choice("story", story, tuple(WAYS.values()))
    choice("theme", theme, THEMES)
    if not isinstance(title, str):
        raise TypeError(f"title must be a text, not {title!r}")
    part = story_part(way, theme, own_font(), device)
    first, later = _halves(story_data(way, device))
    start = (
        f"{text_of(*STORY)}\n"
        f"mhc.lecture(document.querySelector('.mhc-demo'), mhc.held('{FIRST}'), '{LATER}');"
    )
    scripts = (_held(FIRST, first), inlined(bokehjs(), start), _held(LATER, later))
    return page(title, theme, part, "\n".join(scripts))


FIRST, LATER = "mhc-first", "mhc-later"
"""The ids of what the file holds for its scripts."""


def _held(name: str, data: Any) -> str:
    """Data that a script of the page finds by its id, and that is not read before."""
    # No "<" in a script may be read as a tag.
    written = _json(data).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{written}</script>'


def _json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def story_data(way: str, device: str) -> dict[str, Any]:
    """What `static/lecture.js` tells: the scenes and what each draws."""
    names = scenes_of(way)
    pool: dict[str, int] = {}
    parts = {name: _part(name, device, pool) for name in names}
    return {
        "scenes": [scene for scene in scenes_for_browser(live=False) if scene["name"] in names],
        "way": way,
        "parts": parts,
        "columns": [json.loads(each) for each in pool],
    }


def _halves(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data with the parts and columns of the first scene, and those of the others."""
    (name, part), *others = data["parts"].items()
    tables = (table for variant in part["data"]["variants"] for table in variant["tables"].values())
    own = 1 + max(at for columns in tables for at in columns.values())
    first = {**data, "parts": {name: part}, "columns": data["columns"][:own]}
    return first, {"parts": dict(others), "columns": data["columns"][own:]}


def story_part(
    way: str, theme: str, font: str, device: str, *, top: str = "", styles: str = "", data: str = ""
) -> str:
    """The markup of the story, which is told without scripts too.

    `font` is the address of the font of formulas; `top` stands above the story, `styles` are more
    of them, and `data` says where the scripts find what they tell, if it is not with them.
    """
    told = still(gain_surface(Experiment(), device=device), START)
    told += "".join(map(_told, scenes_of(way)))
    where = f' data-story="{escape(data)}"' if data else ""
    return (
        f"<style>{font_face(font)}</style>"
        f'<div class="mhc-demo" data-theme="{theme}"{where}><div class="mhc-still">{told}</div>'
        f'<template shadowrootmode="open"><style>{style.css()}{text_of(*STYLES, "lecture.css")}'
        f'{styles}</style><article>{top}<slot></slot><div class="story"></div>'
        '<div class="mhc-stage"></div></article></template></div>\n'
    )


def _told(name: str) -> str:
    """A scene for who reads without scripts."""
    scene = SCENES[name]
    return f"<h2>{escape(scene.title)}</h2><p>{markup(scene.text)}</p>"


def _part(name: str, device: str, pool: dict[str, int]) -> dict[str, Any]:
    """What a scene draws: its markup, and the data that `mhc.embed.start` reads."""
    state = beginning(name, revealed=False)
    request = checked(
        None,
        scene=name,
        depth=state.get("depth"),
        iterations=state.get("iterations"),
        streams=(),
        plots=plots_of(state.get("view", "composite")),
        controls=None,
        max_depth=128,
        max_iterations=30,
        title="",
        theme="auto",
        height=None,
        fragment=True,
        device=device,
        signal={key: state[key] for key in USUAL if key in state},
    )
    content = Content(replace(request, hidden=SCENES[name].hidden))
    notes = [explained(note) for note in content.notes[0][:-1]] + content.notes[0][-1:]
    html = "".join(stage(content.request, content.plots, notes))
    data = json.loads(content.data())
    for variant in data["variants"]:
        variant["tables"] = {
            source: dict(_pooled(columns, pool)) for source, columns in variant["tables"].items()
        }
    return {"html": html, "data": data}


def _pooled(columns: dict[str, Any], pool: dict[str, int]) -> Iterator[tuple[str, int]]:
    for name, packed in columns.items():
        yield name, pool.setdefault(_json(packed), len(pool))

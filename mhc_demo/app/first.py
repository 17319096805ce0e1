"""The first page: what stands, and moves, before the server has built anything for a visitor.

A page of Panel's costs the server some 0.4 s of processor and the browser a second, and a whole
lecture hall opens it at once.  So the answer to a link is a static page: the first picture, drawn
by the standalone file's own scripts from the same packed table, and looking like the live page.
Both sliders move there.  It is the same for all who open that link, so it is made once, compressed
once, and costs little more than a file.  Then `static/first.js` loads the live page's scripts, asks
for a session, and puts the live page in its place once that stands: when the server has time for
it, or when the visitor wants something that needs it.

Links that show something else first (a presenter's view, a frame on another page, a view that the
standalone file does not have) get the page without that picture, and their session at once.  What
stands there where scripts do not run, or keep a reader waiting, are words, numbers and a picture
that stands still.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote

from bokeh.document import Document
from bokeh.plotting import figure
from bokeh.server.tornado import BokehTornado
from panel.io.resources import Resources, bundle_resources
from panel.io.state import set_curdoc

from ..export.embed.page import Content, legend_of
from ..export.embed.plots import PLOTS
from ..export.embed.request import checked
from ..figures import style
from ..figures.signal import USUAL, at_depth
from ..figures.slices import SLIDERS
from ..figures.still import still
from ..numerics.surface import Experiment, gain_surface
from ..scripts import PAGE, text_of
from ..story import TITLE
from ..story.glossary import explained
from ..story.markup import markup
from ..story.scenes import SCENES, scenes_for_browser
from . import lecture, static
from .controls import FOLDED, ORDER, SLIDING, unfolded
from .state import PLACE_PARAMETERS, State
from .views import VIEWS, groups
from .views.signal import offered

SCRIPTS = (*PAGE, "embed.js", "first.js")

NEEDLESS = ("bokeh-gl", "bokeh-mathjax")
"""Parts of BokehJS that neither the page nor Panel's own script uses."""

MOST_KEPT = 256
"""Pages in memory, of 170 kB each."""

MOST_ENTRIES = 2**12
"""Entries of one layer's matrices in all members.  More take seconds: the session shows fewer
members first, and all of them later."""


@dataclass(frozen=True)
class FirstPage:
    """A page, the same for all who open its link."""

    html: bytes
    etag: str


@dataclass(frozen=True)
class LivePage:
    """What the live page loads: addresses relative to the page's."""

    bokeh: str
    """BokehJS itself, which the first picture needs too."""
    scripts: tuple[str, ...]
    modules: tuple[str, ...]
    styles: tuple[str, ...]


def live_page(server: BokehTornado) -> LivePage:
    """What the live page of a server loads."""
    with set_curdoc(Document()):
        static.load()
        bundle = bundle_resources([], Resources.from_bokeh(server.resources()))
    ours = {static.address(name) for name in PAGE}
    scripts = [str(each) for each in bundle.js_files if str(each) not in ours]
    needed = [each for each in scripts if not any(part in each for part in NEEDLESS)]
    bokeh = next(each for each in needed if "/bokeh.min.js" in each or "/bokeh.js" in each)
    return LivePage(
        bokeh=bokeh,
        scripts=tuple(each for each in needed if each != bokeh),
        modules=tuple(map(str, bundle.js_modules)),
        styles=tuple(map(str, bundle.css_files)),
    )


PICTURED = ("signal", "composite", "layers", "mixing")
"""The views whose plots the browser can move by itself, from tables that are small."""

Arguments = tuple[tuple[str, bytes], ...]
"""Those of a link, in one order."""


def arguments_of(given: Mapping[str, list[bytes]]) -> Arguments:
    """A link's arguments as a key, so that links that say the same have one page."""
    return tuple(sorted((name, values[-1]) for name, values in given.items() if values))


def follows(arguments: Arguments) -> bool:
    """Whether a link is that of one who follows a lecture; a frame on another page never does."""
    given = dict(arguments)
    return lecture.hall is not None and given.get("follow") == b"1" and given.get("embed") != b"1"


def where_the_lecture_is(arguments: Arguments) -> Arguments:
    """The arguments of the page for who follows a lecture; those of any other link as they are."""
    if lecture.hall is None or not lecture.hall.place or not follows(arguments):
        return arguments
    own = {name: value for name, value in arguments if name not in PLACE_PARAMETERS}
    there = parse_qsl(lecture.hall.place.removeprefix("?"))
    return tuple(sorted({**own, **{name: value.encode() for name, value in there}}.items()))


class FirstPages:
    """The first pages of a server.  They are made one at a time, on a thread, and kept."""

    def __init__(self, live: LivePage) -> None:
        self._live = live
        self._kept: OrderedDict[Arguments, FirstPage] = OrderedDict()
        self._thread = ThreadPoolExecutor(1)

    async def get(self, arguments: Arguments) -> FirstPage:
        """The page for a link."""
        page = self._kept.get(arguments)
        if page is None:
            loop = asyncio.get_running_loop()
            page = await loop.run_in_executor(self._thread, self._make, arguments)
        self._kept[arguments] = page
        self._kept.move_to_end(arguments)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return page

    def _make(self, arguments: Arguments) -> FirstPage:
        # It may have been made while this one waited for the thread.
        return self._kept.get(arguments) or first_page(arguments, self._live)


def first_page(arguments: Arguments, live: LivePage) -> FirstPage:
    """The page for a link; it takes up to 0.2 s."""
    state = State()
    state.read({name: [value] for name, value in arguments})
    html = _html(state, live).encode()
    # A weak one, for each answer has a nonce of its own.
    return FirstPage(html, f'W/"{hashlib.sha256(html).hexdigest()[:32]}"')


def has_picture(state: State) -> bool:
    """Whether the static page can show what the live page would open with."""
    return (
        state.view in PICTURED
        and not (state.view == "signal" and at_depth(state.position()))
        and not (state.present or state.embed or state.notices)
        and state.members * state.streams**2 <= MOST_ENTRIES
    )


# ---- the page as text ------------------------------------------------------------------------


def _html(state: State, live: LivePage) -> str:
    data: dict[str, Any] = {
        "live": vars(live),
        "query": state.query(),
        "follow": state.follow and not state.embed and lecture.hall is not None,
        "scene": state.scene,
        "way": state.way,
        "revealed": state.revealed,
        "scenes": scenes_for_browser(),
        "view": state.view,
        "groups": groups(),
        "offered": offered(),
    }
    picture = told = ""
    if not has_picture(state):
        told = _told(state)
    else:
        content = _content(state)
        picture = _picture(state, content)
        packed = content.data(_dress)
    scripts = "".join(
        f'<script defer src="{escape(src)}"></script>\n'
        for src in (live.bokeh, *map(static.address, SCRIPTS))
    )
    written = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    blocks = f'<script type="application/json" id="mhc-first-data">{written}</script>\n'
    if picture:
        blocks += f'<script type="application/json" id="mhc-first-picture">{packed}</script>\n'
    return PAGE_HTML.format(
        title=escape(TITLE),
        theme=state.theme,
        scheme={"auto": "light dark"}.get(state.theme, state.theme),
        base=BASE,
        icon="data:image/svg+xml," + quote(ICON),
        scripts=scripts,
        picture=picture or told,
        data=blocks,
    )


def _told(state: State) -> str:
    """What stands there without scripts, where there is no picture that moves."""
    scene = SCENES[state.scene] if state.scene else None
    guess = scene.guess if scene and state.revealed != state.scene else None
    found = f"<h2>{escape(scene.title if scene else VIEWS[state.view].title)}</h2>"
    if scene:
        found += f"<p>{markup(guess.asks if guess else scene.text)}</p>"
    if not guess:  # which the rest would answer
        found += VIEWS[state.view].told(state) or _stands_still(state)
    # A lecture waits for its page, and a page around an iframe has words of its own.
    waits = state.present or state.embed or state.follow
    return f"<noscript>{found}</noscript>" if waits else f'<div class="mhc-still">{found}</div>'


def _stands_still(state: State) -> str:
    if state.members * state.streams**2 > MOST_ENTRIES:
        return ""
    return still(gain_surface(_experiment(state)), state.position())


def _experiment(state: State) -> Experiment:
    return Experiment(**state.values_of_experiment())


def _content(state: State) -> Content:
    experiment = _experiment(state)
    request = checked(
        experiment,
        scene=None,
        depth=state.depth,
        iterations=state.iterations,
        streams=(),
        plots=[name for name, plot in PLOTS.items() if plot.view == state.view],
        controls=None,
        max_depth=SLIDERS["depth"].end,
        max_iterations=SLIDERS["iterations"].end,
        title="",
        theme=state.theme,
        height=None,
        fragment=True,
        device=state.device,
        signal={name: getattr(state, name) for name in USUAL},
        scale=state.scale,
    )
    return Content(replace(request, served=True))


def _dress(p: figure) -> None:
    """Give a figure the look that the widget library's theme gives it on the live page."""
    style.set_type(p, 0)
    for axis in p.axis:
        axis.axis_label_text_font = axis.major_label_text_font = style.FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_standoff = 12
        axis.axis_line_alpha = 0
        axis.major_label_text_alpha = 0.7
    p.grid.grid_line_alpha = 0.12


def _picture(state: State, content: Content) -> str:
    styles = style.css() + text_of("mhc.css", "first.css")
    plots = "".join(plot.html() for plot in content.plots)
    notes = "".join(f'<p class="words">{explained(note)}</p>' for note in content.notes[0][:-1])
    return PICTURE_HTML.format(
        theme=state.theme,
        still=content.still(),
        styles=styles,
        title=escape(TITLE),
        menu=MENU,
        sun=SUN,
        moon=MOON,
        settings="".join(_settings(state)),
        legend=legend_of(content.plots, explained),
        plots=plots,
        notes=notes,
    )


def _settings(state: State) -> Iterator[str]:
    """The controls that are to come, with their values."""
    for name in (*ORDER, *FOLDED) if unfolded(state) else ORDER:
        parameter, value = state.param[name], getattr(state, name)
        label = escape(parameter.label)
        titles = getattr(parameter, "objects", None) or {}
        shown = next((title for title, each in titles.items() if each == value), value)
        if name in SLIDING:
            yield f'<li class="number">{label}: <b>{escape(str(shown))}</b></li>'
        else:
            yield f'<li class="choice"><span>{label}</span><b>{escape(str(shown))}</b></li>'


# The look of Panel's template, which the live page expects.  (The widget library takes an attribute
# data-theme for that of a page around it.)
BASE = """\
html, body { display: flow-root; box-sizing: border-box; height: 100%; margin: 0; padding: 0; }
body { background: #ffffff; }
[data-ground="dark"] body { background: #121212; }
@media (prefers-color-scheme: dark) { [data-ground="auto"] body { background: #121212; } }
html, body {
  color: var(--mui-palette-text-primary); background-color: var(--mui-palette-background-default);
  font: var(--mui-font-body1);
}
h1 { font: var(--mui-font-h1); } h2 { font: var(--mui-font-h2); } h3 { font: var(--mui-font-h3); }
h4 { font: var(--mui-font-h4); } h5 { font: var(--mui-font-h5); } h6 { font: var(--mui-font-h6); }
.mhc-live { display: contents; }
body > .mhc-still {
  max-width: 62em; margin: 0 auto; padding: 0 16px; font: 16px/1.5 system-ui, sans-serif;
  color: CanvasText;
  overflow: hidden; animation: mhc-late 0s 3s both;
}
@keyframes mhc-late { from { max-height: 0; visibility: hidden; } to { max-height: none; } }
.mhc-still :is(h2, h3) { font: revert; }
noscript { color: CanvasText; }
.mhc-still :is(th, td) { padding: 1px 9px; text-align: right; }
.mhc-still th { text-align: left; }
.mhc-first { position: fixed; inset: 0; z-index: 4000; }
"""

PAGE_HTML = """\
<!DOCTYPE html>
<html lang="en" data-theme-managed="true" data-ground="{theme}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{scheme}">
<link rel="icon" href="{icon}">
<style>{base}</style>
{scripts}</head>
<body>
<script type="esms-options">{{"shimMode": true}}</script>
{picture}{data}<noscript>The page that moves needs JavaScript.</noscript>
</body>
</html>
"""

PICTURE_HTML = """\
<div class="mhc-first" data-theme="{theme}">{still}
<template shadowrootmode="open"><style>{styles}</style>
<header><button type="button" class="icon menu" aria-label="Toggle sidebar">{menu}</button>
<h1>{title}</h1>
<button type="button" class="icon theme" aria-label="Toggle theme">{sun}{moon}</button></header>
<aside><ul>{settings}</ul></aside>
<article>
<div class="story"></div>
<div class="headline"></div>
<div class="dials"><div class="range" data-name="iterations"></div>
<div class="range" data-name="depth"></div></div>
<div class="doors"></div>
<div class="mhc-stage"><slot></slot>{legend}<div class="plots">{plots}</div>{notes}</div>
<p class="waiting" role="status"></p>
</article></template></div>
"""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke-width="2.5">'
    f'<path stroke="{style.HC}" d="M1 12 14 2"/>'
    f'<path stroke="{style.PROJECTED}" d="M1 13h14"/></svg>'
)
"""HC's gain and the projection's."""
MENU = (
    '<svg viewBox="0 0 24 24"><path class="open" d="M3 6h13v2H3zM3 11h10v2H3zM3 16h13v2H3z'
    'M21 15.6 17.4 12 21 8.4 19.6 7l-5 5 5 5z"/>'
    '<path class="shut" d="M3 6h18v2H3zM3 11h18v2H3zM3 16h18v2H3z"/></svg>'
)
SUN = (
    '<svg class="sun" viewBox="0 0 24 24"><circle cx="12" cy="12" r="5"/><path '
    'stroke="currentColor" stroke-width="2" stroke-linecap="round" d="M12 2v2M12 20v2M2 12h2'
    'M20 12h2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4"/></svg>'
)
MOON = '<svg class="moon" viewBox="0 0 24 24"><path d="M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z"/></svg>'

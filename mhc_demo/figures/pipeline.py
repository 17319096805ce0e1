"""A schedule of a pipeline as a Gantt chart: ranks from top to bottom, time from left to right.

What a chunk is can be told without colour: by its letter where there is room, and by its hatch.
What is sent is a thin bar between two ranks, beside the one that sends it: where that rank is empty
above the bar, nothing hides it.  All schedules have one axis of time, so that they can be compared.
The browser writes numbers only into chunks that are wide enough for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from bokeh.models import (
    CDSView,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    FixedTicker,
    GroupFilter,
    HoverTool,
    NumeralTickFormatter,
    Quad,
    Range1d,
    Span,
    Text,
)
from bokeh.transform import linear_cmap
from numpy.typing import NDArray

from ..numerics.pipeline import SCHEDULES, Chunk, Event, Timeline
from . import style, words
from .contents import Column, Series, described

KINDS = {
    "F": ("forward", style.FILLS[0]),
    "I": ("backward for the inputs", style.FILLS[1]),
    "W": ("backward for the weights", style.FILLS[2]),
    "R": ("computed again", style.FILLS[3]),
}
"""What a rank does, by the letter on it; "B", a full backward chunk, is an I and a W."""

SENT = style.SHADE
HALF = 0.36
"""Half the height of a chunk; ranks are 1 apart, and what is sent is between them."""
TINTED = 0.55
"""How far the chunks that enter at the last rank are from their colour to white."""
EDGE = "#16191d"
"""Of all chunks, so that equal ones that touch stay apart."""
HATCH = {"lines": "right_diagonal_line", "dots": "dot"}

WRITE = """
const {get} = mhc
const names = ["left", "right", "top", "bottom", "middle", "rank_at", "letter", "label", "code"]
const [left, right, top, bottom, middle, rank_at, letter, label, code] =
  names.map((name) => get(source.data, name))
const [size] = /\\d+/.exec(glyph.text_font_size.value)
const wide = plot.inner_width / (plot.x_range.end - plot.x_range.start)
const tall = plot.inner_height / Math.abs(plot.y_range.end - plot.y_range.start)
const shown = written.map(() => ({x: [], y: [], text: []}))
const alike = Map.groupBy(letter.keys(), (i) => letter[i] + (bottom[i] - top[i] > 0.5))
for (const these of alike.values()) {
  const fits = (text) => these.every((i) =>
    0.62 * size * (text(i).length + 0.4 * /[A-Z]/.test(text(i))) + 4 < (right[i] - left[i]) * wide
    && 1.15 * size < (bottom[i] - top[i]) * tall)
  const text = [(i) => `${letter[i]}${label[i]}`, (i) => `${label[i]}`].find(fits)
  if (text) for (const i of these) {
    const into = shown[ink_of[code[i]]]
    into.x.push(middle[i])
    into.y.push(rank_at[i])
    into.text.push(text(i))
  }
}
written.forEach((source, i) => { source.data = shown[i] })
"""
"""Writes into all chunks of a kind what fits: letter and number, the number, or nothing."""


def bubble_share(timeline: Timeline) -> float:
    """The share of a step in which a rank is idle, the mean over the ranks."""
    busy = sum(event.end - event.start for event in timeline.events)
    return 1 - busy / (timeline.ranks * timeline.span)


def end_of(timelines: Iterable[Timeline]) -> float:
    """Where the axis of time ends that all of these share."""
    return 1.01 * max(timeline.span for timeline in timelines)


class PipelineFigure:
    """One schedule, drawn; `end` is where the axis of time ends, which schedules share.

    Below others it is the `last` that says what the axis is.
    """

    def __init__(self, timeline: Timeline, end: float, *, last: bool = True) -> None:
        p = style.plot(
            f"pipeline-{timeline.schedule}",
            ACROSS if last else "",
            "Rank",
            (0, end),
            y_range=Range1d(timeline.ranks - 0.4, -0.6),
            title="",
        )
        p.title.text_font_style = "bold"
        p.ygrid.grid_line_color = None
        p.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
        p.min_border_left = LEFT
        self.chunks, self.sent = ColumnDataSource(), ColumnDataSource()
        self.said = ColumnDataSource({"said": []})
        box = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
        bar = Quad(**box, fill_color=SENT, line_color=None)
        sent = style.draw(p, self.sent, bar)
        sent.name = "sent"
        block = Quad(
            **box,
            fill_color=_by_code([fill.colour for fill in FILLS]),
            line_color=EDGE,
            line_width=0.75,
        )
        chunks = style.draw(p, self.chunks, block)
        chunks.name = "chunks"
        for kind, (_, fill) in KINDS.items():
            if fill.hatch:
                # Not in the same glyph: Bokeh would make a pattern for each of the areas.
                hatch = Quad(
                    **box,
                    fill_color=None,
                    line_color=None,
                    hatch_pattern=HATCH[fill.hatch],
                    hatch_color=EDGE,
                    hatch_alpha=0.35,
                    hatch_scale=7,
                    hatch_weight=0.8,
                )
                only = CDSView(filter=GroupFilter(column_name="letter", group=kind))
                p.add_glyph(
                    self.chunks, hatch, view=only, selection_glyph=None, nonselection_glyph=None
                )
        # Only texts that fit are given to Bokeh, which lays out even empty ones; and those of one
        # colour each, for it makes texts later, and takes their colours from new data.
        self.written = [ColumnDataSource({"x": [], "y": [], "text": []}) for _ in INKS]
        for source, ink in zip(self.written, INKS, strict=True):
            source.syncable = False  # the browser writes into it
            text = Text(
                x="x",
                y="y",
                text="text",
                text_color=ink,
                text_font_size="10px",
                text_align="center",
                text_baseline="middle",
            )
            style.draw(p, source, text).name = "written"
        self.over = Span(
            location=0,
            dimension="height",
            line_color=style.IDENTITY,
            line_dash=[4, 3],
            line_width=1.5,
        )
        p.add_layout(self.over)
        both_ways = SCHEDULES[timeline.schedule].both_ways
        entered = ", entered at rank @entered" if both_ways else ""
        names = [name for name, _ in KINDS.values()] * 2
        for renderer, what, texts in (
            (chunks, "rank @rank: @code{custom}", names),
            (sent, "rank @rank sends rank @target @code{custom}", ["streams", "a gradient"]),
        ):
            tell = CustomJSHover(args={"texts": texts}, code="return texts[value]")
            tips = [
                ("", f"{what}, micro-batch @label{entered}"),
                ("", "@left{0,0.00} to @right{0,0.00} ms"),
            ]
            p.add_tools(
                HoverTool(
                    renderers=[renderer],
                    tooltips=tips,
                    formatters={"@code": tell},
                    attachment="vertical",
                )
            )
        arguments: dict[str, Any] = {
            **{"written": self.written, "ink_of": [INKS.index(fill.ink) for fill in FILLS]},
            **{"source": self.chunks, "plot": p, "glyph": text},
        }
        write = CustomJS(args=arguments, code=WRITE)
        for size in ("inner_width", "inner_height"):
            p.js_on_change(size, write)
        self.chunks.js_on_change("data", write)
        self.figure = p
        self.update(timeline, end)
        columns = [
            Column("start (ms)", "left"),
            Column("end (ms)", "right"),
            Column("micro-batch", "label"),
            Column("entered at rank", "entered"),
        ]
        rank = Column("rank", "rank")
        described(
            p,
            f"Simulated schedule: {SCHEDULES[timeline.schedule].title}",
            Series("chunk", self.chunks, rank, [*columns, Column("what", "letter", "label")]),
            Series("message", self.sent, rank, [*columns, Column("to rank", "target")]),
            kind="told",
            here=self.said,
            where="simulated, not measured",
        )

    def ends(self, last: bool) -> None:
        """Say what the axis of time is, or leave that to a chart below."""
        self.figure.xaxis.axis_label = ACROSS if last else ""

    def update(self, timeline: Timeline, end: float) -> None:
        """Draw another simulation of the same schedule."""
        p = self.figure
        ranks = timeline.ranks
        p.x_range.end = end
        p.y_range.start = ranks - 0.4
        p.yaxis.ticker = FixedTicker(ticks=[*range(0, ranks, 1 + (ranks - 1) // 5)])
        p.title.text = headline(timeline)
        self.over.location = timeline.span
        self.chunks.data = chunk_columns(timeline)
        self.sent.data = message_columns(timeline)
        self.said.data = {"said": [told(timeline)]}


ACROSS = "milliseconds"
LEFT = 44
"""Width in pixels beside the ranks, whose numbers have two digits at most."""


def headline(timeline: Timeline) -> str:
    """A schedule's name, its step, and how much of that is idle, for a phone's width."""
    title = SCHEDULES[timeline.schedule].title
    return f"{title}: {timeline.span:,.0f} ms, idle {100 * bubble_share(timeline):.1f} %"


def told(timeline: Timeline) -> str:
    """The same in a sentence."""
    idle = [timeline.bubble(rank) for rank in range(timeline.ranks)]
    return (
        f"{timeline.ranks} ranks and {timeline.microbatches} micro-batches take "
        f"{timeline.span:,.1f} milliseconds. A rank is idle for {min(idle):,.1f} to "
        f"{max(idle):,.1f} milliseconds, {100 * bubble_share(timeline):.1f} % of the step on "
        f"average. {len(timeline.messages)} messages are sent between ranks, each takes "
        f"{timeline.times.send:.2f} milliseconds."
    )


def legend(*, both_ways: bool, recomputed: bool) -> list[words.Entry]:
    """What the areas mean."""
    kinds = [kind for kind in KINDS if recomputed or kind != "R"]
    entries: list[words.Entry] = [(KINDS[kind][1], f"{KINDS[kind][0]} ({kind})") for kind in kinds]
    entries.append(("identity", "sent to the next rank, below or above its sender"))
    if both_ways:
        entries.append((tinted(KINDS["F"][1]), "pale: enters at the last rank (DualPipe)"))
    return entries


def tinted(fill: style.Fill) -> style.Fill:
    """The fill of a chunk that enters at the last rank."""
    parts = [int(fill.colour[i : i + 2], 16) for i in (1, 3, 5)]
    pale = "#" + "".join(f"{round(c + TINTED * (255 - c)):02x}" for c in parts)
    return style.Fill(pale, style.INK["light"], fill.hatch)


FILLS = [
    fill if direction == 0 else tinted(fill) for direction in (0, 1) for _, fill in KINDS.values()
]
"""By the code of an area: its kind's place in `KINDS`, and as many more if it is pale."""


INKS = (style.INK["light"], "#ffffff")
"""The colours of texts."""


def _by_code(colours: list[str]) -> Any:
    return linear_cmap("code", colours, -0.5, len(colours) - 0.5)


def chunk_columns(timeline: Timeline) -> dict[str, Any]:
    """A row for each area: of a chunk, or of its part."""
    rows = [row for event in timeline.events for row in _areas(timeline, event)]
    left, right, top, bottom, rank, kind, label, direction = zip(*rows, strict=True)
    start, end, high, low = (np.array(each, np.float32) for each in (left, right, top, bottom))
    places = [list(KINDS).index(each) for each in kind]
    return {
        **{"left": start, "right": end, "top": high, "bottom": low},
        **{"middle": (start + end) / 2, "rank_at": (high + low) / 2},
        "rank": np.array(rank, np.int32),
        "code": np.array(places, np.int32) + len(KINDS) * np.array(direction, np.int32),
        "letter": list(kind),
        "label": np.array(label, np.int32),
        "entered": _entered(timeline, direction),
    }


Area = tuple[float, float, float, float, int, str, int, int]
"""Left, right, top, bottom, rank, kind, micro-batch and direction."""


def _areas(timeline: Timeline, event: Event) -> Iterator[Area]:
    """The areas of an event: two chunks that overlap are two halves, F above."""
    rank = event.rank
    for chunk in event.task:
        high, low = rank - HALF, rank + HALF
        if len(event.task) == 2:
            high, low = (high, rank) if chunk.kind == "F" else (rank, low)
        for kind, start, end in _parts(timeline, event, chunk):
            yield start, end, high, low, rank, kind, chunk.microbatch, chunk.direction


def _parts(timeline: Timeline, event: Event, chunk: Chunk) -> Iterator[tuple[str, float, float]]:
    """What a chunk is made of: a full backward one of a part for inputs and one for weights."""
    if chunk.kind != "B":
        yield chunk.kind, event.start, event.end
        return
    times = timeline.times
    share = times.inputs / times.backward if times.backward else 1.0
    middle = event.start + share * (event.end - event.start)
    for kind, (start, end) in zip("IW", pairwise((event.start, middle, event.end)), strict=True):
        if end > start:
            yield kind, start, end


def _entered(timeline: Timeline, direction: Iterable[int]) -> NDArray[np.int32]:
    """The rank at which a micro-batch entered."""
    return np.array(list(direction), np.int32) * (timeline.ranks - 1)


def message_columns(timeline: Timeline) -> dict[str, Any]:
    """A row for each message: a bar next to the rank that sends it."""
    sent = timeline.messages
    origin = np.array([each.origin for each in sent], np.int32)
    target = np.array([each.target for each in sent], np.int32)
    near = origin + (target - origin) * (HALF + 0.02)
    far = origin + (target - origin) * (HALF + 0.13)
    return {
        "left": np.array([each.start for each in sent], np.float32),
        "right": np.array([each.end for each in sent], np.float32),
        "top": np.minimum(near, far).astype(np.float32),
        "bottom": np.maximum(near, far).astype(np.float32),
        "rank": origin,
        "target": target,
        "code": np.array([each.chunk.kind != "F" for each in sent], np.int32),
        "label": np.array([each.chunk.microbatch for each in sent], np.int32),
        "entered": _entered(timeline, (each.chunk.direction for each in sent)),
    }

"""A schedule of a pipeline as a Gantt chart: ranks from top to bottom, time from left to right.

What a chunk is can be told without colour: by its letter where there is room, and by its hatch.
What is sent is a thin bar between two ranks, beside the one that sends it: where that rank is empty
above the bar, nothing hides it.  All schedules have one axis of time, so that they can be compared.
The browser writes numbers only into chunks that are wide enough for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    FixedTicker,
    HoverTool,
    Quad,
    Range1d,
    Span,
    Text,
)

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
HATCH = {"": " ", "lines": "right_diagonal_line", "dots": "dot"}

WRITE = """
const {get} = mhc
const names = ["left", "right", "top", "bottom", "letter", "label", "shown"]
const [left, right, top, bottom, letter, label, shown] = names.map((name) => get(source.data, name))
const [size] = /\\d+/.exec(glyph.text_font_size.value)
const wide = plot.inner_width / (plot.x_range.end - plot.x_range.start)
const tall = plot.inner_height / Math.abs(plot.y_range.end - plot.y_range.start)
const rows = [...label.keys()]
const alike = Map.groupBy(rows, (i) => letter[i] + (bottom[i] - top[i] > 0.5))
for (const these of alike.values()) {
  const fits = (text) => these.every((i) =>
    0.62 * size * (text(i).length + 0.4 * /[A-Z]/.test(text(i))) + 1 < (right[i] - left[i]) * wide
    && 0.9 * size < (bottom[i] - top[i]) * tall)
  const text = [(i) => letter[i] + label[i], (i) => label[i], () => ""].find(fits) ?? (() => "")
  for (const i of these) shown[i] = text(i)
}
source.change.emit()
"""
"""Writes into all chunks of a kind what fits: letter and number, the number, or nothing."""


def bubble_share(timeline: Timeline) -> float:
    """The share of a step in which a rank is idle, the mean over the ranks."""
    busy = sum(event.end - event.start for event in timeline.events)
    return 1 - busy / (timeline.ranks * timeline.span)


class PipelineFigure:
    """One schedule, drawn; `end` is where the axis of time ends, which schedules share."""

    def __init__(self, timeline: Timeline, end: float, *, last: bool = True) -> None:
        p = style.plot(
            f"pipeline-{timeline.schedule}",
            "milliseconds" if last else "",
            "Rank",
            (0, end),
            y_range=Range1d(timeline.ranks - 0.4, -0.6),
            title="",
        )
        p.title.text_font_style = "bold"
        p.ygrid.grid_line_color = None
        p.min_border_left = LEFT
        self.chunks, self.sent = ColumnDataSource(), ColumnDataSource()
        self.chunks.syncable = False  # the browser writes into it
        self.said = ColumnDataSource({"said": []})
        box = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
        bar = Quad(**box, fill_color=SENT, line_color=None)
        sent = style.draw(p, self.sent, bar)
        sent.name = "sent"
        block = Quad(
            **box,
            fill_color="fill",
            line_color="edge",
            line_width=0.75,
            hatch_pattern="hatch",
            hatch_color="ink",
            hatch_alpha=0.3,
            hatch_scale=7,
            hatch_weight=0.8,
        )
        chunks = style.draw(p, self.chunks, block)
        chunks.name = "chunks"
        text = Text(
            x="middle",
            y="rank_at",
            text="shown",
            text_color="ink",
            text_font_size="10px",
            text_align="center",
            text_baseline="middle",
        )
        style.draw(p, self.chunks, text)
        self.over = Span(
            location=0,
            dimension="height",
            line_color=style.IDENTITY,
            line_dash=[4, 3],
            line_width=1.5,
        )
        p.add_layout(self.over)
        for renderer, unit in ((chunks, "@left{0,0.00} to @right{0,0.00} ms"), (sent, "@took")):
            tips = [("", "@said"), ("", unit)]
            p.add_tools(HoverTool(renderers=[renderer], tooltips=tips, attachment="vertical"))
        write = CustomJS(args={"source": self.chunks, "plot": p, "glyph": text}, code=WRITE)
        for size in ("inner_width", "inner_height"):
            p.js_on_change(size, write)
        self.chunks.js_on_change("data", write)
        self.figure = p
        self.update(timeline, end)
        start, end_of = Column("start (ms)", "left"), Column("end (ms)", "right")
        described(
            p,
            f"Simulated schedule: {SCHEDULES[timeline.schedule].title}",
            *(
                Series(
                    name,
                    source,
                    Column("rank", "rank"),
                    [start, end_of, Column("what", "said", "label")],
                )
                for name, source in (("chunk", self.chunks), ("message", self.sent))
            ),
            kind="told",
            here=self.said,
            where="simulated, not measured",
        )

    def update(self, timeline: Timeline, end: float) -> None:
        """Draw another simulation of the same schedule."""
        p = self.figure
        ranks = timeline.ranks
        p.x_range.end = end
        p.y_range.start = ranks - 0.4
        p.yaxis.ticker = FixedTicker(ticks=[*range(0, ranks, 1 + (ranks - 1) // 8)])
        p.title.text = headline(timeline)
        self.over.location = timeline.span
        self.chunks.data = chunk_columns(timeline)
        self.sent.data = message_columns(timeline)
        self.said.data = {"said": [told(timeline)]}


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


def darkened(fill: style.Fill) -> str:
    """The colour of a chunk's edge, so that equal ones that touch stay apart."""
    return "#" + "".join(f"{int(fill.colour[i : i + 2], 16) // 2:02x}" for i in (1, 3, 5))


def chunk_columns(timeline: Timeline) -> dict[str, list[Any]]:
    """A row for each area: of a chunk, or of its part."""
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            *("left", "right", "top", "bottom", "middle", "rank_at", "rank"),
            *("fill", "edge", "ink", "hatch", "letter", "label", "shown", "said"),
        )
    }
    for event in timeline.events:
        for row in _areas(timeline, event):
            for name, value in row.items():
                columns[name].append(value)
    return columns


def _areas(timeline: Timeline, event: Event) -> Iterator[dict[str, Any]]:
    """The areas of an event: two that overlap are two halves, F above."""
    pair = len(event.task) == 2
    for chunk in event.task:
        high, low = event.rank - HALF, event.rank + HALF
        if pair and chunk.kind != "R":
            high, low = (high, event.rank) if chunk.kind == "F" else (event.rank, low)
        for kind, start, end in _parts(timeline, event, chunk):
            what, fill = KINDS[kind]
            if chunk.direction:
                fill = tinted(fill)
            yield {
                **{"left": start, "right": end, "top": high, "bottom": low},
                **{"middle": (start + end) / 2, "rank_at": (high + low) / 2, "rank": event.rank},
                **{"fill": fill.colour, "edge": darkened(KINDS[kind][1]), "ink": fill.ink},
                **{"hatch": HATCH[fill.hatch], "letter": kind, "label": str(chunk.microbatch)},
                "shown": "",
                "said": f"rank {event.rank}: {what}, {_named(timeline, chunk)}"
                + (", overlapping" if pair and chunk.kind != "R" else ""),
            }


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


def _named(timeline: Timeline, chunk: Chunk) -> str:
    entered = ""
    if SCHEDULES[timeline.schedule].both_ways:
        entered = f" of those that enter at rank {chunk.direction and timeline.ranks - 1}"
    return f"micro-batch {chunk.microbatch}{entered}"


def message_columns(timeline: Timeline) -> dict[str, list[Any]]:
    """A row for each message: a bar next to the rank that sends it."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("left", "right", "top", "bottom", "rank", "said", "took")
    }
    for message in timeline.messages:
        down = message.target > message.origin
        near = message.origin + (HALF + 0.02 if down else -HALF - 0.02)
        far = near + (0.11 if down else -0.11)
        what = "streams" if message.chunk.kind == "F" else "gradient"
        row = {
            **{"left": message.start, "right": message.end, "rank": message.origin},
            **{"top": min(near, far), "bottom": max(near, far)},
            "said": f"rank {message.origin} sends rank {message.target} the {what} of "
            f"{_named(timeline, message.chunk)}",
            "took": f"{message.start:,.2f} to {message.end:,.2f} ms",
        }
        for name, value in row.items():
            columns[name].append(value)
    return columns

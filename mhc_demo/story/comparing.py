"""The table of all projections in words: what it says of each, its columns, and what they are of.

`static/compare.js` fills it with the numbers of the present depth and iterations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ..numerics.comparison import MIXING
from ..numerics.metrics import METRICS
from ..numerics.projections import PROJECTIONS, Projection
from .glossary import explained, term


def rows_of(projections: Any) -> list[dict[str, Any]]:
    """What the table says of each projection, beside its numbers."""
    return [
        {
            "name": chosen.name,
            "label": chosen.label,
            "title": term(escape(chosen.title), chosen.title, chosen.note),
            "short": term(escape(chosen.label), chosen.title, chosen.note),
            "iterative": chosen.iterative,
            "promises": [kept(chosen) for _, _, kept in PROMISES],
            "published": published(chosen),
        }
        for chosen in projections
    ]


def published(chosen: Projection) -> str:
    """What was published, or by whom it was proposed, with its place as an explanation.

    In full, and shorter for a table with little room.
    """
    of = f"Source: {chosen.source}." if chosen.source else ""
    told, full = of, chosen.source
    short = full.partition(", arXiv")[0].removeprefix("github.com/").partition("/")[0]
    if chosen.published:
        told, full = f"{chosen.published}. {of}".strip(), chosen.published.partition(" (")[0]
        short = full.removeprefix("composite gain ")
    if not full:
        return ""
    return "".join(
        f'<span class="{length}">{term(escape(text), chosen.title, told)}</span>'
        for length, text in (("full", full), ("short", short))
    )


PROMISES = (
    ("row", "rows sum to 1", lambda p: p.unit_rows),
    ("col", "columns sum to 1", lambda p: p.unit_columns),
    ("≥ 0", "no negative entry", lambda p: p.nonnegative),
    ("≤ 1", "spectral norm at most 1", lambda p: p.unit_norm),
)
"""What a projection can promise: a mark, words, and whether it does."""


def _columns() -> Iterator[dict[str, Any]]:
    yield {
        "quantity": "norm",
        "manner": "fate",
        "heading": term(
            "At this depth",
            "At this depth",
            "What becomes of the composite, by its worst-case norm: near 1 (within a factor 2), "
            "within n, growing, exploding (beyond 1000), shrinking or vanishing.",
        ),
    }
    yield {"quantity": "forward", "manner": "gain", "heading": explained("Forward gain")}
    yield {"quantity": "backward", "manner": "gain", "heading": explained("Backward gain")}
    yield {
        "quantity": "norm",
        "manner": "norm",
        "heading": term(
            "Worst-case norm",
            "Worst-case norm",
            "The larger of the composite’s induced infinity and 1 norms: the most that any signal "
            "or gradient can grow. Without negative entries it is the larger gain; with them, sums "
            "can cancel, and gains near 1 prove nothing.",
        ),
    }
    yield {
        "quantity": "distance",
        "manner": "distance",
        "heading": term(
            "Off sums of 1",
            "Off sums of 1",
            "Largest |row sum − 1| or |column sum − 1| of a single layer. Without negative "
            "entries it is how far the layer is from doubly stochastic.",
        ),
    }
    for name, of in MIXING.items():
        metric = METRICS[name]
        where = "Of a single layer" if of == "layer" else "Of the composite"
        note = f"{where} of the first network. {metric.note}"
        heading = term(escape(metric.title), metric.title, note)
        yield {"quantity": name, "manner": "share", "heading": heading}
    yield {
        "quantity": "promises",
        "manner": "promises",
        "heading": term(
            "Promises",
            "Promises",
            "What holds of every matrix, whatever the logits: "
            + "; ".join(f"{mark}: {words}" for mark, words, _ in PROMISES)
            + ".",
        ),
        "marks": [[mark, words] for mark, words, _ in PROMISES],
    }
    for k, direction in enumerate(("forward", "backward")):
        yield {
            "quantity": k,
            "manner": "time",
            "heading": term(
                f"Time {direction}",
                f"Time {direction}",
                "Of one matrix, measured on this server: "
                + ("projecting it." if k == 0 else "the gradient through it, by PyTorch."),
            ),
        }
    yield {
        "quantity": "published",
        "manner": "published",
        "heading": term(
            "Published",
            "Published",
            "A result that a paper prints of networks with it, or else who proposed it. Nothing in "
            "this column is measured here.",
        ),
    }


COLUMNS = list(_columns())


def account_of(shown: Mapping[str, Any], members: int) -> str:
    """What a comparison with these attributes is of, beside views of so many networks."""
    few, n = shown["members"], shown["streams"]
    networks = "one network" if few == 1 else f"the median of {few} networks"
    absent = [p for p in PROJECTIONS.values() if not p.sizes.hold(n)]
    return (
        "Every projection of the same logits. What iterates follows the dial, where 0 is HC "
        f"itself; the rest is shown as it is. Gains and norms are those of {networks}"
        + (", fewer than in the other views to be quick" if few < members else "")
        + ". “Within n”, “stays near 1”, “explodes” and the like are said of the worst-case "
        "norm. The plots draw what is pinned in colour and the rest in grey; they stand still "
        f"and end a little above the dotted line at n = {n}; an arrow at a label stands for a "
        "line that has left them, with its gain at the chosen depth. <b>Off sums "
        "of 1</b> is of a single layer, the median over the networks, then over the "
        "layers; what measures mixing is of the first network."
        + "".join(f" {p.title} takes {p.sizes.words} streams." for p in absent)
    )

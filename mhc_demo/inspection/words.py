"""What was measured, in words: a few verdicts, and a table of the layers.

Texts are for a terminal as they are; `page.py` escapes them for HTML, for they name files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import xarray as xr

from ..numerics._arrays import whole_number
from ..numerics.numbers import fate, in_text
from .logits import ENOUGH, PATIENCE, USUAL

NO_MIXING = 0.01
"""Off-diagonal mass of a row up to which a layer does not mix."""
ONE_STREAM = 1.05
"""Effective streams of a composite up to which all streams carry the same."""
ROWS = 16

FATES = {
    0: "stays near 1",
    1: "grows",
    2: "explodes",
    -1: "shrinks",
    -2: "vanishes",
}


def verdicts(data: xr.Dataset) -> list[str]:
    """What is to be said of the model, in sentences, the most important one first."""
    return list(
        filter(None, [_gain(data), _mixing(data), _alike(data), _sums(data), _logits(data)])
    )


def _gain(data: xr.Dataset) -> str:
    gain = data["composite_gain"].sel(series="mean")
    depth = data.attrs["depth"]
    whole = {"forward": gain.sel(layer=depth), "backward": gain.sel(layer=1)}
    paper = {d: float(whole[d].sel(definition="paper", direction=d)) for d in whole}
    worst = {d: float(whole[d].sel(definition="worst-case", direction=d)) for d in whole}
    farthest = max(paper.values(), key=abs)
    of = "The layer" if depth == 1 else f"The composite of all {depth} layers"
    text = (
        f"{of} {FATES[fate(farthest)]}: Amax gain {in_text(paper['forward'])} forward, "
        f"{in_text(paper['backward'])} backward"
    )
    if max(worst[d] - paper[d] for d in paper) > 0.005:
        text += (
            f"; induced norm {in_text(worst['forward'])} and {in_text(worst['backward'])}, for "
            "entries are negative"
        )
    inside = gain.sel(definition="paper")
    largest = float(inside.max())
    if largest > farthest + 0.1:
        at = inside.where(inside == largest, drop=True)
        layer, direction = int(at["layer"][0]), str(at["direction"].values[0])
        text += f"; on the way {in_text(largest)} at layer {layer}, {direction}"
    return f"{text}."


def _mixing(data: xr.Dataset) -> str:
    off = data["off_diagonal"].values
    if data.attrs["streams"] == 1:
        return "There is one stream, and nothing to mix."
    share = f"off the diagonal {off.mean():.3f} of a row on average"
    if off.max() < NO_MIXING:
        return (
            f"No layer mixes its streams ({share}): stability that comes from not mixing proves "
            "nothing."
        )
    still = int((off < NO_MIXING).sum())
    some = f"; {still} of {len(off)} layers do not mix" if still else ""
    return f"The layers mix: {share}, {off.min():.3f} to {off.max():.3f}{some}."


def _alike(data: xr.Dataset) -> str:
    n = data.attrs["streams"]
    effective = data["effective_streams"].values
    if n == 1:
        return ""
    text = f"Effective streams of the composite: {effective[-1]:.2f} of {n}"
    alike = np.flatnonzero(effective < ONE_STREAM)
    if len(alike):
        text += f"; from layer {alike[0] + 1} on H_res alone makes all streams multiples of one"
    return f"{text}."


def _sums(data: xr.Dataset) -> str:
    sums = data["sum"].sel(series=["smallest", "largest"])
    row, column = (
        " to ".join(
            f"{float(sums.sel(axis=axis, series=name).reduce(extreme)):.3f}"
            for name, extreme in (("smallest", np.min), ("largest", np.max))
        )
        for axis in ("row", "column")
    )
    kind = _composite_columns(data)
    if not data.attrs["stochastic"]:
        kind = "; no sums are fixed, so nothing bounds the product"
    return f"Sums over tokens and streams: rows {row}, columns {column}{kind}."


def _composite_columns(data: xr.Dataset) -> str:
    """A maximum alone would hide what fades."""
    least, most = (float(data[name].reduce(f)) for name, f in COLUMNS_OF_COMPOSITES)
    return f"; columns of the composites, the mean over tokens, {least:.3f} to {most:.3f}"


COLUMNS_OF_COMPOSITES = (("smallest_column_sum", np.min), ("one_norm", np.max))


def _logits(data: xr.Dataset) -> str:
    needed = data["iterations_needed"].values
    if np.isnan(needed).all():
        if not data.attrs["stochastic"] or data["off_diagonal"].values.max() < NO_MIXING:
            return ""
        return "The logits are not known: entries are 0, or H_res is no Sinkhorn projection."
    sharpest = float(np.nanmax(data["largest_logit"].values))
    left = float(np.nanmax(data["error_left"].values))
    most = float(np.nanmax(needed))
    text = f"Logits up to ±{sharpest:.1f} (means of rows and columns taken out): "
    within = f"{100 * ENOUGH:.0f} %"
    if most <= USUAL:
        return f"{text}{most:.0f} iterations bring all sums within {within}, so {USUAL} are enough."
    count = f"more than {PATIENCE}" if math.isinf(most) else f"{most:.0f}"
    return (
        f"{text}{USUAL} Sinkhorn iterations are not enough: they leave sums off by {left:.3f}; "
        f"within {within} would take {count}."
    )


HEADINGS = {
    "layer": "layer",
    "name": "",
    "gain": "gain fwd",
    "back": "gain bwd",
    "whole": "composite fwd",
    "whole_back": "composite bwd",
    "rows": "row sums",
    "columns": "column sums",
    "mixing": "off diag.",
    "iterations": "iterations",
}


def table(data: xr.Dataset, rows: int | None = None) -> list[list[str]]:
    """The layers as rows of text, below a row of headings; empty columns are left out."""
    paper = {
        name: data[f"{name}_gain"].sel(definition="paper", series="mean").values
        for name in ("layer", "composite")
    }
    sums = {
        (axis, end): data["sum"].sel(axis=axis, series=end).values
        for axis in ("row", "column")
        for end in ("smallest", "largest")
    }
    needed = data["iterations_needed"].values
    names = [str(each) for each in data["layer_name"].values]

    def cells(k: int) -> Iterator[str]:
        yield str(k + 1)
        yield "" if names[k] == f"layer {k + 1}" else names[k]
        for name in paper:
            yield from (in_text(float(paper[name][d, k])) for d in range(2))
        for axis in ("row", "column"):
            low, high = (float(sums[axis, end][k]) for end in ("smallest", "largest"))
            yield _range(low, high)
        yield f"{float(data['off_diagonal'][k]):.3f}"
        yield _count(float(needed[k]))

    found = [list(HEADINGS.values()), *(list(cells(k)) for k in _shown(paper, len(names), rows))]
    said = [any(row[c] not in ("", "-") for row in found[1:]) for c in range(len(HEADINGS))]
    return [[text for text, keep in zip(row, said, strict=True) if keep] for row in found]


def _shown(paper: dict[str, np.ndarray], depth: int, rows: int | None) -> list[int]:
    """The layers that a table shows: all of a few; of many some, and those of the largest gains."""
    most = ROWS if rows is None else whole_number("rows", rows, 1)
    if depth <= most:
        return list(range(depth))
    chosen = set(np.linspace(0, depth - 1, most).round().astype(int).tolist())
    if rows is None:
        chosen |= {int(np.argmax(gain[d])) for gain in paper.values() for d in range(2)}
    return sorted(chosen)


def _range(low: float, high: float) -> str:
    def text(value: float) -> str:
        return f"{value:.2f}" if abs(value) < 1000 else f"{value:.1e}"

    return text(low) if text(low) == text(high) else f"{text(low)} to {text(high)}"


def _count(needed: float) -> str:
    if math.isnan(needed):
        return "-"
    return f">{PATIENCE}" if math.isinf(needed) else f"{needed:.0f}"


def heading(data: xr.Dataset) -> str:
    """What was inspected, in a line."""
    about = data.attrs
    tokens = "1 token or an average" if about["tokens"] == 1 else f"{about['tokens']:,} tokens"
    return (
        f"{about['name']}: {about['what']}; {about['depth']} layers, n = {about['streams']} "
        f"streams, {tokens}"
    )


def summary(data: xr.Dataset, rows: int | None = None) -> str:
    """The heading, the verdicts and the table, for a terminal."""
    lines = table(data, rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = {lines[0].index("")} if "" in lines[0] else set()
    texts = [
        "  ".join(
            text.ljust(width) if c in left else text.rjust(width)
            for c, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    shown, depth = len(lines) - 1, data.attrs["depth"]
    rest = [] if shown == depth else [f"({shown} of {depth} layers; summary(rows={depth}) has all)"]
    said = [*verdicts(data), *data.attrs["remarks"]]
    return "\n".join([heading(data), "", *said, "", *texts, *rest])

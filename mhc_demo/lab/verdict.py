"""How recorded runs ended, as markup: the page's lab and the story's file say the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..figures import style
from ..numerics.numbers import in_html
from .colours import colour_of
from .connections import CONNECTIONS
from .evidence import Replay, Runs
from .table import wilson

COLOURS = {"residual": "identity", "hc": "hc", "mhc": "projected"}
"""The swatch of each connection in a legend."""


def swatches(connections: Iterable[str]) -> list[Any]:
    """Connections as a legend has them, each once."""
    return [
        (COLOURS[n] if n in COLOURS else style.Stroke(colour_of(n)), CONNECTIONS[n])
        for n in dict.fromkeys(connections)
    ]


def verdict(runs: Runs, replay: Replay) -> str:
    """How the replayed seed ended with HC and with mHC, in huge type."""
    at = runs.seed_index(replay.seed)
    sides = ""
    what = "final accuracy" if runs.is_accuracy else "bits per character"
    for name in ("hc", "mhc"):
        gain, score = runs.total("largest_gain", name)[at], runs.total("score", name)[at]
        colour = "projected" if name == "mhc" else "hc"
        sides += (
            f'<div class="{colour}"><span>{CONNECTIONS[name]}, seed {replay.seed}</span> '
            f"<b>{runs.said(score)}</b> "
            f"<span>{what}; gain up to {in_html(float(gain))}</span></div>"
        )
    return f'<div class="lab-verdict">{sides}</div>'


def rates(runs: Runs) -> str:
    """How often it ends like that, in a sentence or two."""
    learned, scores, parameters = [], [], []
    for name in runs.connections:
        parameters.append(f"{CONNECTIONS[name]} {runs.total('parameters', name).max():,.0f}")
        count, of = runs.learned(name), len(runs.seeds)
        low, high = wilson(count, of)
        learned.append(
            f"{CONNECTIONS[name]} {count} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"
        )
        found = runs.scores(name)
        scores.append(
            f"{CONNECTIONS[name]} {runs.said(float(np.median(found)))} "
            f"({runs.said(found.min())} to {runs.said(found.max())})"
        )
    enough = runs.said(runs.enough)
    if runs.is_accuracy:
        bound, score = f"an accuracy of {enough} or more", "accuracy"
    else:
        bound, score = f"{enough} bits per character or fewer", "bits"
    return (
        f"Seeds that learned, to {bound}: {'; '.join(learned)}. "
        f"In brackets is the 95 % interval of the share (Wilson). Median {score} over the seeds, "
        f"smallest and largest: {'; '.join(scores)}. Guessing (dotted) reaches "
        f"{runs.said(runs.chance)}. Parameters: {'; '.join(parameters)}. Recorded with {runs.made}."
    )

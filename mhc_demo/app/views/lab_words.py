"""What the lab says: how runs ended, as markup.  No widget here, and nothing that changes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from ...figures import style
from ...lab.colours import colour_of
from ...lab.connections import CONNECTIONS
from ...lab.evidence import Replay, Runs, percent
from ...lab.figure import titles
from ...lab.records import Record
from ...lab.table import LEARNED, wilson
from ...lab.tasks import TASKS
from ...numerics.numbers import in_html
from ...numerics.paper import MHC_PAPER, TRAINING_OVERHEAD
from ..training import Training

COLOURS = {"residual": "identity", "hc": "hc", "mhc": "projected"}
"""The swatch of each connection in a legend."""


def verdict(runs: Runs, replay: Replay) -> str:
    """How the replayed seed ended with HC and with mHC, in huge type."""
    at = runs.seed_index(replay.seed)
    sides = ""
    for name in ("hc", "mhc"):
        gain, score = (runs.total(each, name)[at] for each in ("largest_gain", "score"))
        colour = "projected" if name == "mhc" else "hc"
        sides += (
            f'<div class="{colour}"><span>{CONNECTIONS[name]}, seed {replay.seed}</span>'
            f"<b>{percent(score)}</b>"
            f"<span>accuracy; gain up to {in_html(float(gain))}</span></div>"
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
        found = np.nan_to_num(runs.total("score", name))
        scores.append(
            f"{CONNECTIONS[name]} {percent(float(np.median(found)))} "
            f"({percent(found.min())} to {percent(found.max())})"
        )
    enough = runs.chance + LEARNED * (1 - runs.chance)
    return (
        f"Seeds that learned, to an accuracy of {percent(enough)} or more: {'; '.join(learned)}. "
        "In brackets is the 95 % interval of the share (Wilson). Median accuracy over the seeds, "
        f"smallest and largest: {'; '.join(scores)}. Guessing (dotted) reaches "
        f"{percent(runs.chance)}. Parameters: {'; '.join(parameters)}. Recorded with {runs.made}."
    )


def progress(training: Training) -> str:
    """How far a training is, or how many it waits for."""
    if training.before:
        others = "another training" if training.before == 1 else f"{training.before} trainings"
        return f'<p role="status">Waiting in line: {others} of this server must end before.</p>'
    done, most = training.steps
    if not done:
        return "<p>Starting …</p>"
    left = training.seconds_left
    rest = f"{math.ceil(left)} s left" if math.isfinite(left) else ""
    return (
        f'<p><progress aria-label="Training" value="{done}" max="{most}"></progress> '
        f"{done} of {most} steps, {rest}</p>"
    )


def swatches(connections: Iterable[str]) -> list[Any]:
    """Connections as a legend has them, each once."""
    return [
        (COLOURS[n] if n in COLOURS else style.Stroke(colour_of(n)), CONNECTIONS[n])
        for n in dict.fromkeys(connections)
    ]


def results(records: list[Record]) -> str:
    """A table of the results, and below it what the paper measured."""
    named = zip(titles(records), records, strict=True)
    finished = [(title, each.summary) for title, each in named if each.summary]
    if not finished:
        return ""
    plain = next((r.summary for r in records if r.settings.connection == "residual"), None)
    task = TASKS[records[0].settings.task]
    rows = ""
    for name, end in finished:
        times = end.seconds_per_step / plain.seconds_per_step if plain else math.nan
        rows += (
            f'<tr><th scope="row">{escape(name)}</th>'
            f"<td>{f'{end.parameters:,}' if end.parameters else '—'}</td>"
            f"<td>{end.outcome}, {end.steps} steps</td>"
            f"<td>{_number(end.loss)}</td><td>{_score(end.score, task.score)}</td>"
            f"<td>{in_html(end.largest_gain)}</td>"
            f"<td>{_number(end.largest_gradient_norm)}</td>"
            f"<td>{1e3 * end.seconds_per_step:.3g} ms</td><td>{_number(times)} ×</td></tr>"
        )
    return (
        '<div class="lab-results"><table class="cost-table"><thead><tr><th scope="col">Network</th>'
        '<th scope="col">Parameters</th><th scope="col">Outcome</th><th scope="col">Last loss</th>'
        f'<th scope="col">{task.score.capitalize()} (validation)</th>'
        '<th scope="col">Largest composite gain</th><th scope="col">Largest gradient norm</th>'
        '<th scope="col">Time per step</th><th scope="col">of the residual network’s</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
        "<p>Times are medians as measured here, on this machine, of networks this small, taking "
        f"turns. The paper measured {100 * TRAINING_OVERHEAD:.1f} % more training time for mHC at "
        "n = 4, with fused kernels, recomputation and overlapped communication at large scale "
        f"({escape(MHC_PAPER)}, section 4.3).</p></div>"
    )


def _score(score: float, kind: str) -> str:
    if not math.isfinite(score):
        return "—"
    return f"{100 * score:.1f} %" if kind == "accuracy" else f"{score:.3f}"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "—"

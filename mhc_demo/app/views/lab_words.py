"""What the lab says of a training: how far it is, and how it ended, as markup."""

from __future__ import annotations

import math
from html import escape

from ...lab.figure import titles
from ...lab.records import Record
from ...lab.tasks import TASKS
from ...numerics.numbers import in_html
from ...numerics.paper import MHC_PAPER, TRAINING_OVERHEAD
from ..training import Training


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

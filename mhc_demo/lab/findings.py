"""What the recorded runs came to, in sentences and in the documentation's page of evidence.

No number is typed: each is counted from `evidence.recorded_runs` when a text asks for it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..numerics.numbers import in_label
from .connections import CONNECTIONS
from .evidence import BESIDES, SEEDS, Floats, Runs, percent, recorded_runs, settings_of
from .settings import PRESETS
from .table import ROUTED, median_interval, wilson
from .tasks import TASKS


def told(preset: str) -> str:
    """The note of a preset, its {claims} filled in from the recorded runs.

    >>> told("fails").count("of 16") > 0
    True
    """
    return PRESETS[preset].note.format_map(_Claims(recorded_runs(preset)))


class _Claims(dict[str, str]):
    """What recorded runs say, by names such as "hc_lost": worked out when a text asks for it.

    "seeds"; for each connection "_accuracy" or "_bits", the median score over the seeds, with
    "_least" and "_most"; "_violation" and "_entropy", the medians of what was routed at the end;
    "_gain", the median of the runs' largest gains, with "_least" and "_most"; "_mixing", that of
    what is off the diagonal at the end, with "_first" at the start; "_learned", how many runs
    learned.  "early": in how many HC's gain passed 10^5 within 60 steps.  "odd": the odd seed.
    """

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    def __missing__(self, name: str) -> str:
        runs = self.runs
        if name == "seeds":
            return str(len(runs.seeds))
        if name == "odd":
            return str(runs.replays[-1].seed)
        if name == "early":
            gains = runs.curves["gain"][runs.connections.index("hc"), :, :60]
            return str(int((np.nanmax(gains, axis=-1) > 5).sum()))
        connection, _, what = name.partition("_")
        what, _, of = what.partition("_")
        c = runs.connections.index(connection)
        if what == "learned":
            return str(runs.learned(connection))
        if what == "mixing":
            step = 0 if of == "first" else -1
            return f"{np.median(runs.curves['mixing'][c, :, step]):.2f}"
        if what in ("violation", "entropy"):
            total = next(each for each in ROUTED if each.endswith(what))
            return f"{np.median(runs.total(total, connection)):.2f}"
        write: Callable[[float], str] = in_label if what == "gain" else runs.said
        values = runs.totals["largest_gain" if what == "gain" else "score"][c]
        if of == "odd":
            return write(float(values[runs.seed_index(runs.replays[-1].seed)]))
        quantile = {"": 0.5, "least": 0.0, "most": 1.0}[of]
        return write(float(np.nanquantile(values, quantile)))


def ablated(runs: Runs) -> str:
    """What the ablation says, counted."""
    learned = {name: runs.learned(name) for name in runs.connections}
    free = [learned.pop(name) for name in ("hc", "mhc-free")]
    of = len(runs.seeds)
    still = min(learned[name] for name in ("hc-identity", "mhc-identity"))
    return (
        f"With a free H_res {' and '.join(map(str, free))} of {of} seeds learned; with every one "
        f"that is bounded at least {min(learned.values())}, whichever way the layers read and "
        f"write. Not to mix at all is as safe: at least {still} learned with H_res = I."
    )


def against_dense(runs: Runs, dense: Runs) -> str:
    """What the mixtures came to beside dense networks of equal active size, seed by seed."""
    found = {name: runs.scores(name) - dense.scores(name) for name in runs.connections}
    words = "the mixture is better", "the dense network is better"
    said = [
        f"{CONNECTIONS[name]} {paired(each, *words, of=len(found))}" for name, each in found.items()
    ]
    better = [int((each < 0).sum()) for each in found.values()]
    return (
        "Dense networks with the same settings, text and seeds have as many hidden units at work "
        "on a token. The mixture’s bits per character less the dense network’s of the same seed, "
        f"in the median: {'; '.join(said)}. {_interval(runs, len(found))} The mixture is better in "
        f"{', '.join(map(str, better[:-1]))} and {better[-1]} of {len(runs.seeds)} seeds."
    )


def balanced(runs: Runs) -> str:
    """Whether the connections differ in how evenly the experts are chosen, seed by seed."""
    plain, *others = runs.connections
    found = {
        name: runs.total("load_violation", name) - runs.total("load_violation", plain)
        for name in others
    }
    said = [
        f"{CONNECTIONS[n]} {paired(each, 'less', 'more', of=len(found))}"
        for n, each in found.items()
    ]
    return (
        "The load violation over the last tenth of the steps, less the residual network’s of the "
        f"same seed, in the median: {'; '.join(said)}. {_interval(runs, len(found))}"
    )


def reach(runs: Runs, dense: Runs) -> str:
    """What the mixtures' runs can say of stability, and what they cannot."""
    hc, mhc, hc_dense, mhc_dense = (
        in_label(float(np.nanmax(each.total("largest_gain", name))))
        for each in (runs, dense)
        for name in ("hc", "mhc")
    )
    settings = settings_of("moe", "mhc", 0)
    tenth = max(1, settings.steps // 10)
    violations = runs.curves["load_violation"]
    before, after = (
        np.nanmedian(np.nanmean(part, axis=-1), axis=-1)
        for part in (violations[..., -3 * tenth : -2 * tenth], violations[..., -tenth:])
    )
    falling = (
        "The load violation is still falling when the runs end, so that they do not say how even "
        "the load becomes. "
        if (after < before).all()
        else ""
    )
    return (
        "Does the signal stay stable with experts? The largest gain of any seed is "
        f"{hc} (HC) and {mhc} (mHC) with the mixture, {hc_dense} and {mhc_dense} with the dense "
        "network. But no entry of mHC’s H_res is negative and its rows sum to 1, so that its gain "
        f"is at most n = {settings.streams} whatever the layers compute: that it stays small says "
        f"nothing about experts. And it is the gain of the H_res alone, in {settings.depth} layers "
        f"and {settings.steps} steps: of the branches, of deeper networks and of longer training "
        "these runs say nothing. "
        f"{falling}".strip()
    )


def paired(differences: Floats, below: str, above: str, *, of: int = 1) -> str:
    """The median of differences, its interval, and whether that is below 0 or above.

    `of` so many comparisons all intervals are to hold at once in 95 % of cases (Bonferroni): of
    three that hold in 95 % each, one is wrong in up to 15 %.
    """
    low, high, _ = median_interval(differences, _level(of))
    verdict = below if high < 0 else above if low > 0 else "the two are not told apart"
    return f"{signed(np.median(differences))} ({signed(low)} to {signed(high)}), {verdict}"


def _level(of: int) -> float:
    return 1 - 0.05 / of


def _interval(runs: Runs, of: int) -> str:
    level = median_interval(np.zeros(len(runs.seeds)), _level(of))[2]
    every = "both" if of == 2 else f"all {of}"
    return (
        f"In brackets is the interval of the median (order statistics, {100 * level:.1f} %; "
        f"{every} hold at once in at least {percent(1 - of * (1 - level))} of cases)."
    )


def signed(value: float | np.floating) -> str:
    """A difference of scores.

    >>> signed(-0.012)
    '−0.012'
    """
    return f"{value:+.3f}".replace("-", "−")


COMMANDS = """\
for preset in calm explodes fails deep still moe; do
  mhc-demo sweep --preset $preset --connection compared --seed 0:16 -o runs
done
mhc-demo sweep --preset fails --connection ablation --seed 0:16 -o runs
mhc-demo sweep --preset moe --task text --connection compared --seed 0:16 -o runs
mhc-demo runs runs --curves -o mhc_demo/lab/data/runs.parquet
python -m mhc_demo.lab.gathering mhc_demo/lab/data/runs.parquet
"""
"""What makes all that is kept here; the last line writes the presets' files and the page."""


def page() -> str:
    """The page of the documentation that says what the runs came to, as Markdown."""
    parts = [
        "# What the lab's trainings came to\n",
        "Every number here is counted from the runs that ship with the package; nothing is typed. "
        f"There are {SEEDS} seeds of every preset and of every connection of the ablation: a "
        "single run is an anecdote. A network has *learned* that got a fifth of the way from "
        "guessing to perfect, for the digits to an accuracy of 28 %, for text to 3.75 bits per "
        "character, of which fewer are better. Behind a share stands its 95 % "
        "interval (Wilson), behind a median the smallest and the largest value. The page replays "
        "them under *Training*; in Python, `lab.runs` reads the table and `mhc_demo.lab.evidence` "
        "the rest.\n",
    ]
    for name, preset in PRESETS.items():
        runs = recorded_runs(name)
        text = f"{told(name)} {balanced(runs)}" if runs.routed else told(name)
        parts += [f"## {preset.title} (`{name}`)\n", text + "\n", _table(runs)]
    ablation, dense = recorded_runs("ablation"), recorded_runs("dense")
    made = " and with ".join(dict.fromkeys(recorded_runs(n).made for n in (*PRESETS, *BESIDES)))
    parts += [
        "## Which part of mHC does it? (the ablation)\n",
        "With the settings of `fails`: HC's or mHC's way to read and write the streams, each with "
        "a free H_res, with none that mixes (H_res = I), with Sinkhorn's and with rows alone. "
        f"{ablated(ablation)}\n",
        _table(ablation),
        "## Is a mixture of experts better than a dense network? (the preset `moe`)\n",
        f"{against_dense(recorded_runs('moe'), dense)} {reach(recorded_runs('moe'), dense)}\n",
        _table(dense),
        "## How they were made\n",
        f"With {made}, one thread for each run, by\n",
        f"```text\n{COMMANDS}```\n",
        "The last digits depend on processor, versions and threads, and where a training is "
        "unstable they decide how a seed ends.\n",
    ]
    return "\n".join(parts)


def _table(runs: Runs) -> str:
    columns = ["learned", "share", TASKS[runs.task].score, "largest gain", "parameters"]
    if runs.routed:
        columns += ["load violation", "routing entropy"]
    rows = [f"| network | {' | '.join(columns)} |", f"| --- |{' --: |' * len(columns)}"]
    for name in runs.connections:
        count, of = runs.learned(name), len(runs.seeds)
        low, high = wilson(count, of)
        cells = [
            f"{count} of {of}",
            f"{percent(low)} to {percent(high)}",
            _ends(runs.scores(name), runs.said),
            _ends(np.nan_to_num(runs.total("largest_gain", name)), in_label),
            f"{int(runs.total('parameters', name).max()):,}",
        ]
        if runs.routed:
            cells += [_ends(runs.total(each, name), "{:.2f}".format) for each in ROUTED]
        rows.append(f"| {CONNECTIONS[name]} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _ends(values: Floats, write: Callable[[float], str]) -> str:
    """Median, smallest and largest."""
    low, middle, high = (write(float(np.quantile(values, q))) for q in (0.0, 0.5, 1.0))
    return f"{middle} ({low} to {high})"

"""What is said of the recorded runs is counted from them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mhc_demo.lab import findings
from mhc_demo.lab.connections import COMPARED, CONNECTIONS
from mhc_demo.lab.evidence import Runs, recorded_runs
from mhc_demo.lab.settings import PRESETS
from mhc_demo.lab.table import median_interval


@pytest.mark.parametrize("preset", PRESETS)
def test_a_note_has_no_number_of_its_own(preset: str) -> None:
    note = re.sub(r"\{\w+\}", "", PRESETS[preset].note)
    settings = PRESETS[preset].settings()
    own = {f"{v:g}" for v in settings.values_by_name().values() if isinstance(v, (int, float))}
    assert set(re.findall(r"\d+(?:\.\d+)?", note)) <= own | {"10", "60", "1"}
    assert "{" not in findings.told(preset)


def test_what_a_note_says_is_counted() -> None:
    scores = np.array([[0.5, 0.6], [0.1, np.nan], [0.9, 0.7]])
    runs = Runs(
        COMPARED,
        (0, 1),
        {"gain": np.array([[[0.0]] * 2, [[6.0], [4.0]], [[0.1]] * 2])},
        {"score": scores, "largest_gain": np.array([[0, 0], [20.0, 30.0], [0.3, 0.5]])},
        "digits",
        0.1,
    )
    claims = findings._Claims(runs)
    asked = ("seeds", "hc_learned", "mhc_learned", "mhc_accuracy", "mhc_accuracy_least")
    text = " ".join(f"{{{name}}}" for name in (*asked, "hc_gain_most", "early"))
    assert text.format_map(claims) == "2 0 2 80 % 70 % 10³⁰·⁰ 1"


def test_mixture_and_dense_network_are_compared_seed_by_seed() -> None:
    runs, dense = recorded_runs("moe"), recorded_runs("dense")
    said = findings.against_dense(runs, dense)
    for name in COMPARED:
        differences = runs.total("score", name) - dense.total("score", name)
        low, high, level = median_interval(differences, 1 - 0.05 / len(COMPARED))
        assert len(COMPARED) * (1 - level) < 0.05  # so all three hold at once in 95 % of cases
        told_apart = "the two are not told apart"
        if low > 0 or high < 0:
            told_apart = f"the {'dense network' if low > 0 else 'mixture'} is better"
        digits = [f"{v:+.3f}".replace("-", "−") for v in (np.median(differences), low, high)]
        assert f"{CONNECTIONS[name]} {digits[0]} ({digits[1]} to {digits[2]}), {told_apart}" in said


def test_an_interval_of_one_comparison_in_three_is_wider() -> None:
    # Of 16 differences three are above 0: the fourth largest is below it, the third is not.
    differences = np.array([-1.0] * 13 + [1.0] * 3)
    assert findings.paired(differences, "less", "more").endswith("less")
    assert findings.paired(differences, "less", "more", of=2).endswith("less")
    assert findings.paired(differences, "less", "more", of=3).endswith("not told apart")


def test_the_reach_of_the_mixtures_runs_is_counted() -> None:
    runs, dense = recorded_runs("moe"), recorded_runs("dense")
    said = findings.reach(runs, dense)
    hc, mhc, *without = (
        f"{10 ** each.total('largest_gain', name).max():.3g}"
        for each in (runs, dense)
        for name in ("hc", "mhc")
    )
    assert f"{hc} (HC) and {mhc} (mHC) with the mixture, {' and '.join(without)} with the" in said
    # Rows that sum to 1 and no negative entry: no column of a product sums to more than n.
    assert max(10 ** each.total("largest_gain", "mhc").max() for each in (runs, dense)) <= 4
    violations = runs.curves["load_violation"]
    tenth = violations.shape[-1] // 10
    late = [
        violations[..., at].mean(-1) for at in (slice(-3 * tenth, -2 * tenth), slice(-tenth, None))
    ]
    assert ("still falling" in said) == (np.median(late[1], -1) < np.median(late[0], -1)).all()


def test_the_balance_of_the_connections_is_compared_seed_by_seed() -> None:
    violations = np.array([[0.3, 0.4, 0.5, 0.6, 0.7, 0.8]] * 3)
    violations[1] -= 0.125
    violations[2] += [0.5, -0.25, 0.5, -0.25, 0.5, -0.25]
    runs = Runs(
        COMPARED,
        tuple(range(6)),
        {"load_violation": np.empty(0)},
        {"load_violation": violations},
        "moe",
        4.69,
    )
    said = findings.balanced(runs)
    assert "HC −0.125 (−0.125 to −0.125), less; mHC +0.125 (−0.250 to +0.500), the two" in said
    assert "(order statistics, 96.9 %; " in said  # 1 - 2 / 2^6: of six values all are needed


def test_the_page_of_the_documentation_is_counted_from_the_runs() -> None:
    """Anew by `python -m mhc_demo.lab.gathering mhc_demo/lab/data/runs.parquet`."""
    written = Path(__file__).parents[1] / "docs" / "evidence.md"
    assert written.read_text("utf-8") == findings.page()

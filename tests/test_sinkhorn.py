"""Sinkhorn at work, without a browser: sentences, slopes, and what a reader may enter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mhc_demo as mhc
from mhc_demo.app.own_numbers import WrongCellError, matrix_of, rows_of
from mhc_demo.app.state import State
from mhc_demo.app.values import LARGEST_ENTRY, MOST_ROWS, entries_of, written
from mhc_demo.figures.sinkhorn import LAST_STEP, convergence, legend, sentences, slope_columns


def steps(spread: float = 1.0, n: int = 4, projection: str = "sinkhorn") -> object:
    Z = spread * np.random.default_rng(3).standard_normal((n, n))
    return mhc.half_steps(Z, projection)


def test_every_step_is_said_with_its_sums() -> None:
    found = mhc.half_steps([[0.0, math.log(3)], [0.0, 0.0]])
    said = sentences(found)
    assert len(said) == LAST_STEP + 1
    assert said[:4] == [
        "Step 0: the logits. Row sums 0.00 to 1.10, column sums 0.00 to 1.10.",
        "Step 1: exp of each logit makes every entry positive. "
        "Row sums 2.00 to 4.00, column sums 2.00 to 4.00.",
        "Step 2, iteration 1: columns divided by their sums. "
        "Row sums 0.75 to 1.25, column sums 1.00.",
        # Rows (2/5, 3/5) and (2/3, 1/3).
        "Step 3, iteration 1: rows divided by their sums. "
        "Row sums 1.00, column sums 0.93 to 1.07. Off by at most 0.067.",
    ]
    assert "all times 10⁴³⁴²" in sentences(mhc.half_steps([[1e4, 0.0], [0.0, 0.0]]))[1]
    assert "plus ε" in sentences(steps(projection="released"))[3]


@pytest.mark.parametrize("projection", ["sinkhorn", "released"])
def test_the_dashed_line_runs_along_the_errors_it_explains(projection: str) -> None:
    found = steps(projection=projection)
    line = slope_columns(found)
    whole = found["error"].values[found["whole"].values]
    floor = 30 * max(found.attrs["limit_error"], 1e-12)
    off = [k for k in range(3, 30) if whole[k] > floor]
    assert len(off) > 3
    # By then the next singular value has no part in it to speak of.
    np.testing.assert_allclose(line["slope"][off], np.log10(whole[off]), atol=0.05)
    s2 = found.attrs["second_singular_value"]
    assert f"{s2:.3f}" in convergence(found)
    assert f"{s2 * s2:.3f}" in convergence(found)
    promised = math.tanh(mhc.logit_range(found["mantissa"][0].values) / 4) ** 2
    assert s2 * s2 < promised
    assert f"at most {promised:.3f} per iteration" in convergence(found)
    assert any(f"{s2 * s2:.3f}" in text for _, text in legend(found, 1))


def test_where_no_line_explains_the_errors_none_is_drawn() -> None:
    for found in (steps(1e4), steps(0.0), steps(n=1)):
        assert np.isnan(slope_columns(found)["slope"]).all()
        assert not any("slope" in text for _, text in legend(found, 1))
    assert "still off by" in convergence(steps(1e4))
    assert "nearly 1" in convergence(
        mhc.half_steps([[9.0, 0.5, 0.0], [0.0, 9.0, 0.0], [1.0, 0, 9]])
    )
    assert "enough" in convergence(steps(0.0))
    assert "ε leaves" in convergence(steps(projection="released"))


@pytest.mark.parametrize(
    ("rows", "cell", "says"),
    [
        ([["1", "x"], ["0", "1"]], 1, "Row 1, column 2"),
        ([["1", "2"], ["0", "1e5"]], 3, "Row 2, column 2"),
        ([["1", ""], ["0", "1"]], 1, "Row 1, column 2"),
        ([["nan"]], 0, "from −10,000 to 10,000"),
        ([["1e999"]], 0, "Row 1, column 1"),
        ([[{"a": 1}]], 0, "Row 1, column 1"),
        ([["1", "2"], ["3"]], -1, "Row 2 has 1 number; a matrix of 2 rows needs 2 in each."),
        (9 * [9 * ["1"]], -1, "There are 9 rows; at most 8"),
        ([], -1, "no numbers"),
        (None, -1, "no numbers"),
        (["12"], -1, "no numbers"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(rows: object, cell: int, says: str) -> None:
    with pytest.raises(WrongCellError, match=says) as wrong:
        matrix_of(rows)
    assert wrong.value.cell == cell
    assert "1e5" not in str(wrong.value)


@given(st.text(alphabet="0123456789.,;-−eE+[]\n\t x<"))
def test_no_pasted_text_does_harm(text: str) -> None:
    try:
        found = matrix_of(rows_of(text))
    except WrongCellError:
        return
    assert np.isfinite(found).all()
    assert max(map(abs, found)) <= LARGEST_ENTRY
    assert math.isqrt(len(found)) ** 2 == len(found) <= MOST_ROWS**2
    assert entries_of(written(found)) == found  # a link gives back what was entered
    assert State(own=found).own == found


def test_a_matrix_is_taken_as_spreadsheets_numpy_and_people_write_it() -> None:
    matrix = np.array([[0.5, -1.25], [1e-3, 1234.5]])
    wanted = matrix.ravel().tolist()
    for text in (str(matrix), repr(matrix.tolist()), "0.5\t-1.25\r\n0.001\t1234.5\r\n"):
        assert matrix_of(rows_of(text)) == wanted
    assert matrix_of(rows_of("0.5 −1.25; 1e-3 1234.5")) == wanted
    assert matrix_of([["0.1234567"]]) == [0.123457]  # six digits fit into a link


def test_a_state_refuses_what_is_no_matrix() -> None:
    for own in ([1.0, 2.0], [1e5], [math.nan], ["1"], 81 * [0.0]):
        with pytest.raises(ValueError, match="own"):
            State(own=own)

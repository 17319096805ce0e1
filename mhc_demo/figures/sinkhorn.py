"""Sinkhorn at work: one matrix, half step by half step, and how fast its sums become 1.

The browser moves it, from tables of all steps: a table's "depths" are here the steps of
`half_steps`, which a third slider follows (`along="step"` in `slices.py`).  The sentence of each
step travels in the tags of the table of blocks, where `static/sinkhorn.js` finds it.

A projection that does not iterate has no steps to follow: its matrix is drawn before and after.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    HoverTool,
    Line,
    NoOverlap,
    Range1d,
    Rect,
    Scatter,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.half_steps import PATIENCE
from ..numerics.numbers import entry, superscript
from ..numerics.projections import PAPER_ITERATIONS, PROJECTIONS
from ..numerics.surface import MAX_ITERATIONS
from . import style
from .contents import Column, Series, described, log10
from .curves import chosen_iterations
from .matrices import LEGIBLE, Heatmap, blocks
from .slices import Position, follows, label, sliced, table
from .words import Entry

LAST_STEP = 1 + 2 * MAX_ITERATIONS
"""The last step of a projection whose iterations have two halves."""

PAUSE = 700
"""Milliseconds between two steps while it plays: long enough to see which sums became 1."""

FLOOR = 1e-11
"""Errors below this are more and more rounding, and no place to hold a slope to."""

LOWEST, HIGHEST = -16.5, 0.3
"""Log10 errors that the plot of errors shows at most."""

SLOPE = style.Stroke(style.THEORY, (7, 5), 2.5)


class SinkhornFigure:
    """The matrix of the present step, or that before and after a projection that has no steps."""

    def __init__(
        self,
        steps: xr.Dataset,
        name: str,
        state: Position,
        dark: bool = False,
        before: SinkhornFigure | None = None,
    ) -> None:
        """`before`: the figure in whose place this one comes, whose tables it takes over."""
        n = steps.sizes["row"]
        self.shape = shape_of(steps)
        self.tables: Tables = before.tables if before else _new_tables()
        self.table, self.frames, self.errors = self.tables
        self._fill(steps, name)
        self.heatmaps: list[tuple[Heatmap, str]] = []
        if steps.attrs["iterative"]:
            self.error: ErrorFigure | None = ErrorFigure(steps, self.errors, state)
            shown = self._heatmap("sinkhorn-matrix", "{name}, step {{step}}", n, state, 0)
            self._frame(shown.figure, state)
            self.figures = [shown.figure, self.error.figure]
        else:
            self.error = None
            self.figures = [
                self._heatmap(
                    f"sinkhorn-{when.lower()}", f"{{name}}: {when.lower()}", n, state, at
                ).figure
                for at, when in enumerate(("Before", "After"))
            ]
        self._entitle(name, state)
        self.colour(dark)

    def update(self, steps: xr.Dataset, name: str, state: Position) -> None:
        """Show another matrix of the same `shape_of`."""
        self._fill(steps, name)
        if self.error is not None:
            self.error.update(steps)
        self._entitle(name, state)

    def colour(self, dark: bool) -> None:
        """Set the colour of the sums, whose background is the page."""
        for shown, _ in self.heatmaps:
            shown.colour(dark)

    # ---- tables ------------------------------------------------------------------------------

    def _fill(self, steps: xr.Dataset, name: str) -> None:
        n, count = steps.sizes["row"], steps.sizes["step"]
        value = blocks(steps["mantissa"].values, steps["power"].values)
        width = (n + 1) ** 2
        if not steps.attrs["iterative"]:
            label(self.table, range(count), [0], width, along="")
            self.table.data = {"value": value}
            return
        every = range(count)
        label(self.errors, [0], every, along="step")
        self.errors.data = reached_columns(steps)
        label(self.frames, [0], every, n, along="step")
        self.frames.data = frame_columns(steps)
        label(
            self.table,
            [0],
            every,
            width,
            along="step",
            say=sentences(steps),
            marks=marks(steps),
            pause=PAUSE,
        )
        self.table.data = {"value": value}

    # ---- heatmaps ----------------------------------------------------------------------------

    def _heatmap(self, name: str, title: str, n: int, state: Position, at: int) -> Heatmap:
        rule = {"value": "value"}
        source = sliced(self.table, "block", rule, state, at=at, heatmap="sums")
        shown = Heatmap(name, "", n, source, marked=n <= LEGIBLE)
        # The first layout of a newly opened view has the script write texts and shades.
        shown.figure.js_on_change("inner_width", CustomJS(args={"source": source}, code=CUT))
        self.heatmaps.append((shown, title))
        return shown

    def _entitle(self, name: str, state: Position) -> None:
        for shown, title in self.heatmaps:
            told = title.format(name=name)
            where = told if self.error else name
            described(shown.figure, told, shown.block, kind="matrix", where=where)
            shown.figure.title.text = told.format(**state)
            follows(shown.figure.title, "text", told, table=self.table)
        if self.error is not None:
            self.error.describe(f"{name}, step {{step}}")

    def _frame(self, p: figure, state: Position) -> None:
        """Frames around the columns or rows that the present step has divided."""
        columns = {name: name for name in ("x", "y", "width", "height")}
        source = sliced(self.frames, "block", columns, state, at=0)
        frame = Rect(
            **columns, fill_color=None, line_color=style.PROJECTED, line_width=2.5, line_alpha=0.9
        )
        style.draw(p, source, frame, style.MOVING)
        p.js_on_change("inner_height", CustomJS(args={"source": source}, code=CUT))


CUT = "mhc.cut(source)"


Tables: TypeAlias = tuple[ColumnDataSource, ColumnDataSource, ColumnDataSource]


def _new_tables() -> Tables:
    matrices, frames, errors = (table({}, [0], [0]) for _ in range(3))
    matrices.name = "half-steps"  # by which the script finds the sentences
    return matrices, frames, errors


def shape_of(steps: xr.Dataset) -> tuple[int, int]:
    """What figures are built for: another matrix of the same shape only fills them anew."""
    return steps.sizes["row"], steps.attrs["iterative"]


def frame_columns(steps: xr.Dataset) -> dict[str, NDArray[np.float32]]:
    """For each step n frames around what it divided, NaN where it divided nothing."""
    n = steps.sizes["row"]
    beyond = 1.25 if n <= LEGIBLE else 0.0  # with the sum, where it has a cell
    middle, length = np.full(n, (n - 1 + beyond) / 2), np.full(n, n + beyond - 0.03)
    each, wide, none = np.arange(n), np.full(n, 0.97), np.full(n, np.nan)
    of = {"columns": (each, middle, wide, length), "rows": (middle, each, length, wide)}
    found = [of.get(str(name), (none,) * 4) for name in steps["name"].values]
    return {
        name: np.concatenate([frames[k] for frames in found]).astype(np.float32)
        for k, name in enumerate(("x", "y", "width", "height"))
    }


# ---- words -----------------------------------------------------------------------------------


def sentences(steps: xr.Dataset) -> list[str]:
    """What each step did, with its sums."""
    return [_sentence(steps.isel(step=k)) for k in range(steps.sizes["step"])]


def _sentence(step: xr.Dataset) -> str:
    k, iteration = int(step["step"]), int(step["iteration"]) + (not bool(step["whole"]))
    what = str(step["what"].values)
    where = f"Step {k}" + (f", iteration {iteration}" if k > 1 else "")
    sums = f"Row sums {_range(step['row_sum'])}, column sums {_range(step['column_sum'])}"
    power = int(step["power"])
    factor = f", all times 10{superscript(power)}" if power else ""
    off = f" Off by at most {_small(float(step['error']))}." if bool(step["whole"]) else ""
    return f"{where}: {what}. {sums}{factor}.{off}"


def _range(sums: xr.DataArray) -> str:
    least, most = entry(float(sums.min())), entry(float(sums.max()))
    return least if least == most else f"{least} to {most}"


def _small(error: float) -> str:
    """Two digits.

    >>> _small(0.0321), _small(4.04e-6), _small(0.0)
    ('0.032', '4.0 × 10⁻⁶', '0')
    """
    if error == 0 or error >= 1e-3:
        return f"{error:.2g}"
    mantissa, power = f"{error:.1e}".split("e")
    return f"{mantissa} × 10{superscript(int(power))}"


def marks(steps: xr.Dataset) -> list[list[Any]]:
    """[step, words] below the slider."""
    ends = steps["step"].values[steps["whole"].values]
    shown = [[int(ends[t - 1]), f"{t}"] for t in (5, PAPER_ITERATIONS, 30) if t <= len(ends)]
    if len(ends) >= 10:
        shown.append([int(ends[9]), "10 iterations"])
    return [[0, "logits"], *sorted(shown)]


def convergence(steps: xr.Dataset) -> str:
    """How fast this matrix's error falls, and why."""
    s2, floor = steps.attrs["second_singular_value"], steps.attrs["limit_error"]
    n = steps.sizes["row"]
    if n == 1:
        return "A single number becomes 1 at once."
    if _all_off(steps).max() < FLOOR:
        return "Here one iteration is enough: after it all sums are 1, up to rounding."
    if not steps.attrs["converged"]:
        return _not_converged(min(s2, 1.0), floor)
    pace = s2 * s2
    needed = math.log(0.01) / math.log(pace)
    takes = f"{needed:.1f}" if needed < 10 else f"{needed:,.0f}"
    eps = f" It ends at {_small(floor)}, which is what ε leaves." if floor > 1e-8 else ""
    blended = PROJECTIONS[steps.attrs["projection"]].balances
    whose = f"the limit of {PROJECTIONS[blended].label}'s part" if blended else "the limit"
    # What I adds to a blend survives it too.
    meaning = (
        ""
        if blended
        else " The same s₂ bounds how much of a difference between the streams survives this "
        "layer, so weak mixers are slow to normalise."
    )
    return (
        f"<b>s₂ = {s2:.3f}</b> is the second singular value of {whose}, and in the end each "
        f"iteration multiplies the error by s₂² = <b>{pace:.3f}</b>: a hundredth takes {takes} "
        f"iterations.{eps}{meaning} {_promised(steps)}"
    )


def _promised(steps: xr.Dataset) -> str:
    """What can be said of the pace before the limit is known."""
    spread = steps.attrs["logit_range"]
    promised = math.tanh(spread / 4) ** 2
    pace = f"{promised:.3f}" if promised < 0.9995 else "nearly 1"
    return (
        f"The range of the logits, {spread:.1f}, alone promises a factor of at most {pace} per "
        "iteration, tanh²(range / 4) (Franklin and Lorenz 1989)."
    )


def _not_converged(s2: float, off: float) -> str:
    said = (
        f"These logits are so sharp that after {PATIENCE:,} iterations the sums are still off by "
        f"{_small(off)}."
    )
    if s2 < 0.98 or off > 0.05:  # then the matrix is too far from the limit to tell its s2
        return said
    said += (
        " <b>s₂, the second singular value of the limit, is nearly 1</b>: this matrix hardly "
        "mixes, and such matrices are slow to normalise."
    )
    left = 1 - s2 * s2
    if left < 3 * off:  # by which it may be wrong
        return said
    return (
        f"{said} Here s₂ is about {s2:.4f}, and in the end each iteration takes only "
        f"{_small(100 * left)} % off the error."
    )


SUMS = "Σ at the edges are the sums: grey while they are far from 1, gold where they read 1.00."


def legend(steps: xr.Dataset, iterations: int | None = None) -> list[Entry]:
    """What the plot of errors draws; `iterations` of the dial, where the words can follow it."""
    times = "" if iterations is None else f": {iterations} iteration{'s' * (iterations != 1)}"
    slope = [(SLOPE, f"slope: × s₂² = {steps.attrs['second_singular_value'] ** 2:.3f} each")]
    return [
        ("projected", "largest |sum − 1| so far"),
        *(slope if np.isfinite(slope_columns(steps)["slope"]).any() else []),
        ("band", f"where the dial’s network stops{times}"),
    ]


# ---- errors ----------------------------------------------------------------------------------


def error_columns(steps: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """The log10 error after each whole iteration; NaN for 0, which no logarithm shows."""
    off = _all_off(steps)
    done = steps["iteration"].values[steps["whole"].values]
    return {
        "iterations": done.astype(float),
        "error": np.log10(np.where(off > 0, off, np.nan)),
    }


def _all_off(steps: xr.Dataset) -> NDArray[np.float64]:
    """The error after each whole iteration."""
    return steps["error"].values[steps["whole"].values]


def reached_columns(steps: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """The same for every step: that of the last whole iteration, NaN before the first."""
    whole = error_columns(steps)
    done = steps["iteration"].values
    return {
        name: np.where(done > 0, values[np.maximum(done, 1) - 1], np.nan)
        for name, values in whole.items()
    }


def slope_columns(steps: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """The line that the error tends to: through its last value that is no rounding, s2^2 a step."""
    known = error_columns(steps)
    x, error = known["iterations"], known["error"]
    s2 = steps.attrs["second_singular_value"]
    floor = max(FLOOR, 30 * steps.attrs["limit_error"])
    clear = np.flatnonzero(np.nan_to_num(error, nan=-99) > math.log10(floor))
    if not steps.attrs["converged"] or s2 < 1e-3 or len(clear) < 2:
        return {"iterations": x, "slope": np.full(len(x), np.nan)}
    last = clear[-1]
    line = error[last] + (x - x[last]) * 2 * math.log10(s2)
    return {"iterations": x, "slope": np.where(line > LOWEST, line, np.nan)}


class ErrorFigure:
    """How far the sums are from 1 after each whole iteration, and the slope they tend to."""

    def __init__(self, steps: xr.Dataset, reached: ColumnDataSource, state: Position) -> None:
        p = style.plot(
            "sinkhorn-error",
            "Iterations of this matrix",
            "Largest |sum − 1|",
            (0, MAX_ITERATIONS + 0.8),
            y_range=Range1d(LOWEST, HIGHEST),
        )
        p.xaxis.ticker = [1, 5, 10, 15, 20, 25, 30]
        p.xaxis.major_label_policy = NoOverlap(min_distance=2)
        style.powers_of_ten(p)
        p.add_layout(chosen_iterations(state))
        self.source, self.slope = ColumnDataSource(), ColumnDataSource()
        self.figure = p
        self.update(steps)
        tends = Line(
            x="iterations",
            y="slope",
            line_color=SLOPE.colour,
            line_dash=list(SLOPE.dash),
            line_width=SLOPE.width,
        )
        style.draw(p, self.slope, tends).name = "slope"
        faint = {"line_color": style.PROJECTED, "line_alpha": 0.55}
        style.draw(p, self.source, Line(x="iterations", y="error", line_width=1.5, **faint))
        every = Scatter(x="iterations", y="error", size=6, fill_color=None, **faint)
        dots = style.draw(p, self.source, every)
        dots.name = "error"
        columns = {"x": "iterations", "y": "error"}
        so_far = sliced(reached, "row", columns, state, at=0, cut=True)
        strong = {"line_color": style.PROJECTED, "x": "x", "y": "y"}
        style.draw(p, so_far, Line(line_width=3.5, **strong), style.MOVING)
        passed = Scatter(size=7, fill_color=style.PROJECTED, **strong)
        style.draw(p, so_far, passed, style.MOVING)
        now = sliced(reached, "block", columns, state, at=0)
        here = Scatter(size=14, fill_color=style.PROJECTED, **strong)
        style.draw(p, now, here, style.MOVING).name = "now"
        p.js_on_change(
            "inner_width",
            CustomJS(args={"a": so_far, "b": now}, code="mhc.cut(a); mhc.cut(b)"),
        )
        p.add_tools(
            HoverTool(
                renderers=[dots],
                tooltips=[("iterations", "@iterations"), ("largest |sum − 1|", "@exact")],
                mode="vline",
                attachment="horizontal",
            )
        )

    def describe(self, where: str) -> None:
        """Say what it shows, and of which matrix and step."""
        along = Column("iterations", "iterations")
        described(
            self.figure,
            "Largest |sum − 1| after each iteration",
            Series("error", self.source, along, [log10("error", "error")], colour=style.PROJECTED),
            Series(
                "slope s₂²",
                self.slope,
                along,
                [log10("slope", "slope")],
                colour=SLOPE.colour,
                dash=SLOPE.dash,
            ),
            along="iterations",
            where=where,
        )

    def update(self, steps: xr.Dataset) -> None:
        """Show another matrix."""
        found = error_columns(steps)
        exact = [_small(float(off)) for off in _all_off(steps)]
        self.source.data = {**found, "exact": exact}
        self.slope.data = slope_columns(steps)
        seen = [*found["error"], *self.slope.data["slope"]]
        known = [each for each in seen if math.isfinite(each)] or [LOWEST, HIGHEST]
        low, high = max(min(known), LOWEST), max(known)
        margin = 0.06 * (high - low) + 0.1
        self.figure.y_range.start, self.figure.y_range.end = low - margin, high + margin

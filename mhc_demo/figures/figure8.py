"""Figure 8 of the mHC paper: real matrices of a 27B model.

On the page they are plain HTML tables rather than plots, with printed and computed sums side by
side: the numbers are the point, a screen reader can walk through them, and a browser can search and
copy them.  In a lecture the gains matter most, so there each matrix has its two gains below it
instead of the prose and the table of gains; `static/mhc.css` shows the one or the other.  For
slides there are heatmaps, as in the paper.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import repeat
from urllib.parse import quote

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Range1d, Text
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..numerics.gains import amax_gain
from ..numerics.numbers import UNKNOWN
from ..numerics.paper import PrintedMatrix, figure8, figure8_source
from . import style
from .matrices import shades, tinted

NAMES = {"hc": "HC", "mhc": "mHC"}


@dataclass(frozen=True)
class Panel:
    """One matrix of a row, with the sums that are printed beside it, if any are."""

    title: str
    matrix: NDArray[np.float64]
    row_sums: NDArray[np.float64] | None = None
    column_sums: NDArray[np.float64] | None = None

    @property
    def decimals(self) -> int:
        """As in the paper: 2, or 1 in large composites."""
        return 1 if np.max(np.abs(self.matrix)) >= 20 else 2

    def largest(self, axis: int) -> float:
        """The largest |sum|, as it is printed if it is: of rows (0) or of columns (1)."""
        printed = (self.row_sums, self.column_sums)[axis]
        return float(np.abs(self.matrix.sum(1 - axis) if printed is None else printed).max())


def figure8_html(own: Sequence[Panel] = (), name: str = "") -> str:
    """Both rows of Figure 8 and the table of gains, as an HTML fragment.

    `own`: the same panels of another model, which stand above them under its name.
    """
    printed = [Panel(p.title, p.matrix, p.row_sums, p.column_sums) for p in figure8()]
    methods = [NAMES[p.method] for p in figure8()]
    by_row = [("own", name, list(own))] if own else []
    by_row += [
        (method, title, [p for p, m in zip(printed, methods, strict=True) if m == title])
        for method, title in NAMES.items()
    ]
    rows = "".join(
        f'<section class="{method}"><h3>{escape(title)}</h3><div class="fig8-panels">'
        + "".join(map(_panel, panels))
        + "</div></section>"
        for method, title, panels in by_row
    )
    return (
        '<div class="fig8-frame"><article class="fig8">'
        '<p class="prose">Not random: mixing matrices of a trained 27B model. Each composite '
        "multiplies the layers it names. Beside each row its sum (forward gain), below each column "
        "its sum (backward gain): <b>printed</b> in the paper, and "
        '<span class="fig8-computed">computed</span> here from the printed entries, which are '
        "rounded to two decimals (one in the large composites); so the last digit may differ. "
        "The product of the two halves is the printed composite of all 60 layers, within "
        f"{100 * halves_differ():.1f} % of its largest entry.</p>"
        f"{rows}{_gains([(title, panel) for _, title, row in by_row for panel in row])}"
        "<p class='save'>Figure 8, matrices and sums "
        "<a download='mhc-figure-8.csv' aria-label='Save Figure 8, matrices and sums as CSV' "
        f"href='data:text/csv;charset=utf-8,{quote(figure8_csv())}'>CSV</a></p>"
        f'<p class="source">Source: {escape(figure8_source())}.</p></article></div>'
    )


def halves_differ() -> float:
    """By how much the product of the two halves differs from the whole, in both networks at most.

    Relative to the largest entry of the whole.
    """
    found = []
    for method in NAMES:
        printed = {each.key: each.matrix for each in figure8() if each.method == method}
        whole = printed["composite_1_60"]
        product = printed["composite_31_60"] @ printed["composite_1_30"]
        found.append(np.abs(product - whole).max() / np.abs(whole).max())
    return float(max(found))


def figure8_csv() -> str:
    """Every number of Figure 8: the entries, and the sums as printed and as computed from them."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("series", "row", "column", "printed", "computed"))
    for panel in figure8():
        name, d = f"{NAMES[panel.method]}, {panel.title}", panel.decimals
        for i, row in enumerate(panel.matrix, 1):
            table.writerows((name, i, j, f"{v:.{d}f}", "") for j, v in enumerate(row, 1))
        rows, columns = (
            (panel.row_sums, panel.matrix.sum(1)),
            (panel.column_sums, panel.matrix.sum(0)),
        )
        for axis, sums in enumerate((rows, columns)):
            for k, (printed, computed) in enumerate(zip(*sums, strict=True), 1):
                cell = ("Σ", k) if axis else (k, "Σ")
                table.writerow((name, *cell, f"{printed:.{d}f}", f"{computed:.{d}f}"))
    return text.getvalue()


def figure8_plots(dark: bool) -> dict[tuple[str, str], figure]:
    """The heatmaps by method and key, with the sums that the paper prints."""
    return {(panel.method, panel.key): _heatmap(panel, dark) for panel in figure8()}


def _heatmap(panel: PrintedMatrix, dark: bool) -> figure:
    n, d = len(panel.matrix), panel.decimals
    p = style.plot(
        f"figure8-{panel.method}-{panel.key}",
        "",
        "",
        (-0.5, n + 0.6),
        y_range=Range1d(n + 0.6, -0.5),
        title=f"{NAMES[panel.method]}, {panel.title}",
    )
    p.title.text_font_size = "17px"
    p.axis.visible = p.grid.visible = False
    p.min_border_left = 14
    row, column = np.divmod(np.arange(n * n), n)
    entries = ColumnDataSource(
        {
            "x": column,
            "y": row,
            "row": row + 1,
            "column": column + 1,
            "shade": panel.matrix.ravel() / max(1.0, np.abs(panel.matrix).max()),
            "text": [_number(value, d) for value in panel.matrix.flat],
        }
    )
    edge, along = np.full(n, n + 0.1), np.arange(n)
    sums = ColumnDataSource(
        {
            "x": np.concatenate([edge, along]),
            "y": np.concatenate([along, edge]),
            "text": [_number(value, d) for value in (*panel.row_sums, *panel.column_sums)],
        }
    )
    cells = style.draw(p, entries, tinted(shades(dark)))
    look = {"x": "x", "y": "y", "text": "text", "text_align": "center", "text_baseline": "middle"}
    look |= {"text_font_size": "16px", "text_color": style.ink(dark)}
    style.draw(p, entries, Text(**look))
    style.draw(p, sums, Text(text_font_style="bold", **look))
    tooltips = [("row, column", "@row, @column"), ("printed", "@text")]
    p.add_tools(HoverTool(renderers=[cells], tooltips=tooltips, attachment="horizontal"))
    return p


def _panel(panel: Panel) -> str:
    matrix, d = panel.matrix, panel.decimals
    scale = float(np.abs(matrix).max()) or 1.0
    row_sums: Iterable[float | None] = repeat(None, len(matrix))
    column_sums: Iterable[float | None] = repeat(None, len(matrix))
    if panel.row_sums is not None and panel.column_sums is not None:
        row_sums, column_sums = panel.row_sums, panel.column_sums
    head = "".join(f'<th scope="col">{j + 1}</th>' for j in range(matrix.shape[1]))
    body = "".join(
        f'<tr><th scope="row">{i + 1}</th>'
        + "".join(_cell(v, v / scale, d) for v in row)
        + _sum(printed, row.sum(), d)
        + "</tr>"
        for i, (row, printed) in enumerate(zip(matrix, row_sums, strict=True))
    )
    sums = "".join(
        _sum(printed, computed, d)
        for printed, computed in zip(column_sums, matrix.sum(axis=0), strict=True)
    )
    return (
        f'<div><table class="fig8-matrix"><caption>{panel.title}</caption>'
        f'<thead><tr><td></td>{head}<th scope="col">Σ</th></tr></thead>'
        f'<tbody>{body}<tr><th scope="row">Σ</th>{sums}<td></td></tr></tbody></table>'
        f'<dl class="fig8-gain">{_gain("forward", panel.largest(0), d)}'
        f"{_gain('backward', panel.largest(1), d)}</dl></div>"
    )


def _gain(direction: str, largest: float, decimals: int) -> str:
    return f"<div><dt>{direction}</dt><dd>{_number(largest, decimals)}</dd></div>"


def _number(value: float, decimals: int) -> str:
    # A sum of rounded entries such as -0.00 is zero, and a minus sign is not a hyphen.
    return f"{round(float(value), decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _cell(value: float, shade: float, decimals: int) -> str:
    side, percent = ("pos" if shade >= 0 else "neg"), round(abs(shade) * 100)
    return f'<td class="{side}" style="--shade:{percent}%">{_number(value, decimals)}</td>'


def _sum(printed: float | None, computed: float, decimals: int) -> str:
    if printed is None:
        return f'<td class="sum"><b>{_number(computed, decimals)}</b></td>'
    return (
        f'<td class="sum"><b>{_number(printed, decimals)}</b>'
        f'<span class="fig8-computed">{_number(computed, decimals)}</span></td>'
    )


def _gains(panels: Sequence[tuple[str, Panel]]) -> str:
    def gain(panel: Panel, direction: str, definition: str) -> str:
        return f"<td>{_number(amax_gain(panel.matrix, direction, definition), panel.decimals)}</td>"

    def printed(panel: Panel, axis: int) -> str:
        known = panel.row_sums is not None
        return f"<td>{_number(panel.largest(axis), panel.decimals) if known else UNKNOWN}</td>"

    rows = "".join(
        f'<tr><th scope="row">{escape(name)}, {p.title}</th>'
        + printed(p, 0)
        + gain(p, "forward", "paper")
        + gain(p, "forward", "worst-case")
        + printed(p, 1)
        + gain(p, "backward", "paper")
        + gain(p, "backward", "worst-case")
        + "</tr>"
        for name, p in panels
    )
    return (
        '<div class="scroll"><table class="fig8-gains"><caption>Amax gain in both definitions. '
        "“Largest |sum|” is the paper’s reading; the induced norm is the worst case over all "
        "inputs, and is larger where signs cancel.</caption>"
        '<thead><tr><td></td><th colspan="3" scope="colgroup">Forward (rows)</th>'
        '<th colspan="3" scope="colgroup">Backward (columns)</th></tr>'
        '<tr><th scope="col">Matrix</th>'
        + 2
        * (
            '<th scope="col">printed largest |sum|</th><th scope="col">computed</th>'
            '<th scope="col">induced norm</th>'
        )
        + f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )

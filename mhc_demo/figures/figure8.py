"""Figure 8 of the mHC paper as a page: real matrices of a 27B model, printed beside computed.

Plain HTML tables rather than plots: the numbers are the point, a screen reader can walk them,
and a browser can search and copy them.  In a lecture it is the gains that are to be read, so each
matrix has its two below it there, in place of prose and of the table of gains: `static/mhc.css`
shows the one or the other.
"""

from __future__ import annotations

import csv
import io
from html import escape
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ..gains import amax_gain
from ..paper import PrintedMatrix, figure8, figure8_source

NAMES = {"hc": "HC", "mhc": "mHC"}


def figure8_html() -> str:
    """Both rows of Figure 8 and the table of gains, as an HTML fragment."""
    panels = figure8()
    rows = "".join(
        f'<section class="{method}"><h3>{NAMES[method]}</h3><div class="fig8-panels">'
        + "".join(_panel(p) for p in panels if p.method == method)
        + "</div></section>"
        for method in NAMES
    )
    return (
        '<div class="fig8-frame"><article class="fig8">'
        '<p class="prose">Not random: mixing matrices of a trained 27B model. Each composite '
        "multiplies the layers it names. Beside each row its sum (forward gain), below each column "
        "its sum (backward gain): <b>printed</b> in the paper, and "
        '<span class="fig8-computed">computed</span> here from the printed entries, which are '
        "rounded to two decimals (one in the large composites); so the last digit may differ.</p>"
        f"{rows}{_gains(panels)}"
        "<p class='save'>Figure 8, matrices and sums "
        "<a download='mhc-figure-8.csv' aria-label='Save Figure 8, matrices and sums as CSV' "
        f"href='data:text/csv;charset=utf-8,{quote(figure8_csv())}'>CSV</a></p>"
        f'<p class="source">Source: {escape(figure8_source())}.</p></article></div>'
    )


def figure8_csv() -> str:
    """Every number of Figure 8: the entries, and the sums as printed and as computed from them."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("series", "row", "column", "printed", "computed"))
    for panel in figure8():
        name, d = f"{NAMES[panel.method]}, {panel.title}", panel.decimals
        for i, row in enumerate(panel.matrix, 1):
            table.writerows((name, i, j, f"{v:.{d}f}", "") for j, v in enumerate(row, 1))
        both = (panel.row_sums, panel.matrix.sum(1)), (panel.column_sums, panel.matrix.sum(0))
        for axis, sums in enumerate(both):
            for k, (printed, computed) in enumerate(zip(*sums, strict=True), 1):
                where = ("Σ", k) if axis else (k, "Σ")
                table.writerow((name, *where, f"{printed:.{d}f}", f"{computed:.{d}f}"))
    return text.getvalue()


def _panel(panel: PrintedMatrix) -> str:
    matrix, d = panel.matrix, panel.decimals
    scale = float(np.abs(matrix).max())
    head = "".join(f'<th scope="col">{j + 1}</th>' for j in range(matrix.shape[1]))
    body = "".join(
        f'<tr><th scope="row">{i + 1}</th>'
        + "".join(_cell(v, v / scale, d) for v in row)
        + _sum(panel.row_sums[i], row.sum(), d)
        + "</tr>"
        for i, row in enumerate(matrix)
    )
    sums = "".join(
        _sum(printed, computed, d)
        for printed, computed in zip(panel.column_sums, matrix.sum(axis=0), strict=True)
    )
    return (
        f'<div><table class="fig8-matrix"><caption>{panel.title}</caption>'
        f'<thead><tr><td></td>{head}<th scope="col">Σ</th></tr></thead>'
        f'<tbody>{body}<tr><th scope="row">Σ</th>{sums}<td></td></tr></tbody></table>'
        f'<dl class="fig8-gain">{_gain("forward", panel.row_sums, d)}'
        f"{_gain('backward', panel.column_sums, d)}</dl></div>"
    )


def _gain(direction: str, printed: NDArray[np.float64], decimals: int) -> str:
    largest = _number(np.abs(printed).max(), decimals)
    return f"<div><dt>{direction}</dt><dd>{largest}</dd></div>"


def _number(value: float, decimals: int) -> str:
    # A sum of rounded entries such as -0.00 is zero, and a minus sign is not a hyphen.
    return f"{round(float(value), decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _cell(value: float, shade: float, decimals: int) -> str:
    side, percent = ("pos" if shade >= 0 else "neg"), round(abs(shade) * 100)
    return f'<td class="{side}" style="--shade:{percent}%">{_number(value, decimals)}</td>'


def _sum(printed: float, computed: float, decimals: int) -> str:
    return (
        f'<td class="sum"><b>{_number(printed, decimals)}</b>'
        f'<span class="fig8-computed">{_number(computed, decimals)}</span></td>'
    )


def _gains(panels: tuple[PrintedMatrix, ...]) -> str:
    def gain(panel: PrintedMatrix, direction: str, definition: str) -> str:
        return f"<td>{_number(amax_gain(panel.matrix, direction, definition), panel.decimals)}</td>"

    rows = "".join(
        f'<tr><th scope="row">{NAMES[p.method]}, {p.title}</th>'
        + f"<td>{_number(np.abs(p.row_sums).max(), p.decimals)}</td>"
        + gain(p, "forward", "paper")
        + gain(p, "forward", "worst-case")
        + f"<td>{_number(np.abs(p.column_sums).max(), p.decimals)}</td>"
        + gain(p, "backward", "paper")
        + gain(p, "backward", "worst-case")
        + "</tr>"
        for p in panels
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

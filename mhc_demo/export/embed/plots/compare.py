"""The table of all projections and the plots of those that are pinned, as the page has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....figures import CompareFigure, words
from ....figures.compare import (
    FREE,
    GROUPS,
    MOST_PINNED,
    QUANTITIES,
    compared,
    matrices_for_browser,
    strokes_for_browser,
)
from ....figures.packed import GAINS, PLAIN, Cells, Floats
from ....numerics.comparison import MIXING, layer_under_each
from ....numerics.projections import PROJECTIONS
from ....story.comparing import COLUMNS, account_of, rows_of
from .base import PackedSource, Plot


class Compare(Plot):
    """All projections on the same networks.

    Times are not among its numbers: a file has no machine to speak of.
    """

    name = "compare"
    view = "compare"
    title = "Projections"
    group = "Compare"
    of_projection = False
    scripts = ("compare.js",)
    styles = ("compare.css",)

    def build(self) -> None:
        request = self.request
        if len(request.experiments) > 1:
            raise ValueError("plots: compare can be shown for one number of streams only")
        self.experiment = request.experiments[0]
        self.found = compared(self.experiment, **request.limits)
        picture = CompareFigure(self.found, request.position, pinned=request.pinned)
        gains = [name for name in QUANTITIES if name not in MIXING]
        shares = [name for name in QUANTITIES if name in MIXING]
        of_gains = (*GAINS, within(self.found.attrs["streams"]))
        for group, table in zip(GROUPS, picture.tables, strict=True):
            for wanted, cells in ((gains, of_gains), (shares, PLAIN)):
                columns = group.columns(self.found, wanted, float)
                self.packed.append(PackedSource(table, [columns], cells))
        self.figures = picture.figures

    def said(self, i: int) -> dict[str, Any]:
        matrices = layer_under_each(
            self.experiment, self.request.layer, iterations=self.request.limits["iterations"]
        )
        return {
            "compared": {
                "rows": rows_of(PROJECTIONS.values()),
                "columns": [each for each in COLUMNS if each["manner"] != "time"],
                "strokes": strokes_for_browser(),
                "streams": self.experiment.streams,
                "chosen": self.experiment.projection,
                "pinned": list(self.request.pinned),
                "free": FREE,
                "most": MOST_PINNED,
                "matrices": matrices_for_browser(matrices),
                "layer": self.request.layer,
            }
        }

    def legend(self) -> list[words.Entry]:
        return []

    def note(self, i: int) -> str:
        return (
            f"{account_of(self.found.attrs, self.experiment.members)} How long a projection takes "
            "is measured where the page is served, and is not among these numbers."
        )

    def html(self) -> str:
        return (
            '<div class="comparison"></div><div class="lines"><div class="scale"></div></div>'
            f'{super().html()}<div class="each"></div>'
        )


def within(streams: int) -> Cells:
    """The cells of norms that are said to be within n, and of those that are not."""
    most = math.log10(streams) + 1e-6  # as in static/compare.js

    def cells(norms: Floats) -> tuple[Floats, Floats]:
        inside = norms <= most
        return np.where(inside, -np.inf, most), np.where(inside, most, np.inf)

    return cells

"""Two scales of every axis of gains: all of them, or those near gain 1.

On an axis that reaches 10^35, 1.13 cannot be told from 1.  A range that can change holds both ends
of both scales in its tags; `static/scale.js` exchanges them in the browser, and fits the range
anew when Python sends other tags.
"""

from __future__ import annotations

from bokeh.models import CustomJS, Range1d

SCALES = {"full": "Full", "near": "Near 1"}
"""The titles of the scales by their names; the first is the usual one."""

NEAR = (-0.35, 0.35)
"""Gains of 0.45 to 2.2, the same in every plot; curves beyond them are clipped."""


def gain_range(full: tuple[float, float]) -> Range1d:
    """The y range of a plot of log10 gains, with `full` as its full scale."""
    y_range = Range1d(syncable=False)  # which scale it shows is the browser's
    y_range.js_on_change("tags", CustomJS(code="mhc.fit(cb_obj)"))
    set_full(y_range, full)
    return y_range


def set_full(y_range: Range1d, full: tuple[float, float]) -> None:
    """Give a range another full scale; a browser that shows the other scale keeps that."""
    y_range.start, y_range.end = full
    y_range.tags = [{"full": list(full), "near": list(NEAR)}]

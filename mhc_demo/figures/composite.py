"""The two plots of the first view: composite gain against depth, and against iterations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, Line, NoOverlap, Range1d, Scatter, Segment

from ..numerics.gains import DIRECTIONS
from . import scale, style
from .contents import Column, Series, described, log10, medians
from .curves import (
    BOTH,
    NETWORKS,
    both_directions,
    chosen_iterations,
    curve_and_band,
    curve_series,
    depth_plot,
    gain_hover,
)
from .slices import Position, sliced
from .words import MEAN_THEORY

MARKERS = ["circle", "diamond"]
"""The dots of each direction, as the legend shows them."""


class CompositeFigure:
    """Composite Amax gain against depth: identity, HC, the projection, bands, theory."""

    def __init__(self, surface: xr.Dataset, table: ColumnDataSource, state: Position) -> None:
        depths = surface["depth"].values
        self.y_range = scale.gain_range(gain_range(surface))
        p = depth_plot(
            "composite",
            "Depth (layers)",
            "Composite Amax gain",
            int(depths[-1]),
            state,
            late=False,
            y_range=self.y_range,
        )
        style.powers_of_ten(p)
        p.add_layout(style.identity_line())
        along = Column("depth", "depth")
        series = []
        for network in NETWORKS:
            source = sliced(table, "row", both_directions(), state, **network.options)
            source.data["depth"] = depths
            lines = [
                curve_and_band(p, source, network, direction, "depth", state, late=False)
                for direction in DIRECTIONS
            ]
            fields = [("", network.name), *BOTH, ("layers", "@depth")]
            gain_hover(p, lines[:1], fields, attachment=network.hover)
            series += [curve_series(source, network, d, along) for d in DIRECTIONS]
        self.theory = ColumnDataSource(theory_columns(surface))
        theory = Line(
            x="depth", y="expected", line_color=style.THEORY, line_width=2, line_dash=[3, 3]
        )
        style.draw(p, self.theory, theory)
        for network in NETWORKS:
            cells = [(f"{direction}.median", network.options.get("at")) for direction in DIRECTIONS]
            dots = sliced(table, "cells", {"y": cells, "x": [("@depth", None)] * len(cells)}, state)
            dots.data["marker"] = MARKERS
            dot = Scatter(
                x="x",
                y="y",
                marker={"field": "marker"},
                fill_color=network.colour,
                line_color=network.colour,
                size=10,
            )
            # The depth slider moves HC's dots too.
            moving = replace(network, level=style.MOVING)
            moving.draw(p, dots, dot, state, late=False)
        expected = Series(
            MEAN_THEORY,
            self.theory,
            along,
            [log10("expected", "expected")],
            colour=style.THEORY,
            dash=[3, 3],
        )
        title = "Composite Amax gain against depth"
        described(p, title, *series, expected, along="depth")
        self.figure = p

    def update(self, surface: xr.Dataset) -> None:
        """Follow a new surface; the browser cuts the lines anew."""
        scale.set_full(self.y_range, gain_range(surface))
        columns = theory_columns(surface)
        now = self.theory.data
        if not all(np.array_equal(now[k], columns[k], equal_nan=True) for k in columns):
            self.theory.data = columns


class IterationsFigure:
    """Composite Amax gain against Sinkhorn iterations at the chosen depth: the cliff."""

    def __init__(
        self, surface: xr.Dataset, table: ColumnDataSource, state: Position, y_range: Range1d
    ) -> None:
        counts = surface["iterations"].values
        p = style.plot(
            "iterations",
            "Sinkhorn iterations",
            "Gain at that depth",
            (-0.8, float(counts[-1]) + 0.8),
            y_range=y_range,
        )
        style.powers_of_ten(p)
        p.xaxis.ticker = [0, 1, 5, 10, 15, 20, 25, 30]
        p.xaxis.major_label_policy = NoOverlap(min_distance=2)
        p.add_layout(chosen_iterations(state))
        p.add_layout(style.identity_line())
        source = sliced(table, "column", both_directions(), state, late=True)
        colours = [style.HC] + [style.PROJECTED] * (len(counts) - 1)
        source.data.update(iterations=counts, colour=colours)
        dots = []
        for direction in DIRECTIONS:
            median, low, high = (f"{direction}_{q}" for q in ("median", "q05", "q95"))
            curve = Line(
                x="iterations",
                y=median,
                line_color=style.PROJECTED,
                line_width=2,
                line_dash=style.DASH[direction],
            )
            style.draw(p, source, curve, style.MOVING)
            bars = Segment(
                x0="iterations",
                y0=low,
                x1="iterations",
                y1=high,
                line_color="colour",
                line_width=1.5,
            )
            style.draw(p, source, bars, style.MOVING)
            dot = Scatter(
                x="iterations",
                y=median,
                fill_color="colour",
                line_color="colour",
                size=8,
                marker="circle" if direction == "forward" else "diamond",
            )
            dots.append(style.draw(p, source, dot, style.MOVING))
            dots[-1].name = direction
        gain_hover(p, dots[:1], [("iterations", "@iterations"), *BOTH])
        series = [
            Series(
                direction,
                source,
                Column("iterations", "iterations"),
                medians(*(f"{direction}_{q}" for q in ("median", "q05", "q95"))),
                band=True,
                colour=style.PROJECTED,
                dash=style.DASH[direction],
            )
            for direction in DIRECTIONS
        ]
        described(p, "Composite Amax gain against iterations", *series, along="iterations")
        self.figure = p


def gain_range(surface: xr.Dataset) -> tuple[float, float]:
    """A y range that holds every depth and iteration count, so that no slider moves it."""
    gains = surface["log10_gain"]
    names = list(gains["series"].values)
    return style.span_of(gains.values[..., [names.index("q05"), names.index("q95")]])


def theory_columns(surface: xr.Dataset) -> dict[str, np.ndarray]:
    """The mean of HC's log10 gain; NaN, and so not drawn, if no theory is known."""
    return {"depth": surface["depth"].values, "expected": surface["expected_log10_gain"].values}

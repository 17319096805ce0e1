"""The two plots of the first view: composite gain against depth, and against iterations."""

from __future__ import annotations

import numpy as np
import xarray as xr
from bokeh.models import BoxAnnotation, ColumnDataSource, CustomJSHover, Range1d, Span
from bokeh.plotting import figure

from . import style
from .slices import State, follows, sliced

BAND = ("q05", "q95")
DIRECTIONS = ("forward", "backward")
GAIN = CustomJSHover(code="return mhc.exact(value)")


class CompositeFigure:
    """Composite Amax gain against depth: identity, HC, the projection, bands, theory."""

    def __init__(self, surface: xr.Dataset, table: ColumnDataSource, state: State) -> None:
        depths = surface["depth"].values
        self.y_range = Range1d(*gain_range(surface))
        p = style.plot(
            "composite",
            "Depth (layers)",
            "Composite Amax gain",
            (0, float(depths[-1]) + 1),
            y_range=self.y_range,
        )
        style.powers_of_ten(p)
        p.xaxis.ticker = [1, 16, 32, 48, 64, 80, 96, 112, 128]
        beyond = BoxAnnotation(
            left=state["depth"], fill_color=style.SHADE, fill_alpha=0.1, level="underlay"
        )
        p.add_layout(follows(beyond, "left", "@depth"))
        p.add_layout(style.identity_line())
        self.theory = ColumnDataSource(theory_columns(surface))
        rows = {
            "HC": (style.HC, {"at": 0}),
            "projected": (style.PROJECTED, {}),
        }
        for colour, options in rows.values():
            for direction in DIRECTIONS:
                low, high = (f"{direction}.{q}" for q in BAND)
                source = sliced(
                    table,
                    "row",
                    {"gain": f"{direction}.median", "low": low, "high": high},
                    state,
                    **options,
                )
                source.data["depth"] = depths
                if direction == "forward" or options == {}:
                    p.varea("depth", "low", "high", source=source, color=colour, alpha=0.14)
                line = p.line(
                    "depth",
                    "gain",
                    source=source,
                    color=colour,
                    width=3,
                    line_dash=style.DASH[direction],
                )
                name = "HC" if options else "projected"
                p.add_tools(
                    style.hover(
                        [line],
                        [
                            (f"{name}, {direction}", "@gain{custom}"),
                            ("5–95 %", "@low{custom} … @high{custom}"),
                            ("layers", "@depth"),
                        ],
                        formatters={"@gain": GAIN, "@low": GAIN, "@high": GAIN},
                    )
                )
        p.line(
            "depth", "expected", source=self.theory, color=style.THEORY, width=2, line_dash=[3, 3]
        )
        for colour, options in rows.values():
            for direction in DIRECTIONS:
                dot = sliced(
                    table, "cell", {"x": "@depth", "y": f"{direction}.median"}, state, **options
                )
                p.scatter("x", "y", source=dot, color=colour, size=10)
        self.figure = p

    def update(self, surface: xr.Dataset) -> None:
        """Follow a new surface; the lines are cut anew by the browser."""
        self.y_range.update(**dict(zip(("start", "end"), gain_range(surface), strict=True)))
        self.theory.data = theory_columns(surface)


class IterationsFigure:
    """Composite Amax gain against Sinkhorn iterations at the chosen depth: the cliff."""

    def __init__(
        self, surface: xr.Dataset, table: ColumnDataSource, state: State, y_range: Range1d
    ) -> None:
        counts = surface["iterations"].values
        p: figure = style.plot(
            "iterations",
            "Sinkhorn iterations",
            "Composite Amax gain at that depth",
            (-0.8, float(counts[-1]) + 0.8),
            y_range=y_range,
        )
        style.powers_of_ten(p)
        p.xaxis.ticker = [0, 1, 5, 10, 15, 20, 25, 30]
        p.add_layout(
            follows(
                Span(
                    location=state["iterations"],
                    dimension="height",
                    line_color=style.SHADE,
                    line_alpha=0.35,
                    line_width=9,
                ),
                "location",
                "@iterations",
                late=True,
            )
        )
        p.add_layout(style.identity_line())
        colours = [style.HC] + [style.PROJECTED] * (len(counts) - 1)
        for direction in DIRECTIONS:
            source = sliced(
                table,
                "column",
                {
                    "gain": f"{direction}.median",
                    "low": f"{direction}.q05",
                    "high": f"{direction}.q95",
                },
                state,
                late=True,
            )
            source.data.update(iterations=counts, colour=colours)
            p.line(
                "iterations",
                "gain",
                source=source,
                color=style.PROJECTED,
                width=2,
                line_dash=style.DASH[direction],
            )
            p.segment(
                "iterations", "low", "iterations", "high", source=source, color="colour", width=1.5
            )
            dots = p.scatter(
                "iterations",
                "gain",
                source=source,
                color="colour",
                size=8,
                marker="circle" if direction == "forward" else "diamond",
            )
            p.add_tools(
                style.hover(
                    [dots],
                    [
                        (f"{direction}", "@gain{custom}"),
                        ("5–95 %", "@low{custom} … @high{custom}"),
                        ("iterations", "@iterations"),
                    ],
                    formatters={"@gain": GAIN, "@low": GAIN, "@high": GAIN},
                )
            )
        self.figure = p


def gain_range(surface: xr.Dataset) -> tuple[float, float]:
    """The y range that holds every depth and iteration count, so that no slider moves it."""
    return style.span_of(surface["log10_gain"].sel(series=["q05", "q95"]).values)


def theory_columns(surface: xr.Dataset) -> dict[str, np.ndarray]:
    """The exact mean of HC's log10 gain; NaN, and so not drawn, where no theory is known."""
    return {"depth": surface["depth"].values, "expected": surface["expected_log10_gain"].values}

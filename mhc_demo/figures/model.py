"""What the figures of a model of one's own have beyond those of random networks.

A model has its own number of layers, one set of matrices and no iterations to choose, so its tables
have rows of another kind: the two definitions of the gain.  And it has tokens, of which each has
its own sums and its own logits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool, Line, Range1d, Scatter, Span, VArea
from numpy.typing import NDArray

from . import style
from .contents import Column, Series, described
from .curves import Network, depth_plot
from .layers import Told
from .matrices import Panel
from .slices import Position

ALONG = "own_layer"
"""The slider: the layer of one's own model."""
WHERE = f"layer {{{ALONG}}}"

NETWORKS = (
    Network("induced norm", style.THEORY, "right", "glyph", {"at": 1}),
    Network("largest |sum|", style.OWN, "left", "glyph", {"at": 0}),
)
"""The two definitions, by their rows in a table of gains.  Where no entry is negative they
coincide, and the second lies on the first."""

PANELS: tuple[Panel, ...] = (
    ("layer", 0, f"Layer {{{ALONG}}}"),
    ("composite", 0, f"Composite 1–{{{ALONG}}}"),
)
CALLED: dict[int | None, str] = {0: "own"}


def told(name: str, label: str, title: str) -> Told:
    """How a plot of the gains of one's own model is called."""
    mean = "mean over tokens"
    return Told(name, label, title, dots="mean", dots_are=mean, here=mean, along=ALONG, where=WHERE)


class SumsFigure:
    """Row and column sums of each layer: the range over tokens and streams, and the mean."""

    def __init__(self, sums: xr.DataArray, state: Position) -> None:
        low, high = _range(sums.sel(series=["smallest", "largest"]).values, least=0.1)
        p = depth_plot(
            *("own-sums", "Layer", "Sums of H_res", int(sums["layer"][-1]), state),
            late=True,
            along=ALONG,
            y_range=Range1d(low, high),
        )
        p.add_layout(Span(location=1, dimension="width", line_color=style.IDENTITY, line_width=2))
        series = []
        for axis, dash in (("row", "forward"), ("column", "backward")):
            values = {
                name: sums.sel(axis=axis, series=name).values
                for name in ("mean", "smallest", "largest")
            }
            source = ColumnDataSource({"layer": sums["layer"].values, **values})
            band = VArea(x="layer", y1="smallest", y2="largest", fill_color=COLOURS[axis])
            band.fill_alpha = 0.15
            style.draw(p, source, band)
            for name, width in (("smallest", 1.5), ("largest", 1.5), ("mean", 3)):
                line = Line(x="layer", y=name, line_color=COLOURS[axis], line_width=width)
                line.line_dash = style.DASH[dash]
                drawn = style.draw(p, source, line)
            drawn.name = f"{axis} sums"
            tips = [("", f"{axis} sums"), ("mean", "@mean{0.000}")]
            tips += [("range", "@smallest{0.000} … @largest{0.000}"), ("layer", "@layer")]
            side = "left" if axis == "row" else "right"
            p.add_tools(HoverTool(renderers=[drawn], tooltips=tips, mode="vline", attachment=side))
            columns = [Column(name, name) for name in values]
            look: dict[str, Any] = {"colour": COLOURS[axis], "dash": style.DASH[dash]}
            layer = Column("layer", "layer")
            series.append(Series(f"{axis} sums", source, layer, columns, band=True, **look))
        title = "Row and column sums of H_res against the layer"
        self.figure = described(p, title, *series, along=ALONG, where=WHERE)


COLOURS = {"row": style.PLUS, "column": style.MINUS}

NO_LOGITS = "These matrices are no projected ones:\nthere are no logits to know."


class NeededFigure:
    """How many Sinkhorn iterations the logits of each layer need, beside how many are usual."""

    def __init__(
        self, needed: NDArray[np.float64], usual: int, most: int, within: str, state: Position
    ) -> None:
        shown = np.minimum(needed, most)
        top = max(1.5 * usual, float(np.nanmax(shown, initial=0.0)) * 1.05)
        layers = np.arange(1, len(needed) + 1)
        p = depth_plot(
            *("own-needed", "Layer", f"Iterations to {within}", len(needed), state),
            late=True,
            along=ALONG,
            y_range=Range1d(0, top),
        )
        p.add_layout(
            Span(location=usual, dimension="width", line_color=style.IDENTITY, line_width=2)
        )
        words = [f"more than {most}" if n > most else f"{n:.0f}" for n in np.nan_to_num(needed)]
        source = ColumnDataSource({"layer": layers, "needed": shown, "words": words})
        look = {"x": "layer", "y": "needed", "line_color": style.OWN}
        style.draw(p, source, Line(line_width=1.5, line_alpha=0.5, **look))
        dots = style.draw(p, source, Scatter(size=7, fill_color=style.OWN, **look))
        dots.name = "iterations"
        tips = [("iterations", "@words"), ("layer", "@layer")]
        p.add_tools(HoverTool(renderers=[dots], tooltips=tips, attachment="horizontal"))
        self.unknown = style.why_empty(p, NO_LOGITS, (len(needed) + 1) / 2, top / 2)
        self.unknown.visible = bool(np.isnan(needed).all())
        series = Series(
            "iterations needed",
            source,
            Column("layer", "layer"),
            [Column("iterations", "needed")],
            colour=style.OWN,
        )
        title = f"Sinkhorn iterations until all sums are within {within} of 1"
        self.figure = described(p, title, series, along=ALONG, where=WHERE)


def _range(values: NDArray[np.float64], least: float) -> tuple[float, float]:
    """Around 1, and at least +-`least`."""
    low, high = min(float(values.min()), 1 - least), max(float(values.max()), 1 + least)
    margin = 0.05 * (high - low)
    return low - margin, high + margin

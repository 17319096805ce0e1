"""From surfaces to Bokeh figures; nothing here knows Panel.

A figure draws from tables (`slices.py`): the browser holds the whole surface and slices it while
a slider moves, so a figure declares what it selects and never computes.
"""

from .compare import CompareFigure
from .composite import CompositeFigure, IterationsFigure
from .figure8 import figure8_html
from .histogram import HistogramFigure
from .layers import LayerAxisFigure, LayersFigure
from .matrices import MatricesFigure
from .mixing import MixingFigure
from .phase import PhaseFigure
from .signal import SignalFigure
from .sinkhorn import SinkhornFigure

__all__ = [
    "CompareFigure",
    "CompositeFigure",
    "HistogramFigure",
    "IterationsFigure",
    "LayerAxisFigure",
    "LayersFigure",
    "MatricesFigure",
    "MixingFigure",
    "PhaseFigure",
    "SignalFigure",
    "SinkhornFigure",
    "figure8_html",
]

"""The derivative of whole networks, branches included, beside the composite of H_res alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
from bokeh.plotting import figure

from ...lab.jacobian import recorded_jacobians
from ...lab.whole import jacobian_figures, jacobian_legend, jacobian_note, jacobian_table
from .base import View, html, legend, note, paragraph, plots

if TYPE_CHECKING:
    from ..state import State

SNIPPET = """\
import numpy as np
from mhc_demo.lab.jacobian import recorded_jacobians

found = recorded_jacobians()
for stage, norms in found.norms.items():
    for measure in norms:
        for connection in found.connections:
            log10 = np.median(found.last(stage, measure, connection))
            print(f"{stage}, {measure}, {connection}: 10^{log10:.2f}")
"""


class JacobianView(View):
    """The lab's networks before and after training."""

    name = "jacobian"
    title = "Whole network"
    group = "Training"
    of_experiment = False

    @staticmethod
    def snippet(state: State) -> str:
        return SNIPPET

    @staticmethod
    def told(state: State) -> str:
        found = recorded_jacobians()
        return paragraph(jacobian_note(found)) + jacobian_table(found)

    def build(self, data: Any) -> Any:
        found = recorded_jacobians()
        self.drawn = jacobian_figures(found)
        table = html(jacobian_table(found))
        table.styles = {**table.styles, "display": "var(--mhc-more, block)"}
        return pn.Column(
            html(legend(jacobian_legend())),
            plots(*self.drawn.values()),
            note(jacobian_note(found)),
            table,
            sizing_mode="stretch_width",
            margin=0,
        )

    def figures(self) -> list[figure]:
        return list(self.drawn.values())

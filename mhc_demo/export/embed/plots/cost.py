"""What a layer moves and stores, as the papers count it."""

from __future__ import annotations

from ....figures import words
from ....figures.cost import activations_html, overhead_html, released_html, traffic_html
from ....numerics.paper import TABLE_5
from .base import Plot


class Cost(Plot):
    """The paper's counts of what a layer moves and stores, for its 27B model.

    The page also measures the projection on its server; a file has no machine to speak of.
    """

    name = "cost"
    view = "cost"
    title = "Cost"
    group = "Cost"
    of_experiment = False

    def legend(self) -> list[words.Entry]:
        return []

    def html(self) -> str:
        model = TABLE_5["27B"]
        sizes = model.streams, model.width
        tables = traffic_html(*sizes) + activations_html(*sizes, model.residual_layers, 2)
        counts = f'<div class="counts">{tables}</div>{overhead_html(timed=False)}'
        return f'{counts}<div class="counts more">{released_html()}</div>'

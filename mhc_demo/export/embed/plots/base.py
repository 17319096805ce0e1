"""What a plot of a standalone file is, and what all plots of a file share.

A plot is built once, and holds its columns for every number of streams; the reader's choice fills
its sources with other columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from ....figures import words
from ....figures.packed import GAINS, Cells
from ....figures.slices import gain_columns, table
from ....numerics.surface import gain_surface, layer_gains

if TYPE_CHECKING:
    from ..request import EmbedRequest


@dataclass(frozen=True)
class Choice:
    """What the reader of a site chooses for one view alone."""

    name: str
    """In links."""
    label: str
    titles: Mapping[str, Any]
    """The values by their titles, the usual one first."""


@dataclass(frozen=True)
class PackedSource:
    """A source whose columns the file holds packed, one set of them for each number of streams."""

    source: ColumnDataSource
    columns: Sequence[Mapping[str, Any]]
    cells: Sequence[Cells] = GAINS
    row: int = 0
    """How many numbers are a row for `figures.packed.pack`, if not all at one iteration count."""


class Shared:
    """The gain surfaces of a request, and the table of them that plots and headline read."""

    def __init__(self, request: EmbedRequest, surfaces: Sequence[xr.Dataset] = ()) -> None:
        self.request = request
        self.surfaces = list(surfaces) or self.measure(gain_surface)
        first = self.surfaces[0]
        columns = [gain_columns(each["log10_gain"], dtype=float) for each in self.surfaces]
        self.table = table(
            columns[0],
            first["iterations"].values,
            first["depth"].values,
            position={**request.position, "scale": request.scale},
        )
        self.packed = PackedSource(self.table, columns)

    @cached_property
    def layers(self) -> list[xr.DataArray]:
        """The gains of single layers."""
        return self.measure(layer_gains)

    def measure(self, compute: Callable[..., Any], **options: Any) -> list[Any]:
        """What a function of `surface.py` returns, for each number of streams."""
        request = self.request
        options = {**request.limits, "device": request.device, **options}
        return [compute(experiment, **options) for experiment in request.experiments]


PLOTS: dict[str, type[Plot]] = {}
"""Every plot that a file can hold, by its name."""


def plots_of(view: str) -> list[str]:
    """The plots of a view of the page.

    Raises ValueError for a view that needs the server, or has no plot.
    """
    found = [name for name, plot in PLOTS.items() if plot.view == view]
    if not found:
        views = ", ".join(dict.fromkeys(plot.view for plot in PLOTS.values()))
        raise ValueError(f"the view {view!r} cannot be exported; these can: {views}")
    return found


class Plot:
    """A plot, or a few that belong together, and the words around them."""

    name: ClassVar[str]
    view: ClassVar[str]
    """The page's view that has it; the plots of one view stand side by side."""
    title: ClassVar[str] = ""
    """That of the view, by which a site has a door to it; of its plots the first has it."""
    group: ClassVar[str] = ""
    """The group of the view, in `story.doors.QUESTIONS`."""
    fixed: ClassVar[str] = ""
    """The part of the position that no slider may move, as the file holds one value of it."""
    share: ClassVar[int] = 1
    """Its part of the width beside other plots."""
    square: ClassVar[bool] = False
    """Whether it shows matrices, whose file grows with n^2 at every layer."""
    of_experiment: ClassVar[bool] = True
    """Whether it shows the experiment, so that the caption says which."""
    of_projection: ClassVar[bool] = True
    """Whether it shows the experiment's own projection, and not all of them."""
    of_gains: ClassVar[bool] = False
    """Whether its axis of gains has two scales: see `figures.scale`."""
    scripts: ClassVar[Sequence[str]] = ()
    """What it needs of `static/` beyond the scripts of every file."""
    styles: ClassVar[Sequence[str]] = ()
    """The style sheets of `static/` that it alone needs."""
    choices: ClassVar[Sequence[Choice]] = ()
    """What a site lets its reader choose beside the experiment."""

    def __init_subclass__(cls) -> None:
        PLOTS[cls.name] = cls

    def __init__(self, shared: Shared) -> None:
        self.shared, self.request = shared, shared.request
        self.packed: list[PackedSource] = []
        self.sliders: dict[str, Any] = {}
        """Those of the plot's own, beside depth and iterations."""
        self.figures: list[figure] = []
        self.build()
        self.figures = [each for each in self.figures if each.name not in self.request.hidden]

    def build(self) -> None:
        """Make the figures, and `pack` the sources that they draw from."""

    def pack(
        self, source: ColumnDataSource, columns: Sequence[Any], *cells: Cells, row: int = 0
    ) -> ColumnDataSource:
        """Let the file hold all these columns for a source, which gets the first of them."""
        self.packed.append(PackedSource(source, columns, cells or GAINS, row))
        source.data = dict(columns[0])
        return source

    def legend(self) -> list[words.Entry]:
        """What its lines mean."""
        return words.lines(self.request.experiments[0], self.request.position["iterations"])

    def note(self, i: int) -> str:
        """The words below it, at the i-th number of streams."""
        return ""

    def said(self, i: int) -> dict[str, Any]:
        """What its scripts read at the i-th number of streams, beside the tables."""
        return {}

    @classmethod
    def takes(cls, chosen: Mapping[str, Any]) -> bool:
        """Whether these `choices` can be made together."""
        return True

    def common(self) -> dict[str, str]:
        """What other views or choices show as well: the ids of tables, by a name for each."""
        return {}

    def html(self) -> str:
        """The elements that its figures are put into."""
        return f'<div class="plot" style="--share:{self.share}"></div>' * len(self.figures)


def together(surfaces: Sequence[Any]) -> Any:
    """The surfaces of all numbers of streams as one, for an axis that must hold them all."""
    return xr.concat(surfaces, "streams", combine_attrs="drop")

"""The base of all views, and the few pieces of markup that they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

import panel as pn
import param
import xarray as xr
from bokeh.model import Model
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from ...figures import style, words
from ...figures.slices import recut, ruled
from ...story.glossary import explained
from ..components import ScaleControl
from ..computing import Key, Position
from ..snippet import snippet
from ..static import CSS

if TYPE_CHECKING:
    from ..state import State as PageState

VIEWS: dict[str, type[View]] = {}
"""Every view by its name, in the order of the doors."""

TALL = "clamp(var(--mhc-least, 300px), calc(100vh - var(--mhc-rest, 500px)), 1600px)"
"""Height of a plot: what story, headline, dial and doors leave of the window.  A lecture has no
scroll bar, so there it may be less (see `static/story.js`)."""

UNLIMITED = {"max-height": "none"}
"""Styles of what may be higher than the window: Panel limits it to that, and what follows would
overlap the rest."""

NOT_PRINTED = "@media print { :host { display: none !important; } }"
"""Style of what is there to be pressed."""

WIDE: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (6, 12)}
"""Layout of a control in the column beside the view."""


class Context(Protocol):
    """What a view needs of the explorer that it is part of."""

    state: PageState
    surface: xr.Dataset
    """The gain surface of the experiment that is shown."""
    table: ColumnDataSource
    """The surface as the browser holds it."""

    def large(self) -> float:
        """How large the type of figures is: see `style.set_type`."""


class View:
    """What stands below a door.

    It is built when it is first opened, completed when the page's first picture stands, and then
    follows what happens while it is open: a new experiment, another position, another theme.  After
    it was built, updated or moved, `describe` is called once.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    group: ClassVar[str]
    """The title of its group, in `story.doors.QUESTIONS`."""
    of_experiment: ClassVar[bool] = True
    """Whether it shows the experiment that the controls, the dial and the headline are about."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """The parameters of the page's state that this view alone is about."""
    key: Key | None = None
    """The experiment that the view shows."""
    large = 0.0
    """How large the type of its figures is: see `style.set_type`."""

    def __init_subclass__(cls) -> None:
        VIEWS[cls.name] = cls

    def __init__(self, context: Context, data: Any) -> None:
        self.context = context
        self._ruled: WeakKeyDictionary[figure, list[Model]] = WeakKeyDictionary()
        self.content = self.build(data)
        self.content.styles = {**self.content.styles, **UNLIMITED}
        context.state.param.watch(lambda event: self.recolour(event.new), "dark")
        self.describe()

    # ---- what a view says of itself ----------------------------------------------------------

    @staticmethod
    def compute(key: Key, position: Position) -> Any:
        """What the view shows beside the gain surface; runs on a thread, and may touch no model."""

    @staticmethod
    def settings(state: PageState) -> list[Any]:
        """The controls that replace the experiment's, for a view that is not `of_experiment`."""
        return []

    @staticmethod
    def told(state: PageState) -> str:
        """What stands in its place without scripts, as HTML; by default the composite gains."""
        return ""

    @staticmethod
    def snippet(state: PageState) -> str:
        """A script that prints what the view shows."""
        return snippet({**dict(state.key()), **state.position()})

    # ---- its life ----------------------------------------------------------------------------

    def build(self, data: Any) -> Any:
        """The view, for what `compute` returned."""
        raise NotImplementedError

    def complete(self) -> None:
        """Add what can wait until the first picture stands."""

    def update(self, data: Any) -> None:
        """Show a new experiment."""

    def holds(self, position: Position) -> bool:
        """Whether the browser can show this depth and these iterations with what it holds."""
        return True

    def describe(self) -> None:
        """Write the texts for what is shown now."""

    def recolour(self, dark: bool) -> None:
        """Use the colours of a light or a dark page."""

    def figures(self) -> list[figure]:
        """The Bokeh figures of the view."""
        return []

    # ---- what is the same for all --------------------------------------------------------------

    def recut(self) -> None:
        """Cut the sources for the present position, as the browser did: it will get ours again."""
        self._recut(self.context.state.position())

    def _recut(self, position: Position) -> None:
        for each in self.figures():
            if each not in self._ruled:  # to find them takes longer than to cut them
                self._ruled[each] = ruled(each)
            recut(self._ruled[each], position)

    def set_type(self) -> None:
        """Set the type of the figures to the size of the page's."""
        large = self.context.large()
        if large or self.large:
            for each in self.figures():
                style.set_type(each, large)
        self.large = large


def html(text: str, *css_classes: str) -> pn.pane.HTML:
    """A pane of our own markup; never pass it text from a visitor."""
    return pn.pane.HTML(
        text,
        stylesheets=[CSS],
        css_classes=list(css_classes),
        styles=UNLIMITED,
        sizing_mode="stretch_width",
        margin=0,
    )


def scale_control(state: PageState) -> ScaleControl:
    """The switch of the scale of the gains, one for all plots that have them."""
    control = ScaleControl(scale=state.scale, margin=0, styles={"flex": "0 0 auto"})

    def chosen(event: param.parameterized.Event) -> None:
        try:
            state.scale = event.new
        except ValueError:  # a browser may send anything
            control.scale = state.scale

    control.param.watch(chosen, "scale")
    state.param.watch(lambda event: setattr(control, "scale", event.new), "scale")
    return control


def with_scale(state: PageState, legend: Any) -> pn.Row:
    """A legend, and at the end of its line the switch of the scale."""
    legend.styles = {**legend.styles, "flex": "1 1 300px"}
    return pn.Row(
        legend,
        scale_control(state),
        stylesheets=[":host { flex-wrap: wrap; justify-content: space-between; }"],
        styles=UNLIMITED,
        sizing_mode="stretch_width",
        margin=0,
    )


def paragraph(text: str) -> str:
    """A paragraph, its terms explained."""
    return f"<p>{explained(text)}</p>"


def note(text: str = "") -> pn.pane.HTML:
    """A note below a plot, its terms explained."""
    return html(paragraph(text) if text else "", "note")


def plots(*figures: Any, shares: tuple[int, ...] = (1,), height: str = TALL) -> pn.Row:
    """Figures side by side where there is room, below one another where there is not.

    None keeps a place free for a figure that comes later.
    """
    return pn.Row(
        *(
            pn.Column(
                *([] if figure is None else [plot(figure)]),
                margin=0,
                styles={"flex": f"{share} 1 {260 + 120 * (share > 1)}px", "height": height},
            )
            for figure, share in zip(figures, shares * len(figures), strict=False)
        ),
        stylesheets=[":host { flex-wrap: wrap; }"],
        styles=UNLIMITED,
        sizing_mode="stretch_width",
        margin=0,
    )


def plot(figure: Any) -> pn.pane.Bokeh:
    """A pane of a figure that fills its place."""
    return pn.pane.Bokeh(figure, sizing_mode="stretch_both", margin=0)


def legend(entries: list[words.Entry]) -> str:
    """A legend, its terms explained."""
    return words.legend(entries, explained)


def lines_legend(state: PageState, *more: words.Entry) -> str:
    """The legend of HC and the projection, and of what else the view draws."""
    return legend([*words.lines(state, state.iterations), *more])

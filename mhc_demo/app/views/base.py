"""What every view is, and the few pieces of markup that views are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import panel as pn
from bokeh.model import Model
from bokeh.plotting import figure

from ...figures import style, words
from ...figures.slices import Position, recut, ruled
from ...story.glossary import explained
from ..computing import Key
from ..static import CSS

if TYPE_CHECKING:
    from ..explorer import Explorer

VIEWS: dict[str, type[View]] = {}
"""Every view by its name, in the order of the tabs."""

TALL = "clamp(300px, calc(100vh - var(--mhc-rest, 500px)), 1600px)"
"""Height of a plot: what the story, headline, dial and tabs leave of the window."""

UNLIMITED = {"max-height": "none"}
"""Styles of what may be higher than the window: Panel's own limit is 100 % of that, and what
follows would lie upon the rest."""

WIDE: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (6, 12)}
"""How a control stands in the column beside the view."""


class View:
    """One tab."""

    name: ClassVar[str]
    title: ClassVar[str]
    of_experiment: ClassVar[bool] = True
    """Whether it shows the experiment that the controls, the dial and the headline are about."""
    key: Any = None
    """The experiment that the view shows."""
    large = 0.0
    """How large the type of its figures is: see `style.set_type`."""

    def __init_subclass__(cls) -> None:
        VIEWS[cls.name] = cls

    def __init__(self, explorer: Explorer, data: Any) -> None:
        self.explorer = explorer
        self._kept: list[figure] = []
        self._ruled: WeakKeyDictionary[figure, list[Model]] = WeakKeyDictionary()
        self.content = self.build(data)
        self.content.styles = {**self.content.styles, **UNLIMITED}

    @staticmethod
    def compute(key: Key, seen: Position) -> Any:
        """What the view shows beside the gain surface; runs on a thread, and touches no model."""

    @staticmethod
    def settings(state: Any) -> list[Any]:
        """What stands beside it in place of the experiment's controls, if that is not shown."""
        return []

    def build(self, data: Any) -> Any:
        """The view, for what `compute` gave."""
        raise NotImplementedError

    def complete(self) -> None:
        """Add what can wait until the first picture stands."""

    def update(self, data: Any) -> None:
        """Follow a new experiment."""

    def moved(self) -> bool:
        """Depth or iterations have moved, and the browser has drawn what it holds.

        Returns whether the view has to be computed anew, for what it does not hold.
        """
        return False

    def figures(self) -> list[figure]:
        """The Bokeh figures of the view."""
        return []

    def set_type(self) -> None:
        """Type as large as the page's."""
        large = self.explorer.large()
        if large or self.large:
            for each in self.figures():
                style.set_type(each, large)
                self._keep_type(each)
        self.large = large

    def _keep_type(self, p: figure) -> None:
        """Set the type again when the browser has: whenever a figure comes to the page, the
        page's theme writes its own sizes there, and we hear of it.
        """
        if p in self._kept:
            return
        self._kept.append(p)

        def written(attr: str, old: Any, new: Any) -> None:
            if self.large:
                with pn.io.hold():
                    style.set_type(p, self.large)

        for axis in p.axis:
            axis.on_change("axis_label_text_font_size", written)
            axis.on_change("major_label_text_font_size", written)
        if p.title is not None:
            p.title.on_change("text_font_size", written)

    def cut_anew(self) -> None:
        """Cut the sources that the browser has cut since, for it is about to get ours again."""
        for each in self.figures():
            if each not in self._ruled:  # to look for them takes longer than to cut them
                self._ruled[each] = ruled(each)
            recut(self._ruled[each], self.explorer.state.seen())


def html(text: str, *css_classes: str) -> pn.pane.HTML:
    """A pane of our own markup; nothing that a visitor typed goes in here."""
    return pn.pane.HTML(
        text,
        stylesheets=[CSS],
        css_classes=list(css_classes),
        styles=UNLIMITED,
        sizing_mode="stretch_width",
        margin=0,
    )


def paragraph(text: str) -> str:
    """A paragraph of a note, its terms explained."""
    return f"<p>{explained(text)}</p>"


def note(text: str = "") -> pn.pane.HTML:
    """What is said below a plot, its terms explained."""
    return html(paragraph(text) if text else "", "note")


def plots(*figures: Any, shares: tuple[int, ...] = (1,), height: str = TALL) -> pn.Row:
    """Figures side by side where there is room, below one another where there is not.

    None keeps the place of one that is to come.
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
    """A figure that fills its place."""
    return pn.pane.Bokeh(figure, sizing_mode="stretch_both", margin=0)


def legend(entries: list[words.Entry]) -> str:
    """A legend, its terms explained."""
    return words.legend(entries, explained)


def lines_legend(explorer: Explorer, *more: words.Entry) -> str:
    """The legend of HC and the projection, and what a view draws beside them."""
    return legend([*words.lines(explorer.state, explorer.state.iterations), *more])

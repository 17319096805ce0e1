"""The doors to the views, and below them the one view that is open.

Panel's tabs would first show what a view was when it was left.  What stands below the doors is
exchanged here, in one step, when it is up to date.
"""

from __future__ import annotations

from typing import Any

import panel as pn
import param

from .components import Doors
from .computing import Key
from .views import VIEWS, View, groups
from .views.base import UNLIMITED, Context


class Stage:
    """Builds views when they are first opened, and keeps them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.views: dict[str, View] = {}
        """Those that were built, by name."""
        self.completed = False
        """Whether the page's first picture stands, so that views are built whole."""
        self.doors = Doors(
            groups=groups(),
            view=context.state.view,
            present=context.state.param.present,
            sizing_mode="stretch_width",
            margin=0,
        )
        self.doors.param.watch(self._door_opened, "view")
        self.doors.param.watch(
            lambda event: setattr(context.state, "present", event.new), "present"
        )
        self.place = pn.Column(
            sizing_mode="stretch_width",
            margin=0,
            css_classes=["mhc-stage"],
            styles={**UNLIMITED, "visibility": "var(--mhc-veil, visible)"},  # static/guess.js
        )

    def _door_opened(self, event: param.parameterized.Event) -> None:
        if event.new in VIEWS:  # a browser may send anything
            self.context.state.view = event.new

    @property
    def view(self) -> View | None:
        """The view that the state names, if it was built."""
        return self.views.get(self.context.state.view)

    def holds(self, key: Key) -> bool:
        """Whether that view shows this experiment, at the present depth and iterations."""
        view = self.view
        return view is not None and view.key == key and view.holds(self.context.state.position())

    def select(self) -> None:
        """Mark the door of the state's view."""
        self.doors.view = self.context.state.view

    def show(self, name: str, key: Key, data: Any) -> None:
        """Open a view with what was computed for it."""
        view = self.views.get(name)
        if view is None:
            view = self.build(name, data)
        else:
            view.update(data)
            view.describe()
            if not self._shows(view):
                view.recut()
        if view.key is None and self.completed:
            view.complete()
        view.key = key
        self._put(view)

    def reopen(self) -> None:
        """Open the state's view, which holds what it shows."""
        view = self.views[self.context.state.view]
        view.describe()  # depth or iterations may have moved since
        view.recut()
        self._put(view)

    def build(self, name: str, data: Any) -> View:
        """Build a view, maybe before it is opened."""
        view = self.views[name] = VIEWS[name](self.context, data)
        return view

    def complete(self) -> None:
        """Add to the views what could wait until the first picture stood."""
        self.completed = True
        for view in self.views.values():
            view.complete()
            view.set_type()

    def _shows(self, view: View) -> bool:
        return self.place.objects == [view.content]

    def _put(self, view: View) -> None:
        if not self._shows(view):
            self.place[:] = [view.content]
            view.set_type()

"""The explorer: one state, the controls made from it, and the views that follow it.

Depth and iterations never wait for Python: the sliders call `mhc.move` in the browser, which cuts
every plot from the tables there.  Python learns of the move afterwards, for the URL and for what
the tables do not contain.  A change of the matrices themselves needs a new surface, which is
computed while other visitors are served (`latest.py`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs
from weakref import WeakMethod

import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from ..figures.slices import SLIDERS, gain_columns, table
from ..numerics.devices import DEVICES
from ..numerics.paper import MHC
from ..numerics.projections import PROJECTIONS
from ..story.scenes import SCENES, scenes_for_browser
from . import faults, lecture, static
from ._panel import hold
from .components import BrowserWindow, Headline, Slider, Story
from .computing import Key, Request, device_of, line_for, surface_of
from .controls import CONTROLS, Controls, for_a_lecture
from .following import Following
from .latest import Latest
from .opening import opened_by_first_page
from .saving import Saving
from .stage import Stage
from .state import COMPUTED_PARAMETERS, POSITION_PARAMETERS, URL_PARAMETERS, State, exceeded
from .views import VIEWS
from .views.base import NOT_PRINTED, UNLIMITED, note

MOST_ARGUMENTS = 100
"""In a link that a browser goes back to; the page's own have half as many."""
WALL = 2800
"""Width of a window, in pixels, from which type is larger still (as in `static/story.js`)."""
PRINTED = (
    "@media print { :host { width: var(--mhc-print-width, auto) !important; "
    "zoom: var(--mhc-print-zoom, 0.8); } }"
)
"""On paper the column keeps the width that its plots were drawn for, and is made smaller."""
HALL = (1920, 1080)
"""Width and height of a window for which the type of a lecture is made."""
LEAST = 0.7
"""How small that type may become in a smaller window: still larger than at a desk."""


class Explorer(pn.viewable.Viewer):
    """The interactive explorer: `.servable()` in an app.

    Keyword arguments are the parameters of `State`: `Explorer(depth=64, iterations=1)`.
    """

    state = param.ClassSelector(class_=State, doc="What is shown.")
    computing = param.Boolean(
        default=False, doc="Whether something is being computed for the page."
    )

    def __init__(self, state: State | None = None, **params: Any) -> None:
        static.load()
        super().__init__(state=state or State(**params))
        if pn.state.curdoc is not None:  # else it would be set for every page
            # Weakly, for Panel keeps the handler as long as anything refers to the document.
            tell = WeakMethod(self._say_that_it_failed)
            pn.config.exception_handler = faults.handler(lambda: (say := tell()) and say())
        self._wanted = self.state.key()
        self._displayed = _affordable(self._wanted)
        self._latest = Latest(
            _computed,
            wanted=self._request,
            done=self._show,
            failed=self._give_way,
            execute=pn.state.execute,
            executor=line_for,
        )
        self.surface = surface_of(self._displayed)
        self.table = table(
            gain_columns(self.surface["log10_gain"]),
            self.surface["iterations"].values,
            self.surface["depth"].values,
            position={**self.state.position(), "scale": self.state.scale},
        )
        self._controls: Controls | None = None
        self._make_main()
        self.state.param.watch(self._write_address, list(URL_PARAMETERS))
        self.state.param.watch(self._experiment_changed, list(COMPUTED_PARAMETERS))
        self.state.param.watch(self._moved, list(POSITION_PARAMETERS))
        self.state.param.watch(self._open_view, "view")
        self.state.param.watch(self._scene_begins, "scene")
        self.state.param.watch(self._arrange, ["scene", "present", "view"])
        self.window.param.watch(self._first_picture_stands, "first_picture")
        self.window.param.watch(self._resized, ["inner_width", "inner_height"])
        self.window.param.watch(self._go_back, "back")

    # ---- what is on the page ------------------------------------------------------------

    def _slider(self, name: str) -> Slider:
        look = SLIDERS[name]
        slider = Slider(
            state_name=name,
            label=look.label,
            value=self.state.param[name],
            start=look.start,
            end=look.end,
            marks=list(look.marks),
            sizing_mode="stretch_width",
            styles={"flex": "1 1 var(--mhc-dial, 300px)"},  # side by side on a phone too
            margin=(2, 16),
        )
        slider.param.watch(partial(self._slid, name), "value")
        slider.param.watch(partial(self._settle, slider), "settled")
        return slider

    def _make_main(self) -> None:
        self._given: dict[str, int] = {}  # what the browser's sliders were last set to from here
        self.dial = self._slider("iterations")
        self.depth = self._slider("depth")
        self.window = BrowserWindow(
            query=self.state.query(),
            embed=self.state.embed,
            theme=self.state.param.theme,
            replaces=self.state.follow,
        )
        self._returning = False
        self.saving: Saving | None = None
        self.way_out = note()
        self._show_way_out()
        self.story = Story(
            scenes=[] if opened_by_first_page() else scenes_for_browser(),
            scene=self.state.param.scene,
            way=self.state.param.way,
            revealed=self.state.param.revealed,
            present=self.state.param.present,
            sizing_mode="stretch_width",
            margin=0,
        )
        self.story.param.watch(self._story_moved, ["scene", "way", "revealed", "present"])
        self.story.param.watch(self._button_pressed, "wish")
        self.following = Following(self, lecture.hall) if lecture.hall else None
        if self.following is None:
            self.state.follow = False
        # The tag sends the table to the browser, whichever view is open.  (So would a jscallback,
        # but for that Panel walks the whole page with every change of a layout.)
        self.headline = Headline(
            tags=[self.table],
            sizing_mode="stretch_width",
            margin=0,
        )
        # (A reference to the parameter would work out all of the headline's with every change.)
        self.param.watch(lambda event: setattr(self.headline, "computing", event.new), "computing")
        self._name_projection()
        self.notices = pn.Column(sizing_mode="stretch_width", margin=0)
        self.state.param.watch(self._show_notices, "notices")
        self._show_notices()
        self.stage = Stage(self)
        view = self.state.view
        self.stage.show(
            view, self._displayed, VIEWS[view].compute(self._displayed, self.state.position())
        )
        self.stage.doors.stylesheets = [NOT_PRINTED]
        self.scene_controls = pn.Row(
            sizing_mode="stretch_width",
            styles={"flex": "1 1 300px"},
            margin=(2, 4),
            stylesheets=[NOT_PRINTED],
        )
        self._arrange()
        self.main = pn.Column(
            self.window,
            self.notices,
            self.story,  # its button lies over the headline
            self.headline,
            pn.Row(
                self.dial,
                self.depth,
                self.scene_controls,
                stylesheets=[":host { flex-wrap: wrap; }"],
                sizing_mode="stretch_width",
                margin=0,
            ),
            self.stage.doors,
            self.stage.place,
            *([self.following.bar] if self.following else []),
            stylesheets=[PRINTED],
            styles=UNLIMITED,
            sizing_mode="stretch_width",
            margin=0,
        )

    def __panel__(self) -> Any:
        if self._controls is None:
            self._controls = Controls(self)
        beside = pn.Column(self._controls, width=290)
        return pn.Row(beside, self.main, sizing_mode="stretch_width")

    # ---- the story --------------------------------------------------------------------------

    def _story_moved(self, *events: param.parameterized.Event) -> None:
        """Change the scene, the layout or both, in one message to the browser."""
        with hold():
            self.state.param.update(**{event.name: event.new for event in events})

    def _scene_begins(self, *_: Any) -> None:
        if self.state.scene and not self._returning:
            self.state.show_scene()

    def _button_pressed(self, event: param.parameterized.Event) -> None:
        if event.new.startswith("reset"):
            self.state.reset()
        elif event.new.startswith("clear"):
            if self.following:
                self.following.clear()
        else:
            self.state.shuffle()

    def _arrange(self, *_: Any) -> None:
        """Show only what the scene needs if presented, and what the link names if embedded."""
        presenting = self.state.present
        scene = SCENES.get(self.state.scene)
        alone = presenting or self.state.embed  # else with doors, and all controls beside them
        needed = scene.controls if scene and presenting else tuple(self.state.controls)
        view = VIEWS[self.state.view]
        with hold():
            about_it = view.of_experiment
            self.story.title = view.title
            # Without a scene it is a button, in a corner of the headline, or the view's title.
            self.story.visible = (
                scene is not None or presenting or (about_it and not self.state.embed)
            )
            self.dial.visible = about_it and (not alone or "iterations" in needed)
            self.depth.visible = about_it and (not alone or "depth" in needed)
            self.headline.visible = about_it and (scene is None or scene.headline)
            self.stage.doors.visible = not alone
            self.scene_controls[:] = [
                for_a_lecture(name, self.state) for name in needed if alone and name in CONTROLS
            ]
            self.scene_controls.visible = bool(self.scene_controls.objects)
            if self.stage.view:  # else it is built with that type
                self.stage.view.set_type()

    def large(self) -> float:
        """How large type is in the plots: 0 at a desk, 1 in a lecture hall, more on a wall."""
        if not self.state.present:
            return 0.0
        window = self.window.inner_width, self.window.inner_height
        if window[0] >= WALL:
            return 1.5
        # The fewer pixels a projector has, the larger each of them is.
        shares = [have / made_for for have, made_for in zip(window, HALL, strict=True) if have]
        return max(LEAST, min([1.0, *shares]))

    def _resized(self, *_: Any) -> None:
        if self.stage.view:
            with hold():
                self.stage.view.set_type()

    # ---- following the browser --------------------------------------------------------------

    def _slid(self, name: str, event: param.parameterized.Event) -> None:
        if getattr(self.state, name) == event.new:
            self._given[name] = event.new
        else:  # the browser's move, not ours
            setattr(self.state, name, event.new)

    def _settle(self, slider: Slider, event: param.parameterized.Event) -> None:
        """Take over what the browser shows, if a move of its own crossed our last one.

        What it answers to an earlier one is out of date: of two that follow each other at once each
        answer would undo the other's, without an end.
        """
        _, _, value = event.new.partition(" ")  # a browser may send anything
        if value == str(self._given.get(slider.state_name)):
            setattr(self.state, slider.state_name, int(value))

    def _go_back(self, event: param.parameterized.Event) -> None:
        """Show what the entry of the browser's history showed that a visitor has gone back to."""
        count, _, query = event.new.partition(" ")
        if not re.fullmatch(r"\d{1,9}", count):
            return
        try:
            arguments = parse_qs(query.removeprefix("?"), max_num_fields=MOST_ARGUMENTS)
        except ValueError:
            return
        self._returning = True
        try:
            with hold():
                self.state.return_to(arguments)
                self.window.param.update(returned=int(count), query=self.state.query())
        finally:
            self._returning = False

    # ---- following a lecture ----------------------------------------------------------------

    def go(self, values: Mapping[str, Any]) -> None:
        """Show the place of a lecture with these values of the state."""
        self._returning = True
        try:
            self.state.param.update(**values, notices=[])
        finally:
            self._returning = False

    # ---- following the state ----------------------------------------------------------------

    def _write_address(self, *_: Any) -> None:
        query = self.state.query()
        for each in (self.window, self.saving):
            if each is not None:
                each.query = query
        self._show_way_out()

    def _show_way_out(self) -> None:
        """In an iframe, show a link to the whole page, which opens with what is shown here."""
        if not self.state.embed:
            return
        query = html.escape(self.state.query(embedded=False))
        self.way_out.object = (
            f'<p><a href="{query}" target="_blank" rel="noopener">Open the whole page</a> · '
            f"mHC: {MHC.short}</p>"
        )

    def _show_notices(self, *_: Any) -> None:
        self.notices[:] = [
            pmui.Alert(
                object=" ".join(self.state.notices),
                severity="info",
                closeable=True,
                sx={"& .MuiAlertTitle-root": {"display": "none"}},
                sizing_mode="stretch_width",
                margin=(4, 12),
            )
        ] * bool(self.state.notices)

    def _name_projection(self) -> None:
        chosen = PROJECTIONS[self.state.projection]
        if self.headline.projection != chosen.title:
            self.headline.param.update(
                projection=chosen.title,
                iterative=chosen.iterative,
                sums_alone=chosen.sums_alone,
            )

    def _first_picture_stands(self, event: param.parameterized.Event) -> None:
        if not event.new or self.stage.completed:  # a browser may send it again and again
            return
        if self.state.embed:
            below = self.way_out
        else:
            self.saving = below = Saving(query=self.window.query, sizing_mode="stretch_width")
        with hold():
            self.main.append(below)
            self.stage.complete()
        if self._displayed != self._wanted:
            self._compute()

    def _moved(self, *_: Any) -> None:
        if self.computing:
            return  # when that is shown, the view looks at the position of then
        with hold():
            if self.stage.view:
                self.stage.view.describe()
            if not self.stage.holds(self._displayed):
                self._compute(anew=True)

    def _open_view(self, *_: Any) -> None:
        """Show the view that the state names, at once if it holds what is to be shown."""
        self.stage.select()
        if not self.stage.holds(self._displayed):
            self._compute()
            return
        with hold():
            self.stage.reopen()

    def _experiment_changed(self, *_: Any) -> None:
        before = dict(self._wanted)["streams"]
        if too_much := exceeded(dict(self.state.key()), before):
            self.state.notices = []  # so that the same sentences are shown again
            self.state.param.update(
                **{name: most for name, (most, _) in too_much.items()},
                notices=self._corrections(too_much),
            )
            return
        self._wanted = self.state.key()
        self._compute()

    # ---- computing ----------------------------------------------------------------------------

    def _request(self) -> Request:
        return Request(self._wanted, self.state.view, self.state.position())

    def _compute(self, *, anew: bool = False) -> None:
        """Compute what is wanted, and what the open view shows beside it; then `_show` it."""
        self.computing = True
        self._latest.start(anew=anew)

    def _show(self, request: Request, computed: tuple[xr.Dataset, Any]) -> None:
        if request != self._request():
            self._compute()  # what is wanted by now
            return
        surface, data = computed
        with hold():
            if request.key != self._displayed:
                self.surface = surface
                self._name_projection()
                self.table.data = gain_columns(surface["log10_gain"])
                self._displayed = request.key
            self.stage.show(request.view, request.key, data)
            self.computing = False
        if not self.stage.holds(self._displayed):  # the sliders have moved beyond it meanwhile
            self._compute(anew=True)
        elif self.state.scene:
            pn.state.execute(self._look_ahead)

    def _give_way(self, failed: Request) -> None:
        """Say that the computation failed, and leave a device that could not do it."""
        self._wanted = self._displayed
        self.computing = False
        device, usual = device_of(failed.key), self.state.param.device.default
        if device == usual:
            self.state.notices = ["This could not be computed; what is shown is the state before."]
            return
        too_much = exceeded({**dict(self.state.key()), "device": usual})
        self.state.param.update(
            device=usual,
            **{name: most for name, (most, _) in too_much.items()},
            notices=[
                f"Device: {DEVICES[device].title} could not compute this; back to "
                f"{DEVICES[usual].title}.",
                *self._corrections(too_much),
            ],
        )

    async def _look_ahead(self) -> None:
        """Compute what the next scene shows, and build its view, while this one is presented."""
        request = self.state.next_scene()
        if request is not None:
            await self._latest.prepare(request)
            pn.state.execute(partial(self._build_ahead, request), schedule=True)

    def _build_ahead(self, request: Request) -> None:
        """Build a view before it is opened; when it is, it is updated."""
        computed = self._latest.kept(request)
        if computed and request.view not in self.stage.views and self.stage.completed:
            self.stage.build(request.view, computed[1])

    # ---- notices ------------------------------------------------------------------------------

    def _say_that_it_failed(self) -> None:
        sentences = [
            "Something went wrong here, and was not done; what is shown is the state before."
        ]
        pn.state.execute(lambda: self.state.param.update(notices=sentences), schedule=True)

    def _corrections(self, too_much: dict[str, tuple[int, str]]) -> list[str]:
        return [
            f"{self.state.param[name].label}: set to {allowed}, {why}."
            for name, (allowed, why) in too_much.items()
        ]


def _affordable(key: Key) -> Key:
    """The experiment with fewer members and on NumPy, so that a page can open at once."""
    values = dict(key)
    most = max(1, 2**10 // values["streams"] ** 2)
    usual = State.param.device.default
    return tuple({**values, "members": min(values["members"], most), "device": usual}.items())


def compute_first(state: State) -> None:
    """Compute what the page of a state first shows, so that it is at hand when it is built."""
    _computed(Request(_affordable(state.key()), state.view, state.position()))


def _computed(request: Request) -> tuple[xr.Dataset, Any]:
    view = VIEWS[request.view]
    return surface_of(request.key), view.compute(request.key, request.position)

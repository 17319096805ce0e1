"""The explorer: one state, the controls made from it, and the views that follow it.

Depth and iterations never wait for Python: the sliders call `mhc.move` in the browser, which
cuts every plot from the tables that it holds.  Python hears of the move afterwards, for the URL
and for what the tables do not hold.  Whatever changes the matrices themselves makes a new
surface, computed on a thread so that other visitors are not held up, the latest wish first.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
from functools import partial
from typing import Any
from weakref import WeakMethod

import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from ..figures.slices import SLIDERS, gain_columns, table
from ..numerics.devices import DEVICES
from ..numerics.projections import PROJECTIONS
from ..story.scenes import SCENES, told
from . import faults, static
from .components import BrowserWindow, Headline, Slider, Story
from .computing import QUEUES, Key, device_of, surface_of
from .controls import CONTROLS, Controls, for_a_lecture
from .saving import Saving
from .state import COMPUTED_PARAMETERS, URL_PARAMETERS, State, exceeded
from .views import VIEWS, View
from .views.base import UNLIMITED, note

AT_HAND = 16
"""Results that a page keeps, to show them at once: each view, and the scenes on both sides."""

WALL = 2800
"""Width of a window, in pixels, from which type is larger yet (as in `static/story.js`)."""

CLOSE_TABS = {
    "& .MuiTab-root": {
        "minWidth": 0,
        "paddingInline": "11px",
        "fontSize": "0.95rem",
        "textTransform": "none",
    }
}
"""So close that all headers fit beside the controls; on a phone they scroll."""


class Explorer(pn.viewable.Viewer):
    """The interactive explorer: `.servable()` in an app.

    Keyword arguments are the parameters of `State`: `Explorer(depth=64, iterations=1)`.
    """

    state = param.ClassSelector(class_=State, doc="What is shown.")
    computing = param.Boolean(default=False, doc="Whether a new surface is being computed.")

    def __init__(self, state: State | None = None, **params: Any) -> None:
        static.load()
        super().__init__(state=state or State(**params))
        if pn.state.curdoc is not None:  # of this page; else it would be everybody's
            # Weakly, for Panel keeps it as long as anything knows the document.
            tell = WeakMethod(self._say_that_it_failed)
            pn.config.exception_handler = faults.handler(lambda: (say := tell()) and say())
        self._wanted = self.state.key()
        self._displayed = self._affordable(self._wanted)
        self.surface = surface_of(self._displayed)
        self.table = table(
            gain_columns(self.surface["log10_gain"]),
            self.surface["iterations"].values,
            self.surface["depth"].values,
            position=self.state.seen(),
        )
        self._working = False
        self._complete = False
        self._at_hand: dict[tuple[Key, str], tuple[xr.Dataset, Any]] = {}
        self._controls: Controls | None = None
        self._open: dict[str, View] = {}
        self._make_main()
        self.state.param.watch(self._write_address, list(URL_PARAMETERS))
        self.state.param.watch(self._experiment_changed, list(COMPUTED_PARAMETERS))
        self.state.param.watch(self._moved, ["depth", "iterations"])
        self.state.param.watch(self._open_view, "view")
        self.state.param.watch(self._scene_begins, "scene")
        self.state.param.watch(self._arrange, ["scene", "present", "view"])
        self.window.param.watch(self._first_picture_stands, "first_picture")

    # ---- what there is to see ------------------------------------------------------------

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
            styles={"flex": "1 1 300px"},
            margin=(2, 16),
        )
        slider.param.watch(lambda event: setattr(self.state, name, event.new), "value")
        return slider

    def _make_main(self) -> None:
        self.dial = self._slider("iterations")
        self.depth = self._slider("depth")
        self.window = BrowserWindow(query=self.state.query(), embed=self.state.embed)
        self.way_out = note()
        self._show_way_out()
        self.story = Story(
            scenes=told(),
            scene=self.state.param.scene,
            present=self.state.param.present,
            sizing_mode="stretch_width",
            margin=0,
        )
        self.story.param.watch(self._told, ["scene", "present"])
        self.story.param.watch(self._wished, "wish")
        # The tag brings the table along to the browser, whichever view is open.  (A jscallback
        # would too, and have Panel walk the whole page for it with every change of a layout.)
        self.headline = Headline(
            computing=self.param.computing,
            tags=[self.table],
            sizing_mode="stretch_width",
            margin=0,
        )
        self._name_projection()
        self.notices = pn.Column(sizing_mode="stretch_width", margin=0)
        self.state.param.watch(self._show_notices, "notices")
        self._show_notices()
        # Only the headers of the tabs: their one content is changed here, in one step and when it
        # is up to date, where Panel would first show what it was when it was hidden.
        self.tabs = pmui.Tabs(
            *((view.title, pn.Spacer(height=0)) for view in VIEWS.values()),
            sizing_mode="stretch_width",
            margin=0,
            sx=CLOSE_TABS,
        )
        self.stage = pn.Column(
            sizing_mode="stretch_width", margin=0, css_classes=["mhc-stage"], styles=UNLIMITED
        )
        self.tabs.param.watch(self._tab_opened, "active")
        self.scene_controls = pn.Row(
            sizing_mode="stretch_width", styles={"flex": "1 1 300px"}, margin=(2, 4)
        )
        name = self.state.view
        self.tabs.active = list(VIEWS).index(name)
        self._put_on_stage(
            name, self._displayed, VIEWS[name].compute(self._displayed, self.state.seen())
        )
        self._arrange()
        self.main = pn.Column(
            self.window,
            self.story,
            self.notices,
            self.headline,
            pn.Row(
                self.dial,
                self.depth,
                self.scene_controls,
                stylesheets=[":host { flex-wrap: wrap; }"],
                sizing_mode="stretch_width",
                margin=0,
            ),
            self.tabs,
            self.stage,
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

    def _told(self, *events: param.parameterized.Event) -> None:
        """Another scene, another layout, or both, all of it in one message to the browser."""
        with pn.io.hold(freeze=True):
            self.state.param.update(**{event.name: event.new for event in events})

    def _scene_begins(self, *_: Any) -> None:
        if self.state.scene:
            self.state.show_scene()

    def _wished(self, event: param.parameterized.Event) -> None:
        if event.new.startswith("reset"):
            self.state.reset()
        else:
            self.state.shuffle()

    def _arrange(self, *_: Any) -> None:
        """In the presenter's view, only what the scene needs; embedded, what was asked for."""
        presenting = self.state.present
        if presenting and not self.state.scene:
            self.state.scene = next(iter(SCENES))
        scene = SCENES.get(self.state.scene)
        alone = presenting or self.state.embed  # else with tabs, and all controls beside them
        needed = scene.controls if scene and presenting else tuple(self.state.controls)
        with pn.io.hold(freeze=True):
            about_it = VIEWS[self.state.view].of_experiment
            # Without a scene it is a button, in a corner of the headline.
            self.story.visible = scene is not None or (about_it and not self.state.embed)
            self.dial.visible = about_it and (not alone or "iterations" in needed)
            self.depth.visible = about_it and (not alone or "depth" in needed)
            self.headline.visible = about_it and (scene is None or scene.headline)
            self.tabs.visible = not alone
            self.scene_controls[:] = [
                for_a_lecture(name, self.state) for name in needed if alone and name in CONTROLS
            ]
            self.scene_controls.visible = bool(self.scene_controls.objects)
            if view := self._open.get(self.state.view):  # else it comes in that type
                view.set_type()

    def large(self) -> float:
        """How large type is in the plots: 0 at a desk, 1 in a lecture hall, more on a wall."""
        if not self.state.present:
            return 0.0
        return 1.5 if self.window.inner_width >= WALL else 1.0

    # ---- following the state ----------------------------------------------------------------

    def _write_address(self, *_: Any) -> None:
        self.window.query = self.state.query()
        self._show_way_out()

    def _show_way_out(self) -> None:
        """Embedded, the link to the whole page, which opens with what is shown here."""
        query = html.escape(self.state.query(embedded=False))
        self.way_out.object = (
            f'<p><a href="{query}" target="_blank" rel="noopener">Open the whole page</a> · '
            "mHC: Xie et al., arXiv:2512.24880</p>"
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
        self.headline.param.update(projection=chosen.title, iterative=chosen.iterative)

    @staticmethod
    def _affordable(key: Key) -> Key:
        """The experiment so small, and on NumPy, that a page can open with it at once."""
        values = dict(key)
        most = max(1, 2**10 // values["streams"] ** 2)
        usual = State.param.device.default
        return tuple({**values, "members": min(values["members"], most), "device": usual}.items())

    def _moved(self, *_: Any) -> None:
        if self.computing:
            return  # what is computed will look at where we are
        with pn.io.hold(freeze=True):
            view = self._open.get(self.state.view)
            if view is None or view.moved():
                self._compute_anew()

    def _first_picture_stands(self, event: param.parameterized.Event) -> None:
        if not event.new or self._complete:  # a browser may say so again and again
            return
        self._complete = True
        if self.state.embed:
            below = self.way_out
        else:
            below = Saving(query=self.window.param.query, sizing_mode="stretch_width")
        with pn.io.hold(freeze=True):
            self.main.append(below)
            for view in self._open.values():
                view.complete()
                view.set_type()
        if self._displayed != self._wanted:
            self._compute()

    def _tab_opened(self, event: param.parameterized.Event) -> None:
        if 0 <= event.new < len(VIEWS):  # a browser may send anything
            self.state.view = list(VIEWS)[event.new]

    def _open_view(self, *_: Any) -> None:
        """Show the view of the state, at once if it holds what it shows."""
        view = self._open.get(self.state.view)
        self.tabs.active = list(VIEWS).index(self.state.view)
        if view is None or view.key != self._displayed or view.moved():
            self._compute()
        else:
            with pn.io.hold(freeze=True):
                view.cut_anew()
                self.stage[:] = [view.content]
                view.set_type()

    def _put_on_stage(self, name: str, key: Key, data: Any) -> None:
        """Show a view with what was computed for it, building it if it was never open."""
        view = self._open.get(name)
        if view is None:
            view = self._open[name] = VIEWS[name](self, data)
        else:
            view.update(data)
            if self.stage.objects != [view.content]:
                view.cut_anew()
        if view.key is None and self.window.first_picture:
            view.complete()
        view.key = key
        view.moved()
        if self.stage.objects != [view.content]:
            self.stage[:] = [view.content]
            view.set_type()

    def _experiment_changed(self, *_: Any) -> None:
        if too_much := exceeded(dict(self.state.key())):
            self.state.notices = []  # so that the same sentence is shown again
            self.state.param.update(
                **{name: most for name, (most, _) in too_much.items()},
                notices=self._corrections(too_much),
            )
            return
        self._wanted = self.state.key()
        self._compute()

    def _compute(self) -> None:
        """Compute what is wanted, and what the open view shows beside it, if it is not at hand."""
        self.computing = True
        at_hand = self._at_hand.get((self._wanted, self.state.view))
        if at_hand is not None and not self._working:
            self._show(self._wanted, self.state.view, *at_hand)
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # no server and no notebook: there is nobody to hold up
            self._show(self._wanted, self.state.view, *_computed(*self._wish()))
            return
        if not self._working:
            self._working = True
            pn.state.execute(self._work)

    def _wish(self) -> tuple[Key, str, dict[str, int]]:
        return self._wanted, self.state.view, self.state.seen()

    async def _work(self) -> None:
        """Compute, on a thread, what was last wished for, until nothing newer is."""
        while True:
            wish = self._wish()
            queue = QUEUES.get(device_of(wish[0]))
            try:
                loop = asyncio.get_running_loop()
                computed = await loop.run_in_executor(queue, _computed, *wish)
            except Exception:
                if wish != self._wish():  # overtaken by something that may well go
                    continue
                self._working = False
                pn.state.execute(partial(self._give_way, wish[0]), schedule=True)
                raise
            if wish[:2] == self._wish()[:2]:
                break
        self._working = False
        self._keep(wish[:2], computed)
        # Scheduled, so that it runs with the document's lock: else what it adds and what it
        # changes may reach the browser in another order.
        pn.state.execute(partial(self._show, *wish[:2], *computed), schedule=True)

    def _give_way(self, failed: Key) -> None:
        """What was wished for failed: say so, and go back from a device that did not do it."""
        self._wanted = self._displayed
        self.computing = False
        device, usual = device_of(failed), self.state.param.device.default
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

    def _say_that_it_failed(self) -> None:
        said = ["Something went wrong here, and was not done; what is shown is the state before."]
        pn.state.execute(lambda: self.state.param.update(notices=said), schedule=True)

    def _corrections(self, too_much: dict[str, tuple[int, str]]) -> list[str]:
        return [
            f"{self.state.param[name].label}: set to {most}, the most that {who}."
            for name, (most, who) in too_much.items()
        ]

    def _show(self, key: Key, name: str, surface: xr.Dataset, data: Any) -> None:
        if (key, name) != self._wish()[:2]:
            self._compute()  # something newer, if that is not under way
            return
        with pn.io.hold(freeze=True):
            if key != self._displayed:
                self.surface = surface
                self._name_projection()
                self.table.data = gain_columns(surface["log10_gain"])
                self._displayed = key
            self._put_on_stage(name, key, data)
        self.computing = False
        if self._open[name].moved():  # meanwhile, beyond what was computed
            self._compute_anew()
        elif self.state.scene:
            pn.state.execute(self._look_ahead)

    # ---- having it at hand --------------------------------------------------------------------

    def _keep(self, wish: tuple[Key, str], computed: tuple[xr.Dataset, Any]) -> None:
        self._at_hand[wish] = computed
        if len(self._at_hand) > AT_HAND:
            del self._at_hand[next(iter(self._at_hand))]

    def _compute_anew(self) -> None:
        """Compute for where depth and iterations are now, which is beyond what is at hand."""
        self._at_hand.pop((self._wanted, self.state.view), None)
        self._compute()

    async def _look_ahead(self) -> None:
        """Compute what the next scene shows, and build its view, while this one is spoken about."""
        ahead = self.state.next_scene()
        if ahead is None:
            return
        if ahead[:2] not in self._at_hand:
            queue = QUEUES.get(device_of(ahead[0]))
            with contextlib.suppress(
                Exception
            ):  # when that scene comes, it is tried again and told
                loop = asyncio.get_running_loop()
                self._keep(ahead[:2], await loop.run_in_executor(queue, _computed, *ahead))
        pn.state.execute(partial(self._build_ahead, ahead[:2]), schedule=True)

    def _build_ahead(self, wish: tuple[Key, str]) -> None:
        """Build a view that was never open.  When it opens, it is told what there is to show."""
        name = wish[1]
        if wish in self._at_hand and name not in self._open and self.window.first_picture:
            self._open[name] = VIEWS[name](self, self._at_hand[wish][1])


def _computed(key: Key, view: str, seen: dict[str, int]) -> tuple[xr.Dataset, Any]:
    return surface_of(key), VIEWS[view].compute(key, seen)

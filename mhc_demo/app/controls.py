"""The controls of what changes the matrices, made from the parameters of the state.

They are a viewer of their own, because building nine widgets would delay the first plot: the page
adds them when that plot stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from ..numerics.devices import DEVICES
from ..numerics.mixing import INITS
from ..numerics.projections import PROJECTIONS
from . import icons
from ._panel import hold, prompt
from .components import Share
from .fields import typed
from .state import COMPUTED_PARAMETERS, State, limits
from .static import CSS
from .views import VIEWS
from .views.base import WIDE

if TYPE_CHECKING:
    from .explorer import Explorer


# As large as the page's own type, which a lecture enlarges.
LEGIBLE = """
label.MuiFormLabel-root, .MuiInputBase-root.MuiInputBase-root {
  font-size: calc(1rem * var(--mhc-type, 1));
}
label.MuiInputLabel-shrink.MuiInputLabel-shrink {
  font-size: calc(0.875rem * var(--mhc-type, 1));
  transform: translate(14px, calc(-9px * var(--mhc-type, 1))) scale(0.75);
}
"""


def _streams(state: State, **options: Any) -> Any:
    return pmui.IntSlider.from_param(state.param.streams, **WIDE, **options)


def _spread(state: State, **options: Any) -> Any:
    return pmui.FloatSlider.from_param(state.param.spread, format="0.0", **WIDE, **options)


def _projection(state: State, **options: Any) -> Any:
    groups: dict[str, dict[str, str]] = {}
    for chosen in PROJECTIONS.values():
        groups.setdefault(chosen.kind, {})[chosen.title] = chosen.name
    # Options and groups exclude each other, and the former would come from the parameter.
    shown = {"options": [], "groups": groups, "size": "small"}
    return pmui.Select.from_param(state.param.projection, **shown, **WIDE, **options)


CONTROLS: dict[str, Callable[..., Any]] = {
    "streams": _streams,
    "spread": _spread,
    "projection": _projection,
}
"""The controls that a scene or an embedded page can ask for, beside depth and iterations."""


ORDER = ("streams", "spread", "projection")
"""The experiment's controls from top to bottom, as the first page shows them (`first.py`)."""

FOLDED = ("seed", "init", "members", "definition", "device")
"""Those that are folded away until they are wanted."""

SLIDING = ("streams", "spread", "members")
"""Those that are sliders; so are the parameters of an init, below it."""


def for_a_lecture(name: str, state: State) -> Any:
    """A control in the presenter's type, without the icon that explains it on hover."""
    return CONTROLS[name](state, stylesheets=[LEGIBLE], description="")


MORE, FEWER = "More settings", "Fewer settings"


def unfolded(state: State) -> bool:
    """Whether a link has set one of the controls that are folded away."""
    return any(getattr(state, name) != state.param[name].default for name in FOLDED)


class Controls(pn.viewable.Viewer):
    """Sliders, selectors, Shuffle and Reset for an explorer's state; the rest is folded away."""

    def __init__(self, explorer: Explorer) -> None:
        super().__init__()
        self.explorer = explorer
        self.state = state = explorer.state
        self.streams = _streams(state)
        self.share = Share(python=self._snippet(), **WIDE)
        half = {"sizing_mode": "stretch_width", "margin": (6, 4)}
        shuffle = pmui.Button(label="Shuffle", icon=icons.DIE, variant="outlined", **half)
        shuffle.on_click(lambda _: state.shuffle())
        reset = pmui.Button(label="Reset", icon=icons.BACK, variant="text", **half)
        reset.on_click(lambda _: state.reset())
        self._folded = pn.Column(sizing_mode="stretch_width", margin=0, visible=False)
        self.more = pmui.Button(label=MORE, variant="text", **WIDE)
        self.more.on_click(lambda _: self.unfold(not self._folded.visible))
        self.members: Any = None
        self.device: Any = None  # built with the others that are folded away
        self._of_inits: dict[str, Any] = {}  # the parameters of inits, when an init needs them
        experiment = [self.streams, _spread(state), _projection(state), self.more]
        for widget in (shuffle, reset, *experiment):
            prompt(widget)
        experiment.append(self._folded)
        self._experiment = pn.Column(*experiment, sizing_mode="stretch_width", margin=0)
        self._settings = pn.Column(sizing_mode="stretch_width", margin=0)
        self._settings_of = ""  # the view whose settings were built
        self._layout = pn.Column(
            self._experiment,
            self._settings,
            pn.Row(shuffle, reset, sizing_mode="stretch_width", margin=(0, 8)),
            self.share,
            sizing_mode="stretch_width",
            margin=(8, 0),
        )
        self._shuffle = shuffle
        state.param.watch(self._arrange, "view")
        state.param.watch(self._limit, ["projection", "device", "streams"])
        of_views = [name for view in VIEWS.values() for name in view.parameters]
        state.param.watch(
            self._write_snippet, [*COMPUTED_PARAMETERS, "depth", "iterations", "view", *of_views]
        )
        explorer.param.watch(self._give_account, "computing")
        self._arrange()
        self._limit()
        if unfolded(state):
            self.unfold()

    def unfold(self, wanted: bool = True) -> None:
        """Show the controls that are folded away, or fold them again."""
        with hold():
            if wanted and self.members is None:
                self._build_folded()
            self.more.label = FEWER if wanted else MORE
            self._folded.visible = wanted

    def _build_folded(self) -> None:
        p = self.state.param
        select = {"size": "small", **WIDE}
        missing = {d.name: reason for d in DEVICES.values() if (reason := d.missing())}
        self.members = pmui.IntSlider.from_param(p.members, **WIDE)
        self.device = pmui.Select.from_param(
            p.device, disabled_options=list(missing), helper_text=_reasons(missing), **select
        )
        # Which device computed the gains, and how long the projection took.
        self.account = pn.pane.HTML(stylesheets=[CSS], css_classes=["account"], **WIDE)
        self._of_init = pn.Column(sizing_mode="stretch_width", margin=0)
        self._arrange_init()
        self.state.param.watch(self._arrange_init, "init")
        built = [
            typed(self.state, "seed", **WIDE),
            pmui.Select.from_param(p.init, **select),
            self.members,
            pmui.Select.from_param(p.definition, **select),
            self.device,
        ]
        for widget in built:
            prompt(widget)
        seed, init, *rest = built
        self._folded[:] = [seed, init, self._of_init, *rest, self.account]
        self._limit()
        self._give_account()

    def _arrange(self, *_: Any) -> None:
        view = VIEWS[self.state.view]
        if not view.of_experiment and self._settings_of != view.name:
            self._settings[:] = view.settings(self.state)
            self._settings_of = view.name
        # The seed is the experiment's, and no other view shows one.
        self._experiment.visible = self._shuffle.visible = view.of_experiment
        self._settings.visible = not view.of_experiment

    def _arrange_init(self, *_: Any) -> None:
        wanted = INITS[self.state.init].parameters
        for name in wanted.keys() - self._of_inits.keys():
            self._of_inits[name] = pmui.FloatSlider.from_param(
                self.state.param[name], format="0.00", **WIDE
            )
            prompt(self._of_inits[name])
        self._of_init[:] = [self._of_inits[name] for name in wanted]

    def _limit(self, *_: Any) -> None:
        most = limits(dict(self.state.key()))
        for slider, name in ((self.streams, "streams"), (self.members, "members")):
            if slider is None:
                continue
            end = self.state.param[name].bounds[1]
            slider.end = min(most[name][0], end) if name in most else end

    def _give_account(self, *_: Any) -> None:
        if self.explorer.computing or self.members is None:
            return
        done, most = self.explorer.surface.attrs, self.explorer.surface.sizes["iterations"] - 1
        each = f" at 1 to {most} iterations" if PROJECTIONS[done["projection"]].iterative else ""
        if "compiled" in done["device"]:  # projections and products are one step
            each += " and multiplied"
        self.account.object = (
            f"Gains computed by {done['device']}: {done['projected']:,} matrices projected{each}, "
            f"in {_duration(done['projection_seconds'])}."
        )

    def _snippet(self) -> str:
        return VIEWS[self.state.view].snippet(self.state)

    def _write_snippet(self, *_: Any) -> None:
        self.share.python = self._snippet()

    def __panel__(self) -> Any:
        return self._layout


def _reasons(missing: dict[str, str]) -> str:
    """Why devices cannot be chosen; a reason that all of them share is given once.

    >>> _reasons({"cuda": "there is no CUDA device here."})
    'PyTorch, CUDA: there is no CUDA device here.'
    >>> _reasons({"cpu": "PyTorch is not installed.", "cuda": "PyTorch is not installed."})
    'PyTorch is not installed.'
    """
    if len(missing) > 1 and len(set(missing.values())) == 1:
        return next(iter(missing.values()))
    return " ".join(f"{DEVICES[name].title}: {reason}" for name, reason in missing.items())


def _duration(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"

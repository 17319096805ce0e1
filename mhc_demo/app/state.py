"""The state of the page, and how it is written to a URL and read from one.

The state is an `Experiment` with the page's narrower bounds, and beside it what the page shows:
depth, iterations, view, theme, the model whose cost is counted, the settings of the lab.  The names
in the URL are those of the parameters, so a new parameter needs no code here.  A URL can be
hostile: values are matched against a strict pattern, and its text is never repeated on the page.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import param

from ..figures.compare import LEADING
from ..figures.polytope import USUAL_TURN
from ..figures.scale import SCALES
from ..figures.signal import USUAL
from ..figures.sinkhorn import LAST_STEP
from ..figures.slices import SLIDERS
from ..figures.stages import ALL
from ..lab.settings import PRESETS, Settings
from ..numerics.budget import LINKS, MOST, STAGES
from ..numerics.devices import DEVICES
from ..numerics.hardware import GPUS, INFINIBAND, PRECISIONS
from ..numerics.mixing import PARAMETERS
from ..numerics.paper import TABLE_5
from ..numerics.pipeline import SCHEDULES
from ..numerics.projections import PROJECTIONS
from ..numerics.signal import ENTERING
from ..numerics.surface import (
    EXPERIMENT_PARAMETERS,
    MAX_DEPTH,
    MAX_ITERATIONS,
    Experiment,
    determining,
)
from ..story.scenes import SCENES, WAYS, beginning, scenes_of
from .computing import Key, Request
from .values import Pinned, SquareMatrix, understood, written
from .views import VIEWS
from .views.compare import COMPARE_PARAMETERS
from .views.cost import MODEL_PARAMETERS
from .views.lab import LAB_SETTINGS, LAST_REPLAYED, REPLAY_PARAMETERS
from .views.polytope import POLYTOPE_PARAMETERS
from .views.scale import SCALE_PARAMETERS
from .views.signal import SIGNAL_PARAMETERS
from .views.sinkhorn import WORK_PARAMETERS

THEMES = {"The system’s": "auto", "Light": "light", "Dark": "dark"}
COUNTED = TABLE_5["27B"]
"""The model of the paper whose cost is counted by default."""


class Decimal(param.Number):
    """A number without the dust of binary sums: a slider's steps add up to 1.5000000000000004."""

    def __set__(self, obj: Any, val: Any) -> None:
        # As many digits as a link carries.
        super().__set__(obj, float(f"{val:.12g}") if isinstance(val, float) else val)


class State(Experiment):
    """Everything that a link to the page carries."""

    iterations = param.Integer(
        1, bounds=(0, MAX_ITERATIONS), label=SLIDERS["iterations"].label, doc="0 is HC itself."
    )
    depth = param.Integer(
        64, bounds=(1, MAX_DEPTH), label=SLIDERS["depth"].label, doc="Residual layers composed."
    )
    streams = param.Integer(
        4, bounds=(1, 16), label="Streams (n)", doc="Expansion rate n: residual streams."
    )
    spread = Decimal(
        1.0, bounds=(0.0, 10.0), step=0.1, label="Spread", doc="Standard deviation of the entries."
    )
    members = param.Integer(
        32,
        bounds=(1, max(device.most_members for device in DEVICES.values())),
        label="Ensemble members",
        doc="Networks drawn with different noise; more on a GPU than elsewhere.",
    )
    device = param.Selector(
        default=next(iter(DEVICES)),
        objects={device.title: name for name, device in DEVICES.items()},
        label="Device",
        doc="What projects and multiplies the matrices.",
    )
    view = param.Selector(
        default=next(iter(VIEWS)),
        objects={view.title: name for name, view in VIEWS.items()},
        label="View",
        doc="What is shown below the dial.",
    )
    enters = param.Selector(
        default=next(iter(ENTERING)),
        objects={each.title: name for name, each in ENTERING.items()},
        label="What enters",
        doc="The signal that the streams carry at first.",
    )
    direction = param.Selector(
        default="forward",
        objects={"Forward": "forward", "Backward: a gradient": "backward"},
        label="Direction",
        doc="A signal from the first layer on, or a gradient from the last layer back.",
    )
    writes = param.Boolean(
        default=False, label="Layers write", doc="Each layer adds a fresh random number (Eq. 3)."
    )
    zoom = param.Integer(
        USUAL["zoom"],
        bounds=(2, MAX_DEPTH),
        label="Layers seen",
        doc="How many layers the picture shows.",
    )
    scale = param.Selector(
        default=next(iter(SCALES)),
        objects={title: name for name, title in SCALES.items()},
        label="Scale",
        doc="Which gains the axes show: all of them, or those near 1.",
    )
    model_streams = param.Integer(
        COUNTED.streams,
        bounds=(1, MOST["streams"]),
        label="Expansion rate n",
        doc="Of the model counted.",
    )
    model_width = param.Integer(
        COUNTED.width, bounds=(1, MOST["width"]), label="Width C", doc="Of the model counted."
    )
    model_layers = param.Integer(
        COUNTED.residual_layers,
        bounds=(1, MOST["layers"]),
        label="Residual layers L",
        doc="Of the model counted; attention and FFN of a block are two.",
    )
    model_block = param.Integer(
        2,
        bounds=(1, MOST["layers"]),
        label="Your block (layers)",
        doc="Layers recomputed together, to compare with the best; L at most.",
    )
    model_tokens = param.Integer(
        4096,
        bounds=(1, MOST["tokens"]),
        label="Micro-batch (tokens)",
        doc="Tokens that go through the model counted at one time.",
    )
    model_precision = param.Selector(
        default=next(iter(PRECISIONS)),
        objects=list(PRECISIONS),
        label="Precision",
        doc="In which the streams of the model counted are kept, moved and sent.",
    )
    pipeline_ranks = param.Integer(
        STAGES,
        bounds=(1, MOST["pipeline_ranks"]),
        label="Pipeline ranks",
        doc="Stages that the model counted is cut into; L at most.",
    )
    tensor_ranks = param.Integer(
        1,
        bounds=(1, MOST["tensor_ranks"]),
        label="Tensor ranks",
        doc="GPUs that share each stage of the model counted.",
    )
    link_bandwidth = Decimal(
        INFINIBAND / 1e9,
        bounds=LINKS,
        label="Link (GB/s)",
        doc="Between two stages, in one direction; 50 is 400 Gbit/s InfiniBand.",
    )
    gpu = param.Selector(
        default=next(iter(GPUS)),
        objects={gpu.title: name for name, gpu in GPUS.items()},
        label="GPU",
        doc="Whose published bandwidth and peak turn the counts into times.",
    )
    schedule = param.Selector(
        default=ALL,
        objects={"All of them": ALL, **{each.title: name for name, each in SCHEDULES.items()}},
        label="Schedule",
        doc="In which order the ranks of the pipeline work.",
    )
    microbatches = param.Integer(
        20,
        bounds=(1, 10_000),
        label="Micro-batches",
        doc="In a step. If these are too many to simulate, fewer are shown.",
    )
    stage_forward = Decimal(
        10.0,
        bounds=(0.01, 10_000.0),
        label="Forward (ms)",
        doc="What the layers of a stage take for a micro-batch, without the streams: assumed.",
    )
    stage_inputs = Decimal(
        1.0,
        bounds=(0.0, 10.0),
        label="Backward, inputs (× forward)",
        doc="The backward pass for the inputs, as a multiple of the forward pass.",
    )
    stage_weights = Decimal(
        1.0,
        bounds=(0.0, 10.0),
        label="Backward, weights (× forward)",
        doc="The backward pass for the weights, as a multiple of the forward pass.",
    )
    fused = param.Boolean(default=True, label="Fused", doc="H_post, H_res and the merge at once.")
    recomputes = param.Boolean(
        default=True, label="Recomputed", doc="The streams’ kernels run again going backward."
    )
    overlaps = param.Boolean(
        default=True, label="Overlapped", doc="What is sent leaves beside the work."
    )
    layer = param.Integer(
        1,
        bounds=(1, MAX_DEPTH),
        label="Layer at work",
        doc="Of the first network; its matrix is shown step by step.",
    )
    step = param.Integer(
        0, bounds=(0, LAST_STEP), label="Step", doc="0 is the logits, 1 exp, then half steps."
    )
    turn = param.Integer(
        USUAL_TURN,
        bounds=(0, 90),
        label="Turn",
        doc="Degrees by which the polytope is turned from its even corners to its odd ones.",
    )
    walk = param.Boolean(
        default=False, label="A network", doc="The polytope shows the products of layers."
    )
    replay = param.Integer(
        LAST_REPLAYED,
        bounds=(1, 10_000),
        label="Step of training",
        doc="Of the recorded run that the lab replays; the last one, if it has fewer.",
    )
    own = SquareMatrix(
        default=[],
        label="Own numbers",
        doc="Logits to show in that layer's place, row after row.",
    )
    pinned = Pinned(
        default=LEADING,
        label="Projections drawn",
        doc="Those that the comparison draws in colour, each in its place.",
    )
    theme = param.Selector(
        default="auto", objects=THEMES, label="Theme", doc="Light or dark; by itself, the system's."
    )
    dark = param.Boolean(default=False, precedence=-1, doc="Whether the page is dark just now.")
    scene = param.Selector(
        default="",
        objects={"None": ""} | {scene.title: name for name, scene in SCENES.items()},
        label="Scene",
        doc="Where in the story.",
    )
    way = param.Selector(
        default=next(iter(WAYS.values())),
        objects=WAYS,
        label="Way through the story",
        doc="All scenes, or the few of the short way.",
    )
    revealed = param.Selector(
        default="",
        objects={"None": ""} | {s.title: name for name, s in SCENES.items() if s.guess},
        label="Answer shown",
        doc="The scene whose answer is shown, where the reader is asked to guess first.",
    )
    present = param.Boolean(
        default=False, label="Presenter's view", doc="One thing at a time, in large type."
    )
    embed = param.Boolean(
        default=False, label="Embedded", doc="Without the frame, for an iframe on another page."
    )
    controls = param.ListSelector(
        default=["iterations", "depth"],
        objects=["iterations", "depth", "streams", "spread", "projection"],
        label="Controls",
        doc="Those of an embedded page, by their names.",
    )
    follow = param.Boolean(
        default=False, label="Follow the lecture", doc="Go where the lecturer goes."
    )
    notices = param.List(default=[], doc="Sentences about what was corrected.", precedence=-1)

    @param.depends("theme", watch=True, on_init=True)
    def _choose_theme(self) -> None:
        if self.theme != "auto":  # else the browser tells
            self.dark = self.theme == "dark"

    def key(self) -> Key:
        """The experiment, and the device that computes it."""
        return tuple({**self.values_of_experiment(), "device": self.device}.items())

    def position(self) -> dict[str, Any]:
        """Where in the experiment the page looks: what needs no other gain surface."""
        return {name: getattr(self, name) for name in POSITION_PARAMETERS}

    def query(self, *, embedded: bool = True, whole: bool = True) -> str:
        """The whole state as a URL's query string, "?" included.

        Parameters of the story and of single views are left out while at their defaults, those of
        other inits always, and the theme while nobody has chosen one.  Without `embedded`, it opens
        the whole page where this one is in an iframe; if not `whole`, it says only what others are
        to see too.
        """
        names = [n for n in URL_PARAMETERS if embedded or n not in EMBED_PARAMETERS]
        names = names if whole else list(PLACE_PARAMETERS)
        foreign = set(EXPERIMENT_PARAMETERS).difference(determining(self.init))
        values = {name: getattr(self, name) for name in names if name not in foreign}
        usual = {n: self.param[n].default for n in OPTIONAL_PARAMETERS}
        if not self.scene:  # the way through a story that is closed
            values |= {name: usual[name] for name in ("way", "revealed")}
        written_out = {n: v for n, v in values.items() if n not in usual or v != usual[n]}
        return "?" + urlencode(
            {names_in_links(n)[0]: written(value) for n, value in written_out.items()}, safe=","
        )

    def read(self, arguments: Mapping[str, Iterable[bytes | str]]) -> None:
        """Take over a URL's arguments; what does not fit is corrected or ignored, with a notice."""
        values: dict[str, Any] = {}
        notices: dict[str, str] = {}
        known = parameters_by_link_name()
        for linked in known.keys() & arguments.keys():
            name = known[linked]
            if linked != names_in_links(name)[0] and names_in_links(name)[0] in arguments:
                continue  # a former name beside the present one
            value, notice = understood(self.param[name], list(arguments[linked])[-1])
            if notice:
                notices[name] = notice
            if value is not None:
                values[name] = value
        if "scene" in values:  # the rest of the link is what was changed in that scene
            values = {**_beginning(values["scene"], values.get("revealed", "")), **values}
        reason = DEVICES[values.get("device", self.device)].missing()
        if reason is not None:
            values["device"] = self.param.device.default
            notices["device"] = f"the one in the link is not available: {reason}"
        present = {name: getattr(self, name) for name in URL_PARAMETERS} | values
        for name, (allowed, why) in exceeded(present).items():
            values[name] = allowed
            notices[name] = f"set to {allowed}, {why}."
        sentences = [f"{self.param[n].label}: {notices[n]}" for n in URL_PARAMETERS if n in notices]
        unknown = len(arguments.keys() - known.keys())
        if unknown:
            sentences.append(
                "An unknown parameter in the link was ignored."
                if unknown == 1
                else f"{unknown} unknown parameters in the link were ignored."
            )
        self.param.update(**values, notices=sentences)

    def reset(self) -> None:
        """Return to the defaults, or to the start of the scene; theme and view stay."""
        values = _beginning(self.scene)
        if not self.scene:
            values["view"] = self.view
        of_lab = {name: self.param[name].default for name in LAB_SETTINGS}
        self.param.update(**values, **of_lab, revealed="", notices=[])

    def shuffle(self) -> None:
        """Choose another seed, short enough to be read aloud."""
        self.seed = secrets.randbelow(10_000)

    def show_scene(self) -> None:
        """Set what the present scene starts with."""
        self.param.update(**_beginning(self.scene, self.revealed), notices=[])

    def return_to(self, arguments: Mapping[str, Iterable[bytes | str]]) -> None:
        """Show what a link showed that this page has left; the theme stays."""
        then = State()
        then.read(arguments)
        values = {name: getattr(then, name) for name in (*PLACE_PARAMETERS, "present")}
        self.param.update(**values, notices=then.notices)

    def place(self) -> dict[str, Any]:
        """What the page shows, without what each page chooses for itself."""
        return {name: getattr(self, name) for name in PLACE_PARAMETERS}

    def lab_settings(self) -> dict[str, Any]:
        """The settings of the lab, by their names in `lab.Settings`."""
        return {name: getattr(self, own) for own, name in LAB_SETTINGS.items()}

    def next_scene(self) -> Request | None:
        """What the next scene shows; None after the last."""
        names = scenes_of(self.way)
        if self.scene not in names[:-1]:
            return None
        then = names[names.index(self.scene) + 1]
        values = _beginning(then, self.revealed) | {"device": self.device}
        key = tuple((name, values[name]) for name in (*determining(values["init"]), "device"))
        position = {name: values[name] for name in POSITION_PARAMETERS}
        return Request(key, values["view"], position)


def _declare_lab() -> None:
    usual = next(iter(PRESETS.values())).settings()
    for own, name in LAB_SETTINGS.items():
        theirs = Settings.param[name]
        if isinstance(theirs, param.Selector):
            allowed: dict[str, Any] = {"objects": theirs.names}
        else:
            allowed = {"bounds": theirs.bounds}
        allowed |= {"label": f"Lab: {theirs.label}", "doc": theirs.doc}
        State.param.add_parameter(own, type(theirs)(default=getattr(usual, name), **allowed))


def _declare_inits() -> None:
    for name in PARAMETERS:
        theirs = Experiment.param[name]
        State.param.add_parameter(
            name,
            Decimal(
                theirs.default,
                bounds=theirs.bounds,
                step=theirs.step,
                label=theirs.label,
                doc=theirs.doc,
            ),
        )


_declare_lab()
_declare_inits()

COMPUTED_PARAMETERS = (*EXPERIMENT_PARAMETERS, "device")
"""The parameters whose change needs a new surface."""

POSITION_PARAMETERS = ("depth", "iterations", *SIGNAL_PARAMETERS)

STORY_PARAMETERS = ("scene", "way", "revealed", "present")

HALL_PARAMETERS = ("follow",)

EMBED_PARAMETERS = ("embed", "controls")

OPTIONAL_PARAMETERS = (
    *SIGNAL_PARAMETERS,
    *WORK_PARAMETERS,
    *COMPARE_PARAMETERS,
    *POLYTOPE_PARAMETERS,
    "scale",
    *MODEL_PARAMETERS,
    *SCALE_PARAMETERS,
    *LAB_SETTINGS,
    *REPLAY_PARAMETERS,
    "theme",
    *STORY_PARAMETERS,
    *HALL_PARAMETERS,
    *EMBED_PARAMETERS,
)
"""The parameters that a link leaves out while at their defaults."""

URL_PARAMETERS = (
    "iterations",
    "depth",
    *COMPUTED_PARAMETERS,
    "view",
    *SIGNAL_PARAMETERS,
    *WORK_PARAMETERS,
    *COMPARE_PARAMETERS,
    *POLYTOPE_PARAMETERS,
    "scale",
    *MODEL_PARAMETERS,
    *SCALE_PARAMETERS,
    *LAB_SETTINGS,
    *REPLAY_PARAMETERS,
    "theme",
    *STORY_PARAMETERS,
    *HALL_PARAMETERS,
    *EMBED_PARAMETERS,
)

PLACE_PARAMETERS = tuple(
    name
    for name in URL_PARAMETERS
    if name not in ("theme", "present", *HALL_PARAMETERS, *EMBED_PARAMETERS)
)
"""The parameters that those who follow a lecture take over from it."""

LINK_NAMES: dict[str, tuple[str, ...]] = {}
"""The names of a parameter in links where they are not its own: the present one, and former ones,
which are still understood."""


def names_in_links(parameter: str) -> tuple[str, ...]:
    """The name of a parameter in links, and its former names there."""
    return LINK_NAMES.get(parameter, (parameter,))


def parameters_by_link_name() -> dict[str, str]:
    """The parameter that each name in a link means."""
    return {linked: name for name in URL_PARAMETERS for linked in names_in_links(name)}


KEPT_PARAMETERS = (
    *("theme", "device", "scale"),
    *LAB_SETTINGS,
    *STORY_PARAMETERS,
    *HALL_PARAMETERS,
    *EMBED_PARAMETERS,
)
"""The parameters that no scene changes."""


def _beginning(scene: str, revealed: str = "") -> dict[str, Any]:
    """What a scene starts with: the defaults, and what it sets itself."""
    defaults = {
        name: State.param[name].default for name in URL_PARAMETERS if name not in KEPT_PARAMETERS
    }
    return {**defaults, **(beginning(scene, revealed=revealed == scene) if scene else {})}


def limits(values: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Limits that one parameter sets to another: name -> (the most, and why in words)."""
    device = DEVICES[values["device"]]
    members = min(device.most_members, device.most_entries // values["streams"] ** 2)
    found = {
        "streams": _allowed(values["projection"], MOST_STREAMS),
        "members": (members, f"the most that this page asks of {device.title}"),
    }
    if "model_layers" in values:
        most = (values["model_layers"], "the most that this model has")
        found |= {"model_block": most, "pipeline_ranks": most}
    return found


def exceeded(values: Mapping[str, Any], before: int = 0) -> dict[str, tuple[int, str]]:
    """What `values` must not be: name -> (what it becomes, and why in words).

    `before` are the streams that there were, 0 if unknown: a slider goes on where it was going.
    """
    found = {name: limit for name, limit in limits(values).items() if values[name] > limit[0]}
    streams = _allowed(values["projection"], values["streams"], before)
    return found | ({"streams": streams} if values["streams"] != streams[0] else {})


def _allowed(projection: str, streams: int, before: int = 0) -> tuple[int, str]:
    """The nearest number of streams that a projection takes, and why."""
    sizes = PROJECTIONS[projection].sizes
    nearest = sizes.nearest(streams, MOST_STREAMS, before)
    return nearest, f"because this projection takes {sizes.words} streams"


MOST_STREAMS = State.param.streams.bounds[1]

"""What a standalone file is to show: arguments checked, and what is left out filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...figures.compare import FREE, LEADING, MOST_PINNED, are_places
from ...figures.scale import SCALES
from ...figures.signal import USUAL, at_depth
from ...figures.slices import SLIDERS, Position
from ...figures.stages import ALL
from ...numerics._arrays import choice, whole_number
from ...numerics.gains import DIRECTIONS
from ...numerics.projections import PROJECTIONS
from ...numerics.signal import ENTERING
from ...numerics.surface import MAX_DEPTH, MAX_ITERATIONS, Experiment
from ...story import TITLE
from .plots import PLOTS, plots_of

if TYPE_CHECKING:
    from ...story.scenes import Scene

START = {"depth": 64, "iterations": 1}
"""Where a file opens by default, as the page does."""
THEMES = ("auto", "light", "dark")
HEIGHTS = (300, 4000)
"""Least and most pixels."""


@dataclass(frozen=True)
class EmbedRequest:
    """A file that can be made."""

    experiments: Sequence[Experiment]
    """One for each number of streams."""
    first: int
    """Index of the experiment that it opens with."""
    position: Position
    """Where it opens."""
    limits: Position
    """The last depth and iteration count that it holds."""
    plots: Sequence[str]
    controls: Sequence[str]
    headline: bool
    title: str
    lead: str
    """HTML between title and headline."""
    theme: str
    height: int | None
    fragment: bool
    device: str
    signal: Position
    """What the picture of the signal shows: see `figures.signal.USUAL`."""
    scale: str
    """Which scale the axes of gains open with: see `figures.scale.SCALES`."""
    pinned: Sequence[str]
    """The projections that the comparison draws in colour, in their places."""
    layer: int = 1
    """The layer whose matrix is shown at work."""
    hidden: Sequence[str] = ()
    """The names of figures that are left out."""
    served: bool = False
    """Whether a page with all controls is about to take its place."""
    of_site: bool = False
    """Whether it is a view of a site, on which its reader makes the plots' `choices`."""
    preset: str = "fails"
    """The preset of the lab whose recorded runs are shown: that of the story."""
    replayed: str = "typical"
    """Which of its seeds is replayed, of `lab.evidence.WHY`."""
    schedule: str = ALL
    """The schedule of a pipeline that is shown, or all of them."""
    scenes: str = ""
    """The address of a scene, without its name at the end; empty where there is no story."""

    @property
    def switches(self) -> bool:
        """Whether the reader can choose what signal enters, and whether layers write."""
        return self.served or self.of_site


def checked(
    experiment: Experiment | None,
    *,
    scene: str | None,
    depth: int | None,
    iterations: int | None,
    streams: Sequence[int],
    plots: Sequence[str] | None,
    controls: Sequence[str] | None,
    max_depth: int,
    max_iterations: int,
    title: str | None,
    theme: str,
    height: int | None,
    fragment: bool,
    device: str,
    signal: Mapping[str, Any] | None = None,
    layer: int = 1,
    scale: str = "full",
    pinned: Sequence[str] | None = None,
) -> EmbedRequest:
    """The request that the arguments of `export_html` make, or the error that names one of them."""
    of_story = _scene(scene)
    opening = dict(of_story.state) if of_story else {}
    default = Experiment(**{name: opening[name] for name in Experiment.param if name in opening})
    if experiment is None:
        experiment = default
    elif not isinstance(experiment, Experiment):
        raise TypeError(f"experiment must be an Experiment, not {experiment!r}")
    limits = {
        "depth": whole_number("max_depth", max_depth, 1, MAX_DEPTH),
        "iterations": whole_number("max_iterations", max_iterations, 0, MAX_ITERATIONS),
    }
    position = {}
    for name, value in (("depth", depth), ("iterations", iterations)):
        if value is None:
            value = min(opening.get(name, START[name]), limits[name])
        position[name] = whole_number(name, value, SLIDERS[name].start, limits[name])
    if plots is None:
        plots = plots_of(opening.get("view", "composite"))
    _names("plots", plots, PLOTS)
    if not plots:
        raise ValueError(f"plots must name at least one of {', '.join(PLOTS)}")
    signal = _signal(signal)
    printed = list(plots) == ["figure8"]  # nothing in it moves
    usual = of_story.controls if of_story else () if printed else SLIDERS
    controls = _controls(plots, controls, usual, signal)
    choice("theme", theme, THEMES)
    choice("scale", scale, SCALES)
    if height is not None:
        height = whole_number("height", height, *HEIGHTS)
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title must be a text, not {title!r}")
    experiments = _experiments(experiment, streams)
    shown = next((e for e in experiments if e.streams == experiment.streams), experiments[0])
    words = of_story if of_story and _is_true(shown, position, default, opening) else None
    return EmbedRequest(
        experiments=experiments,
        first=experiments.index(shown),
        position=position,
        limits=limits,
        plots=plots,
        controls=controls,
        headline=of_story.headline if of_story else not printed,
        title=title if title is not None else words.title if words else TITLE,
        lead=_lead(words) if words else "",
        theme=theme,
        height=height,
        fragment=fragment,
        device=device,
        signal=signal,
        layer=whole_number("layer", layer, 1, MAX_DEPTH),
        scale=scale,
        pinned=_pinned(pinned),
    )


def _pinned(given: Sequence[str] | None) -> Sequence[str]:
    if given is None:
        return LEADING
    if isinstance(given, str) or not isinstance(given, Sequence) or not are_places(given):
        raise ValueError(
            f"pinned must hold at most {MOST_PINNED} different names of projections, or {FREE!r} "
            f"for a free place, not {given!r}"
        )
    return list(given)


def _signal(given: Mapping[str, Any] | None) -> Position:
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"signal must be a mapping, not {given!r}")
    for name in given or {}:
        choice("signal", name, USUAL)
    chosen = {**USUAL, **(given or {})}
    choice("signal: enters", chosen["enters"], ENTERING)
    choice("signal: direction", chosen["direction"], DIRECTIONS)
    choice("signal: writes", chosen["writes"], (False, True))
    whole_number("signal: zoom", chosen["zoom"], 2, MAX_DEPTH)
    return chosen


def _names(name: str, given: Any, allowed: Any) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{name} must be a list of names, not {given!r}")
    for each in given:
        choice(name, each, allowed)
    if len(set(given)) < len(given):
        raise ValueError(f"{name} must name each once, not {given!r}")


def _controls(
    plots: Sequence[str],
    given: Sequence[str] | None,
    usual: Sequence[str] | Mapping[str, Any],
    signal: Position,
) -> Sequence[str]:
    fixed = {PLOTS[name].fixed: name for name in plots}
    if "signal" in plots and at_depth(signal):
        fixed["depth"] = "signal"
    if given is None:
        return [name for name in SLIDERS if name in usual and name not in fixed]
    _names("controls", given, SLIDERS)
    for name in fixed.keys() & set(given):
        raise ValueError(f"controls must not hold {name!r}, of which {fixed[name]} holds one only")
    return given


def _experiments(experiment: Experiment, streams: Sequence[int]) -> list[Experiment]:
    if not isinstance(streams, Sequence):
        raise TypeError(f"streams must be a list of whole numbers, not {streams!r}")
    bounds = Experiment.param["streams"].bounds
    counts = [whole_number("streams", n, *bounds) for n in dict.fromkeys(streams)]
    values = experiment.values_of_experiment()
    found = [Experiment(**{**values, "streams": n}) for n in counts] or [experiment]
    for each in found:
        PROJECTIONS[each.projection].check(each.streams)
    return found


def _scene(name: str | None) -> Scene | None:
    if not name:
        return None
    from ...story.scenes import SCENES

    return SCENES[choice("scene", name, SCENES)]


def _is_true(
    shown: Experiment, position: Position, default: Experiment, opening: Mapping[str, Any]
) -> bool:
    """Whether a scene's words are true: they are about the state that it opens with."""
    return shown.values_of_experiment() == default.values_of_experiment() and all(
        position[name] == opening.get(name, start) for name, start in START.items()
    )


def _lead(scene: Scene) -> str:
    from ...story.markup import markup

    return (
        f'<p class="lead">{markup(scene.text)}</p>'
        f'<p class="lead question">{markup(scene.question)}</p>'
    )

"""The experiments that a site holds: what its page of views fetches, file by file.

A server computes what is asked of it; a folder of files holds what was asked in advance.  So each
view of each experiment of a grid is a file, compressed, and named by the hash of its content: it
may be kept for ever.  The gain surface, which all views of an experiment read, is a file of its
own.  An index names them all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import xarray as xr

from ..figures.compare import FREE, MOST_PINNED
from ..figures.packed import pack
from ..figures.signal import USUAL, at_depth
from ..figures.slices import SLIDERS
from ..lab.evidence import has_runs
from ..lab.settings import PRESETS
from ..numerics._arrays import choice
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import Experiment, Progress
from ..scripts import text_of
from ..story.doors import groups
from ..story.glossary import explained
from .embed.page import Content, stage, told_of
from .embed.plots import PLOTS, Choice, Plot, Signal, plots_of
from .embed.request import START, EmbedRequest, checked

VARIED = ("streams", "spread", "init", "projection", "seed")
"""The parameters of an experiment that a visitor of a site chooses."""

LARGEST = 800_000
"""The most compressed bytes of a file: a reader on a phone fetches it for one look."""

MANY = 4
"""Streams above which the matrices of all layers are held of the usual experiments alone."""

SUFFIX = ".json.gz"

Keep = Callable[[str, str, bytes], str]
"""Keeps a file under a name with the hash of its content between these, and returns its address."""


def views() -> dict[str, type[Plot]]:
    """The views of a site, by name: every plot that has the title of one."""
    return {plot.view: plot for plot in PLOTS.values() if plot.title}


RECORDED = tuple(name for name in PRESETS if has_runs(name))
"""The presets of the lab whose recorded runs are shipped."""


@dataclass(frozen=True)
class Grid:
    """Every combination of values that the projections take."""

    values: dict[str, Sequence[Any]]
    """By the names in `VARIED`."""
    members: int
    presets: Sequence[str] = RECORDED
    """Those of the lab whose recorded runs it has."""

    @classmethod
    def of(
        cls, members: int, *, presets: Sequence[str] = RECORDED, **values: Sequence[Any]
    ) -> Grid:
        """The grid of these values, or the error that names the parameter that is wrong."""
        found: dict[str, Sequence[Any]] = {}
        for name in VARIED:
            given = values[name]
            if isinstance(given, str) or not isinstance(given, Sequence) or not given:
                raise TypeError(f"{name} must be a list of at least one value, not {given!r}")
            for each in given:
                _check(name, each)
            found[name] = list(dict.fromkeys(given))
        _check("members", members)
        if isinstance(presets, str) or not isinstance(presets, Sequence) or not presets:
            raise TypeError(f"presets must be a list of at least one name, not {presets!r}")
        for each in presets:
            choice("presets", each, RECORDED)
        grid = cls(found, members, presets)
        if not grid.experiments():
            limits = {name: PROJECTIONS[name].sizes.words for name in found["projection"]}
            raise ValueError(
                f"streams must hold a number that a projection takes ({limits}), "
                f"not {found['streams']}"
            )
        return grid

    def experiments(self) -> list[Experiment]:
        """The experiments of the grid, the one that it opens with first."""
        every = (
            dict(zip(VARIED, chosen, strict=True))
            for chosen in product(*(self.values[name] for name in VARIED))
        )
        found = [Experiment(**each, members=self.members) for each in every if _is_taken(each)]
        usual = Experiment()
        # Python's sort is stable: the rest keeps its order.
        return sorted(
            found, key=lambda each: -sum(getattr(each, n) == getattr(usual, n) for n in VARIED)
        )

    def is_usual(self, experiment: Experiment) -> bool:
        """Whether the site holds more of it than of others, of which that would be a large site."""
        return all(getattr(experiment, name) == self.values[name][0] for name in ("spread", "seed"))

    def choices(self, view: str) -> list[Choice]:
        """What is to be chosen in a view, beside the experiment."""
        return [
            each
            if each.name != "preset"
            else replace(each, titles={t: n for t, n in each.titles.items() if n in self.presets})
            for each in views()[view].choices
        ]

    def made(self, view: str) -> list[tuple[int, ...]]:
        """The choices that can be made together, the usual ones first, as indices of values."""
        every = product(*(range(len(each.titles)) for each in self.choices(view)))
        return [each for each in every if views()[view].takes(self.chosen(view, each))]

    def chosen(self, view: str, indices: Sequence[int]) -> dict[str, Any]:
        """The values of such choices, by their names."""
        return {
            each.name: list(each.titles.values())[index]
            for each, index in zip(self.choices(view), indices, strict=True)
        }

    def at(self, experiment: Experiment) -> list[int]:
        """Where its values stand among those of the grid."""
        return [self.values[name].index(getattr(experiment, name)) for name in VARIED]

    def parameters(self) -> list[dict[str, Any]]:
        """The names, labels and values of what a visitor chooses."""
        return [
            {
                "name": name,
                "label": Experiment.param[name].label,
                "values": [
                    {"value": v, "title": _title(name, v), **_more(name, v)}
                    for v in self.values[name]
                ],
            }
            for name in VARIED
        ]


def _check(name: str, value: Any) -> None:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be numbers or names, not {value}")
    try:
        Experiment(**{name: value})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _is_taken(values: dict[str, Any]) -> bool:
    try:
        PROJECTIONS[values["projection"]].check(values["streams"])
    except ValueError:
        return False
    return True


def _title(name: str, value: Any) -> str:
    titles = getattr(Experiment.param[name], "names", None) or {}
    if titles:
        return next(title for title, known in titles.items() if known == value)
    return str(value) if isinstance(value, int) else f"{value:g}"


def _more(name: str, value: Any) -> dict[str, Any]:
    """What a view of all projections needs to know of the chosen one."""
    return {"told": told_of(value)} if name == "projection" else {}


def files_of(
    grid: Grid,
    surfaces: Sequence[xr.Dataset],
    keep: Keep,
    device: str,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Keep the files of every view of every experiment; return the index that names them.

    `surfaces` are the gain surfaces of the grid's experiments, in their order.
    `progress` is called with the number of experiments done since the last call.
    """
    experiments = grid.experiments()
    found: dict[str, list[Held]] = {name: [] for name in views()}
    of_all: dict[tuple[Any, ...], Held] = {}
    for at, (experiment, surface) in enumerate(zip(experiments, surfaces, strict=True)):
        gains: dict[str, str] = {}
        for name, plot in views().items():
            if not plot.of_experiment and at > 0:
                continue
            if plot.of_projection:
                held = _held(grid, experiment, surface, name, device, keep)
                gains = gains or _gains_of(held)
            else:  # the headline alone depends on it
                key = name, *(getattr(experiment, n) for n in VARIED if n != "projection")
                if key not in of_all:
                    of_all[key] = _held(grid, experiment, surface, name, device, keep)
                held = [each | gains if isinstance(each, dict) else each for each in of_all[key]]
            found[name].append(held)
        if progress is not None:
            progress(1)
    names = dict.fromkeys(each for held in chain(*found.values()) for each in _names_in(held))
    number = {name: k for k, name in enumerate(names)}
    return {
        "groups": groups((name, plot.title, plot.group) for name, plot in views().items()),
        "parameters": grid.parameters(),
        "experiments": [grid.at(experiment) for experiment in experiments],
        "names": list(names),
        "views": {
            name: {
                "of_experiment": plot.of_experiment,
                "choices": [_for_browser(each) for each in grid.choices(name)],
                "made": [[*indices] for indices in grid.made(name)],
                "scripts": _scripts_of(plot, keep),
                "files": [[_numbered(each, number) for each in held] for held in found[name]],
            }
            for name, plot in views().items()
        },
        "start": START,
        "pins": {"names": list(PROJECTIONS), "free": FREE, "most": MOST_PINNED},
        "ends": {name: [slider.start, slider.end] for name, slider in SLIDERS.items()},
    }


Held = list[dict[str, str] | bool | None]
"""What a view of an experiment reads, for each of the choices that can be made: a part and tables,
by their names; None if they are too large for files, False if the site does not hold them."""


def _scripts_of(plot: type[Plot], keep: Keep) -> list[str]:
    """Keep the scripts that a view alone needs; return their addresses."""
    return [
        keep(f"assets/{Path(name).stem}", ".js", text_of(name).encode()) for name in plot.scripts
    ]


def _gains_of(held: Held) -> dict[str, str]:
    """The table of gains among what a view reads, by its name."""
    tables = (each for each in held if isinstance(each, dict) and "gains" in each)
    return next(({"gains": each["gains"]} for each in tables), {})


def opening(index: dict[str, Any]) -> Iterator[str]:
    """What a visitor fetches who opens the page without a link."""
    first = next(iter(index["views"].values()))["files"][0][0]
    yield from (index["names"][k] for k in first.values())


def _held(
    grid: Grid, experiment: Experiment, surface: xr.Dataset, view: str, device: str, keep: Keep
) -> Held:
    """Keep the files of a view; those of other choices too, where the grid has them."""
    chosen = [grid.chosen(view, indices) for indices in grid.made(view)]
    plot = views()[view]
    usual = not plot.of_experiment or grid.is_usual(experiment)
    if plot.square and experiment.streams > MANY and not usual:
        return [False]
    contents = (Content(_request(experiment, view, device, each), [surface]) for each in chosen)
    content = next(contents)
    first = _kept(content, keep)
    if not usual:
        return [first] + [False] * (len(chosen) - 1)
    picture = content.plots[0]
    if isinstance(picture, Signal):
        others = ({"carried": _carried(picture, each, keep)} for each in chosen[1:])
        return [first, *(first and first | other for other in others)]
    return [first, *(_kept(each, keep) for each in contents)]


def _kept(content: Content, keep: Keep) -> dict[str, str] | None:
    """Keep the files of a view; None if its part is too large."""
    part, tables = _part(content)
    if len(part) > LARGEST:
        return None
    written = {content.plots[0].view: part, **tables}
    addresses = [keep(f"data/{name}", SUFFIX, each) for name, each in written.items()]
    return dict(zip(("part", *tables), addresses, strict=True))


def _part(content: Content) -> tuple[bytes, dict[str, bytes]]:
    """The file of a view, and those of the tables that other views or choices show too."""
    notes = [explained(note) for note in content.notes[0][:-1]] + content.notes[0][-1:]
    data = json.loads(content.data())
    (variant,) = data["variants"]
    tables = {
        name: packed({"columns": variant["tables"].pop(id)}) for name, id in content.common.items()
    }
    part = {
        "html": "".join(stage(content.request, content.plots, notes)),
        "data": data,
        "common": content.common,
    }
    return packed(part), tables


def _carried(plot: Signal, chosen: Mapping[str, Any], keep: Keep) -> str:
    """Keep another signal for the picture of one; return the address."""
    columns, tags, note = plot.another({**USUAL, **chosen})
    row = len(tags[0]["depths"]) * tags[0]["width"]
    table = {
        "columns": {name: pack(values, row) for name, values in columns.items()},
        "tags": tags,
        "note": explained(note),
        "fixed": ["depth"] if at_depth({**USUAL, **chosen}) else [],
    }
    return keep("data/carried", SUFFIX, packed(table))


def _names_in(held: Held) -> Iterator[str]:
    for each in held:
        if isinstance(each, dict):
            yield from each.values()


def _numbered(names: dict[str, str] | bool | None, number: Mapping[str, int]) -> Any:
    if not isinstance(names, dict):
        return names
    return {what: number[name] for what, name in names.items()}


def _for_browser(choice: Choice) -> dict[str, Any]:
    values = [{"value": value, "title": title} for title, value in choice.titles.items()]
    return {"name": choice.name, "label": choice.label, "values": values}


def _request(
    experiment: Experiment, view: str, device: str, chosen: Mapping[str, Any]
) -> EmbedRequest:
    request = checked(
        experiment,
        scene=None,
        depth=None,
        iterations=None,
        streams=(),
        plots=plots_of(view),
        controls=None,
        max_depth=SLIDERS["depth"].end,
        max_iterations=SLIDERS["iterations"].end,
        title="",
        theme="auto",
        height=None,
        fragment=True,
        device=device,
    )
    if not PLOTS[request.plots[0]].of_experiment:
        request = replace(request, controls=[], headline=False)
    names = ("preset", "replayed", "schedule")
    of_view = {name: chosen[name] for name in names if name in chosen}
    return replace(request, of_site=True, scenes="index.html#", **of_view)


def packed(data: Any) -> bytes:
    """JSON, compressed; the same for the same data, whatever Bokeh has made before."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    ids: dict[str, str] = {}
    for found in re.finditer(r'"id":"(p\d+)"', text):
        ids.setdefault(found[1], f"p{len(ids)}")
    text = re.sub(r'"(p\d+)"', lambda found: f'"{ids.get(found[1], found[1])}"', text)
    return gzip.compress(text.encode(), mtime=0)


def digest(content: bytes) -> str:
    """The part of a file's name that says what is in it."""
    return hashlib.sha256(content).hexdigest()[:12]

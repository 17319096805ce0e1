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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import xarray as xr

from ..figures.slices import SLIDERS
from ..numerics.projections import PROJECTIONS
from ..numerics.surface import Experiment, Progress
from ..story.doors import groups
from ..story.glossary import explained
from .embed.page import Content, stage
from .embed.plots import PLOTS, Plot, plots_of
from .embed.request import START, EmbedRequest, checked

VARIED = ("streams", "spread", "init", "projection", "seed")
"""The parameters of an experiment that a visitor of a site chooses."""

LARGEST = 800_000
"""The most compressed bytes of a file: a reader on a phone fetches it for one look."""

SUFFIX = ".json.gz"

Keep = Callable[[str, str, bytes], str]
"""Keeps a file under a name with the hash of its content between these, and returns its address."""


def views() -> dict[str, type[Plot]]:
    """The views of a site, by name: every plot that has the title of one."""
    return {plot.view: plot for plot in PLOTS.values() if plot.title}


@dataclass(frozen=True)
class Grid:
    """Every combination of values that the projections take."""

    values: dict[str, Sequence[Any]]
    """By the names in `VARIED`."""
    members: int

    @classmethod
    def of(cls, members: int, **values: Sequence[Any]) -> Grid:
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
        grid = cls(found, members)
        if not grid.experiments():
            limits = {name: PROJECTIONS[name].max_streams for name in found["projection"]}
            raise ValueError(
                f"streams must hold a number that a projection takes (at most {limits}), "
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

    def at(self, experiment: Experiment) -> list[int]:
        """Where its values stand among those of the grid."""
        return [self.values[name].index(getattr(experiment, name)) for name in VARIED]

    def parameters(self) -> list[dict[str, Any]]:
        """The names, labels and values of what a visitor chooses."""
        return [
            {
                "name": name,
                "label": Experiment.param[name].label,
                "values": [{"value": v, "title": _title(name, v)} for v in self.values[name]],
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


def files_of(
    grid: Grid,
    surfaces: Sequence[xr.Dataset],
    keep: Keep,
    device: str,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Keep a file for every view of every experiment; return the index that names them.

    `surfaces` are the gain surfaces of the grid's experiments, in their order.
    `progress` is called with the number of experiments done since the last call.
    """
    of_experiment = [name for name, plot in views().items() if plot.of_experiment]
    tables: list[str] = []
    files: dict[str, list[str | None]] = {name: [] for name in views()}
    experiments = grid.experiments()
    for experiment, surface in zip(experiments, surfaces, strict=True):
        table = ""
        for name in of_experiment if tables else views():
            content = Content(_request(experiment, name, device), [surface])
            written, table = _part(content)
            small = len(written) <= LARGEST
            files[name].append(keep(f"data/{name}", SUFFIX, written) if small else None)
        tables.append(keep("data/gains", SUFFIX, packed(json.loads(table))))
        if progress is not None:
            progress(1)
    return {
        "groups": groups((name, plot.title, plot.group) for name, plot in views().items()),
        "parameters": grid.parameters(),
        "experiments": [grid.at(experiment) for experiment in experiments],
        "tables": tables,
        "files": files,
        "of_experiment": of_experiment,
        "start": START,
        "ends": {name: [slider.start, slider.end] for name, slider in SLIDERS.items()},
    }


def opening(index: dict[str, Any]) -> Iterator[str]:
    """What a visitor fetches who opens the page without a link."""
    yield index["tables"][0]
    yield next(iter(index["files"].values()))[0]


def _request(experiment: Experiment, view: str, device: str) -> EmbedRequest:
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
    return replace(request, scenes="index.html#")


def _part(content: Content) -> tuple[bytes, str]:
    """The file of a view, and the table of gains, which is another file, as JSON."""
    notes = [explained(note) for note in content.notes[0][:-1]] + content.notes[0][-1:]
    data = json.loads(content.data())
    (variant,) = data["variants"]
    table = variant["tables"].pop(content.table)
    part = {
        "html": "".join(stage(content.request, content.plots, notes)),
        "data": data,
        "table": content.table,
    }
    return packed(part), json.dumps(table)


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

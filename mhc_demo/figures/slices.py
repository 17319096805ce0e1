"""Tables that the browser holds, and the rules by which a figure's sources are cut from them.

A table is a flat column store: every column holds one number (or a block of `width` numbers) for
each (iterations, depth).  A derived source says in its tags which table it is cut from and how;
`static/mhc.js` obeys when a slider moves, `select` below obeys once, so that the first picture
is right before any script has run.  These rules are the whole interface between Python and
JavaScript: a new figure needs no new script.

Rules ("select"):
    row      the values along depth at the present iterations (or at a fixed count, `at`),
             `width` numbers for each depth
    column   the values along iterations at the present depth
    cells    single values at the present depth: [(column, iterations or None for now), ...]
    block    the `width` numbers at the present iterations (or `at`) and depth
A column of the derived source is named after a column of the table, or after the present state:
"@depth", "@iterations", or "@depths", the table's own depths.  `cut` ends a row at the
present depth; `exact` wants a table that ends there.  `heatmap` adds text and shade of a block.
Other models (spans, titles, what is seen of a network) take a property from the state: "set".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, CustomJS, Model
from numpy.typing import NDArray

from ..numerics.surface import MAX_DEPTH, MAX_ITERATIONS

State = Mapping[str, int]
"""{"depth": ..., "iterations": ...}: what the browser looks up by itself."""


@dataclass(frozen=True)
class Slider:
    """What moves one part of that state."""

    label: str
    start: int
    end: int
    marks: tuple[int, ...]
    """The values that are written below it."""


def depth_ticks(parts: int) -> list[int]:
    """1, and the ends of so many equal parts of the range of depths.

    >>> depth_ticks(4)
    [1, 32, 64, 96, 128]
    """
    return [1, *(MAX_DEPTH * k // parts for k in range(1, parts + 1))]


SLIDERS = {
    "iterations": Slider("Sinkhorn iterations", 0, MAX_ITERATIONS, (0, 1, 5, 10, 20, 30)),
    "depth": Slider("Depth (layers)", 1, MAX_DEPTH, tuple(depth_ticks(4))),
}


DRAWN = ("median", "q05", "q95")
"""The series that plots of the composite draw: the others stay on the server."""


def gain_columns(
    gains: xr.DataArray, series: Iterable[str] = DRAWN, dtype: Any = np.float32
) -> dict[str, NDArray[Any]]:
    """Columns "direction.series" of log10 gains (direction, iterations, depth, series), flat."""
    return {
        f"{direction}.{name}": np.ascontiguousarray(
            gains.sel(direction=direction, series=name).values, dtype=dtype
        ).ravel()
        for direction in gains["direction"].values
        for name in series
    }


def table(
    columns: Mapping[str, NDArray[np.float32]],
    iterations: Iterable[int],
    depths: Iterable[int],
    width: int = 1,
    state: State | None = None,
) -> ColumnDataSource:
    """A table of the surface, to cut sources from.

    The one table of a document that is given a state is its gain surface: the browser starts
    from that state, and the headline reads that table.
    """
    source = ColumnDataSource(dict(columns), name="surface" if state else None)
    source.js_on_change("data", CustomJS(code="mhc.refresh(cb_obj.document, cb_obj)"))
    label(source, iterations, depths, width)
    if state:
        source.tags[0]["state"] = dict(state)
    return source


def label(
    source: ColumnDataSource, iterations: Iterable[int], depths: Iterable[int], width: int = 1
) -> None:
    """Say which iterations and depths the rows of a table stand for."""
    source.tags = [
        {
            "iterations": [int(t) for t in iterations],
            "depths": [int(d) for d in depths],
            "width": width,
        }
    ]


def sliced(
    source: ColumnDataSource,
    select: str,
    columns: Mapping[str, Any],
    state: State,
    *,
    late: bool = False,
    **options: Any,
) -> ColumnDataSource:
    """A source cut from the table `source`; `late` ones are cut after the main plot has moved."""
    rule = {"table": source, "select": select, "columns": dict(columns), "late": late, **options}
    # The browser writes it; Python need not hear of it.
    return ColumnDataSource(select_columns(rule, state), tags=[rule], syncable=False)


def follows(
    model: Model,
    prop: str,
    value: str,
    *,
    late: bool = False,
    table: ColumnDataSource | None = None,
) -> Model:
    """Let a property of `model` follow the state.

    "@depth" is the depth itself, "?depth" whether there is any; else it is text with {depth} in
    it.  With a table, it follows only as far as that table holds the state.
    """
    model.tags = [{"set": prop, "value": value, "late": late, "table": table}]
    return model


def ruled(figure: Model) -> list[Model]:
    """The models of a figure that have a rule: sources that are cut, models that follow."""
    return [
        model
        for model in figure.references()
        if len(model.tags) == 1
        and isinstance(model.tags[0], dict)
        and not {"select", "set"}.isdisjoint(model.tags[0])
    ]


def recut(models: Iterable[Model], state: State) -> None:
    """Obey the rules of `models` at once, as the browser does when it has their figure."""
    for model in models:
        rule = model.tags[0]
        if "select" in rule:
            model.data = {**model.data, **select_columns(rule, state)}
        else:
            setattr(model, rule["set"], set_value(rule["value"], state))


def set_value(value: str, state: State) -> int | bool | str:
    """What a property is set to that follows the state: see `follows`.

    >>> seen = {"depth": 64, "iterations": 0}
    >>> [set_value(value, seen) for value in ("@depth", "?iterations", "layer {depth}")]
    [64, False, 'layer 64']
    """
    match value[0]:
        case "@":
            return state[value[1:]]
        case "?":
            return state[value[1:]] != 0
    return value.format(**state)


def select_columns(rule: Mapping[str, Any], state: State) -> dict[str, Any]:
    """What `mhc.js` selects for a rule, for the first picture."""
    held = rule["table"]
    where = held.tags[0]
    iterations, depths, width = where["iterations"], where["depths"], where["width"]
    t = rule.get("at", state["iterations"])
    row = iterations.index(t) if t in iterations else 0
    column = depths.index(state["depth"]) if state["depth"] in depths else 0
    length = min(state["depth"], len(depths)) if rule.get("cut") else len(depths)

    def values(name: Any) -> Any:
        if rule["select"] == "cells":
            return [
                state[n[1:]]
                if n.startswith("@")
                else held.data[n][
                    iterations.index(state["iterations"] if at is None else at) * len(depths)
                    + column
                ]
                for n, at in name
            ]
        if name == "@depths":
            return np.asarray(depths[:length])
        if name.startswith("@"):
            return [state[name[1:]]]
        data = np.asarray(held.data[name]).reshape(len(iterations), len(depths), width)
        match rule["select"]:
            case "row":
                return data[row, :length].ravel()
            case "column":
                return data[:, column, 0]
            case "block":
                return data[row, column]
        raise ValueError(f"select must be row, column, cells or block, not {rule['select']!r}")

    return {name: values(column_name) for name, column_name in rule["columns"].items()}

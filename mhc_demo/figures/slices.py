"""Tables that the browser holds, and the rules by which a figure's sources are cut from them.

A table is a flat column store: every column holds one number (or a block of `width` numbers) for
each (iterations, depth).  A source that is cut from a table says in its tags from which and how.
`static/slices.js` obeys these rules when a slider moves, and `select_columns` below obeys them
once, so that the first picture is right before any script has run.  They are the whole interface
between Python and JavaScript: a new figure needs no new script, unless it draws shapes that are
no column of a table, as the signal's ribbons are.

Rules ("select"):
    row      the values along depth at the present iterations (or at a fixed count, `at`),
             `width` numbers for each depth
    column   the values along iterations at the present depth
    cells    single values at the present depth: [(column, iterations or None for now), ...]
    block    the `width` numbers at the present iterations (or `at`) and depth
A column is taken from the table's column of a name, or from the present position: "@depth",
"@iterations", or "@depths", all depths of the table.  `cut` ends a row at the present depth;
`exact` waits for a table that ends there.  `heatmap` adds text and shade of a block; `shape` names
a script's function that makes all columns of the source from what is selected (`signal.py`); of
what it selects, whole numbers of 16 bits are thousandths.  A rule may name further tables for that
function: it is obeyed anew when any of them changes, or any slider in the list `reads`.
Other models (spans, titles, the visibility of lines) take a property from the position: "set".

In the place of depths a table may have the steps of one matrix (`along="step"`; see `sinkhorn.py`),
or no slider at all (`along=""`).
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

Position = Mapping[str, Any]
"""{"depth": ..., "iterations": ...}: where the sliders are, which the browser follows by itself,
with "step" where a figure has that slider; and what else one view shows of an experiment."""


@dataclass(frozen=True)
class SliderRange:
    """The values of a slider."""

    label: str
    start: int
    end: int
    marks: tuple[int, ...]
    """The values that are written below it."""


def depth_ticks(parts: int) -> list[int]:
    """1, and the ends of `parts` equal parts of the range of depths.

    >>> depth_ticks(4)
    [1, 32, 64, 96, 128]
    """
    return [1, *(MAX_DEPTH * k // parts for k in range(1, parts + 1))]


SLIDERS = {
    "iterations": SliderRange("Sinkhorn iterations", 0, MAX_ITERATIONS, (0, 1, 5, 10, 20, 30)),
    "depth": SliderRange("Depth (layers)", 1, MAX_DEPTH, tuple(depth_ticks(4))),
}


PLOTTED = ("median", "q05", "q95")
"""The series that plots of the composite show; the browser does not get the others."""


def gain_columns(
    gains: xr.DataArray, series: Iterable[str] = PLOTTED, dtype: Any = np.float32
) -> dict[str, NDArray[Any]]:
    """Columns "direction.series" of log10 gains (direction, iterations, depth, series), flat.

    They are rounded to 1e-7, of which no text shows anything: the rounding errors of gains that are
    1 would be most of what a page gets.
    """
    # Plain NumPy: each selection by labels takes longer than all the rest.
    names = [str(name) for name in gains["series"].values]
    rounded = gains.values.round(7) + 0.0
    return {
        f"{direction}.{name}": rounded[d, ..., names.index(name)].astype(dtype).ravel()
        for d, direction in enumerate(gains["direction"].values)
        for name in series
    }


def table(
    columns: Mapping[str, NDArray[np.float32]],
    iterations: Iterable[int],
    depths: Iterable[int],
    width: int = 1,
    position: Position | None = None,
) -> ColumnDataSource:
    """A table to cut sources from.

    One table of a document, its gain surface, has a position: the browser starts from there, and
    the headline reads that table.
    """
    source = ColumnDataSource(dict(columns), name="surface" if position else None)
    source.js_on_change("data", CustomJS(code="mhc.refresh(cb_obj.document, cb_obj)"))
    label(source, iterations, depths, width)
    if position:
        source.tags[0]["state"] = {
            name: position[name] for name in (*SLIDERS, "scale", "own_layer") if name in position
        }
    return source


def label(
    source: ColumnDataSource,
    iterations: Iterable[int],
    depths: Iterable[int],
    width: int = 1,
    **more: Any,
) -> None:
    """Say which iterations and depths the rows of a table stand for.

    `more`: `along`, if the "depths" are those of another slider, or whatever else its readers need.
    """
    source.tags = [
        {
            "iterations": [int(t) for t in iterations],
            "depths": [int(d) for d in depths],
            "width": width,
            **more,
        }
    ]


def sliced(
    source: ColumnDataSource,
    select: str,
    columns: Mapping[str, Any],
    position: Position,
    *,
    late: bool = False,
    **options: Any,
) -> ColumnDataSource:
    """A source cut from the table `source`; `late` ones are cut after the main plot has moved."""
    rule = {"table": source, "select": select, "columns": dict(columns), "late": late, **options}
    # The browser writes it, and Python does not read it back.
    return ColumnDataSource(select_columns(rule, position), tags=[rule], syncable=False)


def follows(
    model: Model,
    prop: str,
    value: str,
    *,
    late: bool = False,
    table: ColumnDataSource | None = None,
) -> Model:
    """Let a property of `model` follow the position.

    "@depth" is the depth itself, "?depth" whether it is more than 0, "!depth" whether it is the
    least there is; else it is text with {depth} in it.  With a table, it follows only as far as
    that table reaches.
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


def recut(models: Iterable[Model], position: Position) -> None:
    """Obey the rules of `models`, as the browser does when it has their figure."""
    for model in models:
        rule = model.tags[0]
        if "select" in rule:
            model.data = {**model.data, **select_columns(rule, position)}
        else:
            setattr(model, rule["set"], set_value(rule["value"], position))


def set_value(value: str, position: Position) -> int | bool | str:
    """The value of a property that follows the position: see `follows`.

    >>> position = {"depth": 64, "iterations": 0}
    >>> [set_value(value, position) for value in ("@depth", "?iterations", "layer {depth}")]
    [64, False, 'layer 64']
    """
    match value[0]:
        case "@":
            return position[value[1:]]
        case "?":
            return position[value[1:]] != 0
        case "!":
            return position[value[1:]] == SLIDERS[value[1:]].start
    return value.format(**position)


def select_columns(rule: Mapping[str, Any], position: Position) -> dict[str, Any]:
    """The columns that a rule selects at a position, as `slices.js` selects them."""
    source = rule["table"]
    if "shape" in rule:  # the browser makes it
        return {}
    tag = source.tags[0]
    iterations, depths, width = tag["iterations"], tag["depths"], tag["width"]
    t = rule.get("at", position["iterations"])
    row = iterations.index(t) if t in iterations else 0
    along = tag.get("along", "depth")
    found = not along or position[along] in depths
    column = depths.index(position[along]) if along and found else 0
    length = column + 1 if rule.get("cut") and found else len(depths)

    def cell(name: str, at: int | None) -> Any:
        if name.startswith("@"):
            return position[name[1:]]
        row = iterations.index(position["iterations"] if at is None else at)
        return source.data[name][row * len(depths) + column]

    def values(name: Any) -> Any:
        if rule["select"] == "cells":
            return [cell(*each) for each in name]
        if name == "@depths":
            return np.asarray(depths[:length])
        if name.startswith("@"):
            return [position[name[1:]]]
        data = np.asarray(source.data[name]).reshape(len(iterations), len(depths), width)
        match rule["select"]:
            case "row":
                return data[row, :length].ravel()
            case "column":
                return data[:, column, 0]
            case "block":
                return data[row, column]
        raise ValueError(f"select must be row, column, cells or block, not {rule['select']!r}")

    return {name: values(column_name) for name, column_name in rule["columns"].items()}

"""The views without a browser: what they plot after a change is what the library computes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from bokeh.plotting import figure

import mhc_demo as mhc
from mhc_demo.app.controls import Controls
from mhc_demo.app.state import State
from mhc_demo.app.views import VIEWS, View, cost
from mhc_demo.figures import mixing, phase, style
from mhc_demo.figures.histogram import BINS
from mhc_demo.figures.measures import measured_at, texts
from mhc_demo.figures.slices import Position, select_columns, set_value
from mhc_demo.numerics import birkhoff, laws
from mhc_demo.numerics.birkhoff import places
from mhc_demo.numerics.costs import ProjectionTimes
from mhc_demo.numerics.metrics import GROUPS, METRICS
from mhc_demo.numerics.projections import PROJECTIONS

# A table holds float32 numbers.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}
ROUNDED = {"rtol": 1e-6, "atol": 6e-6}
"""What the streams carry has five decimals."""
BOTH = ("forward", "backward")
LIMITED = ("HC, forward", "projected, backward")
"""The lines that must lie within the range of the axis."""
SMALL = {"members": 2, "streams": 3}

Plots = dict[str, dict[str, Any]]
"""What is plotted, by the names of figures and of what is in them."""


def times(projection: str) -> np.ndarray:
    """Seconds for each count, in place of measured ones; each projection has its own."""
    return 1e-6 * (np.arange(31) + list(PROJECTIONS).index(projection))


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(projection: str, *, streams: int, device: str) -> ProjectionTimes:
        counts = tuple(range(31))
        return ProjectionTimes(projection, streams, 10, counts, times(projection), 3, "an abacus")

    monkeypatch.setattr(cost, "projection_times", measure)
    monkeypatch.setattr(cost, "_times", {})


def opened(view: str, **values: Any) -> tuple[mhc.Explorer, View]:
    """An explorer with that view open, as complete as the browser makes it."""
    explorer = mhc.Explorer(**{**SMALL, "view": view, **values})
    explorer.window.first_picture = True
    return explorer, explorer.stage.views[view]


def experiment(state: State) -> mhc.Experiment:
    values = dict(state.key())
    del values["device"]
    return mhc.Experiment(**values)


LIBRARY: dict[str, Callable[[State], Plots]] = {}
"""What each view is to plot, by its name."""


def library(view: str) -> Callable[[Callable[[State], Plots]], Callable[[State], Plots]]:
    def register(function: Callable[[State], Plots]) -> Callable[[State], Plots]:
        LIBRARY[view] = function
        return function

    return register


def lines(gains: Any, state: State) -> dict[str, Any]:
    """The medians of HC and of the projection, in both directions."""
    return {
        f"{name}, {d}": gains.sel(direction=d, iterations=t, series="median")
        for name, t in {"HC": 0, "projected": state.iterations}.items()
        for d in BOTH
    }


@library("signal")
def _signal(state: State) -> Plots:
    found = mhc.signal_surface(
        experiment(state),
        entering=state.enters,
        direction=state.direction,
        writes=state.writes,
        at=state.depth,
    )
    return {
        f"signal-{name}": {
            what: found[what].sel(iterations=t).values.ravel() for what in ("log10", "sign")
        }
        for name, t in {"hc": 0, "projected": state.iterations}.items()
    }


@library("composite")
def _composite(state: State) -> Plots:
    surface = mhc.gain_surface(experiment(state))
    gains = surface["log10_gain"]
    here = gains.sel(depth=state.depth, series="median")
    return {
        "composite": lines(gains, state) | {"expected": surface["expected_log10_gain"]},
        "iterations": {d: here.sel(direction=d) for d in BOTH},
    }


@library("layers")
def _layers(state: State) -> Plots:
    gains = mhc.layer_gains(experiment(state))
    medians = gains.sel(iterations=0, series="member").median("layer")
    return {
        "layers": lines(gains, state),
        "histogram": {f"{d}_median": np.full(BINS, medians.sel(direction=d)) for d in BOTH},
    }


@library("layer-axis")
def _layer_axis(state: State) -> Plots:
    gains = mhc.layer_axis_gains(experiment(state), depth=state.depth)
    return {"layer-axis": lines(gains, state)}


@library("matrices")
def _matrices(state: State) -> Plots:
    def mixing(*, logits: bool) -> np.ndarray:
        names = ("depth", "streams", "init", "spread", "seed")
        values = {name: getattr(state, name) for name in names}
        return mhc.sample_mixing(**values, logits=logits)[0]

    projected = mixing(logits=False)  # HC's at 0 iterations
    if state.iterations:
        projected = mhc.project(mixing(logits=True), state.projection, state.iterations)
    return {
        f"matrix-{what}-{name}": {"value": matrix}
        for name, layers in {"hc": mixing(logits=False), "projected": projected}.items()
        for what, matrix in {
            "layer": layers[-1],
            "composite": mhc.compose(layers).matrix(at=state.depth),
        }.items()
    }


@library("sinkhorn")
def _sinkhorn(state: State) -> Plots:
    chosen = PROJECTIONS[state.projection]
    names = ("streams", "init", "spread", "seed")
    values = {name: getattr(state, name) for name in names}
    Z = mhc.sample_mixing(state.layer, **values, logits=chosen.takes_logits)[0, -1]
    if state.own:
        Z = np.reshape(state.own, (2, 2))
    if not chosen.iterative:
        after = mhc.project(Z, state.projection)
        return {"sinkhorn-before": {"value": Z}, "sinkhorn-after": {"value": after}}
    step = int((state.step - 1) / 2)
    exp = np.exp(Z)
    off = [
        float(mhc.distance_from_doubly_stochastic(mhc.project(Z, state.projection, t)))
        for t in range(1, 31)
    ]
    errors = [math.log10(x) if x else math.nan for x in off]
    here = [Z, exp, exp / exp.sum(axis=0)][state.step] if state.step < 3 else None
    return {
        "sinkhorn-matrix": {
            "value": mhc.project(Z, state.projection, step) if here is None else here
        },
        "sinkhorn-error": {"error": errors, "now": errors[step - 1 : step] or [np.nan]},
    }


@library("polytope")
def _polytope(state: State) -> Plots:
    names = ("init", "spread", "seed")
    values = {"streams": 3, **{name: getattr(state, name) for name in names}}
    layers = {
        logits: mhc.sample_mixing(128, **values, logits=logits)[0] for logits in (True, False)
    }
    one = {logits: each[state.layer - 1] for logits, each in layers.items()}
    if len(state.own) == 9:
        one = dict.fromkeys(one, np.reshape(state.own, (3, 3)))

    def at_dial(name: str, given: dict[bool, np.ndarray]) -> np.ndarray:
        if state.iterations == 0:
            return given[False]
        return mhc.project(given[PROJECTIONS[name].takes_logits], name, state.iterations)

    here = [name for name, chosen in PROJECTIONS.items() if chosen.sizes.hold(3)]
    marks = np.stack([at_dial(name, one) for name in here])
    where = places(marks)
    composite = mhc.compose(at_dial(state.projection, layers)).matrix(at=state.depth)
    there = places(composite)
    steps = birkhoff.path(one[PROJECTIONS[state.projection].takes_logits], state.projection)
    return {
        "polytope": {
            "marks.distance": birkhoff.distance_from_birkhoff(marks),
            "marks.h": where.height,
            **{f"marks.{axis}": where.coordinates[:, k] for k, axis in enumerate("abcd")},
            "whole.h": places(steps).height,
            **{f"composite.{axis}": there.coordinates[k] for k, axis in enumerate("abcd")},
        }
    }


@library("mixing")
def _mixing(state: State) -> Plots:
    surface = mhc.mixing_surface(experiment(state), metrics=mixing.DRAWN)
    found = surface.sel(iterations=state.iterations)

    def both(values: xr.DataArray) -> dict[str, xr.DataArray]:
        return {
            "HC, unconstrained": values.sel(iterations=0),
            "projection": values.sel(iterations=state.iterations),
        }

    return {
        "mixing": {METRICS[name].title: found[name] for name in mixing.STROKES},
        "effective": both(surface["effective_streams"]),
        "ratio": {
            **both(np.log10(surface["singular_ratio"])),
            mixing.THEORY: surface["expected_log10_ratio"],
        },
    }


@library("why")
def _why(state: State) -> Plots:
    of = experiment(state)
    found = laws.composite_laws(of)
    hc, here = found.sel(iterations=0), found.sel(iterations=state.iterations)
    rows = laws.rows_only_laws(of)
    return {
        "laws-limits": {
            name: laws.layer_limits(of)[name].isel(layer=slice(state.depth))
            for name in ("rate", "largest", "random")
        },
        "laws-kept": {
            f"{network}, {name}": values[name]
            for network, values in (("HC", hc), ("projected", here))
            for name in ("mean", "shared")
        },
        "laws-norms": {
            "HC, two": hc["two"],
            **{f"projected, {name}": here[name] for name in ("one", "infinity", "two")},
            "projected, bound": (here["one"] + here["infinity"]) / 2,
        },
        "laws-drift": {name: laws.measured_drift(of)[name] for name in ("median", "exact", "law")},
        "laws-rows": {
            "gain": rows["gain"],
            "end": np.full(128, rows.attrs["end"] if rows.attrs["reached"] else np.nan),
        },
    }


@library("compare")
def _compare(state: State) -> Plots:
    gains = mhc.compare(experiment(state))["log10_gain"].sel(series="median")
    gains = gains.reindex(projection=list(PROJECTIONS))  # NaN where one does not exist
    return {
        f"compare-{d}": {
            f"{PROJECTIONS[name].label}, {d}": gains.sel(
                projection=name,
                direction=d,
                iterations=state.iterations if chosen.iterative else 1,
            )
            for name, chosen in PROJECTIONS.items()
        }
        for d in BOTH
    }


@library("phase")
def _phase(state: State) -> Plots:
    found: Plots = {}
    for swept, cut, rows in (("spread", "depth", "spread"), ("streams", "iterations", "depth")):
        gains = phase.larger_gain(mhc.phase_map(experiment(state), swept))
        gains = gains.sel({cut: getattr(state, cut)}).transpose(rows, ...)
        found[f"phase-{swept}"] = {"shade": phase.shade(gains.values).ravel()}
    return found


@library("cost")
def _cost(state: State) -> Plots:
    gains = mhc.gain_surface(experiment(state))["log10_gain"].sel(
        direction="backward", series="median", depth=state.depth
    )
    here = [gains.sel(iterations=state.iterations)]
    return {
        "cost-time": {"time": 1e9 * times(state.projection) / 10},
        "cost-trade": {"backward": gains, "present": here},
        "cost-closer": {"backward": gains, "present": here},
    }


def plotted(p: figure, name: str, position: Position) -> np.ndarray:
    """What a figure plots by that name, or else has in a column of that name.

    "shape.column" is what the polytope's script gets for a shape; of a way, its last number.
    """
    shape, _, column = name.rpartition(".")
    for each in p.renderers if shape else ():
        rule = each.data_source.tags[0]
        if rule.get("shape") == f"polytope_{shape}":
            whole = {key: value for key, value in rule.items() if key != "shape"}
            found = np.asarray(select_columns(whole, position)[column], float)
            return found[-1:] if rule["select"] == "row" else found
    for each in p.renderers:
        if each.name == name:
            return np.asarray(each.data_source.data[each.glyph.y], float)
    for each in p.renderers:
        rule = each.data_source.tags[0] if each.data_source.tags else {}
        if rule.get("shape") == "lanes" and name in rule["columns"]:  # the browser makes the rest
            whole = {key: value for key, value in rule.items() if key != "shape"}
            return np.asarray(select_columns(whole, position)[name], float)
        if name in each.data_source.data:
            return np.asarray(each.data_source.data[name], float)
    raise AssertionError(f"{p.name} plots no {name}")


def unscaled(block: np.ndarray) -> np.ndarray:
    """The matrix of a heatmap's block, which has its sums, and a power of ten in its corner."""
    block = block.reshape(2 * (round(len(block) ** 0.5),))
    return block[:-1, :-1] * 10.0 ** block[-1, -1]


CHANGES = [
    ("signal", {"seed": 7, "enters": "random", "writes": True}),
    ("signal", {"streams": 5, "projection": "exp", "enters": "worst"}),
    ("signal", {"spread": 3.0, "direction": "backward", "enters": "alike", "iterations": 0}),
    ("composite", {"streams": 2, "projection": "exp"}),
    ("composite", {"spread": 3.0, "projection": "none"}),
    ("layers", {"seed": 7, "projection": "columns"}),
    ("layers", {"init": "identity", "streams": 6, "projection": "mhc-lite"}),
    ("layer-axis", {"seed": 7, "projection": "released"}),
    ("layer-axis", {"spread": 3.0, "projection": "identity"}),
    ("matrices", {"spread": 3.0, "projection": "rows"}),
    ("matrices", {"streams": 5, "projection": "exp"}),
    ("matrices", {"init": "identity", "iterations": 0}),
    ("sinkhorn", {"spread": 3.0, "layer": 4, "step": 0}),
    ("sinkhorn", {"streams": 6, "init": "identity", "step": 1}),
    ("sinkhorn", {"own": [1.0, -2.0, 0.5, 0.0], "step": 2}),
    ("sinkhorn", {"spread": 8.0, "projection": "released", "step": 9}),
    ("sinkhorn", {"layer": 128, "projection": "mhc-lite", "step": 9}),
    ("sinkhorn", {"layer": 2, "init": "identity", "projection": "none"}),
    ("polytope", {"spread": 3.0, "layer": 4}),
    ("polytope", {"seed": 7, "projection": "rows", "own": [0.5, 1, 0, -2, 0, 1, 0, 0.25, 3]}),
    ("polytope", {"init": "identity", "projection": "none", "iterations": 0}),
    ("polytope", {"streams": 2, "projection": "mhc-lite", "own": [1.0, 0.0, 0.0, 1.0]}),
    ("mixing", {"seed": 7, "projection": "released"}),
    ("mixing", {"streams": 2, "projection": "columns"}),
    ("why", {"seed": 7, "spread": 3.0, "projection": "rows"}),
    ("why", {"streams": 9, "init": "identity", "iterations": 0}),
    ("compare", {"seed": 7, "spread": 3.0}),
    ("compare", {"init": "identity", "streams": 2}),
    ("phase", {"seed": 7, "projection": "rows"}),
    ("phase", {"spread": 0.0, "init": "identity", "projection": "mhc-lite"}),
    ("cost", {"streams": 2, "projection": "mhc-lite"}),
    ("cost", {"seed": 7, "projection": "released"}),
]
CHANGED_TO = {change.get("projection", "sinkhorn") for _, change in CHANGES}
CHANGES += [("composite", {"projection": name}) for name in PROJECTIONS if name not in CHANGED_TO]


def test_every_view_with_plots_is_changed_here() -> None:
    assert {view for view, _ in CHANGES} == set(LIBRARY)
    # The lab plots what was trained (test_lab.py, test_evidence.py, test_jacobian.py), "benchmarks"
    # what is printed, "my-model" what a visitor brings (inspection/test_view.py).
    without = {"figure8", "my-model", "formulas", "benchmarks", "lab", "jacobian", "claims", "link"}
    assert set(LIBRARY) == set(VIEWS) - without


@pytest.mark.parametrize(("view", "change"), CHANGES, ids=lambda value: str(value))
def test_after_a_change_a_view_plots_the_library_s_numbers(
    view: str, change: dict[str, Any]
) -> None:
    explorer, shown = opened(view)
    state = explorer.state
    state.param.update(**change)
    state.param.update(depth=9, **({} if "iterations" in change else {"iterations": 2}))
    shown.recut()  # as the browser has done
    found = {each.name: each for each in shown.figures()}
    wanted = LIBRARY[view](state)
    assert set(wanted) == set(found)
    for name, series in wanted.items():
        for what, values in series.items():
            numbers = plotted(found[name], what, state.position())
            if what == "value":
                numbers = unscaled(numbers)
            values = np.asarray(values, float)
            close = ROUNDED if view == "signal" else CLOSE
            np.testing.assert_allclose(numbers, values, **close, err_msg=f"{name}: {what}")
            if what in LIMITED and view != "compare":  # whose lines may leave it
                low, high = found[name].y_range.start, found[name].y_range.end
                assert low <= values.min() <= values.max() <= high


@pytest.mark.parametrize(
    "view", ["scale", "figure8", "my-model", "formulas", "lab", "jacobian", "claims", "link"]
)
def test_a_view_without_the_experiment_stays_when_the_experiment_changes(view: str) -> None:
    explorer, shown = opened(view)
    explorer.state.param.update(streams=2, projection="rows", iterations=0, depth=1)
    assert explorer.stage.place.objects == [shown.content]
    assert not explorer.computing


# One life


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of the life of every view, as they are taken."""
    taken: list[str] = []

    def noted(view: type[View], name: str) -> None:
        step = getattr(view, name)

        def take(self: View, *given: Any) -> Any:
            taken.append(name)
            return step(self, *given)

        monkeypatch.setattr(view, name, take)

    for view in VIEWS.values():
        for name in ("build", "complete", "update", "describe", "recolour"):
            noted(view, name)
    return taken


@pytest.mark.parametrize("view", VIEWS)
def test_whatever_happens_a_view_describes_it_once(view: str, calls: list[str]) -> None:
    key = ("sinkhorn", 3, "numpy")
    cost._times[key] = cost.projection_times("sinkhorn", streams=3, device="numpy")
    explorer, _ = opened(view)
    assert calls == ["build", "describe", "complete"]
    calls.clear()
    explorer.state.seed = 7
    assert calls == ["update", "describe"]
    calls.clear()
    explorer.state.iterations = 3
    assert calls == ["describe"]
    calls.clear()
    explorer.state.theme = "dark"
    assert calls == ["recolour"]
    calls.clear()
    explorer.state.depth = 20
    new = ["update", "describe"] if view == "layer-axis" else []  # it is of that depth
    assert calls == ["describe", *new]
    calls.clear()
    explorer.state.enters = "one"
    assert calls == ["describe", *(["update", "describe"] if view == "signal" else [])]
    calls.clear()
    explorer.state.view = "composite" if view == "figure8" else "figure8"
    calls.clear()
    explorer.state.view = view
    assert calls == ["describe"]


@pytest.mark.parametrize("view", VIEWS)
def test_to_ask_whether_a_view_holds_something_changes_nothing(view: str, calls: list[str]) -> None:
    explorer, shown = opened(view, streams=6) if view == "matrices" else opened(view)
    calls.clear()
    written: list[object] = []
    for each in shown.content.select():
        each.param.watch(written.append, list(each.param))
    here = explorer.state.position()
    elsewhere = here | {"depth": 3, "iterations": 30}
    assert shown.holds(here)
    assert shown.holds(elsewhere) == (view not in ("layer-axis", "matrices"))
    assert calls == written == []


def test_a_signal_is_held_as_long_as_nothing_else_enters() -> None:
    _, shown = opened("signal")
    here = shown.context.state.position()
    assert shown.holds(here | {"zoom": 8, "depth": 100})
    for change in ({"enters": "worst"}, {"direction": "backward"}, {"writes": True}):
        assert not shown.holds(here | change)
    # From n = 5 on the browser gets the weights of the layers that it can draw.
    _, shown = opened("signal", streams=8, depth=64)
    assert shown.holds(here)
    assert not shown.holds(here | {"depth": 65})
    _, shown = opened("signal", direction="backward", depth=20)
    here = shown.context.state.position()
    assert shown.holds(here | {"iterations": 9, "writes": True})  # layers write forward alone
    assert not shown.holds(here | {"depth": 21})


def test_the_signal_s_controls_say_what_the_state_is_and_take_only_what_is_allowed() -> None:
    explorer, shown = opened("signal", enters="random", zoom=8)
    controls = shown.controls
    assert (controls.enters, controls.zoom, controls.writes) == ("random", 8, False)
    controls.enters = "one"
    assert explorer.state.enters == "one"
    controls.zoom = 32
    assert explorer.state.zoom == shown.picture.zoom == 32
    controls.param.update(zoom=10**6, enters="<b>")  # a browser may send anything
    assert (explorer.state.zoom, explorer.state.enters) == (32, "one")
    explorer.state.reset()
    assert (controls.enters, controls.zoom) == ("alike", 64)


@pytest.mark.parametrize("view", ["signal", "matrices", "sinkhorn", "compare", "phase"])
def test_a_view_of_many_colours_follows_the_theme(view: str) -> None:
    def colours(p: figure) -> list[object]:
        painted = [model for model in p.references() if hasattr(model, "text_color")]
        palettes = [model for model in p.references() if hasattr(model, "palette")]
        return [*(m.text_color for m in painted), *(m.palette for m in palettes)]

    explorer, shown = opened(view)
    before = [colours(each) for each in shown.figures()]
    explorer.state.theme = "dark"
    assert [colours(each) for each in shown.figures()] != before
    explorer.state.theme = "light"
    assert [colours(each) for each in shown.figures()] == before


def test_an_empty_plot_says_why() -> None:
    explorer, view = opened("mixing")
    plot = view.plot
    assert not plot.unprojected.visible
    assert not plot.unbounded.visible
    # The browser moves by itself, and follows the same rule.
    assert plot.unprojected.tags[0]["value"] == "!iterations"
    assert set_value("!iterations", {"depth": 1, "iterations": 0})
    assert not set_value("!iterations", {"depth": 1, "iterations": 1})
    explorer.state.projection = "exp"
    assert plot.unbounded.visible
    assert plot.unprojected.text == ""  # or the two would lie upon each other
    _, view = opened("layer-axis")
    assert view.plot.one_layer.tags[0]["value"] == "!depth"
    assert set_value("!depth", {"depth": 1, "iterations": 0})


@pytest.mark.parametrize("streams", [4, 6])  # the browser holds all matrices, or those shown
def test_the_matrices_are_measured_where_the_sliders_stand(streams: int) -> None:
    explorer, view = opened("matrices", streams=streams, iterations=2, depth=30)
    explorer.state.depth = 12
    chosen = experiment(explorer.state)
    matrices = mhc.member_matrices(chosen, depth=12, iterations=[0, 2])
    mixing_ = mhc.mixing_surface(chosen, depth=12, iterations=2, metrics=["singular_ratio"])
    wanted = texts(measured_at(matrices, mixing_, 12, 2, bounded=True))
    found = re.findall(r"<tr>.*?</tr>", view.metrics.object)
    for name, metric in METRICS.items():
        (row,) = (each for each in found if f'data-title="{metric.title}"' in each)
        assert re.findall(r"<td>(.*?)</td>", row) == wanted[name]
    explorer.state.iterations = 0
    assert view.metrics.object.count(">HC<") == len(GROUPS)
    assert "Projected" not in view.metrics.object


def test_the_legend_names_the_theory_of_hc_where_there_is_one() -> None:
    explorer, view = opened("mixing")
    assert "swatch theory" in view.legend.object
    assert "= 0.307" in view.note.object  # between the exponents at n = 3: (psi(3/2)-psi(1))/2
    explorer.state.init = "identity"
    assert "swatch theory" not in view.legend.object
    assert "λ₁" not in view.note.object
    assert np.isnan(view.plot.theory.data["expected"]).all()


def test_the_legend_of_the_costs_explains_their_diamonds() -> None:
    _, view = opened("cost")
    assert 'class="swatch diamond"' in view.legend.object
    assert "backward gain" in view.legend.object


@pytest.mark.parametrize("name", ["figure8", "formulas", "lab"])
def test_a_view_that_follows_no_dial_shows_none(name: str) -> None:
    explorer, _ = opened(name)
    assert not explorer.dial.visible
    assert not explorer.depth.visible
    assert not Controls(explorer)._experiment.visible


def test_a_matrix_s_power_of_ten_stands_beside_its_title() -> None:
    _, shown = opened("matrices")
    for p in shown.figures():
        (power,) = [r for r in p.renderers if getattr(r.glyph, "text_color", "") == style.HC]
        source, (cell,) = power.data_source, power.view.filter.indices
        assert cell == len(source.data["text"]) - 1  # the corner of the block
        place = (source.data["x"][cell], source.data["y"][cell])
        assert place == (p.x_range.end, p.y_range.end)  # the end of the title's line

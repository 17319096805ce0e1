"""Plots for those who cannot see them or want to keep them: descriptions, pictures, numbers."""

from __future__ import annotations

import csv
import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.app.views import VIEWS
from mhc_demo.figures import laws as figures
from mhc_demo.figures import mixing, phase
from mhc_demo.figures.figure8 import figure8_csv
from mhc_demo.figures.histogram import BINS
from mhc_demo.numerics import laws
from mhc_demo.numerics.birkhoff import distance_from_birkhoff
from mhc_demo.numerics.metrics import METRICS
from mhc_demo.numerics.paper import figure8
from mhc_demo.numerics.projections import PROJECTIONS

from .conftest import Explorer, usual

pytestmark = pytest.mark.browser

# The browser holds float32 numbers, and asinh of them for the maps.
CLOSE = {"rtol": 2e-6, "atol": 1e-7}
MEMBERS = 3
DEPTH, ITERATIONS = 40, 2
PRESENT = f"{DEPTH} layers, {ITERATIONS} iterations"
BOTH = ("forward", "backward")
NETWORKS = {"HC": 0, "projected": ITERATIONS}
QUANTILES = {"log10 median": "median", "log10 5 % quantile": "q05", "log10 95 % quantile": "q95"}


def experiment() -> mhc.Experiment:
    return mhc.Experiment(members=MEMBERS)


def said(log10: float) -> str:
    """A gain as people say it: to three digits, or as a power of ten."""
    if abs(log10) < 2.9995:
        return f"{10**log10:#.3g}".rstrip(".")
    return f"10 to the power of {log10:.1f}".replace("-", "−")


class Shown:
    """What a figure is to show: its table, by series and heading, and phrases of its text.

    `where`: what of the experiment it shows, as its files say.
    """

    def __init__(
        self, table: dict[str, dict[str, Any]], *phrases: str, where: str = PRESENT
    ) -> None:
        self.table = {
            series: {heading: np.asarray(values, dtype=float) for heading, values in each.items()}
            for series, each in table.items()
        }
        self.phrases, self.where = phrases, where


def curves(table: dict[str, dict[str, Any]], at: int, say: Callable[[float], str] = said) -> Shown:
    """Curves: each is spoken at the present place and at its ends, or once if it is level."""
    phrases = []
    for series, columns in table.items():
        x, y = (np.asarray(values, dtype=float) for values in list(columns.values())[:2])
        words = [say(value) for value in y]
        if len({say(y.min()), say(y.max())}) == 1:
            phrases.append(f"{series}: {words[0]} throughout.")
            continue
        here = words[int(np.abs(x - at).argmin())]
        phrases.append(f"{series}: {here}")
        phrases.append(f"from {words[0]} at {x[0]:g}")
        phrases.append(f"to {words[-1]} at {x[-1]:g}")
    return Shown(table, *phrases)


def gains_of(gains: Any, **place: Any) -> dict[str, Any]:
    """Three columns of an ensemble's log10 gains."""
    return {heading: gains.sel(series=name, **place) for heading, name in QUANTILES.items()}


def networks(gains: Any, along: str, x: str) -> dict[str, dict[str, Any]]:
    """Both networks in both directions."""
    return {
        f"{name}, {d}": {x: gains[along], **gains_of(gains, direction=d, iterations=t)}
        for name, t in NETWORKS.items()
        for d in BOTH
    }


SHOWN: dict[str, Callable[[], dict[str, Shown]]] = {}
"""For each view, what its figures are to show, by their titles; from the library's own numbers."""


def shown(view: str) -> Callable[[Callable[[], dict[str, Shown]]], Callable[[], dict[str, Shown]]]:
    def register(function: Callable[[], dict[str, Shown]]) -> Callable[[], dict[str, Shown]]:
        SHOWN[view] = function
        return function

    return register


@shown("signal")
def _signal() -> dict[str, Shown]:
    found = mhc.signal_surface(experiment()).sel(position=slice(0, DEPTH))
    layers, streams = np.indices((DEPTH + 1, 4)).reshape(2, -1)
    shown = {}
    for series, title, t in (
        ("HC, unconstrained", "Signal through HC", 0),
        ("projection", "Signal through the projection", ITERATIONS),
    ):
        here = found.sel(iterations=t)
        powers = here["log10"].values.round(5)
        table = {
            "after layer": layers,
            "stream": streams + 1,
            "log10 size": powers.ravel(),
            "sign": here["sign"].values.ravel(),
        }
        ends = zip(here["sign"].values[-1], powers[-1], strict=True)
        carried = ["−" * int(sign < 0) + said(power) for sign, power in ends]
        phrases = [f"stream {k} carries {each}" for k, each in enumerate(carried, start=1)]
        shown[title] = Shown({series: table}, f"After layer {DEPTH}: ", *phrases)
    return shown


@shown("composite")
def _composite() -> dict[str, Shown]:
    surface = mhc.gain_surface(experiment())
    gains = surface["log10_gain"]
    against_depth = networks(gains, "depth", "depth")
    theory = {"depth": gains["depth"], "log10 expected": surface["expected_log10_gain"]}
    against_iterations = {
        d: {
            "iterations": gains["iterations"],
            **gains_of(gains, direction=d, depth=DEPTH),
        }
        for d in BOTH
    }
    return {
        "Composite Amax gain against depth": curves(
            {**against_depth, "theory of HC (mean)": theory}, DEPTH
        ),
        "Composite Amax gain against iterations": curves(against_iterations, ITERATIONS),
    }


@shown("layers")
def _layers() -> dict[str, Shown]:
    gains = mhc.layer_gains(experiment())
    table = networks(gains, "layer", "layer")
    for name, t in NETWORKS.items():
        for d in BOTH:
            member = gains.sel(series="member", direction=d, iterations=t)
            table[f"{name}, {d}"]["log10 first network"] = member
    distribution, phrases = {}, []
    for name, t in NETWORKS.items():
        for d in BOTH:
            median = float(gains.sel(series="member", direction=d, iterations=t).median())
            distribution[f"{name}, {d}"] = {"log10 median of all layers": np.full(BINS, median)}
            phrases.append(f"{name}, {d}: median {said(median)}, all from ")
    return {
        "Amax gain of each single layer": curves(table, DEPTH),
        "Distribution of the gains of single layers": Shown(distribution, *phrases),
    }


@shown("layer-axis")
def _layer_axis() -> dict[str, Shown]:
    gains = mhc.layer_axis_gains(experiment(), depth=DEPTH)
    title = "Composite Amax gain against the layer of one network"
    return {title: curves(networks(gains, "layer", "layer"), DEPTH)}


@shown("matrices")
def _matrices() -> dict[str, Shown]:
    logits = mhc.sample_mixing(depth=DEPTH, streams=4, seed=42)[0]
    found = {}
    for name, t in {"HC": 0, "Projected": ITERATIONS}.items():
        layers = mhc.sinkhorn_knopp(logits, t)
        for what, matrix in (
            (f"layer {DEPTH}", layers[-1]),
            (f"composite 1–{DEPTH}", mhc.compose(layers).matrix(at=DEPTH)),
        ):
            power = np.floor(np.log10(np.abs(matrix).max()))
            power = 0 if -2 <= power < 3 else power
            sums = [", ".join(f"{v:.2f}" for v in matrix.sum(axis) / 10**power) for axis in (1, 0)]
            text = "Row sums, the forward gains: {}. Column sums, the backward gains: {}."
            block = np.zeros((5, 5))
            block[:4, :4] = matrix
            block[:4, 4], block[4, :4] = matrix.sum(1), matrix.sum(0)
            table = {"value": block.ravel()[:-1]}
            phrase = text.format(*sums).replace("-0.00", "0.00").replace("-", "−")
            scale = f"10 to the power of {power:g}".replace("-", "−") if power else "4 by 4. "
            found[f"{name}, {what}"] = Shown({"matrix": table}, phrase, scale)
    return found


def matrix_shown(matrix: np.ndarray) -> Shown:
    """A heatmap of entries that need no power of ten."""
    block = np.zeros((5, 5))
    block[:4, :4] = matrix
    block[:4, 4], block[4, :4] = matrix.sum(1), matrix.sum(0)
    rows, columns = (", ".join(f"{v:.2f}" for v in matrix.sum(axis)) for axis in (1, 0))
    text = f"Row sums, the forward gains: {rows}. Column sums, the backward gains: {columns}."
    return Shown({"matrix": {"value": block.ravel()[:-1]}}, text.replace("-", "−"))


@shown("sinkhorn")
def _sinkhorn() -> dict[str, Shown]:
    logits = mhc.sample_mixing(1, streams=4, seed=42)[0, 0]
    counts = np.arange(1, 31)
    off = mhc.distance_from_doubly_stochastic([mhc.sinkhorn_knopp(logits, t) for t in counts])
    whole = {"iterations": counts, "log10 error": np.log10(np.where(off > 0, off, np.nan))}
    here = said(float(whole["log10 error"][ITERATIONS - 1]))
    step = "Layer 1, step 0"
    matrix = matrix_shown(logits)
    matrix.where = step
    return {
        step: matrix,
        "Largest |sum − 1| after each iteration": Shown(
            {"error": whole},
            f"Plot at {step}",
            f"error: {here} at iterations {ITERATIONS}",
            "slope s₂²: ",
            where=step,
        ),
    }


@shown("polytope")
def _polytope() -> dict[str, Shown]:
    Z = mhc.sample_mixing(1, streams=3, seed=42)[0, 0]
    here = [name for name, chosen in PROJECTIONS.items() if chosen.sizes.hold(3)]
    each = {name: mhc.project(Z, name, ITERATIONS) for name in here}
    far = distance_from_birkhoff(np.stack(list(each.values())))
    said = {name: f"{PROJECTIONS[name].label} {d:.3g}" for name, d in zip(each, far, strict=True)}
    return {
        "The doubly stochastic 3 × 3 matrices": Shown(
            {"projection": {"distance from the set": far}},
            f"Distances from the set: {said['sinkhorn']} (off: columns); ",
            f"; {said['none']} (off: rows, columns, signs)",
            f"; {PROJECTIONS['mhc-lite'].label} 0; ",
        )
    }


@shown("mixing")
def _mixing() -> dict[str, Shown]:
    surface = mhc.mixing_surface(experiment(), metrics=mixing.DRAWN)
    found = surface.sel(iterations=ITERATIONS)
    depths = {"depth": found["depth"]}
    table = {METRICS[name].title: {**depths, "value": found[name]} for name in mixing.STROKES}

    def both(values: Any, heading: str = "value") -> dict[str, Any]:
        return {
            name: {**depths, heading: values.sel(iterations=t)}
            for name, t in (("HC, unconstrained", 0), ("projection", ITERATIONS))
        }

    ratios = both(np.log10(surface["singular_ratio"]), "log10 value")
    theory = mixing.ratio_theory(surface)
    ratios[mixing.THEORY] = {
        **depths,
        "log10 expected": theory["expected"],
        "log10 5 %": theory["low"],
        "log10 95 %": theory["high"],
    }
    written = lambda x: f"{x:.3f}" if x < 1 else f"{x:.4g}"  # noqa: E731
    return {
        "Difference left between streams against depth": curves(table, DEPTH, written),
        "Effective number of streams against depth": curves(
            both(surface["effective_streams"]), DEPTH, written
        ),
        "Second to first singular value of the composite against depth": curves(ratios, DEPTH),
    }


@shown("why")
def _why() -> dict[str, Shown]:
    def written(x: float) -> str:
        return (f"{x:.3f}" if abs(x) < 1 else f"{x:.4g}").replace("-", "−")

    limits = laws.layer_limits(experiment(), depth=DEPTH)
    titles = {**figures.DOT_TITLES, **figures.KEPT_TITLES, **figures.NORM_TITLES}
    dots = {
        titles[name]: {
            "layer": limits["layer"],
            "factor": limits[name],
            "s₂²": limits["s2_squared"],
        }
        for name in ("rate", "largest", "random")
    }
    found = laws.composite_laws(experiment())
    found["bound"] = (found["one"] + found["infinity"]) / 2
    here = {name: found.sel(iterations=t) for name, t in NETWORKS.items()}

    def of(network: str, name: str) -> dict[str, Any]:
        return {"depth": found["depth"], f"log10 {name}": here[network][name]}

    kept = {f"{n}, {titles[name]}": of(n, name) for n in NETWORKS for name in laws.KEPT}
    norms = {
        f"projection, {titles[name]}": of("projected", name)
        for name in ("bound", "one", "infinity", "two")
    }
    drift, rows = laws.measured_drift(experiment()), laws.rows_only_laws(experiment())
    growth = {"σ": drift["spread"], "nats per layer": drift["median"]}
    growth |= {f"{q} % quantile": drift[name] for q, name in ((5, "q05"), (95, "q95"))}
    law, exact = (
        {"σ": drift["spread"], "nats per layer": drift[name]} for name in ("law", "exact")
    )
    limit = f"Sinkhorn’s pace and what survives of a difference, against s₂², layers 1 to {DEPTH}"
    shown = {
        limit: curves(dots, DEPTH, written),
        "Mean over the streams and shared signal against depth": curves(kept, DEPTH),
        "Norms of the composite against depth": curves(
            {**norms, "HC, ‖A‖₂": of("HC", "two")}, DEPTH
        ),
        "Growth of HC per layer against its drift from the identity": Shown(
            {"HC at I + σZ, median": growth, "exact exponent": exact, "(n − 2) σ² / 2": law},
            f"(n − 2) σ² / 2: {written(float(drift['law'][0]))}",
            where="128 layers, HC at I + σZ",
        ),
        "Backward gain of rows only against depth, and n max π": curves(
            {
                "backward gain": {
                    "depth": rows["depth"],
                    "gain": rows["gain"],
                    **dict(zip(("least", "most"), figures.reach(rows), strict=True)),
                },
                "n max π": {"depth": rows["depth"], "end": np.full(128, rows.attrs["end"])},
            },
            DEPTH,
            written,
        ),
    }
    shown[limit].where = f"layers 1 to {DEPTH}"
    shown["Backward gain of rows only against depth, and n max π"].where = WHERE_ROWS
    return shown


WHERE_ROWS = "rows only, any number of iterations"


@shown("compare")
def _compare() -> dict[str, Shown]:
    gains = mhc.compare(experiment())["log10_gain"].sel(series="median")
    return {
        f"{d.title()} composite gain of every projection against depth": curves(
            {
                PROJECTIONS[name].label: {
                    "depth": gains["depth"],
                    "log10 median": gains.sel(
                        projection=name,
                        direction=d,
                        iterations=ITERATIONS if chosen.iterative else 1,
                    ),
                }
                for name, chosen in PROJECTIONS.items()
            },
            DEPTH,
        )
        for d in BOTH
    }


@shown("phase")
def _phase() -> dict[str, Shown]:
    here = {"depth": DEPTH, "iterations": ITERATIONS, "spread": 1.0, "streams": 4}

    def over(across: str, up: str, order: tuple[str, str]) -> Shown:
        swept = up
        cut = {"spread": "depth", "streams": "iterations"}[swept]
        gains = phase.larger_gain(mhc.phase_map(experiment(), swept)).sel({cut: here[cut]})
        gains = gains.transpose(*order)
        heading = "layers" if across == "depth" else across
        table = {
            heading: gains[across].broadcast_like(gains).values.ravel(),
            up: gains[up].broadcast_like(gains).values.ravel(),
            "log10 gain": gains.values.ravel(),
        }
        gain = said(float(gains.sel({across: here[across], up: here[up]})))
        place = f"{gain} at {heading} {here[across]}, {up} {here[up]:g}."
        return Shown({"composite": table}, place, f"Of {gains.size} cells")

    return {
        "Composite gain over iterations and spread": over(
            "iterations", "spread", ("spread", "iterations")
        ),
        "Composite gain over depth and streams": over("depth", "streams", ("depth", "streams")),
    }


@shown("cost")
def _cost() -> dict[str, Shown]:
    gains = mhc.gain_surface(experiment())["log10_gain"].sel(direction="backward", depth=DEPTH)
    table = {"iterations": gains["iterations"], **gains_of(gains)}
    late = {heading: values[1:] for heading, values in table.items()}
    title = "Backward gain against time per matrix"

    def without_times(table: dict[str, Any]) -> Shown:
        y = np.asarray(table["log10 median"])
        here = f"backward: {said(y[ITERATIONS - int(table['iterations'][0])])}"
        return Shown({"backward": table}, here, "nanoseconds")

    counts = {"iterations": gains["iterations"]}
    return {
        "Time per matrix against iterations": Shown({"measured": counts}, "nanoseconds at 30"),
        title: without_times(table),
        f"{title}, from 1 iteration on": without_times(late),
    }


# What the page says and saves


FIGURES_SEEN = """[...Bokeh.index.query((view) => view.model.type === "Figure")]
    .filter((view) => view.el.checkVisibility()).length"""


def texts(explorer: Explorer) -> dict[str, str]:
    """The text alternatives of the plots that are seen, by title."""
    images = explorer.page.locator(".mhc-stage").get_by_role("img").filter(visible=True)
    labels = images.evaluate_all("(all) => all.map((node) => node.ariaLabel)")
    return dict(label.split(". ", 1) for label in labels)


def saved(explorer: Explorer, title: str, kind: str, where: str = PRESENT) -> bytes:
    """The file that the button of a plot hands out."""
    page = explorer.page
    page.wait_for_timeout(105)  # Chromium takes no more than ten in a second
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save {title} as {kind}", exact=True).click()
    name = download.value.suggested_filename
    told = " ".join(dict.fromkeys(["mhc", title, where])).lower()  # nothing twice
    assert name == f"{re.sub('[^a-z0-9]+', '-', told)}.{kind.lower()}"
    return Path(download.value.path()).read_bytes()


def columns_of(text: str) -> dict[str, dict[str, np.ndarray]]:
    """A CSV file's numbers by series and heading, as far as the series has any."""
    rows = list(csv.DictReader(io.StringIO(text)))
    found: dict[str, dict[str, np.ndarray]] = {}
    for series in dict.fromkeys(row["series"] for row in rows):
        own = [row for row in rows if row["series"] == series]
        found[series] = {
            heading: np.array([float(row[heading] or "nan") for row in own])
            for heading in own[0]
            if heading not in ("series", "row", "column", "projection")
        }
    return found


def table_is(text: str, wanted: Shown) -> None:
    """The file holds those numbers, and every series that is drawn."""
    found = columns_of(text)
    assert set(wanted.table) <= set(found)
    for series, columns in wanted.table.items():
        power = found[series].get("times 10 to the power of", np.array(0.0))
        for heading, values in columns.items():
            held = found[series][heading] * 10.0**power
            largest = np.abs(values[np.isfinite(values)]).max(initial=1e-30)
            scale = {"rtol": 2e-6, "atol": 1e-6 * largest} if power.shape else CLOSE
            np.testing.assert_allclose(held, values, **scale, err_msg=f"{series}: {heading}")


def svg_is_whole(text: bytes, title: str, figure_text: str, axis_labels: list[str]) -> None:
    """It is XML, with what can be read on the page, and is described as the page describes it."""
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    assert root.findtext(f"{name}title") == title
    assert root.findtext(f"{name}desc") == f"{title}. {figure_text}"
    written = {node.text for node in root.iter(f"{name}text")}
    assert set(axis_labels) <= written
    assert title in "".join(node.text or "" for node in root.iter(f"{name}text"))


def png_is_sharp(data: bytes, width: float) -> None:
    """Twice the pixels of the page, opaque, and many of its lines hold more than one colour."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    wide, high, depth, colours = struct.unpack(">IIBB", data[16:26])
    assert wide == pytest.approx(2 * width, abs=2)
    assert depth == 8
    channels = {2: 3, 6: 4}[colours]
    packed, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(high, 1 + channels * wide)
    # A line is stored as what changes in it or from the one above: nothing does in a blank one.
    assert (lines[:, 1 + 3 * channels :] != 0).any(axis=1).mean() > 0.1


@pytest.fixture
def plots(shared: Explorer) -> Explorer:
    """A page with small ensembles."""
    return shared.visit(f"?members={MEMBERS}&depth={DEPTH}&iterations={ITERATIONS}")


@pytest.mark.parametrize("view", usual("signal", "composite", "matrices", of=SHOWN))
def test_each_plot_says_its_numbers_and_can_be_kept(plots: Explorer, view: str) -> None:
    """The lab's plots are of what was trained: see test_lab.py."""
    plots.show(view)
    says_its_numbers_and_can_be_kept(plots, SHOWN[view]())


def test_every_view_of_an_experiment_is_among_them() -> None:
    assert set(SHOWN) == {name for name, view in VIEWS.items() if view.of_experiment}


def says_its_numbers_and_can_be_kept(explorer: Explorer, wanted: dict[str, Shown]) -> None:
    """Every plot of the view that is open."""

    def every_plot_says_its_numbers() -> None:
        said = texts(explorer)
        assert list(said) == list(wanted)
        assert len(said) == explorer.page.evaluate(FIGURES_SEEN)  # none says nothing
        for title, figure in wanted.items():
            for phrase in figure.phrases:
                assert phrase in said[title], title

    explorer.eventually(every_plot_says_its_numbers)
    said = texts(explorer)
    for title, figure in wanted.items():
        table_is(saved(explorer, title, "CSV", figure.where).decode(), figure)
    for title in list(wanted)[-1:]:  # pictures take their time, and are all drawn by the same lines
        width, labels = figure_named(explorer, title)
        where = wanted[title].where
        svg = saved(explorer, title, "SVG", where)
        svg_is_whole(svg, title, said[title], labels)
        assert where in svg.decode()
        png_is_sharp(saved(explorer, title, "PNG", where), width)
    buttons = explorer.page.locator(".mhc-plots button").filter(visible=True)
    expect(buttons).to_have_count(3 * len(wanted))


def figure_named(explorer: Explorer, title: str) -> tuple[float, list[str]]:
    """The width of the plot of that title, and its axis labels."""
    return tuple(
        explorer.page.evaluate(
            """(title) => {
              for (const view of Bokeh.index.query((v) => v.model.type === "Figure")) {
                const node = view.canvas_view.events_el
                if (!node.ariaLabel?.startsWith(title + ". ") || !node.checkVisibility()) continue
                const labels = [...view.model.below, ...view.model.left].map((a) => a.axis_label)
                return [view.bbox.width, labels.filter(Boolean)]
              }
            }""",
            title,
        )
    )


def test_a_dark_page_gives_dark_pictures(plots: Explorer) -> None:
    plots.show("composite")
    ink = "m.left[0].major_label_text_color"
    light = plots.model("composite", ink)
    plots.page.get_by_role("button", name="Toggle theme").click()

    def drawn_dark() -> None:
        assert plots.model("composite", ink) != light

    plots.eventually(drawn_dark)
    svg = saved(plots, "Composite Amax gain against depth", "SVG").decode()
    plots.page.get_by_role("button", name="Toggle theme").click()
    expect(plots.page).not_to_have_url(re.compile("theme="))
    background = re.search(r'<path fill="rgb\((\d+),', svg)  # what is painted first
    words = re.search(r'<text fill="rgb\((\d+),[^>]*>Composite', svg)
    assert background
    assert words
    assert int(background[1]) < 50
    assert int(words[1]) > 200


def test_the_text_follows_the_sliders_when_they_rest(plots: Explorer) -> None:
    plots.show("composite")
    gains = mhc.gain_surface(experiment())["log10_gain"].sel(series="median", direction="backward")
    title = "Composite Amax gain against depth"

    def says(depth: int, iterations: int) -> None:
        text = texts(plots).get(title, "")
        assert f"Plot at {depth} layers, {iterations} iteration" in text
        for name, t in (("HC", 0), ("projected", iterations)):
            here = said(float(gains.sel(depth=depth, iterations=t)))
            assert f"{name}, backward: {here} " in text
        assert f"at depth {depth}" in text

    plots.eventually(lambda: says(DEPTH, ITERATIONS))
    for _ in range(3):
        plots.slider("Depth (layers)").press("ArrowRight")
        says(DEPTH, ITERATIONS)  # values in between are not announced
    plots.slider("Sinkhorn iterations").press("ArrowLeft")
    plots.eventually(lambda: says(DEPTH + 3, 1))
    plots.set("Depth (layers)", DEPTH)
    plots.set("Sinkhorn iterations", ITERATIONS)
    titles = ["Amax gain of each single layer", "Distribution of the gains of single layers"]
    plots.show("layers")
    plots.eventually(lambda: expect_titles(plots, titles))


def expect_titles(explorer: Explorer, titles: list[str]) -> None:
    """Those plots are described, and those can be saved; no other."""
    assert list(texts(explorer)) == titles
    rows = explorer.page.locator(".mhc-plots li span").all_inner_texts()
    assert rows == titles


def test_figure_8_can_be_had_as_a_table(shared: Explorer) -> None:
    shared.show("figure8")
    page = shared.page
    with page.expect_download() as download:
        page.get_by_role("link", name="Save Figure 8, matrices and sums as CSV").click()
    assert download.value.suggested_filename == "mhc-figure-8.csv"
    text = Path(download.value.path()).read_bytes().decode()
    assert text == figure8_csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    for panel in figure8():
        own = [r for r in rows if r["series"].endswith(f"HC, {panel.title}")]
        own = [r for r in own if r["series"].startswith("mHC") == (panel.method == "mhc")]
        entries = [float(r["printed"]) for r in own if "Σ" not in (r["row"], r["column"])]
        np.testing.assert_array_equal(entries, panel.matrix.ravel())
        printed = [float(r["printed"]) for r in own if r["column"] == "Σ"]
        np.testing.assert_array_equal(printed, panel.row_sums)


def test_a_plot_is_dragged_and_clicked_like_its_slider(shared: Explorer) -> None:
    shared.visit("?view=composite&scale=near")
    shared.eventually(lambda: shared.model("iterations", "m.inner_width"))

    def point(figure: str, share: float) -> tuple[float, float]:
        left, top, width, height = shared.page.evaluate(
            """(name) => {
              const [view] = Bokeh.index.query(({model}) => model.name === name)
              const {left, top} = view.canvas_view.events_el.getBoundingClientRect()
              const frame = view.frame.bbox
              return [left + frame.left, top + frame.top, frame.width, frame.height]
            }""",
            figure,
        )
        return left + share * width, top + height / 2

    mouse = shared.page.mouse
    mouse.move(*point("composite", 0.25))
    mouse.down()
    expect(shared.slider("Depth (layers)")).to_have_value("32")
    mouse.move(*point("composite", 0.75))
    mouse.up()
    expect(shared.slider("Depth (layers)")).to_have_value("97")
    mouse.click(*point("iterations", 0.5))
    expect(shared.slider("Sinkhorn iterations")).to_have_value("15")
    expect(shared.page).to_have_url(re.compile("iterations=15&depth=97&.*scale=near"))
    # The scale of the link stays with another experiment, until it is switched.
    near = shared.y_range("composite")
    shared.slider("Streams (n)").press("ArrowRight")
    expect(shared.page).to_have_url(re.compile("streams=5&"))
    assert shared.y_range("composite") == shared.y_range("iterations") == near == [-0.35, 0.35]
    shared.page.get_by_role("button", name="Full").click()
    shared.eventually(lambda: expect(shared.page).not_to_have_url(re.compile("scale=")))
    assert shared.y_range("composite")[1] > 10

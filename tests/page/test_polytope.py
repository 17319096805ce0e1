"""The Birkhoff polytope in a browser: what is drawn is Python's, and a drag moves the logits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.figures.polytope import FLAT, TOUCHES, UP
from mhc_demo.numerics.birkhoff import CORNERS, distance_from_birkhoff, places, shadow, start
from mhc_demo.numerics.projections import PROJECTIONS

from .conftest import Explorer

pytestmark = pytest.mark.browser

# The browser holds float32 numbers, rounded to 1e-6.
CLOSE = {"rtol": 1e-5, "atol": 5e-6}

DRAWN = """() => {
  const [doc] = Bokeh.documents
  const figure = doc.get_model_by_name("polytope")
  const view = Bokeh.index.find_one(figure)
  const {left, top} = view.canvas_view.events_el.getBoundingClientRect()
  const get = (data, name) => [...(data instanceof Map ? data.get(name) : data[name])]
  const rows = (shape, names) => {
    const {data_source: {data}} = figure.renderers.find(({data_source: {tags}}) =>
      (tags[0] instanceof Map ? tags[0].get("shape") : tags[0]?.shape) === `polytope_${shape}`)
    return Object.fromEntries(names.map((name) => [name, get(data, name)]))
  }
  const handle = rows("start", ["x", "foot"])
  return {
    marks: rows("marks", ["x", "y", "marker", "name"]),
    names: rows("names", ["text"]),
    composite: rows("composite", ["x", "y"]),
    edges: rows("edges", ["x0", "y0"]),
    start: handle,
    unit: view.frame.x_scale.compute(1) - view.frame.x_scale.compute(0),
    up: view.frame.y_scale.compute(0) - view.frame.y_scale.compute(1),
    at: [left + view.frame.x_scale.compute(handle.x[0]),
         top + view.frame.y_scale.compute(handle.foot[0])],
  }
}"""


def drawn_at(matrices: np.ndarray, turn: float) -> np.ndarray:
    """Where matrices are drawn, by the formula of the text."""
    where = places(matrices)
    x, y = np.moveaxis(shadow(where.coordinates, turn), -1, 0)
    return np.stack([x, FLAT * y + UP * where.height / (1 + where.height)], axis=-1)


def test_marks_stand_where_the_text_says_and_logits_can_be_dragged(shared: Explorer) -> None:
    page = shared.page
    shared.show("polytope")
    # The page's own projection after one iteration, each other as it is.
    Z = mhc.sample_mixing(1, streams=3, seed=42)[0, 0]

    def right(logits: np.ndarray, turn: float) -> Any:
        found = page.evaluate(DRAWN)
        assert found["unit"] == pytest.approx(found["up"])  # as long across as up
        marks = found["marks"]
        inside = [k for k, marker in enumerate(marks["marker"]) if marker == "circle"]
        assert len(inside) >= 6
        each = np.stack([mhc.project(logits, marks["name"][k], 1) for k in inside])
        xy = np.stack([marks["x"], marks["y"]], axis=-1)[inside]
        np.testing.assert_allclose(xy, drawn_at(each, turn), **CLOSE)
        # All fifteen edges begin at corners.
        edges = np.stack([found["edges"]["x0"], found["edges"]["y0"]], axis=-1)
        assert len(edges) == 15
        off = np.abs(edges[:, None] - drawn_at(CORNERS, turn)).max(axis=-1).min(axis=-1)
        assert off.max() < 1e-5
        return found

    shared.eventually(lambda: right(Z, 45))
    # The table says the distances, and a row chooses the page's projection.
    here = [each for each in PROJECTIONS.values() if each.sizes.hold(3)]
    headings = page.locator(".mhc-floor .kind")
    assert headings.all_inner_texts() == list(dict.fromkeys(each.kind for each in here))
    rows = page.locator(".mhc-floor tr:has(td)")
    expect(rows).to_have_count(len(here))
    for chosen in here:
        far = distance_from_birkhoff(mhc.project(Z, chosen.name, 1))
        # After one iteration nothing is near but what is in the set by its formula, to 1e-15.
        assert far < 1e-12 or far > TOUCHES
        row = rows.filter(has=page.get_by_text(chosen.label, exact=True))
        expect(row.locator("td").first).to_have_text("0" if far < 1e-12 else f"{far:.3g}")
    # The few that lead are named in the picture; another is while its row is pointed at.
    named = {each.label for each in here if each.leads}
    other = PROJECTIONS["polar-squares"].label

    def written(wanted: set[str]) -> None:
        names = page.evaluate(DRAWN)["names"]["text"]
        assert {re.sub(": .* away$", "", text) for text in names} == wanted

    shared.eventually(lambda: written({"exp(logits)", "drag"} | named))
    page.get_by_role("button", name=other).hover()
    shared.eventually(lambda: written({other}))
    page.mouse.move(5, 5)
    # Beside the picture of this window stands all of the table.
    high = page.locator(".mhc-floor table").bounding_box()
    slider = shared.slider("Turn").bounding_box()
    assert high
    assert slider
    assert high["y"] + high["height"] < slider["y"] + slider["height"]
    page.get_by_role("button", name=PROJECTIONS["rows"].label).click()
    expect(page).to_have_url(re.compile("projection=rows&"))
    # A drag on the foot below the start moves the logits, to the pixel.
    x, y = page.evaluate(DRAWN)["at"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 20, y + 4)
    page.mouse.move(x - 60, y + 10, steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile("&own="))

    def dragged() -> None:
        found = page.evaluate(DRAWN)
        np.testing.assert_allclose(found["at"], [x - 60, y + 10], atol=0.1)
        own = re.search("&own=([^&]*)", page.url)
        assert own
        logits = np.reshape([float(each) for each in own[1].split(",")], (3, 3))
        foot = shadow(places(start(logits)).coordinates, 45)
        assert found["start"]["x"][0] == pytest.approx(foot[0], abs=1e-5)
        right(logits, 45)

    shared.eventually(dragged)
    # Anywhere else it turns the floor.
    page.mouse.move(x - 250, y + 90)
    page.mouse.down()
    page.mouse.move(x - 200, y + 90, steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile("&turn="))
    expect(shared.slider("Turn")).not_to_have_value("45")
    # A network's product follows the depth.
    page.get_by_role("button", name="A network").click()
    expect(page).to_have_url(re.compile("&walk=1"))
    shared.set("Depth (layers)", 3)
    layers = mhc.project(mhc.sample_mixing(3, streams=3, seed=42)[0], "rows")
    turn = float(shared.slider("Turn").input_value())

    def at_the_product() -> None:
        found = page.evaluate(DRAWN)["composite"]
        wanted = drawn_at(mhc.compose(layers).matrix(at=3), turn)
        np.testing.assert_allclose([found["x"][0], found["y"][0]], wanted, **CLOSE)

    shared.eventually(at_the_product)

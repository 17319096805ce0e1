"""The view of what stability costs, and its calculator."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import mhc_demo as mhc
from mhc_demo.numerics import costs
from mhc_demo.numerics.budget import Budget
from mhc_demo.numerics.budget_tables import tables
from mhc_demo.numerics.numbers import in_text

from .conftest import Explorer
from .library import CLOSE

pytestmark = pytest.mark.browser


def test_the_cost_view_lays_pythons_gains_against_measured_times(shared: Explorer) -> None:
    shared.show("cost")
    shared.page.get_by_text("ns per matrix and further iteration").wait_for()
    surface = mhc.gain_surface(mhc.Experiment())["log10_gain"]
    gains = surface.sel(direction="backward", series="median")
    shared.set("Depth (layers)", 43)
    shared.set("Sinkhorn iterations", 2)

    def dots_are_right() -> None:
        times = shared.plotted("cost-time")["time"]
        assert times.shape == (31,)
        assert (times > 0).all()
        for name in ("cost-trade", "cost-closer"):
            drawn = shared.plotted(name)
            np.testing.assert_allclose(drawn["backward"], gains.sel(depth=43).values, **CLOSE)
            wanted = gains.sel(depth=43, iterations=2).values
            np.testing.assert_allclose(drawn["present"], [wanted], **CLOSE)
            along, present = shared.model(
                name,
                """["backward", "present"].map((name) => {
                    const r = m.renderers.find((r) => r.name === name)
                    return column(r.data_source.data, r.glyph.x.field)
                })""",
            )
            np.testing.assert_allclose(along, times, rtol=1e-6)
            np.testing.assert_allclose(present, times[[2]], rtol=1e-6)

    shared.eventually(dots_are_right)
    gain = in_text(float(gains.sel(depth=43, iterations=2)))
    expect(shared.page.get_by_text("Median backward gain after 43 layers")).to_contain_text(
        f"{gain} at 2 ("
    )
    shared.page.get_by_role("button", name="Measure again").click()
    expect(shared.page.get_by_role("button", name="Measure again")).to_be_enabled()


def test_the_cost_calculator_shows_the_librarys_numbers(shared: Explorer) -> None:
    shared.show("cost")
    page = shared.page

    def shows(streams: int, width: int, depth: int, block: int) -> None:
        for name, each in (
            ("Residual connection", costs.residual_traffic(width)),
            ("unfused", costs.hyper_connection_traffic(streams, width)),
            ("fused", costs.fused_traffic(streams, width)),
        ):
            row = {"unfused": "(5n + 1)C", "fused": "in one kernel"}.get(name, name)
            cells = page.locator(".cost-traffic tbody tr", has_text=row).locator("td")
            wanted = [f"{n:,}" for n in (each.read, each.written, each.moved)]
            expect(cells).to_have_text([*wanted, re.compile(r"^[\d.]+$")])
        best = costs.best_recompute_block(depth, streams)
        for row, length in (("Everything", None), ("best block", best), ("your block", block)):
            kept = costs.stored_activations(streams, width, depth, length)
            cells = page.locator(".cost-activations tbody tr", has_text=row).locator("td")
            wanted = [f"{n:,}" for n in (kept.resident, kept.transient, kept.peak)]
            expect(cells).to_have_text([*wanted, re.compile(r"^[\d.]+ %$")])

    shows(4, 2560, 60, 2)
    page.get_by_role("combobox", name="Model", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^3B")).click()
    shows(4, 1280, 24, 2)
    expect(page.get_by_role("textbox", name="Residual layers L")).to_have_value("24")
    for name, typed in (("Expansion rate n", "7"), ("Your block (layers)", "5")):
        page.get_by_role("textbox", name=name).fill(typed)
        page.keyboard.press("Enter")
    shows(7, 1280, 24, 5)
    page.get_by_role("textbox", name="Expansion rate n").fill("8")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    shows(9, 1280, 24, 5)
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_contain_text("another")
    page.get_by_role("textbox", name="Width C").fill("-3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Width C")).to_have_value("1")
    shows(9, 1, 24, 5)
    expect(page.get_by_text("set to 1; it ranges from 1 to 1048576.")).to_be_visible()
    # What is counted is in the link, and the link is what is counted.
    said = "model_streams=9&model_width=1&model_layers=24&model_block=5"
    expect(page).to_have_url(re.compile(said))
    link = page.url[page.url.index("?") :]
    shared.visit("?view=cost")
    shows(4, 2560, 60, 2)
    shared.visit(link)
    shows(9, 1, 24, 5)
    page.get_by_role("button", name="Reset").click()
    shows(4, 2560, 60, 2)
    expect(page).not_to_have_url(re.compile("model_"))
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_contain_text("27B")
    cited = page.locator(".cost-cited").last
    expect(cited).to_contain_text("6.7 %")
    expect(cited).to_contain_text("arXiv:2512.24880")


@pytest.mark.long
def test_the_cost_calculator_answers_for_given_machines(shared: Explorer) -> None:
    shared.show("cost")
    page = shared.page

    def shows(budget: Budget) -> None:
        for table in tables(budget):
            for row, (_, _, wanted) in enumerate(table.rows):
                cells = page.locator(f".{table.name} tbody tr").nth(row).locator("td")
                expect(cells).to_have_text(list(wanted))

    shows(mhc.cost())
    for name, typed in (
        ("Micro-batch (tokens)", "8192"),
        ("Tensor ranks", "2"),
        ("Link (GB/s)", "25"),
    ):
        page.get_by_role("textbox", name=name).fill(typed)
        page.keyboard.press("Enter")
    page.get_by_role("combobox", name="GPU", exact=True).click()
    page.get_by_role("menuitem", name="H200 SXM").click()
    asked = {"tokens": 8192, "tensor_ranks": 2, "link_gb_per_s": 25.0, "gpu": "h200"}
    shows(mhc.cost(**asked))
    expect(page).to_have_url(
        re.compile("model_tokens=8192&tensor_ranks=2&link_bandwidth=25&gpu=h200")
    )
    expect(page.locator(".cost-machines code").first).to_have_text(
        "mhc-demo cost --model 27B --tokens 8192 --tensor-ranks 2 --bandwidth 25 --gpu h200"
    )
    with page.expect_download() as saved:
        page.get_by_role("link", name="All numbers as JSON").click()
    assert json.loads(Path(saved.value.path()).read_text("utf-8")) == mhc.cost(**asked).to_dict()
    page.get_by_text("What the estimate assumes").click()
    expect(page.get_by_text("sequence parallelism")).to_be_visible()
    expect(page.get_by_text("Does mHC fit cheaper hardware?")).to_be_visible()

"""The view "At scale": schedules of a pipeline, simulated on the server."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import expect

from mhc_demo.figures.stages import percent
from mhc_demo.numerics.pipeline import SCHEDULES, Timeline
from mhc_demo.numerics.stages import WAYS, Stages, Way, overhead, timeline

from .conftest import Explorer

pytestmark = pytest.mark.browser


def test_the_schedules_are_the_simulation_and_follow_what_is_typed(shared: Explorer) -> None:
    shared.show("scale")
    page = shared.page

    def drawn(line: Timeline) -> None:
        name = f"pipeline-{line.schedule}"
        chunks, sent, title, shown = shared.model(
            name,
            """[
                ...["chunks", "sent"].map((name) =>
                    column(m.renderers.find((r) => r.name === name).data_source.data, "right")),
                m.title.text,
                m.renderers.filter((r) => r.name === "written")
                  .flatMap((r) => [...column(r.data_source.data, "text")]),
            ]""",
        )
        assert max(chunks) == pytest.approx(line.span, rel=1e-6)
        np.testing.assert_allclose(sent, [each.end for each in line.messages], rtol=1e-6)
        assert f"{line.span:,.0f} ms" in title
        if name == "pipeline-dualpipe":  # whose numbers have one digit, which fits
            assert any(re.fullmatch(r"F?\d", text) for text in shown)

    def simulated(stages: Stages, way: Way, *schedules: str) -> None:
        for name in schedules:
            shared.eventually(lambda name=name: drawn(timeline(stages, name, way)))

    stages, way = Stages(), WAYS["all three"]
    simulated(stages, way, *SCHEDULES)
    said = page.locator("p", has_text="Why all three.")
    expect(said).to_contain_text(percent(overhead(stages, "dualpipe")))
    expect(said).to_contain_text("6.7 %")

    page.get_by_role("checkbox", name="Overlapped").uncheck()
    way = replace(way, overlapped=False)
    simulated(stages, way, *SCHEDULES)
    expect(page.get_by_text("A rank waits until what it sends has arrived.")).to_be_visible()

    page.get_by_role("combobox", name="Schedule", exact=True).click()
    page.get_by_role("option", name="ZB1P").or_(page.get_by_role("menuitem", name="ZB1P")).click()
    expect(page.locator(".bk-Figure:visible")).to_have_count(1)
    expect(said).to_contain_text(percent(overhead(stages, "zb1p")))

    # Seven ranks are shown as eight, and it is said.
    page.get_by_role("textbox", name="Pipeline ranks").fill("7")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Shown with 8 ranks instead of 7")).to_be_visible()
    page.get_by_role("textbox", name="Pipeline ranks").fill("4")
    page.keyboard.press("Enter")
    stages = replace(stages, ranks=4)
    simulated(stages, way, "zb1p")
    expect(page).to_have_url(re.compile("pipeline_ranks=4&schedule=zb1p&overlaps=0"))
    link = page.url[page.url.index("?") :]
    page.get_by_role("button", name="Reset").click()
    simulated(Stages(), WAYS["all three"], *SCHEDULES)
    shared.visit(link)
    simulated(stages, way, "zb1p")

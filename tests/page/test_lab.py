"""The lab in a real browser: networks train beside the server, one visitor after the other."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from playwright.sync_api import Locator, expect

from mhc_demo.app.lasting import LASTS
from mhc_demo.lab import COMPARED, CONNECTIONS, TASKS, Settings, read_record, recorded, train
from mhc_demo.lab.evidence import recorded_runs
from mhc_demo.lab.networks import Network

from .conftest import Explorer, serve

pytestmark = pytest.mark.browser
PATIENCE = 90_000  # milliseconds; PyTorch takes some seconds to be imported


def opened(new_explorer: Any, address: str, **settings: int) -> Explorer:
    """The lab, its fields filled in."""
    explorer: Explorer = new_explorer(1400, 900)
    explorer.page.goto(f"{address}?view=lab")
    fill(explorer, **settings)
    return explorer


def fill(explorer: Explorer, **settings: int) -> None:
    """Type into the lab's fields."""
    for label, value in settings.items():
        # Its name goes on with what explains it.
        field = explorer.page.get_by_role("textbox", name=re.compile(f"^{re.escape(label)} "))
        field.fill(str(value))
        field.press("Enter")
    if settings:  # the text above the buttons becomes shorter, and they move
        expect(explorer.page.get_by_text("Your own settings. The plain")).to_be_visible()


COLLIDING = """() => {
  const found = []
  for (const {model} of Bokeh.index.query((view) => view.model.type === "Figure")) {
    const ticker = model.left[0].ticker
    if (ticker.type !== "CustomJSTicker") continue
    for (const [start, end] of [[1e-8, 1e300], [0.03, 9], [0.9, 1.8], [1, 1.01], [0.4, 70]]) {
      const {major} = ticker.get_ticks(start, end, model.y_range, NaN)
      const apart = major.slice(1).map((t, i) => Math.log(t / major[i]) / Math.log(end / start))
      if (major.length < 2 || Math.min(...apart) < 0.07) found.push([start, end, ...major])
    }
  }
  return found
}"""
"""Where ticks of a logarithmic axis would be fewer than two, or less than a line of text apart."""


def status(explorer: Explorer) -> Locator:
    return explorer.page.locator(".lab-status p")


def press(explorer: Explorer, name: str) -> None:
    explorer.page.get_by_role("button", name=name, exact=True).click()


def trained(explorer: Explorer, *, depth: int, steps: int) -> Locator:
    """Train there; returns the table of what came out."""
    fill(explorer, **{"Depth (layers)": depth, "Steps": steps})
    press(explorer, "Train it here")
    expect(status(explorer)).to_have_text("Done.", timeout=PATIENCE)
    return explorer.page.locator(".lab-results table")


@pytest.mark.long
def test_three_networks_train(address: str, new_explorer: Any) -> None:
    depth, steps = 4, 3
    explorer = opened(new_explorer, address)
    table = trained(explorer, depth=depth, steps=steps)
    task = TASKS["digits"].data(0)
    for name in COMPARED:
        row = table.get_by_role("row", name=re.compile(f"^{CONNECTIONS[name]}"))
        network = Network(Settings(connection=name, depth=depth), task)
        count = sum(each.numel() for each in network.parameters())
        expect(row).to_contain_text(f"{count:,}finished, {steps} steps")
    drawn = explorer.plotted("lab-gain")
    assert set(drawn) == {
        f"{t}, {d}" for t in map(CONNECTIONS.get, COMPARED) for d in ("forward", "backward")
    }
    assert all(len(values) == steps and np.all(values > 0) for values in drawn.values())
    np.testing.assert_allclose(drawn["Residual, forward"], 1.0)
    alternatives = explorer.page.evaluate(
        """[...Bokeh.index.query((view) => view.model.type === "Figure")]
             .map((view) => view.canvas_view.events_el.ariaLabel)"""
    )
    assert len(alternatives) == len(set(alternatives)) == 8  # six against step and layer, two H_res
    assert any("Matrix of 4 by 4" in text for text in alternatives)
    expect(explorer.page).to_have_url(re.compile(f"view=lab&lab_depth={depth}&lab_steps={steps}$"))
    assert explorer.page.evaluate(COLLIDING) == []
    assert explorer.problems == []


@pytest.mark.long
def test_what_came_out_stays_and_keeps_nobody_out(address: str, new_explorer: Any) -> None:
    explorer = opened(new_explorer, address, Batch=4096, **{"Width (C)": 1024})
    a_training_that_is_too_large_is_refused(explorer)
    fill(explorer, Batch=Settings().batch, **{"Width (C)": Settings().width})
    table = trained(explorer, depth=2, steps=6)
    explorer.keeps_nobody_out()
    drawn, before = explorer.plotted("lab-gain"), table.inner_text()
    explorer.go("composite")
    expect(explorer.slider("Sinkhorn iterations")).to_be_visible()
    expect(table).to_have_count(0)
    explorer.go("lab")
    expect(table).to_have_text(before, use_inner_text=True)
    assert {name: list(v) for name, v in explorer.plotted("lab-gain").items()} == {
        name: list(values) for name, values in drawn.items()
    }
    assert explorer.problems == []


def a_training_that_is_too_large_is_refused(explorer: Explorer) -> None:
    press(explorer, "Train it here")
    expect(status(explorer)).to_contain_text("GB of memory, and this page gives a training 2 GB at")
    expect(explorer.page.get_by_role("button", name="Cancel")).to_be_disabled()


@pytest.mark.long
def test_a_training_is_cancelled_and_the_next_visitor_waits(
    address: str, new_explorer: Any
) -> None:
    first, second = (
        opened(new_explorer, address, **{"Depth (layers)": 2, "Steps": 10_000}) for _ in range(2)
    )
    # A double click begins one: the next visitor waits for one, and goes on when that is cancelled.
    first.page.get_by_role("button", name="Train it here", exact=True).dblclick()
    expect(status(first)).to_contain_text("of 30000 steps", timeout=PATIENCE)
    press(second, "Train it here")
    expect(status(second)).to_have_text(
        "Waiting in line: another training of this server must end before."
    )
    press(first, "Cancel")
    expect(status(first)).to_contain_text("Cancelled after")
    expect(first.page.locator(".lab-results")).to_contain_text("cancelled")
    expect(status(second)).to_contain_text("of 30000 steps", timeout=PATIENCE)
    # A visitor who leaves stops the training: at once if the browser says so, which a closed tab
    # may be too quick for; else when the session is dropped.
    press(first, "Train it here")
    expect(status(first)).to_contain_text("Waiting in line")
    second.page.close()
    expect(status(first)).to_contain_text("of 30000 steps", timeout=1000 * LASTS + PATIENCE)
    press(first, "Cancel")
    expect(status(first)).to_contain_text("Cancelled after")


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_no_training_outlives_its_server(name: str, new_explorer: Any) -> None:
    with serve("--trainings", "1") as (address, server):
        explorer = opened(new_explorer, address, **{"Depth (layers)": 2, "Steps": 10_000})
        press(explorer, "Train it here")
        expect(status(explorer)).to_contain_text("of 30000 steps", timeout=PATIENCE)
        children = psutil.Process(server.pid).children(recursive=True)
        assert len(children) == 1
        server.send_signal(signal.Signals[name])
        _, alive = psutil.wait_procs(children, 20)
        assert alive == []


def test_records_of_ones_own_are_opened(address: str, new_explorer: Any, tmp_path: Path) -> None:
    explorer = opened(new_explorer, address)
    files = []
    for seed in (0, 1):
        settings = Settings(connection="hc", depth=3, width=4, steps=5, batch=4, seed=seed)
        files.append(tmp_path / f"{seed}.jsonl")
        for _ in recorded(train(settings), settings, files[-1]):
            pass
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("<b>no record</b>")
    explorer.page.locator(".mhc-drop input").set_input_files([*files, wrong])
    expect(status(explorer)).to_have_text("Opened 2 records.")
    expect(explorer.page.get_by_role("alert").filter(has_text="wrong.jsonl")).to_have_text(
        "wrong.jsonl is no record of the lab: it is not JSON"
    )
    drawn = explorer.plotted("lab-loss")
    assert set(drawn) == {"HC, seed 0", "HC, seed 1"}
    for seed, path in enumerate(files):
        kept = [step.loss for step in read_record(path).steps]
        np.testing.assert_allclose(drawn[f"HC, seed {seed}"], kept)
    expect(explorer.page.locator(".lab-results table")).to_contain_text("HC, seed 1")
    assert explorer.problems == []


def test_a_recorded_run_is_replayed_in_the_browser(shared: Explorer) -> None:
    shared.visit("?view=lab&lab_depth=64&lab_learning_rate=0.03&replay=20")
    runs = recorded_runs("fails")
    replay = runs.replays[0]
    slider = shared.slider("Step of training")
    expect(slider).to_have_value("20")

    def shows(step: int) -> None:
        drawn = shared.plotted("runs-layers")
        for c, name in enumerate(("hc", "mhc")):
            for k, direction in enumerate(("forward", "backward")):
                line = drawn[f"{CONNECTIONS[name]}, {direction}"]
                np.testing.assert_allclose(line, replay.gains[c, step - 1, k], rtol=1e-6)

    shared.eventually(lambda: shows(20))
    shared.set("Step of training", 90)
    shared.eventually(lambda: shows(90))
    expect(shared.page).to_have_url(re.compile("replay=90"))
    expect(shared.page.locator(".lab-verdict")).to_contain_text(f"HC, seed {replay.seed}")
    shared.page.get_by_role("combobox", name="Seed replayed").click()
    odd = runs.replays[1]
    shared.page.get_by_text(f"{odd.seed}: most unlike the others").click()
    expect(shared.page.locator(".lab-verdict")).to_contain_text(f"HC, seed {odd.seed}")


@pytest.mark.long
def test_the_load_of_the_experts_is_replayed(shared: Explorer) -> None:
    shared.visit(
        "?view=lab&lab_task=moe&lab_depth=8&lab_learning_rate=0.01&lab_steps=300&lab_batch=8&replay=20"
    )
    replay = recorded_runs("moe").replays[0]
    assert replay.loads is not None
    assert replay.entropies is not None

    def shows(step: int) -> None:
        frame = np.searchsorted(replay.steps, step, side="right") - 1
        for name, values in (("load", replay.loads), ("entropy", replay.entropies)):
            drawn = shared.plotted(f"runs-{name}")
            for c, connection in enumerate(COMPARED):
                kept = values[c, frame].ravel()
                np.testing.assert_allclose(drawn[CONNECTIONS[connection]], kept, rtol=1e-6)

    shared.eventually(lambda: shows(20))
    shared.set("Step of training", 87)
    shared.eventually(lambda: shows(87))
    expect(shared.page.locator(".lab-verdict")).to_contain_text("bits per character; gain up to")

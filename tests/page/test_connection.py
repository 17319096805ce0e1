"""The plug is pulled in the middle of things, and put back: the page is what it was."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Error, Locator, expect

from mhc_demo.figures import style
from mhc_demo.story.scenes import SCENES

from .conftest import DESK, ORDERLY, ROOT, Explorer, await_server, free_port
from .network import Network

pytestmark = pytest.mark.browser
SAME_PAGE = "window.marked = true"
RECONNECTS = 40_000  # milliseconds; at last it is tried every quarter of a minute


class Site:
    """A server, which can be killed and started again, and the network in front of it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.network = Network(self.port)
        self.address = f"http://localhost:{self.network.port}/app"
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        origin = f"localhost:{self.network.port}"
        options = ["--port", str(self.port), "--allow-websocket-origin", origin]
        command = [sys.executable, str(ORDERLY), "mhc_demo.cli", "serve", *options]
        self.server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        await_server(self.server, f"http://localhost:{self.port}/liveness")

    def kill(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server.wait()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    with site.network:
        site.start()
        yield site
        site.kill()


@pytest.fixture(scope="module")
def tabs(site: Site, browser: Browser) -> Iterator[tuple[Explorer, Explorer]]:
    """Two visitors for all tests after which the same page goes on."""
    context = browser.new_context(viewport=DESK)
    yield tuple(Explorer(context.new_page()) for _ in range(2))
    context.close()


def connected(site: Site, tab: Explorer) -> Explorer:
    """A tab with the page open, as after a reset."""
    site.network.go_on()
    if tab.address and tab.page.evaluate("window.marked") and not line(tab).inner_text():
        tab.reset()
    else:
        tab.begin(site.address)
        tab.page.evaluate(SAME_PAGE)
    return tab


@pytest.fixture
def visitor(site: Site, tabs: tuple[Explorer, Explorer]) -> Explorer:
    """The first of them, connected."""
    return connected(site, tabs[0])


@pytest.fixture
def other(site: Site, tabs: tuple[Explorer, Explorer]) -> Explorer:
    """The second of them, connected."""
    return connected(site, tabs[1])


def line(explorer: Explorer) -> Locator:
    """What the page says of its connection."""
    return explorer.page.locator(".mhc-connection")


def opened(site: Site, new_explorer: Any, query: str = "") -> Explorer:
    explorer: Explorer = new_explorer(1400, 900).open(site.address, query or "?view=composite")
    explorer.page.evaluate(SAME_PAGE)
    return explorer


def lose(site: Site, how: str) -> None:
    site.network.cut() if how == "cut" else site.network.stand_still()


def takes_nothing(control: Locator) -> None:
    """Neither clicks nor keys reach it."""
    with pytest.raises(Error, match="inert"):
        control.click(trial=True, timeout=500)


def goes_on(explorer: Explorer) -> None:
    """The same page is connected again, and its server does what it is asked."""
    expect(line(explorer)).to_be_empty(timeout=RECONNECTS)
    assert explorer.page.evaluate("window.marked")
    seed = re.search(r"seed=\d+", explorer.page.url)
    assert seed
    explorer.page.get_by_role("button", name="Shuffle").click()
    expect(explorer.page).not_to_have_url(re.compile(rf"{seed[0]}&"))
    faults = [each for each in explorer.problems if "WebSocket" not in each and "net::" not in each]
    assert faults == []


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        pytest.param(how, seconds, marks=[] if (how, seconds) == ("cut", 3) else pytest.mark.long)
        for how in ("cut", "still")
        for seconds in (3, 12, 45)
    ],
)
def test_a_lost_connection_is_told_and_comes_back(
    site: Site, visitor: Explorer, how: str, seconds: int
) -> None:
    explorer, page = visitor, visitor.page
    lose(site, how)
    expect(line(explorer)).to_contain_text("Depth and iterations go on")
    expect(line(explorer)).to_have_role("status")
    before = explorer.gain(0)
    explorer.set("Depth (layers)", 60)
    assert explorer.gain(0) < before
    expect(page).to_have_url(re.compile("depth=60&"))  # though the server has not heard of it
    depth_and_iterations_need_no_server(explorer)
    if how == "cut":  # what needs the server takes nothing
        takes_nothing(page.get_by_role("button", name="Shuffle"))
        takes_nothing(page.get_by_role("tab", name="Mixing"))
    page.wait_for_timeout(1000 * seconds)
    expect(line(explorer)).not_to_be_empty()
    site.network.go_on()
    goes_on(explorer)
    expect(page).to_have_url(re.compile("depth=60&"))  # said by the server now
    expect(explorer.slider("Depth (layers)")).to_have_value("60")


@pytest.mark.long
def test_whoever_loses_it_at_the_same_time_keeps_their_own(
    site: Site, visitor: Explorer, other: Explorer
) -> None:
    for each, depth in ((visitor, 60), (other, 67)):
        each.set("Depth (layers)", depth)
        expect(each.page).to_have_url(re.compile(f"depth={depth}&"))
    site.network.cut()
    for each in (visitor, other):
        expect(line(each)).to_contain_text("Depth and iterations go on")
    site.network.go_on()
    for each, depth in ((visitor, 60), (other, 67)):
        goes_on(each)
        expect(each.page).to_have_url(re.compile(f"depth={depth}&"))


def depth_and_iterations_need_no_server(explorer: Explorer) -> None:
    explorer.set("Sinkhorn iterations", 0)
    assert explorer.gain(1) == explorer.gain(0)
    lines = explorer.plotted("composite")
    np.testing.assert_array_equal(lines["projected, forward"], lines["HC, forward"])
    assert style.PROJECTED not in explorer.colours("composite")
    explorer.set("Sinkhorn iterations", 1)
    assert style.PROJECTED in explorer.colours("composite")


def test_what_is_clicked_before_the_loss_is_seen_waits_and_is_done_in_order(
    site: Site, visitor: Explorer
) -> None:
    page = visitor.page
    site.network.stand_still()
    page.get_by_role("button", name="Shuffle").click()
    page.get_by_role("tab", name="Mixing").click()
    expect(line(visitor)).to_contain_text("What you asked for last waits")
    dimmed = "getComputedStyle(document.documentElement).getPropertyValue('--mhc-shown')"
    assert float(page.evaluate(dimmed)) < 1
    expect(page).to_have_url(re.compile("seed=42&.*view=composite"))
    site.network.go_on()
    expect(page).to_have_url(re.compile("view=mixing"), timeout=RECONNECTS)
    expect(page).not_to_have_url(re.compile("seed=42&"))
    expect(page.get_by_role("tab", name="Mixing")).to_have_attribute("aria-selected", "true")
    assert page.evaluate(dimmed) == ""
    goes_on(visitor)


@pytest.mark.long
def test_a_computation_is_there_when_the_connection_is_back(site: Site, new_explorer: Any) -> None:
    explorer = opened(site, new_explorer, "?members=256&view=composite")
    streams = explorer.page.get_by_role("slider", name="Streams (n)")
    streams.focus()
    for _ in range(3):
        streams.press("ArrowRight")
    site.network.cut()
    expect(line(explorer)).not_to_be_empty()
    site.network.go_on()
    expect(explorer.page).to_have_url(re.compile("streams=7&"), timeout=RECONNECTS)
    explorer.eventually(lambda: expect(explorer.number(0)).to_have_text(re.compile(r"^102\d\.\d")))
    goes_on(explorer)


SIGNS = (
    "window.dispatchEvent(new Event('online'))",
    "document.dispatchEvent(new Event('visibilitychange'))",
)


@pytest.mark.long
def test_a_sign_that_the_network_is_back_is_not_waited_for(site: Site, new_explorer: Any) -> None:
    explorer = opened(site, new_explorer)
    page = explorer.page
    wires: list[object] = []
    page.on("websocket", lambda wire: wires.append(wire))
    page.clock.install()
    for minutes, sign in enumerate(SIGNS, 1):
        # No pause between two attempts ends by itself.
        page.clock.pause_at(time.time() + 60 * minutes)
        expect(line(explorer)).to_be_empty()
        site.network.cut()
        site.network.go_on()
        page.wait_for_timeout(1000)
        wires.clear()

        def tried_again(sign: str = sign) -> None:
            page.evaluate(sign)
            assert wires

        explorer.eventually(tried_again)
        page.clock.resume()
        goes_on(explorer)


def test_a_drag_goes_on_while_the_connection_is_away(site: Site, visitor: Explorer) -> None:
    box = visitor.slider("Depth (layers)").bounding_box()
    assert box
    mouse, y = visitor.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + 5, y)
    mouse.down()
    for share in (0.2, 0.4):
        mouse.move(box["x"] + share * box["width"], y)
    site.network.cut()
    expect(line(visitor)).not_to_be_empty()
    mouse.move(box["x"] + 0.75 * box["width"], y, steps=10)
    mouse.up()
    there = visitor.slider("Depth (layers)").input_value()
    assert 90 < int(there) < 100
    site.network.go_on()
    goes_on(visitor)
    expect(visitor.page).to_have_url(re.compile(f"depth={there}&"))


def test_the_story_stands_still_while_the_connection_is_away(site: Site, visitor: Explorer) -> None:
    page = visitor.page
    page.get_by_role("button", name=re.compile("The story")).click()
    expect(page).to_have_url(re.compile(f"scene={next(iter(SCENES))}"))
    title = page.locator(".mhc-story h2")
    told = title.inner_text()
    site.network.cut()
    expect(line(visitor)).not_to_be_empty()
    takes_nothing(page.get_by_role("button", name="Next ▶", exact=True))
    expect(title).to_have_text(told)
    site.network.go_on()
    expect(line(visitor)).to_be_empty(timeout=RECONNECTS)
    page.get_by_role("button", name="Next ▶", exact=True).click()
    expect(title).not_to_have_text(told)
    expect(page).not_to_have_url(re.compile(f"scene={next(iter(SCENES))}"))
    goes_on(visitor)


@pytest.mark.long
def test_a_training_survives_a_short_loss(site: Site, new_explorer: Any) -> None:
    explorer = new_explorer(1400, 900)
    page = explorer.page
    page.goto(f"{site.address}?view=lab&lab_depth=2&lab_steps=10000")
    status = page.locator(".lab-status p")
    page.get_by_role("button", name="Train it here", exact=True).click()
    expect(status).to_contain_text("of 30000 steps", timeout=90_000)
    page.evaluate(SAME_PAGE)
    site.network.cut()
    expect(line(explorer)).not_to_be_empty()
    heard = status.inner_text()
    page.wait_for_timeout(3000)
    expect(status).to_have_text(heard)
    site.network.go_on()
    expect(line(explorer)).to_be_empty(timeout=RECONNECTS)
    expect(status).not_to_have_text(heard)
    page.get_by_role("button", name="Cancel").click()
    expect(status).to_contain_text("Cancelled after")
    assert page.evaluate("window.marked")

    def no_step_is_missing() -> None:
        drawn = sum(len(steps) for steps in explorer.plotted("lab-loss").values())
        assert status.inner_text() == f"Cancelled after {drawn:,} steps."

    explorer.eventually(no_step_is_missing)


NOTE = """setInterval(() => {
  const said = document.querySelector(".mhc-connection")?.textContent
  if (said) sessionStorage.noted = said
}, 100)"""
"""Keeps what the line about the connection said last."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("link", "there"),
    [
        ("?scene=dial&present=1", "depth=61&.*scene=dial"),
        ("?streams=3&view=compare", "streams=3&.*view=compare"),
    ],
    ids=["presented", "compared"],
)
def test_after_a_restart_the_page_is_opened_anew_as_it_was(
    site: Site, new_explorer: Any, link: str, there: str
) -> None:
    visitor: Explorer = new_explorer(1400, 900).open(site.address, link, controls=False)
    site.kill()
    expect(line(visitor)).not_to_be_empty()
    visitor.set("Depth (layers)", 61)
    expect(visitor.page).to_have_url(re.compile("depth=61&"))
    expect(visitor.page).to_have_url(re.compile(there))
    left = visitor.page.url, visitor.gain(0), visitor.gain(1)
    visitor.page.add_init_script(NOTE)  # it stands for ten seconds
    site.start()
    visitor.page.wait_for_function(
        "sessionStorage.noted?.includes('opened anew, as it was')", timeout=RECONNECTS
    )
    expect(visitor.slider("Depth (layers)")).to_have_value("61")

    def as_it_was() -> None:
        assert (visitor.page.url, visitor.gain(0), visitor.gain(1)) == left

    visitor.eventually(as_it_was)
    if "scene" in link:
        visitor.page.keyboard.press("PageDown")
        expect(visitor.page).to_have_url(re.compile("revealed=dial"))

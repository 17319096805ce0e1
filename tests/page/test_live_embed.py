"""The live page in an iframe of another site: docs/embed.html, from a server of its own."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Frame, Page, expect

from mhc_demo.app.state import EMBED_PARAMETERS, State

from .conftest import ROOT, Explorer, serve

pytestmark = [pytest.mark.browser, pytest.mark.long]
EXAMPLE = (ROOT / "docs" / "embed.html").read_text("utf-8")


class Host(ThreadingHTTPServer):
    """Another site: serves one folder, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        super().__init__(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.origin = f"http://localhost:{self.server_port}"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """The example on two sites, of which the demo's server allows the first."""
    folder = tmp_path_factory.mktemp("site")
    friend, stranger = Host(folder), Host(folder)
    with serve("--frame-ancestors", friend.origin) as (address, _):
        example = EXAMPLE.replace("http://localhost:5006/app", address)
        assert example != EXAMPLE
        (folder / "index.html").write_text(example, "utf-8")
        yield friend, stranger
    for host in (friend, stranger):
        host.shutdown()


def frame_of(page: Page) -> Frame:
    frame = page.frames[1]
    expect(frame.locator(".mhc-headline .number").first).not_to_have_text("")
    return frame


def test_the_example_shows_the_page_without_its_frame_and_it_moves(hosts, page: Page) -> None:
    page.set_viewport_size({"width": 1000, "height": 900})
    page.goto(hosts[0].origin)
    frame = frame_of(page)
    expect(frame.get_by_role("link", name="Open the whole page")).to_be_visible()
    for name in ("Sinkhorn iterations", "Depth (layers)", "Streams (n)"):
        expect(frame.get_by_role("slider", name=name)).to_be_visible()
    for name in ("Reset", "Shuffle", "The story"):
        expect(frame.get_by_role("button", name=name)).to_have_count(0)
    expect(frame.get_by_role("tab").first).not_to_be_visible()
    expect(frame.get_by_role("banner")).not_to_be_visible()
    for width in (1000, 390):
        page.set_viewport_size({"width": width, "height": 900})
        is_as_high_as_its_contents(page, frame)
        assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sliders_move_and_the_link_leads_to_what_is_shown(frame)


def is_as_high_as_its_contents(page: Page, frame: Frame) -> None:
    """The host's frame, so that nothing has to be scrolled."""
    page.wait_for_function(
        """() => {
             const frame = document.querySelector("iframe")
             return frame.style.height !== "" && frame.getBoundingClientRect().height > 600
           }"""
    )

    def ends_inside() -> None:
        end = frame.get_by_role("link", name="Open the whole page").bounding_box()
        box = page.locator("iframe").bounding_box()
        assert end is not None
        assert box is not None
        assert box["y"] < end["y"] < end["y"] + end["height"] <= box["y"] + box["height"]

    Explorer(page).eventually(ends_inside)


def sliders_move_and_the_link_leads_to_what_is_shown(frame: Frame) -> None:
    dial = frame.get_by_role("slider", name="Sinkhorn iterations")
    dial.focus()
    dial.press("ArrowLeft")
    number = frame.locator(".mhc-headline .number .base")
    expect(number.nth(1)).to_have_text("10")  # to the power of 16.2, as the other one
    link = frame.get_by_role("link", name="Open the whole page")
    expected = State(iterations=0).query()
    assert not any(name in expected for name in EMBED_PARAMETERS)
    expect(link).to_have_attribute("href", expected)


def test_a_site_that_is_not_allowed_gets_the_browsers_refusal(hosts, page: Page) -> None:
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto(hosts[1].origin)
    page.wait_for_timeout(500)
    assert any("frame-ancestors" in each for each in messages)
    assert page.frames[1].url.startswith("chrome-error:")
